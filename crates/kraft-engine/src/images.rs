//! Images in the local store: opening the store, finding an image by its name or digest, choosing
//! one of its manifests.

use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use kraft_core::error::chain;
use kraft_core::nearest::nearest;
use kraft_core::platform::Platform as VmmPlatform;
use kraft_core::reference::{Digest, Reference, ReferenceError};
use kraft_oci::choose::{Candidate, Choice, PlatformFilter, Preference, choose};
use kraft_oci::image::Platform;
use kraft_oci::store::containerd::{self, Containerd};
use kraft_oci::store::layout::Layout;
use kraft_oci::store::{self, Named, Store};
use kraft_oci::{listing, unpack};

use super::{builtin, kraftkit};
use crate::context::{AskError, Context};

/// Why an image of the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// KraftKit's images cannot be imported when the store is opened for the first time.
    #[error(transparent)]
    KraftKit(#[from] kraftkit::Error),
    /// The name is not the name of an image.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The store has no such image.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// A name without a registry fits images of several registries.
    #[error("`{name}` is ambiguous: it may mean `{one}` or `{other}`")]
    AmbiguousName {
        /// The name as typed.
        name: String,
        /// An image that it fits.
        one: String,
        /// Another one.
        other: String,
    },
    /// The beginning of a digest fits several images.
    #[error("`{digits}` is ambiguous: it may mean `{one}` or `{other}`")]
    AmbiguousDigest {
        /// The digits as typed.
        digits: String,
        /// An image that they fit.
        one: String,
        /// Another one.
        other: String,
    },
    /// The image has no manifest for what is asked.
    #[error(transparent)]
    NoMatch(#[from] NoMatch),
    /// The question which manifest to take was not answered.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The built-in runtime cannot be used.
    #[error(transparent)]
    Builtin(Box<builtin::Error>),
    /// The prompt returned an index beyond the choices.
    #[error("choice {0} does not exist")]
    Choice(usize),
}

/// The store has no image of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFound {
    /// The full name.
    pub name: String,
    /// What the user may have meant.
    pub suggestion: Suggestion,
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the image `{}` is not in the local store", self.name)
    }
}

impl std::error::Error for NotFound {}

/// What a user who names a missing image may have meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suggestion {
    /// KraftKit has the image.
    KraftKit,
    /// The store has an image with a similar name.
    Near(String),
    /// Nothing is similar: the image as typed can be pulled.
    Pull(String),
}

/// An image has no manifest for what is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoMatch {
    /// The full name.
    pub name: String,
    /// What is asked: `qemu/x86_64 with CONFIG_A=y`.
    pub wanted: String,
    /// Whether options are asked for.
    pub options: bool,
    /// The platforms that the image has, as `qemu/x86_64`, sorted.
    pub available: Vec<String>,
}

impl NoMatch {
    pub(crate) fn new(name: &Reference, filter: &PlatformFilter, platforms: &[Platform]) -> Self {
        let mut available: Vec<String> = platforms.iter().map(Platform::pair).collect();
        available.sort();
        available.dedup();
        Self {
            name: name.to_string(),
            wanted: filter.shown(),
            options: !filter.features.is_empty(),
            available,
        }
    }
}

impl fmt::Display for NoMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, wanted, .. } = self;
        write!(f, "the image `{name}` has nothing for {wanted}")
    }
}

impl std::error::Error for NoMatch {}

/// Opens the image store, once per process: the configured containerd, else the directory below
/// `runtime_dir`. On the first use of that directory, KraftKit's images are imported.
///
/// ```
/// # use std::sync::Arc;
/// # use kraft_config::env::Environment;
/// # use kraft_config::{Config, Flags};
/// # use kraft_core::event::Silent;
/// # use kraft_engine::context::{Context, NoPrompt};
/// use kraft_engine::images;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let config = Config::without_file(&Flags::default(), Environment::default());
/// # let mut context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
/// # context.settings.runtime_dir = dir.path().to_owned();
/// let store = images::open(&context)?;
/// assert!(images::look_up(&*store, &"unikraft.org/nginx:latest".parse()?)?.is_none());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// If the store cannot be opened, or KraftKit's images cannot be imported.
pub fn open(ctx: &Context) -> Result<Arc<dyn Store>, Error> {
    ctx.resources.store(|| {
        let store = open_as_it_is(ctx)?;
        if !in_containerd(ctx) {
            kraftkit::import_once(ctx, &*store)?;
        }
        Ok(store)
    })
}

/// Returns whether images are kept in a containerd.
pub(super) fn in_containerd(ctx: &Context) -> bool {
    ctx.settings.containerd_addr.is_some()
}

/// Opens the image store without importing KraftKit's images.
pub fn open_as_it_is(ctx: &Context) -> Result<Arc<dyn Store>, store::Error> {
    let dir = ctx.settings.runtime_dir.join("images");
    if let Some(address) = &ctx.settings.containerd_addr {
        tracing::debug!(address, "opening the image store of containerd");
        let namespace = ctx.env.text("CONTAINERD_NAMESPACE");
        return Ok(Arc::new(Containerd::open(&containerd::Settings {
            address: address.to_owned(),
            namespace: namespace.unwrap_or_else(|| "default".to_owned()),
            lock_dir: dir,
        })?));
    }
    tracing::debug!(dir = %dir.display(), "opening the image store");
    Ok(Arc::new(Layout::open(&dir)?))
}

/// Warns, in one line, of images that state a wrong size for a document whose digest is right.
pub fn warn_misstated<'a>(ctx: &Context, names: impl IntoIterator<Item = &'a Reference>) {
    let mut names = names.into_iter();
    let Some(first) = names.next() else { return };
    let which = match names.count() {
        0 => format!("`{first}` states"),
        more => format!("`{first}` and {more} other images state"),
    };
    ctx.warn(&format!(
        "{which} wrong sizes for some manifests, as KraftKit writes them; the digests are right, and \
         nothing is changed"
    ));
}

/// Returns the directory of the files that were unpacked from images.
pub fn unpacked_dir(ctx: &Context) -> PathBuf {
    ctx.settings.runtime_dir.join("unpacked")
}

/// An image of the store that was found by its name or digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Its name and what that points to.
    pub named: Named,
    /// The manifest, if it was named by its digest.
    pub manifest: Option<Digest>,
}

impl Match {
    fn whole(named: &Named) -> Self {
        Self {
            named: named.clone(),
            manifest: None,
        }
    }
}

/// Finds an image by its name, by the digest of its index or of one of its manifests, or without
/// its registry; `None` if there is none.
///
/// # Errors
///
/// If the name fits several images, or the store cannot be read.
pub fn look_up(store: &dyn Store, typed: &Reference) -> Result<Option<Match>, Error> {
    let full = typed.qualified();
    if let Some(named) = store.find(&full)? {
        return Ok(Some(Match::whole(&named)));
    }
    let names = store.names()?;
    let same_place = |named: &&Named| match typed.registry() {
        Some(_) => named.name.path() == full.path(),
        None => named.name.repository() == full.repository(),
    };
    if let Some(digest) = full.digest() {
        for named in names.iter().filter(same_place) {
            if named.target.digest == *digest {
                return Ok(Some(Match::whole(named)));
            }
            let candidates = listing::candidates_of(store, &named.target)?;
            if candidates.iter().any(|c| c.descriptor.digest == *digest) {
                return Ok(Some(Match {
                    named: named.clone(),
                    manifest: Some(digest.clone()),
                }));
            }
        }
        return Ok(None);
    }
    let mut fitting = names
        .iter()
        .filter(same_place)
        .filter(|named| named.name.tag() == full.tag());
    match (fitting.next(), fitting.next()) {
        (None, _) => Ok(None),
        (Some(one), None) => Ok(Some(Match::whole(one))),
        (Some(one), Some(other)) => Err(Error::AmbiguousName {
            name: typed.to_string(),
            one: one.name.to_string(),
            other: other.name.to_string(),
        }),
    }
}

/// Finds an image by its name or by the first digits of its digest, as `kraft pkg ls` prints them.
///
/// # Errors
///
/// If there is none, if there are several, or if the store cannot be read.
pub fn find(ctx: &Context, store: &dyn Store, word: &str) -> Result<Match, Error> {
    let typed = builtin::reference(word)?;
    if builtin::is_builtin(&typed) {
        builtin::provide(store, &typed).map_err(|error| Error::Builtin(Box::new(error)))?;
    }
    if let Some(found) = look_up(store, &typed)? {
        return Ok(found);
    }
    let looks_short = (6..=64).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_hexdigit());
    if looks_short {
        let names = store.names()?;
        let mut fitting = names
            .iter()
            .filter(|named| named.target.digest.hex().starts_with(word));
        if let Some(named) = fitting.next() {
            let digest = &named.target.digest;
            if let Some(other) = fitting.find(|other| other.target.digest != *digest) {
                return Err(Error::AmbiguousDigest {
                    digits: word.to_owned(),
                    one: named.name.to_string(),
                    other: other.name.to_string(),
                });
            }
            return Ok(Match::whole(named));
        }
    }
    Err(not_found(ctx, store, &typed).into())
}

/// Describes that an image is not in the store, with what the user may have meant.
pub fn not_found(ctx: &Context, store: &dyn Store, typed: &Reference) -> NotFound {
    let name = typed.qualified().to_string();
    if kraftkit::has(ctx, typed) {
        let suggestion = Suggestion::KraftKit;
        return NotFound { name, suggestion };
    }
    let names = store.names().unwrap_or_default();
    let names: Vec<String> = names.iter().map(|named| named.name.to_string()).collect();
    let suggestion = match nearest(&name, names.iter().map(String::as_str)) {
        Some(near) => Suggestion::Near(near.to_owned()),
        None => Suggestion::Pull(typed.to_string()),
    };
    NotFound { name, suggestion }
}

/// Returns what this host runs best.
pub fn host_preference() -> Preference {
    Preference {
        arch: match kraft_core::arch::HOST {
            "aarch64" => "arm64".to_owned(),
            other => other.to_owned(),
        },
        platforms: [VmmPlatform::Qemu, VmmPlatform::Firecracker]
            .map(|platform| platform.name().to_owned())
            .to_vec(),
    }
}

/// Chooses a manifest: where several are equally good, asks on a terminal, else takes the first one
/// and reports that.
///
/// # Errors
///
/// If none fits, or the question cannot be asked.
pub fn choose_manifest(
    ctx: &Context,
    name: &Reference,
    candidates: &[Candidate],
    filter: &PlatformFilter,
) -> Result<Candidate, Error> {
    match choose(candidates, filter, &host_preference()) {
        Choice::One(one) => Ok(*one),
        Choice::Several(several) => {
            let lines: Vec<String> = several.iter().map(|c| describe(c, &several)).collect();
            let question = format!("Several manifests of {name} fit. Which one?");
            let at = ctx.ask.select(&question, &lines)?;
            if at.is_none() {
                ctx.info(&format!(
                    "{} manifests of {name} fit equally well; taking {}",
                    several.len(),
                    lines.first().map(String::as_str).unwrap_or_default()
                ));
            }
            let at = at.unwrap_or_default();
            several.into_iter().nth(at).ok_or(Error::Choice(at))
        }
        Choice::None(platforms) => Err(NoMatch::new(name, filter, &platforms).into()),
    }
}

/// Describes a candidate by what sets it apart from the others.
fn describe(candidate: &Candidate, all: &[Candidate]) -> String {
    let platform = &candidate.platform;
    let mut text = format!(
        "{} {}",
        platform.pair(),
        candidate.descriptor.digest.short()
    );
    if !platform.os_version.is_empty() {
        let _ = write!(text, ", Unikraft {}", platform.os_version);
    }
    let own: Vec<&str> = platform
        .os_features
        .iter()
        .filter(|feature| !all.iter().all(|c| c.platform.os_features.contains(feature)))
        .map(String::as_str)
        .take(6)
        .collect();
    if !own.is_empty() {
        let _ = write!(text, " with {}", own.join(" "));
    }
    text
}

/// Returns the manifests of an image that are in the store; of an image that was named by the digest
/// of a manifest, that one.
///
/// # Errors
///
/// If the store cannot be read.
pub fn local_manifests(store: &dyn Store, found: &Match) -> Result<Vec<Candidate>, store::Error> {
    let mut local = Vec::new();
    for candidate in listing::candidates_of(store, &found.named.target)? {
        let digest = &candidate.descriptor.digest;
        let named = found.manifest.as_ref().is_none_or(|named| named == digest);
        if named && store.size(digest)?.is_some() {
            local.push(candidate);
        }
    }
    Ok(local)
}

/// Removes blobs that no name leads to, and unpacked files of removed images. If the store cannot
/// be collected now, warns: the next command tries again.
pub fn collect_garbage(ctx: &Context, store: &dyn Store) {
    if let Err(error) = store.collect() {
        ctx.warn(&format!("unused blobs were kept: {}", chain(&error)));
        return;
    }
    let _ = unpack::sweep(store, &unpacked_dir(ctx), false);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, context, image};

    #[test]
    fn a_store_is_opened_once_per_process() {
        let home = tempfile::tempdir().unwrap();
        let ctx = context(home.path(), &Script::silent());
        let one = open(&ctx).unwrap();
        assert!(Arc::ptr_eq(&one, &open(&ctx.clone()).unwrap()));
    }

    #[test]
    fn an_image_is_found_by_name_by_digest_and_without_its_registry() {
        let home = tempfile::tempdir().unwrap();
        let ctx = context(home.path(), &Script::silent());
        let store = open(&ctx).unwrap();
        let nginx = image(&ctx, &*store, "unikraft.org/nginx:1.25", &["qemu/x86_64"]);
        image(&ctx, &*store, "unikraft.org/redis:7", &["qemu/x86_64"]);
        image(&ctx, &*store, "a.example/app:1", &["qemu/x86_64"]);
        image(&ctx, &*store, "b.example/app:1", &["fc/x86_64"]);
        let manifest = listing::candidates_of(&*store, &nginx).unwrap();
        let manifest = &manifest[0].descriptor.digest;

        let found = |typed: &str| {
            let found = look_up(&*store, &typed.parse().unwrap());
            found.map(|found| found.map(|found| found.named.name.to_string()))
        };
        for (typed, name) in [
            ("unikraft.org/nginx:1.25", Some("unikraft.org/nginx:1.25")),
            ("nginx:1.25", Some("unikraft.org/nginx:1.25")),
            ("nginx", None),
            ("unikraft.org/nginx:latest", None),
            ("other.example/nginx:1.25", None),
            ("redis:7", Some("unikraft.org/redis:7")),
        ] {
            assert_eq!(found(typed).unwrap().as_deref(), name, "{typed}");
        }
        for (digest, manifest) in [(&nginx.digest, None), (manifest, Some(manifest))] {
            let typed = format!("nginx@{digest}").parse().unwrap();
            let found = look_up(&*store, &typed).unwrap().unwrap();
            assert_eq!(found.named.name.to_string(), "unikraft.org/nginx:1.25");
            assert_eq!(found.manifest.as_ref(), manifest);
        }
        assert_eq!(found(&format!("redis@{manifest}")).unwrap(), None);
        assert!(matches!(found("app:1"), Err(Error::AmbiguousName { .. })));
    }

    #[test]
    fn removing_an_image_reads_no_other_one() {
        let home = tempfile::tempdir().unwrap();
        let script = Script::silent();
        let ctx = context(home.path(), &script);
        let store = open(&ctx).unwrap();
        let one = image(&ctx, &*store, "a.example/one:1", &["qemu/x86_64"]);
        let other = image(&ctx, &*store, "a.example/other:1", &["qemu/x86_64"]);
        collect_garbage(&ctx, &*store);
        // Following its name fails from here on.
        let blobs = ctx.settings.runtime_dir.join("images/blobs/sha256");
        kraft_sys::fs::overwrite(&blobs.join(other.digest.hex()), b"damaged").unwrap();
        assert!(store.sweep(true).is_err());

        let found = find(&ctx, &*store, "a.example/one:1").unwrap();
        store.untag(&found.named.name).unwrap();
        collect_garbage(&ctx, &*store);
        assert_eq!(script.reported(), [""; 0]);
        assert_eq!(store.size(&one.digest).unwrap(), None);
        assert!(store.size(&other.digest).unwrap().is_some());
    }

    #[test]
    fn a_short_digest_names_an_image_and_a_missing_one_gets_a_suggestion() {
        let home = tempfile::tempdir().unwrap();
        let ctx = context(home.path(), &Script::silent());
        let store = open(&ctx).unwrap();
        let nginx = image(&ctx, &*store, "unikraft.org/nginx:1.25", &["qemu/x86_64"]);
        let short = nginx.digest.hex().get(..8).unwrap();
        let found = find(&ctx, &*store, short).unwrap();
        assert_eq!(found, Match::whole(&store.names().unwrap()[0]));

        let suggestion = |word: &str| match find(&ctx, &*store, word) {
            Err(Error::NotFound(error)) => error.suggestion,
            other => panic!("{word}: {other:?}"),
        };
        let near = Suggestion::Near("unikraft.org/nginx:1.25".to_owned());
        assert_eq!(suggestion("unikraft.org/ngnix:1.25"), near);
        let far = "unikraft.org/something-else:2";
        assert_eq!(suggestion(far), Suggestion::Pull(far.to_owned()));
        assert!(matches!(
            find(&ctx, &*store, "UPPER"),
            Err(Error::Reference(ReferenceError::UpperCase(_)))
        ));
    }

    #[test]
    fn of_equally_good_manifests_the_user_chooses_and_else_the_first_is_taken() {
        let home = tempfile::tempdir().unwrap();
        let name = "a.example/app:1".parse().unwrap();
        let silent = Script::silent();
        let ctx = context(home.path(), &silent);
        let store = open(&ctx).unwrap();
        let mut all = Vec::new();
        for name in ["a.example/app:1", "a.example/app:2"] {
            let target = image(&ctx, &*store, name, &["qemu/x86_64"]);
            all.extend(listing::candidates_of(&*store, &target).unwrap());
        }
        let first = choose_manifest(&ctx, &name, &all, &PlatformFilter::default()).unwrap();
        assert!(silent.reported().join("").contains("taking"), "{silent:?}");

        let ctx = context(home.path(), &Script::choosing(&[1]));
        let second = choose_manifest(&ctx, &name, &all, &PlatformFilter::default()).unwrap();
        assert_ne!(first, second);

        let filter = PlatformFilter {
            os: Some("xen".to_owned()),
            ..PlatformFilter::default()
        };
        let Err(Error::NoMatch(error)) = choose_manifest(&ctx, &name, &all, &filter) else {
            panic!("a manifest for xen");
        };
        assert_eq!(error.available, ["qemu/x86_64"]);
    }
}
