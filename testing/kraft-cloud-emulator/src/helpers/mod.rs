//! Emulated helper images of the platform, for tunnels and imports: tasks of this process listen on
//! the ports on which the instances would.

pub(crate) mod import;
mod tunnel;

use std::time::Instant;

use crate::server::Shared;
use crate::world::{Image, World};

const TUNNEL: &str = "utils/tunnel";
const IMPORT: &str = "utils/volimport";

/// Injected errors of helper instances.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spoilt {
    /// Maximum number of concurrent connections through a tunnel.
    pub slots: Option<usize>,
    /// Error code with which a tunnel rejects every connection.
    pub refusal: Option<i16>,
    /// Milliseconds after which a control connection is closed, once.
    pub control_ms: Option<u64>,
    /// Number of bytes after which an import fails, and its error message.
    pub complaint: Option<(u64, String)>,
    /// Number of bytes after which an import closes the connection.
    pub hang_up: Option<u64>,
}

/// Returns the helper image for a name without a registry host, if it is an emulated one.
pub(crate) fn image(name: &str) -> Option<Image> {
    let (repository, version) = name.split_once(':').unwrap_or((name, "latest"));
    let bare = repository.strip_prefix("official/").unwrap_or(repository);
    let known = [TUNNEL, IMPORT].contains(&bare);
    (known && ["1.0", "latest"].contains(&version)).then(|| Image {
        repository: bare.to_owned(),
        digest: format!("sha256:{}", "0".repeat(64)),
        tags: vec![version.to_owned()],
        size: 1 << 20,
        args: String::new(),
        from: Instant::now(),
        crash: None,
        output: String::new(),
    })
}

/// Returns whether instances of an image are emulated by a task of this process.
pub(crate) fn plays(image: &str) -> bool {
    let repository = image.split('@').next().unwrap_or_default();
    [TUNNEL, IMPORT].contains(&repository)
}

/// Starts the task of a helper instance.
pub(crate) fn start(shared: &Shared, uuid: &str) {
    let (image, args) = {
        let world = shared.world();
        let Some(one) = world.instance(uuid) else {
            return;
        };
        (one.image.clone(), one.args.clone())
    };
    if image.starts_with(TUNNEL) {
        tunnel::start(shared, uuid, &args);
    } else if image.starts_with(IMPORT) {
        import::start(shared, uuid, &args);
    }
}

/// Listens on a port of an emulated instance.
fn open(shared: &Shared, uuid: &str, port: u16) -> Option<tokio::net::TcpListener> {
    let (listener, address) = crate::proxy::listen()?;
    let mut world = shared.world();
    let runtime = world.runtime.clone();
    let one = world.instance_mut(uuid)?;
    one.backends.insert(port, address);
    let _inside = runtime.enter();
    tokio::net::TcpListener::from_std(listener).ok()
}

/// Returns whether an emulated instance still exists.
fn is_there(world: &World, uuid: &str) -> bool {
    world.instance(uuid).is_some()
}
