//! Messages of the Language Server Protocol on a stream: headers, an empty line, and a body.
//!
//! ```text
//! Content-Length: 46\r\n
//! \r\n
//! {"jsonrpc":"2.0","method":"exit","params":{}}
//! ```

use std::io::{self, BufRead, Read};

/// The size of the longest message, in bytes.
pub(super) const LONGEST: u64 = 8 << 20;
/// The size of the headers of a message, in bytes.
const LONGEST_HEAD: u64 = 4 << 10;

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Body(Vec<u8>),
    /// It was longer than [`LONGEST`], and was skipped.
    TooLong,
    /// There are no more.
    End,
}

/// Reads a message. After an error, the beginning of the next one is unknown.
pub(super) fn read(input: &mut impl BufRead) -> io::Result<Frame> {
    let mut head = input.by_ref().take(LONGEST_HEAD);
    let mut length = None;
    loop {
        let mut line = Vec::new();
        head.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            return if line.is_empty() && length.is_none() && head.limit() == LONGEST_HEAD {
                Ok(Frame::End)
            } else if head.limit() == 0 {
                Err(invalid("the headers of a message are too long"))
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        let line = line.trim_ascii();
        if line.is_empty() {
            break;
        }
        let text = str::from_utf8(line).unwrap_or_default();
        if let Some((name, value)) = text.split_once(':')
            && name.eq_ignore_ascii_case("Content-Length")
        {
            let value = value.trim().parse::<u64>();
            length = Some(value.map_err(|_| invalid("`Content-Length` is not a number"))?);
        }
    }
    let length = length.ok_or_else(|| invalid("a message has no `Content-Length`"))?;
    let mut body = input.by_ref().take(length);
    if length > LONGEST {
        io::copy(&mut body, &mut io::sink())?;
        return Ok(Frame::TooLong);
    }
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes)?;
    if body.limit() > 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Frame::Body(bytes))
}

/// Returns a message with its headers.
pub(super) fn write(body: &str) -> String {
    format!("Content-Length: {}\r\n\r\n{body}", body.len())
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_until_one_has_no_end() {
        let text = "content-length:2\r\nContent-Type: x\r\n\r\n{}Content-Length: 0\n\n";
        let mut input = text.as_bytes();
        assert_eq!(read(&mut input).unwrap(), Frame::Body(b"{}".to_vec()));
        assert_eq!(read(&mut input).unwrap(), Frame::Body(Vec::new()));
        assert_eq!(read(&mut input).unwrap(), Frame::End);
        let long = "x".repeat(5 << 10);
        for bad in [
            "{}\r\n\r\n",
            "Content-Length: -1\r\n\r\n",
            "Content-Length: 3\r\n\r\n{}",
            "Content-Length: 3\r\n",
            "Content-Length: 99999999999999999999\r\n\r\n",
            long.as_str(),
        ] {
            assert!(read(&mut bad.as_bytes()).is_err(), "{bad:.40}");
        }
        let long = format!("Content-Length: {}\r\n\r\n", LONGEST + 1);
        let body = vec![b' '; usize::try_from(LONGEST).unwrap() + 1];
        let mut input = long.as_bytes().chain(&body[..]).chain(&b""[..]);
        assert_eq!(read(&mut input).unwrap(), Frame::TooLong);
        assert_eq!(read(&mut input).unwrap(), Frame::End);
        assert_eq!(write("{}"), "Content-Length: 2\r\n\r\n{}");
    }
}
