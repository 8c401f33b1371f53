//! Archives: tarballs with any compression, root filesystems made from them, newc archives.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kraft_archive::compression::decompress;
use kraft_archive::tar::{Limits, Reader};
use kraft_rootfs::{Layer, Options, archive, build_layers};

const LIMITS: Limits = Limits {
    entries: 1000,
    bytes: 1 << 24,
};

/// Reads a tarball, compressed or not: each entry has as many bytes as it says.
pub fn tar(bytes: &[u8]) {
    let Ok(stream) = decompress(bytes) else {
        return;
    };
    let mut reader = Reader::new(stream, LIMITS);
    while let Ok(Some(entry)) = reader.next_entry() {
        match io::copy(&mut reader, &mut io::sink()) {
            Ok(count) => assert_eq!(count, entry.size, "{entry:?}"),
            Err(_) => return,
        }
    }
}

/// Makes a root filesystem from the layers of an image: the result, if there is one, is an archive
/// that a kernel can unpack. Layers begin at multiples of `LAYER` bytes that hold only `0xff`.
pub fn rootfs(bytes: &[u8]) {
    let place = Scratch::new();
    let out = place.0.join("rootfs.cpio");
    let mut layers = Layers(bytes);
    let mut next = || {
        layers.next().map(|layer| Layer {
            name: PathBuf::from("layer"),
            // More than any input expands to without being a bomb; writing those takes too long.
            tar: Box::new(layer.take(1 << 20)),
        })
    };
    if build_layers(&mut next, &out, &Options::default(), &mut |_| {}).is_ok() {
        let written = std::fs::read(&out).expect("the archive was written");
        assert!(cpio(&written), "the archive cannot be unpacked");
    }
}

const LAYER: usize = 512;

struct Layers<'b>(&'b [u8]);

impl<'b> Iterator for Layers<'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let mut blocks = self.0.chunks(LAYER);
        let end = blocks.position(|block| block.iter().all(|&byte| byte == 0xff));
        let (layer, rest) = self.0.split_at(end.map_or(self.0.len(), |end| end * LAYER));
        self.0 = rest.get(LAYER..).unwrap_or_default();
        Some(layer)
    }
}

/// A directory of this process in memory, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let path = parent.join(format!("kraft-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary directory can be made");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Reads a newc archive to its end and returns whether it is one: no path leads out of the root.
pub fn cpio(bytes: &[u8]) -> bool {
    let mut reader = archive::Reader::new(bytes);
    while let Ok(Some(entry)) = reader.next_entry() {
        let mut parts = entry.path.split(|&byte| byte == b'/');
        assert!(
            entry.path.is_empty() || parts.all(|part| !matches!(part, b"" | b"." | b"..")),
            "{entry:?} leads out of the root"
        );
        if reader.copy_content(&mut io::sink()).is_err() {
            return false;
        }
    }
    reader.finish().is_ok()
}
