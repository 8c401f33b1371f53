//! The machines of a project as they are, found by their labels.

use std::collections::BTreeMap;

use kraft_machine::{Listed, Machine, Machines};

use super::plan::Current;

/// The label with the name of the project; these labels are those of Docker's Compose.
pub const PROJECT: &str = "com.docker.compose.project";
/// The label with the name of the service.
pub const SERVICE: &str = "com.docker.compose.service";
/// The label with the number of the machine of its service, from 1.
pub const NUMBER: &str = "com.docker.compose.container-number";
/// The label of a machine that `run` created: `True`.
pub const ONE_OFF: &str = "com.docker.compose.oneoff";
/// The label with the digest of what the machine was made from.
pub const HASH: &str = "com.docker.compose.config-hash";
/// The label with the digest of the image.
pub const IMAGE: &str = "com.docker.compose.image";
/// The label with the directory of the project.
pub const DIR: &str = "com.docker.compose.project.working_dir";
/// The label with the files of the project, separated by commas.
pub const FILES: &str = "com.docker.compose.project.config_files";
/// The label with the services that it needs: `NAME:CONDITION:false`, separated by commas.
pub const DEPENDS: &str = "com.docker.compose.depends_on";

/// A machine of a project.
#[derive(Clone, Debug)]
pub struct Member {
    /// The machine.
    pub machine: Machine,
    /// Its service.
    pub service: String,
    /// Its number in the service, from 1.
    pub number: u32,
}

impl Member {
    fn of(machine: Machine) -> Option<(String, Self)> {
        let labels = &machine.spec.labels;
        let project = labels.get(PROJECT)?.clone();
        let member = Self {
            service: labels.get(SERVICE)?.clone(),
            number: labels
                .get(NUMBER)
                .and_then(|text| text.parse().ok())
                .unwrap_or(1),
            machine,
        };
        Some((project, member))
    }

    /// Returns whether `run` created it for one command.
    pub fn is_one_off(&self) -> bool {
        self.label(ONE_OFF) == Some("True")
    }

    /// Returns a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.machine.spec.labels.get(name).map(String::as_str)
    }

    /// Returns the services that it needs.
    pub fn needs(&self) -> impl Iterator<Item = &str> {
        let needs = self.label(DEPENDS).unwrap_or_default().split(',');
        needs.filter_map(|need| need.split(':').next().filter(|name| !name.is_empty()))
    }

    /// Returns what the plan compares.
    pub fn current(&self) -> Current {
        Current {
            machine: self.machine.name.clone(),
            service: self.service.clone(),
            number: self.number,
            hash: self.label(HASH).unwrap_or_default().to_owned(),
            image: self.label(IMAGE).map(str::to_owned),
            is_up: self.machine.state.is_up(),
        }
    }
}

/// Returns the machines of every project, by its name.
///
/// # Errors
///
/// If the machines cannot be listed.
pub fn projects(
    machines: &Machines,
) -> Result<BTreeMap<String, Vec<Member>>, kraft_machine::Error> {
    let mut projects: BTreeMap<String, Vec<Member>> = BTreeMap::new();
    for listed in machines.list()? {
        if let Listed::Machine(machine) = listed
            && let Some((project, member)) = Member::of(*machine)
        {
            projects.entry(project).or_default().push(member);
        }
    }
    Ok(projects)
}

/// Returns the machines of the services of a project, those that others need first.
///
/// # Errors
///
/// If the machines cannot be listed.
pub fn members(machines: &Machines, project: &str) -> Result<Vec<Member>, kraft_machine::Error> {
    let mut members = all_members(machines, project)?;
    members.retain(|member| !member.is_one_off());
    Ok(members)
}

/// Returns the machines of a project, also those that `run` created.
///
/// # Errors
///
/// If the machines cannot be listed.
pub fn all_members(
    machines: &Machines,
    project: &str,
) -> Result<Vec<Member>, kraft_machine::Error> {
    let members = projects(machines)?.remove(project).unwrap_or_default();
    Ok(ordered(members))
}

/// Sorts machines by their services: those that others need first, otherwise by name.
fn ordered(mut members: Vec<Member>) -> Vec<Member> {
    members.sort_by(|one, other| (&one.service, one.number).cmp(&(&other.service, other.number)));
    let mut sorted: Vec<Member> = Vec::with_capacity(members.len());
    while !members.is_empty() {
        let waits = |member: &Member, rest: &[Member]| {
            member.needs().any(|need| {
                need != member.service && rest.iter().any(|other| other.service == need)
            })
        };
        let (blocked, free): (Vec<Member>, Vec<Member>) = {
            let rest = members.clone();
            members.into_iter().partition(|member| waits(member, &rest))
        };
        if free.is_empty() {
            // The labels contradict each other.
            sorted.extend(blocked);
            return sorted;
        }
        sorted.extend(free);
        members = blocked;
    }
    sorted
}
