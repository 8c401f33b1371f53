//! Names on this host that a user may be typing: for completion.
//!
//! Nothing is reported, nothing uses the network, and nothing is created. What cannot be read is not
//! offered.
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_engine::candidates;
//! use kraft_engine::pack::{self, Order};
//! use kraft_engine::package::{self, Package, Strategy};
//! use kraft_engine::images;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let mut context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! # context.settings.runtime_dir = dir.path().join("runtime");
//! # let kernel = dir.path().join("kernel");
//! # let mut image = vec![0; 64];
//! # image[56..60].copy_from_slice(b"ARM\x64");
//! # std::fs::write(&kernel, image)?;
//! let package = Package {
//!     name: "unikraft.org/hello:v1".parse()?,
//!     strategy: Strategy::Abort,
//!     linux: false,
//!     engines: Vec::new(),
//! };
//! let part = pack::of_kernel(&context, &Order::default(), &kernel)?;
//! package::assemble(&context, &*images::open(&context)?, &package, vec![part])?;
//!
//! let words = |begun| candidates::images(&context, begun, false).into_iter().map(|it| it.word);
//! assert_eq!(words("he").collect::<Vec<_>>(), ["hello:v1"]);
//! assert_eq!(words("unikraft.org/").collect::<Vec<_>>(), ["unikraft.org/hello:v1"]);
//! # Ok(())
//! # }
//! ```

use std::path::{Path, PathBuf};

use kraft_build::names::scan;
use kraft_core::machine::MachineState;
use kraft_core::reference::{DEFAULT_REGISTRY, Reference};

use super::{catalog, images as local, machines as machine};
use crate::context::Context;
use crate::project::{self, Project};
use crate::workplace::Workplace;

/// A candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The whole word.
    pub word: String,
    /// Its description; may be empty.
    pub about: String,
}

impl Candidate {
    /// Creates a candidate.
    pub fn new(word: impl Into<String>, about: impl Into<String>) -> Self {
        Self {
            word: word.into(),
            about: about.into(),
        }
    }
}

/// Returns the machines in one of some states.
pub fn machines(ctx: &Context, fits: impl Fn(MachineState) -> bool) -> Vec<Candidate> {
    machine::readable(ctx)
        .into_iter()
        .filter(|machine| fits(machine.state))
        .map(|machine| {
            let about = format!("{}, {}", machine.state.name(), machine.spec.origin);
            Candidate::new(machine.name, about)
        })
        .collect()
}

/// Returns the named volumes.
pub fn volumes(ctx: &Context) -> Vec<Candidate> {
    let volumes = machine::existing(ctx).volumes().list().unwrap_or_default();
    let volumes = volumes.into_iter();
    volumes
        .map(|volume| Candidate::new(volume.name, "volume"))
        .collect()
}

/// Returns the snapshots.
pub fn snapshots(ctx: &Context) -> Vec<Candidate> {
    let names = machine::existing(ctx).snapshot_names().unwrap_or_default();
    let names = names.into_iter();
    names.map(|name| Candidate::new(name, "snapshot")).collect()
}

/// Returns images as users type them: those of the default registry without it, unless it is begun.
/// With `listed`, those that registries listed the last time, too.
pub fn images(ctx: &Context, begun: &str, listed: bool) -> Vec<Candidate> {
    let mut names = stored(ctx).unwrap_or_default();
    if listed {
        let mut rows = Vec::new();
        let _ = catalog::add(ctx, &mut rows, false);
        names.extend(rows.into_iter().map(|row| row.name));
    }
    let mut words: Vec<String> = names.iter().map(|name| typed(name, begun)).collect();
    words.sort_unstable();
    words.dedup();
    let words = words.into_iter();
    words.map(|word| Candidate::new(word, "image")).collect()
}

/// Returns the names of the images in the store, which is not created.
fn stored(ctx: &Context) -> Option<Vec<Reference>> {
    let names = local::open_as_it_is(ctx).ok()?.names().ok()?;
    Some(names.into_iter().map(|named| named.name).collect())
}

fn typed(name: &Reference, begun: &str) -> String {
    let full = name.to_string();
    let short = full
        .strip_prefix(DEFAULT_REGISTRY)
        .and_then(|rest| rest.strip_prefix('/'));
    match short {
        Some(short) if short.starts_with(begun) => short.to_owned(),
        Some(_) | None => full,
    }
}

/// Opens the project in a directory, by default the current one.
fn open(ctx: &Context, dir: Option<&Path>) -> Option<Project> {
    let draft = project::read(ctx, dir, None).ok()?;
    draft.into_project().ok().map(|(project, _)| project)
}

/// Returns the targets of the project in a directory (default: the current one): `PLATFORM/ARCH`,
/// and the names that only one target has.
pub fn targets(ctx: &Context, dir: Option<&Path>) -> Vec<Candidate> {
    let resolved = open(ctx, dir).map(|project| project.resolved());
    let targets = resolved.map_or_else(Vec::new, |resolved| resolved.targets);
    let mut found = Vec::new();
    for target in &targets {
        let label = project::label(target);
        let same = targets.iter().filter(|other| other.name == target.name);
        if same.count() == 1 {
            found.push(Candidate::new(&target.name, &label));
        }
        let pair = format!("{}/{}", target.platform, target.architecture);
        found.push(Candidate::new(pair, label));
    }
    found.dedup_by(|one, other| one.word == other.word);
    found
}

/// Returns the libraries of the project in a directory (default: the current one).
pub fn libraries(ctx: &Context, dir: Option<&Path>) -> Vec<Candidate> {
    let libraries = open(ctx, dir).map(|project| project.kraftfile.libraries);
    let libraries = libraries.unwrap_or_default().into_iter();
    libraries
        .map(|library| Candidate::new(library.name.value, ""))
        .collect()
}

/// Returns the KConfig options of the project in a directory (default: the current one): those that
/// its components define, and those that a target was built with. The prefix `CONFIG_` is offered
/// where it is begun.
pub fn options(ctx: &Context, dir: Option<&Path>, begun: &str) -> Vec<Candidate> {
    let Some(project) = open(ctx, dir) else {
        return Vec::new();
    };
    let Ok(workplace) = Workplace::find(ctx, &project) else {
        return Vec::new();
    };
    let mut dirs = components(&workplace);
    dirs.push(project.dir.clone());
    let dirs: Vec<&Path> = dirs.iter().map(PathBuf::as_path).collect();
    let mut names = scan(&dirs);
    for target in &project.resolved().targets {
        let config = project::built_config(&workplace, target).unwrap_or_default();
        for (name, value) in config.iter() {
            let name = name.strip_prefix("CONFIG_").unwrap_or(name);
            let about = names.entry(name.to_owned()).or_default();
            about.get_or_insert_with(|| value.to_owned());
        }
    }
    let prefixed = begun.starts_with("CONFIG_");
    let prefixed = prefixed || (begun.len() > 1 && "CONFIG_".starts_with(begun));
    let prefix = if prefixed { "CONFIG_" } else { "" };
    let names = names.into_iter();
    names
        .map(|(name, about)| Candidate::new(format!("{prefix}{name}"), about.unwrap_or_default()))
        .collect()
}

/// Returns the directories of the components of a project, which may be links.
fn components(workplace: &Workplace) -> Vec<PathBuf> {
    let components = workplace.components();
    let mut dirs = Vec::new();
    for dir in [&components, &components.join("libs")] {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let components = entries.filter(|entry| {
            let name = entry.file_name();
            name != "build" && name != "libs"
        });
        dirs.extend(components.filter_map(|entry| entry.path().canonicalize().ok()));
    }
    dirs
}

#[cfg(test)]
mod tests {
    use kraft_sys::fs::replace_file;

    use super::*;
    use crate::testing::{self, Script};

    fn words(candidates: Vec<Candidate>) -> Vec<String> {
        candidates.into_iter().map(|it| it.word).collect()
    }

    #[test]
    fn images_are_offered_with_the_default_registry_only_where_it_is_begun() {
        let dir = tempfile::tempdir().unwrap();
        let ctx = testing::context(dir.path(), &Script::silent());
        assert_eq!(images(&ctx, "", true), []);
        assert!(!ctx.settings.runtime_dir.exists(), "nothing is created");
        let store = local::open(&ctx).unwrap();
        for name in ["unikraft.org/hello:1", "localhost:5000/hello:2"] {
            testing::image(&ctx, &*store, name, &["qemu/x86_64"]);
        }
        for (begun, expected) in [
            ("", ["hello:1", "localhost:5000/hello:2"]),
            ("he", ["hello:1", "localhost:5000/hello:2"]),
            ("unik", ["localhost:5000/hello:2", "unikraft.org/hello:1"]),
        ] {
            assert_eq!(words(images(&ctx, begun, false)), expected, "{begun}");
        }
    }

    #[test]
    fn targets_libraries_and_options_are_those_of_the_project() {
        let dir = tempfile::tempdir().unwrap();
        let ctx = testing::context(dir.path(), &Script::silent());
        let project = dir.path().join("project");
        let library = project.join(".unikraft/libs/lwip");
        std::fs::create_dir_all(&library).unwrap();
        let config = b"config LWIP\n\tbool \"TCP/IP\"\n";
        replace_file(&library.join("Config.uk"), config).unwrap();
        let project = Some(project.as_path());
        assert_eq!(targets(&ctx, project), [], "there is no Kraftfile");
        assert_eq!(options(&ctx, project, ""), []);
        let kraftfile = "spec: v0.6\nname: web\nunikraft: stable\nlibraries: {lwip: stable}\n\
                         targets: [qemu/x86_64, fc/x86_64, {name: big, plat: qemu, arch: arm64}]\n";
        let path = dir.path().join("project/Kraftfile");
        replace_file(&path, kraftfile.as_bytes()).unwrap();
        let expected = ["qemu/x86_64", "fc/x86_64", "big", "qemu/arm64"];
        assert_eq!(words(targets(&ctx, project)), expected);
        assert_eq!(words(libraries(&ctx, project)), ["lwip"]);
        for (begun, expected) in [
            ("", "LWIP"),
            ("C", "LWIP"),
            ("CO", "CONFIG_LWIP"),
            ("CONFIG_L", "CONFIG_LWIP"),
        ] {
            let expected = [Candidate::new(expected, "TCP/IP")];
            assert_eq!(options(&ctx, project, begun), expected, "{begun}");
        }
    }
}
