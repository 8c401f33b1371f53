//! The platform's own images that help clients, played: what they would do as instances, tasks of
//! this process do behind the same ports.

pub(crate) mod import;
mod tunnel;

use std::time::Instant;

use crate::server::Shared;
use crate::world::{Image, World};

const TUNNEL: &str = "utils/tunnel";
const IMPORT: &str = "utils/volimport";

/// What helpers do wrong on demand.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spoilt {
    /// At most so many connections go through a tunnel at once.
    pub slots: Option<usize>,
    /// What a tunnel refuses every connection with.
    pub refusal: Option<i16>,
    /// A control connection is dropped after so many milliseconds, once.
    pub control_ms: Option<u64>,
    /// What an import fails with, behind so many bytes.
    pub complaint: Option<(u64, String)>,
    /// An import hangs up behind so many bytes.
    pub hang_up: Option<u64>,
}

/// The image that a name without a host means, if it is one of ours.
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

/// Whether an instance of an image is played.
pub(crate) fn plays(image: &str) -> bool {
    let repository = image.split('@').next().unwrap_or_default();
    [TUNNEL, IMPORT].contains(&repository)
}

/// Begins to play an instance that starts.
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

/// Opens a port of a played instance: what takes its connections, and whether it still runs.
fn open(shared: &Shared, uuid: &str, port: u16) -> Option<tokio::net::TcpListener> {
    let (listener, address) = crate::proxy::listen()?;
    let mut world = shared.world();
    let runtime = world.runtime.clone();
    let one = world.instance_mut(uuid)?;
    one.backends.insert(port, address);
    let _inside = runtime.enter();
    tokio::net::TcpListener::from_std(listener).ok()
}

/// Whether a played instance is there.
fn is_there(world: &World, uuid: &str) -> bool {
    world.instance(uuid).is_some()
}
