//! Archives that were made from Dockerfiles and images, with what they were made from.
//!
//! ```text
//! RUNTIME_DIR/dockerfiles/             its lock is shared by who builds or uses
//!                         SLOT.cpio    the archive
//!                         SLOT.json    what it was made from, and how the image wants to be run
//!                         mounts/      directories of `--mount=type=cache`
//!                         layers/      cached steps (`kraft_rootfs::dockerfile::Layers`)
//! ```
//!
//! A slot belongs to one Dockerfile with its arguments, or to one image: what is built anew takes
//! the place of what was there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use kraft_build::state::Product;
use kraft_build::trees;
use kraft_core::reference::Digest;
use kraft_rootfs::dockerfile::{self, Keep, Settings};
use kraft_sys::fs;
use kraft_sys::lock::Lock;
use serde::{Deserialize, Serialize};

use super::job::Job;
use super::{Image, Made, bases, builders};
use crate::context::Context;
use crate::failure::Failure;

/// A record is not longer than this, in bytes.
const LARGEST: u64 = 1 << 20;
/// A registry that does not answer for so long is not there.
const SILENCE: Duration = Duration::from_secs(1);
/// What nobody used for so long is removed.
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
pub fn sweep(ctx: &Context, dry_run: bool) -> Result<u64, Failure> {
    let keep = Keep {
        unused: UNUSED_FOR_GC,
        bytes: LAYERS,
    };
    Ok(dockerfile::sweep(&layers_dir(ctx), keep, dry_run)?)
}

/// Returns the directory.
pub(super) fn dir(ctx: &Context) -> PathBuf {
    ctx.settings.runtime_dir.join("dockerfiles")
}

/// Where an archive is kept.
#[derive(Debug)]
pub(super) struct Slot {
    /// The archive.
    archive: PathBuf,
    /// Where the next one grows, which nobody else uses.
    pub(super) next: Next,
    record: PathBuf,
    hold: Lock,
}

/// An archive that is not taken in yet, removed with this unless it was.
#[derive(Debug)]
pub(super) struct Next(pub(super) PathBuf);

impl Drop for Next {
    fn drop(&mut self) {
        // There is none, as a rule.
        let _ = fs::remove_file(&self.0);
    }
}

/// What an archive is made from, as far as it can be told without reading files.
#[derive(Debug)]
pub(super) struct Inputs {
    /// Changes with the Dockerfile, and what is said beside it.
    text: String,
    context: Option<kraft_rootfs::Context>,
    bases: BTreeMap<String, String>,
}

/// What was written down about an archive.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    text: String,
    numbers: String,
    content: Option<String>,
    bases: BTreeMap<String, String>,
    size: u64,
    time: i128,
    settings: Settings,
    /// Paths and patterns that were taken from the context, if the builder reports them.
    #[serde(default)]
    taken: Option<Vec<String>>,
}

impl Slot {
    /// Returns that of a Dockerfile.
    pub(super) fn of_job(ctx: &Context, job: &Job<'_>) -> Result<Self, Failure> {
        let mut words = vec![
            job.file.to_string_lossy().into_owned(),
            job.context.to_string_lossy().into_owned(),
            job.arch.to_owned(),
            job.wish.target.clone().unwrap_or_default(),
        ];
        words.extend(
            job.arguments
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        Self::open(ctx, &words)
    }

    /// Returns that of an image.
    pub(super) fn of_image(ctx: &Context, digest: &Digest, arch: &str) -> Result<Self, Failure> {
        Self::open(ctx, &[digest.to_string(), arch.to_owned()])
    }

    fn open(ctx: &Context, words: &[String]) -> Result<Self, Failure> {
        let dir = dir(ctx);
        fs::create_dir_all(&dir, 0o700)?;
        let epoch = crate::epoch::read(&ctx.env)?;
        let epoch = epoch.map_or_else(String::new, |seconds| seconds.to_string());
        let words = words.iter().map(String::as_bytes);
        let name = trees::of_texts(words.chain([epoch.as_bytes()]));
        let name = name.get(..32).unwrap_or(&name);
        Ok(Self {
            archive: dir.join(format!("{name}.cpio")),
            next: Next(dir.join(format!("{name}-{}.cpio", kraft_machine::Id::new()))),
            record: dir.join(format!("{name}.json")),
            hold: Lock::shared(&dir)?,
        })
    }

    /// Returns what was written down, if the archive is still what would be made now.
    pub(super) fn settings(&self, now: &Inputs) -> Result<Option<Settings>, Failure> {
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
            // Somebody touched files: whether they say something else, only reading tells.
            if record.content.is_none() || context.content(taken)? != record.content {
                return Ok(None);
            }
            record.numbers = numbers;
            self.write(&record)?;
        }
        Ok(Some(record.settings))
    }

    /// Takes the next archive in, and writes down what it was made from.
    pub(super) fn keep(&self, ctx: &Context, from: &Inputs, image: &Image) -> Result<(), Failure> {
        // Looked at before it is taken in: another process may take in its own right after.
        let product = Product::of(&self.next.0).map_err(fs::Error::on("look at", &self.next.0))?;
        fs::rename(&self.next.0, &self.archive)?;
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
            taken: image.taken.clone(),
        })?;
        prune(&dir(ctx));
        Ok(())
    }

    /// Hands the archive over.
    pub(super) fn made(self, settings: Settings) -> Made {
        Made {
            archive: self.archive,
            settings,
            _hold: self.hold,
        }
    }

    fn write(&self, record: &Record) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(record)
            .map_err(|error| Failure::new(crate::failure::Kind::Failed, error))?;
        Ok(fs::replace_file(&self.record, &bytes)?)
    }
}

impl Inputs {
    /// Returns those of a Dockerfile.
    pub(super) fn of_job(ctx: &Context, job: &Job<'_>) -> Result<Self, Failure> {
        let version = env!("CARGO_PKG_VERSION");
        let mut words = vec![
            version.to_owned(),
            job.text.clone(),
            format!("{:?}", job.wish.builder),
        ];
        for secret in job.secrets(ctx)? {
            words.push(secret.id);
            words.push(trees::of_texts([secret.bytes.as_slice()]));
        }
        let mut now = BTreeMap::new();
        // Where one registry is silent the others are not waited for: there is no network.
        let mut silent = false;
        for name in job.bases() {
            let mut digest = builders::image_id(ctx, job.wish.builder, &name);
            if digest.is_none() {
                let asked = Instant::now();
                digest = bases::digest_now(ctx, &name, silent);
                silent |= digest.is_none() && asked.elapsed() > SILENCE;
            }
            // What nobody can tell is taken to be what it was.
            now.insert(name, digest.unwrap_or_default());
        }
        Ok(Self {
            text: trees::of_texts(words.iter().map(String::as_bytes)),
            context: Some(kraft_rootfs::Context::look(&job.context, &job.ignore)?),
            bases: now,
        })
    }

    /// Returns those of an image, which its digest says.
    pub(super) fn of_image(digest: &Digest) -> Self {
        Self {
            text: format!("{} {digest}", env!("CARGO_PKG_VERSION")),
            context: None,
            bases: BTreeMap::new(),
        }
    }
}

/// Returns whether images are what they were, as far as anybody can tell.
fn same_bases(then: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> bool {
    let same = |(name, digest): (&String, &String)| {
        then.get(name)
            .is_some_and(|old| digest.is_empty() || old == digest)
    };
    then.len() == now.len() && now.iter().all(same)
}

/// Removes what nobody used for long. Nobody waits for it.
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
