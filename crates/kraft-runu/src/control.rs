//! Requests to the supervisor of a container: a line of JSON and an answer over its socket.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use kraft_sys::process::short_path;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::state::StateDir;

/// The longest line, in bytes.
const LONGEST: u64 = 64 << 10;

/// How long an answer may take: that to a start comes when the guest runs.
const PATIENCE: Duration = Duration::from_mins(3);

/// What a supervisor is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Nothing: whether it is ready.
    Hello,
    /// Start the machine.
    Start,
    /// Stop the processors of the machine.
    Pause,
    /// Start them again.
    Resume,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    error: Option<String>,
}

/// Asks the supervisor of a container; `None` if there is none.
pub(crate) fn ask(dir: &StateDir, request: Request) -> Result<Option<()>, Failure> {
    let open = File::open(dir.path())
        .map_err(|e| Failure::of("cannot open the directory of the container", &e))?;
    let stream = match UnixStream::connect(short_path(&open).join(StateDir::CONTROL)) {
        Ok(stream) => stream,
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(e) => return Err(Failure::of("cannot connect to the supervisor", &e)),
    };
    let answer = exchange(&stream, request)
        .map_err(|e| Failure::of("the supervisor of the container does not answer", &e))?;
    match answer.error {
        None => Ok(Some(())),
        Some(why) => Err(Failure(why)),
    }
}

fn exchange(stream: &UnixStream, request: Request) -> io::Result<Answer> {
    stream.set_read_timeout(Some(PATIENCE))?;
    send(stream, &request)?;
    receive(stream)
}

fn send(mut stream: &UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn receive<T: for<'de> Deserialize<'de>>(stream: &UnixStream) -> io::Result<T> {
    let mut line = Vec::new();
    BufReader::new(stream.take(LONGEST)).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}

/// Listens for requests; the current directory is that of the container.
pub(crate) fn listen() -> io::Result<UnixListener> {
    UnixListener::bind(StateDir::CONTROL)
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(crate) struct Pending {
    stream: UnixStream,
    pub(crate) request: Request,
}

impl Pending {
    /// Reads the request of a connection, for a second at most.
    pub(crate) fn read(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let request = receive(&stream)?;
        Ok(Self { stream, request })
    }

    /// Answers it. That the other side has left is no error.
    pub(crate) fn answer(self, result: Result<(), Failure>) {
        let error = result.err().map(|failure| failure.0);
        let _ = send(&self.stream, &Answer { error });
    }
}
