//! Documents of registries, and the names of images.

use kraft_core::reference::{Reference, check_host};
use kraft_oci::choose;
use kraft_oci::image::{Config, Document};

/// Parses an index, a manifest or a configuration; what is written back reads the same.
pub fn oci(bytes: &[u8]) {
    match Document::parse("", bytes) {
        Ok(Document::Index(index)) => {
            choose::candidates(&index.manifests);
            let text = serde_json::to_vec(&index).expect("an index can be written");
            if let Ok(again) = Document::parse("", &text) {
                assert_eq!(again, Document::Index(index));
            }
        }
        Ok(Document::Manifest(manifest)) => drop(manifest.blobs().count()),
        Err(_) => {}
    }
    let _ = Config::parse(bytes);
}

/// Parses the name of an image; its full form reads the same.
pub fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let _ = check_host(text);
    let Ok(name) = text.parse::<Reference>() else {
        return;
    };
    let full = name.qualified();
    let again: Reference = full.to_string().parse().expect("a full name is a name");
    assert_eq!(again.qualified(), full, "{text:?}");
    assert!(
        !full
            .path()
            .split('/')
            .any(|part| matches!(part, "" | "." | "..")),
        "{text:?}"
    );
}
