//! The API's socket: HTTP/1.1, as far as Firecracker has it.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Sender, channel};

use crate::options::Fault;
use crate::vmm::Message;

/// The maximal size of a request in bytes.
const MAX_REQUEST: usize = 51_200 + 4096;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 204, without a body.
    Done,
    /// 200, with a body of JSON.
    Value(String),
    /// 400, with a reason.
    Fault(String),
}

/// Serves the socket until the process ends.
pub(crate) fn serve(listener: UnixListener, faults: Vec<Fault>, to: Sender<Message>) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (faults, to) = (faults.clone(), to.clone());
            std::thread::spawn(move || {
                // A client may close the connection at any time.
                let _ = converse(stream, &faults, &to);
            });
        }
    });
}

fn converse(mut stream: UnixStream, faults: &[Fault], to: &Sender<Message>) -> std::io::Result<()> {
    let mut received = Vec::new();
    loop {
        let request = match parse(&received) {
            Ok(Some((request, length))) => {
                received.drain(..length);
                request
            }
            Ok(None) if received.len() < MAX_REQUEST => {
                let mut chunk = [0; 4096];
                let read = stream.read(&mut chunk)?;
                if read == 0 {
                    return Ok(());
                }
                received.extend(chunk.iter().take(read));
                continue;
            }
            Ok(None) => return send(&mut stream, &Answer::Fault("Request too long.".to_owned())),
            Err(why) => return send(&mut stream, &Answer::Fault(why)),
        };
        for fault in faults {
            match fault {
                Fault::Hang(path) if *path == request.path => loop {
                    std::thread::park();
                },
                Fault::Exit(path) if *path == request.path => std::process::exit(1),
                Fault::Garbage(path) if *path == request.path => {
                    return stream.write_all(b"\x16\x03\x01 what?\r\n\r\n");
                }
                _ => {}
            }
        }
        let refused = |fault: &Fault| matches!(fault, Fault::Refuse(path) if *path == request.path);
        let answer = if faults.iter().any(refused) {
            Answer::Fault("Refused by a test.".to_owned())
        } else {
            let (reply, answer) = channel();
            if to.send(Message::Request(request, reply)).is_err() {
                return Ok(());
            }
            match answer.recv() {
                Ok(answer) => answer,
                Err(_) => return Ok(()),
            }
        };
        send(&mut stream, &answer)?;
    }
}

/// Parses a request; also returns its length. `None` if it is incomplete.
fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(bytes).map_err(|error| error.to_string())?;
    let httparse::Status::Complete(head) = parsed else {
        return Ok(None);
    };
    let length = request
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .map_or(Ok(0), |header| {
            let text = std::str::from_utf8(header.value).unwrap_or_default();
            text.parse::<usize>().map_err(|error| error.to_string())
        })?;
    if length > MAX_REQUEST {
        return Err("Request payload with size is larger than the limit.".to_owned());
    }
    let Some(body) = bytes.get(head..head.saturating_add(length)) else {
        return Ok(None);
    };
    let request = Request {
        method: request.method.unwrap_or_default().to_owned(),
        path: request.path.unwrap_or_default().to_owned(),
        body: body.to_vec(),
    };
    Ok(Some((request, head + length)))
}

fn send(stream: &mut UnixStream, answer: &Answer) -> std::io::Result<()> {
    let (status, body) = match answer {
        Answer::Done => ("204", String::new()),
        Answer::Value(body) => ("200", body.clone()),
        Answer::Fault(why) => {
            let body = serde_json::json!({ "fault_message": why });
            ("400", body.to_string())
        }
    };
    let mut head =
        format!("HTTP/1.1 {status} \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n");
    if !body.is_empty() {
        let more = format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        );
        head.push_str(&more);
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_in_pieces_and_one_after_the_other() {
        let text = b"PUT /a HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}GET / HTTP/1.1\r\n\r\n";
        for cut in 0..40 {
            assert!(matches!(parse(&text[..cut]), Ok(None)), "{cut}");
        }
        let Ok(Some((request, length))) = parse(text) else {
            unreachable!("a whole request");
        };
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("PUT", "/a")
        );
        assert_eq!(request.body, b"{}");
        assert!(matches!(parse(&text[length..]), Ok(Some((_, 18)))));
        assert!(parse(b"hello\r\n\r\n").is_err());
    }
}
