//! Changing what a machine is called and what its record says beyond what it runs.

use std::collections::BTreeMap;

use kraft_core::lifecycle::RestartPolicy;
use kraft_core::machine::check_name;

use crate::id::Id;
use crate::machines::create::link_target;
use crate::machines::{Error, Machine, Machines};
use kraft_sys::fs;

/// Changes of a machine's record. Except the memory, they hold at once, also while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// The new restart policy.
    pub restart: Option<RestartPolicy>,
    /// The new time that the guest may take to shut down, in seconds.
    pub stop_timeout: Option<u32>,
    /// The new memory in bytes, from the next start on.
    pub memory: Option<u64>,
    /// Labels to set; without a value, to remove.
    pub labels: BTreeMap<String, Option<String>>,
}

impl Machines {
    /// Changes the record of a machine. A restart that is due is cancelled by the policy `no`.
    pub fn update(&self, id: &Id, update: &Update) -> Result<Machine, Error> {
        let mut locked = self.lock_machine(*id, None)?;
        locked.record.spec.change(|spec| {
            let lifecycle = &mut spec.lifecycle;
            lifecycle.restart = update.restart.unwrap_or(lifecycle.restart);
            lifecycle.stop_timeout = update.stop_timeout.or(lifecycle.stop_timeout);
            spec.memory = update.memory.unwrap_or(spec.memory);
            for (name, value) in &update.labels {
                match value {
                    Some(value) => spec.labels.insert(name.clone(), value.clone()),
                    None => spec.labels.remove(name),
                };
            }
        });
        if update.restart == Some(RestartPolicy::No) {
            locked.record.restarts.pending = None;
        }
        locked.record.store(&locked.dir)?;
        drop(locked);
        self.get(*id)
    }

    /// Gives a machine another name.
    pub fn rename(&self, id: &Id, name: &str) -> Result<Machine, Error> {
        check_name(name)?;
        let mut locked = self.lock_machine(*id, None)?;
        let old = std::mem::replace(&mut locked.record.name, name.to_owned());
        if old == name {
            return self.get(*id);
        }
        let all = self.lock_all()?;
        if !self.try_name(name, *id)? {
            return Err(Error::NameTaken {
                name: name.to_owned(),
            });
        }
        let stored = locked.record.store(&locked.dir);
        // The old name is free if the record has the new one, and the new one if it does not.
        let free = if stored.is_ok() { old.as_str() } else { name };
        let link = self.layout.name(free);
        if std::fs::read_link(&link).is_ok_and(|to| to == link_target(*id)) {
            fs::remove_file(&link)?;
        }
        drop(all);
        stored?;
        if !locked.record.spec.get().networks.is_empty() {
            self.networks().rename(&id.to_string(), name)?;
        }
        drop(locked);
        self.get(*id)
    }
}
