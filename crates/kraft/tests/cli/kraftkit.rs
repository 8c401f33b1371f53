//! The commands, aliases and flags of KraftKit, and the command lines written about it: all are
//! accepted.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Arg, Command};

use crate::support::Home;

/// Names that mean something else here, on purpose.
const OTHERWISE: &[&str] = &[
    // KraftKit's own `list` is unreachable behind this alias.
    "net inspect: alias list",
    // It comes after `ls`, which has this alias, too.
    "cloud compose log: alias l",
    // As in Docker's Compose.
    "compose logs: -f",
];

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

/// A flag in `commands.txt`: `!-o/--output=`.
struct Flag<'a> {
    long: &'a str,
    short: Option<char>,
    has_value: bool,
    is_local: bool,
}

impl<'a> Flag<'a> {
    fn parse(text: &'a str) -> Self {
        let (text, is_local) = match text.strip_prefix('!') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let (text, has_value) = match text.strip_suffix('=') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let (short, long) = match text.split_once('/') {
            Some((short, long)) => (short.chars().nth(1), long),
            None => (None, text),
        };
        Self {
            long: long.strip_prefix("--").unwrap(),
            short,
            has_value,
            is_local,
        }
    }
}

/// Returns the argument of a flag, looked up in a built command, which has those of commands above.
fn find<'c>(command: &'c Command, flag: &Flag<'_>) -> Option<&'c Arg> {
    command.get_arguments().find(|arg| {
        let mut names = arg.get_long_and_visible_aliases().unwrap_or_default();
        names.extend(arg.get_all_aliases().unwrap_or_default());
        names.contains(&flag.long)
    })
}

/// Returns whether an argument can be used without a value.
fn is_optional(arg: &Arg) -> bool {
    arg.get_num_args()
        .is_some_and(|range| range.min_values() == 0)
}

#[test]
fn every_command_alias_and_flag_of_kraftkit_is_accepted() {
    let counted = accepted(include_str!("kraftkit/commands.txt"));
    // Of the root and 109 commands; flags of commands above are counted at each.
    assert_eq!((counted.commands, counted.aliases), (110, 129));
    assert!(counted.flags > 2500, "{}", counted.flags);
}

#[test]
fn what_other_versions_of_kraftkit_have_is_accepted() {
    let counted = accepted(include_str!("kraftkit/other-versions.txt"));
    assert!(counted.flags > 40, "{}", counted.flags);
}

/// What a table has.
#[derive(Default)]
struct Counted {
    commands: usize,
    flags: usize,
    aliases: usize,
}

/// Fails unless everything in a table is accepted.
fn accepted(text: &str) -> Counted {
    let mut root = kraft::command();
    root.build();
    let mut table: Vec<(&str, Vec<Flag<'_>>)> = Vec::new();
    let mut missing = Vec::new();
    let mut counted = Counted::default();
    'lines: for line in lines(text) {
        let mut parts = line.split('|');
        let (path, names) = (parts.next().unwrap(), parts.next().unwrap());
        let own: Vec<Flag<'_>> = parts
            .next()
            .unwrap()
            .split(' ')
            .filter(|flag| !flag.is_empty())
            .map(Flag::parse)
            .collect();
        let mut command = &root;
        let mut above = &root;
        for word in path.split(' ').filter(|word| !word.is_empty()) {
            above = command;
            let Some(below) = command.find_subcommand(word) else {
                missing.push(format!("{path}: command"));
                continue 'lines;
            };
            command = below;
        }
        counted.commands += 1;
        for alias in names.split(',').filter(|alias| !alias.is_empty()) {
            counted.aliases += 1;
            if above.find_subcommand(alias).map(Command::get_name) != Some(command.get_name()) {
                missing.push(format!("{path}: alias {alias}"));
            }
        }
        let inherited = table.iter().filter(|(parent, _)| {
            path != *parent && (parent.is_empty() || path.starts_with(&format!("{parent} ")))
        });
        let inherited = inherited
            .flat_map(|(_, flags)| flags)
            .filter(|flag| !flag.is_local);
        for flag in own.iter().chain(inherited) {
            counted.flags += 1;
            let Some(arg) = find(command, flag) else {
                missing.push(format!("{path}: --{}", flag.long));
                continue;
            };
            let takes = arg.get_action().takes_values();
            if takes != flag.has_value && (flag.has_value || !is_optional(arg)) {
                missing.push(format!("{path}: the value of --{}", flag.long));
            }
            if let Some(short) = flag.short {
                let mut names = arg.get_short_and_visible_aliases().unwrap_or_default();
                names.extend(arg.get_all_short_aliases().unwrap_or_default());
                if !names.contains(&short) {
                    missing.push(format!("{path}: -{short}"));
                }
            }
        }
        table.push((path, own));
    }
    missing.retain(|line| !OTHERWISE.contains(&line.as_str()));
    assert_eq!(missing, [""; 0]);
    counted
}

#[test]
fn every_documented_command_line_is_accepted() {
    let root = kraft::command();
    let mut refused = Vec::new();
    let mut count = 0;
    for line in lines(include_str!("kraftkit/forms.txt")) {
        count += 1;
        // Separate words before it are joined by the program.
        let line = &line.replace("-K value -c value", "-K=value -c=value");
        let words = ["kraft"].into_iter().chain(line.split(' '));
        let parsed = root.clone().try_get_matches_from(words.map(OsString::from));
        match parsed {
            Ok(_) => {}
            // A command that only has others below it, and the mention of one without its arguments.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::MissingSubcommand
                        | ErrorKind::MissingRequiredArgument
                        | ErrorKind::DisplayHelp
                        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                ) => {}
            Err(error) => refused.push(format!("{line}: {}", error.kind())),
        }
    }
    assert_eq!(refused, [""; 0]);
    assert!(count > 300, "{count}");
}

#[test]
fn words_of_other_tools_are_answered_by_a_sentence() {
    let home = Home::new();
    for (line, part) in [
        (&["rmi", "nginx"][..], "`kraft pkg rm IMAGE`"),
        (&["history", "nginx"], "`kraft pkg inspect IMAGE`"),
        (&["system", "prune"], "`kraft store gc`"),
        (&["search", "nginx"], "registries cannot be searched"),
        (&["configure"], "`kraft build` configures targets"),
        (&["list"], "`kraft ps` lists machines"),
        (&["prepare"], "`kraft fetch`"),
        (&["run", "-b", "br0"], "`--network NAME`"),
        (
            &["run", "--entrypoint", "sh", "x"],
            "kraft run IMAGE PROGRAM",
        ),
        // The CLI of Unikraft Cloud.
        (&["instances", "list"], "`kraft cloud instance`"),
        (&["service", "list"], "`kraft cloud service`"),
        (&["images", "list"], "`kraft images` lists"),
        (&["volume", "create", "--size", "1G", "x"], "without a size"),
        (&["login"], "`kraft cloud login`"),
        (&["run", "--metro", "fra", "x"], "`kraft cloud deploy`"),
        (&["run", "-m", "512M", "x"], "`--memory SIZE`"),
        (
            &["cloud", "run", "--scale-to-zero", "policy=on", "x"],
            "`--scale-to-zero on",
        ),
        (&["cloud", "build", "."], "`kraft cloud deploy` builds"),
        (&["pkg", "--rom", "x", "."], "have no ROMs"),
    ] {
        let outcome = home.kraft(line).exits(2);
        assert!(
            outcome.stderr.contains(part),
            "{line:?}: {}",
            outcome.stderr
        );
        let tips = outcome.stderr.matches("tip:").count();
        assert_eq!(tips, 1, "{line:?}: {}", outcome.stderr);
    }
}

#[test]
fn listings_have_the_keys_of_kraftkit_on_request() {
    let home = Home::new();
    let kernel = home.kernel();
    home.ok(&["run", "-W", "--no-start", "-n", "alice", &kernel]);
    let rows = home.json(&["ps", "--all", "-o", "json", "--compat", "kraftkit"]);
    let row = &rows[0];
    assert_eq!(row["name"], "alice");
    assert_eq!(row["status"], "created");
    assert_eq!(row["mem"], "64Mi");
    assert_eq!(row["plat"], "qemu/arm64");
    assert!(row.get("state").is_none(), "{row}");
    let _ = home.kraft(&["rm", "alice"]).exits(0);
    let none = home.ok(&["ps", "-o", "json", "--compat", "kraftkit"]);
    assert_eq!(none, "null\n");
}
