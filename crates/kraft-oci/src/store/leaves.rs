//! The manifests of an image, wherever in its indexes they stand.
//!
//! An entry of an index may be an index itself, and need not name a platform: then that of the entry
//! around it counts, else what the manifest or its configuration says.

use std::collections::BTreeSet;

use kraft_core::reference::Digest;

use super::{Blobs, Error, config, document};
use crate::image::{DEEPEST, Descriptor, Document, Index, Manifest, Platform, media};

/// Returns the manifests of a document, whether they exist locally or not, in order and without
/// duplicates, with their platforms if known. The document itself, if it is a manifest.
///
/// Indexes that are not here lead nowhere.
pub fn leaves(blobs: &dyn Blobs, target: &Descriptor) -> Result<Vec<Descriptor>, Error> {
    match document(blobs, target)? {
        Document::Manifest(manifest) => {
            let mut alone = target.clone();
            alone.platform = Some(platform_of(blobs, &manifest)?);
            Ok(vec![alone])
        }
        Document::Index(index) => {
            let mut walk = Walk {
                blobs,
                seen: BTreeSet::from([target.digest.clone()]),
                leaves: Vec::new(),
            };
            walk.index(index, None, DEEPEST)?;
            Ok(walk.leaves)
        }
    }
}

/// Returns the manifests of a document that exist locally.
pub fn manifests(
    blobs: &dyn Blobs,
    target: &Descriptor,
) -> Result<Vec<(Descriptor, Manifest)>, Error> {
    let mut found = Vec::new();
    for leaf in leaves(blobs, target)? {
        if let Some(Document::Manifest(manifest)) = if_here(blobs, &leaf)? {
            found.push((leaf, manifest));
        }
    }
    Ok(found)
}

/// Adds the platform of the entry around it to an entry of an index that names none.
pub(crate) fn inherit(child: &mut Descriptor, around: Option<&Platform>) {
    if child.platform.is_none() && !child.is_attestation() {
        child.platform = around.cloned();
    }
}

/// A walk that passes nothing twice.
struct Walk<'a> {
    blobs: &'a dyn Blobs,
    seen: BTreeSet<Digest>,
    leaves: Vec<Descriptor>,
}

impl Walk<'_> {
    fn index(
        &mut self,
        index: Index,
        around: Option<&Platform>,
        depth: usize,
    ) -> Result<(), Error> {
        for mut child in index.manifests {
            if !media::is_document(&child.media_type) || !self.seen.insert(child.digest.clone()) {
                continue;
            }
            inherit(&mut child, around);
            let inner = media::is_index(&child.media_type);
            let unclear = child.media_type.is_empty()
                || (child.platform.is_none() && !child.is_attestation());
            let here = if inner || unclear {
                if_here(self.blobs, &child)?
            } else {
                None
            };
            match here {
                Some(Document::Index(index)) if depth > 1 => {
                    self.index(index, child.platform.as_ref(), depth - 1)?;
                    continue;
                }
                Some(Document::Manifest(manifest)) if child.platform.is_none() => {
                    child.platform = platform_of(self.blobs, &manifest).ok();
                }
                _ => {}
            }
            if !inner {
                self.leaves.push(child);
            }
        }
        Ok(())
    }
}

/// Reads a document, unless it is not here. One that makes no sense is as good as not here: what
/// is under its digest belongs to another image.
fn if_here(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Option<Document>, Error> {
    if blobs.size(&descriptor.digest)?.is_none() {
        return Ok(None);
    }
    match document(blobs, descriptor) {
        Ok(document) => Ok(Some(document)),
        Err(Error::Document { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns what a manifest runs on: as the descriptor of its configuration says, else as that says.
fn platform_of(blobs: &dyn Blobs, manifest: &Manifest) -> Result<Platform, Error> {
    match &manifest.config.platform {
        Some(platform) => Ok(platform.clone()),
        None => Ok(config(blobs, &manifest.config)?.platform),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::store::layout::Layout;
    use crate::store::{Lease, Store, put};

    fn entry(descriptor: &Descriptor) -> Value {
        json!({"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": 32})
    }

    fn index(lease: &dyn Lease, entries: &[Value]) -> Descriptor {
        let index = json!({"schemaVersion": 2, "manifests": entries});
        put(lease, media::INDEX, index.to_string().as_bytes(), None).unwrap()
    }

    fn manifest(lease: &dyn Lease, arch: &str) -> Descriptor {
        let config = json!({"os": "qemu", "architecture": arch}).to_string();
        let config = put(lease, media::CONFIG, config.as_bytes(), None).unwrap();
        let manifest = json!({"schemaVersion": 2, "config": entry(&config), "layers": []});
        put(
            lease,
            media::MANIFEST,
            manifest.to_string().as_bytes(),
            None,
        )
        .unwrap()
    }

    fn pairs(layout: &Layout, target: &Descriptor) -> Vec<String> {
        let leaves = leaves(layout, target).unwrap();
        leaves
            .iter()
            .map(|leaf| {
                leaf.platform
                    .as_ref()
                    .map_or("none".to_owned(), Platform::pair)
            })
            .collect()
    }

    #[test]
    fn manifests_are_found_in_indexes_of_indexes_with_their_platforms() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(&dir.path().join("images")).unwrap();
        let lease = layout.lease().unwrap();
        let (x86, arm) = (manifest(&*lease, "x86_64"), manifest(&*lease, "arm64"));
        let mut named = entry(&arm);
        named["platform"] = json!({"os": "fc", "architecture": "arm64"});
        let mut attestation = entry(&manifest(&*lease, "unknown"));
        attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
        let inner = index(&*lease, &[entry(&x86), named, attestation, entry(&x86)]);
        let mut around = entry(&index(&*lease, &[entry(&arm)]));
        around["platform"] = json!({"os": "xen", "architecture": "arm64"});
        let mut vague = entry(&inner);
        vague["mediaType"] = Value::Null;
        for (entries, expected) in [
            (vec![entry(&inner)], vec!["qemu/x86_64", "fc/arm64", "none"]),
            (vec![vague], vec!["qemu/x86_64", "fc/arm64", "none"]),
            (vec![around.clone()], vec!["xen/arm64"]),
            // What was passed once is not passed again.
            (vec![around, entry(&arm)], vec!["xen/arm64"]),
        ] {
            let target = index(&*lease, &entries);
            assert_eq!(pairs(&layout, &target), expected);
        }
        assert_eq!(pairs(&layout, &x86), ["qemu/x86_64"]);
        let found = manifests(&layout, &inner).unwrap();
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn indexes_are_followed_to_a_depth_and_those_that_are_absent_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(&dir.path().join("images")).unwrap();
        let lease = layout.lease().unwrap();
        let mut target = index(&*lease, &[entry(&manifest(&*lease, "x86_64"))]);
        for _ in 1..DEEPEST {
            target = index(&*lease, &[entry(&target)]);
        }
        assert_eq!(pairs(&layout, &target), ["qemu/x86_64"]);
        target = index(&*lease, &[entry(&target)]);
        assert_eq!(pairs(&layout, &target), [""; 0]);
        let absent = Descriptor::of(media::INDEX, b"elsewhere");
        let target = index(&*lease, &[entry(&absent)]);
        assert_eq!(pairs(&layout, &target), [""; 0]);
    }
}
