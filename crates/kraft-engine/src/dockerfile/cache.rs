//! Cache of archives that were built from Dockerfiles and images, with a record of their inputs.
//!
//! ```text
//! RUNTIME_DIR/dockerfiles/             its lock is shared by processes that build or use
//!                         SLOT.cpio    the archive
//!                         SLOT.json    its inputs, and the run configuration of the image
//!                         mounts/      directories of `--mount=type=cache`
//!                         layers/      cached steps (`kraft_rootfs::dockerfile::Layers`)
//! ```
//!
//! A slot belongs to one Dockerfile with its arguments, or to one image: a new build replaces the
//! archive.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use kraft_build::state::Product;
use kraft_build::trees;
use kraft_buildkit::Secret;
use kraft_core::reference::Digest;
use kraft_oci::digest;
use kraft_rootfs::dockerfile::{self, Keep, Settings};
use kraft_sys::fs;
use kraft_sys::lock::Lock;
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::request::BuildRequest;
use super::{BuildOutput, Image, bases, builders};
use crate::context::Context;

/// Maximum size of a record in bytes.
const LARGEST: u64 = 1 << 20;
/// After a registry that did not answer for this time, no other registry is asked.
const SILENCE: Duration = Duration::from_secs(1);
/// Archives and steps that were not used for this time are removed.
const UNUSED: Duration = Duration::from_hours(30 * 24);

/// Maximum total size of cached steps in bytes.
const LAYERS: u64 = 10 << 30;
/// `kraft store gc` removes steps that were not used for this time.
const UNUSED_FOR_GC: Duration = Duration::from_hours(24);

/// Returns the directory of cached steps.
pub(super) fn layers_dir(ctx: &Context) -> PathBuf {
    dir(ctx).join("layers")
}

/// Removes old cached steps after a build. Errors do not matter.
pub(super) fn prune_layers(ctx: &Context) {
    let keep = Keep {
        unused: UNUSED,
        bytes: LAYERS,
    };
    let _ = dockerfile::sweep(&layers_dir(ctx), keep, false);
}

/// Removes cached steps that were not used for a day; returns the freed bytes.
pub fn remove_unused(ctx: &Context, dry_run: bool) -> Result<u64, Error> {
    let keep = Keep {
        unused: UNUSED_FOR_GC,
        bytes: LAYERS,
    };
    Ok(dockerfile::sweep(&layers_dir(ctx), keep, dry_run)?)
}

/// Returns the directory of the cache.
pub(super) fn dir(ctx: &Context) -> PathBuf {
    ctx.settings.runtime_dir.join("dockerfiles")
}

/// Place of one archive in the cache.
#[derive(Debug)]
pub(super) struct Slot {
    /// The archive.
    archive: PathBuf,
    /// The next archive while it is built.
    pub(super) pending: Pending,
    record: PathBuf,
    lock: Lock,
}

/// An archive that is built, with a name that no other process uses; removed with this unless it
/// was kept.
#[derive(Debug)]
pub(super) struct Pending(pub(super) PathBuf);

impl Drop for Pending {
    fn drop(&mut self) {
        // There usually is no such file.
        let _ = fs::remove_file(&self.0);
    }
}

/// Inputs of an archive, as far as they are known without reading files.
#[derive(Debug)]
pub(super) struct Inputs {
    /// Fingerprint of the Dockerfile, the builder and the secrets.
    text: String,
    context: Option<kraft_rootfs::Context>,
    /// Digests of the images that are built on; empty where unknown.
    bases: BTreeMap<String, String>,
}

/// Record of an archive on disk.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    text: String,
    numbers: String,
    content: Option<String>,
    bases: BTreeMap<String, String>,
    size: u64,
    time: i128,
    settings: Settings,
    /// Digest of the archive, once it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// Paths and patterns that were read from the context, if the builder reports them.
    #[serde(default)]
    taken: Option<Vec<String>>,
}

impl Slot {
    /// Returns the slot of a Dockerfile.
    pub(super) fn of_request(ctx: &Context, request: &BuildRequest<'_>) -> Result<Self, Error> {
        Self::open(ctx, request_key(request))
    }

    /// Returns the slot of an image.
    pub(super) fn of_image(ctx: &Context, digest: &Digest, arch: &str) -> Result<Self, Error> {
        Self::open(ctx, vec![digest.to_string(), arch.to_owned()])
    }

    fn open(ctx: &Context, key: Vec<String>) -> Result<Self, Error> {
        let dir = dir(ctx);
        fs::create_dir_all(&dir, 0o700)?;
        let name = slot_name(key, crate::epoch::read(&ctx.env)?);
        Ok(Self {
            archive: dir.join(format!("{name}.cpio")),
            pending: Pending(dir.join(format!("{name}-{}.cpio", kraft_machine::Id::new()))),
            record: dir.join(format!("{name}.json")),
            lock: Lock::shared(&dir)?,
        })
    }

    /// Returns the run configuration of the archive, if it is up to date.
    pub(super) fn settings(&self, now: &Inputs) -> Result<Option<Settings>, Error> {
        let Ok(bytes) = fs::read_file(&self.record, LARGEST) else {
            return Ok(None);
        };
        let Ok(mut record) = serde_json::from_slice::<Record>(&bytes) else {
            return Ok(None);
        };
        let Ok(product) = Product::of(&self.archive) else {
            return Ok(None);
        };
        let whole = product.size == record.size && product.time == record.time;
        if !whole || record.text != now.text || !same_bases(&record.bases, &now.bases) {
            return Ok(None);
        }
        let Some(context) = &now.context else {
            return Ok(Some(record.settings));
        };
        let taken = record.taken.as_deref();
        let numbers = context.numbers(taken);
        if numbers != record.numbers {
            // Files were touched: only reading them shows whether their contents changed.
            if record.content.is_none() || context.content(taken)? != record.content {
                return Ok(None);
            }
            record.numbers = numbers;
            self.write(&record)?;
        }
        Ok(Some(record.settings))
    }

    /// Replaces the archive with the pending one, and records its inputs.
    pub(super) fn keep(&self, ctx: &Context, from: &Inputs, image: &Image) -> Result<(), Error> {
        // Before the rename: another process may replace the archive right after it.
        let pending = &self.pending.0;
        let product = Product::of(pending).map_err(fs::Error::on("read", pending))?;
        fs::rename(pending, &self.archive)?;
        let (numbers, content) = match &from.context {
            Some(context) => {
                let taken = image.taken.as_deref();
                (context.numbers(taken), context.content(taken)?)
            }
            None => (String::new(), None),
        };
        self.write(&Record {
            text: from.text.clone(),
            numbers,
            content,
            bases: from.bases.clone(),
            size: product.size,
            time: product.time,
            settings: image.settings.clone(),
            digest: None,
            taken: image.taken.clone(),
        })?;
        prune(&dir(ctx));
        Ok(())
    }

    /// Returns the archive with its lock.
    pub(super) fn output(self, settings: Settings) -> BuildOutput {
        BuildOutput {
            archive: self.archive,
            settings,
            _lock: self.lock,
        }
    }

    fn write(&self, record: &Record) -> Result<(), Error> {
        let bytes = serde_json::to_vec(record).map_err(Error::Record)?;
        Ok(fs::replace_file(&self.record, &bytes)?)
    }
}

/// Returns the digest of an archive in the cache. It is computed once, and recorded.
///
/// # Errors
///
/// If the archive cannot be read.
pub(crate) fn digest_of(archive: &Path) -> Result<Digest, fs::Error> {
    let product = || Product::of(archive).map_err(fs::Error::on("read", archive));
    let path = archive.with_extension("json");
    // The record is that of the archive as it is.
    let recorded = |product: &Product| {
        let bytes = fs::read_file(&path, LARGEST).ok()?;
        let record: Record = serde_json::from_slice(&bytes).ok()?;
        (record.size == product.size && record.time == product.time).then_some(record)
    };
    let before = product()?;
    let known = recorded(&before).and_then(|record| record.digest?.parse().ok());
    if let Some(digest) = known {
        return Ok(digest);
    }
    let digest = digest::of_file(archive)?;
    let after = product()?;
    if (after.size, after.time) == (before.size, before.time)
        && let Some(mut record) = recorded(&after)
    {
        record.digest = Some(digest.to_string());
        // Without it, the archive is read again the next time.
        if let Ok(bytes) = serde_json::to_vec(&record) {
            let _ = fs::replace_file(&path, &bytes);
        }
    }
    Ok(digest)
}

/// Returns what selects the slot of a Dockerfile.
fn request_key(request: &BuildRequest<'_>) -> Vec<String> {
    let mut key = vec![
        request.file.to_string_lossy().into_owned(),
        request.context.to_string_lossy().into_owned(),
        request.arch.to_owned(),
        request.options.target.clone().unwrap_or_default(),
    ];
    let arguments = request.arguments.iter();
    key.extend(arguments.map(|(name, value)| format!("{name}={value}")));
    key
}

/// Returns the name of a slot: a fingerprint of its key and of the time in the archive.
fn slot_name(mut key: Vec<String>, epoch: Option<u32>) -> String {
    key.push(epoch.map_or_else(String::new, |epoch| epoch.to_string()));
    let mut name = trees::of_texts(key.iter().map(String::as_bytes));
    name.truncate(32);
    name
}

/// Returns the fingerprint of what a Dockerfile is built from besides its context and its bases.
fn text_key(request: &BuildRequest<'_>, secrets: Vec<Secret>) -> String {
    let mut key = vec![
        env!("CARGO_PKG_VERSION").to_owned(),
        request.text.clone(),
        format!("{:?}", request.options.builder),
    ];
    for secret in secrets {
        key.push(secret.id);
        key.push(trees::of_texts([secret.bytes.as_slice()]));
    }
    trees::of_texts(key.iter().map(String::as_bytes))
}

impl Inputs {
    /// Returns the inputs of a Dockerfile.
    pub(super) fn of_request(ctx: &Context, request: &BuildRequest<'_>) -> Result<Self, Error> {
        let text = text_key(request, request.secrets(ctx)?);
        let mut now = BTreeMap::new();
        // After one silent registry no other is asked: there is no network.
        let mut silent = false;
        for name in request.bases() {
            let mut digest = builders::image_id(ctx, request.options.builder, &name);
            if digest.is_none() {
                let asked = Instant::now();
                digest = bases::current_digest(ctx, &name, silent);
                silent |= digest.is_none() && asked.elapsed() > SILENCE;
            }
            // An unknown digest counts as unchanged.
            now.insert(name, digest.unwrap_or_default());
        }
        Ok(Self {
            text,
            context: Some(kraft_rootfs::Context::look(
                &request.context,
                &request.ignore,
            )?),
            bases: now,
        })
    }

    /// Returns the inputs of an image: its digest.
    pub(super) fn of_image(digest: &Digest) -> Self {
        Self {
            text: format!("{} {digest}", env!("CARGO_PKG_VERSION")),
            context: None,
            bases: BTreeMap::new(),
        }
    }
}

/// Returns whether images have the digests that they had, as far as those are known.
fn same_bases(then: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> bool {
    let same = |(name, digest): (&String, &String)| {
        then.get(name)
            .is_some_and(|old| digest.is_empty() || old == digest)
    };
    then.len() == now.len() && now.iter().all(same)
}

/// Removes archives that were not used for long. Errors do not matter: the next build tries again.
fn prune(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    let now = SystemTime::now();
    for entry in entries.flatten() {
        let old = entry.metadata().ok().filter(std::fs::Metadata::is_file);
        let old = old.and_then(|metadata| metadata.accessed().ok());
        let old = old.and_then(|used| now.duration_since(used).ok());
        if old.is_some_and(|unused| unused > UNUSED) {
            let _ = fs::remove_file(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kraft_core::dockerfile::patterns::Patterns;

    use super::super::options::BuildOptions;
    use super::super::tests::context;
    use super::*;

    #[test]
    fn each_part_of_a_key_selects_another_slot() {
        let options = BuildOptions::default();
        let release = BuildOptions {
            target: Some("release".to_owned()),
            ..BuildOptions::default()
        };
        let request = |change: fn(&mut BuildRequest<'_>)| {
            let mut request = BuildRequest::of_text("FROM scratch\n", &options);
            change(&mut request);
            request_key(&request)
        };
        let argument = |name: &str, value: &str| {
            let mut request = BuildRequest::of_text("FROM scratch\n", &options);
            request.arguments.insert(name.to_owned(), value.to_owned());
            request_key(&request)
        };
        let keys = [
            (request(|_| {}), None),
            (request(|_| {}), Some(0)),
            (request(|_| {}), Some(1)),
            (request(|request| request.file = "other".into()), None),
            (request(|request| request.context = "other".into()), None),
            (request(|request| request.arch = "arm64"), None),
            (request_key(&BuildRequest::of_text("", &release)), None),
            (argument("A", "1"), None),
            (argument("A", "2"), None),
            (argument("A", ""), None),
            (argument("A=1", ""), None),
            (argument("B", "1"), None),
        ];
        let count = keys.len();
        let names = keys.map(|(key, epoch)| slot_name(key, epoch));
        assert!(names.iter().all(|name| name.len() == 32), "{names:?}");
        assert_eq!(names.into_iter().collect::<BTreeSet<_>>().len(), count);
        // The text is an input, not a part of the key: a new text replaces the archive.
        let other = BuildRequest::of_text("FROM a\n", &options);
        assert_eq!(request_key(&other), request(|_| {}));
    }

    #[test]
    fn the_fingerprint_changes_with_text_builder_and_secrets() {
        let options = BuildOptions::default();
        let kraft = BuildOptions {
            builder: builders::Builder::Kraft,
            ..BuildOptions::default()
        };
        let secret = |id: &str, bytes: &str| Secret {
            id: id.to_owned(),
            bytes: bytes.into(),
        };
        let of = |text: &str, options: &BuildOptions, secrets: Vec<Secret>| {
            text_key(&BuildRequest::of_text(text, options), secrets)
        };
        let keys = BTreeSet::from([
            of("FROM a\n", &options, vec![]),
            of("FROM b\n", &options, vec![]),
            of("FROM a\n", &kraft, vec![]),
            of("FROM a\n", &options, vec![secret("a", "1")]),
            of("FROM a\n", &options, vec![secret("a", "2")]),
            of("FROM a\n", &options, vec![secret("b", "1")]),
        ]);
        assert_eq!(keys.len(), 6);
    }

    #[test]
    fn bases_are_the_same_unless_a_known_digest_differs() {
        let bases = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pairs = pairs.iter();
            pairs
                .map(|(n, d)| ((*n).to_owned(), (*d).to_owned()))
                .collect()
        };
        for (then, now, expected) in [
            (&[][..], &[][..], true),
            (&[("a", "1")], &[("a", "1")], true),
            (&[("a", "1")], &[("a", "2")], false),
            (&[("a", "1")], &[("a", "")], true),
            (&[("a", "")], &[("a", "1")], false),
            (&[("a", "1")], &[("b", "1")], false),
            (&[("a", "1")], &[], false),
            (&[("a", "1")], &[("a", "1"), ("b", "")], false),
        ] {
            assert_eq!(
                same_bases(&bases(then), &bases(now)),
                expected,
                "{then:?} {now:?}"
            );
        }
    }

    #[test]
    fn an_archive_is_up_to_date_while_its_inputs_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let ctx = context(dir.path(), []);
        let project = dir.path().join("project");
        std::fs::create_dir(&project).unwrap();
        let put = |name: &str, text: &str| {
            fs::replace_file(&project.join(name), text.as_bytes()).unwrap();
        };
        put("used", "1");
        let inputs = |text: &str, base: &str| Inputs {
            text: text.to_owned(),
            context: Some(kraft_rootfs::Context::look(&project, &Patterns::default()).unwrap()),
            bases: BTreeMap::from([("a".to_owned(), base.to_owned())]),
        };
        let slot = || Slot::open(&ctx, vec!["key".to_owned()]).unwrap();
        let current = |now: &Inputs| slot().settings(now).unwrap().is_some();
        assert!(!current(&inputs("t", "1")), "there is no archive");

        let image = Image {
            settings: Settings::default(),
            taken: Some(vec!["used".to_owned()]),
        };
        let built = slot();
        fs::replace_file(&built.pending.0, b"archive").unwrap();
        built.keep(&ctx, &inputs("t", "1"), &image).unwrap();
        assert!(current(&inputs("t", "1")));
        assert!(current(&inputs("t", "")), "the base cannot be asked for");
        assert!(!current(&inputs("t", "2")), "the base changed");
        assert!(!current(&inputs("u", "1")), "the text changed");

        put("unused", "2");
        assert!(current(&inputs("t", "1")), "the file is not copied");
        put("used", "1");
        assert!(current(&inputs("t", "1")), "the content is the same");
        put("used", "2");
        assert!(!current(&inputs("t", "1")), "the content changed");
        put("used", "1");
        assert!(current(&inputs("t", "1")));
        fs::replace_file(&built.archive, b"damaged").unwrap();
        assert!(!current(&inputs("t", "1")), "the archive changed");
        drop(built);
        assert!(slot().pending.0.metadata().is_err());
    }
}
