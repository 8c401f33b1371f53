//! The way out of a network: `slirp4netns`, which carries packets as an ordinary user's connections.
//!
//! ```text
//! machine ── bridge ── (forwarding) ── out0 ── slirp4netns ── sockets of the host
//! ```
//!
//! There is no address translation in the namespace. The kernel answers on `out0` for the addresses
//! of machines (proxy ARP), so that packets for them come back.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Child, Stdio};
use std::time::Duration;

use ipnet::Ipv4Net;
use kraft_sys::process::Identity;
use kraft_sys::tool;
use rustix::io::{FdFlags, fcntl_setfd};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::time::timeout;

use super::outside::Outside;

/// The program.
pub(crate) const PROGRAM: &str = "slirp4netns";
/// The device that leads to it.
const DEVICE: &str = "out0";
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(10);
/// Networks between the namespace and the program: the first that is not in use.
const BETWEEN: [[u8; 4]; 3] = [[10, 0, 2, 0], [192, 0, 2, 0], [198, 51, 100, 0]];

/// A running way out. It ends when this is dropped, or with this process.
#[derive(Debug)]
pub(super) struct WayOut {
    /// The address at which machines reach the host.
    pub(super) host: Ipv4Addr,
    child: Child,
    /// It ends when this is closed.
    _alive: io::PipeWriter,
}

impl WayOut {
    /// Starts it for the network namespace of this process.
    ///
    /// # Errors
    ///
    /// The reason if there is no way out.
    pub(super) async fn start(network: Ipv4Net, outside: &Outside) -> Result<Self, String> {
        let program = tool::locate(PROGRAM.as_ref()).ok_or_else(|| {
            format!("`{PROGRAM}` is not installed (`sudo apt install {PROGRAM}`)")
        })?;
        let between = BETWEEN
            .into_iter()
            .filter_map(|address| Ipv4Net::new(address.into(), 24).ok())
            .find(|between| !crate::subnet::overlap(*between, network))
            .ok_or("every network that could lead there is in use")?;
        let failed = |error: io::Error| format!("cannot run `{PROGRAM}`: {error}");
        let (exit, alive) = io::pipe().map_err(failed)?;
        let (ready, report) = io::pipe().map_err(failed)?;
        let namespace = format!("/proc/{}/ns/net", std::process::id());
        let child = outside.run(move || {
            // Inherited by this program only: nothing else is started meanwhile.
            for file in [exit.as_fd(), report.as_fd()] {
                fcntl_setfd(file, FdFlags::empty())?;
            }
            let mut command = tool::command(&program);
            command
                .args(["--configure", "--mtu=1500", "--disable-dns"])
                .arg(format!("--cidr={between}"))
                .arg(format!("--exit-fd={}", exit.as_raw_fd()))
                .arg(format!("--ready-fd={}", report.as_raw_fd()))
                .args(["--netns-type=path", &namespace, DEVICE])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::inherit());
            command.spawn()
        });
        // Ended by its drop if it is not ready in time.
        let way = Self {
            host: host_in(between),
            child: child.map_err(failed)?,
            _alive: alive,
        };
        let mut ready = Receiver::from_owned_fd(ready.into()).map_err(failed)?;
        // At the end of the program, the pipe is closed.
        let came = timeout(PATIENCE, ready.read_u8()).await;
        if !matches!(came, Ok(Ok(_))) {
            return Err(format!("`{PROGRAM}` does not start: see `holder.log`"));
        }
        forward().map_err(|error| format!("cannot forward packets to it: {error}"))?;
        Ok(way)
    }

    /// Returns the program; `None` if it has ended.
    pub(super) fn identity(&self) -> Option<Identity> {
        Identity::of(self.child.id())
    }
}

impl Drop for WayOut {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the address at which `slirp4netns` answers for the host: the second of its network.
fn host_in(network: Ipv4Net) -> Ipv4Addr {
    let [a, b, c, _] = network.network().octets();
    Ipv4Addr::new(a, b, c, 2)
}

/// Lets this network namespace carry packets between the machines and the way out.
fn forward() -> io::Result<()> {
    let set = |name: &str| {
        let path = format!("/proc/sys/net/ipv4/{name}");
        let mut file = std::fs::File::options().write(true).open(path)?;
        io::Write::write_all(&mut file, b"1")
    };
    set("ip_forward")?;
    set(&format!("conf/{DEVICE}/proxy_arp"))
}
