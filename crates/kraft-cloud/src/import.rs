//! Import of files into a volume, through a helper instance that mounts it.
//!
//! ```text
//! kraft ─ password ─►             ◄─ space: free, total ─ helper
//!       ─ entries, without padding ─►   ◄─ frames, meanwhile ─
//!                                       ◄─ space ─
//!       ─ password ─►
//! ```
//!
//! The protocol is the one of KraftKit's client (cloud description, 2.10); the platform provides
//! the image of the helper. A frame is a status (`i32`) and a length (`u32`), both little-endian,
//! and a message of that length.
//!
//! ```
//! use std::time::Duration;
//!
//! use kraft_cloud::import::{ImportError, greet};
//! use kraft_cloud::tunnel::Password;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! // A helper that closes the connection.
//! let (mut ours, theirs) = tokio::io::duplex(1024);
//! drop(theirs);
//! let greeted = greet(&mut ours, &Password::new()?, Duration::from_secs(30)).await;
//! assert!(matches!(greeted, Err(ImportError::Broken(_))));
//! # Ok::<(), std::io::Error>(())
//! # })?;
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io;
use std::time::Duration;

use kraft_http::text::sanitized;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::tunnel::Password;

/// Image of the helper instance.
pub const IMAGE: &str = "official/utils/volimport:1.0";
/// Port that the helper listens on.
pub const PORT: u16 = 42069;
/// Maximum length of a frame's message, in bytes.
const LONGEST_MESSAGE: u32 = 64 << 10;
/// Length at which the text of an error is no longer extended, in bytes.
const LONGEST_COMPLAINT: usize = 4 << 10;

/// Disk space of a volume, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Free space.
    pub free: u64,
    /// Total space.
    pub total: u64,
    /// Maximum length of a path.
    pub longest_path: u64,
}

/// Error from an import.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The helper reported an error.
    #[error("the helper reported an error: {0}")]
    Told(String),
    /// The helper violated the protocol.
    #[error("the helper violates the protocol: {0}")]
    Nonsense(&'static str),
    /// The connection failed.
    #[error("the connection with the helper broke")]
    Broken(#[source] io::Error),
    /// The helper did not answer, or did not accept data, within this timeout.
    #[error("the helper did not respond for {} seconds", .0.as_secs())]
    Silent(Duration),
    /// The files to import cannot be read.
    #[error("cannot read what is to be imported")]
    Source(#[source] io::Error),
}

/// Starts an import: sends the password and returns the volume's disk space.
pub async fn greet(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    password: &Password,
    silence: Duration,
) -> Result<Room, ImportError> {
    let asked = async {
        stream
            .write_all(password.expose().as_bytes())
            .await
            .map_err(ImportError::Broken)?;
        stream.flush().await.map_err(ImportError::Broken)?;
        room(stream).await
    };
    timeout(silence, asked)
        .await
        .unwrap_or(Err(ImportError::Silent(silence)))
}

/// Sends an archive and returns the volume's remaining disk space.
///
/// The pieces are those of the archive without padding and end with its trailer. Stops at once if
/// the helper reports an error meanwhile.
pub async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    password: &Password,
    mut pieces: mpsc::Receiver<io::Result<Vec<u8>>>,
    silence: Duration,
) -> Result<Room, ImportError> {
    let (mut from, mut to) = tokio::io::split(stream);
    let sending = async {
        while let Some(piece) = pieces.recv().await {
            let piece = piece.map_err(ImportError::Source)?;
            let sent = timeout(silence, to.write_all(&piece)).await;
            sent.map_err(|_| ImportError::Silent(silence))?
                .map_err(ImportError::Broken)?;
        }
        to.flush().await.map_err(ImportError::Broken)?;
        Ok(to)
    };
    let sending = std::pin::pin!(sending);
    let mut hearing = std::pin::pin!(room(&mut from));
    let sent = tokio::select! {
        biased;
        // The helper reports its disk space after it has received everything, so an earlier report
        // violates the protocol. It reports an error at any time; that error explains why it
        // accepts no more data.
        told = &mut hearing => {
            told?;
            return Err(ImportError::Nonsense("it was done before everything was sent"));
        }
        sent = sending => sent,
    };
    let heard = timeout(silence, hearing).await;
    let mut to = match (sent, &heard) {
        (Ok(to), _) => to,
        // The helper may have reported the cause before it closed the connection.
        (Err(ImportError::Broken(_)), Ok(Err(ImportError::Told(_)))) => {
            return heard.unwrap_or(Err(ImportError::Silent(silence)));
        }
        (Err(error), _) => return Err(error),
    };
    let left = heard.unwrap_or(Err(ImportError::Silent(silence)))?;
    // End of the import. Everything is written, so a failure to send this is ignored.
    let _ = to.write_all(password.expose().as_bytes()).await;
    let _ = to.flush().await;
    Ok(left)
}

/// Reads frames until one reports the disk space or completes an error.
async fn room(from: &mut (impl AsyncRead + Unpin)) -> Result<Room, ImportError> {
    let mut complaint = Vec::new();
    loop {
        let (status, message) = frame(from).await?;
        match status {
            2 => {
                return room_of(&message)
                    .ok_or(ImportError::Nonsense("its free space is not a number"));
            }
            1 => {}
            0 => {
                complaint.extend_from_slice(&message);
                let text = sanitized(&String::from_utf8_lossy(&complaint));
                return Err(ImportError::Told(text));
            }
            i32::MIN..0 => {
                if complaint.len() < LONGEST_COMPLAINT {
                    complaint.extend_from_slice(&message);
                }
            }
            3.. => return Err(ImportError::Nonsense("a frame of no known kind")),
        }
    }
}

async fn frame(from: &mut (impl AsyncRead + Unpin)) -> Result<(i32, Vec<u8>), ImportError> {
    let status = from.read_i32_le().await.map_err(ImportError::Broken)?;
    let length = from.read_u32_le().await.map_err(ImportError::Broken)?;
    if length > LONGEST_MESSAGE {
        return Err(ImportError::Nonsense("a message is too long"));
    }
    let mut message = vec![0; length as usize];
    from.read_exact(&mut message)
        .await
        .map_err(ImportError::Broken)?;
    Ok((status, message))
}

fn room_of(message: &[u8]) -> Option<Room> {
    let number = |at: usize| {
        let bytes = message.get(at..at + 8)?.try_into().ok()?;
        Some(u64::from_le_bytes(bytes))
    };
    Some(Room {
        free: number(0)?,
        total: number(8)?,
        longest_path: number(16)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(list: &[(i32, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (status, message) in list {
            bytes.extend(status.to_le_bytes());
            bytes.extend(u32::try_from(message.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(message);
        }
        bytes
    }

    #[tokio::test]
    async fn frames_tell_of_room_or_of_what_went_wrong() {
        let numbers: Vec<u8> = [7_u64, 9, 255]
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect();
        let told = frames(&[(1, b""), (1, b""), (2, &numbers)]);
        let wanted = Room {
            free: 7,
            total: 9,
            longest_path: 255,
        };
        assert_eq!(room(&mut told.as_slice()).await.unwrap(), wanted);
        let told = frames(&[(-28, b"no room "), (-28, b"for "), (0, b"file")]);
        let error = room(&mut told.as_slice()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the helper reported an error: no room for file"
        );
    }

    #[tokio::test]
    async fn nonsense_is_refused_and_not_believed() {
        let long = [1_i32.to_le_bytes(), u32::MAX.to_le_bytes()].concat();
        for bad in [
            &long[..],
            &frames(&[(2, b"short")]),
            &frames(&[(9, b"")]),
            b"x",
        ] {
            assert!(room(&mut &*bad).await.is_err());
        }
    }
}
