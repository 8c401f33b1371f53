//! The command line, in Unikraft's grammar:
//! `kernel env.vars=[ "K=V" ] netdev.ip=10.0.2.15/24:10.0.2.2 -- /program argument`.

use alloc::vec::Vec;

/// What the command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Variables of the program's environment, `NAME=VALUE`.
    pub environment: Vec<Vec<u8>>,
    /// Mounts, `source:path:kind[:flags[:options[:more]]]`.
    pub mounts: Vec<Vec<u8>>,
    /// Addresses of the network devices, `address/bits[:gateway[:dns[:dns[:host[:domain]]]]]`.
    pub addresses: Vec<Vec<u8>>,
    /// The directory that the program starts in (`kraft.workdir`).
    pub directory: Option<Vec<u8>>,
    /// The program and its arguments.
    pub arguments: Vec<Vec<u8>>,
    /// Whether each system call is printed (`kraft.trace`).
    pub trace: bool,
}

/// Splits a line into words: blanks separate, quotes group and vanish, a backslash takes the
/// next byte as it is, except between single quotes.
fn words(line: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (Some(open), _) if byte == open => quote = None,
            (None, b'"' | b'\'') => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (None, b' ' | b'\t' | b'\n' | b'\r') => words.extend(word.take()),
            (None | Some(b'"'), b'\\') => {
                let next = bytes.next().unwrap_or(b'\\');
                word.get_or_insert_default().push(next);
            }
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words
}

/// Reads a command line. Parameters that no one knows are left out.
pub fn parse(line: &[u8]) -> Settings {
    let mut settings = Settings::default();
    let mut words = words(line);
    match words.iter().position(|word| word == b"--") {
        Some(end) => settings.arguments = words.split_off(end).into_iter().skip(1).collect(),
        None => {
            // Without parameters everything after the kernel's own name is the program's.
            settings.arguments = words.split_off(1.min(words.len()));
        }
    }
    // QEMU's microvm adds its devices at the end of the line.
    while let Some([.., last]) = settings.arguments.get(..)
        && let Some(device) = last.strip_prefix(b"virtio_mmio.device=")
        && parse_mmio_device(device).is_some()
    {
        settings.arguments.pop();
    }
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let Some(equals) = word.iter().position(|&byte| byte == b'=') else {
            settings.trace |= word == b"kraft.trace";
            continue;
        };
        let (name, value) = (&word[..equals], &word[equals + 1..]);
        let list = match name {
            b"env.vars" => &mut settings.environment,
            b"vfs.fstab" => &mut settings.mounts,
            b"netdev.ip" => &mut settings.addresses,
            b"kraft.workdir" => {
                settings.directory = Some(value.to_vec());
                continue;
            }
            _ => continue,
        };
        let Some(first) = value.strip_prefix(b"[") else {
            list.push(value.to_vec());
            continue;
        };
        let mut item = first.to_vec();
        loop {
            let ends = item.last() == Some(&b']');
            if ends {
                item.pop();
            }
            if !item.is_empty() {
                list.push(item);
            }
            if ends {
                break;
            }
            let Some(next) = words.next() else { break };
            item = next;
        }
    }
    settings
}

/// Reads `SIZE@ADDRESS:LINE` of `virtio_mmio.device`: address and interrupt line.
pub fn parse_mmio_device(value: &[u8]) -> Option<(usize, u32)> {
    let text = core::str::from_utf8(value).ok()?;
    let (_, rest) = text.split_once('@')?;
    let mut parts = rest.split(':');
    let (address, line) = (parts.next()?, parts.next()?);
    let address = match address.strip_prefix("0x") {
        Some(digits) => usize::from_str_radix(digits, 16).ok()?,
        None => address.parse().ok()?,
    };
    Some((address, line.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(words: &[Vec<u8>]) -> Vec<&str> {
        words
            .iter()
            .map(|word| core::str::from_utf8(word).unwrap())
            .collect()
    }

    #[test]
    fn parameters_come_before_the_program() {
        let settings = parse(
            br#"kernel vfs.fstab=[ "fs1:/data:9pfs:::mkmp" ] env.vars=[ "A=1" "B=x y" ] netdev.ip=10.0.2.15/24:10.0.2.2 other.thing=1 -- /bin/sh -c "echo \"a b\"""#,
        );
        assert_eq!(text(&settings.environment), ["A=1", "B=x y"]);
        assert_eq!(text(&settings.mounts), ["fs1:/data:9pfs:::mkmp"]);
        assert_eq!(text(&settings.addresses), ["10.0.2.15/24:10.0.2.2"]);
        assert_eq!(text(&settings.arguments), ["/bin/sh", "-c", "echo \"a b\""]);
    }

    #[test]
    fn the_program_may_start_in_a_directory() {
        let settings = parse(br#"kernel "kraft.workdir=/my app" kraft.trace -- ./server"#);
        assert_eq!(settings.directory.as_deref(), Some(&b"/my app"[..]));
        assert!(settings.trace);
        assert_eq!(text(&settings.arguments), ["./server"]);
        assert_eq!(parse(b"kernel -- kraft.workdir=/x").directory, None);
    }

    #[test]
    fn lists_may_be_written_without_blanks() {
        let settings = parse(br#"kernel env.vars=["A=1" B=2] -- x"#);
        assert_eq!(text(&settings.environment), ["A=1", "B=2"]);
        assert_eq!(text(&settings.arguments), ["x"]);
    }

    #[test]
    fn without_parameters_everything_is_the_programs() {
        assert_eq!(
            text(&parse(b"kernel /prog a 'b c' d\\ e").arguments),
            ["/prog", "a", "b c", "d e"]
        );
        assert_eq!(
            text(&parse(b"kernel -- /p \"\" ''").arguments),
            ["/p", "", ""]
        );
        assert!(parse(b"").arguments.is_empty());
        assert!(parse(b"kernel env.vars=[ A=1").arguments.len() == 2);
    }

    #[test]
    fn devices_at_the_end_are_not_arguments() {
        let settings = parse(b"kernel -- cat x virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=512@0xfeb00c00:11");
        assert_eq!(text(&settings.arguments), ["cat", "x"]);
    }

    #[test]
    fn mmio_devices_have_an_address_and_a_line() {
        assert_eq!(
            parse_mmio_device(b"4K@0xd0000000:5"),
            Some((0xd000_0000, 5))
        );
        assert_eq!(
            parse_mmio_device(b"512@0xfeb00e00:12:0"),
            Some((0xfeb0_0e00, 12))
        );
        assert_eq!(parse_mmio_device(b"nonsense"), None);
    }
}
