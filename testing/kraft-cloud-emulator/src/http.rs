//! Minimal HTTP/1.1 server: one request per connection, with deliberately broken responses on
//! request.
//!
//! A production server never sends half a response or closes a connection without one. This one
//! must do exactly that, so it works on plain sockets.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Maximum size of a request's head, in bytes.
const MAX_HEAD: u64 = 64 << 10;
/// Maximum size of a request's body, in bytes: a certificate chain may have 8 MiB.
const MAX_BODY: usize = 32 << 20;
/// Read timeout within a request.
const PATIENCE: Duration = Duration::from_secs(30);

/// A received request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Method, as sent.
    pub method: String,
    /// Request target, as sent.
    pub target: String,
    /// Path without the query.
    pub path: String,
    /// Query parameters, decoded, in order.
    pub query: Vec<(String, String)>,
    /// Headers; names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Raw body.
    pub body: Vec<u8>,
    /// Whether the request is served by today's API description, and not by that of 2024.
    pub today: bool,
}

impl Request {
    /// Reads one request; `None` if the client closes the connection or does not send HTTP.
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
            today: true,
        })
    }

    /// Returns the last value of a query parameter.
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

/// Decodes `%41` and `+`; an invalid escape stays unchanged.
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

/// A response to send.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    /// Status code.
    pub status: u16,
    /// Headers besides `Content-Length` and `Content-Type`.
    pub headers: Vec<(String, String)>,
    /// JSON body; `null` for none.
    pub body: Value,
    /// Whether the body is sent as a stream of one server-sent event.
    pub event: bool,
    /// Media type and body, if that is not JSON.
    pub text: Option<Box<(String, Vec<u8>)>>,
}

impl Response {
    /// Creates a response with a body and without extra headers.
    pub(crate) fn new(status: u16, body: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
            event: false,
            text: None,
        }
    }

    /// Creates a response whose body is not JSON.
    pub(crate) fn text(status: u16, kind: &str, text: impl Into<Vec<u8>>) -> Self {
        let mut response = Self::new(status, Value::Null);
        response.text = Some(Box::new((kind.to_owned(), text.into())));
        response
    }

    /// Sends the response; with `half`, only the first half of its bytes.
    pub(crate) fn send(&self, stream: &mut TcpStream, half: bool) {
        let json = match (self.event, self.body.is_null()) {
            (true, _) => (format!("data: {}\n\n", self.body), "text/event-stream"),
            (false, true) => (String::new(), "application/json"),
            (false, false) => (self.body.to_string(), "application/json"),
        };
        let (body, kind) = match self.text.as_deref() {
            Some(text) => (text.1.as_slice(), text.0.as_str()),
            None => (json.0.as_bytes(), json.1),
        };
        let mut text = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n",
            self.status,
            phrase(self.status),
            body.len()
        );
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let sent = if half { body.len() / 2 } else { body.len() };
        // Some tests check a client that disconnects before the response.
        let _ = stream.write_all(text.as_bytes());
        let _ = stream.write_all(body.get(..sent).unwrap_or_default());
        let _ = stream.flush();
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
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
    let headers = BTreeMap::from([("accept".to_owned(), accept.to_owned())]);
    exchange(address, &format!("GET {path}"), &headers, &[])
}

/// Sends a request, `METHOD PATH`, to a plain HTTP server: status, headers, body.
pub(crate) fn exchange(
    address: SocketAddr,
    what: &str,
    headers: &BTreeMap<String, String>,
    body: &[u8],
) -> Option<(u16, BTreeMap<String, String>, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    // HTTP/1.0 has no chunked encoding: the response ends when the connection does.
    let mut head = format!("{what} HTTP/1.0\r\nHost: {address}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
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
