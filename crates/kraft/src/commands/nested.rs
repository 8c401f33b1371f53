//! Commands below a command that are described only when one of them is called.
//!
//! Describing all commands is most of what a short command computes, so a command with many below it
//! leaves them out until it is called itself.

use std::cell::Cell;

use clap::{ArgMatches, Command, FromArgMatches, Subcommand};

use super::kraftkit;

thread_local! {
    static ON_DEMAND: Cell<bool> = const { Cell::new(false) };
}

/// Makes a command tree in which each [`Nested`] is described when its command is called.
pub(crate) fn on_demand(make: impl FnOnce() -> Command) -> Command {
    ON_DEMAND.set(true);
    let tree = make();
    ON_DEMAND.set(false);
    tree
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
