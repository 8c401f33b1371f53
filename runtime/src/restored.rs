//! What a machine learns when it continues from memory that was saved, maybe beside others that
//! continue from the same memory: the time, something random, its name and its addresses.
//!
//! It is a text of lines, which kraft sends to the console before the machine continues; see
//! [`crate::file::terminal`]:
//!
//! ```text
//! time NANOSECONDS              since 1970-01-01 (UTC)
//! seed HEXADECIMAL              random bytes
//! host NAME
//! card NUMBER ADDRESS [SETTING] its hardware address, and what `netdev.ip` would say
//! ```

use core::str::SplitAsciiWhitespace;

use crate::{arch, net, random, syscall::system, time};

/// The option of Telnet whose subnegotiation has the text (RFC 855 leaves it open).
pub const OPTION: u8 = 200;

/// The longest text, in bytes.
pub const LONGEST: usize = 1000;

/// Makes the machine what the text says. Lines that are not known are left out.
pub fn apply(text: &[u8]) {
    // Whatever else is wrong with the text: no two machines have this.
    for _ in 0..4 {
        random::add_entropy(arch::hardware_random().unwrap_or_else(arch::monotonic));
    }
    let Ok(text) = core::str::from_utf8(text) else {
        return;
    };
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("time") => {
                if let Some(now) = words.next().and_then(|word| word.parse().ok()) {
                    time::set_wall_clock(now);
                }
            }
            Some("seed") => {
                for piece in words.next().unwrap_or_default().as_bytes().chunks(16) {
                    if let Some(value) = number(piece) {
                        random::add_entropy(value);
                    }
                }
            }
            Some("host") => {
                if let Some(name) = words.next() {
                    system::name_host(name.as_bytes());
                    net::settings::rename_host(name);
                }
            }
            Some("card") => card(words),
            _ => {}
        }
    }
}

fn card(mut words: SplitAsciiWhitespace<'_>) {
    let number = words.next().and_then(|word| word.parse().ok());
    if let (Some(number), Some(address)) = (number, words.next().and_then(hardware_address)) {
        net::settings::replace(number, address, words.next().map(str::as_bytes));
    }
}

/// Reads up to 16 hexadecimal digits.
fn number(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
}

/// Reads six pairs of hexadecimal digits between colons.
fn hardware_address(text: &str) -> Option<[u8; 6]> {
    let mut address = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut address {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_have_six_pairs() {
        let read = [2, 0xb0, 0xb0, 0, 1, 0xff];
        assert_eq!(hardware_address("02:b0:b0:00:01:ff"), Some(read));
        for wrong in [
            "",
            "02:b0:b0:00:01",
            "02:b0:b0:00:01:ff:00",
            "x:1:2:3:4:5",
            "02:b0:b0:00:01:1ff",
        ] {
            assert_eq!(hardware_address(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_time_is_set_and_nonsense_does_no_harm() {
        apply(b"time 1900000000000000000\nseed 0123456789abcdef0123\nwhat is this");
        let now = time::wall_clock();
        assert!(now >= 1_900_000_000_000_000_000, "{now}");
        for text in [
            &b"\xff"[..],
            b"",
            b"time",
            b"time x\nseed zz\ncard\ncard 9 02:b0:b0:00:01:ff 1.2.3.4/8",
        ] {
            apply(text);
        }
        assert!(time::wall_clock() >= now);
    }
}
