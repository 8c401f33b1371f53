//! HTTP proxy (RFC 9110, section 9.3.6) to published ports by their domain names, which no DNS
//! resolver knows: for `CONNECT NAME:PORT` and for `GET http://NAME/…`.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};

use crate::http::Request;
use crate::proxy;
use crate::server::Shared;

/// Returns whether a request is for the proxy.
pub(crate) fn is_for_it(request: &Request) -> bool {
    request.method == "CONNECT" || request.path.starts_with("http://")
}

/// Connects a client to the requested server and copies bytes until both sides close.
pub(crate) fn lead(shared: &Shared, request: &Request, mut client: TcpStream) {
    let Some((server, head)) = reach(shared, request) else {
        let _ = client.write_all(
            b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
        return;
    };
    // Either side may close the connection at any time.
    let _ = join(client, server, &head);
}

/// The first bytes to send, to the server or to the client.
enum Head {
    Client(&'static str),
    Server(Vec<u8>),
}

fn reach(shared: &Shared, request: &Request) -> Option<(TcpStream, Head)> {
    if request.method == "CONNECT" {
        let server = connect(shared, &request.target, 443)?;
        return Some((
            server,
            Head::Client("HTTP/1.1 200 Connection established\r\n\r\n"),
        ));
    }
    let rest = request.target.strip_prefix("http://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let server = connect(shared, host, 80)?;
    let mut head = format!(
        "{} /{path} HTTP/1.1\r\nConnection: close\r\n",
        request.method
    );
    for (name, value) in &request.headers {
        if name != "connection" && !name.starts_with("proxy-") {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str("\r\n");
    let mut head = head.into_bytes();
    head.extend_from_slice(&request.body);
    Some((server, Head::Server(head)))
}

fn connect(shared: &Shared, authority: &str, usual: u16) -> Option<TcpStream> {
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) => (name, port.parse().ok()?),
        None => (authority, usual),
    };
    TcpStream::connect(proxy::address(shared, name, port)?).ok()
}

/// Copies bytes in both directions until both sides close.
fn join(mut client: TcpStream, mut server: TcpStream, head: &Head) -> io::Result<()> {
    client.set_read_timeout(None)?;
    match head {
        Head::Client(text) => client.write_all(text.as_bytes())?,
        Head::Server(bytes) => server.write_all(bytes)?,
    }
    let (mut up_from, mut up_to) = (client.try_clone()?, server.try_clone()?);
    let up = std::thread::spawn(move || {
        let _ = io::copy(&mut up_from, &mut up_to);
        let _ = up_to.shutdown(Shutdown::Write);
    });
    let _ = io::copy(&mut server, &mut client);
    let _ = client.shutdown(Shutdown::Write);
    let _ = up.join();
    Ok(())
}
