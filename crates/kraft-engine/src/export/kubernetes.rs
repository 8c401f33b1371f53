//! Kubernetes: a `RuntimeClass`, and a Deployment and a Service for each workload. The Pod of podman is made of
//! the same container.

use std::fmt::Write as _;
use std::time::Duration;

use kraft_core::lifecycle::{HealthCheck, HealthProbe, RestartPolicy};
use kraft_core::port::Protocol;
use kraft_core::quantity;

use super::quote::{yaml, yaml_list};
use super::shell::{CONTAINERD, indented};
use super::{Exported, RUNU, Workload, comment, shown};

/// Who reads a Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// The kubelet of a cluster.
    Cluster,
    /// `podman kube play`.
    Podman,
}

impl Reader {
    /// Returns the column of the container.
    fn indent(self) -> usize {
        match self {
            Self::Cluster => 6,
            Self::Podman => 2,
        }
    }

    /// Returns a value in which no variables are replaced: of Kubernetes, `$(NAME)` is one, and `$$` is a
    /// `$`; podman has none.
    fn literal(self, text: &str) -> String {
        match self {
            Self::Cluster => text.replace('$', "$$"),
            Self::Podman => text.to_owned(),
        }
    }
}

/// The class of Pods that boot unikernels; the overhead is that of `runu`'s default.
const CLASS: &str = "\
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata:
  name: runu
handler: runu
overhead:
  podFixed:
    memory: 64Mi
";

/// Keeps a Pod until the nodes have stopped sending it connections: they learn of its end when its guest does. A
/// program could do that in a container; a guest has only this (Kubernetes 1.30).
const DRAIN: &str = "  lifecycle:\n    preStop:\n      sleep:\n        seconds: 3\n";

/// `kubectl apply`.
pub(super) fn kubernetes(workloads: &[Workload], out: &mut Exported, wrong: &mut Vec<String>) {
    let steps = format!(
        "1. Install kraft on every node, so that {RUNU} exists.\n\
         2. Merge this into /etc/containerd/config.toml of every node (version 3: the plugin is \
         io.containerd.cri.v1.runtime), then run `systemctl restart containerd` there:\n{}\
         3. kubectl apply --filename kubernetes.yaml",
        indented(CONTAINERD)
    );
    let mut text = comment(&steps);
    text.push_str(CLASS);
    for workload in workloads {
        check(workload, wrong);
        let _ = write!(
            text,
            "---\napiVersion: apps/v1\nkind: Deployment\n{}spec:\n  replicas: {}\n  selector:\n    matchLabels:\n      \
             app.kubernetes.io/name: {name}\n  template:\n    metadata:\n      labels:\n        \
             app.kubernetes.io/name: {name}\n",
            metadata(workload),
            workload.replicas,
            name = yaml(&workload.name)
        );
        annotations(workload, 6, &mut text);
        text.push_str(
            "    spec:\n      runtimeClassName: runu\n      automountServiceAccountToken: false\n",
        );
        if let Some(arch) = workload.arch {
            let _ = writeln!(
                text,
                "      nodeSelector:\n        kubernetes.io/arch: {arch}"
            );
        }
        container(workload, Reader::Cluster, &mut text);
        claims(workload, &mut text);
        service(workload, &mut text);
    }
    out.manifest("kubernetes.yaml", text);
    out.host("config.toml", CONTAINERD);
}

/// Returns a Pod for `podman kube play`.
pub(super) fn pod(workload: &Workload, wrong: &mut Vec<String>) -> String {
    check(workload, wrong);
    let mut text = format!("apiVersion: v1\nkind: Pod\n{}", metadata(workload));
    annotations(workload, 2, &mut text);
    let policy = match workload.restart {
        RestartPolicy::No => "Never",
        RestartPolicy::OnFailure(_) => "OnFailure",
        RestartPolicy::Always | RestartPolicy::UnlessStopped => "Always",
    };
    let _ = writeln!(text, "spec:\n  restartPolicy: {policy}");
    container(workload, Reader::Podman, &mut text);
    text
}

/// Returns the name and the label that objects are found by.
pub(super) fn metadata(workload: &Workload) -> String {
    format!(
        "metadata:\n  name: {name}\n  labels:\n    app.kubernetes.io/name: {name}\n",
        name = yaml(&workload.name)
    )
}

/// Writes the labels as annotations: values of labels are restricted in Kubernetes.
pub(super) fn annotations(workload: &Workload, indent: usize, text: &mut String) {
    let at = " ".repeat(indent);
    if !workload.labels.is_empty() {
        let _ = writeln!(text, "{at}annotations:");
    }
    for (name, value) in &workload.labels {
        let _ = writeln!(text, "{at}  {}: {}", yaml(name), yaml(value));
    }
}

/// Writes the container and its volumes.
fn container(workload: &Workload, reader: Reader, text: &mut String) {
    let mut lines = String::new();
    let out = &mut lines;
    let _ = writeln!(
        out,
        "containers:\n- name: {}\n  image: {}",
        yaml(&workload.name),
        yaml(&workload.image)
    );
    if !workload.args.is_empty() {
        let args: Vec<String> = workload
            .args
            .iter()
            .map(|arg| reader.literal(arg))
            .collect();
        let _ = writeln!(out, "  args: {}", yaml_list(&args));
    }
    if !workload.env.is_empty() {
        out.push_str("  env:\n");
    }
    for (name, value) in &workload.env {
        let value = yaml(&reader.literal(value));
        let _ = writeln!(out, "  - name: {}\n    value: {value}", yaml(name));
    }
    if !workload.ports.is_empty() {
        out.push_str("  ports:\n");
    }
    for port in &workload.ports {
        let _ = writeln!(
            out,
            "  - containerPort: {}\n    protocol: {}",
            port.machine_port,
            upper(port.protocol)
        );
        // A Deployment is reached by its Service; a Pod of podman by ports of the host.
        if port.host_port != 0 && reader == Reader::Podman {
            let _ = writeln!(out, "    hostPort: {}", port.host_port);
        }
    }
    resources(workload, out);
    if let Some(check) = &workload.health {
        match reader {
            Reader::Cluster => {
                startup_probe(check, out);
                for kind in ["readinessProbe", "livenessProbe"] {
                    handler(check, kind, out);
                    times(check, Duration::ZERO, out);
                }
            }
            Reader::Podman => {
                let words = super::probe(check);
                let _ = writeln!(
                    out,
                    "  livenessProbe:\n    exec:\n      command: {}",
                    yaml_list(&words)
                );
                times(check, Duration::from_millis(check.start_period_ms), out);
            }
        }
    }
    if reader == Reader::Cluster && !workload.ports.is_empty() {
        out.push_str(DRAIN);
    }
    mounts(workload, out);
    let at = " ".repeat(reader.indent());
    for line in lines.lines() {
        let _ = writeln!(text, "{at}{line}");
    }
}

fn resources(workload: &Workload, out: &mut String) {
    if workload.memory.is_none() && workload.cpus.is_none() {
        return;
    }
    out.push_str("  resources:\n    limits:\n");
    if let Some(bytes) = workload.memory {
        let _ = writeln!(out, "      memory: {}", yaml(&quantity::display(bytes)));
    }
    if let Some(cpus) = workload.cpus {
        let _ = writeln!(out, "      cpu: \"{cpus}\"");
    }
}

/// The largest number in a manifest: Kubernetes has 32 bits for it.
const LARGEST: u64 = 0x7fff_ffff;

/// Writes a probe that begins after the time that a guest may need to start.
pub(super) fn probe(check: &HealthCheck, kind: &str, out: &mut String) {
    handler(check, kind, out);
    times(check, Duration::from_millis(check.start_period_ms), out);
}

/// Writes the probe that comes before the others of a kubelet. They would wait a whole interval if a guest does not
/// answer in its first moments.
fn startup_probe(check: &HealthCheck, out: &mut String) {
    handler(check, "startupProbe", out);
    let retries = u64::from(check.retries.max(1));
    let limit = check
        .start_period_ms
        .saturating_add(retries.saturating_mul(check.interval_ms));
    let _ = writeln!(
        out,
        "    periodSeconds: 1\n    timeoutSeconds: {}\n    failureThreshold: {}",
        seconds(check.timeout_ms),
        seconds(limit).min(LARGEST)
    );
}

fn handler(check: &HealthCheck, kind: &str, out: &mut String) {
    let _ = match &check.probe {
        HealthProbe::Tcp { port } => {
            writeln!(out, "  {kind}:\n    tcpSocket:\n      port: {port}")
        }
        HealthProbe::Http { port, path } => writeln!(
            out,
            "  {kind}:\n    httpGet:\n      path: {}\n      port: {port}",
            yaml(path)
        ),
    };
}

fn times(check: &HealthCheck, delay: Duration, out: &mut String) {
    if !delay.is_zero() {
        let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let _ = writeln!(out, "    initialDelaySeconds: {}", delay.div_ceil(1000));
    }
    let _ = writeln!(
        out,
        "    periodSeconds: {}\n    timeoutSeconds: {}\n    failureThreshold: {}",
        seconds(check.interval_ms),
        seconds(check.timeout_ms),
        check.retries.max(1)
    );
}

/// Returns a number of seconds, which Kubernetes wants to be positive.
fn seconds(millis: u64) -> u64 {
    millis.div_ceil(1000).max(1)
}

fn mounts(workload: &Workload, out: &mut String) {
    if workload.volumes.is_empty() {
        return;
    }
    out.push_str("  volumeMounts:\n");
    for (index, volume) in workload.volumes.iter().enumerate() {
        let _ = writeln!(
            out,
            "  - name: volume-{index}\n    mountPath: {}\n    readOnly: {}",
            yaml(&volume.destination),
            volume.read_only
        );
    }
    out.push_str("volumes:\n");
    for (index, volume) in workload.volumes.iter().enumerate() {
        let _ = match &volume.name {
            Some(name) => writeln!(
                out,
                "- name: volume-{index}\n  persistentVolumeClaim:\n    claimName: {}",
                yaml(&super::name_of(name))
            ),
            None => writeln!(
                out,
                "- name: volume-{index}\n  hostPath:\n    path: {}\n    type: Directory",
                yaml(&super::volume_source(volume))
            ),
        };
    }
}

/// Writes a claim for each named volume.
fn claims(workload: &Workload, text: &mut String) {
    for name in workload.volumes.iter().filter_map(|it| it.name.as_ref()) {
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata:\n  name: {}\nspec:\n  accessModes: \
             [ReadWriteOnce]\n  resources:\n    requests:\n      storage: 1Gi\n",
            yaml(&super::name_of(name))
        );
    }
}

/// Writes a Service: its ports are those of the host, as far as these are chosen.
pub(super) fn service(workload: &Workload, text: &mut String) {
    if workload.ports.is_empty() {
        return;
    }
    let name = yaml(&workload.name);
    let _ = write!(
        text,
        "---\napiVersion: v1\nkind: Service\n{}spec:\n  selector:\n    app.kubernetes.io/name: {name}\n  ports:\n",
        metadata(workload)
    );
    let mut seen = std::collections::BTreeSet::new();
    for port in &workload.ports {
        let outside = match port.host_port {
            0 => port.machine_port,
            port => port,
        };
        if !seen.insert((outside, port.protocol)) {
            continue;
        }
        let _ = writeln!(
            text,
            "  - name: {protocol}-{outside}\n    port: {outside}\n    targetPort: {}\n    protocol: {}",
            port.machine_port,
            upper(port.protocol),
            protocol = port.protocol
        );
    }
}

/// Returns a protocol as Kubernetes writes it.
pub(super) fn upper(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}

/// Checks what Kubernetes restricts further.
pub(super) fn check(workload: &Workload, wrong: &mut Vec<String>) {
    for name in workload.env.keys() {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if !name.chars().all(fine) || name.starts_with(|c: char| c.is_ascii_digit()) {
            wrong.push(format!(
                "Kubernetes has no variable `{}`: expected letters, digits, `_`, `-` and `.`",
                shown(name)
            ));
        }
    }
    for key in workload.labels.keys().filter(|key| !is_annotation(key)) {
        wrong.push(format!(
            "Kubernetes has no annotation `{}`: expected [DOMAIN/]NAME of letters, digits, `_`, `-` and `.`",
            shown(key)
        ));
    }
}

/// Returns whether a key is that of an annotation.
fn is_annotation(key: &str) -> bool {
    let (domain, name) = match key.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, key),
    };
    let ends = |text: &str| {
        let first = text.chars().next();
        let last = text.chars().next_back();
        [first, last]
            .iter()
            .all(|it| it.is_some_and(|c| c.is_ascii_alphanumeric()))
    };
    let name_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let domain_char = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_domain = |domain: &str| {
        domain.len() <= 253
            && domain
                .split('.')
                .all(|part| ends(part) && part.chars().all(domain_char))
    };
    name.len() <= 63 && ends(name) && name.chars().all(name_char) && domain.is_none_or(is_domain)
}
