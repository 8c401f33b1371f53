//! Named volumes as flows meet them: what a text before the colon of `--volume` names.
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_engine::volumes;
//!
//! # let dir = tempfile::tempdir()?;
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let mut context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! # context.settings.runtime_dir = dir.path().join("runtime");
//! let named = |text: &str| volumes::named(&context, text, &dir.path().join(text));
//! assert_eq!(named("database").unwrap().name.as_deref(), Some("database"));
//! assert_eq!(named("./database"), None);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::path::Path;

use kraft_core::mount::{Volume, check_name};

use crate::context::Context;
use crate::machines;

/// Returns the mount of a named volume at `/`; `None` if the text names a directory: it has a slash or
/// begins with a dot, or `dir` exists and there is no such volume.
///
/// The latter is for projects and scripts from before there were named volumes, and reported.
pub fn named(ctx: &Context, text: &str, dir: &Path) -> Option<Volume> {
    check_name(text).ok()?;
    let volumes = machines::existing(ctx).volumes();
    if volumes.get(text).is_err() && dir.exists() {
        // Anything else than a directory becomes an error.
        if dir.is_dir() {
            ctx.warn(&format!(
                "mounting the directory `{text}`, because there is no volume of that name: write \
                 `./{text}` for the directory, or create the volume: `kraft vol create {text}`"
            ));
        }
        return None;
    }
    volumes.mount(text, "/".to_owned(), false).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::{Script, context};

    #[test]
    fn a_name_is_a_volume_unless_only_a_directory_has_it() {
        let home = tempfile::tempdir().unwrap();
        let ctx = context(home.path(), &Script::silent());
        let dir = home.path().join("data");
        assert!(named(&ctx, "data", &dir).is_some());
        std::fs::create_dir(&dir).unwrap();
        assert_eq!(named(&ctx, "data", &dir), None);
        let volumes = machines::existing(&ctx).volumes();
        volumes.create("data", &BTreeMap::new()).unwrap();
        let mount = named(&ctx, "data", &dir).unwrap();
        assert_eq!(mount.source, volumes.path("data").unwrap());
        for path in [".", "..", "./data", "/data", "a/b", "~", "a b"] {
            assert_eq!(named(&ctx, path, &dir), None, "{path}");
        }
    }
}
