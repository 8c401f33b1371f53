//! What has to happen so that the machines of a project are those that its files describe. Pure.
//!
//! | the machine | action |
//! |---|---|
//! | does not exist | create it |
//! | has another configuration or another image | create it again, unless `--no-recreate` |
//! | is as described | keep it, or with `--force-recreate` create it again |
//! | has a number above that of the replicas | remove it |
//! | belongs to a service that is not described | an orphan: remove it with `--remove-orphans` |
//!
//! ```
//! use kraft_engine::compose::plan::{Action, Described, Recreate, plan};
//!
//! let web = Described {
//!     machine: "shop-web".to_owned(),
//!     service: "web".to_owned(),
//!     number: 1,
//!     hash: "a".to_owned(),
//!     image: None,
//! };
//! let plan = plan(&[web], &[], &["web"], &|_| Recreate::Changed);
//! assert_eq!(plan.actions, [Action::Create]);
//! assert!(plan.surplus.is_empty() && plan.orphans.is_empty());
//! ```

/// A machine that the files describe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub machine: String,
    /// Its service.
    pub service: String,
    /// Its number in the service, from 1.
    pub number: u32,
    /// The digest of its configuration.
    pub hash: String,
    /// The digest of its image, if that is known.
    pub image: Option<String>,
}

/// A machine of the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// Its name.
    pub machine: String,
    /// Its service.
    pub service: String,
    /// Its number in the service, from 1.
    pub number: u32,
    /// The digest of its configuration.
    pub hash: String,
    /// The digest of its image, if that was known.
    pub image: Option<String>,
    /// Whether it runs.
    pub is_up: bool,
}

/// When existing machines are created again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recreate {
    /// If they have changed.
    #[default]
    Changed,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What happens to a machine that is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is created.
    Create,
    /// The machine of this name is removed, and it is created.
    Recreate(String),
    /// The machine of this name stays.
    Keep(String),
}

/// What happens to a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What happens to each described machine, in their order.
    pub actions: Vec<Action>,
    /// Machines of the described services that are not described: there are fewer replicas now.
    pub surplus: Vec<String>,
    /// Machines of services that the files do not have.
    pub orphans: Vec<String>,
}

/// Plans what happens; `services` are all services of the files, also those that are not selected, and
/// `recreate` is asked for each service of a machine that exists.
pub fn plan(
    described: &[Described],
    current: &[Current],
    services: &[&str],
    recreate: &dyn Fn(&str) -> Recreate,
) -> Plan {
    let is = |one: &Described, other: &Current| {
        one.service == other.service && one.number == other.number
    };
    let action = |one: &Described| {
        let Some(found) = current.iter().find(|other| is(one, other)) else {
            return Action::Create;
        };
        let same_image = one.image.is_none() || one.image == found.image;
        let same = one.hash == found.hash && one.machine == found.machine && same_image;
        match recreate(&one.service) {
            Recreate::Always => Action::Recreate(found.machine.clone()),
            Recreate::Changed if !same => Action::Recreate(found.machine.clone()),
            Recreate::Changed | Recreate::Never => Action::Keep(found.machine.clone()),
        }
    };
    let selected = |other: &&Current| described.iter().any(|one| one.service == other.service);
    let missing = |other: &&Current| !described.iter().any(|one| is(one, other));
    let name = |it: &Current| it.machine.clone();
    let orphan = |other: &&Current| !services.contains(&other.service.as_str());
    Plan {
        actions: described.iter().map(action).collect(),
        surplus: current
            .iter()
            .filter(|other| selected(other) && missing(other))
            .map(name)
            .collect(),
        orphans: current.iter().filter(orphan).map(name).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(service: &str, number: u32, hash: &str, image: Option<&str>) -> Described {
        Described {
            machine: format!("p-{service}-{number}"),
            service: service.to_owned(),
            number,
            hash: hash.to_owned(),
            image: image.map(str::to_owned),
        }
    }

    fn current(service: &str, number: u32, hash: &str, image: Option<&str>) -> Current {
        Current {
            machine: format!("p-{service}-{number}"),
            service: service.to_owned(),
            number,
            hash: hash.to_owned(),
            image: image.map(str::to_owned),
            is_up: true,
        }
    }

    #[test]
    fn only_changed_machines_are_created_again() {
        let there = [current("web", 1, "a", Some("i"))];
        for (hash, image, recreate, expected) in [
            ("a", Some("i"), Recreate::Changed, "keep"),
            ("a", None, Recreate::Changed, "keep"),
            ("b", Some("i"), Recreate::Changed, "recreate"),
            ("a", Some("j"), Recreate::Changed, "recreate"),
            ("b", Some("j"), Recreate::Never, "keep"),
            ("a", Some("i"), Recreate::Always, "recreate"),
        ] {
            let plan = plan(
                &[described("web", 1, hash, image)],
                &there,
                &["web"],
                &|_| recreate,
            );
            let expected = match expected {
                "keep" => Action::Keep("p-web-1".to_owned()),
                _ => Action::Recreate("p-web-1".to_owned()),
            };
            assert_eq!(plan.actions, [expected], "{hash} {image:?} {recreate:?}");
        }
    }

    #[test]
    fn replicas_are_added_and_removed_from_the_end() {
        let there = [
            current("web", 1, "a", None),
            current("web", 2, "a", None),
            current("db", 1, "d", None),
        ];
        let two: Vec<Described> = (1..=3).map(|n| described("web", n, "a", None)).collect();
        let services = ["web", "db"];
        let plan_of = |one: &[Described]| plan(one, &there, &services, &|_| Recreate::Changed);
        let more = plan_of(&two);
        assert_eq!(more.actions.last(), Some(&Action::Create));
        assert!(more.surplus.is_empty(), "db is not selected, and stays");
        assert_eq!(plan_of(&two[..1]).surplus, ["p-web-2"]);
    }

    #[test]
    fn a_renamed_machine_is_created_again_and_services_that_are_gone_leave_orphans() {
        let mut renamed = described("web", 1, "a", None);
        renamed.machine = "other".to_owned();
        let there = [current("web", 1, "a", None), current("old", 1, "o", None)];
        let plan = plan(&[renamed], &there, &["web"], &|_| Recreate::Changed);
        assert_eq!(plan.actions, [Action::Recreate("p-web-1".to_owned())]);
        assert_eq!(plan.orphans, ["p-old-1"]);
    }
}
