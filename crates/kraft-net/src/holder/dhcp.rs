//! The DHCP server of a network (RFC 2131): a machine that asks gets the address that it has.
//!
//! The address of a machine is decided before it starts, and most guests learn it from a parameter
//! of the kernel. Nothing is given here: who is no machine of the network gets no answer.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use ipnet::Ipv4Net;
use kraft_core::net::{Interface, Mac};
use smoltcp::wire::{
    DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr,
};
use tokio::net::UdpSocket;
use tokio::time::sleep;

use super::proxy::Task;

/// The maximal size of a packet in bytes.
const PACKET: usize = 4096;
/// The least size of an answer in bytes: that of BOOTP, which old clients wait for.
const LEAST: usize = 300;
/// How long a machine may keep its address: as long as it lives, also when no one answers any more.
const FOR_EVER: u32 = u32::MAX;
/// How long the server waits after an error.
const AGAIN: Duration = Duration::from_millis(100);

/// The options that smoltcp does not name, and one that it reads only of some clients (RFC 2132).
const NAME_SERVERS: u8 = 6;
const HOST_NAME: u8 = 12;
const DOMAIN: u8 = 15;
const CLIENT: u8 = 61;

/// Returns the connection of the machine with a hardware address.
pub(super) type Machines = Rc<dyn Fn(Mac) -> Option<Interface>>;

/// Serves the machines at a bridge until the result is dropped.
pub(super) async fn serve(bridge: &str, gateway: Ipv4Net, machines: Machines) -> io::Result<Task> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, DHCP_SERVER_PORT)).await?;
    // Who has no address yet is not reached by routes.
    socket.bind_device(Some(bridge.as_bytes()))?;
    socket.set_broadcast(true)?;
    Ok(Task::spawn(async move {
        let mut packet = vec![0; PACKET];
        loop {
            let Ok((length, _)) = socket.recv_from(&mut packet).await else {
                sleep(AGAIN).await;
                continue;
            };
            let request = packet.get(..length).unwrap_or_default();
            if let Some(answer) = answer(request, gateway, &*machines) {
                let _ = socket.send_to(&answer.packet, answer.to).await;
            }
        }
    }))
}

/// An answer, and where it goes.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    packet: Vec<u8>,
    to: SocketAddr,
}

/// Returns the answer to a packet; `None` if there is none. Pure.
fn answer(
    packet: &[u8],
    gateway: Ipv4Net,
    machines: &dyn Fn(Mac) -> Option<Interface>,
) -> Option<Answer> {
    let packet = DhcpPacket::new_checked(packet).ok()?;
    let request = DhcpRepr::parse(&packet).ok()?;
    let machine = machines(Mac(request.client_hardware_address.0))?;
    let address = machine.address?;
    let server = gateway.addr();
    // Another server was chosen, or it comes from another network.
    if request.server_identifier.is_some_and(|it| it != server)
        || !request.relay_agent_ip.is_unspecified()
    {
        return None;
    }
    let known = Some(request.client_ip).filter(|it| !it.is_unspecified());
    let asked = request.requested_ip.or(known);
    let message_type = match request.message_type {
        DhcpMessageType::Discover => DhcpMessageType::Offer,
        DhcpMessageType::Request if asked == Some(address) => DhcpMessageType::Ack,
        DhcpMessageType::Request => DhcpMessageType::Nak,
        DhcpMessageType::Inform => DhcpMessageType::Ack,
        _ => return None,
    };
    let refused = message_type == DhcpMessageType::Nak;
    let gives = !refused && request.message_type != DhcpMessageType::Inform;
    let prefix = machine.prefix.unwrap_or_else(|| gateway.prefix_len());
    let mask = Ipv4Net::new(address, prefix).map_or(gateway.netmask(), |it| it.netmask());
    let servers: Vec<u8> = machine.dns.iter().flat_map(Ipv4Addr::octets).collect();
    let text = |text: &Option<String>| text.clone().unwrap_or_default().into_bytes();
    let (host, domain) = (text(&machine.hostname), text(&machine.domain));
    let settings = [
        (NAME_SERVERS, servers.as_slice()),
        (HOST_NAME, &host),
        (DOMAIN, &domain),
    ];
    let settings = settings.into_iter().filter(|(_, data)| !data.is_empty());
    let settings = settings.map(|(kind, data)| DhcpOption { kind, data });
    let mut options: Vec<DhcpOption<'_>> = settings.filter(|_| !refused).collect();
    // The client recognises its answer by it (RFC 6842).
    options.extend(packet.options().find(|it| it.kind == CLIENT));
    let reply = DhcpRepr {
        message_type,
        transaction_id: request.transaction_id,
        secs: 0,
        client_hardware_address: request.client_hardware_address,
        client_ip: if refused {
            Ipv4Addr::UNSPECIFIED
        } else {
            request.client_ip
        },
        your_ip: if gives {
            address
        } else {
            Ipv4Addr::UNSPECIFIED
        },
        server_ip: Ipv4Addr::UNSPECIFIED,
        router: machine.gateway.filter(|_| !refused),
        subnet_mask: Some(mask).filter(|_| !refused),
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: request.broadcast,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(server),
        parameter_request_list: None,
        dns_servers: None,
        max_size: None,
        lease_duration: gives.then_some(FOR_EVER),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &options,
    };
    let mut bytes = vec![0; reply.buffer_len().max(LEAST)];
    reply
        .emit(&mut DhcpPacket::new_unchecked(&mut bytes[..]))
        .ok()?;
    // Only who has the address is reached at it; it never leads to another machine.
    let to = match known {
        Some(known) if known == address && !refused => address,
        _ => Ipv4Addr::BROADCAST,
    };
    Some(Answer {
        packet: bytes,
        to: (to, DHCP_CLIENT_PORT).into(),
    })
}

#[cfg(test)]
mod tests {
    use smoltcp::wire::EthernetAddress;

    use super::*;

    const MACHINE: Mac = Mac([2, 0xb0, 0xb0, 9, 0, 2]);

    fn gateway() -> Ipv4Net {
        "10.9.0.1/24".parse().unwrap()
    }

    /// Returns the connection of the only machine.
    fn machines(mac: Mac) -> Option<Interface> {
        let mut machine = Interface::parse("web:10.9.0.2/24:10.9.0.1:10.9.0.1:1.1.1.1:m:web").ok();
        machine.as_mut().unwrap().mac = Some(mac);
        machine.filter(|_| mac == MACHINE)
    }

    /// Makes a request of a client, and has it changed.
    fn request(change: impl FnOnce(&mut DhcpRepr<'_>)) -> Vec<u8> {
        let mut repr = DhcpRepr {
            message_type: DhcpMessageType::Discover,
            transaction_id: 7,
            secs: 1,
            client_hardware_address: EthernetAddress(MACHINE.0),
            client_ip: Ipv4Addr::UNSPECIFIED,
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: true,
            requested_ip: None,
            client_identifier: None,
            server_identifier: None,
            parameter_request_list: None,
            dns_servers: None,
            max_size: None,
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: &[DhcpOption {
                kind: CLIENT,
                data: b"\xffany",
            }],
        };
        change(&mut repr);
        let mut bytes = vec![0; repr.buffer_len()];
        let mut packet = DhcpPacket::new_unchecked(&mut bytes[..]);
        repr.emit(&mut packet).unwrap();
        bytes
    }

    /// Returns what is answered: its type, the address, and where it goes.
    fn asked(
        change: impl FnOnce(&mut DhcpRepr<'_>),
    ) -> Option<(DhcpMessageType, Ipv4Addr, String)> {
        let answer = answer(&request(change), gateway(), &machines)?;
        let packet = DhcpPacket::new_checked(&answer.packet[..]).unwrap();
        let reply = DhcpRepr::parse(&packet).unwrap();
        assert_eq!(reply.transaction_id, 7);
        assert_eq!(reply.server_identifier, Some(gateway().addr()));
        Some((reply.message_type, reply.your_ip, answer.to.to_string()))
    }

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
    const EVERYONE: &str = "255.255.255.255:68";

    #[test]
    fn a_machine_is_offered_what_it_has_and_gets_that_alone() {
        let offer = (DhcpMessageType::Offer, ADDRESS, EVERYONE.to_owned());
        assert_eq!(asked(|_| ()), Some(offer));
        let ack = (DhcpMessageType::Ack, ADDRESS, EVERYONE.to_owned());
        let taken = asked(|it| {
            it.message_type = DhcpMessageType::Request;
            it.requested_ip = Some(ADDRESS);
            it.server_identifier = Some(gateway().addr());
        });
        assert_eq!(taken, Some(ack));
        let refused = asked(|it| {
            it.message_type = DhcpMessageType::Request;
            it.requested_ip = Some(Ipv4Addr::new(10, 9, 0, 3));
        });
        let nak = (
            DhcpMessageType::Nak,
            Ipv4Addr::UNSPECIFIED,
            EVERYONE.to_owned(),
        );
        assert_eq!(refused, Some(nak));
    }

    #[test]
    fn who_has_the_address_is_answered_there_and_nowhere_else() {
        let renewed = asked(|it| {
            it.message_type = DhcpMessageType::Request;
            it.client_ip = ADDRESS;
        });
        let ack = (DhcpMessageType::Ack, ADDRESS, "10.9.0.2:68".to_owned());
        assert_eq!(renewed, Some(ack));
        let elsewhere = asked(|it| {
            it.message_type = DhcpMessageType::Inform;
            it.client_ip = Ipv4Addr::new(192, 168, 1, 1);
        });
        let informed = (
            DhcpMessageType::Ack,
            Ipv4Addr::UNSPECIFIED,
            EVERYONE.to_owned(),
        );
        assert_eq!(elsewhere, Some(informed));
    }

    #[test]
    fn others_get_no_answer() {
        let foreign = asked(|it| it.client_hardware_address = EthernetAddress([2, 0, 0, 0, 0, 1]));
        assert_eq!(foreign, None);
        let other = asked(|it| it.server_identifier = Some(Ipv4Addr::new(10, 9, 0, 9)));
        assert_eq!(other, None);
        let relayed = asked(|it| it.relay_agent_ip = Ipv4Addr::new(10, 8, 0, 1));
        assert_eq!(relayed, None);
        for kind in [DhcpMessageType::Release, DhcpMessageType::Decline] {
            assert_eq!(asked(|it| it.message_type = kind), None);
        }
        let whole = request(|_| ());
        // What is cut off is no packet, or has its options cut off.
        for length in 0..240 {
            assert_eq!(answer(&whole[..length], gateway(), &machines), None);
        }
        assert_eq!(answer(&[0xff; PACKET], gateway(), &machines), None);
    }

    #[test]
    fn an_answer_has_the_settings_of_the_machine() {
        let answer = answer(&request(|_| ()), gateway(), &machines).unwrap();
        assert!(answer.packet.len() >= LEAST);
        let packet = DhcpPacket::new_checked(&answer.packet[..]).unwrap();
        let option = |kind| {
            let mut options = packet.options();
            options.find(|it| it.kind == kind).map(|it| it.data)
        };
        assert_eq!(option(1), Some(&[255, 255, 255, 0][..]));
        assert_eq!(option(3), Some(&[10, 9, 0, 1][..]));
        assert_eq!(option(6), Some(&[10, 9, 0, 1, 1, 1, 1, 1][..]));
        assert_eq!(option(12), Some(&b"m"[..]));
        assert_eq!(option(15), Some(&b"web"[..]));
        assert_eq!(option(51), Some(&[255; 4][..]));
        assert_eq!(option(61), Some(&b"\xffany"[..]));
    }
}
