//! Machines for one command of a service: `kraft compose run`.

use std::collections::BTreeMap;

use kraft_core::compose::{MountKind, Service};
use kraft_core::lifecycle::RestartPolicy;
use kraft_core::mount::Volume;
use kraft_core::port::PortMapping;
use kraft_machine::{Id, Machine};

use super::definition::Definition;
use super::images::ImageOptions;
use super::up::create_one;
use super::{Error, state};
use crate::context::Context;
use crate::machines;

/// How a machine for one command differs from those of its service.
#[derive(Clone, Debug, Default)]
pub struct OneOff {
    /// The name; by default that of the service with random digits.
    pub name: Option<String>,
    /// The arguments, if they are other ones.
    pub command: Option<Vec<String>>,
    /// The program, if it is another one.
    pub entrypoint: Option<Vec<String>>,
    /// The directory that the program starts in, if it is another one.
    pub working_dir: Option<String>,
    /// More variables.
    pub env: BTreeMap<String, String>,
    /// More labels.
    pub labels: BTreeMap<String, String>,
    /// More ports.
    pub ports: Vec<PortMapping>,
    /// Whether the ports of the service are published.
    pub service_ports: bool,
    /// Whether it has the names of the service in its networks.
    pub use_aliases: bool,
    /// More volumes.
    pub volumes: Vec<Volume>,
    /// Whether it is removed when it ends.
    pub remove: bool,
    /// Whether its console takes input.
    pub stdin: bool,
    /// Whether its console is a terminal.
    pub tty: bool,
}

/// Creates a machine for one command of a service. It has neither the fixed addresses nor the
/// anonymous volumes nor the restart policy of the service.
///
/// # Errors
///
/// If something cannot be built or created.
pub fn create(
    ctx: &Context,
    definition: &Definition,
    service: &Service,
    options: OneOff,
    images: &ImageOptions,
) -> Result<Option<Machine>, Error> {
    let service = changed(service, &options);
    let Some(mut wanted) = definition.wanted(ctx, &[&service])?.pop() else {
        return Ok(None);
    };
    let name = options.name.unwrap_or_else(|| {
        let id = Id::new().to_string();
        let digits = id.get(..8).unwrap_or_default();
        format!("{}-{}-run-{digits}", definition.project, service.name)
    });
    wanted.described.machine.clone_from(&name);
    let request = &mut wanted.request;
    request.name = Some(name);
    request.env.extend(options.env);
    request.labels.extend(options.labels);
    request
        .labels
        .insert(state::ONE_OFF.to_owned(), "True".to_owned());
    request.ports.extend(options.ports);
    request.volumes.extend(options.volumes);
    request.remove_when_ended = options.remove;
    request.stdin = options.stdin;
    request.tty = options.tty;
    for interface in &mut request.networks {
        (interface.address, interface.mac) = (None, None);
        if !options.use_aliases {
            interface.aliases.clear();
        }
    }
    let boot = definition.prepare(ctx, &service, request, images)?;
    let machines = machines::open(ctx)?;
    definition.make_networks(ctx, &machines.networks(), &[&service])?;
    create_one(ctx, &machines, &definition.project, &wanted, boot, None).map(Some)
}

/// Returns the service with what the options change.
fn changed(service: &Service, options: &OneOff) -> Service {
    let mut service = Service {
        replicas: Some(1),
        container_name: None,
        restart: Some(RestartPolicy::No),
        sleep_after: None,
        ..service.clone()
    };
    if options.entrypoint.is_some() {
        service.entrypoint.clone_from(&options.entrypoint);
        service.command = None;
    }
    if options.command.is_some() {
        service.command.clone_from(&options.command);
    }
    if options.working_dir.is_some() {
        service.working_dir.clone_from(&options.working_dir);
    }
    if !options.service_ports {
        service.ports.clear();
    }
    service
        .volumes
        .retain(|mount| mount.kind != MountKind::Anonymous);
    service
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_replaces_that_of_the_service_and_an_entry_point_both() {
        let words = |text: &str| Some(text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let service = Service {
            entrypoint: words("/bin/web"),
            command: words("-v serve"),
            replicas: Some(3),
            ..Service::default()
        };
        for (entrypoint, command, expected) in [
            (None, None, (words("/bin/web"), words("-v serve"))),
            (None, words("check"), (words("/bin/web"), words("check"))),
            (words("/bin/sh"), None, (words("/bin/sh"), None)),
            (
                words("/bin/sh"),
                words("-i"),
                (words("/bin/sh"), words("-i")),
            ),
        ] {
            let options = OneOff {
                command,
                entrypoint,
                ..OneOff::default()
            };
            let changed = changed(&service, &options);
            assert_eq!((changed.entrypoint, changed.command), expected);
            assert_eq!(changed.replicas, Some(1));
        }
    }
}
