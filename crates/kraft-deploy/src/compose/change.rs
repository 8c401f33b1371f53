//! Compare an instance with the one that the Compose file describes.

use kraft_cloud::request::Id;
use kraft_cloud::resources::images::without_host;
use kraft_cloud::resources::instances::{
    CreateInstance, Instance, InstanceVolume, NewGroup, WantedGroup, WantedVolume,
};
use kraft_cloud::resources::services::{self, Domain, Group, Service as Published, WantedDomain};

use crate::cloud::Cloud;
use crate::error::RequestError;

/// The default restart policy (cloud description, `restart_policy`).
const DEFAULT_RESTART: &str = "never";

/// Returns whether an instance is up to date, in every property that the file specifies.
pub(crate) fn is_up_to_date(
    cloud: &Cloud,
    one: &Instance,
    wanted: &CreateInstance,
) -> Result<bool, RequestError> {
    let memory = wanted
        .memory_mb
        .is_none_or(|memory| memory == one.memory_mb);
    let args = wanted.args.is_empty() || wanted.args == one.args;
    let restart = restart(Some(&one.restart_policy)) == restart(wanted.restart_policy.as_deref());
    let volumes = one.volumes.len() == wanted.volumes.len()
        && wanted.volumes.iter().all(|volume| mounts(one, volume));
    let itself = without_host(&one.image) == without_host(&wanted.image) && one.env == wanted.env;
    Ok(itself && memory && args && restart && volumes && is_published(cloud, one, wanted)?)
}

fn restart(policy: Option<&str>) -> &str {
    policy
        .filter(|policy| !policy.is_empty())
        .unwrap_or(DEFAULT_RESTART)
}

fn mounts(one: &Instance, wanted: &WantedVolume) -> bool {
    let is = |volume: &InstanceVolume| match &wanted.id {
        Id::Uuid(uuid) => volume.uuid == *uuid,
        Id::Name(name) => volume.name == *name,
    };
    let mut volumes = one.volumes.iter().filter(|volume| is(volume));
    volumes.any(|volume| volume.at == wanted.at && volume.readonly == wanted.readonly)
}

/// Returns whether an instance and its replicas are published as requested.
fn is_published(
    cloud: &Cloud,
    one: &Instance,
    wanted: &CreateInstance,
) -> Result<bool, RequestError> {
    let (new, there) = match (&wanted.service_group, &one.service_group) {
        (Some(WantedGroup::New(new)), Some(there)) => (new, there),
        // The name of a group is all that is specified.
        (Some(_), there) => return Ok(there.is_some()),
        (None, there) => return Ok(there.is_none()),
    };
    let asked = services::get(&[Id::Uuid(there.uuid.clone())]);
    match cloud.one(&asked) {
        Ok(group) => Ok(is_group(&group, new, wanted.replicas.unwrap_or(0))),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_group(group: &Group, new: &NewGroup, replicas: u32) -> bool {
    let ports = |all: &[Published]| {
        let mut all: Vec<(u16, u16, Vec<String>)> = all.iter().map(port).collect();
        all.sort();
        all
    };
    let has = |wanted: &WantedDomain| group.domains.iter().any(|one| is_domain(one, wanted));
    ports(&group.services) == ports(&new.services)
        && new.domains.iter().all(has)
        && group.instances.len() == replicas as usize + 1
}

/// Returns a published port in normal form.
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
            handlers: handlers.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn groups_are_compared_in_normal_form() {
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
