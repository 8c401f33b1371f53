//! A minimal HTTP client for daemons, independent of the program under test.
//!
//! One HTTP/1.0 request per connection, so that the response ends when the connection is closed.

use std::io::{Read, Write};

/// A daemon's answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header fields as they came, in order.
    pub headers: Vec<(String, String)>,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns the first value of a header field, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Insists on one of some status codes.
    #[must_use]
    pub fn expect(self, wanted: &[u16]) -> Self {
        assert!(
            wanted.contains(&self.status),
            "{} instead of one of {wanted:?}: {}",
            self.status,
            self.text()
        );
        self
    }
}

/// Asks one thing over a fresh connection; `what` is method and path, `GET /v2/`.
///
/// # Panics
/// If the connection breaks or the answer is not HTTP.
pub fn ask(
    mut connection: impl Read + Write,
    what: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut head = format!("{what} HTTP/1.0\r\nHost: localhost\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(body).unwrap();
    let mut bytes = Vec::new();
    connection.read_to_end(&mut bytes).unwrap();
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("{what}: no HTTP: {}", String::from_utf8_lossy(&bytes)));
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    Answer {
        status: status.unwrap().parse().unwrap(),
        headers: lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect(),
        body: bytes.split_off(end + 4),
    }
}
