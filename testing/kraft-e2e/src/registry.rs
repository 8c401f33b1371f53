//! Debian's `docker-registry`, private to one test: its own port, storage and access log.

use std::fs::{self, File};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::harness::{PATIENCE, skip};
use crate::http::{self, Answer};

/// A running registry; killed and its storage removed when dropped.
#[derive(Debug)]
pub struct Registry {
    process: Child,
    dir: tempfile::TempDir,
    port: u16,
    lock: Lock,
}

/// What stands between a client and the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lock {
    /// None: plain HTTP, anonymous push.
    None,
    /// Plain HTTP, and a user name with a password.
    Password(String, String),
    /// TLS with a certificate that only itself vouches for.
    Certificate,
}

/// One line of the access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `HEAD`, ...
    pub method: String,
    /// Path and query.
    pub path: String,
    /// What the registry answered.
    pub status: u16,
    /// What the client called itself.
    pub agent: String,
}

impl Registry {
    /// Starts an open registry without TLS; `None`, and a word of why, if this host has none.
    pub fn plain() -> Option<Self> {
        Self::start(Lock::None)
    }

    /// Starts a registry without TLS that lets in one user.
    pub fn with_password(user: &str, password: &str) -> Option<Self> {
        Self::start(Lock::Password(user.to_owned(), password.to_owned()))
    }

    /// Starts an open registry with a self-signed certificate for `127.0.0.1` and `localhost`,
    /// created by `openssl req -x509` with default options.
    pub fn with_tls() -> Option<Self> {
        Self::start(Lock::Certificate)
    }

    /// Starts a registry behind a lock.
    ///
    /// # Panics
    /// If it is installed and does not start.
    pub fn start(lock: Lock) -> Option<Self> {
        let more: &[&str] = match lock {
            Lock::None => &[],
            Lock::Password(..) => &["htpasswd"],
            Lock::Certificate => &["openssl"],
        };
        for program in ["docker-registry"].iter().chain(more) {
            if !installed(program) {
                skip(&format!(
                    "{program} is not installed: scripts/setup.sh test"
                ));
                return None;
            }
        }
        let dir = tempfile::Builder::new()
            .prefix("kraft-registry-")
            .tempdir()
            .unwrap();
        match &lock {
            Lock::None => {}
            Lock::Password(user, password) => write_password_file(dir.path(), user, password),
            Lock::Certificate => make_certificate(dir.path()),
        }
        // Another process may take the port before the registry does.
        for _ in 0..20 {
            let port = free_port();
            if let Some(process) = serve(dir.path(), port, &lock) {
                return Some(Self {
                    process,
                    dir,
                    port,
                    lock,
                });
            }
        }
        panic!(
            "docker-registry does not start: {}",
            fs::read_to_string(dir.path().join("registry.log")).unwrap_or_default()
        );
    }

    /// Returns `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the name of an image here: `127.0.0.1:PORT/REST`.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address())
    }

    /// Returns the certificate, in PEM.
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("registry.crt")
    }

    /// Returns the directory the registry keeps its objects in.
    pub fn storage(&self) -> PathBuf {
        self.dir.path().join("storage")
    }

    /// Returns every request answered so far, in the order of the answers.
    pub fn requests(&self) -> Vec<Request> {
        let log = fs::read_to_string(self.dir.path().join("access.log")).unwrap();
        log.lines().filter_map(Request::parse).collect()
    }

    /// Asks the registry directly; `what` is method and path. Not for one with a certificate.
    pub fn ask(&self, what: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        assert_ne!(
            self.lock,
            Lock::Certificate,
            "this client does not support TLS"
        );
        let connection = TcpStream::connect(self.address()).unwrap();
        http::ask(connection, what, headers, body)
    }

    /// Returns a `skopeo` subcommand with the options for this registry: `side` is the prefix of
    /// its flags for this end of a copy, `src-` or `dest-`, otherwise empty.
    pub fn skopeo_flags(&self, side: &str) -> Vec<String> {
        let mut flags = vec![format!("--{side}tls-verify=false")];
        if let Lock::Password(user, password) = &self.lock {
            flags.push(format!("--{side}creds={user}:{password}"));
        }
        flags
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Request {
    /// Reads a line in the "combined" form of web servers.
    fn parse(line: &str) -> Option<Self> {
        let mut quoted = line.split('"');
        let request = quoted.nth(1)?;
        let status = quoted.next()?.split_whitespace().next()?.parse().ok()?;
        let agent = quoted.nth(2)?.to_owned();
        let mut words = request.split(' ');
        Some(Self {
            method: words.next()?.to_owned(),
            path: words.next()?.to_owned(),
            status,
            agent,
        })
    }
}

/// Returns whether a program is on `PATH`.
pub fn installed(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    })
}

/// Returns `sha256:HEX` of some bytes, as `sha256sum` sees them.
///
/// # Panics
/// If `sha256sum` is missing.
pub fn digest_of(bytes: &[u8]) -> String {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    format!("sha256:{}", text.split(' ').next().unwrap())
}

/// Runs `skopeo`; returns its stdout.
///
/// # Panics
/// If it fails.
pub fn skopeo<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Vec<u8> {
    let mut command = Command::new("skopeo");
    // Signatures are not checked, whatever the host's policy.
    command.arg("--insecure-policy").args(args);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Returns a port that is free now, below those that the system gives to clients, and to `bind` without a number: no
/// other program takes it by chance before it is used.
///
/// # Panics
/// If no port is free.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let own = std::process::id().wrapping_mul(127);
    let mut ports = (0..COUNT).map(|_| {
        let number = own.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        u16::try_from(FIRST + number % COUNT).unwrap()
    });
    ports
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}

/// Starts the registry and waits until it listens; `None` if it ended instead.
fn serve(dir: &Path, port: u16, lock: &Lock) -> Option<Child> {
    let config = dir.join("config.json");
    fs::write(&config, configuration(dir, port, lock)).unwrap();
    let mut process = Command::new("docker-registry")
        .arg("serve")
        .arg(&config)
        .env("OTEL_TRACES_EXPORTER", "none")
        .stdin(Stdio::null())
        .stdout(File::create(dir.join("access.log")).unwrap())
        .stderr(File::create(dir.join("registry.log")).unwrap())
        .spawn()
        .unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        if process.try_wait().unwrap().is_some() {
            return None;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            // It was our registry that answered, if ours still lives.
            return process.try_wait().unwrap().is_none().then_some(process);
        }
        assert!(
            std::time::Instant::now() < deadline,
            "docker-registry never listens"
        );
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// The registry's configuration. It reads YAML, and JSON is YAML.
fn configuration(dir: &Path, port: u16, lock: &Lock) -> String {
    let mut config = serde_json::json!({
        "version": "0.1",
        "log": { "level": "warn" },
        "storage": {
            "filesystem": { "rootdirectory": dir.join("storage") },
            "cache": { "blobdescriptor": "inmemory" },
            "delete": { "enabled": true },
            "maintenance": { "uploadpurging": { "enabled": false } },
        },
        "http": { "addr": format!("127.0.0.1:{port}"), "secret": "only for tests" },
    });
    match lock {
        Lock::None => {}
        Lock::Password(..) => {
            config["auth"] = serde_json::json!({
                "htpasswd": { "realm": "tests", "path": dir.join("htpasswd") }
            });
        }
        Lock::Certificate => {
            config["http"]["tls"] = serde_json::json!({
                "certificate": dir.join("registry.crt"), "key": dir.join("registry.key")
            });
        }
    }
    config.to_string()
}

fn write_password_file(dir: &Path, user: &str, password: &str) {
    // bcrypt, the only kind this registry takes, at its lowest cost.
    let output = Command::new("htpasswd")
        .args(["-Bbn", "-C", "4", user, password])
        .output()
        .unwrap();
    assert!(output.status.success(), "htpasswd: {output:?}");
    fs::write(dir.join("htpasswd"), output.stdout).unwrap();
}

fn make_certificate(dir: &Path) {
    let output = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args(["-subj", "/CN=127.0.0.1"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
        .args(["-keyout", "registry.key", "-out", "registry.crt"])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "openssl: {output:?}");
}
