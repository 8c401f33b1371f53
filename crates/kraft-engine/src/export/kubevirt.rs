//! `KubeVirt`: a virtual machine that boots the kernel of the image (`kernelBoot`), and a Service.

use std::fmt::Write as _;

use kraft_core::lifecycle::RestartPolicy;
use kraft_core::quantity;

use super::kubernetes::{annotations, check, metadata, probe, service, upper};
use super::quote::yaml;
use super::{Exported, Workload, comment};

/// Where the kernel and its root archive are in an image; see docs/images.md.
const KERNEL: &str = "/unikraft/bin/kernel";
const INITRD: &str = "/unikraft/bin/initrd";

/// `kubectl apply`, with `KubeVirt`.
pub(super) fn kubevirt(workloads: &[Workload], out: &mut Exported, wrong: &mut Vec<String>) {
    let mut text = comment(
        "1. Install KubeVirt in the cluster; its nodes need KVM. kraft is not needed.\n\
         2. kubectl apply --filename kubevirt.yaml",
    );
    for workload in workloads {
        check(workload, wrong);
        out.without(
            "KubeVirt",
            workload,
            &[
                ("volumes are", !workload.volumes.is_empty()),
                ("the number of machines is", workload.replicas > 1),
            ],
        );
        machine(workload, wrong, &mut text);
        service(workload, &mut text);
    }
    out.manifest("kubevirt.yaml", text);
}

fn machine(workload: &Workload, wrong: &mut Vec<String>, text: &mut String) {
    let Some(files) = &workload.kernel else {
        wrong.push(format!("`{}` has no kernel", workload.name));
        return;
    };
    let strategy = match workload.restart {
        RestartPolicy::OnFailure(_) => "RerunOnFailure",
        RestartPolicy::No | RestartPolicy::Always | RestartPolicy::UnlessStopped => "Always",
    };
    let _ = write!(
        text,
        "---\napiVersion: kubevirt.io/v1\nkind: VirtualMachine\n{}spec:\n  runStrategy: {strategy}\n  template:\n    \
         metadata:\n      labels:\n        app.kubernetes.io/name: {}\n",
        metadata(workload),
        yaml(&workload.name)
    );
    annotations(workload, 6, text);
    // A unikernel has no ACPI daemon that a grace period would be for.
    let _ = write!(
        text,
        "    spec:\n      architecture: {}\n      terminationGracePeriodSeconds: 0\n",
        if files.arch == "aarch64" {
            "arm64"
        } else {
            "amd64"
        }
    );
    if let Some(check) = &workload.health {
        let mut lines = String::new();
        probe(check, "readinessProbe", &mut lines);
        for line in lines.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    let _ = write!(
        text,
        "      domain:\n        cpu:\n          cores: {}\n        memory:\n          guest: {}\n        \
         firmware:\n          kernelBoot:\n            container:\n              image: {}\n              \
         kernelPath: {KERNEL}\n",
        workload.cpus.unwrap_or(1),
        yaml(&quantity::display(files.memory)),
        yaml(&workload.image)
    );
    if files.initrd.is_some() {
        let _ = writeln!(text, "              initrdPath: {INITRD}");
    }
    let _ = write!(
        text,
        "            kernelArgs: {}\n        devices:\n          autoattachGraphicsDevice: false\n          \
         autoattachMemBalloon: false\n          interfaces:\n          - name: default\n            model: virtio\n            \
         masquerade: {{}}\n",
        yaml(&files.line)
    );
    let inner = workload.inner_ports();
    if !inner.is_empty() {
        text.push_str("            ports:\n");
    }
    for (port, protocol) in inner {
        let _ = writeln!(
            text,
            "            - port: {port}\n              protocol: {}",
            upper(protocol)
        );
    }
    text.push_str("      networks:\n      - name: default\n        pod: {}\n");
}
