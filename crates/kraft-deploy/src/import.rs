//! Import local files into a volume of the platform.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use kraft_deploy::Cloud;
//! use kraft_deploy::import::{ImportOptions, import};
//! # fn example(
//! #     context: &kraft_engine::context::Context,
//! #     cloud: &Cloud,
//! # ) -> Result<(), kraft_deploy::import::Error> {
//! let options = ImportOptions {
//!     source: "./site".into(),
//!     volume: "data".to_owned(),
//!     force: false,
//!     timeout: Duration::from_secs(60),
//!     image: kraft_cloud::import::IMAGE.to_owned(),
//!     building: Default::default(),
//! };
//! let space = import(context, cloud, &options)?;
//! println!("{} bytes are free", space.free);
//! # Ok(())
//! # }
//! ```

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kraft_cloud::import::{self, ImportError, PORT, Room};
use kraft_cloud::request::Id;
use kraft_cloud::resources::Known;
use kraft_cloud::resources::instances::{CreateInstance, WantedVolume};
use kraft_cloud::resources::volumes;
use kraft_cloud::tunnel::Password;
use kraft_core::quantity::MIB;
use kraft_engine::context::Context;
use kraft_engine::dockerfile;
use kraft_engine::rootfs::{self, RootSource};
use kraft_rootfs::{Source, unpadded};
use kraft_sys::fs;
use tokio::sync::mpsc;

use crate::cloud::Cloud;
use crate::error::{Interrupted, RequestError};
use crate::helper::{self, Helper};
use crate::naming;

/// The helper's memory, in MiB.
const MEMORY: u64 = 128;
/// Number of pieces of the archive that may wait to be sent.
const WAITING: usize = 16;

/// Why files were not imported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The volume has less space than the archive needs.
    #[error("the volume is too small: {size} bytes do not fit into {space}")]
    TooSmall {
        /// Size of the archive, in bytes.
        size: u64,
        /// Space of the volume, in bytes.
        space: u64,
    },
    /// There is no such source, or its archive cannot be built.
    #[error(transparent)]
    Rootfs(#[from] rootfs::Error),
    /// The source cannot be built from its Dockerfile or its image.
    #[error(transparent)]
    Dockerfile(#[from] Box<dockerfile::Error>),
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] kraft_rootfs::Error),
    /// The archive cannot be opened.
    #[error(transparent)]
    Archive(#[from] fs::Error),
    /// The size of the archive cannot be read.
    #[error("cannot read the size of `{path}`")]
    Size {
        /// The archive.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A request to the platform failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The name of the helper's image is invalid.
    #[error(transparent)]
    Image(#[from] naming::Error),
    /// The helper cannot be created or reached.
    #[error(transparent)]
    Helper(#[from] helper::Error),
    /// The helper failed.
    #[error(transparent)]
    Import(#[from] ImportError),
}

impl From<Interrupted> for Error {
    fn from(error: Interrupted) -> Self {
        Self::Request(error.into())
    }
}

/// Options of an import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// A directory, a tarball, a CPIO archive, a Dockerfile or an image.
    pub source: PathBuf,
    /// The volume: its name or UUID.
    pub volume: String,
    /// Whether to start even if the files do not fit.
    pub force: bool,
    /// Time limit for the helper to respond.
    pub timeout: Duration,
    /// The helper's image.
    pub image: String,
    /// How a Dockerfile is built.
    pub building: dockerfile::BuildOptions,
}

/// An archive on disk; a temporary one is removed when this is dropped.
enum Archive {
    Temporary(rootfs::TemporaryArchive),
    Built(dockerfile::BuildOutput),
}

impl Archive {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(temporary) => &temporary.archive,
            Self::Built(built) => &built.archive,
        }
    }
}

/// Imports files; returns the space that is left on the volume.
///
/// # Errors
///
/// If the files do not fit, the helper cannot be created, or the transfer fails.
pub fn import(ctx: &Context, cloud: &Cloud, options: &ImportOptions) -> Result<Room, Error> {
    let archive = archive(ctx, options)?;
    let size = size_of(archive.path())?;
    let id = Id::new(&options.volume);
    let volume = cloud.one(&volumes::get(std::slice::from_ref(&id)))?;
    let total = volume.size_mb.saturating_mul(MIB);
    // The filesystem of the volume needs some space, too.
    if size >= total && !options.force {
        return Err(Error::TooSmall { size, space: total });
    }
    let password = Helper::password()?;
    let image = naming::platform_name(cloud.account(), &options.image)?;
    let wanted = helper_of(options, image, &password, volume.id());
    let dialer = helper::dialer(ctx)?;
    let (_helper, instance) = Helper::start(ctx, cloud, wanted)?;
    let host = helper::host(&instance)?;
    let dialing = Helper::dial(&dialer, &host, PORT);
    let mut stream = cloud.wait_for(dialing)?.map_err(helper::Error::Dial)?;
    let space = cloud.wait_for(import::greet(&mut stream, &password, options.timeout))??;
    if size > space.free && !options.force {
        return Err(Error::TooSmall {
            size,
            space: space.free,
        });
    }
    let pieces = pieces(ctx, archive.path(), size)?;
    let sent = cloud.wait_for(import::send(stream, &password, pieces, options.timeout))?;
    Ok(sent?)
}

fn size_of(path: &Path) -> Result<u64, Error> {
    let metadata = std::fs::metadata(path).map_err(|source| Error::Size {
        path: path.to_owned(),
        source,
    })?;
    Ok(metadata.len())
}

/// Makes the archive that is sent.
fn archive(ctx: &Context, options: &ImportOptions) -> Result<Archive, Error> {
    let source = RootSource::from_argument(&options.source, "--source", None)?;
    // Dockerfiles and images are built for the processor of the platform.
    let built = rootfs::prepare(ctx, &source, "x86_64", &options.building);
    if let Some(built) = built.map_err(Box::new)? {
        return Ok(Archive::Built(built));
    }
    let source = Source::detect(&options.source)?;
    let temporary = rootfs::build_temporary(ctx, &source)?;
    Ok(Archive::Temporary(temporary))
}

fn helper_of(
    options: &ImportOptions,
    image: String,
    password: &Password,
    volume: Id,
) -> CreateInstance {
    let args = [
        "-p",
        &PORT.to_string(),
        "-a",
        password.expose(),
        "-t",
        &options.timeout.as_secs().to_string(),
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

/// Reads an archive in a background thread, and passes it on in pieces without padding.
fn pieces(
    ctx: &Context,
    archive: &Path,
    size: u64,
) -> Result<mpsc::Receiver<io::Result<Vec<u8>>>, Error> {
    let mut file = fs::open_file(archive)?;
    let (sender, receiver) = mpsc::channel(WAITING);
    let progress = ctx.progress();
    std::thread::spawn(move || {
        let written = progress.run("importing", Some(size), |task| {
            let mut out = Pieces {
                sender: sender.clone(),
                sent: 0,
                report: &mut |done| task.advanced(done),
            };
            unpadded::write(&mut file, &mut out)
        });
        if let Err(error) = written {
            // A receiver that is gone has reported its own error.
            let _ = sender.blocking_send(Err(error));
        }
    });
    Ok(receiver)
}

/// Sends what is written to it.
struct Pieces<'a> {
    sender: mpsc::Sender<io::Result<Vec<u8>>>,
    sent: u64,
    report: &'a mut dyn FnMut(u64),
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.sender
            .blocking_send(Ok(bytes.to_vec()))
            .map_err(gone)?;
        self.sent += bytes.len() as u64;
        (self.report)(self.sent);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
