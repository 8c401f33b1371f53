//! Just enough HTTP/1.1 to serve one request a connection, and to serve it badly on demand.
//!
//! A ready server takes care never to send half an answer or to hang up before one; this one must
//! be able to do exactly that, so it owns its sockets.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longest head of a request, in bytes.
const MAX_HEAD: u64 = 64 << 10;
/// Longest body of a request, in bytes: a certificate chain may be 8 MiB long.
const MAX_BODY: usize = 32 << 20;
/// How long a client may be silent in the middle of a request.
const PATIENCE: Duration = Duration::from_secs(30);

/// One request as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The method, as typed.
    pub method: String,
    /// What is asked for, as typed.
    pub target: String,
    /// The path without its query.
    pub path: String,
    /// The pairs of the query, decoded, in order.
    pub query: Vec<(String, String)>,
    /// The headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The raw body.
    pub body: Vec<u8>,
}

impl Request {
    /// Reads one request; `None` when the client hangs up or speaks something else.
    pub(crate) fn read(stream: &TcpStream) -> Option<Self> {
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut reader = BufReader::new(stream);
        let mut head = (&mut reader).take(MAX_HEAD);
        let mut line = String::new();
        head.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace();
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            if head.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length: usize = match headers.get("content-length") {
            Some(length) => length.parse().ok()?,
            None => 0,
        };
        if length > MAX_BODY {
            return None;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        Some(Self {
            method,
            target: target.clone(),
            path: path.to_owned(),
            query: pairs(query),
            headers,
            body,
        })
    }

    /// The last value of a parameter of the query.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Splits and decodes `a=b&c=d`.
fn pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key), decoded(value))
        })
        .collect()
}

/// Undoes `%41` and `+`; what is no escape stays as it is.
pub(crate) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escape = tail.get(..2).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 16).ok()
        });
        rest = tail;
        match (first, escape) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What is sent back.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    /// The status code.
    pub status: u16,
    /// Headers beyond length and type.
    pub headers: Vec<(String, String)>,
    /// The JSON body.
    pub body: Value,
}

impl Response {
    /// An answer with a body and no headers of its own.
    pub(crate) fn new(status: u16, body: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
        }
    }

    /// Sends it; of the bytes only the first half when `half`.
    pub(crate) fn send(&self, stream: &mut TcpStream, half: bool) {
        let body = self.body.to_string();
        let mut text = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n",
            self.status,
            phrase(self.status),
            body.len()
        );
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let body = body.as_bytes();
        let sent = if half { body.len() / 2 } else { body.len() };
        // A client that went away in the meantime is one of the cases that tests are about.
        let _ = stream.write_all(text.as_bytes());
        let _ = stream.write_all(body.get(..sent).unwrap_or_default());
        let _ = stream.flush();
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Answer",
    }
}

/// Gets a path from a plain HTTP server, such as a registry on this host: status, headers, body.
pub(crate) fn get(
    address: SocketAddr,
    path: &str,
    accept: &str,
) -> Option<(u16, BTreeMap<String, String>, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    // HTTP/1.0, so that the answer comes in one piece that ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.take(64 << 20).read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(answer.get(..end)?).into_owned();
    let mut lines = head.lines();
    let status = lines.next()?.split_whitespace().nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Some((status, headers.collect(), answer.get(end + 4..)?.to_vec()))
}
