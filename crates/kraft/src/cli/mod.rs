//! The command tree: the commands, the global flags derived from the configuration keys, and the
//! layout of the help.

mod known_words;
mod probe_files;
mod terminal_flag;

use std::ffi::OsString;
use std::mem::ManuallyDrop;

use clap::builder::{Styles, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser};

use crate::commands::nested::{self, Called};
use crate::commands::{self, Command, kraftkit};
use kraft_config::Flags;
use kraft_config::keys::{self, Key, Kind};

/// Build, package and run unikernels
///
/// kraft boots unikernels and manages the machines they run in. Start with `kraft doctor`, which
/// checks this host, and `kraft run KERNEL`.
#[derive(Debug, Parser)]
#[command(name = "kraft", version, styles = STYLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Called<Command>>,
}

const STYLES: Styles = Styles::styled()
    .header(anstyle::Style::new().bold())
    .usage(anstyle::Style::new().bold());

/// The heading of the flags that every command accepts.
const GLOBAL: &str = "Global options";
/// The flag for the directory of the configuration file; not a key of that file.
const CONFIG_DIR: &str = "config-dir";

/// A parsed command line.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// The command; `None` prints the help.
    pub(crate) command: Option<Command>,
    /// The name of the command.
    pub(crate) name: String,
    /// The global flags.
    pub(crate) flags: Flags,
    /// The flags of KraftKit that have no effect.
    pub(crate) ignored: Vec<kraftkit::Ignored>,
}

/// Returns the whole command tree, for parsing, completions, manual pages and references.
pub fn command() -> clap::Command {
    let mut root = Cli::command();
    for key in keys::ALL {
        if let Some(flag) = key.flag {
            root = root.arg(global(key, flag));
        }
    }
    let config_dir = Arg::new(CONFIG_DIR)
        .long(CONFIG_DIR)
        .global(true)
        .value_name("DIR")
        .value_hint(clap::ValueHint::DirPath)
        .help("Read config.yaml in this directory [env: KRAFTKIT_CONFIG_DIR]")
        .help_heading(GLOBAL)
        .hide_short_help(true);
    let mut root = commands::grouped(root.arg(config_dir)).mut_subcommands(commands::with_template);
    kraftkit::accept(&mut root, "");
    root
}

/// Parses the arguments of a command line; the first is the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let args = probe_files::expand(terminal_flag::expand(args.into_iter().collect()));
    // A tree is needed once, and freeing its thousands of parts would take a seventh of a short command.
    let parse = |tree: clap::Command| ManuallyDrop::new(tree).try_get_matches_from_mut(&args);
    let mut matches = parse(nested::called(&args, command))
        .or_else(|_| parse(nested::on_demand(command)))
        .map_err(|error| known_words::answer(missing_subcommand_as_help(error), &args))?;
    let ignored = kraftkit::ignored(&matches);
    let flags = flags(&mut matches);
    let name = matches.subcommand_name().unwrap_or_default().to_owned();
    let cli = Cli::from_arg_matches_mut(&mut matches)?;
    Ok(Invocation {
        command: cli.command.map(|called| called.0),
        name,
        flags,
        ignored,
    })
}

/// Returns the command of a command line that may be invalid: the first word that is neither a global
/// flag nor its value.
pub(crate) fn command_of(args: &[OsString]) -> Option<&str> {
    let takes_value = |word: &str| {
        let flag = word.strip_prefix("--").filter(|flag| !flag.contains('='));
        flag.is_some_and(|flag| {
            let mut keys = keys::ALL.iter().filter(|key| key.flag == Some(flag));
            flag == CONFIG_DIR || keys.any(|key| !matches!(key.kind, Kind::Switch))
        })
    };
    let mut words = args.iter().skip(1);
    while let Some(word) = words.next() {
        let word = word.to_str()?;
        if !word.starts_with('-') {
            return Some(word);
        }
        if takes_value(word) {
            words.next();
        }
    }
    None
}

/// Turns a parent command without a subcommand (`kraft rootfs`) into a request for its help.
fn missing_subcommand_as_help(error: clap::Error) -> clap::Error {
    if error.kind() != ErrorKind::MissingSubcommand {
        return error;
    }
    let Some(ContextValue::String(path)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    let args: Vec<OsString> = path
        .split(' ')
        .chain(["--help"])
        .map(OsString::from)
        .collect();
    command().try_get_matches_from(args).err().unwrap_or(error)
}

/// Returns the global flag of a key.
fn global(key: &'static Key, flag: &'static str) -> Arg {
    let arg = Arg::new(key.name)
        .long(flag)
        .global(true)
        .help(format!("{} [env: {}]", key.help, key.env))
        .help_heading(GLOBAL)
        .hide_short_help(true)
        .hide(!key.used);
    match key.kind {
        Kind::Switch => arg
            .action(ArgAction::Set)
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .hide_possible_values(true)
            .value_parser(Suggested(&["true", "false"])),
        Kind::Text(_) => arg.value_name("TEXT"),
        Kind::Path => arg.value_name("PATH").value_hint(clap::ValueHint::AnyPath),
        Kind::Size(_) => arg.value_name("SIZE"),
        Kind::Choice(values) => arg.value_name("VALUE").value_parser(Suggested(values)),
        Kind::List(_) => arg.value_name("LIST").action(ArgAction::Append),
    }
}

/// Accepts any text and offers some values.
///
/// The value is validated when the layers are merged, with the same rules and messages for flags,
/// variables and the file.
#[derive(Clone)]
struct Suggested(&'static [&'static str]);

impl TypedValueParser for Suggested {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        clap::builder::StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(
        &self,
    ) -> Option<Box<dyn Iterator<Item = clap::builder::PossibleValue> + '_>> {
        Some(Box::new(
            self.0.iter().map(clap::builder::PossibleValue::new),
        ))
    }
}

fn flags(matches: &mut ArgMatches) -> Flags {
    let mut values = Vec::new();
    for key in keys::ALL {
        if key.flag.is_none() {
            continue;
        }
        if let Some(typed) = matches.remove_many::<String>(key.name) {
            // A switch without a value is `true`; a list can be repeated.
            let typed: Vec<String> = typed.collect();
            values.push((key.name, typed.join(",")));
        }
    }
    Flags {
        values,
        config_dir: matches.remove_one(CONFIG_DIR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(args: &[&str]) -> Result<Invocation, clap::Error> {
        parse(args.iter().map(OsString::from))
    }

    #[test]
    fn the_command_of_an_invalid_line_is_its_first_word_that_is_no_flag() {
        for (line, command) in [
            ("kraft compose --nothing", Some("compose")),
            ("kraft --log-level debug compose up", Some("compose")),
            ("kraft --log-level=debug --no-color ps", Some("ps")),
            ("kraft --config-dir compose", None),
            ("kraft --nothing compose", Some("compose")),
        ] {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(command_of(&args), command, "{line}");
        }
    }

    #[test]
    fn a_line_is_parsed_with_the_commands_that_it_names_and_others_with_all() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let tree = nested::called(&words("kraft --config-dir run rm web"), command);
        let names: Vec<_> = tree
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        assert_eq!(names, ["run", "remove"]);
        // An alias of KraftKit is none of the names.
        for (line, name) in [("kraft rm web", "remove"), ("kraft bld", "build")] {
            assert_eq!(parse(words(line)).unwrap().name, name);
        }
        let unknown = parse(words("kraft rn web")).unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::InvalidSubcommand);
        let similar = unknown.get(ContextKind::SuggestedSubcommand);
        assert!(format!("{similar:?}").contains("\"rename\""), "{similar:?}");
    }

    #[test]
    fn the_command_tree_is_valid() {
        command().debug_assert();
    }

    #[test]
    fn global_flags_work_before_and_after_the_command() {
        for args in [
            &["kraft", "--log-level", "debug", "version"][..],
            &["kraft", "version", "--log-level", "debug"],
            &[
                "kraft",
                "--log-level",
                "info",
                "version",
                "--log-level=debug",
            ],
        ] {
            let flags = typed(args).unwrap().flags;
            assert_eq!(
                flags.values,
                [("log.level", "debug".to_owned())],
                "{args:?}"
            );
        }
    }

    #[test]
    fn a_switch_takes_a_value_only_after_an_equals_sign() {
        let value = |args: &[&str]| typed(args).unwrap().flags.values.pop().unwrap().1;
        assert_eq!(value(&["kraft", "--no-prompt", "version"]), "true");
        assert_eq!(value(&["kraft", "--no-prompt=false", "version"]), "false");
    }

    #[test]
    fn a_list_may_be_repeated() {
        let args = [
            "kraft",
            "--with-manifest=a,b",
            "--with-manifest",
            "c",
            "version",
        ];
        let flags = typed(&args).unwrap().flags;
        assert_eq!(flags.values, [("unikraft.manifests", "a,b,c".to_owned())]);
    }
}
