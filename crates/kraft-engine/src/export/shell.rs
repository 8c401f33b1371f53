//! Scripts for a shell: `docker run`, and `ctr` of containerd.

use kraft_core::lifecycle::RestartPolicy;
use kraft_core::quantity::MIB;
use kraft_core::shell_words;

use super::{Exported, RUNU, Workload, comment, probe, volume_source, volume_word};

/// The setting of a Docker daemon with which a container may name the runtime.
pub(super) const DAEMON: &str = "{\"runtimes\": {\"runu\": {\"path\": \"/usr/local/bin/runu\"}}}\n";

/// The setting of a containerd with which its CRI knows the runtime.
pub(super) const CONTAINERD: &str = "\
version = 2
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runu]
  runtime_type = \"io.containerd.runc.v2\"
  pod_annotations = [\"org.unikraft.runu.*\"]
  [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runu.options]
    BinaryName = \"/usr/local/bin/runu\"
";

/// A command with one word per line where it is long.
struct Words(Vec<String>);

impl Words {
    fn new(words: &[&str]) -> Self {
        Self(vec![shell_words::join(words)])
    }

    /// Adds a flag with its value.
    fn flag(&mut self, name: &str, value: &str) {
        self.0.push(shell_words::join([name, value]));
    }

    /// Adds words that stay on one line.
    fn line<T: AsRef<str>>(&mut self, words: impl IntoIterator<Item = T>) {
        self.0.push(shell_words::join(words));
    }

    fn text(self) -> String {
        format!("{}\n", self.0.join(" \\\n  "))
    }
}

/// Returns the start of a script with its steps as comments.
fn script(steps: &str) -> String {
    format!("#!/bin/sh\n{}set -eu\n", comment(steps))
}

/// `docker run`.
pub(super) fn docker(workloads: &[Workload], out: &mut Exported) {
    let steps = format!(
        "1. Install kraft on the host, so that {RUNU} exists.\n\
         2. Add this to /etc/docker/daemon.json, then run `systemctl reload docker`:\n{}\
         3. Run this script.",
        indented(DAEMON)
    );
    let mut text = script(&steps);
    for workload in workloads {
        if workload.replicas > 1 {
            out.without(
                "docker run",
                workload,
                &[("the number of machines is", true)],
            );
        }
        text.push_str(&docker_run(workload));
    }
    out.manifest("run.sh", text);
    out.host("daemon.json", DAEMON);
}

fn docker_run(workload: &Workload) -> String {
    let mut words = Words::new(&["docker", "run", "--detach", "--runtime", "runu"]);
    words.flag("--name", &workload.name);
    if workload.restart != RestartPolicy::No {
        words.flag("--restart", &workload.restart.to_string());
    }
    if let Some(bytes) = workload.memory {
        words.flag("--memory", &memory(bytes));
    }
    if let Some(cpus) = workload.cpus {
        words.flag("--cpus", &cpus.to_string());
    }
    for port in &workload.ports {
        words.flag("--publish", &docker_port(port));
    }
    for volume in &workload.volumes {
        words.flag("--volume", &volume_word(volume));
    }
    for (name, value) in &workload.env {
        words.flag("--env", &format!("{name}={value}"));
    }
    for (name, value) in &workload.labels {
        words.flag("--label", &format!("{name}={value}"));
    }
    if let Some(check) = &workload.health {
        words.flag("--health-cmd", &shell_words::join(probe(check)));
        words.flag("--health-interval", &format!("{}ms", check.interval_ms));
        words.flag("--health-timeout", &format!("{}ms", check.timeout_ms));
        words.flag("--health-retries", &check.retries.to_string());
        words.flag(
            "--health-start-period",
            &format!("{}ms", check.start_period_ms),
        );
    }
    words.line(std::iter::once(&workload.image).chain(&workload.args));
    words.text()
}

/// Returns a published port as Docker writes it.
fn docker_port(port: &kraft_core::port::PortMapping) -> String {
    let typed = port.as_typed();
    if !port.host_ip.is_unspecified() {
        return typed;
    }
    match port.host_port {
        0 => format!("{}/{}", port.machine_port, port.protocol),
        host => format!("{host}:{}/{}", port.machine_port, port.protocol),
    }
}

/// Returns memory as Docker writes it: `64m`, or bytes.
pub(super) fn memory(bytes: u64) -> String {
    if bytes.is_multiple_of(MIB) {
        format!("{}m", bytes / MIB)
    } else {
        format!("{bytes}b")
    }
}

/// `ctr`.
pub(super) fn containerd(workloads: &[Workload], out: &mut Exported) {
    let steps = format!(
        "1. Install kraft on the host, so that {RUNU} exists.\n\
         2. Run this script.\n\
         For the CRI of Kubernetes and `crictl`, merge this into /etc/containerd/config.toml (version 3: the \
         plugin is io.containerd.cri.v1.runtime), then run `systemctl restart containerd`:\n{}",
        indented(CONTAINERD)
    );
    let mut text = script(steps.trim_end());
    for workload in workloads {
        let named = workload.volumes.iter().any(|it| it.name.is_some());
        out.without(
            "ctr",
            workload,
            &[
                ("the number of machines is", workload.replicas > 1),
                ("ports are", !workload.ports.is_empty()),
                (
                    "the restart policy is",
                    workload.restart != RestartPolicy::No,
                ),
                ("the health check is", workload.health.is_some()),
                ("named volumes are", named),
            ],
        );
        text.push_str(&shell_words::join([
            "ctr",
            "image",
            "pull",
            &workload.image,
        ]));
        text.push('\n');
        text.push_str(&ctr_run(workload));
    }
    out.manifest("run.sh", text);
    out.host("config.toml", CONTAINERD);
}

fn ctr_run(workload: &Workload) -> String {
    let mut words = Words::new(&["ctr", "run", "--detach", "--runc-binary", RUNU]);
    if !workload.ports.is_empty() {
        // The network of /etc/cni/net.d, so that the guest has an address.
        words.line(["--cni"]);
    }
    if let Some(bytes) = workload.memory {
        words.flag("--memory-limit", &bytes.to_string());
    }
    if let Some(cpus) = workload.cpus {
        words.flag("--cpus", &cpus.to_string());
    }
    for volume in workload.volumes.iter().filter(|it| it.name.is_none()) {
        let mode = if volume.read_only { "ro" } else { "rw" };
        let source = volume_source(volume);
        let destination = &volume.destination;
        words.flag(
            "--mount",
            &format!("type=bind,src={source},dst={destination},options=rbind:{mode}"),
        );
    }
    for (name, value) in &workload.env {
        words.flag("--env", &format!("{name}={value}"));
    }
    for (name, value) in &workload.labels {
        words.flag("--label", &format!("{name}={value}"));
    }
    let target = [&workload.image, &workload.name];
    words.line(target.into_iter().chain(&workload.args));
    words.text()
}

/// Returns a text that stands inside a list of steps.
pub(super) fn indented(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        out.push_str("     ");
        out.push_str(line);
        out.push('\n');
    }
    out
}
