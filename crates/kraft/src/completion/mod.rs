//! Completion: candidates for the last argument of a command line, for every shell.
//!
//! A shell's script runs `kraft __complete -- ARGS…` and shows its output: one candidate per line,
//! a tab before its description. All shells offer the same candidates. clap's completion engine
//! finds the argument that is completed; [`Names`] says which names it takes, and the caller looks
//! them up.
//!
//! ```text
//! kraft stop --lo⇥     --log-level<TAB>Set the minimum level of log messages
//! kraft stop a⇥        alice<TAB>running
//! kraft run ⇥          :files            (a directive: the shell completes paths itself)
//! ```
//!
//! `COMPLETE=bash kraft` prints the same script as `kraft completion bash`: programs with clap's
//! dynamic completion are set up so.

mod scripts;

use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use clap::{Arg, Command, ValueHint};
use clap_complete::engine::{self, ArgValueCompleter, CompletionCandidate};
use kraft_engine::candidates::Candidate;

pub(crate) use scripts::{Shell, requested_shell, script};

/// The candidates for the last argument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Completion {
    /// The candidates.
    pub(crate) candidates: Vec<Candidate>,
    /// Paths, which shells complete better themselves.
    pub(crate) paths: Option<Paths>,
}

/// The kind of paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paths {
    /// Files and the directories they are in.
    Files,
    /// Directories.
    Dirs,
}

impl Paths {
    const ALL: [Self; 2] = [Self::Files, Self::Dirs];

    /// Returns the directive for the scripts, which also identifies the candidate that stands for paths.
    pub(crate) fn directive(self) -> &'static str {
        match self {
            Self::Files => ":files",
            Self::Dirs => ":dirs",
        }
    }
}

/// The kind of names that an argument takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// Machines that the command can be used on.
    Machines {
        /// The name of the command.
        command: String,
    },
    /// Keys of the configuration.
    Keys,
    /// Values of the key that is the argument before.
    Values {
        /// The key.
        key: String,
    },
    /// Images in the store.
    Images,
    /// Images in the store, and those that registries listed the last time.
    KnownImages,
    /// Targets of the project in the current directory.
    Targets,
    /// KConfig options of that project.
    Options {
        /// Whether a value follows, after `=`.
        assigned: bool,
    },
    /// Metros of the cloud.
    Metros,
    /// Services of the Compose file in the current directory.
    Services,
    /// Libraries of the project in the current directory.
    Libraries,
    /// Hosts with stored credentials.
    Hosts,
    /// Named volumes.
    Volumes,
    /// Snapshots.
    Snapshots,
}

/// Looks names up; the second argument is the text that they begin with.
pub(crate) type LookUp = Arc<dyn Fn(&Names, &str) -> Vec<Candidate> + Send + Sync>;

/// The value name of arguments that take a machine.
pub(crate) const MACHINE: &str = "MACHINE";
/// The value name of arguments that take a key of the configuration.
pub(crate) const KEY: &str = "KEY";

impl Names {
    /// Returns the names that an argument takes; `path` is the command without the program's name,
    /// and `before` the arguments before the completed one.
    fn of(arg: &Arg, path: &[String], before: &[OsString]) -> Option<Self> {
        let value_name = arg.get_value_names()?.first()?.as_str();
        let within = |commands: &[&str]| path.iter().zip(commands).all(|(one, other)| one == other);
        let cloud = within(&["cloud"]) && !within(&["cloud", "deploy"]);
        Some(match value_name {
            MACHINE => Self::Machines {
                command: path.last().cloned().unwrap_or_default(),
            },
            KEY => Self::Keys,
            "VALUE" if within(&["config", "set"]) && arg.is_positional() => Self::Values {
                key: before.last()?.to_str()?.to_owned(),
            },
            // Images of the platform are known to the platform only.
            "IMAGE" | "TARGET" if cloud => return None,
            "IMAGE" if within(&["pkg", "pull"]) => Self::KnownImages,
            "TARGET" if arg.is_positional() => Self::KnownImages,
            "IMAGE" => Self::Images,
            "TARGET" => Self::Targets,
            "OPTION" | "OPTION=VALUE" | "OPTION[=VALUE]" => Self::Options {
                assigned: value_name == "OPTION=VALUE",
            },
            "METRO" => Self::Metros,
            "SERVICE" if within(&["cloud", "compose"]) || within(&["compose"]) => Self::Services,
            "LIBRARY" if within(&["lib", "remove"]) => Self::Libraries,
            "HOST" if within(&["logout"]) => Self::Hosts,
            "VOLUME" if within(&["vol"]) => Self::Volumes,
            "SNAPSHOT" => Self::Snapshots,
            _ => return None,
        })
    }
}

/// Returns the candidates for the last of `words`, which may be empty. `words` does not contain the
/// program's name.
pub(crate) fn complete(root: Command, words: &[OsString], look_up: &LookUp) -> Completion {
    let Some((current, before)) = words.split_last() else {
        return Completion::default();
    };
    let line = Line {
        current,
        before,
        look_up,
    };
    let mut root = line.prepare(root, &[]);
    let args: Vec<OsString> = [OsString::from("kraft")]
        .into_iter()
        .chain(words.iter().cloned())
        .collect();
    let found = engine::complete(&mut root, args, words.len(), None).unwrap_or_default();
    let escaped = before.iter().any(|word| word == "--");
    let begins_flag = !escaped && current.to_string_lossy().starts_with('-');
    let mut completion = Completion::default();
    for candidate in found {
        let id = candidate.get_id().map(String::as_str);
        let word = candidate.get_value().to_string_lossy().into_owned();
        if let Some(paths) = Paths::ALL
            .iter()
            .find(|paths| id == Some(paths.directive()))
        {
            // A word that begins a flag is not a path, except for the value of that flag.
            if !begins_flag || word.starts_with('-') {
                completion.paths = Some(*paths);
            }
            continue;
        }
        // Flags are offered only where one is begun.
        if candidate.is_hide_set() || (current.is_empty() && word.starts_with('-')) {
            continue;
        }
        let help = candidate.get_help().map(ToString::to_string);
        completion.candidates.push(Candidate {
            word,
            about: help.unwrap_or_default(),
        });
    }
    completion
}

/// The command line.
struct Line<'l> {
    current: &'l OsStr,
    before: &'l [OsString],
    look_up: &'l LookUp,
}

impl Line<'_> {
    /// Adds a completer to each argument that takes names or paths.
    fn prepare(&self, command: Command, path: &[String]) -> Command {
        command
            .mut_args(|arg| self.completed(arg, path))
            .mut_subcommands(|command| {
                let mut path = path.to_vec();
                path.push(command.get_name().to_owned());
                self.prepare(command, &path)
            })
    }

    fn completed(&self, arg: Arg, path: &[String]) -> Arg {
        if arg.is_require_equals_set() {
            return self.after_equals(arg);
        }
        let paths = match arg.get_value_hint() {
            ValueHint::AnyPath | ValueHint::FilePath | ValueHint::ExecutablePath => {
                Some(Paths::Files)
            }
            ValueHint::DirPath => Some(Paths::Dirs),
            _ => None,
        };
        let names = Names::of(&arg, path, self.before);
        if paths.is_none() && names.is_none() {
            return arg;
        }
        let look_up = Arc::clone(self.look_up);
        let before = self.before.to_vec();
        arg.add(ArgValueCompleter::new(move |current: &OsStr| {
            let mut candidates = Vec::new();
            if let (Some(names), Some(current)) = (&names, current.to_str()) {
                let found = look_up(names, current).into_iter().filter(|found| {
                    let taken = || before.iter().any(|word| *word == *found.word);
                    found.word.starts_with(current) && !taken()
                });
                candidates.extend(found.map(|found| {
                    CompletionCandidate::new(found.word).help(Some(found.about.into()))
                }));
            }
            candidates.extend(
                paths.map(|paths| {
                    CompletionCandidate::new("").id(Some(paths.directive().to_owned()))
                }),
            );
            candidates
        }))
    }

    /// Offers the values of a flag only after `=`: the next argument is not one of them.
    fn after_equals(&self, arg: Arg) -> Arg {
        let begun = self.current.to_string_lossy().starts_with('-');
        let values: Vec<(String, Option<String>)> = arg
            .get_possible_values()
            .iter()
            .filter(|value| begun && !value.is_hide_set())
            .map(|value| {
                let help = value.get_help().map(ToString::to_string);
                (value.get_name().to_owned(), help)
            })
            .collect();
        arg.add(ArgValueCompleter::new(move |current: &OsStr| {
            let current = current.to_string_lossy();
            let fitting = values
                .iter()
                .filter(|(name, _)| name.starts_with(&*current));
            fitting
                .map(|(name, help)| {
                    CompletionCandidate::new(name).help(help.clone().map(Into::into))
                })
                .collect()
        }))
    }
}

#[cfg(test)]
mod tests {
    use clap::ArgAction;

    use super::*;

    fn tree() -> Command {
        Command::new("kraft")
            .arg(
                Arg::new("level")
                    .long("level")
                    .global(true)
                    .value_parser(["debug", "info"]),
            )
            .arg(
                Arg::new("offline")
                    .long("offline")
                    .global(true)
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
                    .value_parser(["true", "false"]),
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
                    .arg(Arg::new("old").long("old").num_args(1).hide(true))
                    .arg(
                        Arg::new("machines")
                            .value_name(MACHINE)
                            .num_args(1..)
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
                    .arg(
                        Arg::new("image")
                            .short('i')
                            .long("image")
                            .value_name("IMAGE"),
                    )
                    .arg(Arg::new("kernel").value_hint(ValueHint::FilePath)),
            )
            .subcommand(Command::new("secret").hide(true))
    }

    fn words(line: &str) -> Vec<String> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let look_up: LookUp = Arc::new(|names, _| {
            let word = match names {
                Names::Machines { command } => format!("machine-to-{command}"),
                Names::Images => "nginx:1.25".to_owned(),
                _ => "another".to_owned(),
            };
            let about = String::new();
            vec![Candidate { word, about }]
        });
        let completion = complete(tree(), &words, &look_up);
        let mut found: Vec<String> = completion.candidates.into_iter().map(|c| c.word).collect();
        found.sort();
        found.extend(completion.paths.map(|paths| paths.directive().to_owned()));
        found
    }

    #[test]
    fn commands_flags_values_and_names_are_offered_where_they_apply() {
        for (line, expected) in [
            ("", &["help", "run", "stop"][..]),
            ("st", &["stop"]),
            ("sec", &[]),
            ("stop --", &["--all", "--help", "--level", "--offline"]),
            ("stop --o", &["--offline"]),
            ("stop --level d", &["debug"]),
            ("--level debug stop --level=i", &["--level=info"]),
            ("--offline ", &["help", "run", "stop"]),
            ("--offline=f", &["--offline=false"]),
            ("stop ", &["machine-to-stop"]),
            ("stop al m", &["machine-to-stop"]),
            ("stop x", &[]),
            ("stop machine-to-stop ", &[]),
            ("stop -- m", &["machine-to-stop"]),
            ("r ", &[":files"]),
            ("run --memory 1G ", &[":files"]),
            ("run -M1G ", &[":files"]),
            ("run -- -k", &[":files"]),
            ("run -M ", &[]),
            ("run kernel ", &[]),
            ("run --image ", &["nginx:1.25"]),
            ("run --image=ng", &["--image=nginx:1.25"]),
            ("run --image nginx:", &["nginx:1.25"]),
            ("run -i n", &["nginx:1.25"]),
            ("run -e A=1 --en", &["--env"]),
            ("nothing ", &["help", "run", "stop"]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn without_arguments_there_are_no_candidates() {
        let look_up: LookUp = Arc::new(|_, _| Vec::new());
        assert_eq!(complete(tree(), &[], &look_up), Completion::default());
    }
}
