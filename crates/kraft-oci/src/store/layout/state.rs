//! The state of files and directories, to find out whether they changed.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

/// Age from which the time of a change differs from that of any later one: more than the precision
/// of any file system's times.
const SETTLED: Duration = Duration::from_secs(3);

/// Returns a text that differs after each change of these files, and after each entry that was added
/// to or removed from these directories.
///
/// `None` if one is missing, or changed so recently that another change might have the same time.
///
/// `now` is the time since 1970.
pub(super) fn of(paths: &[PathBuf], now: Duration) -> Option<String> {
    let mut state = String::new();
    for path in paths {
        let found = std::fs::metadata(path).ok()?;
        // The time of a change of the inode: programs cannot set it.
        let seconds = u64::try_from(found.ctime()).ok()?;
        if Duration::from_secs(seconds) + SETTLED > now {
            return None;
        }
        let (device, inode, nanos) = (found.dev(), found.ino(), found.ctime_nsec());
        let _ = write!(
            state,
            "{device}:{inode}:{}:{seconds}.{nanos:09} ",
            found.len()
        );
    }
    Some(state.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use kraft_sys::{clock, fs};

    use super::*;

    #[test]
    fn a_state_is_known_once_it_is_old_and_differs_after_each_change() {
        let dir = tempfile::tempdir().unwrap();
        let (file, below) = (dir.path().join("a"), dir.path().join("b"));
        let paths = [file.clone(), below.clone()];
        let later = clock::now() + Duration::from_hours(1);
        assert_eq!(of(&paths, later), None);
        fs::replace_file(&file, b"1").unwrap();
        fs::create_dir(&below, 0o700).unwrap();
        assert_eq!(of(&paths, clock::now()), None);

        let mut before = of(&paths, later).unwrap();
        assert_eq!(of(&paths, later).unwrap(), before);
        let changes: [&dyn Fn(); 5] = [
            &|| fs::replace_file(&file, b"2").unwrap(),
            &|| fs::replace_file(&file, b"2").unwrap(),
            &|| fs::overwrite(&file, b"23").unwrap(),
            &|| fs::replace_file(&below.join("blob"), b"").unwrap(),
            &|| fs::remove_file(&below.join("blob")).unwrap(),
        ];
        for (number, change) in changes.iter().enumerate() {
            // Until the clock of the file system has moved on.
            while of(&paths, later).unwrap() == before {
                change();
            }
            let after = of(&paths, later).unwrap();
            assert_ne!(after, before, "{number}");
            before = after;
        }
    }
}
