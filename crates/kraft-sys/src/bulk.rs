//! Fast writes of large files: bypasses the page cache where the file system allows it, and writes
//! in a separate thread.
//!
//! Bytes are collected in aligned buffers. Full buffers are passed to a writer thread, which uses
//! direct I/O (`O_DIRECT`, open(2)) unless the file system rejects it. A file that fits one buffer
//! is written by the caller, without a thread.
//!
//! ```
//! use std::io::Write;
//!
//! use kraft_sys::bulk::Bulk;
//!
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("disk");
//! let mut writer = Bulk::new(std::fs::File::create(&path)?);
//! for _ in 0..1000 {
//!     writer.write_all(&[7; 1000])?;
//! }
//! writer.finish()?;
//! assert_eq!(std::fs::metadata(&path)?.len(), 1_000_000);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::host;

/// Alignment for direct I/O in bytes: no disk has larger blocks.
pub const ALIGNMENT: u64 = 4096;
/// Size of a buffer, in bytes.
const BUFFER: usize = 1 << 20;
/// Maximum number of full buffers, besides the one being filled.
const WAITING: usize = 2;

/// A writer that appends to a file.
///
/// [`finish`](Self::finish) flushes it to disk. When it is dropped before, the last incomplete
/// buffer is lost, the file has grown by a multiple of [`ALIGNMENT`] bytes, and no thread writes to
/// it any more.
#[derive(Debug)]
pub struct Bulk {
    file: Arc<File>,
    buffer: Buffer,
    writer: Option<Writer>,
}

impl Bulk {
    /// Appends to a file. Its position must be its end, a multiple of [`ALIGNMENT`] bytes from its
    /// start.
    pub fn new(file: File) -> Self {
        Self {
            file: Arc::new(file),
            buffer: Buffer::new(),
            writer: None,
        }
    }

    /// Writes the remaining bytes, and waits until all bytes are on disk.
    pub fn finish(self) -> io::Result<()> {
        self.write_out()?.sync_all()
    }

    /// Writes the remaining bytes without fsync, for callers that flush many files at once.
    pub fn write_out(mut self) -> io::Result<Arc<File>> {
        if let Some(writer) = self.writer.take() {
            writer.finish()?;
            host::use_cache(&self.file)?;
        }
        (&*self.file).write_all(self.buffer.filled())?;
        Ok(Arc::clone(&self.file))
    }

    fn flush_full_buffer(&mut self) -> io::Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(Writer::start(Arc::clone(&self.file))?),
        };
        let full = std::mem::replace(&mut self.buffer, writer.spare());
        if writer
            .full
            .as_ref()
            .is_some_and(|full_side| full_side.send(full).is_ok())
        {
            return Ok(());
        }
        // The writer stopped with an error.
        match self.writer.take() {
            Some(writer) => writer.finish(),
            None => Ok(()),
        }
        .and(Err(io::Error::other("the writer of a file stopped")))
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            // A dropped writer ignores errors.
            let _ = writer.finish();
        }
    }
}

impl Write for Bulk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.buffer.take(bytes);
        if self.buffer.len == BUFFER {
            self.flush_full_buffer()?;
        }
        Ok(count)
    }

    /// Does nothing: only [`Bulk::finish`] flushes to disk.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The thread that writes full buffers.
#[derive(Debug)]
struct Writer {
    full: Option<SyncSender<Buffer>>,
    empty: Receiver<Buffer>,
    thread: JoinHandle<io::Result<()>>,
}

impl Writer {
    fn start(file: Arc<File>) -> io::Result<Self> {
        let (full, to_write) = sync_channel::<Buffer>(WAITING);
        let (written, empty) = sync_channel::<Buffer>(WAITING + 2);
        let thread = std::thread::Builder::new()
            .name("bulk-writer".to_owned())
            .spawn(move || {
                // If it is not supported, use buffered I/O.
                let _ = host::bypass_cache(&file);
                for mut buffer in to_write {
                    write(&file, buffer.filled())?;
                    buffer.len = 0;
                    // The buffer is dropped if it is not needed again.
                    let _ = written.try_send(buffer);
                }
                Ok(())
            })?;
        Ok(Self {
            full: Some(full),
            empty,
            thread,
        })
    }

    /// Returns a buffer to reuse, or a new one.
    fn spare(&self) -> Buffer {
        self.empty.try_recv().unwrap_or_else(|_| Buffer::new())
    }

    fn finish(mut self) -> io::Result<()> {
        self.full = None;
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the writer of a file panicked")))
    }
}

fn write(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    match file.write_all(bytes) {
        // Some file systems accept the flag and then reject the write: nothing has been written
        // yet.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            host::use_cache(file)?;
            file.write_all(bytes)
        }
        other => other,
    }
}

/// Bytes whose address is a multiple of [`ALIGNMENT`].
#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Buffer {
    fn new() -> Self {
        let alignment = usize::try_from(ALIGNMENT).unwrap_or(1);
        let bytes = vec![0; BUFFER + alignment];
        // Without alignment direct I/O fails, and buffered I/O is used.
        let start = bytes.as_ptr().align_offset(alignment).min(alignment);
        Self {
            bytes,
            start,
            len: 0,
        }
    }

    /// Copies as many bytes as fit; returns their number.
    fn take(&mut self, from: &[u8]) -> usize {
        let at = self.start + self.len;
        let room = self
            .bytes
            .get_mut(at..self.start + BUFFER)
            .unwrap_or_default();
        let count = room.len().min(from.len());
        if let (Some(room), Some(from)) = (room.get_mut(..count), from.get(..count)) {
            room.copy_from_slice(from);
        }
        self.len += count;
        count
    }

    fn filled(&self) -> &[u8] {
        self.bytes
            .get(self.start..self.start + self.len)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(size: usize) -> Vec<u8> {
        (0..size)
            .map(|at| u8::try_from(at % 251).unwrap())
            .collect()
    }

    #[test]
    fn files_of_every_size_are_complete() {
        let dir = tempfile::tempdir().unwrap();
        for size in [
            0,
            1,
            4096,
            BUFFER - 1,
            BUFFER,
            BUFFER + 1,
            5 * BUFFER + 4097,
        ] {
            let path = dir.path().join(size.to_string());
            let bytes = pattern(size);
            let mut bulk = Bulk::new(File::create(&path).unwrap());
            for piece in bytes.chunks(100_003) {
                bulk.write_all(piece).unwrap();
            }
            bulk.finish().unwrap();
            assert!(std::fs::read(&path).unwrap() == bytes, "{size}");
        }
    }

    #[test]
    fn interrupted_files_can_be_resumed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let bytes = pattern(3 * BUFFER + 5);
        let mut bulk = Bulk::new(File::create(&path).unwrap());
        bulk.write_all(&bytes).unwrap();
        drop(bulk);
        assert!(std::fs::read(&path).unwrap() == bytes[..3 * BUFFER]);
        let mut bulk = Bulk::new(
            std::fs::OpenOptions::new()
                .append(true)
                .open(&path)
                .unwrap(),
        );
        bulk.write_all(&bytes[3 * BUFFER..]).unwrap();
        bulk.finish().unwrap();
        assert!(std::fs::read(&path).unwrap() == bytes);
    }

    #[test]
    fn full_disks_are_reported() {
        let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else {
            return;
        };
        let mut bulk = Bulk::new(full);
        let outcome = bulk
            .write_all(&pattern(8 * BUFFER))
            .and_then(|()| bulk.finish());
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
