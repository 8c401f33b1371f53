//! Images of a Docker engine (Docker Engine API, `ImageInspect`).

use std::path::Path;

use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;

/// Maximum size of an answer in bytes.
const LARGEST: usize = 4 << 20;

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "Id")]
    id: String,
}

/// Returns the id of an image; `None` if the engine does not have it or does not answer.
///
/// ```no_run
/// # async fn example() {
/// use std::path::Path;
///
/// let socket = Path::new("/var/run/docker.sock");
/// if let Some(id) = kraft_buildkit::image_id(socket, "alpine:3").await {
///     assert!(id.starts_with("sha256:"));
/// }
/// # }
/// ```
pub async fn image_id(socket: &Path, name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    if !name.chars().all(allowed) {
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
