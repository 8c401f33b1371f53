//! A small web server: files with `ETag` and `Range`, and Git repositories by Git's own
//! `http-backend`; it remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// A request, as it is remembered: `GET /x.tar.gz`.
pub type Request = String;

/// What a test does about a request before the server does: an answer of its own, or nothing.
pub type Trick = dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync;

/// The server; it ends with the test's process.
#[derive(Debug)]
pub struct Web {
    port: u16,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Web {
    /// Serves the files below a directory; paths that begin with `/git/` are repositories in it.
    pub fn serve(root: &Path) -> Self {
        Self::with_trick(root, Arc::new(|_| None))
    }

    /// Serves with a trick in front.
    pub fn with_trick(root: &Path, trick: Arc<Trick>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (root, log) = (root.to_owned(), Arc::clone(&asked));
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (root, log, trick) = (root.clone(), Arc::clone(&log), Arc::clone(&trick));
                std::thread::spawn(move || attend(connection, &root, &log, &*trick));
            }
        });
        Self { port, asked }
    }

    /// Returns the URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// Returns what it was asked since the last time, and forgets it.
    pub fn asked(&self) -> Vec<Request> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn attend(mut connection: TcpStream, root: &Path, log: &Mutex<Vec<Request>>, trick: &Trick) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let Some(first) = lines.first() else { return };
    let mut words = first.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return;
    };
    let asked = format!("{method} {target}");
    log.lock().unwrap().push(asked.clone());
    let header = |name: &str| {
        lines.iter().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    };
    let length = header("content-length")
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    let answer = trick(&asked).unwrap_or_else(|| match target.strip_prefix("/git/") {
        Some(_) => git(method, target, root, &body, &header),
        None => file(target, root, &header),
    });
    let _ = connection.write_all(&answer);
}

/// Returns an answer with a status line, some headers and a body.
pub fn answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\nConnection: close\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
    bytes.extend(body);
    bytes
}

fn file(target: &str, root: &Path, header: &dyn Fn(&str) -> Option<String>) -> Vec<u8> {
    let path = target.split('?').next().unwrap_or(target);
    let path: PathBuf = root.join(path.trim_start_matches('/'));
    let Ok(bytes) = std::fs::read(&path) else {
        return answer("404 Not Found", &[], b"");
    };
    let etag = format!("\"{:x}\"", crc(&bytes));
    if header("if-none-match").as_deref() == Some(&etag) {
        return answer("304 Not Modified", &[("ETag", &etag)], b"");
    }
    let from = header("range").and_then(|range| {
        let from = range.strip_prefix("bytes=")?.strip_suffix('-')?;
        from.parse::<usize>().ok()
    });
    match from.filter(|from| *from < bytes.len()) {
        Some(from) => {
            let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            let headers = [("ETag", etag.as_str()), ("Content-Range", &range)];
            answer("206 Partial Content", &headers, &bytes[from..])
        }
        None => answer("200 OK", &[("ETag", &etag)], &bytes),
    }
}

/// Tells contents apart, which is all that an entity tag is for.
fn crc(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Has Git's own program answer, by the rules of CGI (RFC 3875).
fn git(
    method: &str,
    target: &str,
    root: &Path,
    body: &[u8],
    header: &dyn Fn(&str) -> Option<String>,
) -> Vec<u8> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method)
        .env("CONTENT_TYPE", header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", body.len().to_string())
        .env(
            "HTTP_CONTENT_ENCODING",
            header("content-encoding").unwrap_or_default(),
        )
        .env("GIT_PROTOCOL", header("git-protocol").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let sent = body.to_vec();
    std::thread::spawn(move || stdin.write_all(&sent));
    let said = child.wait_with_output().unwrap().stdout;
    let end = said
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or(said.len());
    let head = String::from_utf8_lossy(&said[..end]).into_owned();
    let mut status = "200 OK".to_owned();
    let mut headers = Vec::new();
    for line in head.lines() {
        match line.split_once(": ") {
            Some(("Status", value)) => value.clone_into(&mut status),
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => {}
        }
    }
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    answer(&status, &headers, said.get(end + 4..).unwrap_or_default())
}
