//! Configures a target if necessary, and handles lost values.

use std::ffi::OsStr;

use kraft_sys::{fs, tool};

use super::inputs::Inputs;
use super::{Configure, Error, Job, Orders};
use crate::configure::{self, Lost};
use crate::make::{self, Call};
use crate::plan::Plan;
use crate::state::State;
use crate::tools;

impl Job {
    /// Configures the target if necessary, and records the state; returns the lost values.
    pub(super) fn configured(
        &self,
        call: &Call<'_>,
        orders: &Orders<'_>,
        inputs: &Inputs,
        state: &mut State,
    ) -> Result<Vec<Lost>, Error> {
        let config = &call.plan.config;
        let there = config.exists();
        if orders.configure == Configure::Never {
            if there {
                return Ok(Vec::new());
            }
            return Err(Error::NotConfigured {
                path: self.places.config.clone(),
            });
        }
        let afresh = orders.configure == Configure::Afresh;
        if afresh {
            fs::remove_tree(config)?;
        }
        let now = configure::read(config)?;
        let touched = now.is_some_and(|now| now.iter().ne(settled(state)));
        if afresh || !there || touched || state.configuration != inputs.configuration {
            let done = configure::configure(
                call,
                &self.options,
                state,
                &fs::beside(&self.places.work, ".configure"),
            )
            .map_err(|source| {
                check_make(call.program)
                    .err()
                    .unwrap_or_else(|| options_fault(source, call.plan))
            })?;
            state.edits = done.edits;
            state.settled = done.settled;
            state.configuration.clone_from(&inputs.configuration);
            self.take_config(call.plan)?;
            // Also if it is rejected below: options written by kraft must not look like manual
            // edits.
            state.save(&self.state_file())?;
        }
        let lost = self.lost_now()?;
        Self::judge(orders, &lost, call.plan)?;
        Ok(lost)
    }

    /// Compares the requested options with the current configuration.
    pub(super) fn lost_now(&self) -> Result<Vec<Lost>, fs::Error> {
        let now = configure::read(&self.places.config)?.unwrap_or_default();
        Ok(configure::lost(&self.options, &now))
    }

    pub(super) fn judge(orders: &Orders<'_>, lost: &[Lost], plan: &Plan) -> Result<(), Error> {
        if lost.is_empty() {
            return Ok(());
        }
        let bad = (orders.refused)(plan, lost);
        if bad.is_empty() {
            return Ok(());
        }
        Err(Error::Lost {
            lost: bad,
            plan: Box::new(plan.clone()),
        })
    }
}

fn settled(state: &State) -> impl Iterator<Item = (&str, &str)> {
    state
        .settled
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
}

/// Distinguishes errors in option files from other failures of configuring.
fn options_fault(source: make::Error, plan: &Plan) -> Error {
    let in_options = match &source {
        make::Error::Failed { diagnostic, .. } => diagnostic
            .place
            .as_ref()
            .is_some_and(|place| place.file.extension().is_some_and(|ending| ending == "uk")),
        _ => false,
    };
    if in_options {
        Error::Options {
            source,
            plan: Box::new(plan.clone()),
        }
    } else {
        Error::Make(source)
    }
}

/// Checks the version of make: versions that are too old fail with misleading messages.
fn check_make(program: &OsStr) -> Result<(), Error> {
    let said = tool::Tool::new(program)
        .package("make")
        .args(["--version"])
        .output();
    let said = match said {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => error.to_string(),
    };
    if tools::is_new_enough(&said) {
        return Ok(());
    }
    Err(Error::OldMake {
        found: said.lines().next().unwrap_or_default().to_owned(),
    })
}
