//! Adds files to an archive.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use kraft_sys::fs;

use crate::newc::{self, HEADER, Header, LONGEST_NAME, TRAILER, padding};

/// A file, a directory or a symbolic link that is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraFile {
    /// Its absolute path in the root.
    pub path: String,
    /// Its permissions; with the bits of [`ExtraFile::DIRECTORY`] or [`ExtraFile::LINK`] it is one.
    pub mode: u32,
    /// Its content; of a link, what it leads to.
    pub content: Vec<u8>,
}

impl ExtraFile {
    /// The type of a directory in a mode (`S_IFDIR`). One that exists already stays as it is.
    pub const DIRECTORY: u32 = newc::DIRECTORY;
    /// The type of a symbolic link in a mode (`S_IFLNK`).
    pub const LINK: u32 = newc::SYMLINK;

    fn is_directory(&self) -> bool {
        self.mode & newc::TYPE_MASK == newc::DIRECTORY
    }
}

/// Writes an archive with files added to its entries: a file replaces one of the same path, and
/// missing directories are added. The archive itself is not changed, unless `out` is its path.
///
/// ```
/// use kraft_rootfs::{ExtraFile, Options, Source, append, build, verify};
///
/// let dir = tempfile::tempdir()?;
/// let root = dir.path().join("root");
/// std::fs::create_dir(&root)?;
/// std::fs::write(root.join("hello"), "Hello")?;
/// let archive = dir.path().join("root.cpio");
/// build(&Source::detect(&root)?, &archive, &Options::default(), &mut |_| {})?;
///
/// let motd = ExtraFile { path: "/etc/motd".to_owned(), mode: 0o444, content: b"Hi".to_vec() };
/// append(&archive, &archive, &[motd])?;
/// verify(&archive)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// If the archive cannot be read or is not valid, or `out` cannot be written.
pub fn append(archive: &Path, out: &Path, files: &[ExtraFile]) -> Result<(), fs::Error> {
    let reading = || fs::Error::on("read", archive);
    let mut from = BufReader::new(fs::open_file(archive)?);
    let new = fs::NewFile::create(out)?;
    let to = new
        .file()
        .try_clone()
        .map_err(fs::Error::on("write", out))?;
    let mut writer = Writer {
        to: BufWriter::new(to),
        number: 0,
        names: BTreeSet::new(),
    };
    let replacing = files.iter().filter(|file| !file.is_directory());
    let replaced: BTreeSet<&str> = replacing.map(|file| plain(&file.path)).collect();
    writer.copy(&mut from, &replaced).map_err(reading())?;
    writer.add(files).map_err(fs::Error::on("write", out))?;
    new.commit()
}

/// Returns a path without a leading slash or dot.
fn plain(path: &str) -> &str {
    path.trim_start_matches("./").trim_matches('/')
}

struct Writer {
    to: BufWriter<File>,
    /// The greatest inode number.
    number: u32,
    names: BTreeSet<String>,
}

impl Writer {
    /// Copies all entries but those that are replaced and the last one.
    fn copy(&mut self, from: &mut dyn Read, replaced: &BTreeSet<&str>) -> io::Result<()> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        loop {
            let mut bytes = [0; HEADER];
            from.read_exact(&mut bytes)?;
            let header = Header::decode(&bytes).ok_or_else(|| wrong("it is not a newc archive"))?;
            if header.name_size > LONGEST_NAME {
                return Err(wrong("a name is too long"));
            }
            let mut name = vec![0; header.name_size as usize];
            from.read_exact(&mut name)?;
            let gap = padding(HEADER as u64 + u64::from(header.name_size));
            io::copy(&mut from.take(gap as u64), &mut io::sink())?;
            let shown = name.strip_suffix(b"\0").unwrap_or(&name);
            if shown == TRAILER {
                return Ok(());
            }
            let size = u64::from(header.size);
            let length = size + padding(size) as u64;
            let mut data = from.take(length);
            let text = String::from_utf8_lossy(shown).into_owned();
            // Of a hard link, the content may be that of other names.
            if replaced.contains(plain(&text)) && header.nlink < 2 {
                io::copy(&mut data, &mut io::sink())?;
                continue;
            }
            self.number = self.number.max(header.ino);
            self.names.insert(plain(&text).to_owned());
            self.to.write_all(&bytes)?;
            self.to.write_all(&name)?;
            self.pad(gap)?;
            if io::copy(&mut data, &mut self.to)? != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn add(&mut self, files: &[ExtraFile]) -> io::Result<()> {
        for file in files {
            let path = plain(&file.path);
            for (slash, _) in path.match_indices('/') {
                let dir = path.get(..slash).unwrap_or_default();
                if self.names.insert(dir.to_owned()) {
                    self.entry(dir, newc::DIRECTORY | 0o755, 2, &[])?;
                }
            }
            let permissions = file.mode & newc::PERMISSIONS;
            match file.mode & newc::TYPE_MASK {
                newc::DIRECTORY => {
                    if self.names.insert(path.to_owned()) {
                        self.entry(path, newc::DIRECTORY | permissions, 2, &[])?;
                    }
                }
                newc::SYMLINK => self.entry(path, newc::SYMLINK | permissions, 1, &file.content)?,
                _ => self.entry(path, newc::FILE | permissions, 1, &file.content)?,
            }
        }
        self.number = u32::MAX; // That of the last entry is 0.
        self.entry(&String::from_utf8_lossy(TRAILER), 0, 1, &[])?;
        self.to.flush()
    }

    fn entry(&mut self, name: &str, mode: u32, nlink: u32, content: &[u8]) -> io::Result<()> {
        let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
        self.number = self.number.wrapping_add(1);
        let header = Header {
            ino: self.number,
            mode,
            nlink,
            size: u32::try_from(content.len()).map_err(too_large)?,
            name_size: u32::try_from(name.len() + 1).map_err(too_large)?,
            ..Header::default()
        };
        self.to.write_all(&header.encode())?;
        self.to.write_all(name.as_bytes())?;
        self.to.write_all(b"\0")?;
        self.pad(padding((HEADER + name.len() + 1) as u64))?;
        self.to.write_all(content)?;
        self.pad(padding(content.len() as u64))
    }

    fn pad(&mut self, count: usize) -> io::Result<()> {
        io::copy(&mut io::repeat(0).take(count as u64), &mut self.to).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Source, build, verify};

    #[test]
    fn files_are_replaced_and_added_with_their_directories() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("etc")).unwrap();
        fs::replace_file(&root.join("etc/motd"), b"old").unwrap();
        fs::replace_file(&root.join("hello"), b"Hello").unwrap();
        let archive = dir.path().join("root.cpio");
        build(
            &Source::detect(&root).unwrap(),
            &archive,
            &Options::default(),
            &mut |_| {},
        )
        .unwrap();
        let file = |path: &str, content: &str| ExtraFile {
            path: path.to_owned(),
            mode: 0o440,
            content: content.as_bytes().to_vec(),
        };
        let of_type = |kind: u32, path: &str, content: &str| ExtraFile {
            mode: kind | 0o755,
            ..file(path, content)
        };
        let files = [
            file("/etc/motd", "new text"),
            file("/run/secrets/key", "s"),
            of_type(ExtraFile::DIRECTORY, "/run/app", ""),
            of_type(ExtraFile::DIRECTORY, "/etc", ""),
            of_type(ExtraFile::LINK, "/etc/greeting", "motd"),
        ];
        let out = dir.path().join("out.cpio");
        append(&archive, &out, &files).unwrap();
        verify(&out).unwrap();

        let index = crate::Index::of(&out).unwrap().unwrap();
        for (path, content) in [
            ("/etc/motd", "new text"),
            ("/run/secrets/key", "s"),
            ("/hello", "Hello"),
            ("/etc/greeting", "new text"),
        ] {
            let mut text = String::new();
            index.open(path).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, content, "{path}");
        }
        assert_eq!(index.permissions("/run/secrets/key"), Some(0o440));
        assert_eq!(index.named("motd").len(), 1);
        assert!(index.resolve("/run/app").is_some());
    }

    #[test]
    fn what_is_no_archive_is_an_error_and_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("root.cpio");
        fs::replace_file(&archive, b"\x1f\x8b compressed").unwrap();
        let out = dir.path().join("out.cpio");
        assert!(append(&archive, &out, &[]).is_err());
        assert!(!out.exists());
    }
}
