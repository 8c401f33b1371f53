//! Index of an archive on disk, without its contents.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use kraft_sys::fs::{self, Error as FileError};

use crate::archive::{Kind, Reader};
use crate::path::{self, split};
use crate::{Error, normalise};

const BUFFER: usize = 64 * 1024;

/// The entries of an archive, by path.
///
/// ```
/// use std::io::Read;
///
/// use kraft_rootfs::{Index, Options, Source, build};
///
/// let dir = tempfile::tempdir()?;
/// let root = dir.path().join("root");
/// std::fs::create_dir_all(root.join("bin"))?;
/// std::fs::write(root.join("bin/app"), "#!")?;
/// std::os::unix::fs::symlink("bin/app", root.join("app"))?;
/// let out = dir.path().join("root.cpio");
/// build(&Source::detect(&root)?, &out, &Options::default(), &mut |_| {})?;
///
/// let index = Index::of(&out)?.expect("not compressed");
/// assert_eq!(index.named("app"), ["/bin/app"]);
/// let mut text = String::new();
/// index.open("/app").expect("a file").read_to_string(&mut text)?;
/// assert_eq!(text, "#!");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Index {
    file: File,
    entries: BTreeMap<Vec<u8>, Found>,
}

/// An entry of the index.
#[derive(Clone, Debug)]
struct Found {
    kind: Kind,
    permissions: u32,
    target: Option<Vec<u8>>,
    offset: u64,
    size: u64,
}

impl Index {
    /// Reads the headers of an archive; `None` if it is compressed.
    ///
    /// # Errors
    ///
    /// If the archive cannot be read or is invalid.
    pub fn of(path: &Path) -> Result<Option<Self>, Error> {
        let file = fs::open_file(path)?;
        let again = file.try_clone().map_err(FileError::on("open", path))?;
        let mut start = BufReader::with_capacity(BUFFER, again);
        let magic = io::BufRead::fill_buf(&mut start).map_err(FileError::on("read", path))?;
        if !crate::newc::is_magic(magic) {
            return Ok(None);
        }
        let invalid = |source| Error::Archive {
            path: path.to_owned(),
            source,
        };
        let mut reader = Reader::new(start);
        let mut entries = BTreeMap::new();
        while let Some(entry) = reader.next_entry().map_err(invalid)? {
            let offset = reader.position();
            reader.skip_content().map_err(FileError::on("read", path))?;
            let found = Found {
                kind: entry.kind,
                permissions: entry.permissions,
                target: entry.target,
                offset,
                size: u64::from(entry.size),
            };
            entries.insert(entry.path, found);
        }
        Ok(Some(Self { file, entries }))
    }

    /// Resolves the links of a path; `None` if nothing exists there.
    pub fn resolve(&self, path: &str) -> Option<Vec<u8>> {
        let link = |path: &[u8]| self.entries.get(path)?.target.as_deref();
        let real = path::resolve(path.as_bytes(), true, link).ok()?;
        (real.is_empty() || self.entries.contains_key(&real)).then_some(real)
    }

    /// Returns the permissions of the file at a path; `None` if there is no file.
    pub fn permissions(&self, path: &str) -> Option<u32> {
        let found = self.entries.get(&self.resolve(path)?)?;
        (found.kind == Kind::File).then_some(found.permissions)
    }

    /// Opens the file at a path; `None` if there is no file.
    pub fn open(&self, path: &str) -> Option<Stretch<'_>> {
        let found = self.entries.get(&self.resolve(path)?)?;
        (found.kind == Kind::File).then_some(Stretch {
            file: &self.file,
            offset: found.offset,
            size: found.size,
            at: 0,
        })
    }

    /// Returns the paths of files with a name.
    pub fn named(&self, name: &str) -> Vec<String> {
        let Ok(name) = normalise(name.as_bytes()) else {
            return Vec::new();
        };
        let files = self
            .entries
            .iter()
            .filter(|(_, found)| found.kind == Kind::File);
        let named = files.filter(|(path, _)| split(path).1 == name.as_slice());
        named
            .map(|(path, _)| format!("/{}", crate::shown(path)))
            .collect()
    }
}

/// A file inside an archive.
#[derive(Debug)]
pub struct Stretch<'a> {
    file: &'a File,
    offset: u64,
    size: u64,
    at: u64,
}

impl Read for Stretch<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let left = self.size.saturating_sub(self.at);
        let most = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let buffer = buffer.get_mut(..most).unwrap_or_default();
        let count = self.file.read_at(buffer, self.offset + self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Stretch<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
