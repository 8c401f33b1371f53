//! A client of the QEMU Machine Protocol: JSON lines over a unix socket.
//!
//! ```text
//! ◄ {"QMP": …}                                   the greeting
//! ► {"execute": "qmp_capabilities", "id": 1}
//! ◄ {"return": {}, "id": 1}
//! ► {"execute": "stop", "id": 2}
//! ◄ {"event": "STOP", …}                         events come at any time
//! ◄ {"return": {}, "id": 2}
//! ```
//!
//! The other side is not trusted: the length of lines and every wait are limited, and an invalid
//! message is an error.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::driver::socket;

/// The maximal length of a line in bytes.
const MAX_LINE: usize = 1 << 20;

/// A command could not be executed.
#[derive(Debug, thiserror::Error)]
pub(super) enum QmpError {
    /// The socket cannot be connected to, or the connection broke.
    #[error("cannot connect to the VMM")]
    Io(#[from] io::Error),
    /// It does not answer in time.
    #[error("the VMM did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// It closed the connection before it answered.
    #[error("the VMM closed the QMP connection")]
    Closed,
    /// A message is not valid.
    #[error("invalid QMP message from the VMM: {0}")]
    Invalid(String),
    /// It refused a command.
    #[error("the VMM refused `{command}`: {description} ({class})")]
    Refused {
        /// The command.
        command: String,
        /// The class of the error.
        class: String,
        /// Its description.
        description: String,
    },
}

/// A connection to a VMM.
#[derive(Debug)]
pub(super) struct Qmp {
    stream: UnixStream,
    /// Bytes that were received and not yet parsed.
    received: Vec<u8>,
    last_id: u64,
    limit: Duration,
    /// What the greeting said about QEMU's version.
    version: Value,
}

#[derive(Serialize)]
struct Command<'a> {
    execute: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a Value>,
    id: u64,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "QMP")]
    greeting: Option<Greeting>,
    #[serde(rename = "return")]
    answer: Option<Value>,
    error: Option<Refusal>,
    id: Option<Value>,
}

#[derive(Deserialize)]
struct Greeting {
    #[serde(default)]
    version: Value,
}

#[derive(Deserialize)]
struct Refusal {
    class: String,
    desc: String,
}

impl Qmp {
    /// Connects to the socket at `path` (at most 107 bytes long). Neither this nor any command
    /// takes longer than `limit`.
    pub(super) fn connect(path: &Path, limit: Duration) -> Result<Self, QmpError> {
        let deadline = Instant::now() + limit;
        let mut qmp = Self {
            stream: socket::connect(path, deadline).map_err(|e| match e.kind() {
                io::ErrorKind::TimedOut => QmpError::Timeout(limit),
                _ => QmpError::Io(e),
            })?,
            received: Vec::new(),
            last_id: 0,
            limit,
            version: Value::Null,
        };
        qmp.version = qmp.wait_for_greeting(deadline)?.version;
        qmp.execute("qmp_capabilities")?;
        Ok(qmp)
    }

    /// Skips everything before the greeting: QEMU may first send events, or the rest of a message,
    /// that it wrote for an earlier client.
    fn wait_for_greeting(&mut self, deadline: Instant) -> Result<Greeting, QmpError> {
        loop {
            let line = self.line(deadline)?;
            let message = serde_json::from_slice::<Message>(&line).ok();
            if let Some(greeting) = message.and_then(|message| message.greeting) {
                return Ok(greeting);
            }
        }
    }

    /// Executes a command and returns its answer.
    pub(super) fn execute(&mut self, command: &str) -> Result<Value, QmpError> {
        self.send(command, None)
    }

    /// Executes a command with arguments and returns its answer.
    pub(super) fn execute_with(
        &mut self,
        command: &str,
        arguments: &Value,
    ) -> Result<Value, QmpError> {
        self.send(command, Some(arguments))
    }

    fn send(&mut self, command: &str, arguments: Option<&Value>) -> Result<Value, QmpError> {
        let deadline = Instant::now() + self.limit;
        self.last_id += 1;
        let id = self.last_id;
        tracing::trace!(command, id, "QMP command");
        // INVARIANT: a name and a number can always be serialised.
        let mut line = serde_json::to_vec(&Command {
            execute: command,
            arguments,
            id,
        })
        .unwrap_or_default();
        line.push(b'\n');
        self.stream.set_write_timeout(Some(self.limit))?;
        self.stream.write_all(&line).map_err(|e| self.broken(e))?;
        loop {
            let message = self.message(deadline)?;
            // Events and answers to other commands are skipped.
            if message.id != Some(Value::from(id)) {
                // QEMU leaves out the id when it cannot read the command at all.
                if let (None, Some(refusal)) = (&message.id, &message.error) {
                    return Err(refused(command, refusal));
                }
                continue;
            }
            if let Some(refusal) = message.error {
                tracing::trace!(id, error = %refusal.desc, "QMP answer");
                return Err(refused(command, &refusal));
            }
            if let Some(answer) = message.answer {
                tracing::trace!(id, %answer, "QMP answer");
                return Ok(answer);
            }
        }
    }

    /// Returns QEMU's run state: `running`, `paused`, `internal-error`, …
    pub(super) fn status(&mut self) -> Result<String, QmpError> {
        let answer = self.execute("query-status")?;
        match answer.get("status").and_then(Value::as_str) {
            Some(status) => Ok(status.to_owned()),
            None => Err(QmpError::Invalid("a status is missing".to_owned())),
        }
    }

    /// Returns QEMU's name and version: `QEMU 10.0.2 (Debian 1:10.0.2+ds-2)`.
    pub(super) fn version(&self) -> Result<String, QmpError> {
        let answer = &self.version;
        let number = |part: &str| answer.get("qemu")?.get(part)?.as_u64();
        let (Some(major), Some(minor), Some(micro)) =
            (number("major"), number("minor"), number("micro"))
        else {
            return Err(QmpError::Invalid("a version is missing".to_owned()));
        };
        let package = answer.get("package").and_then(Value::as_str);
        let package = package.map_or_else(String::new, |text| format!(" {}", text.trim()));
        Ok(format!("QEMU {major}.{minor}.{micro}{package}")
            .trim_end()
            .to_owned())
    }

    /// Receives the next message.
    fn message(&mut self, deadline: Instant) -> Result<Message, QmpError> {
        loop {
            let line = self.line(deadline)?;
            if line.trim_ascii().is_empty() {
                continue;
            }
            return serde_json::from_slice(&line).map_err(|e| QmpError::Invalid(e.to_string()));
        }
    }

    /// Receives the next line.
    fn line(&mut self, deadline: Instant) -> Result<Vec<u8>, QmpError> {
        let mut searched = 0;
        loop {
            let fresh = self.received.get(searched..).unwrap_or_default();
            if let Some(end) = fresh.iter().position(|&byte| byte == b'\n') {
                let rest = self.received.split_off(searched + end + 1);
                return Ok(std::mem::replace(&mut self.received, rest));
            }
            searched = self.received.len();
            if searched > MAX_LINE {
                return Err(QmpError::Invalid("a line is too long".to_owned()));
            }
            self.receive(deadline)?;
        }
    }

    /// Receives bytes.
    fn receive(&mut self, deadline: Instant) -> Result<(), QmpError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(QmpError::Timeout(self.limit));
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(QmpError::Closed),
            Ok(count) => {
                self.received.extend(chunk.iter().take(count));
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(e) => Err(self.broken(e)),
        }
    }

    fn broken(&self, error: io::Error) -> QmpError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => QmpError::Timeout(self.limit),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => QmpError::Closed,
            _ => QmpError::Io(error),
        }
    }
}

fn refused(command: &str, refusal: &Refusal) -> QmpError {
    QmpError::Refused {
        command: command.to_owned(),
        class: refusal.class.clone(),
        description: refusal.desc.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    const GREETING: &str = "{\"QMP\": {}}\n";
    const READY: &str = "{\"return\": {}, \"id\": 1}\n";

    /// Connects to a server that sends all of `lines` at once and then closes, or sends nothing more.
    fn execute(lines: &[u8], stay: bool) -> Result<Value, QmpError> {
        let limit = if stay { 100 } else { 20_000 };
        connected(lines, stay, limit, |qmp| qmp?.execute("stop"))
    }

    fn connected<T>(
        lines: &[u8],
        stay: bool,
        limit: u64,
        run: impl FnOnce(Result<Qmp, QmpError>) -> T,
    ) -> T {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let lines = lines.to_vec();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // The client may have closed the connection.
            let _ = stream.write_all(&lines);
            if stay {
                let _ = wait.recv();
            } else {
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        let result = run(Qmp::connect(&path, Duration::from_millis(limit)));
        drop(done);
        server.join().unwrap();
        result
    }

    #[test]
    fn events_and_answers_to_other_commands_are_skipped() {
        let lines = format!(
            "{GREETING}{{\"event\": \"X\"}}\n{READY}{{\"event\": \"STOP\"}}\r\n\n\
             {{\"return\": 5, \"id\": 7}}\n{{\"return\": 3, \"id\": 2}}\n"
        );
        assert_eq!(execute(lines.as_bytes(), false).unwrap(), Value::from(3));
    }

    #[test]
    fn what_was_sent_for_an_earlier_client_is_skipped() {
        for before in [
            "{\"event\": \"RTC_CHANGE\"}\n".repeat(1000),
            "ta\": {\"offset\": 5}}\n{\"return\": {}, \"id\": 1}\n".to_owned(),
            "\n\r\n".to_owned(),
        ] {
            let lines = format!("{before}{GREETING}{READY}{{\"return\": 3, \"id\": 2}}\n");
            assert_eq!(execute(lines.as_bytes(), false).unwrap(), Value::from(3));
        }
    }

    #[test]
    fn the_version_is_that_of_the_greeting() {
        let version = |said: &str| {
            let greeting = format!("{{\"QMP\": {{{said}}}}}\n");
            let lines = format!("{greeting}{READY}");
            connected(lines.as_bytes(), false, 20_000, |qmp| qmp?.version())
        };
        let numbers = r#""qemu": {"major": 10, "minor": 0, "micro": 2}"#;
        let debian = format!(r#""version": {{{numbers}, "package": "Debian 1:10.0.2+ds-2 "}}"#);
        assert_eq!(
            version(&debian).unwrap(),
            "QEMU 10.0.2 Debian 1:10.0.2+ds-2"
        );
        let plain = format!(r#""version": {{{numbers}, "package": ""}}"#);
        assert_eq!(version(&plain).unwrap(), "QEMU 10.0.2");
        for missing in [
            "",
            r#""version": 5"#,
            r#""version": {"qemu": {"major": 10}}"#,
        ] {
            let error = version(missing).unwrap_err();
            assert_eq!(
                error.to_string(),
                "invalid QMP message from the VMM: a version is missing"
            );
        }
    }

    #[test]
    fn a_refusal_contains_the_description() {
        let lines = format!(
            "{GREETING}{READY}{{\"error\": {{\"class\": \"GenericError\", \"desc\": \"not now\"}}, \
             \"id\": 2}}\n"
        );
        let error = execute(lines.as_bytes(), false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the VMM refused `stop`: not now (GenericError)"
        );
    }

    #[test]
    fn no_output_of_a_vmm_makes_a_command_hang() {
        let endless = [GREETING.as_bytes(), READY.as_bytes(), &vec![b'x'; 3 << 20]].concat();
        let nested = format!("{GREETING}{READY}{}\n", "[".repeat(100_000));
        let results: Vec<String> = [
            (&b""[..], false),
            (b"hello\n", false),
            (b"{}\n", false),
            (b"\xff\xff\n", false),
            (&[GREETING.as_bytes(), b"hello\n"].concat(), false),
            (&endless, false),
            (nested.as_bytes(), false),
            (&[GREETING, READY].concat().into_bytes(), true),
            (b"{\"QMP\"", true),
        ]
        .iter()
        .map(|(lines, stay)| execute(lines, *stay).unwrap_err().to_string())
        .collect();
        insta::assert_snapshot!(results.join("\n"), @"
        the VMM closed the QMP connection
        the VMM closed the QMP connection
        the VMM closed the QMP connection
        the VMM closed the QMP connection
        invalid QMP message from the VMM: expected value at line 1 column 1
        invalid QMP message from the VMM: a line is too long
        invalid QMP message from the VMM: recursion limit exceeded at line 1 column 128
        the VMM did not answer within 100 ms
        the VMM did not answer within 100 ms
        ");
    }

    #[test]
    fn a_missing_socket_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = Qmp::connect(&dir.path().join("s"), Duration::from_secs(1)).unwrap_err();
        assert!(matches!(error, QmpError::Io(_)), "{error}");
    }
}
