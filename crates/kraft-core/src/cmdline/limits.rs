//! Limits of the kernel command line.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{CommandLine, Dialect, FSTAB, Value, linux};
use crate::kernel::{BootProtocol, Guest};
use crate::machine::MachineSpec;
use crate::mount;
use crate::problem::Problem;

/// Number of arguments that a Unikraft kernel keeps (default of `CONFIG_LIBUKBOOT_MAXNBARGS`),
/// including program name and brackets.
pub const MAX_WORDS: usize = 60;

/// Number of bytes that it keeps (the default of `CONFIG_LIBUKBOOT_CMDLINE_MAX_LEN` is 4096).
///
/// One byte is for the terminating zero. Another is reserved because arm64's device tree counts
/// that zero, and the kernel then appends its own.
pub const MAX_BYTES: usize = 4094;

/// Returns whether QEMU would corrupt the path of a kernel or an initrd on its way to the guest.
///
/// With Multiboot, QEMU puts the kernel's path at the front of the line, where the guest splits it;
/// QEMU splits `-initrd` at commas, and cuts each name at its first blank. A driver then passes
/// another name for the file, for example a link called `kernel` in the machine's directory, with
/// that as working directory.
pub fn needs_safe_path(path: &Path, boot: BootProtocol) -> bool {
    match boot {
        BootProtocol::Multiboot => path
            .as_os_str()
            .as_bytes()
            .iter()
            .any(|&byte| byte <= b' ' || matches!(byte, b'"' | b'\'' | b'\\' | b',' | 0x7f)),
        BootProtocol::Arm64Image
        | BootProtocol::LinuxBzImage
        | BootProtocol::Linux64
        | BootProtocol::Pvh => false,
    }
}

/// Reports texts of a machine that cannot be represented as arguments of the line.
pub(super) fn check_texts(dialect: Dialect, spec: &MachineSpec) -> Vec<Problem> {
    // The built-in runtime keeps an argument of two quotes; Unikraft and Linux lose it.
    let args = (spec.args.iter().enumerate())
        .filter(|(_, arg)| !arg.is_empty() || spec.guest != Guest::Runtime)
        .filter_map(|(index, arg)| check_argument(dialect, index, arg));
    let params = spec.kernel_args.iter().filter_map(|arg| {
        check_characters(dialect, &format!("kernel parameter {}", shorten(arg)), arg)
    });
    let env = (spec.env.iter()).filter_map(|(name, value)| check_variable(dialect, name, value));
    args.chain(params).chain(env).collect()
}

fn check_argument(dialect: Dialect, index: usize, arg: &str) -> Option<Problem> {
    let number = index.saturating_add(1);
    if arg.is_empty() {
        return Some(
            Problem::error(format!(
                "argument {number} is empty, and a kernel command line cannot represent an empty argument"
            ))
            .help("pass the empty value by `--env NAME=`, or in a file of the root filesystem"),
        );
    }
    if dialect == Dialect::Linux && arg == "--" {
        return Some(
            Problem::error(format!(
                "argument {number} is `--`, and Linux drops it and everything after it"
            ))
            .help("pass the arguments in a file of the root filesystem"),
        );
    }
    check_characters(
        dialect,
        &format!("argument {number} ({})", shorten(arg)),
        arg,
    )
}

/// The value may be a secret, so only the name is shown.
fn check_variable(dialect: Dialect, name: &str, value: &str) -> Option<Problem> {
    let what = format!("environment variable `{}`", name.escape_debug());
    if dialect == Dialect::Linux && name.contains('.') {
        return Some(
            Problem::error(format!(
                "{what} has a dot in its name, and Linux does not pass such names to init"
            ))
            .help("give it a name of letters, digits and `_`"),
        );
    }
    check_characters(dialect, &what, name).or_else(|| check_characters(dialect, &what, value))
}

fn check_characters(dialect: Dialect, what: &str, text: &str) -> Option<Problem> {
    // Unikraft keeps a tab between quotes; any other control character may end the line.
    let carried = |c: char| c == '\t' && dialect == Dialect::Unikraft;
    let control = text.chars().find(|&c| c.is_control() && !carried(c));
    let reason = match control {
        Some(c) => format!(
            "a control character (U+{:04X}), which a kernel command line cannot represent",
            u32::from(c)
        ),
        None if dialect == Dialect::Linux && text.contains('"') => {
            "a double quote, which a Linux command line cannot represent".to_owned()
        }
        None => return None,
    };
    Some(
        Problem::error(format!("{what} contains {reason}"))
            .help("put it into a file of the root filesystem or of a volume instead"),
    )
}

/// Reports limits of the line as a whole: arguments, bytes and table entries.
pub(super) fn check_line(line: &CommandLine, spec: &MachineSpec) -> Vec<Problem> {
    let prepended = match spec.boot {
        BootProtocol::Multiboot => Some(spec.kernel.as_os_str()),
        BootProtocol::Arm64Image
        | BootProtocol::LinuxBzImage
        | BootProtocol::Linux64
        | BootProtocol::Pvh => None,
    };
    let mut problems: Vec<Problem> = check_bytes(line, prepended).into_iter().collect();
    match line.dialect {
        // It counts neither words nor mounts.
        Dialect::Unikraft if spec.guest == Guest::Runtime => {}
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

/// Reports arguments beyond the limit: the kernel loses them, and does not unquote the last one
/// that it keeps.
fn check_words(line: &CommandLine, program_prepended: bool) -> Option<Problem> {
    let words = line.words();
    let count = words.len() + usize::from(program_prepended);
    let last_is_quoted = (line.args.last()).is_some_and(|arg| words.last() != Some(arg));
    if count < MAX_WORDS || (count == MAX_WORDS && !last_is_quoted) {
        return None;
    }
    let (most, exactly) = if count == MAX_WORDS {
        (MAX_WORDS - 1, ", or one more if that needs no quotes")
    } else {
        (MAX_WORDS, "")
    };
    let before = count - line.args.len();
    let problem = Problem::error(format!(
        "the kernel command line would have {count} arguments, and the kernel keeps {most}{exactly} (names, brackets and `--` count)"
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
                "{count} {what} are more than the {most} that Linux passes to init"
            ))
            .help("put them into a file of the root filesystem or of a volume")
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

/// Quotes and escapes a text for a message, and shortens it.
fn shorten(text: &str) -> String {
    const MOST: usize = 40;
    let short: String = text.chars().take(MOST).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("`{}{dots}`", short.escape_debug())
}
