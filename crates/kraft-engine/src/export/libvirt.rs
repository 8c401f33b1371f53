//! libvirt: a domain that boots the kernel and the root archive, which are copied beside it.

use std::fmt::Write as _;

use kraft_core::lifecycle::RestartPolicy;
use kraft_core::mount::{self, Volume};

use super::quote::xml;
use super::{Exported, ExportedFile, Part, Workload, volume_source};

/// Where the files are copied to.
const IMAGES: &str = "/var/lib/libvirt/images";

/// `virsh define`.
pub(super) fn libvirt(workloads: &[Workload], out: &mut Exported, wrong: &mut Vec<String>) {
    for workload in workloads {
        out.without(
            "libvirt",
            workload,
            &[
                ("labels are", !workload.labels.is_empty()),
                (
                    "ports are (the guest has an address of its own)",
                    !workload.ports.is_empty(),
                ),
                ("the health check is", workload.health.is_some()),
                ("the number of machines is", workload.replicas > 1),
            ],
        );
        match domain(workload) {
            Some(text) => out.manifest(format!("{}.xml", workload.name), text),
            None => wrong.push(format!(
                "`{}`: XML cannot have control characters: they are in an argument, a variable or a path",
                workload.name
            )),
        }
        let Some(files) = &workload.kernel else {
            continue;
        };
        for (ending, source) in [
            ("kernel", Some(&files.kernel)),
            ("initrd", files.initrd.as_ref()),
        ] {
            out.files.extend(source.map(|source| ExportedFile {
                name: format!("{}.{ending}", workload.name),
                text: String::new(),
                part: Part::Copy(source.clone()),
            }));
        }
    }
}

/// Returns the domain; `None` if XML cannot represent it.
fn domain(workload: &Workload) -> Option<String> {
    let files = workload.kernel.as_ref()?;
    let name = &workload.name;
    let (machine, serial) = match files.arch {
        "aarch64" => ("virt", "system-serial"),
        _ => ("pc", "isa-serial"),
    };
    let mut text = format!(
        "<!--\n  1. Copy {name}.kernel and {name}.initrd to {IMAGES}.\n  2. virsh define {name}.xml, then virsh start \
         {name}; virsh console {name} shows its console.\n  Without KVM: domain type='qemu', and no cpu element.\n-->\n"
    );
    let _ = write!(
        text,
        "<domain type='kvm'>\n  <name>{name}</name>\n  <memory unit='b'>{}</memory>\n  <vcpu>{}</vcpu>\n  <os>\n    \
         <type arch='{}' machine='{machine}'>hvm</type>\n    <kernel>{IMAGES}/{name}.kernel</kernel>\n",
        files.memory,
        workload.cpus.unwrap_or(1),
        files.arch,
    );
    if files.initrd.is_some() {
        let _ = writeln!(text, "    <initrd>{IMAGES}/{name}.initrd</initrd>");
    }
    let (poweroff, crash) = match workload.restart {
        RestartPolicy::No => ("destroy", "destroy"),
        RestartPolicy::OnFailure(_) => ("destroy", "restart"),
        RestartPolicy::Always | RestartPolicy::UnlessStopped => ("restart", "restart"),
    };
    let _ = write!(
        text,
        "    <cmdline>{}</cmdline>\n  </os>\n  <features>\n    <acpi/>\n  </features>\n  <cpu mode='host-passthrough'/>\n  \
         <on_poweroff>{poweroff}</on_poweroff>\n  <on_reboot>restart</on_reboot>\n  <on_crash>{crash}</on_crash>\n  <devices>\n",
        xml(&files.line)?
    );
    for (index, volume) in workload.volumes.iter().enumerate() {
        let source = xml(&directory(volume))?;
        let _ = write!(
            text,
            "    <filesystem type='mount' accessmode='mapped'>\n      <source dir='{source}'/>\n      \
             <target dir='{}'/>\n",
            mount::tag(index)
        );
        if volume.read_only {
            text.push_str("      <readonly/>\n");
        }
        text.push_str("    </filesystem>\n");
    }
    let _ = write!(
        text,
        "    <interface type='network'>\n      <source network='default'/>\n      <model type='virtio'/>\n    \
         </interface>\n    <serial type='pty'>\n      <target type='{serial}' port='0'/>\n    </serial>\n    <console type='pty'>\n      \
         <target type='serial' port='0'/>\n    </console>\n    <memballoon model='none'/>\n  </devices>\n</domain>\n"
    );
    Some(text)
}

/// Returns the volumes with their directories on the host of the domain.
pub(super) fn volumes(workload: &Workload) -> Vec<Volume> {
    let volumes = workload.volumes.iter().map(|volume| Volume {
        source: directory(volume).into(),
        ..volume.clone()
    });
    volumes.collect()
}

/// Returns the directory of a volume: that of a named one is below the directory of the domain's files.
fn directory(volume: &Volume) -> String {
    match &volume.name {
        Some(name) => format!("{IMAGES}/{name}"),
        None => volume_source(volume),
    }
}
