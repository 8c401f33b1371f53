//! Configures a Firecracker and starts its guest.

use std::time::{Duration, Instant};

use kraft_core::machine::MachineSpec;
use kraft_core::quantity::MIB;
use kraft_sys::process::{Identity, Process};

use super::api::{Api, ApiError};
use super::events::{self, Event};
use super::request::{
    Action, BootSource, Entropy, Logger, MachineConfig, NetworkInterface, Request,
};
use super::{ending, faults, jail};
use crate::driver::{BootError, Launch, Vmm};

/// The maximal number of processors of a guest.
pub(super) const MOST_CPUS: u32 = 32;

/// The maximal length of a kernel command line in bytes: 2048, without the devices that Firecracker
/// adds (`virtio_mmio.device=4K@0xd0000000:5`), at most four of them.
pub(super) const LONGEST_LINE: usize = 2048 - 4 * 48;

/// How long it is watched after the start of the guest: if KVM cannot run guests, it exits at once.
const WATCH: Duration = Duration::from_millis(100);

/// How long a process that exits may take to its end: its memory is freed.
const END_OF_EXIT: Duration = Duration::from_secs(1);

/// How long one request may take: the memory of the guest is allocated, and its kernel loaded.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

/// Configures it, and starts the guest, unless that is restored.
pub(super) fn boot(vmm: &Vmm<'_>, launch: &Launch<'_>, deadline: Instant) -> Result<(), BootError> {
    let jailed = jail::is_jailer(launch.program);
    if jailed {
        jail::link_socket(vmm.dir, launch.program)?;
    }
    let mut api = connect(vmm, deadline)?;
    if jailed {
        jail::furnish(vmm, launch)?;
        let log = Request::Logger(Logger {
            level: "Warning",
            log_path: Some("vmm.log"),
        });
        api.send(&log).map_err(|error| failed(error, vmm))?;
    }
    let requests = match launch.saved {
        Some(_) => vec![log_of_the_end()],
        None => requests(launch),
    };
    for request in requests {
        match (api.send(&request), &request) {
            (Ok(()), _) => {}
            // The guest ran, and has powered off before there was an answer.
            (Err(ApiError::Closed | ApiError::Io(_)), Request::Action(_))
                if exits(vmm.process) && !ending::failed(vmm.dir) => {}
            (Err(error), _) => return Err(failed(error, vmm)),
        }
    }
    if launch.saved.is_some() {
        return Ok(events::append(vmm.dir, Event::Ready)?);
    }
    let process = Process::open(vmm.process)?;
    let exited = match process {
        Some(process) => process.wait(Some(WATCH))?,
        None => true,
    };
    if exited && ending::failed(vmm.dir) {
        return Err(BootError::Exited);
    }
    Ok(events::append(vmm.dir, Event::Ready)?)
}

/// Connects to a Firecracker that is about to open its socket.
fn connect(vmm: &Vmm<'_>, deadline: Instant) -> Result<Api, BootError> {
    let mut step = Duration::from_millis(1);
    loop {
        let error = match Api::connect(vmm.dir, REQUEST_TIMEOUT) {
            Ok(api) => return Ok(api),
            Err(error) => error,
        };
        let exited = match Process::open(vmm.process)? {
            Some(process) => process.wait(Some(step))?,
            None => true,
        };
        if exited {
            return Err(BootError::Exited);
        }
        if Instant::now() > deadline {
            return Err(match error {
                ApiError::Io(error) => BootError::System(error),
                _ => BootError::Slow,
            });
        }
        step = (step * 2).min(Duration::from_millis(8));
    }
}

/// Returns the requests that make a machine, in order. Pure.
fn requests<'a>(launch: &Launch<'a>) -> Vec<Request<'a>> {
    let spec: &'a MachineSpec = launch.spec;
    let mut requests = vec![
        Request::MachineConfig(MachineConfig {
            vcpu_count: spec.cpus,
            mem_size_mib: spec.memory / MIB,
        }),
        Request::BootSource(BootSource {
            kernel_image_path: "kernel",
            initrd_path: spec.initrd.is_some().then_some("initrd"),
            boot_args: launch.kernel_line,
        }),
    ];
    for (index, (interface, card)) in spec.networks.iter().zip(launch.cards).enumerate() {
        requests.push(Request::NetworkInterface(NetworkInterface {
            iface_id: format!("eth{index}"),
            host_dev_name: card.device,
            guest_mac: interface.mac.map(|mac| mac.to_string()),
        }));
    }
    requests.push(Request::Entropy(Entropy {}));
    requests.push(log_of_the_end());
    requests.push(Request::Action(Action::InstanceStart));
    requests
}

/// Reports whether a process that closed a connection exits.
fn exits(process: &Identity) -> bool {
    match Process::open(process) {
        Ok(Some(process)) => process.wait(Some(END_OF_EXIT)).unwrap_or(false),
        Ok(None) => true,
        Err(_) => false,
    }
}

/// Has it log how the guest ends. From then on, no request may hold anything secret.
fn log_of_the_end() -> Request<'static> {
    Request::Logger(Logger {
        level: "Info",
        log_path: None,
    })
}

fn failed(error: ApiError, vmm: &Vmm<'_>) -> BootError {
    match error {
        ApiError::Refused { request, message } => {
            tracing::debug!(request, message, "Firecracker refused a request");
            let fault = faults::translate(&message);
            BootError::Refused {
                why: fault.why,
                cure: fault.cure.map(str::to_owned),
            }
        }
        ApiError::Timeout(_) => BootError::Slow,
        // It may exit because of a request: the kernel closes its sockets before it reports the end.
        ApiError::Closed | ApiError::Io(_) if exits(vmm.process) => BootError::Exited,
        ApiError::Closed => BootError::Refused {
            why: "Firecracker closed the connection to its API".to_owned(),
            cure: None,
        },
        ApiError::Io(error) => BootError::System(error),
        ApiError::Invalid(_) => BootError::Refused {
            why: error.to_string(),
            cure: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use kraft_core::kernel::{BootProtocol, Guest};
    use kraft_core::machine::Acceleration;
    use kraft_core::net::Interface;
    use kraft_core::platform::Platform;

    use super::*;
    use crate::driver::{Card, Extras};
    use crate::id::Id;

    fn spec() -> MachineSpec {
        MachineSpec {
            platform: Platform::Firecracker,
            boot: BootProtocol::Linux64,
            guest: Guest::Unikraft,
            initrd: Some("/root.cpio".into()),
            cpus: 2,
            networks: vec![Interface {
                mac: Some("02:b0:b0:00:00:05".parse().unwrap()),
                ..Interface::parse("my-net").unwrap()
            }],
            acceleration: Acceleration::Kvm,
            ..crate::testing::spec()
        }
    }

    #[test]
    fn a_machine_is_a_request_per_resource_and_the_log_is_raised_after_the_secrets() {
        let spec = spec();
        let program = ["firecracker".to_owned()];
        let launch = Launch {
            id: Id::nil(),
            spec: &spec,
            kernel_line: "k env.vars=[ \"TOKEN=secret\" ] -- a",
            events: "events",
            ports: &[],
            cards: &[Card {
                file: 5,
                device: "if0",
            }],
            program: &program,
            extras: Extras::default(),
            saved: None,
            profile: false,
        };
        let shown: Vec<String> = requests(&launch)
            .iter()
            .map(|request| {
                let (method, path) = request.line();
                format!(
                    "{method} {path} {}",
                    String::from_utf8_lossy(&request.body())
                )
            })
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        PUT /machine-config {"vcpu_count":2,"mem_size_mib":64}
        PUT /boot-source {"kernel_image_path":"kernel","initrd_path":"initrd","boot_args":"k env.vars=[ \"TOKEN=secret\" ] -- a"}
        PUT /network-interfaces/eth0 {"iface_id":"eth0","host_dev_name":"if0","guest_mac":"02:b0:b0:00:00:05"}
        PUT /entropy {}
        PUT /logger {"level":"Info"}
        PUT /actions {"action_type":"InstanceStart"}
        "#);
    }
}
