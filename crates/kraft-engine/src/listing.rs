//! The listing of packages: images of the store and of registries, and components of catalogs.
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_core::component::Kind;
//! use kraft_engine::listing::{self, Query};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let mut context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! # context.settings.runtime_dir = dir.path().join("runtime");
//! # context.settings.manifests_dir = dir.path().join("manifests");
//! let query = Query {
//!     kinds: vec![Kind::Lib],
//!     ..Query::default()
//! };
//! assert!(listing::list(&context, &query)?.is_empty());
//! # Ok(())
//! # }
//! ```

use jiff::Timestamp;
use kraft_core::arch::Arch;
use kraft_core::catalog::Entry;
use kraft_core::component::Kind;
use kraft_core::error::chain;
use kraft_core::platform::Platform;
use kraft_core::reference::Digest;
use kraft_oci::choose::is_same_arch;
use kraft_oci::{listing, store};
use serde::Serialize;

use super::{builtin, catalog, images, sources};
use crate::context::Context;
use crate::sources::Fetching;

/// Why packages cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be opened, or has no such image.
    #[error(transparent)]
    Images(#[from] images::Error),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// No registry can be listed.
    #[error(transparent)]
    Registries(#[from] catalog::Error),
    /// The catalog of components cannot be read or updated.
    #[error(transparent)]
    Components(#[from] sources::Error),
}

/// What is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The kinds of packages. Images are of the kind [`Kind::App`].
    pub kinds: Vec<Kind>,
    /// Only images for this platform, and no components.
    pub platform: Option<Platform>,
    /// Only images for this architecture, and no components.
    pub arch: Option<Arch>,
    /// Whether to list the versions of components that have channels.
    pub versions: bool,
    /// Whether to update from registries and catalogs first.
    pub update: bool,
    /// Whether to list only images in the store.
    pub local: bool,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The name of the kind: `app`, `lib`, `core`, `plat` or `arch`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The name without the version.
    pub name: String,
    /// The version, or the channel.
    pub version: String,
    /// `oci` for images, `manifest` for components of a catalog.
    pub format: &'static str,
    /// When it was stored locally; `None` if it is not.
    pub pulled: Option<Timestamp>,
    /// The manifest of an image; `None` for the built-in runtime before its first use.
    pub manifest: Option<Digest>,
    /// The index of an image, as its manifest.
    pub index: Option<Digest>,
    /// The platform of an image.
    pub platform: Option<String>,
    /// The architecture of an image.
    pub architecture: Option<String>,
    /// The size of all layers, in bytes; `None` if it is not known.
    pub size: Option<u64>,
    /// The source of a component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Whether it is on this host.
    #[serde(skip)]
    pub here: bool,
}

impl Row {
    /// Returns what rows are sorted by.
    fn order(&self) -> impl Ord + '_ {
        let component = (self.format, self.kind, &self.name, &self.version);
        (
            component,
            &self.platform,
            &self.architecture,
            &self.manifest,
        )
    }
}

impl From<listing::Row> for Row {
    fn from(row: listing::Row) -> Self {
        Self {
            kind: Kind::App.name(),
            name: row.name.path(),
            version: row.name.version().to_owned(),
            format: "oci",
            pulled: row.pulled,
            manifest: Some(row.manifest),
            index: Some(row.index),
            platform: Some(row.platform.os),
            architecture: Some(row.platform.architecture),
            size: row.size,
            origin: None,
            here: row.here,
        }
    }
}

/// Lists packages, sorted. Warns of images that cannot be read.
///
/// # Errors
///
/// If the store, every registry or the catalog cannot be read.
pub fn list(ctx: &Context, query: &Query) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    if query.kinds.contains(&Kind::App) {
        rows.extend(of_images(ctx, query)?);
    }
    if !query.local {
        rows.extend(of_components(ctx, query)?);
    }
    Ok(sorted(rows))
}

/// Returns the rows of images, by name, digest or prefix of the digest; sorted.
///
/// # Errors
///
/// If the store has no such image, or cannot be read.
pub fn images(ctx: &Context, words: &[String]) -> Result<Vec<Row>, Error> {
    let store = images::open(ctx)?;
    let mut rows = Vec::new();
    for word in words {
        let found = images::find(ctx, &*store, word)?;
        let of_image = listing::rows_of(&*store, &found.named)?.into_iter();
        let meant = |row: &listing::Row| {
            let manifest = found.manifest.as_ref();
            manifest.is_none_or(|meant| *meant == row.manifest)
        };
        rows.extend(of_image.filter(meant).map(Row::from));
    }
    Ok(sorted(rows))
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by(|one, other| one.order().cmp(&other.order()));
    rows
}

fn of_images(ctx: &Context, query: &Query) -> Result<impl Iterator<Item = Row>, Error> {
    let wanted = |os: &str, arch: &str| {
        query.platform.is_none_or(|wanted| os == wanted.name())
            && query
                .arch
                .is_none_or(|wanted| is_same_arch(arch, wanted.name()))
    };
    let store = images::open(ctx)?;
    let listing = listing::list(&*store, &wanted)?;
    for (name, error) in &listing.unreadable {
        let why = chain(error);
        ctx.warn(&format!("the image `{name}` is not listed: {why}"));
    }
    let mut rows = listing.rows;
    if !query.local {
        catalog::add(ctx, &mut rows, query.update)?;
        rows.retain(|row| wanted(&row.platform.os, &row.platform.architecture));
    }
    let own = of_builtin(&rows, &wanted);
    Ok(rows.into_iter().map(Row::from).chain(own))
}

/// Returns the rows of the built-in runtime while the store does not have it: it is part of the
/// program, and stored when it is first used.
fn of_builtin(stored: &[listing::Row], wanted: &dyn Fn(&str, &str) -> bool) -> Vec<Row> {
    let Ok(name) = builtin::versioned(builtin::VERSION) else {
        return Vec::new();
    };
    if stored.iter().any(|row| row.name == name) {
        return Vec::new();
    }
    let os = Platform::Qemu.name();
    let architectures = builtin::architectures().into_iter();
    let rows = architectures
        .filter(|arch| wanted(os, arch))
        .map(|arch| Row {
            kind: Kind::App.name(),
            name: name.path(),
            version: name.version().to_owned(),
            format: "oci",
            pulled: None,
            manifest: None,
            index: None,
            platform: Some(os.to_owned()),
            architecture: Some(arch.to_owned()),
            size: None,
            origin: None,
            here: true,
        });
    rows.collect()
}

/// Returns the rows of components, which do not depend on a platform.
fn of_components(ctx: &Context, query: &Query) -> Result<Vec<Row>, Error> {
    if query.platform.is_some() || query.arch.is_some() {
        return Ok(Vec::new());
    }
    let mut known = sources::open(ctx, &Fetching::default())?;
    if query.update {
        match sources::update(ctx, &mut known) {
            // The registries were updated: show them.
            Err(error) if query.kinds.contains(&Kind::App) => {
                let why = chain(&error);
                ctx.warn(&format!(
                    "cannot update components, listing the last known ones: {why}"
                ));
            }
            updated => updated?,
        }
    }
    let entries = known.catalog.iter();
    Ok(entries
        .filter(|entry| query.kinds.contains(&entry.kind))
        .flat_map(|entry| of_component(entry, query.versions))
        .collect())
}

/// Returns the rows of a component: one per channel, and with `versions` one per version.
fn of_component(entry: &Entry, versions: bool) -> Vec<Row> {
    let row = |version: &str| Row {
        kind: entry.kind.name(),
        name: entry.name.clone(),
        version: version.to_owned(),
        format: "manifest",
        pulled: None,
        manifest: None,
        index: None,
        platform: None,
        architecture: None,
        size: None,
        origin: entry.origin.clone(),
        here: false,
    };
    let channels = entry.channels.iter().map(|channel| row(&channel.name));
    let all = entry.versions.iter().map(|version| row(&version.version));
    if versions || entry.channels.is_empty() {
        channels.chain(all).collect()
    } else {
        channels.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Script};

    const CATALOG: &str = "\
manifests:
- name: lwip
  type: lib
  channels: [{name: stable, default: true, resource: 'https://a.example/1'}]
  versions: [{version: '2.0', resource: 'https://a.example/2'}]
- name: zlib
  type: lib
  versions: [{version: '1.3', resource: 'https://a.example/3'}]
- name: helloworld
  type: app
  channels: [{name: stable, default: true, resource: 'https://a.example/4'}]
";

    /// The built-in runtime, which not every build has.
    const OWN: &str = "kraft.local/runtime";

    fn listed(ctx: &Context, query: &Query) -> Vec<String> {
        let rows = list(ctx, query).unwrap().into_iter();
        let rows = rows.filter(|row| row.name != OWN);
        rows.map(|row| {
            let arch = row.architecture.unwrap_or_default();
            format!("{} {}:{} {arch}", row.kind, row.name, row.version)
        })
        .collect()
    }

    #[test]
    fn images_and_components_are_listed_by_kind_platform_and_version() {
        let dir = tempfile::tempdir().unwrap();
        let mut ctx = testing::context(dir.path(), &Script::silent());
        let index = dir.path().join("index.yaml");
        kraft_sys::fs::replace_file(&index, CATALOG.as_bytes()).unwrap();
        ctx.settings.manifests = vec![index.display().to_string()];
        let store = images::open(&ctx).unwrap();
        let pairs = ["qemu/x86_64", "fc/x86_64", "qemu/arm64"];
        testing::image(&ctx, &*store, "unikraft.org/hello:1", &pairs);

        let libraries = Query {
            kinds: vec![Kind::Lib],
            update: true,
            ..Query::default()
        };
        let expected = ["lib lwip:stable ", "lib zlib:1.3 "];
        assert_eq!(listed(&ctx, &libraries), expected);
        let versions = Query {
            versions: true,
            update: false,
            ..libraries
        };
        let expected = ["lib lwip:2.0 ", "lib lwip:stable ", "lib zlib:1.3 "];
        assert_eq!(listed(&ctx, &versions), expected);
        let apps = Query {
            kinds: vec![Kind::App],
            ..Query::default()
        };
        assert_eq!(listed(&ctx, &apps).len(), 4);
        let qemu = Query {
            platform: Some(Platform::Qemu),
            ..apps.clone()
        };
        let images = ["arm64", "x86_64"].map(|arch| format!("app unikraft.org/hello:1 {arch}"));
        assert_eq!(listed(&ctx, &qemu), images);
        let arm = Query {
            arch: Some(Arch::Arm64),
            ..apps.clone()
        };
        assert_eq!(listed(&ctx, &arm), images[..1]);
        let local = Query {
            local: true,
            ..apps
        };
        assert_eq!(listed(&ctx, &local).len(), 3);
    }

    #[test]
    fn the_built_in_runtime_is_listed_once_before_and_after_its_first_use() {
        let dir = tempfile::tempdir().unwrap();
        let ctx = testing::context(dir.path(), &Script::silent());
        let own = |query: &Query| {
            let rows = list(&ctx, query).unwrap().into_iter();
            rows.filter(|row| row.name == OWN).collect::<Vec<_>>()
        };
        let all = Query {
            kinds: vec![Kind::App],
            local: true,
            ..Query::default()
        };
        let arm = Query {
            arch: Some(Arch::Arm64),
            ..all.clone()
        };
        let architectures = builtin::architectures();
        let before = own(&all);
        assert_eq!(before.len(), architectures.len());
        assert!(before.iter().all(|row| row.here && row.index.is_none()));
        assert_eq!(
            own(&arm).len(),
            usize::from(architectures.contains(&"arm64"))
        );
        let fc = Query {
            platform: Some(Platform::Firecracker),
            ..all.clone()
        };
        assert!(own(&fc).is_empty());
        if architectures.is_empty() {
            return;
        }
        let store = images::open(&ctx).unwrap();
        builtin::provide(&*store, &builtin::reference("builtin").unwrap()).unwrap();
        let after = own(&all);
        assert_eq!(after.len(), before.len());
        assert!(after.iter().all(|row| row.index.is_some()));
    }

    #[test]
    fn an_image_is_found_by_its_name_and_one_platform_by_its_digest() {
        let dir = tempfile::tempdir().unwrap();
        let ctx = testing::context(dir.path(), &Script::silent());
        let store = images::open(&ctx).unwrap();
        let name = "unikraft.org/hello:1";
        testing::image(&ctx, &*store, name, &["qemu/x86_64", "qemu/arm64"]);
        let all = super::images(&ctx, &[name.to_owned()]).unwrap();
        assert_eq!(all.len(), 2);
        let digest = all[1].manifest.as_ref().unwrap();
        let one = format!("unikraft.org/hello@{digest}");
        assert_eq!(super::images(&ctx, &[one]).unwrap(), all[1..]);
        let missing = super::images(&ctx, &["none:1".to_owned()]);
        assert!(matches!(missing, Err(Error::Images(_))));
    }
}
