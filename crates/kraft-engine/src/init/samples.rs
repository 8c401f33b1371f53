//! First programs: small web servers, and one in C that greets.

use super::Type;

/// Files with their texts.
type Texts = &'static [(&'static str, &'static str)];

/// The names of the samples, each with its type and its files.
const SAMPLES: &[(&str, Type, Texts)] = &[
    ("c", Type::C, &[("main.c", super::text::MAIN)]),
    (
        "node",
        Type::Node,
        &[("package.json", PACKAGE), ("server.js", NODE)],
    ),
    ("python", Type::Python, &[("main.py", PYTHON)]),
    (
        "go",
        Type::Go,
        &[("go.mod", "module hello\n\ngo 1.24\n"), ("main.go", GO)],
    ),
    (
        "rust",
        Type::Rust,
        &[("Cargo.toml", CARGO), ("src/main.rs", RUST)],
    ),
    ("php", Type::Php, &[("index.php", PHP)]),
    ("static", Type::Static, &[("index.html", PAGE)]),
];

/// A first program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// The type of its project.
    pub(super) kind: Type,
    /// Its files, with their texts.
    pub(super) files: Texts,
}

/// Returns a sample by its name.
pub(super) fn find(name: &str) -> Option<Sample> {
    let found = SAMPLES.iter().find(|(known, ..)| *known == name);
    found.map(|&(_, kind, files)| Sample { kind, files })
}

/// Returns the names of the samples.
pub fn names() -> impl Iterator<Item = &'static str> {
    SAMPLES.iter().map(|(name, ..)| *name)
}

const PACKAGE: &str =
    "{\n  \"private\": true,\n  \"scripts\": { \"start\": \"node server.js\" }\n}\n";

const NODE: &str = "\
const http = require('node:http');
const port = process.env.PORT || 8080;

http
  .createServer((_, response) => response.end('Hello from a unikernel!\\n'))
  .listen(port, () => console.log(`listening on port ${port}`));
";

const PYTHON: &str = "\
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'Hello from a unikernel!\\n'
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)


port = int(os.environ.get('PORT', '8080'))
print(f'listening on port {port}')
ThreadingHTTPServer(('', port), Hello).serve_forever()
";

const GO: &str = "\
package main

import (
\t\"fmt\"
\t\"log\"
\t\"net/http\"
)

func main() {
\thttp.HandleFunc(\"/\", func(w http.ResponseWriter, _ *http.Request) {
\t\tfmt.Fprintln(w, \"Hello from a unikernel!\")
\t})
\tlog.Println(\"listening on port 8080\")
\tlog.Fatal(http.ListenAndServe(\":8080\", nil))
}
";

const CARGO: &str = "[package]\nname = \"hello\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";

const RUST: &str = "\
use std::io::{Read, Write};
use std::net::TcpListener;

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind(\"0.0.0.0:8080\")?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        let _ = stream.read(&mut [0; 4096]);
        let body = \"Hello from a unikernel!\\n\";
        let head = format!(\"HTTP/1.1 200 OK\\r\\nContent-Length: {}\\r\\n\\r\\n\", body.len());
        let _ = stream.write_all((head + body).as_bytes());
    }
    Ok(())
}
";

const PHP: &str = "<?php\necho \"Hello from a unikernel!\\n\";\n";

const PAGE: &str = "\
<!doctype html>
<meta charset=\"utf-8\">
<title>Hello</title>
<p>Hello from a unikernel!</p>
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sample_is_detected_as_its_type() {
        for name in names() {
            let sample = find(name).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let files = super::super::languages::Files::new(dir.path(), sample.files);
            let found = super::super::languages::detect(&files);
            let expected = (sample.kind != Type::C).then_some(sample.kind);
            assert_eq!(found.first().copied(), expected, "{name}");
        }
        assert!(find("cobol").is_none());
    }
}
