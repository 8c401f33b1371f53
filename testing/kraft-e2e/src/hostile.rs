//! A hostile registry: an HTTP/1.1 server with one image, and scripted failures and attacks.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::registry::digest_of;

/// Media types of the documents and of a layer.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// A manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A layer.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image in the registry: every blob by its digest, and the index.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Media type and bytes by digest.
    pub blobs: BTreeMap<String, (String, Vec<u8>)>,
    /// The digest of what the tag names.
    pub index: String,
    /// The digest of the manifest.
    pub manifest: String,
    /// The digests of the layers.
    pub layers: Vec<String>,
}

impl Image {
    /// Makes an image for qemu/x86_64 whose layers are these tars.
    pub fn of_layers(layers: &[Vec<u8>]) -> Self {
        Self::with(layers, |_| {}, |_| {})
    }

    /// Makes an image whose manifest and configuration are changed before they are hashed.
    pub fn with(
        layers: &[Vec<u8>],
        change_manifest: impl FnOnce(&mut Value),
        change_config: impl FnOnce(&mut Value),
    ) -> Self {
        let mut image = Self::default();
        let descriptors: Vec<Value> = layers
            .iter()
            .map(|layer| image.add(LAYER, layer.clone()))
            .collect();
        image.layers = descriptors
            .iter()
            .map(|layer| layer["digest"].as_str().unwrap().to_owned())
            .collect();
        let platform = json!({"architecture": "x86_64", "os": "qemu"});
        let mut config = json!({
            "architecture": "x86_64", "os": "qemu", "config": {"Cmd": ["packaged"]},
            "rootfs": {"type": "layers", "diff_ids": image.layers},
        });
        change_config(&mut config);
        let mut config = image.add(CONFIG, config.to_string().into_bytes());
        config["platform"] = platform.clone();
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": descriptors,
            "annotations": {"sh.kraftkit.version": "0.9.4"},
        });
        change_manifest(&mut manifest);
        let mut manifest = image.add(MANIFEST, manifest.to_string().into_bytes());
        image.manifest = manifest["digest"].as_str().unwrap().to_owned();
        manifest["platform"] = platform;
        manifest["annotations"] = json!({"sh.kraftkit.version": "0.9.4"});
        let index = json!({
            "schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest],
            "annotations": {"sh.kraftkit.version": "0.9.4"},
        });
        image.set_index(index.to_string().into_bytes());
        image
    }

    /// Adds a blob and returns its descriptor.
    pub fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = digest_of(&bytes);
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
        self.blobs.insert(digest, (media_type.to_owned(), bytes));
        descriptor
    }

    /// Makes the tag name these bytes.
    pub fn set_index(&mut self, bytes: Vec<u8>) {
        let descriptor = self.add(INDEX, bytes);
        self.index = descriptor["digest"].as_str().unwrap().to_owned();
    }
}

/// Makes a tar with one entry: its path, its type flag, what a link leads to, its content.
pub fn tar(path: &str, kind: u8, target: &str, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, path.as_bytes());
    put(100, b"0000755\x000000000\x000000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0        ");
    put(156, &[kind]);
    put(157, target.as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend(content);
    header.resize(header.len().next_multiple_of(512) + 1024, 0);
    header
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// Fields by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// How often the same method and path came, this time included.
    pub time: usize,
}

impl Request {
    /// Returns whether a manifest is asked for, by whatever name.
    pub fn is_manifest(&self) -> bool {
        self.path.contains("/manifests/")
    }

    /// Returns whether this blob is fetched.
    pub fn is_blob(&self, digest: &str) -> bool {
        self.method == "GET" && self.path.ends_with(&format!("/blobs/{digest}"))
    }
}

/// What the registry does.
#[derive(Clone, Debug)]
pub enum Act {
    /// What an honest one does.
    Serve,
    /// Answers with a status, fields and a body.
    Answer(u16, Vec<(String, String)>, Vec<u8>),
    /// Declares a length, sends these bytes, and closes the connection.
    Promise(usize, Vec<u8>),
    /// Sends zeros without end.
    Endless,
    /// Sends these bytes, which may not be HTTP, and closes the connection.
    Raw(Vec<u8>),
    /// Writes the first bytes, and then the second ones again and again, with a pause before each.
    Flood(Vec<u8>, Vec<u8>, Duration),
    /// Never answers.
    Stall,
}

impl Act {
    /// Answers with a status alone.
    pub fn status(status: u16) -> Self {
        Self::Answer(status, Vec::new(), Vec::new())
    }

    /// Answers with a status and one field.
    pub fn field(status: u16, name: &str, value: &str) -> Self {
        let field = (name.to_owned(), value.to_owned());
        Self::Answer(status, vec![field], Vec::new())
    }

    /// Declares a length, and sends one byte every tenth of a second.
    pub fn drip(length: usize) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        Self::Flood(head.into_bytes(), b" ".to_vec(), Duration::from_millis(100))
    }

    /// Answers with a body.
    pub fn body(body: impl Into<Vec<u8>>) -> Self {
        Self::Answer(200, Vec::new(), body.into())
    }
}

/// Decides what is done about a request.
pub type Play = Arc<dyn Fn(&Request) -> Act + Send + Sync>;

/// The registry, as long as this lives.
#[derive(Debug)]
pub struct Hostile {
    address: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Hostile {
    /// Serves an image as `play` wants it.
    ///
    /// # Panics
    /// If no port is free.
    pub fn start(image: Image, play: Play) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (log, image) = (Arc::clone(&seen), Arc::new(image));
        // It ends with the test's process.
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                // Else the body waits 40 ms until the head is acknowledged.
                let _ = connection.set_nodelay(true);
                let (log, image, play) = (Arc::clone(&log), Arc::clone(&image), Arc::clone(&play));
                std::thread::spawn(move || converse(connection, &image, &play, &log));
            }
        });
        Self { address, seen }
    }

    /// Returns `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the full name of an image.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    /// Returns what was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }
}

/// Answers what comes over one connection.
fn converse(connection: TcpStream, image: &Image, play: &Play, log: &Mutex<Vec<Request>>) {
    // A client with another protocol gets no valid response.
    let mut first = [0];
    if connection.peek(&mut first).unwrap_or(0) == 1 && first[0] < 32 {
        let _ = (&connection).write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        return;
    }
    let mut reader = BufReader::new(&connection);
    while let Some(mut request) = read(&mut reader) {
        {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            let same =
                |other: &&Request| (&other.method, &other.path) == (&request.method, &request.path);
            request.time = log.iter().filter(same).count() + 1;
            log.push(request.clone());
        }
        if !answer(&connection, image, &request, play(&request)) {
            return;
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|&count| count > 0)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .and_then(|text| text.parse().ok());
    std::io::copy(&mut reader.take(length.unwrap_or(0)), &mut std::io::sink()).ok()?;
    Some(Request {
        method,
        path,
        headers,
        time: 0,
    })
}

/// Answers; returns whether the connection can be used again.
fn answer(mut to: &TcpStream, image: &Image, request: &Request, act: Act) -> bool {
    let (status, fields, body) = match act {
        Act::Serve => serve(image, request),
        Act::Answer(status, fields, body) => (status, fields, body),
        Act::Promise(length, bytes) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            let _ = to
                .write_all(head.as_bytes())
                .and_then(|()| to.write_all(&bytes));
            return false;
        }
        Act::Endless => {
            let _ = to.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while to.write_all(&[0; 65536]).is_ok() {}
            return false;
        }
        Act::Raw(bytes) => {
            let _ = to.write_all(&bytes);
            return false;
        }
        Act::Flood(first, again, pause) => {
            let mut sent = to.write_all(&first);
            while sent.is_ok() {
                std::thread::sleep(pause);
                sent = to.write_all(&again);
            }
            return false;
        }
        Act::Stall => {
            std::thread::sleep(Duration::from_mins(10));
            return false;
        }
    };
    let mut head = format!(
        "HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let body = if request.method == "HEAD" {
        &[][..]
    } else {
        &body
    };
    to.write_all(head.as_bytes())
        .and_then(|()| to.write_all(body))
        .is_ok()
}

/// What an honest registry answers.
fn serve(image: &Image, request: &Request) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let path = request.path.split('?').next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    if path == "/v2/" {
        return (200, Vec::new(), b"{}".to_vec());
    }
    let digest = if path.contains("/manifests/") && !last.starts_with("sha256:") {
        &image.index
    } else {
        last
    };
    let Some((media_type, bytes)) = image.blobs.get(digest) else {
        let words = json!({"errors": [{"code": "UNKNOWN", "message": "no such thing"}]});
        return (404, Vec::new(), words.to_string().into_bytes());
    };
    let mut fields = vec![("Content-Type".to_owned(), media_type.clone())];
    let start = request.headers.get("range").and_then(|range| {
        let start = range.strip_prefix("bytes=")?.strip_suffix('-')?;
        start.parse::<usize>().ok()
    });
    match start {
        Some(start) if start < bytes.len() => {
            let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
            fields.push(("Content-Range".to_owned(), range));
            (206, fields, bytes[start..].to_vec())
        }
        Some(_) => (416, Vec::new(), Vec::new()),
        None => (200, fields, bytes.clone()),
    }
}

/// Returns all blobs in a store, by name and by actual digest.
///
/// # Panics
/// If a blob cannot be read.
pub fn misnamed(store: &std::path::Path) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(store.join("blobs/sha256")) else {
        return BTreeSet::new();
    };
    let mut wrong = BTreeSet::new();
    for entry in entries.flatten() {
        let name = entry.file_name().into_string().unwrap();
        let bytes = std::fs::read(entry.path()).unwrap();
        if digest_of(&bytes) != format!("sha256:{name}") {
            wrong.insert(name);
        }
    }
    wrong
}
