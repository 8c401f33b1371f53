//! Commands that are described only when they are called.
//!
//! Describing all commands is most of what a short command computes. So a command with many below it
//! leaves them out until it is called itself, and the tree for a command line has only those of the
//! commands at its top whose names are in it.

use std::cell::{Cell, RefCell};
use std::ffi::OsString;

use clap::{ArgMatches, Command, FromArgMatches, Subcommand};

use super::kraftkit;

thread_local! {
    static ON_DEMAND: Cell<bool> = const { Cell::new(false) };
    /// The arguments of the command line that a tree is made for.
    static ARGUMENTS: RefCell<Option<Vec<OsString>>> = const { RefCell::new(None) };
}

/// Makes a command tree in which each [`Nested`] is described when its command is called.
pub(crate) fn on_demand(make: impl FnOnce() -> Command) -> Command {
    ON_DEMAND.set(true);
    let tree = make();
    ON_DEMAND.set(false);
    tree
}

/// Makes a command tree as [`on_demand`] does, with the [`Called`] commands that are named in a command
/// line. It parses the line as the whole tree does, or not at all: an error, and the help, need that one.
pub(crate) fn called(args: &[OsString], make: impl FnOnce() -> Command) -> Command {
    ARGUMENTS.set(Some(args.to_vec()));
    let tree = on_demand(make);
    ARGUMENTS.set(None);
    tree
}

/// The commands at the top.
#[derive(Debug)]
pub(crate) struct Called<T>(pub(crate) T);

impl<T: Subcommand> Subcommand for Called<T> {
    fn augment_subcommands(command: Command) -> Command {
        let Some(args) = ARGUMENTS.take() else {
            return T::augment_subcommands(command);
        };
        let is_named = |it: &&Command| {
            let mut names = std::iter::once(it.get_name()).chain(it.get_all_aliases());
            names.any(|name| args.iter().any(|arg| arg == name))
        };
        let all = T::augment_subcommands(Command::default());
        command.subcommands(all.get_subcommands().filter(is_named).cloned())
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        T::augment_subcommands_for_update(command)
    }

    fn has_subcommand(name: &str) -> bool {
        T::has_subcommand(name)
    }
}

impl<T: FromArgMatches> FromArgMatches for Called<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// The commands below a command.
#[derive(Debug)]
pub(crate) struct Nested<T>(pub(crate) T);

impl<T: Subcommand> Subcommand for Nested<T> {
    fn augment_subcommands(command: Command) -> Command {
        if ON_DEMAND.get() {
            command.defer(|it| {
                let name = it.get_name().to_owned();
                let mut it = T::augment_subcommands(it).mut_subcommands(super::with_template);
                kraftkit::accept(&mut it, &name);
                it
            })
        } else {
            T::augment_subcommands(command)
        }
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        T::augment_subcommands_for_update(command)
    }

    fn has_subcommand(name: &str) -> bool {
        T::has_subcommand(name)
    }
}

impl<T: FromArgMatches> FromArgMatches for Nested<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}
