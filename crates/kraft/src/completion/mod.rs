//! Completion: candidates for the last argument of a command line, for every shell.
//!
//! A shell's script runs `kraft __complete -- ARGS…` and shows its output: one candidate per line,
//! a tab before its description. All shells offer the same candidates, including the names of
//! existing machines.
//!
//! ```text
//! kraft stop --lo⇥     --log-level<TAB>Set the minimum level of log messages
//! kraft stop a⇥        alice<TAB>running
//! kraft run ⇥          :files            (a directive: the shell completes paths itself)
//! ```

mod scripts;

use clap::{Arg, ArgAction, Command, ValueHint};

pub(crate) use scripts::{Shell, script};

/// A candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The whole argument.
    pub(crate) word: String,
    /// Its description, for shells that show one.
    pub(crate) about: String,
}

/// The candidates for the last argument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Completion {
    /// Fixed candidates.
    pub(crate) candidates: Vec<Candidate>,
    /// Paths, which shells complete better themselves.
    pub(crate) paths: Option<Paths>,
    /// Names that are looked up when the completion runs.
    pub(crate) names: Option<Names>,
}

/// The kind of paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paths {
    /// Files and the directories they are in.
    Files,
    /// Directories.
    Dirs,
}

/// The kind of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// Machines that the command can be used on.
    Machines {
        /// The name of the command.
        command: String,
        /// Names that the command line has already.
        taken: Vec<String>,
    },
    /// Keys of the configuration.
    Keys,
}

/// The value name of arguments that take a machine.
pub(crate) const MACHINE: &str = "MACHINE";
/// The value name of arguments that take a key of the configuration.
pub(crate) const KEY: &str = "KEY";

/// Returns the candidates for the last of `words`, which may be empty. `words` does not contain the
/// program's name.
pub(crate) fn complete(root: &Command, words: &[String]) -> Completion {
    let mut root = root.clone();
    root.build();
    let Some((current, before)) = words.split_last() else {
        return Completion::default();
    };
    let mut walk = Walk::new(&root);
    for word in before {
        walk.pass(word);
    }
    walk.offer(current)
}

/// Parser state for the arguments before the completed one.
struct Walk<'c> {
    command: &'c Command,
    /// The flag whose value comes next.
    pending: Option<&'c Arg>,
    /// The number of positionals so far.
    positionals: Vec<String>,
    /// The flags so far.
    used: Vec<&'c Arg>,
    /// Whether `--` came before: what follows is not a flag.
    escaped: bool,
}

impl<'c> Walk<'c> {
    fn new(command: &'c Command) -> Self {
        Self {
            command,
            pending: None,
            positionals: Vec::new(),
            used: Vec::new(),
            escaped: false,
        }
    }

    fn pass(&mut self, word: &str) {
        if self.pending.take().is_some() {
            return;
        }
        if self.escaped || word == "-" || !word.starts_with('-') {
            self.pass_positional(word);
        } else if word == "--" {
            self.escaped = true;
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            if let Some(arg) = self.long(name) {
                self.used.push(arg);
                if value.is_none() && wants_next_word(arg) {
                    self.pending = Some(arg);
                }
            }
        } else {
            self.pass_shorts(word);
        }
    }

    fn pass_shorts(&mut self, word: &str) {
        let mut letters = word.chars().skip(1).peekable();
        while let Some(letter) = letters.next() {
            let Some(arg) = self.arguments().find(|arg| arg.get_short() == Some(letter)) else {
                return;
            };
            self.used.push(arg);
            if arg.get_action().takes_values() {
                if letters.peek().is_none() && wants_next_word(arg) {
                    self.pending = Some(arg);
                }
                return;
            }
        }
    }

    fn pass_positional(&mut self, word: &str) {
        if !self.escaped
            && self.positionals.is_empty()
            && let Some(command) = self.command.find_subcommand(word)
        {
            *self = Self::new(command);
        } else {
            self.positionals.push(word.to_owned());
        }
    }

    fn offer(&self, current: &str) -> Completion {
        if let Some(arg) = self.pending {
            return self.values(arg, current, "");
        }
        if !self.escaped
            && let Some(long) = current.strip_prefix("--")
            && let Some((name, value)) = long.split_once('=')
        {
            return self.long(name).map_or_else(Completion::default, |arg| {
                self.values(arg, value, &format!("--{name}="))
            });
        }
        if !self.escaped && current.starts_with('-') {
            return self.flags(current);
        }
        let mut completion = self
            .positional()
            .map_or_else(Completion::default, |arg| self.values(arg, current, ""));
        if !self.escaped && self.positionals.is_empty() {
            completion.candidates.extend(self.subcommands(current));
        }
        completion
    }

    fn subcommands(&self, current: &str) -> impl Iterator<Item = Candidate> {
        self.command
            .get_subcommands()
            .filter(move |command| {
                !command.is_hide_set() && command.get_name().starts_with(current)
            })
            .map(|command| Candidate {
                word: command.get_name().to_owned(),
                about: command
                    .get_about()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            })
    }

    fn flags(&self, current: &str) -> Completion {
        let mut candidates = Vec::new();
        for arg in self.arguments().filter(|arg| !arg.is_hide_set()) {
            let repeatable = matches!(arg.get_action(), ArgAction::Append | ArgAction::Count);
            if !repeatable && self.used.iter().any(|used| used.get_id() == arg.get_id()) {
                continue;
            }
            let about = arg.get_help().map(ToString::to_string).unwrap_or_default();
            // The long flag is preferred; the short one is offered if it is the only match.
            let long = arg.get_long().map(|long| format!("--{long}"));
            let short = arg.get_short().map(|short| format!("-{short}"));
            let word = long
                .into_iter()
                .chain(short)
                .find(|word| word.starts_with(current));
            candidates.extend(word.map(|word| Candidate { word, about }));
        }
        candidates.sort_by(|a, b| a.word.cmp(&b.word));
        Completion {
            candidates,
            ..Completion::default()
        }
    }

    /// Offers values of an argument, each after `prefix`.
    fn values(&self, arg: &Arg, current: &str, prefix: &str) -> Completion {
        let candidates = arg
            .get_possible_values()
            .iter()
            .filter(|value| !value.is_hide_set() && value.get_name().starts_with(current))
            .map(|value| Candidate {
                word: format!("{prefix}{}", value.get_name()),
                about: value
                    .get_help()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            })
            .collect();
        let paths = match arg.get_value_hint() {
            ValueHint::AnyPath | ValueHint::FilePath | ValueHint::ExecutablePath => {
                Some(Paths::Files)
            }
            ValueHint::DirPath => Some(Paths::Dirs),
            _ => None,
        };
        let value_name = arg.get_value_names().and_then(<[_]>::first);
        let names = match value_name.map(clap::builder::Str::as_str) {
            Some(MACHINE) => Some(Names::Machines {
                command: self.command.get_name().to_owned(),
                taken: self.positionals.clone(),
            }),
            Some(KEY) => Some(Names::Keys),
            Some(_) | None => None,
        };
        Completion {
            candidates,
            paths,
            names,
        }
    }

    /// Returns the next positional; the last one may take several values.
    fn positional(&self) -> Option<&'c Arg> {
        let all: Vec<&Arg> = self.command.get_positionals().collect();
        let many = |arg: &Arg| matches!(arg.get_action(), ArgAction::Append);
        all.get(self.positionals.len())
            .copied()
            .or_else(|| all.last().copied().filter(|arg| many(arg)))
    }

    fn long(&self, name: &str) -> Option<&'c Arg> {
        self.arguments().find(|arg| {
            arg.get_long() == Some(name)
                || arg.get_all_aliases().is_some_and(|all| all.contains(&name))
        })
    }

    fn arguments(&self) -> impl Iterator<Item = &'c Arg> + use<'c> {
        self.command
            .get_arguments()
            .filter(|arg| !arg.is_positional())
    }
}

fn wants_next_word(arg: &Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Command {
        Command::new("kraft")
            .arg(
                Arg::new("level")
                    .long("level")
                    .global(true)
                    .value_parser(["debug", "info"]),
            )
            .subcommand(
                Command::new("stop")
                    .about("Stop machines")
                    .arg(
                        Arg::new("all")
                            .short('a')
                            .long("all")
                            .action(ArgAction::SetTrue),
                    )
                    .arg(
                        Arg::new("machines")
                            .value_name(MACHINE)
                            .action(ArgAction::Append),
                    ),
            )
            .subcommand(
                Command::new("run")
                    .about("Run")
                    .alias("r")
                    .arg(Arg::new("memory").short('M').long("memory"))
                    .arg(
                        Arg::new("env")
                            .short('e')
                            .long("env")
                            .action(ArgAction::Append),
                    )
                    .arg(Arg::new("kernel").value_hint(ValueHint::FilePath)),
            )
            .subcommand(Command::new("secret").hide(true))
    }

    fn words(line: &str) -> Vec<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let completion = complete(&tree(), &words);
        let mut found: Vec<String> = completion.candidates.into_iter().map(|c| c.word).collect();
        found.extend(completion.paths.map(|paths| format!("{paths:?}")));
        if let Some(Names::Machines { command, taken }) = completion.names {
            found.push(format!("machines for {command} but {taken:?}"));
        }
        found
    }

    #[test]
    fn commands_flags_values_and_names_are_offered_where_they_apply() {
        assert_eq!(words(""), ["stop", "run", "help"]);
        assert_eq!(words("st"), ["stop"]);
        assert_eq!(words("stop --"), ["--all", "--help", "--level"]);
        assert_eq!(words("stop -a --a"), [""; 0]);
        assert_eq!(words("stop -"), ["--all", "--help", "--level"]);
        assert_eq!(words("stop --level d"), ["debug"]);
        assert_eq!(words("--level debug stop --level=i"), ["--level=info"]);
        assert_eq!(
            words("stop al bo c"),
            ["machines for stop but [\"al\", \"bo\"]"]
        );
        assert_eq!(words("stop -- -"), ["machines for stop but []"]);
        assert_eq!(words("r "), ["Files"]);
        assert_eq!(words("run --memory 1G "), ["Files"]);
        assert_eq!(words("run -M1G "), ["Files"]);
        assert_eq!(words("run -M "), [""; 0]);
        assert_eq!(words("run kernel "), [""; 0]);
        assert!(words("run -e A=1 --").contains(&"--env".to_owned()));
        assert!(!words("run -M 1G --").contains(&"--memory".to_owned()));
    }

    #[test]
    fn without_arguments_there_are_no_candidates() {
        assert_eq!(complete(&tree(), &[]), Completion::default());
    }
}
