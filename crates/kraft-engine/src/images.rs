//! Images as commands meet them: the store opened, an image found by what was typed, one of its
//! manifests chosen.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use kraft_core::nearest::nearest;
use kraft_core::reference::{Digest, Reference};
use kraft_oci::choose::{Candidate, Choice, Taste, Wish, choose};
use kraft_oci::image::Platform;
use kraft_oci::store::containerd::{self, Containerd};
use kraft_oci::store::layout::Layout;
use kraft_oci::store::{Named, Store};
use kraft_oci::{listing, unpack};

use super::kraftkit;
use crate::context::Context;
use crate::failure::{Failure, Kind, chain};

/// Opens the store of images: the containerd that is configured, else the directory of ours.
/// What KraftKit left beside that directory is imported the first time.
pub fn open(ctx: &Context) -> Result<Arc<dyn Store>, Failure> {
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

/// Opens the store of images without a look at what KraftKit left.
pub(super) fn open_as_it_is(ctx: &Context) -> Result<Arc<dyn Store>, Failure> {
    let dir = ctx.settings.runtime_dir.join("images");
    if let Some(address) = &ctx.settings.containerd_addr {
        let namespace = ctx.env.text("CONTAINERD_NAMESPACE");
        return Ok(Arc::new(Containerd::open(&containerd::Settings {
            address: address.to_owned(),
            namespace: namespace.unwrap_or_else(|| "default".to_owned()),
            lock_dir: dir,
        })?));
    }
    Ok(Arc::new(Layout::open(&dir)?))
}

/// Warns, once, of images that state a wrong size for a document whose digest is right.
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

/// Returns the directory of what was unpacked from images.
pub fn unpacked_dir(ctx: &Context) -> PathBuf {
    ctx.settings.runtime_dir.join("unpacked")
}

/// An image of the store that was meant.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name and what that points to.
    pub named: Named,
    /// The one manifest that was meant, if it was named by its digest.
    pub manifest: Option<Digest>,
}

/// Finds an image by its name, by the digest of its index or of one of its manifests, or without
/// its registry; `None` if there is none.
pub fn look_up(store: &dyn Store, typed: &Reference) -> Result<Option<Found>, Failure> {
    let full = typed.qualified();
    let whole = |named: &Named| Found {
        named: named.clone(),
        manifest: None,
    };
    if let Some(named) = store.find(&full)? {
        return Ok(Some(whole(&named)));
    }
    let names = store.names()?;
    let same_place = |named: &&Named| match typed.registry() {
        Some(_) => named.name.path() == full.path(),
        None => named.name.repository() == full.repository(),
    };
    if let Some(digest) = full.digest() {
        for named in names.iter().filter(same_place) {
            if named.target.digest == *digest {
                return Ok(Some(whole(named)));
            }
            let candidates = listing::candidates_of(store, &named.target)?;
            if candidates.iter().any(|c| c.descriptor.digest == *digest) {
                return Ok(Some(Found {
                    named: named.clone(),
                    manifest: Some(digest.clone()),
                }));
            }
        }
        return Ok(None);
    }
    let mut there = names
        .iter()
        .filter(same_place)
        .filter(|named| named.name.tag() == full.tag());
    match (there.next(), there.next()) {
        (None, _) => Ok(None),
        (Some(one), None) => Ok(Some(whole(one))),
        (Some(one), Some(other)) => Err(Failure::usage(format!(
            "`{typed}` may mean `{}` or `{}`",
            one.name, other.name
        ))
        .hint("name the one you mean with its registry")),
    }
}

/// Finds an image by its name or by the first digits of its digest, as `kraft pkg ls` shows them.
pub fn find(ctx: &Context, store: &dyn Store, word: &str) -> Result<Found, Failure> {
    let typed: Reference = word.parse()?;
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
                return Err(Failure::usage(format!(
                    "`{word}` may mean `{}` or `{}`",
                    named.name, other.name
                )));
            }
            return Ok(Found {
                named: named.clone(),
                manifest: None,
            });
        }
    }
    Err(not_here(ctx, store, &typed))
}

/// The image is not in the store.
pub fn not_here(ctx: &Context, store: &dyn Store, typed: &Reference) -> Failure {
    let failure = Failure::new(
        Kind::NotFound,
        format!("there is no image `{}` on this computer", typed.qualified()),
    );
    if kraftkit::has(ctx, typed) {
        return kraftkit::advise(ctx, typed, failure);
    }
    let names = store.names().unwrap_or_default();
    let names: Vec<String> = names.iter().map(|named| named.name.to_string()).collect();
    let full = typed.qualified().to_string();
    match nearest(&full, names.iter().map(String::as_str)) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint(format!(
            "`kraft pkg ls` lists what is here; `kraft pkg pull {typed}` fetches it"
        )),
    }
}

/// Returns what this host would rather run.
pub fn taste() -> Taste {
    Taste {
        arch: match kraft_core::arch::HOST {
            "aarch64" => "arm64".to_owned(),
            other => other.to_owned(),
        },
        platforms: vec![kraft_core::platform::Platform::Qemu.name().to_owned()],
    }
}

/// Chooses a manifest: asks on a terminal where several are equally good, else takes the first of
/// them and says so.
pub fn pick(
    ctx: &Context,
    name: &Reference,
    candidates: &[Candidate],
    wish: &Wish,
) -> Result<Candidate, Failure> {
    match choose(candidates, wish, &taste()) {
        Choice::One(one) => Ok(*one),
        Choice::Several(several) => {
            let lines: Vec<String> = several.iter().map(|c| describe(c, &several)).collect();
            let question = format!("Several manifests of {name} fit. Which one?");
            let at = ctx.select(&question, &lines)?;
            if at.is_none() {
                ctx.info(&format!(
                    "{} manifests of {name} fit equally well; taking {}",
                    several.len(),
                    lines.first().map(String::as_str).unwrap_or_default()
                ));
            }
            several
                .into_iter()
                .nth(at.unwrap_or_default())
                .ok_or_else(|| Failure::new(Kind::Failed, "nothing was chosen"))
        }
        Choice::None(there) => Err(none_fits(name, wish, &there)),
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

fn none_fits(name: &Reference, wish: &Wish, there: &[Platform]) -> Failure {
    let message = format!("the image `{name}` has nothing for {}", wish.shown());
    let mut pairs: Vec<String> = there.iter().map(Platform::pair).collect();
    pairs.sort();
    pairs.dedup();
    let failure = Failure::new(Kind::NotFound, message);
    if pairs.is_empty() {
        return failure.hint("it holds no unikernel: it may be an image for containers");
    }
    if wish.features.is_empty() {
        return failure.hint(format!("it has {}", pairs.join(", ")));
    }
    failure.hint(format!(
        "it has {}; `kraft pkg inspect {name}` shows with which options each was built",
        pairs.join(", ")
    ))
}

/// Returns the manifests of an image that are whole on this computer.
pub fn here(store: &dyn Store, found: &Found) -> Result<Vec<Candidate>, Failure> {
    let mut here = Vec::new();
    for candidate in listing::candidates_of(store, &found.named.target)? {
        let digest = &candidate.descriptor.digest;
        let meant = found.manifest.as_ref().is_none_or(|meant| meant == digest);
        if meant && store.size(digest)?.is_some() {
            here.push(candidate);
        }
    }
    Ok(here)
}

/// Removes what no name leads to any more. Nobody waits for it: a store that cannot be swept now
/// is swept the next time.
pub fn tidy(ctx: &Context, store: &dyn Store) {
    if let Err(error) = store.collect() {
        ctx.warn(&format!("unused blobs were kept: {}", chain(&error)));
        return;
    }
    let _ = unpack::sweep(store, &unpacked_dir(ctx), false);
}
