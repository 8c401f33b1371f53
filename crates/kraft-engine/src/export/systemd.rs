//! Units of systemd: one that runs `kraft run`, and one for podman (`podman-systemd.unit(5)`).

use std::fmt::Write as _;

use kraft_core::lifecycle::{HealthProbe, RestartPolicy};
use kraft_core::quantity;

use super::quote::unit;
use super::shell::{indented, memory};
use super::{
    Exported, ExportedFile, KRAFT, Part, RUNU, Workload, comment, kubernetes, probe, volume_word,
};

/// The setting of podman with which it knows the runtime.
const CONTAINERS: &str = "\
[engine.runtimes]
runu = [\"/usr/local/bin/runu\"]
";

/// Words of a command of a unit, one flag per line.
struct Command(Vec<String>);

impl Command {
    fn new(words: &[&str]) -> Self {
        let words: Vec<String> = words.iter().map(|word| unit(word)).collect();
        Self(vec![words.join(" ")])
    }

    fn flag(&mut self, name: &str, value: &str) {
        self.0.push(format!("{name} {}", unit(value)));
    }

    fn words<T: AsRef<str>>(&mut self, words: impl IntoIterator<Item = T>) {
        let words: Vec<String> = words.into_iter().map(|word| unit(word.as_ref())).collect();
        self.0.push(words.join(" "));
    }

    fn text(&self) -> String {
        self.0.join(" \\\n  ")
    }
}

/// A unit that runs `kraft run`.
pub(super) fn kraft(workloads: &[Workload], out: &mut Exported, wrong: &mut Vec<String>) {
    for workload in workloads {
        lines(workload, wrong);
        out.without(
            "systemd",
            workload,
            &[("the number of machines is", workload.replicas > 1)],
        );
        out.manifest(format!("{}.service", workload.name), service(workload));
    }
}

fn service(workload: &Workload) -> String {
    let name = &workload.name;
    let mut text = comment(&format!(
        "1. Install kraft and QEMU on the host, so that {KRAFT} exists.\n\
         2. Copy this file to /etc/systemd/system.\n\
         3. systemctl daemon-reload && systemctl enable --now {name}.service"
    ));
    // The restart policy is that of the unit.
    let (restart, limit) = match workload.restart {
        RestartPolicy::No => ("no", None),
        RestartPolicy::OnFailure(most) => ("on-failure", most),
        RestartPolicy::Always | RestartPolicy::UnlessStopped => ("always", None),
    };
    let _ = write!(
        text,
        "[Unit]\nDescription={name}, a unikernel\nWants=network-online.target\nAfter=network-online.target\n"
    );
    match limit {
        Some(most) => {
            let _ = writeln!(
                text,
                "StartLimitIntervalSec=infinity\nStartLimitBurst={}",
                most.saturating_add(1)
            );
        }
        None => text.push_str("StartLimitIntervalSec=0\n"),
    }
    let mut command = Command::new(&[KRAFT, "run", "--rm", "--name", name]);
    for port in &workload.ports {
        command.flag("--port", &port.as_typed());
    }
    if let Some(bytes) = workload.memory {
        command.flag("--memory", &quantity::display(bytes));
    }
    if let Some(cpus) = workload.cpus {
        command.flag("--cpus", &cpus.to_string());
    }
    for volume in &workload.volumes {
        command.flag("--volume", &volume_word(volume));
    }
    for (key, value) in &workload.env {
        command.flag("--env", &format!("{key}={value}"));
    }
    for (key, value) in &workload.labels {
        command.flag("--label", &format!("{key}={value}"));
    }
    if let Some(check) = &workload.health {
        match &check.probe {
            HealthProbe::Tcp { port } => command.flag("--health-tcp", &port.to_string()),
            HealthProbe::Http { port, path } => {
                command.flag("--health-http", &format!("{port}{path}"));
            }
        }
        command.flag("--health-interval", &format!("{}ms", check.interval_ms));
        command.flag("--health-timeout", &format!("{}ms", check.timeout_ms));
        command.flag("--health-retries", &check.retries.to_string());
        command.flag(
            "--health-start-period",
            &format!("{}ms", check.start_period_ms),
        );
    }
    command.words([&workload.image]);
    if !workload.args.is_empty() {
        command.words(std::iter::once("--").chain(workload.args.iter().map(String::as_str)));
    }
    let _ = write!(
        text,
        "\n[Service]\nStateDirectory=kraft/{name}\nEnvironment=HOME=%S/kraft/{name}\n\
         ExecStartPre=-{KRAFT} rm --force {name}\nExecStart={}\nExecStop=-{KRAFT} stop {name}\nRestart={restart}\n\
         RestartSec=1s\n\n[Install]\nWantedBy=multi-user.target\n",
        command.text()
    );
    text
}

/// Units for podman, and Pods for `podman kube play`.
pub(super) fn podman(workloads: &[Workload], out: &mut Exported, wrong: &mut Vec<String>) {
    for workload in workloads {
        lines(workload, wrong);
        out.without(
            "podman",
            workload,
            &[("the number of machines is", workload.replicas > 1)],
        );
        out.manifest(format!("{}.container", workload.name), quadlet(workload));
        out.files.push(ExportedFile {
            name: format!("{}.pod.yaml", workload.name),
            text: kubernetes::pod(workload, wrong),
            part: Part::Host,
        });
    }
    out.host("runu.conf", CONTAINERS);
}

fn quadlet(workload: &Workload) -> String {
    let name = &workload.name;
    let mut text = comment(&format!(
        "1. Install kraft on the host, so that {RUNU} exists.\n\
         2. Copy runu.conf to /etc/containers/containers.conf.d; it contains:\n{}\
         3. With podman 4.4 and newer: copy this file to /etc/containers/systemd, then run \
         `systemctl daemon-reload` and `systemctl start {name}.service`.\n\
         With any podman: podman --runtime runu kube play {name}.pod.yaml",
        indented(CONTAINERS)
    ));
    let restart = match workload.restart {
        RestartPolicy::No => "no",
        RestartPolicy::OnFailure(_) => "on-failure",
        RestartPolicy::Always | RestartPolicy::UnlessStopped => "always",
    };
    let _ = write!(
        text,
        "[Unit]\nDescription={name}, a unikernel\n\n[Container]\nContainerName={name}\nImage={}\n\
         PodmanArgs=--runtime={RUNU}\n",
        workload.image
    );
    if let Some(bytes) = workload.memory {
        let _ = writeln!(text, "PodmanArgs=--memory={}", memory(bytes));
    }
    if let Some(cpus) = workload.cpus {
        let _ = writeln!(text, "PodmanArgs=--cpus={cpus}");
    }
    for port in &workload.ports {
        let address = if port.host_ip.is_unspecified() {
            String::new()
        } else {
            format!("{}:", port.host_ip)
        };
        let host = match port.host_port {
            0 if address.is_empty() => String::new(),
            0 => ":".to_owned(),
            host => format!("{host}:"),
        };
        let _ = writeln!(
            text,
            "PublishPort={address}{host}{}/{}",
            port.machine_port, port.protocol
        );
    }
    for volume in &workload.volumes {
        let _ = writeln!(text, "Volume={}", unit_path(&volume_word(volume)));
    }
    for (key, pairs) in [("Environment", &workload.env), ("Label", &workload.labels)] {
        for (name, value) in pairs {
            let _ = writeln!(text, "{key}={}", unit(&format!("{name}={value}")));
        }
    }
    if let Some(check) = &workload.health {
        let _ = write!(
            text,
            "HealthCmd={}\nHealthInterval={}ms\nHealthTimeout={}ms\nHealthRetries={}\nHealthStartPeriod={}ms\n",
            probe(check).join(" "),
            check.interval_ms,
            check.timeout_ms,
            check.retries,
            check.start_period_ms
        );
    }
    if !workload.args.is_empty() {
        let args: Vec<String> = workload.args.iter().map(|arg| unit(arg)).collect();
        let _ = writeln!(text, "Exec={}", args.join(" "));
    }
    let _ = write!(
        text,
        "\n[Service]\nRestart={restart}\n\n[Install]\nWantedBy=multi-user.target\n"
    );
    text
}

/// Returns a path for a setting that is not split into words.
fn unit_path(path: &str) -> String {
    path.replace('%', "%%")
}

/// Checks what a unit has on a line without quotes.
fn lines(workload: &Workload, wrong: &mut Vec<String>) {
    if let Some(check) = &workload.health
        && let HealthProbe::Http { path, .. } = &check.probe
        && !path
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.~/".contains(c))
    {
        wrong.push(format!(
            "the path of the health check of `{}` has characters that a unit cannot have",
            workload.name
        ));
    }
}
