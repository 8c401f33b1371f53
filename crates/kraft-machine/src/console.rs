//! The machine's console: what the firmware says before the kernel does is cut away.
//!
//! Our own VMM lines let the firmware say nothing. Where it talks all the same (a user's extra
//! flags, another VMM), it begins with its name, often behind sequences that clear a screen, and
//! ends with where it boots from; the kernel's first letter follows without a line break:
//!
//! ```text
//! SeaBIOS (version 1.16.3)⏎ … ⏎Booting from ROM..Powered by …
//! ```

use kraft_core::arch::Arch;

/// The firmware's last words.
const LAST_WORDS: &[u8] = b"Booting from ROM..";

/// How the firmware introduces itself.
const NAME: &[u8] = b"SeaBIOS (version ";

/// The most a firmware says, in bytes. Whoever says more without a last word is no firmware.
const MOST_CHATTER: usize = 64 << 10;

/// Takes a console's bytes in pieces and gives them back without the firmware's.
#[derive(Debug, Clone)]
pub struct Cutter {
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// These bytes may still turn out to be the firmware's.
    Undecided(Vec<u8>),
    /// Nothing is cut any more.
    Kernel,
}

impl Cutter {
    /// Begins at the start of a console.
    pub fn new(arch: Arch) -> Self {
        Self {
            state: match arch {
                Arch::X86_64 => State::Undecided(Vec::new()),
                // QEMU's `virt` enters the kernel directly.
                Arch::Arm64 | Arch::Arm => State::Kernel,
            },
        }
    }

    /// Takes the next bytes and returns those that are known to be the kernel's.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let State::Undecided(held) = &mut self.state else {
            return bytes.to_vec();
        };
        held.extend_from_slice(bytes);
        match kernel_part(held) {
            Some(start) => {
                let kernel = held.split_off(start);
                self.state = State::Kernel;
                kernel
            }
            None => Vec::new(),
        }
    }

    /// Says that nothing will follow, and returns what was held back: a firmware that found
    /// nothing to boot is worth hearing.
    pub fn finish(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.state, State::Kernel) {
            State::Undecided(held) => held,
            State::Kernel => Vec::new(),
        }
    }
}

/// Returns where the kernel's bytes begin; `None` while that cannot be told.
fn kernel_part(held: &[u8]) -> Option<usize> {
    let start = skip_screen_control(held)?;
    let text = held.get(start..).unwrap_or_default();
    let known = text.len().min(NAME.len());
    if text.get(..known) != NAME.get(..known) {
        // No firmware: everything counts, but for the zeros a serial line may begin with.
        return Some(held.iter().take_while(|&&byte| byte == 0).count());
    }
    if let Some(at) = find(held, LAST_WORDS) {
        return Some(at + LAST_WORDS.len());
    }
    (held.len() > MOST_CHATTER).then_some(0)
}

/// Returns how many bytes only move the cursor, clear the screen or are zero; `None` if the bytes
/// end in the middle of that.
fn skip_screen_control(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            0 => at += 1,
            b'\r' | b'\n' if at > 0 => at += 1,
            0x1b => match bytes.get(at + 1)? {
                b'[' => {
                    let parameters = bytes.get(at + 2..)?;
                    let length = parameters
                        .iter()
                        .position(|byte| (0x40..=0x7e).contains(byte))?;
                    at += 2 + length + 1;
                }
                _ => at += 2,
            },
            _ => return Some(at),
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHATTER: &str = "\u{1b}c\u{1b}[?7l\u{1b}[2J\u{1b}[0mSeaBIOS (version 1.16.3-debian)\r\n\
        \n\n\rBooting from ROM..";

    fn cut(arch: Arch, pieces: &[&[u8]]) -> String {
        let mut cutter = Cutter::new(arch);
        let mut out = Vec::new();
        for piece in pieces {
            out.extend(cutter.feed(piece));
        }
        out.extend(cutter.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_kernels_first_line_glued_to_the_firmwares_last_word_is_kept() {
        let text = format!("{CHATTER}Powered by\r\nhello");
        assert_eq!(cut(Arch::X86_64, &[text.as_bytes()]), "Powered by\r\nhello");
    }

    #[test]
    fn without_a_firmware_every_byte_is_the_kernels() {
        for text in [
            "hello\n",
            "",
            "S",
            "SeaBIOS is not my name",
            "\nBooting from ROM..\n",
            "\u{1b}[31mred\u{1b}[0m",
            "\u{1b}[31",
            "no newline at the end",
        ] {
            assert_eq!(cut(Arch::X86_64, &[text.as_bytes()]), text);
        }
    }

    #[test]
    fn leading_zeros_are_dropped_and_others_kept() {
        assert_eq!(cut(Arch::X86_64, &[b"\0\0a\0b"]), "a\0b");
    }

    #[test]
    fn a_firmware_that_boots_nothing_is_heard() {
        let text = "SeaBIOS (version 1)\r\nNo bootable device.\r\n";
        assert_eq!(cut(Arch::X86_64, &[text.as_bytes()]), text);
    }

    #[test]
    fn a_kernel_that_says_the_firmwares_name_is_not_held_for_ever() {
        let mut cutter = Cutter::new(Arch::X86_64);
        assert!(cutter.feed(NAME).is_empty());
        let more = vec![b'x'; MOST_CHATTER];
        assert_eq!(cutter.feed(&more).len(), NAME.len() + more.len());
    }

    #[test]
    fn on_arm_nothing_is_cut() {
        let text = format!("{CHATTER}x");
        assert_eq!(cut(Arch::Arm64, &[text.as_bytes()]), text);
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_split_makes_no_difference(
            firmware in any::<bool>(),
            kernel in "[a-zB\\n\u{0}\u{1b}]{0,40}",
            cuts in proptest::collection::vec(0usize..200, 0..6),
        ) {
            let text = if firmware { format!("{CHATTER}{kernel}") } else { kernel };
            let whole = cut(Arch::X86_64, &[text.as_bytes()]);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> =
                cuts.windows(2).map(|w| &text.as_bytes()[w[0]..w[1]]).collect();
            prop_assert_eq!(cut(Arch::X86_64, &pieces), whole);
        }
    }
}
