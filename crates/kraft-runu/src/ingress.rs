//! Ports of Docker Swarm's routing mesh.
//!
//! A container with such ports has an interface of the ingress network, where its published ports arrive,
//! and rules in its namespace that redirect them to its own ports. What a machine takes over passes no
//! rules. So the ingress interface is not taken over: the kernel translates its published ports to
//! those of the guest, on the card between supervisor and guest.

use std::io::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use kraft_sys::tool::Tool;

use crate::failure::Failure;
use crate::network::GUEST;

/// The program that Docker sets up its rules with.
const IPTABLES: &str = "iptables";

/// How long it may take; it waits for others.
const LIMIT: Duration = Duration::from_secs(20);

/// Whether the kernel forwards packets, in this network namespace.
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    /// The address of the container on the ingress network.
    pub(crate) address: Ipv4Addr,
    protocol: &'static str,
    published: u16,
    target: u16,
}

/// Returns the ports that the rules of this network namespace redirect. Without the program that sets up
/// such rules, there are none.
pub(crate) fn ports() -> Vec<Port> {
    let listed = iptables(&["--wait", "-t", "nat", "-S", "PREROUTING"]);
    listed.map_or_else(|_| Vec::new(), |text| parse(&text))
}

/// Translates published ports to those of the guest behind a card.
pub(crate) fn forward(ports: &[Port], card: &str) -> Result<(), Failure> {
    for port in ports {
        let own = format!("{}/32", port.address);
        let published = port.published.to_string();
        let to = format!("{GUEST}:{}", port.target);
        // Before the engine's own rule.
        let rule = ["--wait", "-t", "nat", "-I", "PREROUTING", "-d", &own];
        let matched = ["-p", port.protocol, "--dport", &published];
        let target = ["-j", "DNAT", "--to-destination", &to];
        let _ = iptables(&[&rule[..], &matched, &target].concat())?;
    }
    if !ports.is_empty() {
        // The guest would answer clients by its default route.
        let rule = ["--wait", "-t", "nat", "-I", "POSTROUTING", "-o", card];
        let _ = iptables(&[&rule[..], &["-j", "MASQUERADE"]].concat())?;
        let on = std::fs::File::options().write(true).open(FORWARDING);
        on.and_then(|mut file| file.write_all(b"1"))
            .map_err(|e| Failure::of(&format!("cannot write `{FORWARDING}`"), &e))?;
    }
    Ok(())
}

fn iptables(args: &[&str]) -> Result<String, Failure> {
    let output = Tool::new(IPTABLES).args(args).limit(LIMIT).run();
    let output =
        output.map_err(|e| Failure::of("cannot set up the ports of the ingress network", &e))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Parses rules: `-A PREROUTING -d 10.0.0.5/32 -p tcp -m tcp --dport 8080 -j REDIRECT --to-ports 80`.
fn parse(rules: &str) -> Vec<Port> {
    let of_line = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let after = |flag: &str| {
            let at = words.iter().position(|word| *word == flag)?;
            words.get(at + 1).copied()
        };
        if after("-j") != Some("REDIRECT") {
            return None;
        }
        let address = after("-d")?.strip_suffix("/32")?.parse().ok()?;
        let protocol = ["tcp", "udp", "sctp"].into_iter();
        Some(Port {
            address,
            protocol: protocol.into_iter().find(|it| after("-p") == Some(*it))?,
            published: after("--dport")?.parse().ok()?,
            target: after("--to-ports")?.parse().ok()?,
        })
    };
    rules.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_docker_are_ports() {
        let rules = "-P PREROUTING ACCEPT\n\
            -A PREROUTING -d 10.0.0.5/32 -p tcp -m tcp --dport 8080 -j REDIRECT --to-ports 80\n\
            -A PREROUTING -d 10.0.0.5/32 -p udp -m udp --dport 53 -j REDIRECT --to-ports 5353\n\
            -A PREROUTING -p tcp -m tcp --dport 1 -j REDIRECT --to-ports 2\n\
            -A PREROUTING -d 10.0.0.5/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 1.2.3.4:5\n";
        let address = Ipv4Addr::new(10, 0, 0, 5);
        let port = |protocol, published, target| Port {
            address,
            protocol,
            published,
            target,
        };
        assert_eq!(parse(rules), [port("tcp", 8080, 80), port("udp", 53, 5353)]);
    }
}
