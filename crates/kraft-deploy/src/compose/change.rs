//! Whether an instance is still what the file says.

use kraft_cloud::ErrorKind;
use kraft_cloud::request::Id;
use kraft_cloud::resources::instances::{
    CreateInstance, Instance, InstanceVolume, NewGroup, WantedGroup, WantedVolume,
};
use kraft_cloud::resources::services::{self, Domain, Group, Service as Published, WantedDomain};

use super::Cloud;
use kraft_engine::failure::Failure;

/// What restarts an instance if nobody says (cloud description, `restart_policy`).
const USUAL_RESTART: &str = "never";

/// Returns whether an instance is what is wanted, as far as the file says anything.
pub(super) fn is_as_wanted(
    cloud: &Cloud,
    one: &Instance,
    wanted: &CreateInstance,
) -> Result<bool, Failure> {
    let memory = wanted
        .memory_mb
        .is_none_or(|memory| memory == one.memory_mb);
    let args = wanted.args.is_empty() || wanted.args == one.args;
    let restart = restart(Some(&one.restart_policy)) == restart(wanted.restart_policy.as_deref());
    let volumes = one.volumes.len() == wanted.volumes.len()
        && wanted.volumes.iter().all(|volume| sees(one, volume));
    let itself = one.image == wanted.image && one.env == wanted.env;
    Ok(itself && memory && args && restart && volumes && is_published(cloud, one, wanted)?)
}

fn restart(policy: Option<&str>) -> &str {
    policy
        .filter(|policy| !policy.is_empty())
        .unwrap_or(USUAL_RESTART)
}

fn sees(one: &Instance, wanted: &WantedVolume) -> bool {
    let is = |volume: &InstanceVolume| match &wanted.id {
        Id::Uuid(uuid) => volume.uuid == *uuid,
        Id::Name(name) => volume.name == *name,
    };
    let mut volumes = one.volumes.iter().filter(|volume| is(volume));
    volumes.any(|volume| volume.at == wanted.at && volume.readonly == wanted.readonly)
}

/// Returns whether an instance and its copies are published as is wanted.
fn is_published(cloud: &Cloud, one: &Instance, wanted: &CreateInstance) -> Result<bool, Failure> {
    let (new, there) = match (&wanted.service_group, &one.service_group) {
        (Some(WantedGroup::New(new)), Some(there)) => (new, there),
        // Whoever names a group says no more of it.
        (Some(_), there) => return Ok(there.is_some()),
        (None, there) => return Ok(there.is_none()),
    };
    let asked = services::get(&[Id::Uuid(there.uuid.clone())]);
    match cloud.send(&asked)?.one() {
        Ok(group) => Ok(is_group(&group, new, wanted.replicas.unwrap_or(0))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn is_group(group: &Group, new: &NewGroup, copies: u32) -> bool {
    let ports = |all: &[Published]| {
        let mut all: Vec<(u16, u16, Vec<String>)> = all.iter().map(port).collect();
        all.sort();
        all
    };
    let has = |wanted: &WantedDomain| group.domains.iter().any(|one| is_domain(one, wanted));
    ports(&group.services) == ports(&new.services)
        && new.domains.iter().all(has)
        && group.instances.len() == copies as usize + 1
}

/// Returns a published port in the one way to write it.
fn port(one: &Published) -> (u16, u16, Vec<String>) {
    let mut handlers = one.handlers.clone();
    handlers.sort();
    (one.port, one.destination_port.unwrap_or(one.port), handlers)
}

fn is_domain(one: &Domain, wanted: &WantedDomain) -> bool {
    match wanted.name.strip_suffix('.') {
        Some(whole) => one.fqdn == whole,
        None => one.fqdn.split('.').next() == Some(wanted.name.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use kraft_cloud::resources::Named;

    use super::*;

    fn published(port: u16, inner: Option<u16>, handlers: &[&str]) -> Published {
        Published {
            port,
            destination_port: inner,
            handlers: handlers.iter().map(|&word| word.to_owned()).collect(),
        }
    }

    #[test]
    fn a_group_is_the_same_however_it_is_written() {
        let group = Group {
            services: vec![
                published(443, Some(8080), &["tls", "http"]),
                published(9000, Some(9000), &["tls"]),
            ],
            domains: vec![Domain {
                fqdn: "shop.example".to_owned(),
                certificate: None,
            }],
            instances: vec![Named::default()],
            ..Group::default()
        };
        let wanted = |name: &str| NewGroup {
            services: vec![
                published(9000, None, &["tls"]),
                published(443, Some(8080), &["http", "tls"]),
            ],
            domains: vec![WantedDomain {
                name: name.to_owned(),
                certificate: None,
            }],
        };
        assert!(is_group(&group, &wanted("shop.example."), 0));
        assert!(is_group(&group, &wanted("shop"), 0));
        assert!(!is_group(&group, &wanted("other"), 0));
        assert!(!is_group(&group, &wanted("shop"), 1));
        let mut other = wanted("shop");
        other.services.pop();
        assert!(!is_group(&group, &other, 0));
    }
}
