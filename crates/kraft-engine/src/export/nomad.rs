//! Nomad: a job whose tasks Docker runs with `runu`.

use std::fmt::Write as _;

use kraft_core::lifecycle::{HealthProbe, RestartPolicy};
use kraft_core::quantity::MIB;

use super::quote::hcl;
use super::shell::{DAEMON, indented};
use super::{Exported, RUNU, Workload, comment, shown, volume_word};

/// The setting of Nomad's clients with which jobs may name the runtime.
const CLIENT: &str = "\
plugin \"docker\" {
  config {
    allow_runtimes = [\"runc\", \"runu\"]
    volumes {
      enabled = true
    }
  }
}
";

/// `nomad job run`.
pub(super) fn nomad(workloads: &[Workload], out: &mut Exported, wrong: &mut Vec<String>) {
    let Some(first) = workloads.first() else {
        return;
    };
    let steps = format!(
        "1. Install kraft on every client, so that {RUNU} exists.\n\
         2. Add this to /etc/docker/daemon.json of every client, then run `systemctl reload docker` there:\n{}\
         3. Add this to the configuration of every client, then restart it:\n{}\
         4. nomad job run {}.nomad.hcl",
        indented(DAEMON),
        indented(CLIENT),
        first.name
    );
    let mut text = comment(&steps);
    let _ = writeln!(text, "job {} {{\n  type = \"service\"", hcl(&first.name));
    for workload in workloads {
        check(workload, wrong);
        group(workload, &mut text);
    }
    text.push_str("}\n");
    out.manifest(format!("{}.nomad.hcl", first.name), text);
    out.host("daemon.json", DAEMON);
    out.host("client.hcl", CLIENT);
}

/// Nomad replaces `${NAME}` when it starts a task, and has no way to write these characters.
fn check(workload: &Workload, wrong: &mut Vec<String>) {
    let values = workload.env.values().chain(&workload.args);
    for value in values.chain(workload.labels.values()) {
        if value.contains("${") {
            wrong.push(format!(
                "Nomad would replace the variable in `{}`: write it without `${{`",
                shown(value)
            ));
        }
    }
}

/// Returns the name of a port.
fn label(port: u16, protocol: kraft_core::port::Protocol) -> String {
    format!("{protocol}-{port}")
}

fn group(workload: &Workload, text: &mut String) {
    let name = hcl(&workload.name);
    let _ = write!(
        text,
        "  group {name} {{\n    count = {}\n",
        workload.replicas
    );
    restart(workload.restart, text);
    if !workload.ports.is_empty() {
        text.push_str("    network {\n");
        let mut seen = std::collections::BTreeSet::new();
        for port in &workload.ports {
            let label = label(port.machine_port, port.protocol);
            if !seen.insert(label.clone()) {
                continue;
            }
            let _ = writeln!(
                text,
                "      port {} {{\n        to = {}",
                hcl(&label),
                port.machine_port
            );
            if port.host_port != 0 {
                let _ = writeln!(text, "        static = {}", port.host_port);
            }
            text.push_str("      }\n");
        }
        text.push_str("    }\n");
        service(workload, text);
    }
    task(workload, text);
    text.push_str("  }\n");
}

fn restart(policy: RestartPolicy, text: &mut String) {
    let attempts = match policy {
        RestartPolicy::No => 0,
        RestartPolicy::OnFailure(most) => most.unwrap_or(u32::MAX >> 1),
        RestartPolicy::Always | RestartPolicy::UnlessStopped => return,
    };
    let _ = write!(
        text,
        "    restart {{\n      attempts = {attempts}\n      mode = \"fail\"\n    }}\n"
    );
}

fn service(workload: &Workload, text: &mut String) {
    let Some(port) = workload.ports.first() else {
        return;
    };
    let _ = write!(
        text,
        "    service {{\n      name = {}\n      port = {}\n      provider = \"nomad\"\n",
        hcl(&workload.name),
        hcl(&label(port.machine_port, port.protocol))
    );
    if let Some(health) = &workload.health {
        let (number, kind, path) = match &health.probe {
            HealthProbe::Tcp { port } => (*port, "tcp", None),
            HealthProbe::Http { port, path } => (*port, "http", Some(path)),
        };
        let port = label(number, kraft_core::port::Protocol::Tcp);
        let known = workload
            .ports
            .iter()
            .any(|it| label(it.machine_port, it.protocol) == port);
        if known {
            let _ = writeln!(
                text,
                "      check {{\n        type = {}\n        port = {}",
                hcl(kind),
                hcl(&port)
            );
            if let Some(path) = path {
                let _ = writeln!(text, "        path = {}", hcl(path));
            }
            let _ = write!(
                text,
                "        interval = \"{}ms\"\n        timeout = \"{}ms\"\n      }}\n",
                health.interval_ms.max(1000),
                health.timeout_ms.max(1000)
            );
        }
    }
    text.push_str("    }\n");
}

fn task(workload: &Workload, text: &mut String) {
    let list = |values: Vec<String>| values.join(", ");
    let name = hcl(&workload.name);
    let _ = write!(
        text,
        "    task {name} {{\n      driver = \"docker\"\n      config {{\n        image = {}\n        runtime = \"runu\"\n",
        hcl(&workload.image)
    );
    if !workload.args.is_empty() {
        let args = workload.args.iter().map(|arg| hcl(arg)).collect();
        let _ = writeln!(text, "        args = [{}]", list(args));
    }
    let inner = workload.inner_ports();
    if !inner.is_empty() {
        let ports = inner
            .into_iter()
            .map(|(port, protocol)| hcl(&label(port, protocol)));
        let _ = writeln!(text, "        ports = [{}]", list(ports.collect()));
    }
    if !workload.volumes.is_empty() {
        let volumes = workload.volumes.iter().map(|it| hcl(&volume_word(it)));
        let _ = writeln!(text, "        volumes = [{}]", list(volumes.collect()));
    }
    map("labels", 8, &workload.labels, text);
    text.push_str("      }\n");
    map("env", 6, &workload.env, text);
    if workload.memory.is_some() || workload.cpus.is_some() {
        text.push_str("      resources {\n");
        if let Some(bytes) = workload.memory {
            let _ = writeln!(text, "        memory = {}", bytes.div_ceil(MIB).max(10));
        }
        if let Some(cpus) = workload.cpus {
            let _ = writeln!(text, "        cores = {cpus}");
        }
        text.push_str("      }\n");
    }
    text.push_str("    }\n");
}

/// Writes an attribute that is a map.
fn map(
    key: &str,
    indent: usize,
    pairs: &std::collections::BTreeMap<String, String>,
    text: &mut String,
) {
    if pairs.is_empty() {
        return;
    }
    let at = " ".repeat(indent);
    let _ = writeln!(text, "{at}{key} = {{");
    for (name, value) in pairs {
        let _ = writeln!(text, "{at}  {} = {}", hcl(name), hcl(value));
    }
    let _ = writeln!(text, "{at}}}");
}
