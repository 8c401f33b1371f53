//! A small HTTP server: files with entity tags and ranges, repositories by `git http-backend`, and some
//! places that misbehave in a known way.
//!
//! ```text
//! /files/PATH           a file        /git/NAME.git/…   a repository
//! /cut/PATH             the first answer ends half way through the file
//! /busy/PATH            the first answer is a 503 that wants a pause of no length
//! /away/HOST:PORT/PATH  a redirect to another server
//! ```

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use kraft_sys::tool;

/// A server that lives until the test ends.
#[derive(Clone)]
pub(crate) struct Server {
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
    log: Arc<Mutex<Vec<String>>>,
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

struct State {
    files: PathBuf,
    repositories: PathBuf,
    seen: Mutex<HashSet<String>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(files: &Path, repositories: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let log = Arc::new(Mutex::new(Vec::new()));
        let state = Arc::new(State {
            files: files.to_owned(),
            repositories: repositories.to_owned(),
            seen: Mutex::default(),
            log: Arc::clone(&log),
        });
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&state);
                std::thread::spawn(move || serve(stream.unwrap(), &state));
            }
        });
        Self { host, log }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.host)
    }

    /// Returns what was asked since the last call: `GET /path 200 [AUTHORIZATION]`.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

fn serve(mut stream: TcpStream, state: &State) {
    let Some(request) = read(&stream) else { return };
    let (status, headers, body, cut) = answer(&request, state);
    let auth = request.header("authorization").unwrap_or_default();
    state.log.lock().unwrap().push(
        format!("{} {} {status} {auth}", request.method, request.path)
            .trim()
            .to_owned(),
    );
    let mut head = format!(
        "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    let sent = if cut {
        &body[..body.len() / 2]
    } else {
        &body[..]
    };
    // A client that has had enough is its own business.
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    let _ = stream.write_all(sent);
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: Vec::new(),
    };
    let length = request
        .header("content-length")
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    request.body = vec![0; length];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

type Answer = (u16, Vec<(String, String)>, Vec<u8>, bool);

fn answer(request: &Request, state: &State) -> Answer {
    let plain = |status| (status, Vec::new(), Vec::new(), false);
    let first = || state.seen.lock().unwrap().insert(request.path.clone());
    let path = request.path.trim_start_matches('/');
    let (place, rest) = path.split_once('/').unwrap_or((path, ""));
    match place {
        "git" => git(request, state, rest),
        "cut" => {
            let cut = first();
            let (status, headers, body, _) = file(request, &state.files.join(rest));
            (status, headers, body, cut)
        }
        "busy" if first() => {
            let headers = vec![("retry-after".to_owned(), "0".to_owned())];
            (503, headers, Vec::new(), false)
        }
        "files" | "busy" => file(request, &state.files.join(rest)),
        "away" => {
            let headers = vec![("location".to_owned(), format!("http://{rest}"))];
            (302, headers, Vec::new(), false)
        }
        _ => plain(404),
    }
}

fn file(request: &Request, path: &Path) -> Answer {
    let Ok(body) = std::fs::read(path) else {
        return (404, Vec::new(), Vec::new(), false);
    };
    let etag = format!(
        "\"{:x}-{}\"",
        body.iter().fold(7_u64, |sum, b| sum
            .wrapping_mul(31)
            .wrapping_add(u64::from(*b))),
        body.len()
    );
    let mut headers = vec![("etag".to_owned(), etag.clone())];
    if request.header("if-none-match") == Some(&etag) {
        return (304, headers, Vec::new(), false);
    }
    let start = request
        .header("range")
        .filter(|_| request.header("if-range") == Some(&etag))
        .and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse::<usize>()
                .ok()
        });
    match start {
        Some(start) => {
            let range = format!("bytes {start}-{}/{}", body.len() - 1, body.len());
            headers.push(("content-range".to_owned(), range));
            (206, headers, body[start..].to_vec(), false)
        }
        None => (200, headers, body, false),
    }
}

/// Runs `git http-backend` as a CGI program.
fn git(request: &Request, state: &State, rest: &str) -> Answer {
    let mut command = tool::command("git");
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &state.repositories)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", format!("/{rest}"))
        .env("QUERY_STRING", &request.query)
        .env("REQUEST_METHOD", &request.method)
        .env(
            "CONTENT_TYPE",
            request.header("content-type").unwrap_or_default(),
        )
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env(
            "GIT_PROTOCOL",
            request.header("git-protocol").unwrap_or_default(),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(coding) = request.header("content-encoding") {
        command.env("HTTP_CONTENT_ENCODING", coding);
    }
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let body = request.body.clone();
    let feeder = std::thread::spawn(move || stdin.write_all(&body));
    let output = child.wait_with_output().unwrap().stdout;
    let _ = feeder.join();
    let end = output
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or(output.len() - 4);
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let mut status = 200;
    let mut headers = Vec::new();
    for (name, value) in head.lines().filter_map(|line| line.split_once(':')) {
        if name == "Status" {
            status = value.split_whitespace().next().unwrap().parse().unwrap();
        } else {
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }
    (status, headers, output[end + 4..].to_vec(), false)
}
