//! Which runtime an application runs on, whatever it is: a program, a Dockerfile or a project.
//!
//! | named by | runtime |
//! |---|---|
//! | `--runtime` | that image |
//! | `runtime` in the Kraftfile | that image |
//! | the key `default_runtime` | that image |
//! | nothing | the built-in runtime |
//!
//! The choice depends neither on the network nor on what the store has.
//!
//! ```
//! use kraft_engine::runtime::{Choice, Source, choose};
//!
//! let choice = choose(None, Some("nginx:1.27"), "builtin");
//! assert_eq!(choice, Choice { name: "nginx:1.27", source: Source::Kraftfile });
//! assert_eq!(choose(None, None, "builtin").source, Source::Default);
//! ```

use kraft_core::reference::Reference;

use crate::builtin;
use crate::context::Context;

/// What names a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `--runtime`.
    Flag,
    /// The Kraftfile.
    Kraftfile,
    /// `default_runtime`, or nothing.
    Default,
}

/// The runtime of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice<'a> {
    /// Its name, as it was written.
    pub name: &'a str,
    /// What names it.
    pub source: Source,
}

/// Chooses the runtime; `default` is the value of `default_runtime`.
#[must_use]
pub fn choose<'a>(
    flag: Option<&'a str>,
    kraftfile: Option<&'a str>,
    default: &'a str,
) -> Choice<'a> {
    let named = |name, source| Choice { name, source };
    match (flag, kraftfile) {
        (Some(name), _) => named(name, Source::Flag),
        (None, Some(name)) => named(name, Source::Kraftfile),
        (None, None) => named(default, Source::Default),
    }
}

/// Reports on what an application runs that names no runtime.
pub fn report_default(ctx: &Context, name: &Reference) {
    let what = shown(name);
    ctx.info(&format!(
        "no runtime is named: running on {what} (`--runtime IMAGE` names another)"
    ));
}

/// Returns a runtime as it is shown: `the built-in runtime 0.1.0`, or the name of an image.
#[must_use]
pub fn shown(name: &Reference) -> String {
    if builtin::is_builtin(name) {
        format!("the built-in runtime {}", name.version())
    } else {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_the_kraftfile_and_that_over_the_default() {
        for (flag, kraftfile, default, expected, source) in [
            (None, None, "builtin", "builtin", Source::Default),
            (None, None, "base:1", "base:1", Source::Default),
            (None, Some("k:1"), "base:1", "k:1", Source::Kraftfile),
            (
                None,
                Some("builtin"),
                "base:1",
                "builtin",
                Source::Kraftfile,
            ),
            (Some("f:1"), Some("k:1"), "base:1", "f:1", Source::Flag),
            (Some("f:1"), None, "base:1", "f:1", Source::Flag),
            (
                Some("builtin"),
                Some("k:1"),
                "base:1",
                "builtin",
                Source::Flag,
            ),
        ] {
            let choice = choose(flag, kraftfile, default);
            assert_eq!(choice.name, expected, "{flag:?} {kraftfile:?} {default}");
            assert_eq!(choice.source, source, "{flag:?} {kraftfile:?} {default}");
        }
    }

    #[test]
    fn the_built_in_runtime_is_shown_as_such() {
        let own = builtin::reference("builtin:0.3.0").unwrap();
        assert_eq!(shown(&own), "the built-in runtime 0.3.0");
        let other = "unikraft.org/base:latest".parse().unwrap();
        assert_eq!(shown(&other), "unikraft.org/base:latest");
    }
}
