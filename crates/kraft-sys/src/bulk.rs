//! Large files, written fast: past the page cache where the file system allows it, by a thread of
//! their own.
//!
//! Bytes are gathered in aligned buffers. When one is full it goes to a writer, which asks for
//! direct I/O (`O_DIRECT`, open(2)) and does without where that is refused. A file that fits one
//! buffer is written by the caller, without a thread.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// What direct I/O is a multiple of: no disk has larger blocks.
pub const ALIGNMENT: u64 = 4096;
/// The bytes of one buffer.
const BUFFER: usize = 1 << 20;
/// Buffers that may wait for the disk, beside the one being filled.
const WAITING: usize = 2;

/// Writes a file from its current end on.
///
/// [`finish`](Self::finish) puts it on disk. Dropped before, the last unfinished buffer is lost, the
/// file has a multiple of [`ALIGNMENT`] bytes more than before, and nobody writes to it any more.
#[derive(Debug)]
pub struct Bulk {
    file: Arc<File>,
    buffer: Buffer,
    writer: Option<Writer>,
}

impl Bulk {
    /// Goes on at the end of a file, which is a multiple of [`ALIGNMENT`] bytes away from its
    /// beginning and where the file is positioned.
    pub fn new(file: File) -> Self {
        Self {
            file: Arc::new(file),
            buffer: Buffer::new(),
            writer: None,
        }
    }

    /// Writes what is left, and waits until all of it is on disk.
    pub fn finish(self) -> io::Result<()> {
        self.write_out()?.sync_all()
    }

    /// Writes what is left, for whoever puts many files on disk at once.
    pub fn write_out(mut self) -> io::Result<Arc<File>> {
        if let Some(writer) = self.writer.take() {
            writer.finish()?;
            buffered(&self.file)?;
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
        // The writer stopped: it knows why.
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
            // Whoever drops it does not want to know.
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

    /// Does nothing: only [`Bulk::finish`] puts bytes on disk.
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
                // Where it is not known, plain writing does as well.
                let _ = direct(&file);
                for mut buffer in to_write {
                    write(&file, buffer.filled())?;
                    buffer.len = 0;
                    // Nobody may want it back.
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

    /// Returns a buffer that was written out, or a new one.
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

/// Asks for direct I/O.
fn direct(file: &File) -> rustix::io::Result<()> {
    fcntl_setfl(file, fcntl_getfl(file)? | OFlags::DIRECT)
}

/// Goes back to plain I/O.
fn buffered(file: &File) -> io::Result<()> {
    Ok(fcntl_setfl(file, fcntl_getfl(file)? - OFlags::DIRECT)?)
}

fn write(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    match file.write_all(bytes) {
        // Promised and then refused, as some file systems do: nothing has been written yet.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            buffered(file)?;
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
        // An address that cannot be aligned only makes direct I/O fail, which is survived.
        let start = bytes.as_ptr().align_offset(alignment).min(alignment);
        Self {
            bytes,
            start,
            len: 0,
        }
    }

    /// Takes as many bytes as fit.
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
    fn files_of_every_size_arrive_whole() {
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
    fn what_was_left_behind_can_be_gone_on_with() {
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
    fn a_full_disk_is_told() {
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
