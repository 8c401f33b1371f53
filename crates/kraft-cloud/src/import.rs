//! The import of files into a volume, by way of an instance that has it.
//!
//! ```text
//! kraft ─ password ─►              ◄─ room: free, total ─ helper
//!       ─ entries, without padding ─►   ◄─ frames, meanwhile ─
//!                                       ◄─ room ─
//!       ─ password ─►
//! ```
//!
//! The protocol is that of KraftKit's client (cloud description, 2.10); the helper is the platform's.
//! A frame is a status and a length, both numbers of four bytes with the lowest first, and a message.

use std::io;
use std::time::Duration;

use kraft_http::text::sanitized;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::tunnel::Password;

/// The image of the helper.
pub const IMAGE: &str = "official/utils/volimport:1.0";
/// The port that the helper listens at.
pub const PORT: u16 = 42069;
/// A message is at most this long, in bytes.
const LONGEST_MESSAGE: u32 = 64 << 10;
/// What goes wrong is told in at most so many bytes.
const LONGEST_COMPLAINT: usize = 4 << 10;

/// The room of a volume, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// What is free.
    pub free: u64,
    /// All of it.
    pub total: u64,
    /// The longest path.
    pub longest_path: u64,
}

/// Why an import failed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The helper said so.
    #[error("the helper says: {0}")]
    Told(String),
    /// It said something that nobody understands.
    #[error("the helper answers nonsense: {0}")]
    Nonsense(&'static str),
    /// The connection broke.
    #[error("the connection with the helper broke: {0}")]
    Broken(io::Error),
    /// It said nothing for so long.
    #[error("the helper said nothing for {} seconds", .0.as_secs())]
    Silent(Duration),
    /// What is to be imported cannot be read.
    #[error("cannot read what is to be imported: {0}")]
    Source(io::Error),
}

/// Begins: shows the password, and learns how much room there is.
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

/// Sends the pieces of an archive without padding, which end with its trailer; the answer is how much
/// room is left. An error that the helper tells meanwhile ends it at once.
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
        // Room is told once everything has come: whoever tells it before has not listened. What goes
        // wrong is told at any time, and explains why the helper takes no more.
        told = &mut hearing => {
            told?;
            return Err(ImportError::Nonsense("it was done before everything was sent"));
        }
        sent = sending => sent,
    };
    let heard = timeout(silence, hearing).await;
    let mut to = match (sent, &heard) {
        (Ok(to), _) => to,
        // It may have said why before it hung up.
        (Err(ImportError::Broken(_)), Ok(Err(ImportError::Told(_)))) => {
            return heard.unwrap_or(Err(ImportError::Silent(silence)));
        }
        (Err(error), _) => return Err(error),
    };
    let left = heard.unwrap_or(Err(ImportError::Silent(silence)))?;
    // The end: whether the helper still hears it does not matter, all is done.
    let _ = to.write_all(password.expose().as_bytes()).await;
    let _ = to.flush().await;
    Ok(left)
}

/// Reads frames until one tells about room, or what went wrong.
async fn room(from: &mut (impl AsyncRead + Unpin)) -> Result<Room, ImportError> {
    let mut complaint = Vec::new();
    loop {
        let (status, message) = frame(from).await?;
        match status {
            2 => return room_of(&message).ok_or(ImportError::Nonsense("its room is no room")),
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
        assert_eq!(error.to_string(), "the helper says: no room for file");
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
