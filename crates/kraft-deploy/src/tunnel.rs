//! Tunnels: ports of this computer that lead to ports of instances.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kraft_cloud::dial::Dialer;
use kraft_cloud::request::Id;
use kraft_cloud::resources::instances::{self, CreateInstance, Instance};
use kraft_cloud::tunnel::{self, Password, Way};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::helper::{self, Helper};
use super::{Cloud, naming};
use kraft_engine::context::Context;
use kraft_engine::failure::{Failure, Kind};

/// The helper's memory, in MiB.
const MEMORY: u64 = 64;
/// A lost control connection is tried again for so long.
const RETURNING: Duration = Duration::from_secs(20);
/// So many complaints wait to be told; more of them would say nothing new.
const COMPLAINTS: usize = 16;

/// One tunnel: `[LOCAL:]INSTANCE:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The port of this computer.
    pub local: u16,
    /// The instance: its name, its UUID, its address, or its name inside.
    pub instance: String,
    /// The port of the instance.
    pub port: u16,
}

/// How the helper is to be.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The tunnels.
    pub tunnels: Vec<Tunnel>,
    /// The helper's port for each, or the first of them.
    pub proxy_ports: Vec<u16>,
    /// The helper's port for itself.
    pub control: u16,
    /// The helper's image.
    pub image: String,
}

/// Understands `[LOCAL:]INSTANCE:PORT[/TYPE]`.
pub fn parse(text: &str) -> Result<Tunnel, Failure> {
    let wrong = |why: &str| {
        Failure::usage(format!("`{text}`: {why}"))
            .hint("write [LOCAL:]INSTANCE:PORT, such as `8080:web:80`")
    };
    let (ways, kind) = match text.rsplit_once('/') {
        Some((ways, kind)) => (ways, kind),
        None => (text, "tcp"),
    };
    match kind {
        "tcp" => {}
        "udp" => return Err(wrong("only TCP goes through a tunnel")),
        _ => return Err(wrong("the type is neither `tcp` nor `udp`")),
    }
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(wrong(&format!("`{text}` is no port from 1 to 65535"))),
    };
    let parts: Vec<&str> = ways.split(':').collect();
    let (local, instance, inside) = match parts.as_slice() {
        [instance, inside] => (*inside, *instance, *inside),
        [local, instance, inside] => (*local, *instance, *inside),
        _ => return Err(wrong("it is no tunnel")),
    };
    if instance.is_empty() {
        return Err(wrong("the instance is missing"));
    }
    Ok(Tunnel {
        local: port(local)?,
        instance: instance.to_owned(),
        port: port(inside)?,
    })
}

/// Opens tunnels, and keeps them open until the user has enough.
pub fn open(ctx: &Context, cloud: &Cloud, wish: &Wish) -> Result<(), Failure> {
    let ports = proxy_ports(wish)?;
    let dialer = Arc::new(helper::dialer(ctx)?);
    // The ports of this computer come first: if one is taken, nothing was made elsewhere.
    let listeners = cloud.wait_for(bind(&wish.tunnels))??;
    let ways = ways(cloud, wish, &ports)?;
    let image = naming::of_platform(cloud, &wish.image)?;
    let password = Helper::password()?;
    let wanted = helper_of(wish, image, &password, &ways);
    let (helper, instance) = Helper::start(ctx, cloud, wanted)?;
    let host = helper::host(&instance)?;
    let control = cloud.wait_for(Helper::dial(&dialer, &host, wish.control))??;
    for (tunnel, way) in wish.tunnels.iter().zip(&ways) {
        ctx.info(&format!(
            "127.0.0.1:{} leads to {}:{} ({})",
            tunnel.local, tunnel.instance, tunnel.port, way.host
        ));
    }
    let (complaints, heard) = mpsc::channel(COMPLAINTS);
    let tunnels = listeners.into_iter().zip(ways.iter().map(|way| way.proxy));
    for (listener, proxy) in tunnels {
        let leading = Leading {
            dialer: Arc::clone(&dialer),
            host: host.clone(),
            proxy,
            password: password.clone(),
            complaints: complaints.clone(),
        };
        cloud.spawn(leading.serve(listener));
    }
    drop(complaints);
    let staying = stay(ctx, &dialer, (&host, wish.control), &password, control);
    let ended = cloud.wait_for(async {
        tokio::select! {
            failure = staying => failure,
            () = tell(ctx, heard) => Failure::new(Kind::Failed, "the tunnels have ended"),
        }
    });
    drop(helper);
    Err(ended?)
}

/// Prints what connections complain about.
async fn tell(ctx: &Context, mut heard: mpsc::Receiver<String>) {
    while let Some(complaint) = heard.recv().await {
        ctx.warn(&complaint);
    }
}

/// Stays connected with the helper; returns why it cannot any more.
async fn stay(
    ctx: &Context,
    dialer: &Dialer,
    (host, port): (&str, u16),
    password: &Password,
    first: kraft_cloud::dial::Stream,
) -> Failure {
    let mut stream = first;
    loop {
        let begin = Instant::now();
        let lost = tunnel::control(&mut stream, password).await;
        // A helper that hangs up at once wants to be left alone.
        if begin.elapsed() < Duration::from_secs(1) {
            return Failure::new(Kind::Network, format!("the helper hung up: {lost}"));
        }
        ctx.warn(&format!(
            "the connection with the helper broke ({lost}): trying again"
        ));
        let again = tokio::time::timeout(RETURNING, Helper::dial(dialer, host, port)).await;
        match again {
            Ok(Ok(again)) => stream = again,
            Ok(Err(error)) => return error.into(),
            Err(_) => {
                return Failure::new(Kind::Network, format!("the helper is gone: {lost}"));
            }
        }
    }
}

/// Returns the helper's port for each tunnel.
fn proxy_ports(wish: &Wish) -> Result<Vec<u16>, Failure> {
    let count = wish.tunnels.len();
    let ports: Vec<u16> = match wish.proxy_ports.as_slice() {
        [first] => (0..count)
            .filter_map(|at| first.checked_add(u16::try_from(at).ok()?))
            .collect(),
        given => given.to_vec(),
    };
    if ports.len() != count {
        return Err(Failure::usage(format!(
            "there are {} proxy ports for {count} tunnels",
            ports.len()
        )));
    }
    let mut all = ports.clone();
    all.push(wish.control);
    all.sort_unstable();
    if all.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(Failure::usage("two ports of the helper are the same"));
    }
    Ok(ports)
}

async fn bind(tunnels: &[Tunnel]) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners = Vec::with_capacity(tunnels.len());
    for tunnel in tunnels {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, tunnel.local));
        let bound = TcpListener::bind(address).await.map_err(|error| {
            Failure::new(Kind::Host, format!("cannot listen at {address}: {error}"))
                .hint("choose another port of this computer: `LOCAL:INSTANCE:PORT`")
        });
        listeners.push(bound?);
    }
    Ok(listeners)
}

/// Finds out where each tunnel ends; instances are asked about all at once.
fn ways(cloud: &Cloud, wish: &Wish, ports: &[u16]) -> Result<Vec<Way>, Failure> {
    let is_address = |text: &str| text.parse::<std::net::IpAddr>().is_ok();
    let is_inside = |text: &str| is_address(text) || text.ends_with(".internal");
    let mut asked: Vec<Id> = Vec::new();
    for tunnel in &wish.tunnels {
        let id = Id::new(&tunnel.instance);
        if !is_inside(&tunnel.instance) && !asked.contains(&id) {
            asked.push(id);
        }
    }
    let found = if asked.is_empty() {
        Vec::new()
    } else {
        cloud.send(&instances::get(&asked))?.all()?
    };
    let mut ways = Vec::with_capacity(wish.tunnels.len());
    for (tunnel, proxy) in wish.tunnels.iter().zip(ports) {
        let host = if is_inside(&tunnel.instance) {
            tunnel.instance.clone()
        } else {
            address(&found, &tunnel.instance)?
        };
        ways.push(Way {
            proxy: *proxy,
            host,
            port: tunnel.port,
        });
    }
    Ok(ways)
}

/// Returns the address of an instance inside, without the length of its network.
fn address(found: &[Instance], named: &str) -> Result<String, Failure> {
    let mut found = found.iter();
    let one = found.find(|one| one.uuid.eq_ignore_ascii_case(named) || one.name == named);
    let ip = one.map_or("", |one| {
        one.private_ip.split('/').next().unwrap_or_default()
    });
    if ip.is_empty() {
        return Err(Failure::new(
            Kind::NotFound,
            format!("the instance `{named}` has no address"),
        ));
    }
    Ok(ip.to_owned())
}

fn helper_of(wish: &Wish, image: String, password: &Password, ways: &[Way]) -> CreateInstance {
    let mut ports: Vec<u16> = ways.iter().map(|way| way.proxy).collect();
    ports.push(wish.control);
    CreateInstance {
        args: tunnel::arguments(wish.control, password, ways),
        ..Helper::wanted(image, MEMORY, &ports)
    }
}

/// What leads connections of one port to the helper.
#[derive(Clone)]
struct Leading {
    dialer: Arc<Dialer>,
    host: String,
    proxy: u16,
    password: Password,
    complaints: mpsc::Sender<String>,
}

impl Leading {
    async fn serve(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let leading = self.clone();
                    tokio::spawn(async move {
                        if let Err(why) = leading.lead(stream).await {
                            // Nobody waits for it to be told.
                            let _ = leading.complaints.try_send(why);
                        }
                    });
                }
                // Such as too many open files: it passes.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn lead(&self, mut near: TcpStream) -> Result<(), String> {
        let _ = near.set_nodelay(true);
        let far = self.dialer.dial(&self.host, self.proxy).await;
        let mut far = far.map_err(|error| error.to_string())?;
        tunnel::enter(&mut far, &self.password)
            .await
            .map_err(|error| format!("a connection is refused: {error}"))?;
        match copy_bidirectional(&mut near, &mut far).await {
            Ok(_) => Ok(()),
            // Either side may hang up whenever it likes; only the far one's reasons are news.
            Err(error) if is_farewell(&error) => Ok(()),
            Err(error) => Err(format!("a connection broke: {error}")),
        }
    }
}

fn is_farewell(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_is_read_from_right_to_left() {
        let tunnel = |text: &str| parse(text).map(|one| (one.local, one.instance, one.port));
        let is = |local, instance: &str, port| (local, instance.to_owned(), port);
        assert_eq!(tunnel("8080:web:80").unwrap(), is(8080, "web", 80));
        assert_eq!(tunnel("web:80/tcp").unwrap(), is(80, "web", 80));
        assert_eq!(
            tunnel("db.internal:5432").unwrap(),
            is(5432, "db.internal", 5432)
        );
        for bad in [
            "web",
            ":80",
            "web:0",
            "web:80/udp",
            "1:2:3:4",
            "web:80/x",
            "",
        ] {
            assert!(tunnel(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_helpers_ports_are_counted_or_given() {
        let wish = |proxy_ports: &[u16], count: usize| Wish {
            tunnels: vec![parse("web:80").unwrap(); count],
            proxy_ports: proxy_ports.to_vec(),
            control: 4443,
            image: String::new(),
        };
        assert_eq!(proxy_ports(&wish(&[4444], 3)).unwrap(), [4444, 4445, 4446]);
        assert_eq!(proxy_ports(&wish(&[9000, 8000], 2)).unwrap(), [9000, 8000]);
        assert!(
            proxy_ports(&wish(&[4442], 2)).is_err(),
            "the control port is taken"
        );
        assert!(proxy_ports(&wish(&[1, 2], 3)).is_err());
        assert!(proxy_ports(&wish(&[65535], 2)).is_err());
    }
}
