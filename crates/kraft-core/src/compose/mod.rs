//! Compose files: parses a text to services, volumes and their order, or reports everything that is
//! wrong with it.
//!
//! ```text
//! text ─ yaml ─► tree ─ interpolate ─► tree ─ check ─► problems
//!                                        └─ extend, include, merge ─ lower ─► Compose ─ order ─► services, needed ones first
//! ```
//!
//! The format is that of the Compose specification (compose-spec.io), as far as it applies to
//! unikernels; unsupported keys cause a warning. Nothing here opens a file or reads the
//! environment.
//!
//! ```
//! use kraft_core::compose;
//!
//! let text = "\
//! services:
//!   web:
//!     image: example.com/web:${TAG}
//!     depends_on: [db]
//!   db:
//!     image: example.com/db
//! ";
//! let parsed = compose::parse(text, &|name| (name == "TAG").then(|| "1.0".to_owned()));
//! let file = parsed.compose.expect("a sound file");
//! let order: Vec<&str> = file.order(&[]).iter().map(|s| s.name.as_str()).collect();
//! assert_eq!(order, ["db", "web"]);
//! let web = file.service("web").expect("a service");
//! assert_eq!(web.image.as_deref(), Some("example.com/web:1.0"));
//! ```

mod between;
mod canonical;
mod effect;
mod env;
mod health;
mod load;
mod lower;
mod merge;
mod model;
mod order;
mod paths;
mod shape;
mod short;
mod tags;
mod used;

pub use canonical::{Canonical, canonical};
pub use env::{plain_variables, variables};
pub use health::probe_of;
pub use load::{Loaded, Loading, load, load_merged};
pub use model::{
    Build, Compose, Condition, Dependency, EnvFile, ExtraHost, FileContent, FileMount, FileSource,
    Health, HostAddress, Mount, MountKind, Network, Port, PullPolicy, Service, ServiceNetwork,
    Variable, Volume, WatchAction, WatchRule,
};
pub use used::{UsedVariable, used_variables};

pub use crate::document::located::Located;
pub use crate::document::open::LARGEST;

use crate::document::open::Kind;
use crate::problem::{Problem, Text};

const KIND: Kind = Kind {
    name: "a Compose file",
    begin: "a Compose file has `services:`",
    tags: &[tags::RESET, tags::OVERRIDE],
};

/// Names of Compose files, in order of preference (as in KraftKit).
pub const FILE_NAMES: [&str; 5] = [
    "docker-compose.yml",
    "docker-compose.yaml",
    "compose.yml",
    "compose.yaml",
    "Composefile",
];

/// The result of parsing a Compose file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The file; `None` if any of the problems is an error.
    pub compose: Option<Compose>,
    /// All problems, in the order of the text.
    pub problems: Vec<Problem>,
}

/// Where a project runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the cloud.
    Cloud,
    /// On this host.
    Host,
}

/// Parses a Compose file for the cloud that names no other file; `vars` looks up the variables that
/// it may use.
pub fn parse(text: &str, vars: &dyn Fn(&str) -> Option<String>) -> Parsed {
    let file = Text {
        name: "compose.yaml".to_owned(),
        text: text.to_owned(),
    };
    let loaded = load(
        vec![file],
        Loading {
            place: Place::Cloud,
            vars,
            read: &|_| Err("there is one file only".to_owned()),
        },
    );
    Parsed {
        compose: loaded.compose,
        problems: loaded.problems.into_iter().map(|(_, it)| it).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::RestartPolicy;

    fn read(text: &str) -> Compose {
        let parsed = parse(text, &|name| (name == "TAG").then(|| "v2".to_owned()));
        parsed
            .compose
            .unwrap_or_else(|| panic!("{:#?}", parsed.problems))
    }

    fn said(text: &str) -> String {
        let parsed = parse(text, &|_| None);
        let all: Vec<&str> = parsed
            .problems
            .iter()
            .map(|one| one.message.as_str())
            .collect();
        all.join("\n")
    }

    #[test]
    fn short_and_long_forms_of_services_are_parsed() {
        let compose = read(
            "name: shop\nservices:\n  web:\n    image: nginx:${TAG}\n    ports: [443:8080, '53:53/udp']\n    \
             environment: {A: 1, B: }\n    depends_on: [db]\n    mem_limit: 256m\n  db:\n    \
             build: ./db\n    command: [/bin/db, -v]\n    environment: [C=x, D]\n    volumes:\n      \
             - data:/data:ro\n      - {type: volume, source: logs, target: /logs}\n    \
             deploy: {resources: {limits: {memory: 1g}}, replicas: 2}\n    restart: unless-stopped\n\
             volumes:\n  data: {driver_opts: {size: 64m}}\n  logs:\n",
        );
        assert_eq!(compose.name.as_deref(), Some("shop"));
        let [web, db] = compose.services.as_slice() else {
            panic!("{compose:#?}");
        };
        assert_eq!(web.image.as_deref(), Some("nginx:v2"));
        assert_eq!(web.memory, Some(256 << 20));
        assert_eq!(
            (web.ports[0].published, web.ports[0].target),
            (Some(443), 8080)
        );
        assert_eq!(web.ports[1].protocol, "udp");
        assert_eq!(web.environment[0].value.as_deref(), Some("1"));
        assert_eq!(web.environment[1].value, None);
        assert_eq!(db.build.as_ref().unwrap().context, "./db");
        assert_eq!(db.command.as_deref().unwrap(), ["/bin/db", "-v"]);
        assert_eq!((db.memory, db.replicas), (Some(1 << 30), Some(2)));
        assert_eq!(db.restart, Some(RestartPolicy::UnlessStopped));
        assert!(db.volumes[0].read_only && db.volumes[1].source == "logs");
        assert_eq!(compose.volumes[0].size, Some(64 << 20));
        let order: Vec<&str> = compose
            .order(&[])
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(order, ["db", "web"]);
        let needed: Vec<&str> = compose
            .order(&["web".to_owned()])
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(needed, ["db", "web"]);
    }

    #[test]
    fn errors_name_the_invalid_value() {
        let say = |text: &str| said(&format!("services:\n  a:\n    {text}\n"));
        assert!(say("image: x\n    depends_on: [b]").contains("there is no service `b`"));
        let file = "services: {a: {image: x, depends_on: [b]}}";
        let place = parse(file, &|_| None).problems[0].span.unwrap();
        assert_eq!(file.get(place.start..place.end), Some("b"));
        assert!(say("image: x\n    privileged: true").contains("`privileged` has no effect"));
        assert!(say("ports: [80]").contains("has neither an image nor a build"));
        assert!(say("image: x\n    ports: [80-90:80-89]").contains("the same length"));
        assert!(say("image: x\n    imag: y").contains("unknown key `imag`"));
        assert!(say("image: x\n    mem_limit: much").contains("`much`: it is not a valid amount"));
        assert!(
            said("services: {a: {image: x, depends_on: [b]}, b: {image: x, depends_on: [a]}}")
                .contains("need each other")
        );
        assert!(said("").contains("empty"));
        assert!(said("[]").contains("must be a mapping"));
    }
}
