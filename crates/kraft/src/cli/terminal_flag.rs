//! `kraft run -it`: Docker's flags for a terminal, next to KraftKit's `-t` for a target.

use std::ffi::{OsStr, OsString};

/// The flags without a value that Docker's users write in one word with `-i`.
const BUNDLED: &str = "itdW";

/// Replaces `-t` by `--tty` in the arguments of `kraft run` if `-i` or `--interactive` is one of
/// them, alone or in a word such as `-dit`. Without it, `-t` selects a target, as in KraftKit.
pub(super) fn expand(args: Vec<OsString>) -> Vec<OsString> {
    let name = super::command_of(&args).filter(|name| matches!(*name, "run" | "r"));
    let Some(run) = name.and_then(|name| args.iter().position(|arg| arg == name)) else {
        return args;
    };
    let end = args.iter().position(|arg| arg == "--");
    let end = end.unwrap_or(args.len());
    let (Some(before), Some(flags), Some(after)) =
        (args.get(..run), args.get(run..end), args.get(end..))
    else {
        return args;
    };
    if !flags.iter().any(|arg| is_interactive(arg)) {
        return args;
    }
    let flags = flags.iter().flat_map(|arg| match bundle(arg) {
        Some(letters) => letters
            .chars()
            .map(|letter| match letter {
                't' => OsString::from("--tty"),
                letter => OsString::from(format!("-{letter}")),
            })
            .collect(),
        None => vec![arg.clone()],
    });
    before
        .iter()
        .cloned()
        .chain(flags)
        .chain(after.iter().cloned())
        .collect()
}

/// Returns the letters of a word of flags without values.
fn bundle(arg: &OsStr) -> Option<&str> {
    let letters = arg.to_str()?.strip_prefix('-')?;
    let known = !letters.is_empty() && letters.chars().all(|letter| BUNDLED.contains(letter));
    known.then_some(letters)
}

fn is_interactive(arg: &OsStr) -> bool {
    arg == "--interactive" || bundle(arg).is_some_and(|letters| letters.contains('i'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_is_a_terminal_after_i_and_a_target_otherwise() {
        let expanded = |line: &str| {
            let words = line.split(' ').map(OsString::from).collect();
            let words = expand(words);
            words.join(OsStr::new(" ")).into_string().unwrap()
        };
        for (line, wanted) in [
            ("kraft run -it sh", "kraft run -i --tty sh"),
            ("kraft run -ti sh", "kraft run --tty -i sh"),
            ("kraft run -dit sh", "kraft run -d -i --tty sh"),
            ("kraft run -i -t sh", "kraft run -i --tty sh"),
            (
                "kraft r -t --interactive sh",
                "kraft r --tty --interactive sh",
            ),
            (
                "kraft --offline run -it sh",
                "kraft --offline run -i --tty sh",
            ),
            (
                "kraft --log-level error run -it sh",
                "kraft --log-level error run -i --tty sh",
            ),
            ("kraft run -t qemu/x86_64 .", "kraft run -t qemu/x86_64 ."),
            ("kraft run -t fc -- -i", "kraft run -t fc -- -i"),
            ("kraft run -i -- -t", "kraft run -i -- -t"),
            ("kraft ps -it", "kraft ps -it"),
            ("kraft logs run -t -i", "kraft logs run -t -i"),
            ("kraft", "kraft"),
        ] {
            assert_eq!(expanded(line), wanted);
        }
    }
}
