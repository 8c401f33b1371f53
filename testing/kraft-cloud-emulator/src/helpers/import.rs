//! Emulated helper instance for volume imports: it receives the entries of a cpio archive and
//! records them.

use std::io;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::server::Shared;

/// Length of an entry's header in bytes (newc).
const HEADER: usize = 110;
/// Maximum length of a path in bytes.
const LONGEST_PATH: u64 = 4096;

/// Parses `-p PORT -a PASSWORD -t SECONDS`.
fn understand(args: &[String]) -> Option<(u16, String)> {
    match args {
        [p, port, a, password, t, seconds] if p == "-p" && a == "-a" && t == "-t" => {
            seconds.parse::<u64>().ok()?;
            Some((port.parse().ok()?, password.clone()))
        }
        _ => None,
    }
}

pub(super) fn start(shared: &Shared, uuid: &str, args: &[String]) {
    let Some((port, password)) = understand(args) else {
        return shared.world().end(uuid, 1, None);
    };
    let runtime = shared.world().runtime.clone();
    if let Some(listener) = super::open(shared, uuid, port) {
        runtime.spawn(serve(shared.clone(), uuid.to_owned(), password, listener));
    }
}

async fn serve(shared: Shared, uuid: String, password: String, listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        if !super::is_there(&shared.world(), &uuid) {
            return;
        }
        let mut shown = vec![0; password.len()];
        if stream.read_exact(&mut shown).await.is_ok() && shown == password.as_bytes() {
            // One import at a time. Its result is what `volumes/UUID` of the control API lists.
            let _ = take(&shared, &uuid, &mut stream, &password).await;
        }
    }
}

/// Returns the volume of an instance: its UUID and its size in bytes.
fn volume(shared: &Shared, instance: &str) -> Option<(String, u64)> {
    let world = shared.world();
    let mut volumes = world.volumes.iter();
    let found = volumes.find(|one| one.attached.iter().any(|(uuid, _, _)| uuid == instance))?;
    let size = u64::try_from(found.size).ok()?;
    Some((found.uuid.clone(), size << 20))
}

async fn take(
    shared: &Shared,
    instance: &str,
    stream: &mut TcpStream,
    password: &str,
) -> io::Result<()> {
    let Some((uuid, total)) = volume(shared, instance) else {
        return complain(stream, "there is no volume").await;
    };
    room(stream, total, total).await?;
    let (complaint, hang_up) = {
        let mut world = shared.world();
        (world.spoilt.complaint.take(), world.spoilt.hang_up.take())
    };
    let mut kept = Vec::new();
    let mut taken: u64 = 0;
    loop {
        let (entry, length) = entry(stream).await?;
        taken += length;
        if let Some((_, text)) = complaint.as_ref().filter(|(at, _)| taken > *at) {
            return complain(stream, text).await;
        }
        if hang_up.is_some_and(|at| taken > at) {
            return Ok(());
        }
        if taken > total {
            return complain(stream, "no space left on device").await;
        }
        frame(stream, 1, b"").await?;
        match entry {
            Some(entry) => kept.push(entry),
            None => break,
        }
    }
    shared.world().imported.insert(uuid, Value::Array(kept));
    room(stream, total - taken, total).await?;
    let mut end = vec![0; password.len()];
    stream.read_exact(&mut end).await.map(drop)
}

/// Reads one entry; `None` is the trailer. Also returns the number of bytes it had.
async fn entry(stream: &mut TcpStream) -> io::Result<(Option<Value>, u64)> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidData);
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).await?;
    let header = std::str::from_utf8(&header).map_err(|_| wrong())?;
    let number = |index: usize| {
        let digits = header.get(6 + 8 * index..14 + 8 * index);
        digits
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .ok_or_else(wrong)
    };
    let (mode, size, name_size) = (number(1)?, number(6)?, number(11)?);
    if !header.starts_with("070701") || name_size > LONGEST_PATH {
        return Err(wrong());
    }
    let mut name = vec![0; usize::try_from(name_size).map_err(|_| wrong())?];
    stream.read_exact(&mut name).await?;
    if name.pop() != Some(0) {
        return Err(wrong());
    }
    let mut hash = Sha256::new();
    let mut content = Vec::new();
    let mut piece = vec![0; 64 << 10];
    let mut left = size;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        let part = piece.get_mut(..most).unwrap_or_default();
        let count = stream.read(part).await?;
        let part = part.get(..count).unwrap_or_default();
        if part.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hash.update(part);
        if content.len() < 4096 {
            content.extend_from_slice(part);
        }
        left -= count as u64;
    }
    let length = HEADER as u64 + name_size + size;
    let name = String::from_utf8_lossy(&name).into_owned();
    if name == "TRAILER!!!" {
        return Ok((None, length));
    }
    let kind = match mode & 0o170_000 {
        0o040_000 => "directory",
        0o100_000 => "file",
        0o120_000 => "symlink",
        _ => "special",
    };
    let hash: String = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let target = String::from_utf8_lossy(&content).into_owned();
    let entry = json!({
        "path": name,
        "type": kind,
        "mode": format!("{:o}", mode & 0o7777),
        "size": size,
        "sha256": hash,
        "target": (kind == "symlink").then_some(target),
    });
    Ok((Some(entry), length))
}

async fn frame(stream: &mut TcpStream, status: i32, message: &[u8]) -> io::Result<()> {
    stream.write_i32_le(status).await?;
    let length = u32::try_from(message.len()).unwrap_or(0);
    stream.write_u32_le(length).await?;
    stream.write_all(message).await
}

async fn room(stream: &mut TcpStream, free: u64, total: u64) -> io::Result<()> {
    let numbers = [free, total, LONGEST_PATH].map(u64::to_le_bytes).concat();
    frame(stream, 2, &numbers).await
}

/// Sends an error message in two pieces and closes the connection.
async fn complain(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    let (first, second) = text.split_at(text.len().min(5));
    frame(stream, -28, first.as_bytes()).await?;
    frame(stream, 0, second.as_bytes()).await?;
    stream.shutdown().await?;
    // Read what the client still sends; otherwise the error message is lost when the socket closes.
    tokio::io::copy(stream, &mut tokio::io::sink())
        .await
        .map(drop)
}
