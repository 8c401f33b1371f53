//! What a service says about another one: `links` and `volumes_from`.

use crate::document::node::Node;
use crate::document::problems::Problems;
use crate::problem::Problem;

use super::model::{Condition, Dependency, Mount, Service, ServiceNetwork};
use super::shape::{FILE, SERVICE};

/// Gives services what others link to them: a dependency, and the name of the link as an alias in
/// all their networks; and the volumes that they take from others.
pub(super) fn connect(root: &Node, services: &mut [Service], problems: &mut Problems) {
    let Some(nodes) = FILE.get(root, "services") else {
        return;
    };
    for entry in nodes.entries() {
        let items = |key: &str| {
            let list = SERVICE.get(&entry.value, key).map(Node::items);
            list.unwrap_or_default().iter().filter_map(Node::text)
        };
        let mut mounts: Vec<Mount> = Vec::new();
        let mut needs: Vec<Dependency> = Vec::new();
        for (key, item) in items("links")
            .map(|item| ("links", item))
            .chain(items("volumes_from").map(|item| ("volumes_from", item)))
        {
            let (name, option) = match item.value.split_once(':') {
                Some((name, option)) => (name, Some(option)),
                None => (item.value.as_str(), None),
            };
            let Some(other) = services.iter_mut().find(|one| one.name == name) else {
                let message = format!("there is no service `{name}`, which `{key}` names");
                problems.push(Problem::error(message).at(item.span));
                continue;
            };
            needs.push(Dependency {
                service: name.to_owned(),
                span: item.span,
                condition: Condition::ServiceStarted,
                required: true,
                restart: false,
            });
            match (key, option) {
                ("links", Some(alias)) => add_alias(other, alias),
                ("links", None) => {}
                (_, option) => mounts.extend(other.volumes.iter().map(|mount| Mount {
                    read_only: mount.read_only || option == Some("ro"),
                    ..mount.clone()
                })),
            }
        }
        let Some(service) = services.iter_mut().find(|one| one.name == entry.key.value) else {
            continue;
        };
        needs.retain(|need| !service.needs(&need.service));
        needs.dedup_by(|one, other| one.service == other.service);
        service.depends_on.append(&mut needs);
        let own = |mount: &Mount| service.volumes.iter().any(|it| it.target == mount.target);
        mounts.retain(|mount| !own(mount));
        service.volumes.append(&mut mounts);
    }
}

fn add_alias(service: &mut Service, alias: &str) {
    let default = || {
        vec![ServiceNetwork {
            network: super::lower::DEFAULT_NETWORK.to_owned(),
            span: service.span,
            ..ServiceNetwork::default()
        }]
    };
    for network in service.networks.get_or_insert_with(default) {
        if !network.aliases.iter().any(|one| one == alias) {
            network.aliases.push(alias.to_owned());
        }
    }
}
