//! The plugin `sandbox` of an instance (2026): commands and files.
//!
//! Commands run on this host, each in a process group of its own. Files are below a directory of the
//! instance, which is also where commands start: `/tmp/a` is `tmp/a` for a command.

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Component, Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::http::{Request, Response, decoded};
use crate::server::LOOK;
use crate::world::fresh_uuid;

/// Name of the plugin.
pub(crate) const NAME: &str = "sandbox";
/// The longest time that the output of a command is awaited after its end: a process that it left
/// behind may keep it open.
const DRAIN: Duration = Duration::from_secs(1);

/// The sandbox of an instance, until it stops.
#[derive(Debug)]
pub(crate) struct Sandbox {
    /// Number of starts of the instance.
    pub starts: u64,
    root: PathBuf,
    commands: Mutex<Vec<Arc<Running>>>,
}

/// A command.
#[derive(Debug)]
struct Running {
    uuid: String,
    /// What was requested: `{cmd, cwd, env}`.
    asked: Value,
    process: Mutex<Process>,
    /// stdout and stderr.
    output: [Output; 2],
    forgotten: Mutex<bool>,
}

/// The bytes of a stream so far, and whether that is all.
type Output = Arc<Mutex<(Vec<u8>, bool)>>;

#[derive(Debug)]
struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    ended: Option<(Instant, i32)>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for one in locked(&self.commands).iter() {
            if one.exit().is_none() {
                one.signal("KILL");
                let _ = locked(&one.process).child.wait();
            }
        }
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

impl Running {
    fn start(asked: &Value, root: &Path) -> Result<Self, Response> {
        let words = match asked.get("cmd") {
            Some(Value::String(line)) => vec!["/bin/sh".into(), "-c".into(), line.clone()],
            Some(Value::Array(words)) => {
                let texts = words.iter().map(|word| word.as_str().map(str::to_owned));
                texts.collect::<Option<Vec<_>>>().unwrap_or_default()
            }
            _ => Vec::new(),
        };
        let Some((program, args)) = words.split_first().filter(|(first, _)| !first.is_empty())
        else {
            return Err(refused(
                400,
                "`cmd` is neither a command line nor a program",
            ));
        };
        let mut command = Command::new(program);
        command.args(args).env_clear().current_dir(root);
        command.env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        );
        if let Some(dir) = asked.get("cwd").and_then(Value::as_str) {
            let inner = below(root, dir)?;
            command.current_dir(if inner.is_dir() {
                inner
            } else {
                PathBuf::from(dir)
            });
        }
        for (name, value) in asked
            .get("env")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            command.env(name, value.as_str().unwrap_or_default());
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.process_group(0).spawn();
        let mut child = child.map_err(|error| {
            let is_missing = error.kind() == std::io::ErrorKind::NotFound;
            refused(
                if is_missing { 400 } else { 500 },
                &format!("{program}: {error}"),
            )
        })?;
        let output = [
            collected(child.stdout.take()),
            collected(child.stderr.take()),
        ];
        Ok(Self {
            uuid: fresh_uuid(),
            asked: asked.clone(),
            process: Mutex::new(Process {
                stdin: child.stdin.take(),
                child,
                ended: None,
            }),
            output,
            forgotten: Mutex::new(false),
        })
    }

    /// Returns the exit code once the command has ended and its output is complete.
    fn exit(&self) -> Option<i32> {
        let mut process = locked(&self.process);
        if process.ended.is_none() {
            let status = process.child.try_wait().ok()??;
            let code = status.code().or(status.signal().map(|signal| -signal));
            process.ended = Some((Instant::now(), code.unwrap_or(-1)));
            process.stdin = None;
        }
        let (at, code) = process.ended?;
        let is_complete = self.output.iter().all(|output| locked(output).1);
        (is_complete || at.elapsed() > DRAIN).then_some(code)
    }

    /// Waits until the command has ended; returns whether it did in time.
    fn wait(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while self.exit().is_none() {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        true
    }

    /// Sends a signal to the process group; returns whether there is such a signal and group.
    fn signal(&self, name: &str) -> bool {
        let group = format!("-{}", locked(&self.process).child.id());
        let mut kill = Command::new("kill");
        kill.args(["-s", name, "--", &group]).stderr(Stdio::null());
        kill.status().is_ok_and(|status| status.success())
    }
}

/// Reads a stream to its end in the background.
fn collected(stream: Option<impl Read + Send + 'static>) -> Output {
    let output = Arc::new(Mutex::new((Vec::new(), stream.is_none())));
    let target = Arc::clone(&output);
    if let Some(mut stream) = stream {
        std::thread::spawn(move || {
            let mut piece = [0; 8192];
            while let Ok(count @ 1..) = stream.read(&mut piece) {
                let bytes = piece.get(..count).unwrap_or_default();
                locked(&target).0.extend_from_slice(bytes);
            }
            locked(&target).1 = true;
        });
    }
    output
}

fn success(data: Value) -> Response {
    Response::new(200, json!({"status": "success", "data": data}))
}

fn refused(status: u16, message: &str) -> Response {
    let errors = json!([{"status": status}]);
    Response::new(
        status,
        json!({"status": "error", "message": message, "errors": errors}),
    )
}

fn missing() -> Response {
    Response::new(404, Value::Null)
}

/// Returns a path of the instance below its directory.
fn below(root: &Path, path: &str) -> Result<PathBuf, Response> {
    let mut whole = root.to_owned();
    for step in Path::new(path).components() {
        match step {
            Component::Normal(step) => whole.push(step),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(refused(400, "the path has `..`"));
            }
        }
    }
    if !path.starts_with('/') {
        return Err(refused(400, "the path is not absolute"));
    }
    Ok(whole)
}

impl Sandbox {
    /// Creates the sandbox of an instance, with an empty directory.
    pub(crate) fn new(starts: u64) -> std::io::Result<Self> {
        let root = std::env::temp_dir().join(format!("kraft-sandbox-{}", fresh_uuid()));
        std::fs::create_dir_all(root.join("tmp"))?;
        Ok(Self {
            starts,
            root,
            commands: Mutex::default(),
        })
    }

    fn find(&self, uuid: &str) -> Result<Arc<Running>, Response> {
        let commands = locked(&self.commands);
        let found = commands.iter().find(|one| one.uuid == uuid);
        found.cloned().ok_or_else(missing)
    }

    /// Answers a request for a path below that of the plugin.
    pub(crate) fn answer(&self, request: &Request, path: &str) -> Response {
        let path: Vec<String> = path.trim_matches('/').split('/').map(decoded).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let body = match request.body.as_slice() {
            [] => Value::Null,
            bytes => match serde_json::from_slice(bytes) {
                Ok(body) => body,
                Err(_) => return refused(400, "the body is not JSON"),
            },
        };
        let outcome = match (request.method.as_str(), path.as_slice()) {
            (method, ["commands", rest @ ..]) => self.command(method, rest, &body),
            ("POST", ["fs", action]) => self.file(action, &body),
            _ => Err(missing()),
        };
        outcome.unwrap_or_else(|refused| refused)
    }

    fn command(&self, method: &str, path: &[&str], body: &Value) -> Result<Response, Response> {
        let done = || success(Value::Null);
        match (method, path) {
            ("GET", []) => {
                let commands = locked(&self.commands);
                let uuids: Vec<&str> = commands.iter().map(|one| one.uuid.as_str()).collect();
                Ok(success(json!({ "commands": uuids })))
            }
            ("POST", []) => {
                let new = Arc::new(Running::start(body, &self.root)?);
                let uuid = new.uuid.clone();
                locked(&self.commands).push(new);
                Ok(success(json!({ "uuid": uuid })))
            }
            ("GET", [uuid]) => {
                let one = self.find(uuid)?;
                let own = |key: &str| one.asked.get(key);
                Ok(success(json!({
                    "uuid": uuid, "cmdline": own("cmd"), "cwd": own("cwd"), "env": own("env"),
                    "exitcode": one.exit(),
                })))
            }
            ("DELETE", [uuid]) => {
                if self.find(uuid)?.exit().is_none() {
                    return Err(refused(409, "the command still runs"));
                }
                locked(&self.commands).retain(|one| one.uuid != *uuid);
                Ok(done())
            }
            ("GET", [uuid, "logs", rest @ ..]) => {
                let one = self.find(uuid)?;
                if *locked(&one.forgotten) {
                    return Err(Response::new(410, Value::Null));
                }
                logs(&one, rest, body)
            }
            ("DELETE", [uuid, "logs"]) => {
                let one = self.find(uuid)?;
                *locked(&one.forgotten) = true;
                Ok(done())
            }
            ("POST", [uuid, "stdin"]) => feed(&*self.find(uuid)?, body).map(|()| done()),
            ("POST", [uuid, "signal"]) => {
                let one = self.find(uuid)?;
                let name = match body.get("signal") {
                    Some(Value::String(name)) => name.trim_start_matches("SIG").to_owned(),
                    Some(Value::Number(number)) => number.to_string(),
                    _ => return Err(refused(400, "`signal` is neither a number nor a name")),
                };
                if one.exit().is_some() {
                    return Err(refused(409, "the command has ended"));
                }
                match one.signal(&name) {
                    true => Ok(done()),
                    false => Err(refused(400, &format!("`{name}` is not a signal"))),
                }
            }
            ("POST", [uuid, "wait"]) => match self.find(uuid)?.wait(Duration::from_secs(60)) {
                true => Ok(done()),
                false => Err(refused(504, "the command still runs")),
            },
            ("POST", [uuid, "wait_timeout"]) => {
                let one = self.find(uuid)?;
                let seconds = body.get("timeout_s").and_then(Value::as_f64);
                let limit = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
                let limit = limit.ok_or_else(|| refused(400, "`timeout_s` is not a time"))?;
                match one.wait(limit.min(Duration::from_secs(60))) {
                    true => Ok(done()),
                    false => Err(refused(408, "the command still runs")),
                }
            }
            _ => Err(missing()),
        }
    }

    fn file(&self, action: &str, body: &Value) -> Result<Response, Response> {
        let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
        let flag = |key: &str| body.get(key).and_then(Value::as_bool).unwrap_or(false);
        let mut path = below(&self.root, text("path"))?;
        let failed = |error: std::io::Error| {
            let kind = match error.kind() {
                std::io::ErrorKind::IsADirectory => "is a directory".to_owned(),
                _ => error.to_string(),
            };
            refused(500, &format!("{}: {kind}", text("path")))
        };
        match action {
            "mkdir" if flag("parents") => std::fs::create_dir_all(path).map_err(failed)?,
            "mkdir" => std::fs::create_dir(path).map_err(failed)?,
            "read" => {
                let bytes = std::fs::read(path).map_err(failed)?;
                return Ok(success(json!({"contents": STANDARD.encode(bytes)})));
            }
            "read_raw" => {
                let bytes = std::fs::read(path).map_err(failed)?;
                return Ok(Response::text(200, "application/octet-stream", bytes));
            }
            "write" | "upload" => {
                let bytes = match text("encoding") {
                    "base64" => STANDARD.decode(text("data")),
                    _ => Ok(text("data").as_bytes().to_vec()),
                };
                let bytes = bytes.map_err(|_| refused(400, "`data` is not base64"))?;
                if action == "upload" {
                    if path.is_dir() {
                        path.push(text("filename").rsplit('/').next().unwrap_or_default());
                    }
                    if let (true, Some(parent)) = (flag("parents"), path.parent()) {
                        std::fs::create_dir_all(parent).map_err(failed)?;
                    }
                }
                let mut file = std::fs::OpenOptions::new();
                file.create(true).write(true);
                if flag("append") {
                    file.append(true);
                } else {
                    file.truncate(true);
                }
                let mut file = file.open(path).map_err(failed)?;
                file.write_all(&bytes).map_err(failed)?;
            }
            _ => return Err(missing()),
        }
        Ok(success(Value::Null))
    }
}

/// Answers parts of the output of a command, or all bytes of one stream.
fn logs(one: &Running, path: &[&str], body: &Value) -> Result<Response, Response> {
    let names = ["stdout", "stderr"];
    if let ["raw", name] = path {
        let at = names.iter().position(|known| known == name);
        let output = at.and_then(|at| one.output.get(at)).ok_or_else(missing)?;
        let bytes = locked(output).0.clone();
        return Ok(Response::text(200, "application/octet-stream", bytes));
    }
    let mut data = serde_json::Map::new();
    for (name, output) in names.into_iter().zip(&one.output) {
        let number = |key: &str| {
            body.pointer(&format!("/{name}/{key}"))
                .and_then(Value::as_u64)
        };
        let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let bytes = &locked(output).0;
        let from = place(number("offset").unwrap_or(0)).min(bytes.len());
        let to = from.saturating_add(place(number("limit").unwrap_or(u64::MAX)));
        let part = bytes.get(from..to.min(bytes.len())).unwrap_or_default();
        data.insert(name.to_owned(), json!(STANDARD.encode(part)));
        data.insert(format!("{name}_available"), json!(bytes.len()));
    }
    Ok(success(Value::Object(data)))
}

/// Writes to the stdin of a command.
fn feed(one: &Running, body: &Value) -> Result<(), Response> {
    let data = body.get("data").and_then(Value::as_str);
    let bytes = data.and_then(|data| STANDARD.decode(data).ok());
    let bytes = bytes.ok_or_else(|| refused(400, "`data` is not base64"))?;
    let ended = || refused(409, "its stdin is closed");
    if one.exit().is_some() {
        return Err(ended());
    }
    // The lock is not held while the command does not read.
    let stdin = locked(&one.process).stdin.take();
    let mut stdin = match (stdin, bytes.is_empty()) {
        (Some(stdin), _) => stdin,
        (None, true) => return Ok(()),
        (None, false) => return Err(ended()),
    };
    stdin.write_all(&bytes).map_err(|_| ended())?;
    if body.get("eof") != Some(&json!(true)) {
        locked(&one.process).stdin = Some(stdin);
    }
    Ok(())
}
