//! Protocol for a directory (fsutil, `send.go`): first the listing, which an empty entry ends; then
//! the daemon requests files by number, and sends `FIN` when it has all it needs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use futures_util::StreamExt;
use rustix::fs::OFlags;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc::Sender;
use tonic::{Status, Streaming};

use super::{Filter, is_file, list};

/// Size of the chunks of a file, as fsutil's.
const PIECE: usize = 32 * 1024;

type Packets = Sender<Result<Packet, Status>>;

/// Serves a directory until the daemon ends; counts the bytes of contents that were sent.
pub(crate) async fn send(
    root: PathBuf,
    filter: Filter,
    mut asked: Streaming<Packet>,
    answers: Packets,
    sent: Arc<AtomicU64>,
) {
    if let Err(status) = offer(&root, filter, &mut asked, &answers, &sent).await {
        // If the daemon is gone, there is no receiver.
        let _ = answers.send(Err(status)).await;
    }
}

async fn offer(
    root: &Path,
    filter: Filter,
    asked: &mut Streaming<Packet>,
    answers: &Packets,
    sent: &AtomicU64,
) -> Result<(), Status> {
    let walked = root.to_owned();
    let listing = tokio::task::spawn_blocking(move || list(&walked, &filter))
        .await
        .map_err(|error| Status::internal(error.to_string()))?
        .map_err(|error| Status::aborted(format!("cannot send the build context: {error}")))?;
    for stat in &listing {
        put(
            answers,
            PacketType::PacketStat,
            Some(stat.clone()),
            0,
            Vec::new(),
        )
        .await?;
    }
    put(answers, PacketType::PacketStat, None, 0, Vec::new()).await?;
    while let Some(packet) = asked.next().await {
        let packet = packet?;
        match PacketType::try_from(packet.r#type) {
            Ok(PacketType::PacketReq) => {
                let stat = usize::try_from(packet.id)
                    .ok()
                    .and_then(|at| listing.get(at));
                let Some(stat) = stat else {
                    return Err(Status::invalid_argument("no file has this number"));
                };
                file(root, stat, packet.id, answers, sent).await?;
            }
            Ok(PacketType::PacketFin) => {
                return put(answers, PacketType::PacketFin, None, 0, Vec::new()).await;
            }
            Ok(PacketType::PacketErr) => return Ok(()),
            Ok(PacketType::PacketStat | PacketType::PacketData) | Err(_) => {}
        }
    }
    Ok(())
}

async fn file(
    root: &Path,
    stat: &Stat,
    id: u32,
    answers: &Packets,
    sent: &AtomicU64,
) -> Result<(), Status> {
    let path = root.join(&stat.path);
    let unreadable =
        |error: io::Error| Status::aborted(format!("cannot send `{}`: {error}", path.display()));
    let mut file = open(&path, stat).await.map_err(unreadable)?;
    loop {
        let mut piece = vec![0; PIECE];
        let count = file.read(&mut piece).await.map_err(unreadable)?;
        piece.truncate(count);
        // An empty chunk is the end of a file.
        put(answers, PacketType::PacketData, None, id, piece).await?;
        if count == 0 {
            return Ok(());
        }
        sent.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Opens a regular file for the daemon, and nothing else: the target of a link was not listed, and
/// opening a pipe could block.
async fn open(path: &Path, stat: &Stat) -> io::Result<File> {
    let refused = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
    if !is_file(stat) {
        return Err(refused());
    }
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .await?;
    if file.metadata().await?.is_file() {
        Ok(file)
    } else {
        Err(refused())
    }
}

async fn put(
    answers: &Packets,
    kind: PacketType,
    stat: Option<Stat>,
    id: u32,
    data: Vec<u8>,
) -> Result<(), Status> {
    let packet = Packet {
        r#type: kind.into(),
        stat,
        id,
        data,
    };
    answers
        .send(Ok(packet))
        .await
        .map_err(|_| Status::cancelled("the daemon has gone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_files_are_opened_for_a_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        drop(std::fs::File::create(at("file")).unwrap());
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        let listing = list(dir.path(), &Filter::default()).unwrap();
        let mut opened = Vec::new();
        for stat in &listing {
            if open(&at(&stat.path), stat).await.is_ok() {
                opened.push(stat.path.as_str());
            }
        }
        assert_eq!(opened, ["file"]);
        // It was replaced meanwhile.
        let stat = listing.iter().find(|stat| stat.path == "file").unwrap();
        assert!(open(&at("link"), stat).await.is_err());
        assert!(open(&at("directory"), stat).await.is_err());
    }
}
