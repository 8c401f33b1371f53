//! What a Docker engine knows of images (Docker Engine API, `ImageInspect`).

use std::path::Path;

use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;

/// An answer about one image is not longer than this, in bytes.
const LARGEST: usize = 4 << 20;

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "Id")]
    id: String,
}

/// Returns what an engine knows an image by; `None` if it does not know it, or does not answer.
pub async fn image_id(socket: &Path, name: &str) -> Option<String> {
    let tame = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    if !name.chars().all(tame) {
        return None;
    }
    let stream = UnixStream::connect(socket).await.ok()?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.ok()?;
    tokio::spawn(connection);
    let request = http::Request::get(format!("/images/{name}/json"))
        .header(http::header::HOST, "docker")
        .body(Empty::<bytes::Bytes>::new())
        .ok()?;
    let answer = sender.send_request(request).await.ok()?;
    if !answer.status().is_success() {
        return None;
    }
    let body = Limited::new(answer.into_body(), LARGEST)
        .collect()
        .await
        .ok()?;
    let image: Image = serde_json::from_slice(&body.to_bytes()).ok()?;
    Some(image.id)
}
