//! Compose files: for `docker compose`, and for the stacks of a swarm.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use kraft_core::lifecycle::RestartPolicy;

use super::quote::{yaml, yaml_list};
use super::shell::{DAEMON, indented, memory};
use super::{Exported, RUNU, Workload, comment, probe, volume_source};

/// The setting of a daemon in a swarm: services cannot name a runtime.
const SWARM_DAEMON: &str = "\
{\"runtimes\": {\"runu\": {\"path\": \"/usr/local/bin/runu\"}}, \"default-runtime\": \"runu\"}
";

/// `docker compose`.
pub(super) fn compose(workloads: &[Workload], out: &mut Exported) {
    let steps = format!(
        "1. Install kraft on the host, so that {RUNU} exists.\n\
         2. Add this to /etc/docker/daemon.json, then run `systemctl reload docker`:\n{}\
         3. docker compose --file compose.yaml up --detach",
        indented(DAEMON)
    );
    let mut text = comment(&steps);
    text.push_str("services:\n");
    for workload in workloads {
        service(workload, &mut text);
        text.push_str("    runtime: runu\n");
        if workload.restart != RestartPolicy::No {
            let _ = writeln!(text, "    restart: {}", yaml(&workload.restart.to_string()));
        }
        if let Some(bytes) = workload.memory {
            let _ = writeln!(text, "    mem_limit: {}", memory(bytes));
        }
        if let Some(cpus) = workload.cpus {
            let _ = writeln!(text, "    cpus: {cpus}");
        }
        if workload.replicas > 1 {
            let _ = writeln!(text, "    scale: {}", workload.replicas);
        }
        ports(workload, false, &mut text);
    }
    volumes(workloads, &mut text);
    out.manifest("compose.yaml", text);
    out.host("daemon.json", DAEMON);
}

/// `docker stack deploy`.
pub(super) fn swarm(workloads: &[Workload], out: &mut Exported) {
    let steps = format!(
        "1. Install kraft on every node, so that {RUNU} exists.\n\
         2. Add this to /etc/docker/daemon.json of every node, then run `systemctl reload docker` there:\n{}\
         3. docker stack deploy --compose-file stack.yaml NAME",
        indented(SWARM_DAEMON)
    );
    let mut text = comment(&steps);
    text.push_str("version: \"3.8\"\nservices:\n");
    for workload in workloads {
        service(workload, &mut text);
        let differ = ports(workload, true, &mut text);
        if differ {
            out.note(format!(
                "`{}`: ports are published by the nodes themselves (`mode: host`) where the number differs \
                 inside: the routing mesh keeps the number",
                workload.name
            ));
        }
        deploy(workload, &mut text);
    }
    volumes(workloads, &mut text);
    out.manifest("stack.yaml", text);
    out.host("daemon.json", SWARM_DAEMON);
}

/// Writes what both have.
fn service(workload: &Workload, text: &mut String) {
    let _ = writeln!(text, "  {}:", yaml(&workload.name));
    let _ = writeln!(text, "    image: {}", yaml(&workload.image));
    if !workload.args.is_empty() {
        let args: Vec<String> = workload.args.iter().map(|arg| literal(arg)).collect();
        let _ = writeln!(text, "    command: {}", yaml_list(&args));
    }
    for (key, pairs) in [("environment", &workload.env), ("labels", &workload.labels)] {
        if !pairs.is_empty() {
            let _ = writeln!(text, "    {key}:");
        }
        for (name, value) in pairs {
            let _ = writeln!(text, "      {}: {}", yaml(name), yaml(&literal(value)));
        }
    }
    if !workload.volumes.is_empty() {
        text.push_str("    volumes:\n");
    }
    for volume in &workload.volumes {
        let kind = if volume.name.is_some() {
            "volume"
        } else {
            "bind"
        };
        let source = yaml(&literal(&volume_source(volume)));
        let target = yaml(&literal(&volume.destination));
        let _ = writeln!(
            text,
            "      - type: {kind}\n        source: {source}\n        target: {target}\n        read_only: {}",
            volume.read_only
        );
    }
    if let Some(check) = &workload.health {
        let [program, kind, target] = probe(check);
        let command = ["CMD".to_owned(), program, kind, literal(&target)];
        let _ = writeln!(
            text,
            "    healthcheck:\n      test: {}\n      interval: {}ms\n      timeout: {}ms\n      \
             retries: {}\n      start_period: {}ms",
            yaml_list(&command),
            check.interval_ms,
            check.timeout_ms,
            check.retries,
            check.start_period_ms
        );
    }
}

/// Writes the ports; returns whether a port of a swarm differs inside.
fn ports(workload: &Workload, swarm: bool, text: &mut String) -> bool {
    let mut differ = false;
    if !workload.ports.is_empty() {
        text.push_str("    ports:\n");
    }
    for port in &workload.ports {
        let _ = writeln!(
            text,
            "      - target: {}\n        protocol: {}",
            port.machine_port, port.protocol
        );
        if port.host_port != 0 {
            // Version 3 of the format has a number here, the Compose specification either.
            let _ = writeln!(text, "        published: {}", port.host_port);
        }
        if !port.host_ip.is_unspecified() && !swarm {
            let _ = writeln!(text, "        host_ip: {}", yaml(&port.host_ip.to_string()));
        }
        let meshed = port.host_port == port.machine_port;
        if swarm && !meshed {
            text.push_str("        mode: host\n");
            differ = true;
        }
    }
    differ
}

/// Writes what a swarm decides.
fn deploy(workload: &Workload, text: &mut String) {
    let condition = match workload.restart {
        RestartPolicy::No => "none",
        RestartPolicy::OnFailure(_) => "on-failure",
        RestartPolicy::Always | RestartPolicy::UnlessStopped => "any",
    };
    let _ = writeln!(
        text,
        "    deploy:\n      replicas: {}\n      restart_policy:\n        condition: {condition}",
        workload.replicas
    );
    if let RestartPolicy::OnFailure(Some(most)) = workload.restart {
        let _ = writeln!(text, "        max_attempts: {most}");
    }
    if workload.memory.is_none() && workload.cpus.is_none() {
        return;
    }
    text.push_str("      resources:\n        limits:\n");
    if let Some(bytes) = workload.memory {
        let _ = writeln!(text, "          memory: {}", memory(bytes));
    }
    if let Some(cpus) = workload.cpus {
        let _ = writeln!(text, "          cpus: \"{cpus}\"");
    }
}

/// Declares the named volumes.
fn volumes(workloads: &[Workload], text: &mut String) {
    let all = workloads.iter().flat_map(|it| &it.volumes);
    let names: BTreeSet<&String> = all.filter_map(|it| it.name.as_ref()).collect();
    if !names.is_empty() {
        text.push_str("volumes:\n");
    }
    for name in names {
        let _ = writeln!(text, "  {}:\n    name: {}", yaml(name), yaml(name));
    }
}

/// Returns a text in which Compose replaces no variables.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}
