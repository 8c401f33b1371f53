//! Name servers that listen on the loopback of a container, relayed for its guest: queries that arrive
//! on the card between supervisor and guest go to the server as they are.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::failure::Failure;
use crate::network::SUPERVISOR;

/// The port of name servers.
const PORT: u16 = 53;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest packet over UDP, in bytes.
const LARGEST: usize = 65_535;

/// The number of queries that are relayed at the same time.
const MOST: usize = 128;

/// Begins to relay the first server that listens on the loopback; nothing without one.
pub(super) fn relay(servers: &[IpAddr]) -> Result<(), Failure> {
    let Some(server) = servers.iter().find(|server| server.is_loopback()) else {
        return Ok(());
    };
    let server = SocketAddr::new(*server, PORT);
    let own = SocketAddr::new(IpAddr::V4(SUPERVISOR), PORT);
    let failed = |e: io::Error| Failure::of("cannot relay the name server of the engine", &e);
    let packets = UdpSocket::bind(own).map_err(failed)?;
    let streams = TcpListener::bind(own).map_err(failed)?;
    let busy = std::sync::Arc::new(());
    let also = std::sync::Arc::clone(&busy);
    std::thread::spawn(move || {
        let mut packet = vec![0; LARGEST];
        while let Ok((length, client)) = packets.recv_from(&mut packet) {
            let query = packet.get(..length).unwrap_or_default().to_vec();
            let Ok(reply) = packets.try_clone() else {
                continue;
            };
            let turn = std::sync::Arc::clone(&busy);
            if std::sync::Arc::strong_count(&turn) > MOST {
                continue;
            }
            std::thread::spawn(move || {
                // Without an answer, the guest asks again.
                if let Ok(answer) = ask(server, &query) {
                    let _ = reply.send_to(&answer, client);
                }
                drop(turn);
            });
        }
    });
    std::thread::spawn(move || {
        for client in streams.incoming().flatten() {
            let turn = std::sync::Arc::clone(&also);
            if std::sync::Arc::strong_count(&turn) > MOST {
                continue;
            }
            std::thread::spawn(move || {
                let _ = join(client, server);
                drop(turn);
            });
        }
    });
    Ok(())
}

/// Asks a server over UDP, from a port of its own, so that answers do not get mixed up.
fn ask(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(server)?;
    socket.send(query)?;
    let mut answer = vec![0; LARGEST];
    let length = kraft_sys::socket::uninterrupted(|| socket.recv(&mut answer))?;
    answer.truncate(length);
    Ok(answer)
}

/// Joins a connection with one to the server.
fn join(client: TcpStream, server: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect_timeout(&server, PATIENCE)?;
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(PATIENCE))?;
    }
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    let queries = std::thread::spawn(move || io::copy(&mut from, &mut to));
    let (mut from, mut to) = (server, client);
    io::copy(&mut from, &mut to)?;
    let _ = to.shutdown(std::net::Shutdown::Both);
    let _ = queries.join();
    Ok(())
}

/// Returns a `resolv.conf` in which servers on the loopback are replaced.
pub(super) fn rewrite(text: &[u8], server: Ipv4Addr) -> String {
    let text = String::from_utf8_lossy(text);
    let mut lines = String::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let address = (words.next() == Some("nameserver"))
            .then(|| words.next()?.parse::<IpAddr>().ok())
            .flatten();
        if address.is_some_and(|address| address.is_loopback()) {
            lines.push_str("nameserver ");
            lines.push_str(&server.to_string());
        } else {
            lines.push_str(line);
        }
        lines.push('\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_on_the_loopback_are_replaced_and_others_stay() {
        let text = b"search a\nnameserver 127.0.0.11\nnameserver 1.1.1.1\noptions ndots:0";
        assert_eq!(
            rewrite(text, SUPERVISOR),
            "search a\nnameserver 169.254.1.1\nnameserver 1.1.1.1\noptions ndots:0\n"
        );
    }
}
