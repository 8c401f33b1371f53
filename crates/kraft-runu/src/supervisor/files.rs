//! Files that the guest gets beside those of its root archive: the engine's, and what was added to the
//! container's root file system, by `docker cp` before the start or by `COPY` in an image that is based on
//! the unikernel's.

use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kraft_rootfs::ExtraFile;
use kraft_sys::fs;

use crate::failure::Failure;
use crate::state::Container;

/// The largest file that is copied into a guest, in bytes.
const LARGEST: u64 = 16 << 20;

/// The largest sum of files that were added to a container, in bytes.
const MOST: u64 = 64 << 20;

/// The largest number of files that were added to a container.
const MOST_FILES: usize = 10_000;

/// Directories of a container's root file system that are the engine's, or what the machine is made from.
const OTHERS: [&str; 4] = ["unikraft", "dev", "proc", "sys"];

/// Reads the files of the engine, and names its directories.
pub(super) fn of_engine(container: &Container) -> Result<Vec<ExtraFile>, Failure> {
    let directories = container.directories.iter().map(|path| {
        Ok(ExtraFile {
            path: path.clone(),
            mode: ExtraFile::DIRECTORY | 0o1777,
            content: Vec::new(),
        })
    });
    let files = container
        .files
        .iter()
        .map(|file| read(&file.source, file.destination.clone()));
    files.chain(directories).collect()
}

fn read(source: &Path, path: String) -> Result<ExtraFile, Failure> {
    let open = fs::open_file(source)?;
    let failed = |e| Failure::of(&format!("cannot read `{}`", source.display()), &e);
    let mode = open.metadata().map_err(failed)?.permissions().mode();
    Ok(ExtraFile {
        path,
        mode: mode & 0o777,
        content: fs::read_open(&open, LARGEST).map_err(failed)?,
    })
}

/// Adds what is in the root file system of the container, unless the engine has a file of the same path.
pub(super) fn add_those_of_container(
    files: &mut Vec<ExtraFile>,
    root: &Path,
) -> Result<(), Failure> {
    let mut left = vec![String::new()];
    let (mut size, mut count) = (0, 0);
    while let Some(dir) = left.pop() {
        for name in fs::names(&root.join(&dir))? {
            if dir.is_empty() && OTHERS.contains(&name.as_str()) {
                continue;
            }
            let below = if dir.is_empty() {
                name
            } else {
                format!("{dir}/{name}")
            };
            let path = format!("/{below}");
            if files.iter().any(|file| file.path == path) {
                continue;
            }
            let Some(file) = examine(&root.join(&below), path)? else {
                continue;
            };
            if file.mode & ExtraFile::DIRECTORY != 0 {
                left.push(below);
            }
            size += file.content.len() as u64;
            count += 1;
            if size > MOST || count > MOST_FILES {
                return Err(Failure(format!(
                    "more than {} MiB or {MOST_FILES} files were added to the container or its image: \
                     build them into the unikernel's image with `kraft pkg --rootfs`",
                    MOST >> 20
                )));
            }
            files.push(file);
        }
    }
    Ok(())
}

/// Reads a file, a directory or a link, which is not followed; `None` for everything else.
fn examine(source: &Path, path: String) -> Result<Option<ExtraFile>, Failure> {
    let failed = |e| Failure::of(&format!("cannot examine `{}`", source.display()), &e);
    let found = std::fs::symlink_metadata(source).map_err(failed)?;
    if found.is_file() {
        return read(source, path).map(Some);
    }
    let (kind, content) = if found.is_dir() {
        (ExtraFile::DIRECTORY, Vec::new())
    } else if found.is_symlink() {
        let target = std::fs::read_link(source).map_err(failed)?;
        (ExtraFile::LINK, target.into_os_string().into_vec())
    } else {
        return Ok(None);
    };
    Ok(Some(ExtraFile {
        path,
        mode: kind | (found.permissions().mode() & 0o7777),
        content,
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_was_added_to_a_container_is_a_file_of_the_guest() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        for path in ["unikraft/bin", "etc/app", "dev", "empty"] {
            std::fs::create_dir_all(root.join(path)).unwrap();
        }
        for path in ["unikraft/bin/kernel", "etc/app/conf", "etc/hosts", "dev/x"] {
            fs::replace_file(&root.join(path), path.as_bytes()).unwrap();
        }
        // Neither a file nor a directory of the host gets into the guest by a link.
        symlink("/etc/shadow", root.join("etc/link")).unwrap();
        symlink("/etc", root.join("host")).unwrap();
        let hosts = ExtraFile {
            path: "/etc/hosts".to_owned(),
            mode: 0o644,
            content: b"of the engine".to_vec(),
        };
        let mut files = vec![hosts.clone()];
        add_those_of_container(&mut files, &root).unwrap();
        let mut paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        paths.sort_unstable();
        assert_eq!(
            paths,
            [
                "/empty",
                "/etc",
                "/etc/app",
                "/etc/app/conf",
                "/etc/hosts",
                "/etc/link",
                "/host"
            ]
        );
        assert_eq!(files[0], hosts);
        let content = |path: &str| {
            let file = files.iter().find(|file| file.path == path).unwrap();
            String::from_utf8_lossy(&file.content).into_owned()
        };
        assert_eq!(content("/etc/app/conf"), "etc/app/conf");
        assert_eq!(content("/etc/link"), "/etc/shadow");
        assert_eq!(content("/host"), "/etc");
        std::fs::File::create(root.join("large"))
            .and_then(|file| file.set_len(LARGEST + 1))
            .unwrap();
        assert!(add_those_of_container(&mut Vec::new(), &root).is_err());
    }
}
