//! Published ports: a listener on this host for every port of a group, forwarding in turn to the
//! instances of the group that run.
//!
//! Public ports such as 443 are not taken: each gets a free port of the loopback, and
//! [`addresses`] tells which stands for which. All of them are plain TCP; what the platform would
//! unwrap (TLS) is not wrapped here.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::server::Shared;
use crate::world::State;

/// One published port and where it really is.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    group: String,
    port: u16,
    inner: u16,
    address: SocketAddr,
}

/// Opens what is not open yet. A listener outlives its group: it then forwards to nobody.
pub(crate) fn publish(shared: &Shared) {
    let mut world = shared.world();
    let wanted: Vec<(String, u16, u16)> = world
        .groups
        .iter()
        .flat_map(|group| {
            let number =
                |service: &Value, key: &str| u16::try_from(service.get(key)?.as_u64()?).ok();
            group.services.iter().filter_map(move |service| {
                let inner = number(service, "destination_port")?;
                Some((group.uuid.clone(), number(service, "port")?, inner))
            })
        })
        .collect();
    for (group, port, inner) in wanted {
        let open = |one: &Published| one.group == group && one.port == port;
        if world.published.iter().any(open) {
            continue;
        }
        let Ok(listener) = TcpListener::bind(("127.0.0.1", 0)) else {
            continue;
        };
        let Ok(address) = listener.local_addr() else {
            continue;
        };
        let published = Published {
            group,
            port,
            inner,
            address,
        };
        world.published.push(published.clone());
        let shared = shared.clone();
        std::thread::spawn(move || serve(&shared, &published, &listener));
    }
}

fn serve(shared: &Shared, published: &Published, listener: &TcpListener) {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    for stream in listener.incoming().flatten() {
        let turn = TURN.fetch_add(1, Ordering::Relaxed);
        if let Some(backend) = backend(shared, published, turn) {
            std::thread::spawn(move || join(&stream, backend));
        }
    }
}

/// The next instance in turn that runs and has this port.
fn backend(shared: &Shared, published: &Published, turn: usize) -> Option<SocketAddr> {
    let world = shared.world();
    let live = world
        .instances
        .iter()
        .filter(|one| one.state == State::Running && one.group.as_ref() == Some(&published.group));
    let backends: Vec<SocketAddr> = live
        .filter_map(|one| one.backends.get(&published.inner).copied())
        .collect();
    backends.get(turn.checked_rem(backends.len())?).copied()
}

/// Copies both ways until both sides are done.
fn join(client: &TcpStream, backend: SocketAddr) {
    let copied = || -> io::Result<()> {
        let server = TcpStream::connect(backend)?;
        let (mut up_from, mut up_to) = (client.try_clone()?, server.try_clone()?);
        let up = std::thread::spawn(move || {
            let _ = io::copy(&mut up_from, &mut up_to);
            let _ = up_to.shutdown(Shutdown::Write);
        });
        let _ = io::copy(&mut &server, &mut &*client);
        let _ = client.shutdown(Shutdown::Write);
        let _ = up.join();
        Ok(())
    };
    // A backend that is not there is a connection that ends at once, as at the platform.
    let _ = copied();
}

/// Which address of this host stands for which public port.
pub(crate) fn addresses(shared: &Shared) -> Value {
    let world = shared.world();
    let published = world.published.iter().flat_map(|one| {
        let group = world.groups.iter().find(|group| group.uuid == one.group);
        let domains = group.map(|group| group.domains.clone()).unwrap_or_default();
        domains.into_iter().map(|domain| {
            json!({
                "fqdn": domain.get("fqdn"),
                "port": one.port,
                "address": one.address.to_string(),
            })
        })
    });
    published.collect()
}
