//! A scripted web server that records requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Method and target: `GET /v2/`.
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// How often the same line came before.
    pub(crate) before: usize,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn is(&self, method: &str, part: &str) -> bool {
        let target = self.line.strip_prefix(method);
        target.is_some_and(|target| target.starts_with(' ') && target.contains(part))
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Closes the connection after this number of bytes of the body.
    cut: Option<usize>,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            cut: None,
        }
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn cut(mut self, at: usize) -> Self {
        self.cut = Some(at);
        self
    }
}

/// The server; it ends when it is dropped.
pub(crate) struct Server {
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<Request>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let ends = Arc::new(AtomicBool::new(false));
        let (memory, end, script) = (Arc::clone(&seen), Arc::clone(&ends), Arc::new(script));
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let (memory, script) = (Arc::clone(&memory), Arc::clone(&script));
                std::thread::spawn(move || {
                    // A client that goes away is no failure of the server.
                    let _ = serve(&connection.unwrap(), &memory, &*script);
                });
            }
        });
        Self {
            address,
            seen,
            ends,
            thread: Some(thread),
        }
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// Returns what was asked with a method, of targets that contain something.
    pub(crate) fn asked(&self, method: &str, part: &str) -> Vec<Request> {
        let mut seen = self.seen();
        seen.retain(|request| request.is(method, part));
        seen
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    connection: &TcpStream,
    seen: &Mutex<Vec<Request>>,
    script: &dyn Fn(&Request) -> Answer,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection);
    // The first byte of a TLS handshake.
    if reader.fill_buf()?.first() == Some(&22) {
        return write(connection, &Answer::status(400), false);
    }
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let Some(line) = line.trim_end().strip_suffix(" HTTP/1.1") else {
        return Ok(());
    };
    let mut request = Request {
        line: line.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        before: 0,
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let pair = (name.to_owned(), value.trim().to_owned());
        request.headers.push(pair);
    }
    let length = request.header("content-length").map(str::parse);
    request.body = vec![0; length.transpose().unwrap().unwrap_or(0)];
    reader.read_exact(&mut request.body)?;
    {
        let mut seen = seen.lock().unwrap();
        let same = seen.iter().filter(|other| other.line == request.line);
        request.before = same.count();
        seen.push(request.clone());
    }
    let answer = script(&request);
    write(connection, &answer, request.is("HEAD", ""))
}

fn write(mut connection: &TcpStream, answer: &Answer, head: bool) -> std::io::Result<()> {
    let mut lines = vec![
        format!("HTTP/1.1 {} Scripted", answer.status),
        "Connection: close".to_owned(),
        format!("Content-Length: {}", answer.body.len()),
    ];
    let headers = answer.headers.iter();
    lines.extend(headers.map(|(name, value)| format!("{name}: {value}")));
    // An empty line ends the head.
    lines.extend([String::new(), String::new()]);
    connection.write_all(lines.join("\r\n").as_bytes())?;
    if !head {
        let end = answer.cut.unwrap_or(answer.body.len());
        connection.write_all(&answer.body[..end])?;
    }
    connection.shutdown(Shutdown::Write)
}
