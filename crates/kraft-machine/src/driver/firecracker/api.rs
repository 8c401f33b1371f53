//! A client of Firecracker's API: HTTP/1.1 over a unix socket.
//!
//! ```text
//! ► PUT /boot-source HTTP/1.1 … {"kernel_image_path":"kernel", …}
//! ◄ HTTP/1.1 204                                   done
//! ◄ HTTP/1.1 400 … {"fault_message":"…"}           refused
//! ```
//!
//! The other side is not trusted: the size of answers and every wait are limited.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use kraft_sys::process::short_path;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::request::Request;
use crate::driver::socket;
use crate::layout::MachineDir;

/// The maximal size of an answer in bytes.
const MAX_ANSWER: usize = 1 << 20;
/// The maximal size of an answer's head in bytes.
const MAX_HEAD: usize = 64 << 10;
/// The maximal number of lines of an answer's head.
const MAX_HEADERS: usize = 32;

/// A request was not executed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// The socket cannot be connected to, or the connection broke.
    #[error("cannot connect to Firecracker")]
    Io(#[from] io::Error),
    /// It does not answer in time.
    #[error("Firecracker did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// It closed the connection before it answered.
    #[error("Firecracker closed the connection")]
    Closed,
    /// An answer is not valid.
    #[error("invalid answer from Firecracker: {0}")]
    Invalid(String),
    /// It refused a request.
    #[error("Firecracker refused `{request}`: {message}")]
    Refused {
        /// Method and path.
        request: String,
        /// What it says.
        message: String,
    },
}

/// A connection to a Firecracker.
#[derive(Debug)]
pub(super) struct Api {
    stream: UnixStream,
    /// Bytes that were received and not yet parsed.
    received: Vec<u8>,
    limit: Duration,
}

/// What it reports about itself: `GET /`.
#[derive(Debug, Deserialize)]
pub(super) struct Instance {
    /// `Not started`, `Running` or `Paused`.
    pub(super) state: String,
    /// Its version: `1.12.0`.
    pub(super) vmm_version: String,
}

/// What it reports about its machine: `GET /vm/config`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Config {
    pub(super) machine_config: MachineConfig,
    #[serde(default)]
    pub(super) network_interfaces: Vec<Card>,
}

/// The memory of its guest.
#[derive(Debug, Deserialize)]
pub(super) struct MachineConfig {
    /// Its size in MiB.
    pub(super) mem_size_mib: u64,
}

/// A card of a network.
#[derive(Debug, Deserialize)]
pub(super) struct Card {
    /// The device on the host.
    pub(super) host_dev_name: String,
}

#[derive(Deserialize)]
struct Fault {
    fault_message: String,
}

impl Api {
    /// Connects to the Firecracker of a machine. Neither this nor any request takes longer than
    /// `limit`.
    pub(super) fn connect(dir: &MachineDir, limit: Duration) -> Result<Self, ApiError> {
        let open = File::open(dir.path())?;
        let path = short_path(&open).join("control.sock");
        let stream = socket::connect(&path, Instant::now() + limit);
        let stream = stream.map_err(|e| broken(e, limit))?;
        Ok(Self {
            stream,
            received: Vec::new(),
            limit,
        })
    }

    /// Sends a request and waits until it is done.
    pub(super) fn send(&mut self, request: &Request<'_>) -> Result<(), ApiError> {
        let (method, path) = request.line();
        self.ask(method, &path, &request.body()).map(drop)
    }

    /// Asks what it does.
    pub(super) fn instance(&mut self) -> Result<Instance, ApiError> {
        self.get("/")
    }

    /// Asks what its machine has.
    pub(super) fn config(&mut self) -> Result<Config, ApiError> {
        self.get("/vm/config")
    }

    /// Changes how long a request may take.
    pub(super) fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ApiError> {
        let body = self.ask("GET", path, b"")?;
        serde_json::from_slice(&body).map_err(|e| ApiError::Invalid(e.to_string()))
    }

    fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Vec<u8>, ApiError> {
        let deadline = Instant::now() + self.limit;
        tracing::trace!(method, path, "request to Firecracker");
        let mut message =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n");
        if !body.is_empty() {
            message.push_str("Content-Type: application/json\r\nContent-Length: ");
            message.push_str(&body.len().to_string());
            message.push_str("\r\n");
        }
        message.push_str("\r\n");
        self.stream.set_write_timeout(Some(self.limit))?;
        let message = [message.as_bytes(), body].concat();
        let written = self.stream.write_all(&message);
        written.map_err(|e| broken(e, self.limit))?;
        let (status, answer) = self.answer(deadline)?;
        tracing::trace!(status, "answer of Firecracker");
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        let fault = serde_json::from_slice::<Fault>(&answer);
        Err(ApiError::Refused {
            request: format!("{method} {path}"),
            message: fault.map_or_else(|_| format!("status {status}"), |it| it.fault_message),
        })
    }

    /// Receives an answer: its status and its body.
    fn answer(&mut self, deadline: Instant) -> Result<(u16, Vec<u8>), ApiError> {
        loop {
            let parsed = head(&self.received)?;
            if parsed.is_none() && self.received.len() > MAX_HEAD {
                return Err(ApiError::Invalid("it is too long".to_owned()));
            }
            if let Some((status, head, length)) = parsed {
                let end = head.saturating_add(length);
                if end > MAX_ANSWER {
                    return Err(ApiError::Invalid("it is too long".to_owned()));
                }
                if self.received.len() >= end {
                    let rest = self.received.split_off(end);
                    let mut answer = std::mem::replace(&mut self.received, rest);
                    return Ok((status, answer.split_off(head)));
                }
            }
            self.receive(deadline)?;
        }
    }

    fn receive(&mut self, deadline: Instant) -> Result<(), ApiError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ApiError::Timeout(self.limit));
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(ApiError::Closed),
            Ok(count) => {
                self.received.extend(chunk.iter().take(count));
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(e) => Err(broken(e, self.limit)),
        }
    }
}

fn broken(error: io::Error, limit: Duration) -> ApiError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ApiError::Timeout(limit),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ApiError::Closed,
        _ => ApiError::Io(error),
    }
}

/// Parses the head of an answer: its status, its own length and that of the body. `None` if it is
/// incomplete.
fn head(bytes: &[u8]) -> Result<Option<(u16, usize, usize)>, ApiError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let invalid = |why: String| ApiError::Invalid(why);
    let parsed = answer.parse(bytes).map_err(|e| invalid(e.to_string()))?;
    let httparse::Status::Complete(head) = parsed else {
        return Ok(None);
    };
    let length = answer
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = match length {
        Some(header) => std::str::from_utf8(header.value)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .ok_or_else(|| invalid("its length is not a number".to_owned()))?,
        None => 0,
    };
    Ok(Some((answer.code.unwrap_or_default(), head, length)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::driver::firecracker::request::Vm;

    /// Sends a request to a server that answers with `answer` and then closes, or sends nothing more.
    fn send(answer: &[u8], stay: bool) -> Result<(), ApiError> {
        let temporary = tempfile::tempdir().unwrap();
        let dir = MachineDir::new(temporary.path().to_owned());
        let listener = UnixListener::bind(dir.control()).unwrap();
        let answer = answer.to_vec();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"PATCH /vm HTTP/1.1\r\n"));
            // The client may have closed the connection.
            let _ = stream.write_all(&answer);
            if stay {
                let _ = wait.recv();
            }
        });
        let limit = Duration::from_millis(if stay { 100 } else { 20_000 });
        let sent = Api::connect(&dir, limit).and_then(|mut api| api.send(&Request::Vm(Vm::Paused)));
        drop(done);
        server.join().unwrap();
        sent
    }

    #[test]
    fn an_answer_without_a_body_is_success() {
        // Firecracker's has no reason phrase.
        let answer = b"HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n";
        send(answer, true).unwrap();
    }

    #[test]
    fn a_refusal_contains_the_fault() {
        let body = "{\"fault_message\":\"not now\"}";
        let answer = format!(
            "HTTP/1.1 400 \r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(
            send(answer.as_bytes(), true).unwrap_err().to_string(),
            "Firecracker refused `PATCH /vm`: not now"
        );
    }

    #[test]
    fn no_answer_makes_a_request_hang() {
        let endless = [b"HTTP/1.1 200 OK\r\n".as_slice(), &vec![b'x'; 3 << 20]].concat();
        let results: Vec<String> = [
            (&b""[..], false),
            (b"", true),
            (b"hello\r\n\r\n", false),
            (b"HTTP/1.1 204", true),
            (b"HTTP/1.1 200 \r\nContent-Length: x\r\n\r\n", true),
            (b"HTTP/1.1 200 \r\nContent-Length: 99999999\r\n\r\n", true),
            (
                b"HTTP/1.1 200 \r\nContent-Length: 18446744073709551615\r\n\r\n",
                true,
            ),
            (b"HTTP/1.1 200 \r\nContent-Length: 9\r\n\r\nabc", true),
            (b"HTTP/1.1 500 \r\n\r\n", true),
            (&endless, false),
        ]
        .iter()
        .map(|(answer, stay)| send(answer, *stay).unwrap_err().to_string())
        .collect();
        insta::assert_snapshot!(results.join("\n"), @"
        Firecracker closed the connection
        Firecracker did not answer within 100 ms
        invalid answer from Firecracker: invalid HTTP version
        Firecracker did not answer within 100 ms
        invalid answer from Firecracker: its length is not a number
        invalid answer from Firecracker: it is too long
        invalid answer from Firecracker: it is too long
        Firecracker did not answer within 100 ms
        Firecracker refused `PATCH /vm`: status 500
        invalid answer from Firecracker: it is too long
        ");
    }
}
