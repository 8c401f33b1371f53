//! Run a command in an instance, by its plugin `sandbox`.
//!
//! ```no_run
//! use kraft_cloud::request::Id;
//! use kraft_cloud::resources::sandbox::Command;
//! use kraft_deploy::exec::{Streams, run};
//! # fn example(cloud: &kraft_deploy::Cloud) -> Result<(), kraft_deploy::exec::Error> {
//! let command = Command { args: vec!["uptime".to_owned()], ..Command::default() };
//! let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
//! let streams = Streams { input: None, out: &mut out, err: &mut err };
//! let code = run(cloud, &Id::new("web"), "sandbox", &command, streams)?;
//! assert_eq!(code, 0);
//! # Ok(()) }
//! ```

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

use kraft_cloud::request::Id;
use kraft_cloud::resources::Known as _;
use kraft_cloud::resources::instances;
use kraft_cloud::resources::sandbox::{Command, Sandbox};
use kraft_engine::output::{OutputError, put};
use serde_json::Value;

use crate::cloud::Cloud;
use crate::error::RequestError;

/// Shortest and longest interval between two polls of the output.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Maximum number of bytes of input in one request.
const LONGEST_INPUT: usize = 32 << 10;
/// The longest time to report an interrupt to the command.
const GRACE: Duration = Duration::from_secs(3);

/// Why a command was not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The instance does not have the plugin.
    #[error("`{instance}` does not have the plugin `{plugin}`")]
    NoPlugin {
        /// Name of the instance.
        instance: String,
        /// Name of the plugin.
        plugin: String,
    },
    /// The answer of the plugin is not what its description has.
    #[error("the answer of the plugin `{0}` cannot be read")]
    Answer(String),
    /// The plugin returns another part of the output than the requested one.
    #[error("the plugin `{0}` ignores which part of the output was requested")]
    Offset(String),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// The streams of a command.
pub struct Streams<'s> {
    /// Source of its stdin; if `None`, its stdin is closed at once.
    pub input: Option<Box<dyn Read + Send>>,
    /// Target of its stdout.
    pub out: &'s mut dyn Write,
    /// Target of its stderr.
    pub err: &'s mut dyn Write,
}

impl std::fmt::Debug for Streams<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Streams(input: {})", self.input.is_some())
    }
}

/// Runs a command, and returns its exit code: of one that a signal ended, 128 and its number.
///
/// An interrupt, if it is caught, is sent to the command.
///
/// # Errors
///
/// If the instance does not exist or does not have the plugin, a request fails, the output cannot be
/// written, or the user interrupts the command.
pub fn run(
    cloud: &Cloud,
    instance: &Id,
    plugin: &str,
    command: &Command,
    streams: Streams<'_>,
) -> Result<u8, Error> {
    let found = cloud.one(&instances::get(std::slice::from_ref(instance)))?;
    let plugins = found.more.get("plugins").and_then(Value::as_array);
    let mut names = plugins.into_iter().flatten().map(|one| one.get("name"));
    if !names.any(|name| name.and_then(Value::as_str) == Some(plugin)) {
        return Err(Error::NoPlugin {
            instance: found.title().to_owned(),
            plugin: plugin.to_owned(),
        });
    }
    let sandbox = Sandbox {
        instance: found.uuid,
        plugin: plugin.to_owned(),
    };
    let started = cloud.one(&sandbox.start(command))?.uuid;
    if started.is_empty() {
        return Err(Error::Answer(sandbox.plugin));
    }
    let code = follow(cloud, &sandbox, &started, streams);
    match &code {
        Ok(_) => {
            // The plugin keeps the output of commands in memory until they are removed.
            let _ = cloud.send(&sandbox.forget(&started));
        }
        Err(Error::Request(RequestError::Interrupted(_))) => {
            let _ = cloud.send_after_interrupt(GRACE, &sandbox.signal(&started, "INT"));
        }
        Err(_) => {}
    }
    code
}

/// Transfers the streams of a command until it has ended.
fn follow(
    cloud: &Cloud,
    sandbox: &Sandbox,
    command: &str,
    streams: Streams<'_>,
) -> Result<u8, Error> {
    let mut input = streams.input.map(pieces);
    if input.is_none() {
        feed(cloud, sandbox, command, &[])?;
    }
    let mut read = (0, 0);
    let mut pause = PAUSES.0;
    loop {
        // The state is older than the output: that of a command that has ended is complete.
        let state = cloud.one(&sandbox.get(command))?;
        let unreadable = || Error::Answer(sandbox.plugin.clone());
        if state.uuid != command {
            return Err(unreadable());
        }
        let output = cloud.one(&sandbox.output(command, read))?;
        let (out, err) = output.bytes().ok_or_else(unreadable)?;
        read = (read.0 + out.len(), read.1 + err.len());
        if !output.reaches(read) {
            return Err(Error::Offset(sandbox.plugin.clone()));
        }
        put(streams.out, &out)?;
        put(streams.err, &err)?;
        let mut is_quiet = out.is_empty() && err.is_empty();
        if let Some(code) = state.exitcode {
            if is_quiet {
                let code = if code < 0 { 128 - code } else { code };
                return Ok(u8::try_from(code).unwrap_or(u8::MAX));
            }
            continue;
        }
        match input.as_ref().map(Receiver::try_recv) {
            Some(Ok(bytes)) => {
                is_quiet = false;
                feed(cloud, sandbox, command, &bytes)?;
            }
            Some(Err(TryRecvError::Disconnected)) => {
                input = None;
                feed(cloud, sandbox, command, &[])?;
            }
            Some(Err(TryRecvError::Empty)) | None => {}
        }
        if is_quiet {
            cloud.pause(pause).map_err(RequestError::from)?;
            pause = (pause * 2).min(PAUSES.1);
        } else {
            pause = PAUSES.0;
        }
    }
}

/// Sends input to a command. One that has ended refuses it, which is no error.
fn feed(cloud: &Cloud, sandbox: &Sandbox, command: &str, bytes: &[u8]) -> Result<(), Error> {
    let Err(error) = cloud.send(&sandbox.input(command, bytes)) else {
        return Ok(());
    };
    match cloud.one(&sandbox.get(command)) {
        Ok(state) if state.exitcode.is_some() => Ok(()),
        _ => Err(error.into()),
    }
}

/// Reads a stream in pieces in the background.
fn pieces(mut stream: Box<dyn Read + Send>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = sync_channel(1);
    std::thread::spawn(move || {
        let mut piece = vec![0; LONGEST_INPUT];
        while let Ok(count @ 1..) = stream.read(&mut piece) {
            let bytes = piece.get(..count).unwrap_or_default().to_vec();
            if sender.send(bytes).is_err() {
                return;
            }
        }
    });
    receiver
}
