//! The network of a command: that of the host, none, or one of its own with a way out.
//!
//! The way out is a program that runs outside and carries the packets of a network namespace as an
//! ordinary user's connections: `pasta` or `slirp4netns`. Services on the host's loopback address
//! and abstract sockets are not reached through it.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use kraft_sys::tool;
use serde::{Deserialize, Serialize};

/// The device through which packets leave a namespace.
const TUN: &str = "/dev/net/tun";
/// Where pasta answers for the host's name server: a link-local address that no host has.
const PASTA_DNS: &str = "169.254.1.1";
/// Where slirp4netns does (`slirp4netns(1)`).
const SLIRP_DNS: &str = "10.0.2.3";
/// Maximum size of `/etc/resolv.conf` in bytes.
const LARGEST: u64 = 1 << 20;

/// Files with which host names are resolved.
const NAMES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// The network of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Access {
    /// The network of the host.
    Host,
    /// Only a loopback device of its own.
    None,
    /// A loopback device of its own, and a way out.
    Own(Way),
}

/// A program that leads packets out of a network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Way {
    /// `pasta`, at this path.
    Pasta(PathBuf),
    /// `slirp4netns`, at this path.
    Slirp(PathBuf),
}

impl Way {
    /// Finds a way out.
    ///
    /// # Errors
    ///
    /// The reason if there is none, to be printed after a colon.
    pub(super) fn find() -> Result<Self, String> {
        let program = |name: &str| tool::locate(name.as_ref());
        let way = program("pasta")
            .map(Self::Pasta)
            .or_else(|| program("slirp4netns").map(Self::Slirp))
            .ok_or("neither `pasta` nor `slirp4netns` is installed (`sudo apt install passt`)")?;
        // It is opened without privileges on the host, also when kraft runs as root.
        match std::fs::metadata(TUN) {
            Ok(found) if std::os::unix::fs::MetadataExt::mode(&found) & 0o006 == 0o006 => Ok(way),
            Ok(_) => Err(format!(
                "only root may use `{TUN}` (`sudo chmod 0666 {TUN}`)"
            )),
            Err(_) => Err(format!("there is no `{TUN}`")),
        }
    }

    /// Returns the program with its arguments, for the namespaces of a process. `inside` is whether
    /// it already is in the user namespace.
    pub(super) fn command(&self, pid: u32, inside: bool) -> Command {
        match self {
            Self::Pasta(path) => {
                let mut command = tool::command(path);
                command.args(["--foreground", "--quiet", "--config-net", "--no-map-gw"]);
                for ports in ["--tcp-ports", "--udp-ports", "--tcp-ns", "--udp-ns"] {
                    command.args([ports, "none"]);
                }
                command.args(["--dns-forward", PASTA_DNS]);
                if inside {
                    let namespace = format!("/proc/{pid}/ns/net");
                    command.args(["--netns-only", "--netns", &namespace]);
                } else {
                    command.arg(pid.to_string());
                }
                command
            }
            Self::Slirp(path) => {
                let mut command = tool::command(path);
                command.args(["--configure", "--mtu=65520", "--disable-host-loopback"]);
                if !inside {
                    command.arg(format!("--userns-path=/proc/{pid}/ns/user"));
                }
                command.args(["--netns-type=path", &format!("/proc/{pid}/ns/net"), "tap0"]);
                command
            }
        }
    }

    /// Returns the `resolv.conf` of a command: that of the host with the way out as its name server.
    /// Some name servers can be reached only from the host, such as one on its loopback address.
    pub(super) fn resolver(&self) -> String {
        let bytes = kraft_sys::fs::read_file(Path::new("/etc/resolv.conf"), LARGEST);
        let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        let server = match self {
            Self::Pasta(_) => PASTA_DNS,
            Self::Slirp(_) => SLIRP_DNS,
        };
        served_by(server, &text)
    }
}

/// Replaces the name servers of a `resolv.conf` (`resolv.conf(5)`).
fn served_by(server: &str, text: &str) -> String {
    let mut changed = format!("nameserver {server}\n");
    let other = |line: &&str| line.split_whitespace().next() != Some("nameserver");
    for line in text.lines().filter(other) {
        changed.push_str(line);
        changed.push('\n');
    }
    changed
}

/// Returns the files with which the host resolves names: their real paths, and where they are
/// expected.
pub(super) fn name_files() -> Vec<(PathBuf, &'static str)> {
    let real = |file: &'static str| Some((std::fs::canonicalize(file).ok()?, file));
    NAMES.into_iter().filter_map(real).collect()
}

/// Returns whether a route leads out of the network namespace of a process.
pub(super) fn has_route(pid: u32) -> bool {
    // A large table of routes counts as a way out.
    let read = |name: &str| {
        let path = format!("/proc/{pid}/net/{name}");
        std::fs::read_to_string(path).unwrap_or_default()
    };
    let routes = read("route");
    let first = routes.lines().skip(1).any(|line| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|device| device != "lo") && words.next() == Some("00000000")
    });
    first
        || read("ipv6_route").lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let to_all = words
                .first()
                .is_some_and(|to| to.bytes().all(|b| b == b'0'));
            to_all && words.get(1) == Some(&"00") && words.last().is_some_and(|it| *it != "lo")
        })
}

/// Starts the loopback device of this network namespace.
pub(super) fn start_loopback() -> io::Result<()> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: libc::c_short::try_from(libc::IFF_UP).map_err(io::Error::other)?,
        },
    };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    // SAFETY: the request is a whole `ifreq`, which this call only reads (netdevice(7)).
    #[expect(
        unsafe_code,
        reason = "no library of this workspace configures network devices"
    )]
    let done = unsafe {
        libc::ioctl(
            socket.as_fd().as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw mut request,
        )
    };
    if done == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out_answers_for_every_name_server() {
        let cases = [
            ("nameserver 127.0.0.53\nsearch a b\n", "search a b\n"),
            (" nameserver 10.0.0.1\nnameserver\t::1\n", ""),
            (
                "# nameserver x\noptions edns0",
                "# nameserver x\noptions edns0\n",
            ),
            ("", ""),
        ];
        for (text, rest) in cases {
            assert_eq!(
                served_by("1.2.3.4", text),
                format!("nameserver 1.2.3.4\n{rest}")
            );
        }
    }
}
