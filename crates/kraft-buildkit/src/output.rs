//! The tar on its way from the daemon to whoever reads it: bounded, and whole or an error.

use std::io::{self, Read};

use tokio::sync::mpsc::{Receiver, Sender, channel};

/// So many messages, of 32 KiB as a rule, wait for their reader.
const WAITING: usize = 32;

/// Makes a pipe from a build to a reader on another thread.
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

/// Where a build puts its tar.
#[derive(Clone, Debug)]
pub struct TarSink {
    sender: Sender<Piece>,
}

#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    End,
}

impl TarSink {
    /// Hands bytes on; `false` if nobody reads any more.
    pub(crate) async fn put(&self, bytes: Vec<u8>) -> bool {
        self.sender.send(Piece::Bytes(bytes)).await.is_ok()
    }

    /// Says that it is whole.
    pub(crate) async fn end(&self) -> bool {
        self.sender.send(Piece::End).await.is_ok()
    }
}

/// The tar of a build, for a thread that may block.
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
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the builder broke off",
                    ));
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
