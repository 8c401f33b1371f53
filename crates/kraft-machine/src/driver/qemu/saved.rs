//! Saving a guest, and restoring it.
//!
//! QEMU migrates the guest to a socket. What arrives is split into the memory, a file as large as
//! that, and the rest, of a few hundred KiB. A QEMU that restores the guest maps the file: nothing is
//! read before the guest needs it, and guests that were restored from the same file share its
//! pages until they change them. The rest arrives by a socket as well: so QEMU needs neither a
//! certain version, nor the right to write large files.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kraft_core::machine::Acceleration;
use kraft_core::port::PortMapping;
use kraft_sys::fs;
use kraft_sys::process::{self, short_path};
use serde_json::{Value, json};

use super::qmp::{Qmp, QmpError};
use super::stream::{self, StreamError};
use super::{argv, control};
use crate::driver::saved::host_model;
use crate::driver::{Conditions, ControlError, Launch, Restored, Saved, SavedError, Vmm};
use crate::layout::MachineDir;

/// The socket that QEMU sends a migration stream to, or gets one from; its working directory is
/// that of the machine.
const SOCKET: &str = "migration.sock";

/// The size of buffers of the stream, in bytes.
const BUFFER: usize = 1 << 20;

/// The time between two questions whether QEMU has finished.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// How long QEMU may take to restore a guest before it is asked whether it has finished.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(20);

impl From<QmpError> for SavedError {
    fn from(error: QmpError) -> Self {
        Self::Vmm(error.into())
    }
}

impl From<StreamError> for SavedError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Io(error) => Self::File(error),
            StreamError::Unknown(_) | StreamError::NoBlock(_) => Self::Vmm(error.into()),
        }
    }
}

fn failed(why: impl Into<String>) -> SavedError {
    SavedError::Vmm(why.into().into())
}

/// The socket of a migration, which is removed when this is dropped.
struct Socket(PathBuf);

impl Socket {
    fn new(dir: &MachineDir) -> Result<Self, fs::Error> {
        let path = dir.path().join(SOCKET);
        fs::remove_file(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // One that stays is removed before the next is made.
        let _ = fs::remove_file(&self.0);
    }
}

/// Saves a paused guest; see [`Driver::save`](crate::driver::Driver::save).
pub(super) fn save(vmm: &Vmm<'_>, to: &Path, limit: Duration) -> Result<Conditions, SavedError> {
    let argv = argv::Words::of(process::command_line(vmm.process.pid));
    let mut qmp = control::connect(vmm.dir, limit)?;
    let machine = json!({"path": "/machine", "property": "type"});
    let machine = qmp.execute_with("qom-get", &machine)?;
    let board = machine.as_str().unwrap_or_default();
    let mut conditions = Conditions {
        vmm: qmp.version()?,
        board: board.strip_suffix("-machine").unwrap_or(board).to_owned(),
        ..argv.conditions()
    };
    // No limit: the guest does not run meanwhile.
    qmp.execute_with(
        "migrate-set-parameters",
        &json!({"max-bandwidth": 1_u64 << 40}),
    )?;
    let socket = Socket::new(vmm.dir).map_err(|error| SavedError::File(error.source))?;
    let open = File::open(vmm.dir.path()).map_err(SavedError::File)?;
    let listener = UnixListener::bind(short_path(&open).join(SOCKET)).map_err(SavedError::File)?;
    qmp.execute_with("migrate", &json!({"uri": format!("unix:{SOCKET}")}))?;
    let stream = accept(&listener, &mut qmp, limit)?;
    drop(socket);
    stream
        .set_read_timeout(Some(limit))
        .map_err(SavedError::File)?;
    let create =
        |name: &str| fs::create_private(&to.join(name)).map_err(|e| SavedError::File(e.source));
    let (state, memory) = (create(Saved::STATE)?, create(Saved::MEMORY)?);
    let stream = BufReader::with_capacity(BUFFER, stream);
    let state = BufWriter::with_capacity(BUFFER, state);
    let block = block(&conditions.board);
    // What QEMU says about its failure is the reason of a stream that ends early.
    let split = stream::split(stream, block, state, &memory);
    let migrated = wait_for_migration(&mut qmp, limit);
    conditions.memory = match (split, migrated) {
        (Ok(length), Ok(())) => length,
        (_, Err(error)) => return Err(error),
        (Err(error), Ok(())) => return Err(error.into()),
    };
    Ok(conditions)
}

/// Returns the name of the memory of a guest on a board: of `pc`, `virt` or `microvm`, with its
/// version and options or without.
pub(super) fn block(board: &str) -> &'static str {
    match board {
        _ if board.starts_with("virt") => "mach-virt.ram",
        _ if board.starts_with("microvm") => "microvm.ram",
        _ => "pc.ram",
    }
}

/// Waits until QEMU connects, unless it fails before.
fn accept(
    listener: &UnixListener,
    qmp: &mut Qmp,
    limit: Duration,
) -> Result<UnixStream, SavedError> {
    listener.set_nonblocking(true).map_err(SavedError::File)?;
    let deadline = Instant::now() + limit;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).map_err(SavedError::File)?;
                return Ok(stream);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(SavedError::File(e)),
        }
        migration(qmp)?;
        if Instant::now() > deadline {
            return Err(failed("QEMU does not begin to migrate"));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Returns whether the migration is complete; an error if it failed.
fn migration(qmp: &mut Qmp) -> Result<bool, SavedError> {
    let answer = qmp.execute("query-migrate")?;
    let text = |field: &str| answer.get(field).and_then(Value::as_str);
    match text("status") {
        Some("completed") => Ok(true),
        Some(status @ ("failed" | "cancelled" | "cancelling")) => {
            Err(failed(text("error-desc").unwrap_or(status)))
        }
        _ => Ok(false),
    }
}

fn wait_for_migration(qmp: &mut Qmp, limit: Duration) -> Result<(), SavedError> {
    let deadline = Instant::now() + limit;
    while !migration(qmp)? {
        if Instant::now() > deadline {
            return Err(failed("QEMU does not finish the migration"));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}

/// Has a QEMU that waits for a migration restore its guest; see
/// [`Driver::restore`](crate::driver::Driver::restore).
pub(super) fn restore(
    vmm: &Vmm<'_>,
    launch: &Launch<'_>,
    state: &[u8],
    limit: Duration,
) -> Result<Qmp, SavedError> {
    let Some(saved) = launch.saved else {
        return Err(SavedError::Unsupported);
    };
    let mut qmp = control::connect(vmm.dir, limit)?;
    let present = Conditions {
        vmm: qmp.version()?,
        // Asked for by its name: another one would not have started.
        board: saved.conditions.board.clone(),
        memory: launch.spec.memory,
        ..argv::Words::of(process::command_line(vmm.process.pid)).conditions()
    };
    if let Some(misfit) = saved.conditions.misfit(&present) {
        return Err(SavedError::Misfit(misfit));
    }
    let socket = Socket::new(vmm.dir).map_err(|error| SavedError::File(error.source))?;
    qmp.execute_with(
        "migrate-incoming",
        &json!({"uri": format!("unix:{SOCKET}")}),
    )?;
    let open = File::open(vmm.dir.path()).map_err(SavedError::File)?;
    let mut stream =
        UnixStream::connect(short_path(&open).join(SOCKET)).map_err(SavedError::File)?;
    drop(socket);
    stream
        .set_write_timeout(Some(limit))
        .map_err(SavedError::File)?;
    let sent = stream.write_all(state);
    wait_until_closed(stream);
    let deadline = Instant::now() + limit;
    loop {
        match qmp.status()?.as_str() {
            "inmigrate" if Instant::now() > deadline => {
                return Err(failed("QEMU does not finish the migration"));
            }
            "inmigrate" => std::thread::sleep(POLL_INTERVAL),
            _ => break,
        }
    }
    sent.map_err(SavedError::File)?;
    if launch.spec.networks.is_empty() {
        launch
            .ports
            .iter()
            .try_for_each(|port| publish(&mut qmp, port))?;
    }
    Ok(qmp)
}

/// The connection on which the guest was restored: QEMU takes a millisecond for another one.
impl Restored for Qmp {
    fn resume(mut self: Box<Self>) -> Result<(), ControlError> {
        let resumed = self.execute("cont");
        resumed
            .map(drop)
            .map_err(|error| ControlError::Vmm(error.into()))
    }
}

/// Waits until QEMU closes a stream that was sent, which it does when it has finished or failed; not for
/// long, since a version may close it later.
fn wait_until_closed(mut stream: UnixStream) {
    // If this is not possible, QEMU is asked instead.
    let _ = stream.shutdown(Shutdown::Write);
    if stream.set_read_timeout(Some(CLOSE_TIMEOUT)).is_ok() {
        let _ = stream.read(&mut [0]);
    }
}

/// Has user networking forward a port. The only command for that is one of QEMU's human monitor, which answers
/// with nothing, or with what went wrong.
fn publish(qmp: &mut Qmp, port: &PortMapping) -> Result<(), SavedError> {
    let rule = argv::forwarded(port);
    let line = format!("hostfwd_add {} {rule}", argv::USER_NETWORK);
    let answer = qmp.execute_with("human-monitor-command", &json!({"command-line": line}))?;
    match answer.as_str().map(str::trim) {
        None | Some("") => Ok(()),
        Some(why) => Err(failed(format!("QEMU cannot publish port {rule}: {why}"))),
    }
}

impl argv::Words {
    /// Returns what follows from the command line: all conditions except version, board and memory.
    fn conditions(&self) -> Conditions {
        let cpu = self.value("-cpu").unwrap_or_default();
        let board = self.value("-machine").unwrap_or_default();
        let acceleration = if board.split(',').any(|word| word == "accel=kvm") {
            Acceleration::Kvm
        } else {
            Acceleration::Tcg
        };
        Conditions {
            vmm: String::new(),
            board: String::new(),
            cpu: match acceleration {
                Acceleration::Kvm => format!("{cpu} ({})", host_model()),
                Acceleration::Tcg => cpu.to_owned(),
            },
            acceleration,
            devices: self.devices(),
            memory: 0,
        }
    }
}
