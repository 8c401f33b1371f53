//! What we write on a boot line is what the guest's own parser, in C, reads from it; and our
//! model of that parser agrees with it on any line whatsoever.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_long};
use std::path::PathBuf;

use kraft_core::arch::Arch;
use kraft_core::cmdline::{self, CommandLine};
use kraft_core::kernel::BootProtocol;
use kraft_core::machine::{Acceleration, MachineSpec};
use kraft_core::platform::Platform;

unsafe extern "C" {
    fn guest_report(text: *const c_char, report: *mut c_char, size: usize) -> c_long;
}

/// Asks the guest's parser; `None` if it refuses the line.
fn report(line: &str) -> Option<Vec<String>> {
    let text = CString::new(line).ok()?;
    let mut report = vec![0u8; 256 * 1024];
    // SAFETY: `text` ends with NUL and `report` has the stated size.
    let length = unsafe { guest_report(text.as_ptr(), report.as_mut_ptr().cast(), report.len()) };
    let report = report.get(..usize::try_from(length).ok()?)?;
    let lines = String::from_utf8_lossy(report);
    Some(lines.lines().map(str::to_owned).collect())
}

/// Returns the JSON strings of the report's lines that begin with `word`.
fn strings(lines: &[String], word: &str) -> Vec<String> {
    lines
        .iter()
        .filter_map(|line| line.strip_prefix(word)?.split_once('"'))
        .map(|(_, rest)| unescape(rest.strip_suffix('"').unwrap_or(rest)))
        .collect()
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('u') => {
                    let code: String = chars.by_ref().take(4).collect();
                    let code =
                        u32::from_str_radix(&code, 16).expect("the guest writes hexadecimal");
                    plain.extend(char::from_u32(code));
                }
                Some(escaped) => plain.push(escaped),
                None => {}
            },
            (c, false) => plain.push(c),
        }
    }
    plain
}

fn agree_on(line: &str) {
    // The guest rejects longer lines and more arguments; the model only gets what can arrive.
    let Some(lines) = report(line) else { return };
    let mut args: Vec<String> = strings(&lines, "arg ");
    let parsed = cmdline::parse(line);
    let program = (!args.is_empty()).then(|| args.remove(0));
    assert_eq!(parsed.program, program, "the program of {line:?}");
    assert_eq!(parsed.args, args, "the arguments of {line:?}");
}

fn round_trip(words: &[&str]) {
    let mut spec = MachineSpec {
        name: None,
        arch: Arch::Arm64,
        platform: Platform::Qemu,
        origin: "kernel://kernel".to_owned(),
        kernel: PathBuf::from("/kernel"),
        boot: BootProtocol::Arm64Image,
        guest: kraft_core::kernel::Guest::Unikraft,
        initrd: None,
        mounts_initrd: false,
        kernel_args: Vec::new(),
        args: Vec::new(),
        env: BTreeMap::new(),
        labels: BTreeMap::new(),
        memory: 64 << 20,
        cpus: 1,
        networks: Vec::new(),
        ports: Vec::new(),
        volumes: Vec::new(),
        acceleration: Acceleration::Tcg,
        remove_when_ended: false,
        lifecycle: kraft_core::lifecycle::Lifecycle::default(),
        stdin: false,
        tty: false,
    };
    for word in words {
        match word.split_once('\u{1}') {
            Some((name, value)) => drop(spec.env.insert(name.to_owned(), value.to_owned())),
            None => spec.args.push((*word).to_owned()),
        }
    }
    let Ok(line) = CommandLine::of(&spec) else {
        return;
    };
    let text = line.render();
    let lines = report(&text).expect("a line we wrote is one the guest takes");
    let args: Vec<String> = strings(&lines, "arg ").into_iter().skip(1).collect();
    assert_eq!(args, spec.args, "through {text:?}");
    let env: Vec<String> = spec.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(strings(&lines, "env "), env, "through {text:?}");
}

/// Compares our command line with the guest's parser. A text that begins with `U+0002` is a line;
/// any other is words between zero bytes, those with `U+0001` in them variables.
pub fn cmdline(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match text.strip_prefix('\u{2}') {
        Some(line) if !line.contains('\0') => agree_on(line),
        Some(_) => {}
        None => round_trip(&text.split('\0').collect::<Vec<_>>()),
    }
}
