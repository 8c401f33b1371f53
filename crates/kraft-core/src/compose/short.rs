//! Short forms in Compose files: amounts, ports, volumes and command lines.

use crate::problem::Span;

use super::model::{Mount, Port};

/// Parses an amount of bytes by the rules of Compose: `64m`, `1.5gb`, `1024`; `k`, `m`, `g` and `t`
/// are powers of 1024.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" | "ki" => 10,
        "m" | "mb" | "mib" | "mi" => 20,
        "g" | "gb" | "gib" | "gi" => 30,
        "t" | "tb" | "tib" | "ti" => 40,
        _ => return None,
    };
    match number.split_once('.') {
        None => number.parse::<u64>().ok()?.checked_mul(1 << shift),
        Some((whole, part)) if part.len() <= 6 => {
            let scale = 10_u64.pow(u32::try_from(part.len()).ok()?);
            let part: u64 = if part.is_empty() {
                0
            } else {
                part.parse().ok()?
            };
            let whole: u64 = whole.parse().ok()?;
            let all = u128::from(whole) * u128::from(scale) + u128::from(part);
            u64::try_from((all << shift) / u128::from(scale)).ok()
        }
        Some(_) => None,
    }
}

/// Parses `[[ADDRESS:]PUBLISHED:]TARGET[/PROTOCOL]`.
pub(super) fn port(text: &str, span: Span) -> Result<Port, &'static str> {
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let mut parts = numbers.rsplit(':');
    let target = number(parts.next().unwrap_or_default())?;
    let published = match parts.next() {
        None | Some("") => None,
        Some(published) => Some(number(published)?),
    };
    Ok(Port {
        published,
        target,
        protocol: protocol.to_owned(),
        span,
    })
}

/// Parses a port number.
pub(super) fn number(text: &str) -> Result<u16, &'static str> {
    match text.parse::<u16>() {
        Ok(port @ 1..) => Ok(port),
        _ if text.contains('-') => Err("ranges of ports are not published: name each"),
        _ => Err("it is not a valid port: expected 1-65535"),
    }
}

/// Parses `SOURCE:TARGET[:OPTIONS]`.
pub(super) fn mount(text: &str, span: Span) -> Result<Mount, &'static str> {
    let mut parts = text.split(':');
    let source = parts.next().unwrap_or_default();
    let target = parts
        .next()
        .ok_or("a volume without a name is not kept: name it")?;
    if source.is_empty() || !target.starts_with('/') {
        return Err("write NAME:PATH, with an absolute path");
    }
    let options = parts.next().unwrap_or_default();
    Ok(Mount {
        source: source.to_owned(),
        target: target.to_owned(),
        read_only: options.split(',').any(|option| option == "ro"),
        span,
    })
}

/// Removes quotes, or a trailing comment, from a value of an `.env` file.
pub(super) fn unquoted(text: &str) -> String {
    for quote in ['\'', '"'] {
        let inner = text
            .strip_prefix(quote)
            .and_then(|rest| rest.split_once(quote));
        if let Some((inner, _)) = inner {
            return inner.to_owned();
        }
    }
    text.split(" #")
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_count_in_powers_of_1024() {
        assert_eq!(bytes("1024"), Some(1024));
        assert_eq!(bytes("64m"), Some(64 << 20));
        assert_eq!(bytes("64MiB"), Some(64 << 20));
        assert_eq!(bytes("1.5g"), Some(1536 << 20));
        for bad in ["", "m", "1x", "-1m", "1.2.3", "99999999999t"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn ports_are_read_from_right_to_left() {
        let read = |text| port(text, Span::default()).map(|one| (one.published, one.target));
        assert_eq!(read("8080"), Ok((None, 8080)));
        assert_eq!(read("443:8080"), Ok((Some(443), 8080)));
        assert_eq!(read("127.0.0.1:443:8080/tcp"), Ok((Some(443), 8080)));
        assert_eq!(read("[::1]::80"), Ok((None, 80)));
        for bad in ["", "a", "80-90", "0", "1:99999"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
