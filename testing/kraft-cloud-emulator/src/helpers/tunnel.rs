//! Emulated helper instance for tunnels: a control port that receives the client's heartbeats, and
//! ports that forward to instances.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::server::Shared;

/// Time without a heartbeat after which a client counts as disconnected; it sends one every minute.
const SILENCE: Duration = Duration::from_secs(90);
const HEARTBEAT: [u8; 9] = [0xf0, 0x9f, 0x91, 0x8b, 0xf0, 0x9f, 0x90, 0x92, 0x00];

/// Destination of a forwarded port: the instance's address or name in the private network, and
/// port.
#[derive(Clone)]
struct Way {
    proxy: u16,
    host: String,
    port: u16,
}

/// State shared by the tasks of a helper.
#[derive(Clone)]
struct Helper {
    shared: Shared,
    password: String,
    busy: Arc<AtomicUsize>,
}

/// Parses `CONTROL:5`, `5:PASSWORD`, `600`, `[TCP2TCP:HOST:PORT:PROXY:27|…]`.
fn understand(args: &[String]) -> Option<(u16, String, Vec<Way>)> {
    let [control, password, _, ways] = args else {
        return None;
    };
    let control = control.split_once(':')?.0.parse().ok()?;
    let password = password.split_once(':')?.1.to_owned();
    let ways = ways.strip_prefix('[')?.strip_suffix(']')?.split('|');
    let ways: Option<Vec<Way>> = ways
        .map(|way| {
            let parts: Vec<&str> = way.split(':').collect();
            let ["TCP2TCP", host, port, proxy, "27"] = parts.as_slice() else {
                return None;
            };
            Some(Way {
                proxy: proxy.parse().ok()?,
                host: (*host).to_owned(),
                port: port.parse().ok()?,
            })
        })
        .collect();
    (password.len() == 32).then_some((control, password, ways?))
}

pub(super) fn start(shared: &Shared, uuid: &str, args: &[String]) {
    let Some((control, password, ways)) = understand(args) else {
        return shared.world().end(uuid, 1, None);
    };
    let helper = Helper {
        shared: shared.clone(),
        password,
        busy: Arc::default(),
    };
    let runtime = shared.world().runtime.clone();
    if let Some(listener) = super::open(shared, uuid, control) {
        runtime.spawn(hear(helper.clone(), uuid.to_owned(), listener));
    }
    for way in ways {
        if let Some(listener) = super::open(shared, uuid, way.proxy) {
            runtime.spawn(lead(helper.clone(), uuid.to_owned(), way, listener));
        }
    }
}

/// Receives the client's heartbeats.
async fn hear(helper: Helper, uuid: String, listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        if !super::is_there(&helper.shared.world(), &uuid) {
            return;
        }
        let helper = helper.clone();
        tokio::spawn(async move {
            let mut password = [0; 32];
            stream.read_exact(&mut password).await?;
            if password != helper.password.as_bytes() {
                return Ok(());
            }
            let drop_after = helper.shared.world().spoilt.control_ms.take();
            let limit = drop_after.map_or(SILENCE, Duration::from_millis);
            loop {
                let mut beat = [0; 9];
                match tokio::time::timeout(limit, stream.read_exact(&mut beat)).await {
                    Ok(Ok(_)) if beat == HEARTBEAT => {}
                    Ok(Err(error)) => return Err(error),
                    _ => return Ok::<_, io::Error>(()),
                }
            }
        });
    }
}

/// Accepts connections and forwards them.
async fn lead(helper: Helper, uuid: String, way: Way, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        if !super::is_there(&helper.shared.world(), &uuid) {
            return;
        }
        let (helper, way) = (helper.clone(), way.clone());
        tokio::spawn(async move {
            // A client that closes its connection does not affect the others.
            let _ = helper.connection(stream, &way).await;
        });
    }
}

impl Helper {
    async fn connection(&self, mut stream: TcpStream, way: &Way) -> io::Result<()> {
        let mut password = [0; 32];
        stream.read_exact(&mut password).await?;
        if password != self.password.as_bytes() {
            return Ok(());
        }
        let (slots, refusal) = {
            let world = self.shared.world();
            (world.spoilt.slots, world.spoilt.refusal)
        };
        if let Some(number) = refusal {
            return stream.write_i16_le(number).await;
        }
        if slots.is_some_and(|slots| self.busy.load(Ordering::SeqCst) >= slots) {
            return stream.write_i16_le(0).await;
        }
        let server = match self.target(way) {
            Some(address) => TcpStream::connect(address).await,
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let Ok(mut server) = server else {
            return stream.write_i16_le(-111).await;
        };
        self.busy.fetch_add(1, Ordering::SeqCst);
        let done = async {
            stream.write_i16_le(1).await?;
            copy_bidirectional(&mut stream, &mut server).await
        };
        let done = done.await;
        self.busy.fetch_sub(1, Ordering::SeqCst);
        done.map(drop)
    }

    /// Returns the address on this host of an instance's port.
    fn target(&self, way: &Way) -> Option<SocketAddr> {
        let world = self.shared.world();
        let named = way.host.strip_suffix(".internal");
        let one = world
            .instances
            .iter()
            .find(|one| one.ip == way.host || Some(one.name.as_str()) == named)?;
        one.backends.get(&way.port).copied()
    }
}
