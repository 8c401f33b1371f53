//! Remembers what a root filesystem was built from, in a file beside it, so that it is built again
//! only when that changes.

use std::path::Path;

use kraft_build::state::Product;
use kraft_build::trees;
use kraft_sys::fs;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 4096;

/// The file is beside the archive, under its name with this ending.
const ENDING: &str = ".from";

/// Returns the fingerprint of the source of a root filesystem: names, sizes and times, no contents.
pub(crate) fn of_source(source: &Path, epoch: Option<u32>) -> Result<String, fs::Error> {
    let epoch = epoch.map_or_else(String::new, |seconds| seconds.to_string());
    let print = if source.is_dir() {
        trees::look(&[source], &[])?.all
    } else {
        let product = Product::of(source).map_err(fs::Error::on("look at", source))?;
        format!("{product:?}")
    };
    let version = env!("CARGO_PKG_VERSION");
    Ok(trees::of_texts([
        version.as_bytes(),
        epoch.as_bytes(),
        print.as_bytes(),
    ]))
}

/// Returns whether an archive exists, is complete, and was built from a source of this fingerprint.
pub(crate) fn is_current(archive: &Path, fingerprint: &str) -> bool {
    let Ok(product) = Product::of(archive) else {
        return false;
    };
    fs::read_file(&fs::beside(archive, ENDING), LARGEST)
        .is_ok_and(|found| found == text(fingerprint, &product).as_bytes())
}

/// Writes down what an archive was built from.
pub(crate) fn write(archive: &Path, fingerprint: &str) -> Result<(), fs::Error> {
    let product = Product::of(archive).map_err(fs::Error::on("look at", archive))?;
    fs::replace_file(
        &fs::beside(archive, ENDING),
        text(fingerprint, &product).as_bytes(),
    )
}

fn text(fingerprint: &str, product: &Product) -> String {
    format!("{fingerprint} {} {}\n", product.size, product.time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_current_until_its_source_the_time_or_itself_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (source, archive) = (dir.path().join("root.tar"), dir.path().join("root.cpio"));
        fs::replace_file(&source, b"source").unwrap();
        assert!(of_source(&dir.path().join("gone"), None).is_err());
        let before = of_source(&source, None).unwrap();
        assert!(!is_current(&archive, &before), "there is no archive yet");
        fs::replace_file(&archive, b"archive").unwrap();
        assert!(!is_current(&archive, &before), "it may be incomplete");
        write(&archive, &before).unwrap();
        assert!(is_current(&archive, &before));
        assert_eq!(of_source(&source, None).unwrap(), before);
        assert_ne!(of_source(&source, Some(0)).unwrap(), before);
        fs::replace_file(&source, b"another source").unwrap();
        assert_ne!(of_source(&source, None).unwrap(), before);
        fs::replace_file(&archive, b"half").unwrap();
        assert!(!is_current(&archive, &before), "it was changed since");
    }
}
