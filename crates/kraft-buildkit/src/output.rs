//! The tar of a build, from the daemon to a reader on another thread: bounded in memory, and complete
//! or an error.

use std::io::{self, Read};

use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Maximum number of messages, usually of 32 KiB, that wait for the reader.
const WAITING: usize = 32;

/// Returns a pipe from a build to a reader on another thread.
///
/// ```
/// use std::io::Read;
///
/// let (sink, mut reader) = kraft_buildkit::pipe();
/// // The build ended before its tar was complete.
/// drop(sink);
/// let error = reader.read(&mut [0; 512]).unwrap_err();
/// assert!(kraft_buildkit::is_cut_off(&error));
/// ```
pub fn pipe() -> (TarSink, TarReader) {
    let (sender, receiver) = channel(WAITING);
    let reader = TarReader {
        receiver,
        now: Vec::new(),
        at: 0,
        whole: false,
    };
    (TarSink { sender }, reader)
}

/// The end of the pipe that a build writes its tar to.
#[derive(Clone, Debug)]
pub struct TarSink {
    sender: Sender<Piece>,
}

#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    End,
}

/// The build ended before its tar was complete.
#[derive(Debug, thiserror::Error)]
#[error("the builder ended before its output was complete")]
struct CutOff;

/// Returns whether an error of a [`TarReader`] is only that the build ended before its tar was
/// complete: the error of the build is the cause.
pub fn is_cut_off(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<CutOff>())
}

impl TarSink {
    /// Sends bytes; `false` if the reader is gone.
    pub(crate) async fn put(&self, bytes: Vec<u8>) -> bool {
        self.sender.send(Piece::Bytes(bytes)).await.is_ok()
    }

    /// Marks the tar as complete; `false` if the reader is gone.
    pub(crate) async fn end(&self) -> bool {
        self.sender.send(Piece::End).await.is_ok()
    }
}

/// The end of the pipe that a thread reads; reads block. An incomplete tar ends with an error, see
/// [`is_cut_off`].
#[derive(Debug)]
pub struct TarReader {
    receiver: Receiver<Piece>,
    now: Vec<u8>,
    at: usize,
    whole: bool,
}

impl Read for TarReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.now.len() {
            if self.whole {
                return Ok(0);
            }
            match self.receiver.blocking_recv() {
                Some(Piece::Bytes(bytes)) => {
                    self.now = bytes;
                    self.at = 0;
                }
                Some(Piece::End) => self.whole = true,
                None => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, CutOff));
                }
            }
        }
        let rest = self.now.get(self.at..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }
}
