//! Checks the requirements of a machine against the features of its kernel before it boots.

use super::{Boot, RunRequest};
use crate::cmdline::Dialect;
use crate::machine::MachineSpec;
use crate::port::PortMapping;
use crate::problem::Problem;

/// Warns about missing features, and removes what such a kernel would misinterpret as arguments.
pub(super) fn check(spec: &mut MachineSpec, request: &RunRequest, boot: &Boot) -> Vec<Problem> {
    let can = boot.abilities;
    let mut notes = Vec::new();
    if can.parameters == Some(false) {
        notes.extend(without_parameters(spec));
    } else {
        if can.environment == Some(false) && !request.env.is_empty() {
            let names: Vec<String> = request.env.keys().map(|name| format!("`{name}`")).collect();
            notes.push(
                Problem::warning(format!(
                    "the kernel does not read environment variables from its command line: the application does not get {}",
                    names.join(", ")
                ))
                .help("build the kernel with `CONFIG_LIBPOSIX_ENVIRON_LIBPARAM: 'y'`"),
            );
        }
        if can.files == Some(false) && spec.mounts_initrd {
            notes.push(no_files());
        }
        if can.volumes == Some(false) && !spec.volumes.is_empty() {
            notes.push(
                Problem::warning(format!(
                    "the kernel has no 9p file system: {} will not be mounted",
                    volumes(spec)
                ))
                .help("build the kernel with `CONFIG_LIB9PFS: 'y'`, or use another runtime"),
            );
        }
    }
    if can.network == Some(false) && !spec.ports.is_empty() {
        let ports: Vec<String> = spec.ports.iter().map(PortMapping::as_typed).collect();
        notes.push(
            Problem::warning(format!(
                "the kernel has no network: nothing will answer on `--port {}`",
                ports.join("`, `--port ")
            ))
            .help("build the kernel with a network stack such as lwip, or use another runtime"),
        );
    }
    if can.network == Some(false) && !spec.networks.is_empty() {
        notes.push(
            Problem::warning("the kernel has no network: `--network` has no effect in the guest")
                .help("build the kernel with a network stack such as lwip, or use another runtime"),
        );
    }
    if Dialect::of(spec) == Dialect::Linux && spec.networks.len() > 1 {
        notes.push(Problem::warning(
            "Linux sets up its first network card only: the guest has to set up the others itself",
        ));
    }
    if can.insists_on_network && spec.ports.is_empty() && spec.networks.is_empty() {
        notes.push(
            Problem::warning(
                "the kernel does not boot without a network (CONFIG_LWIP_FAILNOIFACE), and the machine has none",
            )
            .help("publish a port: `--port 8080:8080`"),
        );
    }
    notes
}

/// A kernel without parameter support passes parameters to its application as arguments.
fn without_parameters(spec: &mut MachineSpec) -> Option<Problem> {
    let mut lost = Vec::new();
    if spec.mounts_initrd {
        lost.push("the root filesystem will not be mounted".to_owned());
    }
    if !spec.volumes.is_empty() {
        lost.push(format!("{} will not be mounted", volumes(spec)));
    }
    if !spec.env.is_empty() {
        let names: Vec<String> = spec.env.keys().map(|name| format!("`{name}`")).collect();
        lost.push(format!("the application does not get {}", names.join(", ")));
    }
    if !spec.kernel_args.is_empty() {
        lost.push(format!("`{}` is not passed", spec.kernel_args.join(" ")));
    }
    spec.mounts_initrd = false;
    spec.volumes.clear();
    spec.env.clear();
    if !spec.networks.is_empty() {
        lost.push("the guest does not learn its addresses".to_owned());
    }
    spec.kernel_args.clear();
    (!lost.is_empty()).then(|| {
        Problem::warning(format!(
            "the kernel does not support parameters: {}",
            lost.join(", ")
        ))
        .help("build the kernel with `CONFIG_LIBUKLIBPARAM: 'y'`, or use another runtime")
    })
}

fn no_files() -> Problem {
    Problem::warning("the kernel has no file system: the root filesystem will not be mounted")
        .help("build the kernel with `CONFIG_LIBVFSCORE: 'y'`, or use another runtime")
}

fn volumes(spec: &MachineSpec) -> String {
    let shown = |volume: &crate::mount::Volume| format!("`{}`", volume.destination);
    let all: Vec<String> = spec.volumes.iter().map(shown).collect();
    match all.as_slice() {
        [one] => format!("the volume {one}"),
        _ => format!("the volumes {}", all.join(", ")),
    }
}
