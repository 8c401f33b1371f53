//! New machines from snapshots: what they have in common with the machine that was saved, and what
//! is theirs alone.
//!
//! ```no_run
//! # use kraft_engine::context::Context;
//! use kraft_engine::{machines, snapshots};
//!
//! # fn example(context: &Context) -> Result<(), kraft_machine::Error> {
//! let machines = machines::open(context)?;
//! let snapshot = machines.snapshot("web")?;
//! let spec = snapshots::spec(&snapshot.saved.spec, &snapshots::Changes::default());
//! let machine = machines.create_from(&snapshot.dir, &spec)?;
//! machines.start(&machine.id)?;
//! # Ok(())
//! # }
//! ```

use std::path::Path;

use kraft_core::machine::MachineSpec;
use kraft_core::net::Interface;
use kraft_core::port::PortMapping;
use kraft_machine::{Error, Machine, Machines, Watch};

/// What is different from the machine that was saved.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The name; `None` to generate one.
    pub name: Option<String>,
    /// The ports; `None` for those of the saved machine.
    pub ports: Option<Vec<PortMapping>>,
    /// Whether the machine is removed when it ends.
    pub remove_when_ended: bool,
}

/// A machine that was made of another one, with the outcome of its start.
pub type Fork = (Machine, Result<Watch, Error>);

/// Returns the specification of a machine that continues as another one: it is in the same
/// networks, with addresses of its own.
#[must_use]
pub fn spec(saved: &MachineSpec, changes: &Changes) -> MachineSpec {
    let networks = saved.networks.iter().map(|interface| Interface {
        network: interface.network.clone(),
        aliases: interface.aliases.clone(),
        ..Interface::default()
    });
    MachineSpec {
        name: changes.name.clone(),
        ports: changes.ports.clone().unwrap_or_else(|| saved.ports.clone()),
        networks: networks.collect(),
        remove_when_ended: changes.remove_when_ended,
        ..saved.clone()
    }
}

/// Returns the ports of a machine on ports of the host that are chosen when it is started.
#[must_use]
pub fn any_ports(saved: &[PortMapping]) -> Vec<PortMapping> {
    let any = |port: &PortMapping| PortMapping {
        host_port: 0,
        ..port.clone()
    };
    saved.iter().map(any).collect()
}

/// Creates machines that continue what was saved in a directory, and starts them at once.
/// Their names are `base` and a number. Returns the machines with the outcomes of their starts.
///
/// # Errors
///
/// If a machine cannot be created. Those that were are removed.
pub fn fork(
    machines: &Machines,
    from: &Path,
    saved: &MachineSpec,
    base: &str,
    count: u32,
    changes: &Changes,
) -> Result<Vec<Fork>, Error> {
    let mut forks: Vec<Machine> = Vec::new();
    let mut number = 0;
    while forks.len() < count as usize {
        number += 1;
        let spec = spec(
            saved,
            &Changes {
                name: Some(format!("{base}-{number}")),
                ..changes.clone()
            },
        );
        match machines.create_from(from, &spec) {
            Ok(machine) => forks.push(machine),
            Err(Error::NameTaken { .. }) => {}
            Err(error) => {
                for machine in &forks {
                    // Only the first error is returned.
                    let _ = machines.remove(&machine.id, true);
                }
                return Err(error);
            }
        }
    }
    // Each start waits most of the time.
    let started: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = forks
            .iter()
            .map(|machine| scope.spawn(|| machines.start(&machine.id)))
            .collect();
        let join = |start: std::thread::ScopedJoinHandle<'_, _>| {
            start
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        starts.into_iter().map(join).collect()
    });
    Ok(forks.into_iter().zip(started).collect())
}

#[cfg(test)]
mod tests {
    use kraft_core::port;

    use super::*;

    #[test]
    fn another_machine_has_other_addresses_in_the_same_networks() {
        let text = r#"{"name": "web", "arch": "x86_64", "platform": "qemu", "origin": "", "kernel": "/k",
            "boot": "pvh", "initrd": null, "kernel_args": [], "args": [], "env": {}, "memory": 1048576,
            "cpus": 1, "ports": [], "volumes": [], "acceleration": "tcg", "remove_when_ended": true}"#;
        let mut saved: MachineSpec = serde_json::from_str(text).unwrap();
        saved.ports = port::parse("8080:80").unwrap();
        saved.networks = vec![Interface::parse("web:172.18.0.5/16:172.18.0.1").unwrap()];
        let other = spec(&saved, &Changes::default());
        assert_eq!((other.name, other.remove_when_ended), (None, false));
        assert_eq!(other.networks, [Interface::parse("web").unwrap()]);
        assert_eq!(other.ports, saved.ports);
        assert_eq!(any_ports(&saved.ports), port::parse("0:80").unwrap());
    }
}
