//! What a VMM cannot do, said before it is asked to, with the way out.

use crate::host::{Host, Kvm, VmmSupport};
use crate::kernel::BootProtocol;
use crate::machine::{Acceleration, MachineSpec};
use crate::platform::Platform;
use crate::port::PortMapping;
use crate::problem::Problem;

/// The way out of nearly all limits.
const ON_QEMU: &str = "run it on QEMU: `--plat qemu`";

/// The way out of a host without KVM.
const WITHOUT_KVM: &str = "run it on QEMU, which can do without: `--plat qemu`";

/// Returns why a VMM cannot run a machine, whose kernel command line has `line` bytes.
pub(super) fn check(
    spec: &MachineSpec,
    vmm: &VmmSupport,
    host: &Host,
    line: usize,
) -> Vec<Problem> {
    let limits = &vmm.limits;
    let title = vmm.platform.title();
    let mut problems = Vec::new();
    if limits.needs_kvm && spec.acceleration != Acceleration::Kvm {
        problems.push(without_kvm(title, spec, host));
    }
    if limits.ports_need_network && spec.networks.is_empty() && !spec.ports.is_empty() {
        let ports: Vec<String> = spec.ports.iter().map(PortMapping::as_typed).collect();
        problems.push(
            Problem::error(format!(
                "`--port {}`: {title} publishes ports of machines in a network only",
                ports.join("`, `--port ")
            ))
            .help("put it into a network: `kraft net create web`, then `--network web`")
            .help(ON_QEMU),
        );
    }
    if limits.no_volumes
        && let Some(volume) = spec.volumes.first()
    {
        problems.push(
            Problem::error(format!(
                "the volume `{}`: {title} shares no directories of the host (it has no 9p)",
                volume.destination
            ))
            .help("put the files into the root filesystem: `--rootfs`")
            .help(ON_QEMU),
        );
    }
    if let Some(most) = limits.networks.filter(|most| spec.networks.len() > *most) {
        problems.push(
            Problem::error(format!(
                "`--network` is given {} times, and a machine on {title} is in {most} network at most",
                spec.networks.len()
            ))
            .help(ON_QEMU),
        );
    }
    if let Some(most) = limits.cpus.filter(|most| spec.cpus > *most) {
        problems.push(
            Problem::error(format!(
                "`--cpus {}`: {title} gives a machine {most} at most",
                spec.cpus
            ))
            .help(ON_QEMU),
        );
    }
    if let Some(most) = limits.line.filter(|most| line > *most) {
        problems.push(
            Problem::error(format!(
                "the kernel command line has {line} bytes, and {title} takes {most}"
            ))
            .help("pass fewer arguments and environment variables, or put them into a file")
            .help(ON_QEMU),
        );
    }
    problems
}

/// Says that there is no KVM for a VMM that needs it.
fn without_kvm(title: &str, spec: &MachineSpec, host: &Host) -> Problem {
    if let Kvm::Unusable { reason, cure } = &host.kvm
        && host.arch == Some(spec.arch)
    {
        let problem = Problem::error(format!("{title} cannot be used: {reason}"));
        let problem = match cure {
            Some(cure) => problem.help(cure.clone()),
            None => problem,
        };
        return problem.help(WITHOUT_KVM);
    }
    let why = if host.arch == Some(spec.arch) {
        "it is switched off (`-W`, or the key `acceleration`)".to_owned()
    } else {
        format!(
            "the kernel is built for {}, and this host is another",
            spec.arch
        )
    };
    Problem::error(format!("{title} needs KVM: {why}")).help(WITHOUT_KVM)
}

/// Says how a kernel runs on a VMM that it was not built for.
pub(super) fn elsewhere(spec: &MachineSpec) -> Option<Problem> {
    let moved = spec.boot == BootProtocol::Linux64 && spec.platform == Platform::Qemu;
    moved.then(|| {
        Problem::warning(
            "the kernel is built for Firecracker: QEMU runs it on its machine `microvm`, which has the same devices",
        )
    })
}
