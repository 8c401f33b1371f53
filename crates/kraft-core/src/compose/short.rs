//! Short forms in Compose files: amounts, ports, volumes and command lines.

use std::time::Duration;

use crate::problem::Span;

use super::model::{Mount, MountKind, Port};

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

/// The maximum number of ports that one entry publishes.
const MOST_PORTS: usize = 1000;

/// Parses `[[ADDRESS:]PUBLISHED:]TARGET[/PROTOCOL]`; both ports may be ranges of the same length, or
/// the published one a range for one port.
pub(super) fn ports(text: &str, span: Span) -> Result<Vec<Port>, &'static str> {
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (rest, target) = match numbers.rsplit_once(':') {
        Some((rest, target)) => (Some(rest), target),
        None => (None, numbers),
    };
    let (address, published) = match rest.map(|rest| rest.rsplit_once(':').ok_or(rest)) {
        None => (None, None),
        Some(Ok((address, published))) => (Some(address), Some(published)),
        Some(Err(published)) => (None, Some(published)),
    };
    let address = address.map(|address| address.trim_matches(['[', ']']));
    let published = published.filter(|published| !published.is_empty());
    pair(address, published, target, protocol, span)
}

/// Pairs a range of published ports with one of the service.
pub(super) fn pair(
    host_ip: Option<&str>,
    published: Option<&str>,
    target: &str,
    protocol: &str,
    span: Span,
) -> Result<Vec<Port>, &'static str> {
    let target = range(target)?;
    let published = published.map(range).transpose()?;
    let choices = published
        .as_ref()
        .filter(|it| it.len() > 1 && target.len() == 1);
    let published_to = choices.map(|it| *it.end());
    if let Some(published) = &published
        && published_to.is_none()
        && published.len() != target.len()
    {
        return Err("both ranges of ports must have the same length");
    }
    if target.len() > MOST_PORTS {
        return Err("a range has at most 1000 ports");
    }
    let port = |(at, target): (usize, u16)| Port {
        host_ip: host_ip.map(str::to_owned),
        published: published
            .as_ref()
            .and_then(|published| published.clone().nth(at)),
        published_to,
        target,
        protocol: protocol.to_owned(),
        span,
    };
    Ok(target.enumerate().map(port).collect())
}

/// Parses a port number, or a range of them.
fn range(text: &str) -> Result<std::ops::RangeInclusive<u16>, &'static str> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    if last < first {
        return Err("the range of ports ends before it begins");
    }
    Ok(first..=last)
}

/// Parses a port number.
fn number(text: &str) -> Result<u16, &'static str> {
    match text.parse::<u16>() {
        Ok(port @ 1..) => Ok(port),
        _ => Err("it is not a valid port: expected 1-65535"),
    }
}

/// Parses `SOURCE:TARGET[:OPTIONS]`, or `TARGET` alone.
pub(super) fn mount(text: &str, span: Span) -> Result<Mount, &'static str> {
    let mut parts = text.split(':');
    let source = parts.next().unwrap_or_default();
    let Some(target) = parts.next() else {
        if source.starts_with('/') {
            return Ok(unnamed(MountKind::Anonymous, source.to_owned(), span));
        }
        return Err("write NAME:PATH, with an absolute path");
    };
    if source.is_empty() || !target.starts_with('/') {
        return Err("write NAME:PATH, with an absolute path");
    }
    let options = parts.next().unwrap_or_default();
    Ok(Mount {
        kind: if source.starts_with(['/', '.', '~']) {
            MountKind::Bind
        } else {
            MountKind::Volume
        },
        source: source.to_owned(),
        target: target.to_owned(),
        read_only: options.split(',').any(|option| option == "ro"),
        span,
    })
}

/// Returns a mount without a source: of memory, or of an anonymous volume.
pub(super) fn unnamed(kind: MountKind, target: String, span: Span) -> Mount {
    Mount {
        kind,
        source: String::new(),
        target,
        read_only: false,
        span,
    }
}

/// Parses a duration of the Compose specification: `90s`, `1m30s`, `500ms`, or seconds.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, tail) = rest.split_at(end);
        let number: f64 = number.parse().ok()?;
        let (unit, seconds) = [
            ("us", 1e-6),
            ("ms", 1e-3),
            ("h", 3600.0),
            ("m", 60.0),
            ("s", 1.0),
        ]
        .into_iter()
        .find(|(unit, _)| tail.starts_with(unit))?;
        let more = Duration::try_from_secs_f64(number * seconds).ok()?;
        total = total.checked_add(more)?;
        rest = tail.strip_prefix(unit)?;
    }
    (!text.trim().is_empty()).then_some(total)
}

/// Removes blanks around a value of an `.env` file, and a comment behind it.
pub(super) fn uncommented(text: &str) -> &str {
    if text.starts_with('#') {
        return "";
    }
    text.split(" #").next().unwrap_or_default().trim()
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
        let read = |text| {
            let ports = ports(text, Span::default())?;
            let shown = ports.iter().map(|one| {
                let host = one.host_ip.as_deref().unwrap_or("*");
                let published = one.published.unwrap_or(0);
                format!("{host} {published} {} {}", one.target, one.protocol)
            });
            Ok::<_, &str>(shown.collect::<Vec<_>>().join(", "))
        };
        for (text, expected) in [
            ("8080", "* 0 8080 tcp"),
            ("443:8080", "* 443 8080 tcp"),
            ("127.0.0.1:443:8080/udp", "127.0.0.1 443 8080 udp"),
            ("[::1]::80", "::1 0 80 tcp"),
            ("80-81:90-91", "* 80 90 tcp, * 81 91 tcp"),
            ("8000-8001", "* 0 8000 tcp, * 0 8001 tcp"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
        let choice = &ports("8000-8009:80", Span::default()).unwrap()[0];
        assert_eq!(
            (choice.published, choice.published_to),
            (Some(8000), Some(8009))
        );
        for bad in ["", "a", "0", "1:99999", "80-70", "80-82:90-91", "1-65535"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_have_several_units() {
        for (text, millis) in [
            ("90s", 90_000),
            ("1m30s", 90_000),
            ("1h5m", 3_900_000),
            ("500ms", 500),
            ("1.5s", 1500),
            ("7", 7000),
        ] {
            assert_eq!(
                duration(text),
                Some(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for bad in ["", "s", "5x", "1s2", "-1s", "1e400s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
