//! Files with the memory of a guest: pages of zeros need no space on disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use kraft_sys::fs;

/// The size of a page in bytes.
const PAGE: usize = 4096;

/// The number of bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// Gives the space of pages of zeros back to the disk, as far as the file system can do that.
pub(super) fn make_sparse(file: &File) -> io::Result<()> {
    let mut punched = Ok(());
    each_run(file, |run| {
        if run.zero && punched.is_ok() {
            punched = fs::punch_hole(file, run.at, run.length);
        }
        Ok(())
    })
}

/// Copies the pages that are not zero into an empty file, which gets the same size.
pub(super) fn copy_sparse(from: &File, to: &File) -> io::Result<()> {
    to.set_len(from.metadata()?.len())?;
    each_run(from, |run| {
        if run.zero {
            return Ok(());
        }
        to.write_all_at(run.bytes, run.at)
    })
}

/// Pages next to each other that are all zero, or none of them.
struct Run<'a> {
    at: u64,
    length: u64,
    zero: bool,
    bytes: &'a [u8],
}

/// Calls `each` for every run of pages of a file. No run crosses a chunk.
fn each_run(file: &File, mut each: impl FnMut(&Run<'_>) -> io::Result<()>) -> io::Result<()> {
    let size = file.metadata()?.len();
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < size {
        let length = usize::try_from(size - at).unwrap_or(CHUNK).min(CHUNK);
        let chunk = buffer.get_mut(..length).unwrap_or_default();
        file.read_exact_at(chunk, at)?;
        let is_zero = |page: &[u8]| page.iter().all(|byte| *byte == 0);
        let mut rest: &[u8] = chunk;
        while let Some(first) = rest.chunks(PAGE).next() {
            let zero = is_zero(first);
            let same = rest.chunks(PAGE).take_while(|page| is_zero(page) == zero);
            let (bytes, after) = rest.split_at(same.map(<[u8]>::len).sum());
            let length = bytes.len() as u64;
            each(&Run {
                at,
                length,
                zero,
                bytes,
            })?;
            at += length;
            rest = after;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn pages_of_zeros_need_no_space_and_nothing_else_changes() {
        let dense = tempfile::tempfile().unwrap();
        let size = (3 << 20) + 4096 + 100;
        let mut content = vec![0; size];
        for at in [0, 4095, (1 << 20) - 1, 1 << 20, size - 1] {
            content[at] = 7;
        }
        dense.write_all_at(&content, 0).unwrap();
        let copy = tempfile::tempfile().unwrap();
        copy_sparse(&dense, &copy).unwrap();
        make_sparse(&dense).unwrap();
        for file in [&dense, &copy] {
            let mut read = vec![1; size];
            file.read_exact_at(&mut read, 0).unwrap();
            assert!(read == content);
            assert_eq!(file.metadata().unwrap().len(), size as u64);
            // In blocks of 512 bytes. A file system may not know holes.
            let blocks = file.metadata().unwrap().blocks();
            assert!(blocks * 512 <= size as u64 + (64 << 10), "{blocks}");
        }
    }
}
