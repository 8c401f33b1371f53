//! Where the guest's output begins on a console, behind that of the firmware.
//!
//! QEMU is started so that its firmware prints nothing. If it prints all the same (because of a
//! user's extra arguments), it begins with its name, often behind sequences that clear a screen,
//! and ends with the boot device; the guest's first byte follows without a line break:
//!
//! ```text
//! SeaBIOS (version 1.16.3)⏎ … ⏎Booting from ROM..Powered by …
//! ```

use kraft_core::arch::Arch;

use crate::driver::MAX_FIRMWARE;

/// The last text that the firmware prints.
const END: &[u8] = b"Booting from ROM..";

/// The first text that the firmware prints.
const START: &[u8] = b"SeaBIOS (version ";

/// Returns the offset at which the guest's output begins; see
/// [`Driver::guest_output`](crate::driver::Driver::guest_output).
///
/// If the firmware found nothing to boot, its output is not skipped.
pub(super) fn guest_output(arch: Arch, first: &[u8], complete: bool) -> Option<usize> {
    match arch {
        Arch::X86_64 => {}
        // QEMU's `virt` enters the kernel directly.
        Arch::Arm64 | Arch::Arm => return Some(0),
    }
    let undecided = (complete || first.len() >= MAX_FIRMWARE).then_some(0);
    let Some(start) = skip_screen_control(first) else {
        return undecided;
    };
    let text = first.get(start..).unwrap_or_default();
    let known = text.len().min(START.len());
    if text.get(..known) != START.get(..known) {
        // No firmware: everything counts except zeros, which a serial line may begin with.
        return Some(first.iter().take_while(|&&byte| byte == 0).count());
    }
    find(first, END).map(|at| at + END.len()).or(undecided)
}

/// Returns the number of bytes that only move the cursor, clear the screen or are zero; `None` if
/// the bytes end within such a sequence.
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

    fn shown(arch: Arch, text: &str) -> &str {
        let start = guest_output(arch, text.as_bytes(), true).unwrap();
        text.get(start..).unwrap()
    }

    #[test]
    fn the_first_line_of_the_kernel_directly_behind_the_firmware_is_kept() {
        let text = format!("{CHATTER}Powered by\r\nhello");
        assert_eq!(shown(Arch::X86_64, &text), "Powered by\r\nhello");
    }

    #[test]
    fn without_a_firmware_every_byte_is_kept() {
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
            assert_eq!(shown(Arch::X86_64, text), text);
        }
    }

    #[test]
    fn leading_zeros_are_dropped_and_others_kept() {
        assert_eq!(shown(Arch::X86_64, "\0\0a\0b"), "a\0b");
    }

    #[test]
    fn a_firmware_that_boots_nothing_is_shown() {
        let text = "SeaBIOS (version 1)\r\nNo bootable device.\r\n";
        assert_eq!(shown(Arch::X86_64, text), text);
    }

    #[test]
    fn the_start_is_decided_after_a_limited_number_of_bytes() {
        for beginning in ["SeaBIOS (version ", "\0", "\u{1b}[", "\0\n"] {
            let mut console = beginning.as_bytes().to_vec();
            let filler = *console.last().unwrap();
            assert_eq!(guest_output(Arch::X86_64, &console, false), None);
            console.resize(MAX_FIRMWARE, filler);
            assert!(guest_output(Arch::X86_64, &console, false).is_some());
        }
    }

    #[test]
    fn on_arm_nothing_is_cut() {
        let text = format!("{CHATTER}x");
        assert_eq!(shown(Arch::Arm64, &text), text);
    }

    proptest! {
        #[test]
        fn a_decision_on_the_first_bytes_is_that_on_all(
            firmware in any::<bool>(),
            kernel in "[a-zB\\n\u{0}\u{1b}]{0,40}",
            cut in 0usize..200,
        ) {
            let text = if firmware { format!("{CHATTER}{kernel}") } else { kernel };
            let text = text.as_bytes();
            let first = &text[..cut.min(text.len())];
            if let Some(early) = guest_output(Arch::X86_64, first, false) {
                // Zeros that follow zeros are the only thing that later bytes can add.
                let whole = guest_output(Arch::X86_64, text, true).unwrap();
                prop_assert_eq!(early, whole);
            }
        }
    }
}
