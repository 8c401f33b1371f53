//! What a boot line cannot carry, and why.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{CommandLine, Dialect, FSTAB, Value, linux};
use crate::kernel::BootProtocol;
use crate::machine::MachineSpec;
use crate::mount;
use crate::problem::Problem;

/// How many words a Unikraft kernel keeps (`CONFIG_LIBUKBOOT_MAXNBARGS`, as delivered), program and brackets included.
pub const MAX_WORDS: usize = 60;

/// How many bytes it keeps (`CONFIG_LIBUKBOOT_CMDLINE_MAX_LEN`, as delivered, less the zero at the end).
pub const MAX_BYTES: usize = 4095;

/// Tells whether QEMU would garble this path, of a kernel or of an initrd, on the way to the guest.
///
/// With Multiboot, QEMU puts the kernel's path in front of the line, where the guest splits it like the rest; of
/// `-initrd` it makes a list at commas, and cuts each name at its first blank. A driver then gives QEMU another name
/// for the file: a link called `kernel` in the machine's own directory, say, with that as working directory.
pub fn needs_safe_path(path: &Path, boot: BootProtocol) -> bool {
    match boot {
        BootProtocol::Multiboot => path
            .as_os_str()
            .as_bytes()
            .iter()
            .any(|&byte| byte <= b' ' || matches!(byte, b'"' | b'\'' | b'\\' | b',' | 0x7f)),
        BootProtocol::Arm64Image | BootProtocol::LinuxBzImage | BootProtocol::Linux64 => false,
    }
}

/// Finds the texts of a machine that cannot become words of the line.
pub(super) fn check_texts(dialect: Dialect, spec: &MachineSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, arg) in spec.args.iter().enumerate() {
        problems.extend(check_argument(dialect, index, arg));
    }
    for arg in &spec.kernel_args {
        problems.extend(check_characters(dialect, "kernel parameter", arg));
    }
    for (name, value) in &spec.env {
        let text = format!("{name}={value}");
        problems.extend(check_characters(dialect, "environment variable", &text));
        if dialect == Dialect::Linux && name.contains('.') {
            problems.push(Problem::error(format!(
                "environment variable `{name}` has a dot in its name, and Linux drops such names from its command line"
            )));
        }
    }
    problems
}

fn check_argument(dialect: Dialect, index: usize, arg: &str) -> Option<Problem> {
    let number = index.saturating_add(1);
    if arg.is_empty() {
        return Some(
            Problem::error(format!(
                "argument {number} is empty, and a kernel command line cannot carry an empty word"
            ))
            .help("pass the empty value by `--env NAME=`, or in a file of the root filesystem"),
        );
    }
    if dialect == Dialect::Linux && arg == "--" {
        return Some(Problem::error(format!(
            "argument {number} is `--`, and Linux drops it and everything after it"
        )));
    }
    check_characters(dialect, &format!("argument {number}"), arg)
}

fn check_characters(dialect: Dialect, what: &str, text: &str) -> Option<Problem> {
    let refused = |reason: &str| {
        let shown = shorten(text);
        Problem::error(format!("{what} ({shown}) contains {reason}"))
            .help("put it into a file of the root filesystem or of a volume instead")
    };
    if let Some(c) = text.chars().find(|c| c.is_control()) {
        let code = u32::from(c);
        return Some(refused(&format!(
            "a control character (U+{code:04X}), which a kernel command line cannot carry"
        )));
    }
    if dialect == Dialect::Linux && text.contains('"') {
        return Some(refused(
            "a double quote, which a Linux command line cannot carry",
        ));
    }
    None
}

/// Finds what is wrong with a line as a whole: its limits of words, bytes and table entries.
pub(super) fn check_line(line: &CommandLine, spec: &MachineSpec) -> Vec<Problem> {
    let prepended = match spec.boot {
        BootProtocol::Multiboot => Some(spec.kernel.as_os_str()),
        BootProtocol::Arm64Image | BootProtocol::LinuxBzImage | BootProtocol::Linux64 => None,
    };
    let mut problems: Vec<Problem> = check_bytes(line, prepended).into_iter().collect();
    match line.dialect {
        Dialect::Unikraft => {
            problems.extend(check_words(line, prepended.is_some()));
            problems.extend(check_mounts(line));
        }
        Dialect::Linux => problems.extend(check_init(line, spec)),
    }
    problems
}

fn check_bytes(line: &CommandLine, prepended: Option<&OsStr>) -> Option<Problem> {
    let most = match line.dialect {
        Dialect::Unikraft => MAX_BYTES,
        Dialect::Linux => linux::MAX_BYTES,
    };
    let path = prepended.map_or(0, |path| path.len() + 1);
    let length = line.render().len() + path;
    if length <= most {
        return None;
    }
    let problem = Problem::error(format!(
        "the kernel command line would be {length} bytes long, and the kernel takes {most}"
    ));
    let longest = line
        .args
        .iter()
        .enumerate()
        .max_by_key(|(_, arg)| arg.len());
    let problem = match longest {
        Some((index, arg)) if arg.len() > 64 => problem.help(format!(
            "argument {} ({}) has {} of them",
            index + 1,
            shorten(arg),
            arg.len()
        )),
        _ => problem,
    };
    Some(problem.help("put long values into a file of the root filesystem or of a volume"))
}

/// A word more than the kernel keeps is lost, and the last one that it keeps is not freed of its quotes.
fn check_words(line: &CommandLine, program_prepended: bool) -> Option<Problem> {
    let words = line.words();
    let count = words.len() + usize::from(program_prepended);
    let last_is_quoted = (line.args.last()).is_some_and(|arg| words.last() != Some(arg));
    if count < MAX_WORDS || (count == MAX_WORDS && !last_is_quoted) {
        return None;
    }
    let most = MAX_WORDS - usize::from(count == MAX_WORDS);
    let before = count - line.args.len();
    let problem = Problem::error(format!(
        "the kernel command line would have {count} words, and the kernel keeps {most} (names, brackets and `--` count)"
    ));
    let lost = most.saturating_sub(before);
    let problem = match line.args.get(lost) {
        Some(arg) => problem.help(format!(
            "argument {} ({}) is the first that would be lost",
            lost + 1,
            shorten(arg)
        )),
        None => problem,
    };
    Some(problem.help("put the arguments into a file of the root filesystem or of a volume"))
}

fn check_mounts(line: &CommandLine) -> Option<Problem> {
    let entries: usize = (line.params.iter())
        .filter(|param| param.name == FSTAB)
        .map(|param| match &param.value {
            Value::List(values) => values.len(),
            Value::Bare | Value::One(_) => 1,
        })
        .sum();
    (entries > mount::FSTAB_LIMIT).then(|| {
        let most = mount::FSTAB_LIMIT;
        Problem::error(format!(
            "the machine would mount {entries} file systems, and the kernel's table holds {most}"
        ))
        .help("mount a common parent directory instead of several volumes")
    })
}

fn check_init(line: &CommandLine, spec: &MachineSpec) -> Vec<Problem> {
    let too_many = |count: usize, most: usize, what: &str| {
        (count > most).then(|| {
            Problem::error(format!(
                "{count} {what} are more than Linux passes to init, which is {most}"
            ))
        })
    };
    let args = too_many(line.args.len(), linux::MAX_ARGS, "arguments");
    let variables = too_many(
        spec.env.len(),
        linux::MAX_VARIABLES,
        "environment variables",
    );
    args.into_iter().chain(variables).collect()
}

/// Shows a text in a message: quoted, escaped, and not longer than a message bears.
fn shorten(text: &str) -> String {
    const MOST: usize = 40;
    let short: String = text.chars().take(MOST).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("`{}{dots}`", short.escape_debug())
}
