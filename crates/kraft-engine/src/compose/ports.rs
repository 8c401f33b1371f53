//! Ports of this host that are taken from a range (`8000-8009:80`).

use std::net::{TcpListener, UdpSocket};

use kraft_core::compose::Port;
use kraft_core::port::{PortMapping, Protocol};
use kraft_machine::{Id, Listed, Machines};

/// Chooses a free port for each of `mappings` that is described by a range: one that no machine but
/// `own` has, and that can be opened. Without one, the first stays, and the start reports why.
///
/// # Errors
///
/// If the machines cannot be listed.
pub(super) fn choose(
    machines: &Machines,
    own: Option<Id>,
    described: &[Port],
    mappings: &mut [PortMapping],
) -> Result<(), kraft_machine::Error> {
    if described.iter().all(|port| port.published_to.is_none()) {
        return Ok(());
    }
    let mut taken = Vec::new();
    for listed in machines.list()? {
        if let Listed::Machine(machine) = listed
            && Some(machine.id) != own
        {
            taken.extend(machine.spec.ports.iter().cloned());
            taken.extend(machine.ports);
        }
    }
    for (port, mapping) in described.iter().zip(mappings) {
        let Some(last) = port.published_to else {
            continue;
        };
        let mut numbers = mapping.host_port..=last;
        let free = numbers.find(|number| {
            let one = PortMapping {
                host_port: *number,
                ..mapping.clone()
            };
            !taken.iter().any(|other| one.collides(other)) && opens(&one)
        });
        mapping.host_port = free.unwrap_or(mapping.host_port);
        taken.push(mapping.clone());
    }
    Ok(())
}

fn opens(port: &PortMapping) -> bool {
    let at = (port.host_ip, port.host_port);
    match port.protocol {
        Protocol::Tcp => TcpListener::bind(at).is_ok(),
        Protocol::Udp => UdpSocket::bind(at).is_ok(),
    }
}
