//! `kraft x probe -K FILE -c FILE KERNEL`: the files of KraftKit's flags, which are optional here.

use std::ffi::OsString;

/// The flags of `kraft x probe` with an optional value.
const FLAGS: [&str; 4] = ["-K", "--kraftfile", "-c", "--config"];

/// Attaches an argument to the flag before it, if another argument is left for the kernel.
pub(super) fn expand(args: Vec<OsString>) -> Vec<OsString> {
    let Some(x) = args.iter().position(|arg| arg == "x") else {
        return args;
    };
    let is_value = |arg: &OsString| !arg.as_encoded_bytes().starts_with(b"-");
    if args.get(x + 1).is_none_or(|arg| arg != "probe") {
        return args;
    }
    let mut left = args.iter().skip(x + 2).filter(|arg| is_value(arg)).count();
    let mut expanded: Vec<OsString> = Vec::with_capacity(args.len());
    for (at, arg) in args.into_iter().enumerate() {
        match expanded.last_mut() {
            Some(flag)
                if at > x + 2
                    && left > 1
                    && is_value(&arg)
                    && FLAGS.iter().any(|it| flag == it) =>
            {
                left -= 1;
                flag.push("=");
                flag.push(arg);
            }
            _ => expanded.push(arg),
        }
    }
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_gets_a_file_if_there_is_a_word_for_the_kernel_too() {
        for (line, wanted) in [
            (
                "kraft x probe -K a -c b kernel",
                "kraft x probe -K=a -c=b kernel",
            ),
            ("kraft x probe -K kernel", "kraft x probe -K kernel"),
            ("kraft x probe kernel -K", "kraft x probe kernel -K"),
            ("kraft x probe -K -c kernel", "kraft x probe -K -c kernel"),
            (
                "kraft x probe kernel --config out",
                "kraft x probe kernel --config=out",
            ),
            ("kraft ps -K a b", "kraft ps -K a b"),
        ] {
            let words = line.split(' ').map(OsString::from).collect();
            let expanded = expand(words).join(std::ffi::OsStr::new(" "));
            assert_eq!(expanded.to_str(), Some(wanted));
        }
    }
}
