//! Imports: files of this computer into a volume of the platform.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kraft_cloud::import::{self, PORT, Room};
use kraft_cloud::request::Id;
use kraft_cloud::resources::Known;
use kraft_cloud::resources::instances::{CreateInstance, WantedVolume};
use kraft_cloud::resources::volumes;
use kraft_cloud::tunnel::Password;
use kraft_core::event::{Event, Reporter};
use kraft_core::quantity::MIB;
use kraft_rootfs::{Source, unpadded};
use kraft_sys::fs;
use tokio::sync::mpsc;

use super::helper::{self, Helper};
use super::{Cloud, naming};
use kraft_engine::context::Context;
use kraft_engine::dockerfile;
use kraft_engine::failure::{Failure, Kind};
use kraft_engine::rootfs::{self, RootSource};

/// The helper's memory, in MiB.
const MEMORY: u64 = 128;
/// So many pieces wait to be sent.
const WAITING: usize = 16;

/// What is imported, and how.
#[derive(Clone, Debug)]
pub struct Wish {
    /// A directory, a tarball, an archive, a Dockerfile or an image.
    pub source: PathBuf,
    /// The volume.
    pub volume: String,
    /// Whether to begin even if it does not fit.
    pub force: bool,
    /// How long the helper may say nothing.
    pub timeout: Duration,
    /// The helper's image.
    pub image: String,
    /// How a Dockerfile is built.
    pub building: dockerfile::BuildOptions,
}

/// An archive on disk, removed with this if it was made for the moment.
enum Archive {
    Aside(rootfs::TemporaryArchive),
    Made(dockerfile::BuildOutput),
}

impl Archive {
    fn path(&self) -> &Path {
        match self {
            Self::Aside(aside) => &aside.archive,
            Self::Made(made) => &made.archive,
        }
    }
}

/// Imports files; returns how much room is left.
pub fn import(ctx: &Context, cloud: &Cloud, wish: &Wish) -> Result<Room, Failure> {
    let archive = archive(ctx, wish)?;
    let size = std::fs::metadata(archive.path())
        .map_err(|error| Failure::new(Kind::Failed, error))?
        .len();
    let id = Id::new(&wish.volume);
    let volume = cloud
        .send(&volumes::get(std::slice::from_ref(&id)))?
        .one()?;
    let room = volume.size_mb.saturating_mul(MIB);
    if size >= room && !wish.force {
        return Err(too_small(size, room));
    }
    let password = Helper::password()?;
    let image = naming::of_platform(cloud, &wish.image)?;
    let wanted = helper_of(wish, image, &password, volume.id());
    let dialer = helper::dialer(ctx)?;
    let (_helper, instance) = Helper::start(ctx, cloud, wanted)?;
    let host = helper::host(&instance)?;
    let mut stream = cloud.wait_for(Helper::dial(&dialer, &host, PORT))??;
    let there = cloud.wait_for(import::greet(&mut stream, &password, wish.timeout))??;
    if size > there.free && !wish.force {
        return Err(too_small(size, there.free));
    }
    let pieces = pieces(ctx, archive.path(), size)?;
    let sent = cloud.wait_for(import::send(stream, &password, pieces, wish.timeout))?;
    Ok(sent?)
}

fn too_small(size: u64, room: u64) -> Failure {
    Failure::new(
        Kind::Failed,
        format!("the volume is too small: {size} bytes do not fit into {room}"),
    )
    .hint("make a larger one; `--force` tries nevertheless")
}

/// Makes the archive that is sent.
fn archive(ctx: &Context, wish: &Wish) -> Result<Archive, Failure> {
    let source = RootSource::from_argument(&wish.source, "--source", None)?;
    // What fits an instance of the platform, if a Dockerfile or an image has to be built for one.
    if let Some(made) = rootfs::prepare(ctx, &source, "x86_64", &wish.building)? {
        return Ok(Archive::Made(made));
    }
    let source = Source::detect(&wish.source)?;
    Ok(Archive::Aside(rootfs::build_temporary(ctx, &source)?))
}

fn helper_of(wish: &Wish, image: String, password: &Password, volume: Id) -> CreateInstance {
    let args = [
        "-p",
        &PORT.to_string(),
        "-a",
        password.expose(),
        "-t",
        &wish.timeout.as_secs().to_string(),
    ];
    CreateInstance {
        args: args.map(str::to_owned).to_vec(),
        volumes: vec![WantedVolume {
            id: volume,
            at: "/".to_owned(),
            readonly: false,
        }],
        ..Helper::wanted(image, MEMORY, &[PORT])
    }
}

/// Reads an archive in a thread of its own, and hands it on in pieces without padding.
fn pieces(
    ctx: &Context,
    archive: &Path,
    size: u64,
) -> Result<mpsc::Receiver<io::Result<Vec<u8>>>, Failure> {
    let mut file = fs::open_file(archive)?;
    let (sender, receiver) = mpsc::channel(WAITING);
    let progress = ctx.progress();
    std::thread::spawn(move || {
        let task = 1;
        progress.report(Event::Started {
            task,
            what: "importing".to_owned(),
            total: Some(size),
        });
        let mut out = Pieces {
            sender: sender.clone(),
            sent: 0,
            told: &mut |done| progress.report(Event::Advanced { task, done }),
        };
        let written = unpadded::write(&mut file, &mut out);
        progress.report(match written {
            Ok(_) => Event::Finished { task },
            Err(_) => Event::Failed { task },
        });
        if let Err(error) = written {
            // Whoever does not listen any more has a reason of his own.
            let _ = sender.blocking_send(Err(error));
        }
    });
    Ok(receiver)
}

/// Hands on what is written.
struct Pieces<'a> {
    sender: mpsc::Sender<io::Result<Vec<u8>>>,
    sent: u64,
    told: &'a mut dyn FnMut(u64),
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.sender
            .blocking_send(Ok(bytes.to_vec()))
            .map_err(gone)?;
        self.sent += bytes.len() as u64;
        (self.told)(self.sent);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
