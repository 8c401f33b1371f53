//! The settings of machines that may change after they were created.

use std::collections::BTreeMap;

use kraft_core::lifecycle::RestartPolicy;
use kraft_core::plan::LEAST_MEMORY;
use kraft_core::quantity;
use kraft_machine::Update;

use crate::app::App;
use crate::commands::lifecycle::label;
use crate::commands::stop::is_up;
use crate::commands::tally::Tally;
use crate::failure::Failure;
use kraft_engine::machines;

/// The new settings.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options for machines")]
pub(super) struct MachineArgs {
    /// Set the restart policy: no, on-failure, on-failure:NUMBER, always or unless-stopped
    #[arg(long, value_name = "POLICY", conflicts_with_all = PROJECT)]
    restart: Option<RestartPolicy>,

    /// Set a label
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = label, conflicts_with_all = PROJECT)]
    label: Vec<(String, String)>,

    /// Remove a label
    #[arg(long, value_name = "NAME", conflicts_with_all = PROJECT)]
    label_rm: Vec<String>,

    /// Set how many seconds the guest may take to shut down
    #[arg(long, value_name = "SECONDS", conflicts_with_all = PROJECT)]
    stop_timeout: Option<u32>,

    /// Set the memory, from the next start on
    #[arg(short = 'M', long, value_name = "SIZE", conflicts_with_all = PROJECT)]
    memory: Option<String>,
}

/// The options that are about projects.
const PROJECT: [&str; 3] = ["check", "workdir", "kraftfile"];

impl MachineArgs {
    /// Returns whether one of them is set.
    pub(super) fn is_meant(&self) -> bool {
        let Self {
            restart,
            label,
            label_rm,
            stop_timeout,
            memory,
        } = self;
        restart.is_some()
            || !label.is_empty()
            || !label_rm.is_empty()
            || stop_timeout.is_some()
            || memory.is_some()
    }

    fn update(&self) -> Result<Update, Failure> {
        let set = self.label.iter().cloned();
        let mut labels: BTreeMap<_, _> = set.map(|(name, value)| (name, Some(value))).collect();
        labels.extend(self.label_rm.iter().map(|name| (name.clone(), None)));
        let memory = match &self.memory {
            Some(text) => Some(quantity::parse(text).map_err(Failure::usage)?),
            None => None,
        };
        if memory.is_some_and(|memory| memory < LEAST_MEMORY) {
            return Err(Failure::usage(format!(
                "`--memory` is too small: expected at least {}",
                quantity::display(LEAST_MEMORY)
            )));
        }
        Ok(Update {
            restart: self.restart,
            stop_timeout: self.stop_timeout,
            memory,
            labels,
        })
    }
}

/// Changes machines and prints their names.
pub(super) fn exec(app: &App, names: &[String], args: &MachineArgs) -> Result<(), Failure> {
    if names.is_empty() {
        return Err(Failure::usage("no machine selected")
            .hint("name machines: `kraft update --restart always MACHINE`"));
    }
    let update = args.update()?;
    let machines = machines::ending(app);
    let mut tally = Tally::default();
    for word in names {
        let updated = machines
            .find(word)
            .and_then(|machine| machines.update(&machine.id, &update));
        let Some(machine) = tally.count(app, updated) else {
            continue;
        };
        app.ui.line(&machine.name)?;
        if update.memory.is_some() && is_up(&machine) {
            app.ui.warn(&format!(
                "the memory of `{0}` changes with its next start: `kraft restart {0}`",
                machine.name
            ));
        }
    }
    tally.outcome()
}
