//! Reads and writes layers: tars with one file.
//!
//! Written layers are identical to those of Go's `archive/tar` in `KraftKit` (ustar, POSIX.1-1988):
//! no time, no owner, no directory entries, two zero blocks at the end. So the digest of a layer
//! depends only on the file. Any tar can be read, also compressed.
//!
//! ```
//! use kraft_oci::layer::{Role, pack, read};
//! use kraft_oci::store::{Blobs, Store, layout::Layout};
//!
//! let dir = tempfile::tempdir()?;
//! let store = Layout::open(dir.path())?;
//! let lease = store.lease()?;
//! let layer = pack(&*lease, Role::Initrd, false, &mut &b"files"[..], 5, &mut |_| {})?;
//! assert_eq!(Role::of_layer(&layer), Some(Role::Initrd));
//!
//! let mut found = Vec::new();
//! read(&mut store.open(&layer.digest)?, &mut |file| {
//!     std::io::copy(file.content, &mut found).map(drop)
//! })?;
//! assert_eq!(found, b"files");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io::{self, Read, Write};

use kraft_archive::compression::{self, Compression, Whole};
use kraft_archive::tar::{Entry, Kind, Limits, Reader};
use kraft_core::reference::Digest;

use crate::digest::Hasher;
use crate::image::{Descriptor, annotation, media};
use crate::store::{self, About, Lease, Store};

const BLOCK: usize = 512;
const BLOCK_U64: u64 = 512;
/// The first size that the eleven octal digits of ustar cannot represent.
const TOO_LARGE: u64 = 1 << 33;

/// The role of a file in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The kernel.
    Kernel,
    /// The kernel with debug information.
    KernelDebug,
    /// The root filesystem.
    Initrd,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Kernel, Self::KernelDebug, Self::Initrd];

    /// Returns its path in the tar.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Kernel => "unikraft/bin/kernel",
            Self::KernelDebug => "unikraft/bin/kernel.dbg",
            Self::Initrd => "unikraft/bin/initrd",
        }
    }

    /// Returns the annotation that marks its layer.
    pub const fn annotation(self) -> &'static str {
        match self {
            Self::Kernel => annotation::KERNEL,
            Self::KernelDebug => annotation::KERNEL_DEBUG,
            Self::Initrd => annotation::INITRD,
        }
    }

    /// Returns the role of a path in a tar, with or without a leading slash.
    pub fn of_path(path: &str) -> Option<Self> {
        let path = path.trim_start_matches("./").trim_start_matches('/');
        Self::ALL.into_iter().find(|role| role.path() == path)
    }

    /// Returns the role in the annotations of a layer.
    pub fn of_layer(layer: &Descriptor) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|role| layer.annotations.contains_key(role.annotation()))
    }
}

/// Packs a file of `size` bytes into a layer, and stores it.
///
/// `executable` decides the permissions, 0755 or 0644: other bits depend on the user, not on the
/// file.
pub fn pack(
    lease: &dyn Lease,
    role: Role,
    executable: bool,
    file: &mut dyn Read,
    size: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Descriptor, LayerError> {
    pack_owned(lease, role, executable, 0, (file, size), progress)
}

/// Packs the files of a layer again, each into a layer of its own that belongs to a user and to the group of the
/// same number.
pub fn repack(
    store: &dyn Store,
    lease: &dyn Lease,
    layer: &Descriptor,
    owner: u32,
) -> Result<Vec<Descriptor>, LayerError> {
    let mut layers = Vec::new();
    let mut failed = None;
    let read = read(&mut store.open(&layer.digest)?, &mut |file| {
        let content: (&mut dyn Read, u64) = (file.content, file.size);
        match pack_owned(lease, file.role, false, owner, content, &mut |_| {}) {
            Ok(layer) => layers.push(layer),
            Err(error) => failed = failed.take().or(Some(error)),
        }
        Ok(())
    });
    match failed {
        Some(error) => Err(error),
        None => read.map(|_| layers),
    }
}

fn pack_owned(
    lease: &dyn Lease,
    role: Role,
    executable: bool,
    owner: u32,
    (file, size): (&mut dyn Read, u64),
    progress: &mut dyn FnMut(u64),
) -> Result<Descriptor, LayerError> {
    if size >= TOO_LARGE {
        return Err(LayerError::TooLarge(size));
    }
    let mode = if executable { 0o755 } else { 0o644 };
    let about = About {
        media_type: media::LAYER,
        ..About::default()
    };
    let Some(mut out) = lease.ingest(&about)? else {
        return Err(LayerError::Store(store::Error::writing(
            &"a layer",
            io::ErrorKind::AlreadyExists.into(),
        )));
    };
    let writing = |error| LayerError::Store(store::Error::writing(&"a layer", error));
    out.write_all(&header(role.path(), mode, owner, size))
        .map_err(writing)?;
    let mut buffer = vec![0; 1 << 18];
    let mut done = 0;
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(LayerError::Source(error)),
        };
        done += count as u64;
        if done > size {
            return Err(LayerError::Changed);
        }
        out.write_all(buffer.get(..count).unwrap_or_default())
            .map_err(writing)?;
        progress(done);
    }
    if done != size {
        return Err(LayerError::Changed);
    }
    let padding = usize::try_from(size.next_multiple_of(BLOCK_U64) - size).unwrap_or_default();
    out.write_all(&vec![0; padding + 2 * BLOCK])
        .map_err(writing)?;
    let (digest, size) = out.commit()?;
    let mut layer = Descriptor::new(media::LAYER, digest, size);
    layer
        .annotations
        .insert(role.annotation().to_owned(), format!("/{}", role.path()));
    Ok(layer)
}

/// Returns a tar of small files: path, permissions, content.
pub(crate) fn tar(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (path, mode, content) in files {
        tar.extend(header(path, *mode, 0, content.len() as u64));
        tar.extend(*content);
        tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    tar
}

/// Returns the header of the file. `owner` is its user and its group.
fn header(path: &str, mode: u32, owner: u32, size: u64) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(field) = header.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    };
    put(0, path.as_bytes());
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, format!("{owner:07o}\0").as_bytes());
    put(116, format!("{owner:07o}\0").as_bytes());
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    // The checksum field counts as blanks.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    if let Some(field) = header.get_mut(148..156) {
        field.copy_from_slice(sum.as_bytes());
    }
    header
}

/// A file in a layer.
pub struct Found<'a> {
    /// Its role.
    pub role: Role,
    /// Its size in bytes.
    pub size: u64,
    /// Its content.
    pub content: &'a mut dyn Read,
}

impl std::fmt::Debug for Found<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found")
            .field("role", &self.role)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// Reads a layer, and calls back with the files of an image in it. Returns the digest of the
/// uncompressed tar.
///
/// Errors: entries that a valid image does not have, including paths out of the root.
pub fn read(
    layer: &mut (dyn Read + Send),
    take: &mut dyn FnMut(Found<'_>) -> io::Result<()>,
) -> Result<Digest, LayerError> {
    let plain = plain(layer).map_err(LayerError::Read)?;
    let mut tar = Reader::new(plain, Limits::ROOT_FILESYSTEM);
    while let Some(entry) = tar.next_entry().map_err(LayerError::Read)? {
        look_at(&entry, &mut tar, take)?;
    }
    let mut rest = tar.into_inner();
    // Data after the end of the tar is part of the digest too.
    io::copy(&mut rest, &mut io::sink()).map_err(LayerError::Read)?;
    Ok(rest.hasher.finish())
}

/// Passes on an entry if it is a file of an image.
fn look_at(
    entry: &Entry,
    content: &mut dyn Read,
    take: &mut dyn FnMut(Found<'_>) -> io::Result<()>,
) -> Result<(), LayerError> {
    let path = String::from_utf8_lossy(&entry.path).into_owned();
    let bad = |why| LayerError::Entry {
        path: shown(&path),
        why,
    };
    if path.starts_with('/') || path.split('/').any(|part| part == "..") || path.contains('\0') {
        return Err(bad("its path leads out of the image"));
    }
    if entry.kind == Kind::Directory {
        return Ok(());
    }
    let Some(role) = Role::of_path(&path) else {
        return Ok(());
    };
    if entry.kind != Kind::File {
        return Err(bad("it is a link or a device, and no file"));
    }
    take(Found {
        role,
        size: entry.size,
        content,
    })
    .map_err(LayerError::Taking)
}

fn shown(path: &str) -> String {
    path.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .take(200)
        .collect()
}

/// Opens a layer as an uncompressed tar. The last read fails if the blob does not match its
/// descriptor, or the tar its digest in the configuration (`diff_id`): read to the end.
pub fn open(
    store: &dyn Store,
    layer: &Descriptor,
    diff_id: Option<&Digest>,
) -> Result<Box<dyn Read>, LayerError> {
    let blob = store::open_verified(store, layer)?;
    let plain = plain(blob).map_err(LayerError::Read)?;
    Ok(Box::new(Told {
        plain,
        expected: diff_id.cloned(),
    }))
}

/// An uncompressed tar with an expected digest.
struct Told {
    plain: Plain<'static>,
    expected: Option<Digest>,
}

impl Read for Told {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.plain.read(buffer)?;
        if count == 0
            && !buffer.is_empty()
            && let Some(expected) = self.expected.take()
        {
            let found = std::mem::take(&mut self.plain.hasher).finish();
            if found != expected {
                return Err(io::Error::other(format!(
                    "its digest is {found}, expected {expected} by the configuration"
                )));
            }
        }
        Ok(count)
    }
}

/// Decompresses a layer: uncompressed, gzip or zstd (OCI image specification 1.1, layer.md).
fn plain<'a>(layer: impl Read + 'a) -> io::Result<Plain<'a>> {
    let inner = compression::decompress(layer)?;
    match inner.compression() {
        Compression::None | Compression::Gzip | Compression::Zstd => Ok(Plain {
            inner,
            hasher: Hasher::default(),
        }),
        other @ (Compression::Bzip2 | Compression::Xz) => {
            let name = other.name().unwrap_or_default();
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it is compressed with {name}; layers are plain, gzip or zstd"),
            ))
        }
    }
}

/// The uncompressed tar, with its running hash.
struct Plain<'a> {
    inner: Whole<'a>,
    hasher: Hasher,
}

impl Read for Plain<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// Why a layer cannot be created or used.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The file to be packed cannot be read.
    #[error("cannot read the file to be packaged")]
    Source(#[source] io::Error),
    /// The file was modified while it was packed.
    #[error("the file changed while it was packaged")]
    Changed,
    /// It exceeds the limit of the ustar format; its size in bytes.
    #[error("the file has {0} bytes, and a layer holds less than 8 GiB")]
    TooLarge(u64),
    /// The tar cannot be read.
    #[error("the layer is not a readable tar")]
    Read(#[source] io::Error),
    /// An entry that a valid image does not have.
    #[error("the layer has the entry `{path}`, and {why}")]
    Entry {
        /// Its path.
        path: String,
        /// The reason.
        why: &'static str,
    },
    /// The configuration has another digest.
    #[error(
        "the uncompressed layer {layer} has the digest {found}, expected {expected} by the configuration"
    )]
    Content {
        /// The layer.
        layer: Digest,
        /// The digest in the configuration.
        expected: Digest,
        /// The actual digest.
        found: Digest,
    },
    /// The content cannot be written.
    #[error("cannot unpack the layer")]
    Taking(#[source] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Blobs as _;
    use crate::store::layout::Layout;

    /// The 492 bytes of an archive with a directory, a file and a link.
    pub(crate) fn archive() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut entry = |fields: [u32; 5], name: &str, data: &[u8]| {
            let [ino, mode, nlink, size, namesize] = fields;
            bytes.extend(
                format!(
                    "070701{ino:08X}{mode:08X}{0:08X}{0:08X}{nlink:08X}{0:08X}{size:08X}{0:08X}{0:08X}{0:08X}{0:08X}{namesize:08X}{0:08X}",
                    0
                )
                .into_bytes(),
            );
            bytes.extend(name.as_bytes());
            bytes.push(0);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend(data);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        };
        entry([1, 0o040_755, 2, 0, 4], "./a", b"");
        entry([2, 0o100_644, 1, 3, 10], "./a/hello", b"hi\n");
        entry([3, 0o120_777, 1, 5, 9], "./a/link", b"hello");
        entry([0, 0, 1, 0, 11], "TRAILER!!!", b"");
        bytes
    }

    #[test]
    fn layers_have_the_digests_of_the_test_vectors() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(dir.path()).unwrap();
        let lease = layout.lease().unwrap();
        let mut seen = 0;
        let kernel = pack(
            &*lease,
            Role::Kernel,
            true,
            &mut &b"KERNEL\n"[..],
            7,
            &mut |done| {
                seen = done;
            },
        )
        .unwrap();
        assert_eq!(seen, 7);
        assert_eq!(
            kernel.digest.hex(),
            "67ca3871fc380b31798fd54e83f58b56cf118f4cac56ae1213bef1be1480d9ac"
        );
        assert_eq!(kernel.size, 2048);
        let archive = archive();
        let initrd = pack(
            &*lease,
            Role::Initrd,
            false,
            &mut &archive[..],
            492,
            &mut |_| {},
        )
        .unwrap();
        assert_eq!(
            initrd.digest.hex(),
            "a8238fcbfafc8dc65444a8ead1b9bd1844da94ed7b5c9630eb9d1595dde08829"
        );
    }

    #[test]
    fn what_was_packed_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(dir.path()).unwrap();
        let lease = layout.lease().unwrap();
        let layer = pack(
            &*lease,
            Role::Initrd,
            false,
            &mut &b"root"[..],
            4,
            &mut |_| {},
        )
        .unwrap();
        let mut found = Vec::new();
        let mut blob = layout.open(&layer.digest).unwrap();
        let digest = read(&mut *blob, &mut |file| {
            let mut content = String::new();
            file.content.read_to_string(&mut content)?;
            found.push((file.role, file.size, content));
            Ok(())
        })
        .unwrap();
        assert_eq!(found, [(Role::Initrd, 4, "root".to_owned())]);
        assert_eq!(digest, layer.digest);
    }

    #[test]
    fn a_file_that_changes_its_size_is_not_packed() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(dir.path()).unwrap();
        let lease = layout.lease().unwrap();
        for size in [3, 5] {
            let outcome = pack(
                &*lease,
                Role::Kernel,
                true,
                &mut &b"four"[..],
                size,
                &mut |_| {},
            );
            assert!(matches!(outcome, Err(LayerError::Changed)), "{size}");
        }
        assert_eq!(layout.blobs().unwrap(), []);
    }

    fn hostile(path: &str, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = header(path, 0o644, 0, content.len() as u64).to_vec();
        bytes[156] = kind;
        bytes[148..156].copy_from_slice(b"        ");
        let sum: u32 = bytes.iter().map(|&b| u32::from(b)).sum();
        bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(512) + 1024, 0);
        bytes
    }

    fn fault(tar: &[u8]) -> String {
        let mut tar = tar;
        let error = read(&mut tar, &mut |file| {
            io::copy(file.content, &mut io::sink()).map(drop)
        })
        .unwrap_err();
        error.to_string()
    }

    #[test]
    fn entries_of_no_honest_image_are_refused() {
        assert!(fault(&hostile("../unikraft/bin/kernel", b'0', b"x")).contains("leads out"));
        assert!(fault(&hostile("/etc/passwd", b'0', b"x")).contains("leads out"));
        assert!(fault(&hostile("unikraft/bin/kernel", b'2', b"")).contains("a link or a device"));
        assert!(fault(&hostile("unikraft/bin/kernel", b'3', b"")).contains("a link or a device"));
        let whole = hostile("unikraft/bin/kernel", b'0', &[1; 5000]);
        assert!(!fault(&whole[..3000]).is_empty());
        assert!(
            !fault(b"no tar at all, but long enough to be taken for one if one does not look")
                .is_empty()
        );
    }

    #[test]
    fn layers_that_ask_for_too_much_are_refused_and_sparse_kernels_are_whole() {
        let cause = |tar: &[u8]| {
            let mut tar = tar;
            let error = read(&mut tar, &mut |_| Ok(())).unwrap_err();
            std::error::Error::source(&error).unwrap().to_string()
        };
        let long = hostile("././@LongLink", b'L', &vec![b'a'; 2 << 20]);
        assert!(cause(&long).contains("more than 1 MiB, the limit"));
        let xz = b"\xfd7zXZ\0 and more than ten bytes";
        assert!(cause(xz).contains("compressed with xz"));
        let holes = |size: u64| {
            let records = |text: &str| format!("{} {text}\n", text.len() + 4);
            let text = [
                records("GNU.sparse.map=0,6"),
                records(&format!("GNU.sparse.size={size}")),
            ]
            .concat();
            let mut tar = hostile("pax", b'x', text.as_bytes());
            tar.truncate(1024);
            tar.extend(hostile("unikraft/bin/kernel", b'0', b"KERNEL"));
            tar
        };
        assert!(cause(&holes(1 << 50)).contains("more than 4 GiB"));
        let mut found = Vec::new();
        let mut tar = &holes(1000)[..];
        read(&mut tar, &mut |file| {
            file.content.read_to_end(&mut found).map(drop)
        })
        .unwrap();
        assert_eq!(found.len(), 1000);
        assert!(found.starts_with(b"KERNEL\0"));
    }

    #[test]
    fn compressed_layers_are_looked_through() {
        let tar = hostile("unikraft/bin/kernel", b'0', b"kernel");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd::encode_all(&tar[..], 1).unwrap();
        for layer in [gzip, zstd] {
            let mut found = 0;
            let mut reader = &layer[..];
            let digest = read(&mut reader, &mut |file| {
                found = file.size;
                Ok(())
            })
            .unwrap();
            assert_eq!(found, 6);
            assert_eq!(digest, crate::digest::of(&tar));
        }
    }
}
