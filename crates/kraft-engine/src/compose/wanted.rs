//! The machines that the files of a project describe: what `kraft run` would be asked for each.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use kraft_config::dirs::absolute;
use kraft_core::compose::{Condition, ExtraHost, HostAddress, MountKind, Port, Service};
use kraft_core::lifecycle::{HealthCheck, Lifecycle};
use kraft_core::plan::{LEAST_MEMORY, RunRequest};
use kraft_core::port::{PortMapping, Protocol};
use kraft_core::problem::Problem;
use kraft_oci::digest;
use kraft_rootfs::ExtraFile;

use super::Error;
use super::definition::Definition;
use super::plan::Described;
use super::state;
use crate::boot::PreparedBoot;
use crate::context::Context;

/// The default time between two health checks, and of one (Compose specification).
const INTERVAL: Duration = Duration::from_secs(30);
/// The default number of failures that make a machine unhealthy.
const RETRIES: u32 = 3;
/// The memory of a machine on the built-in runtime whose service does not name it, in bytes. Images
/// for containers expect more than a unikernel; what the guest does not use costs nothing.
const CONTAINER_MEMORY: u64 = 256 << 20;
/// The maximum number of machines of a service.
const MOST_REPLICAS: u32 = 1000;

/// A machine that the files describe.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Its service.
    pub service: &'a Service,
    /// What the plan compares.
    pub described: Described,
    /// What is asked for, without its arguments.
    pub request: RunRequest,
    /// The files that it gets.
    pub files: Vec<ExtraFile>,
}

impl Definition {
    /// Returns the machines of services.
    ///
    /// # Errors
    ///
    /// If a service cannot run on this host.
    pub fn wanted<'a>(
        &self,
        ctx: &Context,
        services: &[&'a Service],
    ) -> Result<Vec<Wanted<'a>>, Error> {
        self.check_conditions(services)?;
        let mut all = Vec::new();
        for service in services {
            let replicas = self.replicas(service)?;
            let request = self.request(ctx, service)?;
            let files = self.files(ctx, service)?;
            let hash = hash(service, &request, &files);
            for number in 1..=replicas {
                let machine = self.machine(service, number);
                let mut request = request.clone();
                request.name = Some(machine.clone());
                let is_anonymous = |kind| kind == MountKind::Anonymous;
                if number > 1 && service.volumes.iter().any(|it| is_anonymous(it.kind)) {
                    // Each has its own.
                    request.volumes = self.mounts(ctx, service, number)?;
                }
                self.label(service, number, &hash, &mut request.labels);
                let described = Described {
                    machine,
                    service: service.name.clone(),
                    number,
                    hash: hash.clone(),
                    image: super::images::digest(ctx, service),
                };
                all.push(Wanted {
                    service,
                    described,
                    request,
                    files: files.clone(),
                });
            }
        }
        Ok(all)
    }

    /// Returns the name of a machine: the first of a service has no number, so that it stays when
    /// more are added.
    pub fn machine(&self, service: &Service, number: u32) -> String {
        match (&service.container_name, number) {
            (Some(name), _) => name.clone(),
            (None, 1) => format!("{}-{}", self.project, service.name),
            (None, _) => format!("{}-{}-{number}", self.project, service.name),
        }
    }

    /// Returns the number of machines of a service.
    fn replicas(&self, service: &Service) -> Result<u32, Error> {
        let replicas = service.replicas.unwrap_or(1);
        if replicas > MOST_REPLICAS {
            let message = format!("`{}` has more than {MOST_REPLICAS} machines", service.name);
            return Err(self.unsupported(Problem::error(message).at(service.span)));
        }
        if replicas < 2 {
            return Ok(replicas);
        }
        let refuse = |what: &str| {
            let message = format!(
                "`{}` has {replicas} machines, and all of them would have {what}",
                service.name
            );
            let problem = Problem::error(message).at(service.span);
            Err(self.unsupported(problem.help("leave it out, or have one machine")))
        };
        let networks = service.networks.as_deref().unwrap_or_default();
        if service.container_name.is_some() {
            return refuse("the same name");
        }
        let mut fixed = service
            .ports
            .iter()
            .filter(|port| port.published_to.is_none());
        if let Some(port) = fixed.find_map(|port| port.published) {
            return refuse(&format!("port {port} of the host"));
        }
        if let Some(address) = networks.iter().find_map(|network| network.address) {
            return refuse(&format!("the address {address}"));
        }
        Ok(replicas)
    }

    /// Returns what is asked for every machine of a service.
    pub(crate) fn request(&self, ctx: &Context, service: &Service) -> Result<RunRequest, Error> {
        let networks = self.interfaces(service)?;
        let mut ports = Vec::with_capacity(service.ports.len());
        // A machine without a network has none that ports or checks could lead to.
        for port in service.ports.iter().filter(|_| !service.isolated) {
            ports.push(self.port(port)?);
        }
        let mut lifecycle = lifecycle(service);
        if service.isolated {
            lifecycle.health = None;
        }
        Ok(RunRequest {
            name: None,
            platform: None,
            arch: self.arch(service)?,
            memory: memory(service),
            cpus: service.cpus,
            ports,
            networks,
            volumes: self.mounts(ctx, service, 1)?,
            env: self.environment(ctx, service)?,
            labels: service.labels.clone(),
            lifecycle,
            stdin: service.stdin_open,
            tty: service.tty && service.stdin_open,
            kernel_args: Vec::new(),
            args: Vec::new(),
            workdir: service.working_dir.clone(),
            disable_acceleration: ctx.settings.acceleration_is_off,
            remove_when_ended: false,
        })
    }

    fn port(&self, port: &Port) -> Result<PortMapping, Error> {
        let refuse = |message: String| {
            let problem = Problem::error(message).at(port.span);
            Err(self.unsupported(problem))
        };
        let host_ip: IpAddr = match port.host_ip.as_deref().filter(|ip| !ip.is_empty()) {
            None => Ipv4Addr::UNSPECIFIED.into(),
            Some("localhost") => Ipv4Addr::LOCALHOST.into(),
            Some(ip) => match ip.parse() {
                Ok(ip) => ip,
                Err(_) => return refuse(format!("`{ip}` is not an address of this host")),
            },
        };
        let protocol = match port.protocol.as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            other => return refuse(format!("`{other}` is neither tcp nor udp")),
        };
        Ok(PortMapping {
            host_ip,
            host_port: port.published.unwrap_or(0),
            machine_port: port.target,
            protocol,
        })
    }

    /// Returns the architecture of `platform`: `linux/amd64`, `qemu/x86_64`, `arm64`.
    fn arch(&self, service: &Service) -> Result<Option<kraft_core::arch::Arch>, Error> {
        let Some(platform) = &service.platform else {
            return Ok(None);
        };
        let arch = platform.value.split('/').nth(1).unwrap_or(&platform.value);
        arch.parse().map(Some).map_err(|_| {
            let message = format!("`{}` is not a platform", platform.value);
            let problem = Problem::error(message).at(platform.span);
            self.unsupported(problem.help("write `qemu/x86_64` or `linux/arm64`"))
        })
    }

    fn label(
        &self,
        service: &Service,
        number: u32,
        hash: &str,
        labels: &mut BTreeMap<String, String>,
    ) {
        let files: Vec<String> = self
            .files
            .iter()
            .map(|file| absolute(file).display().to_string())
            .collect();
        let needs: Vec<String> = service
            .depends_on
            .iter()
            .map(|need| {
                let condition = match need.condition {
                    Condition::ServiceStarted => "service_started",
                    Condition::ServiceHealthy => "service_healthy",
                    Condition::ServiceCompletedSuccessfully => "service_completed_successfully",
                };
                format!("{}:{condition}:false", need.service)
            })
            .collect();
        for (name, value) in [
            (state::PROJECT, self.project.clone()),
            (state::SERVICE, service.name.clone()),
            (state::NUMBER, number.to_string()),
            (state::HASH, hash.to_owned()),
            (state::DIR, absolute(&self.dir).display().to_string()),
            (state::FILES, files.join(",")),
            (state::DEPENDS, needs.join(",")),
        ] {
            labels.insert(name.to_owned(), value);
        }
    }

    /// Checks that what services wait for can happen.
    fn check_conditions(&self, services: &[&Service]) -> Result<(), Error> {
        for service in services {
            for need in &service.depends_on {
                let Some(other) = self.compose.service(&need.service) else {
                    continue;
                };
                let health = other.health.as_ref().filter(|_| !other.isolated);
                let probe = health.map(|health| health.probe.is_some());
                if need.condition != Condition::ServiceHealthy || probe == Some(true) {
                    continue;
                }
                let why = match probe {
                    None => "has no health check",
                    Some(_) => "has a health check that runs a program, which a machine cannot",
                };
                let message = format!(
                    "`{}` waits until `{}` is healthy, which {why}",
                    service.name, other.name
                );
                let problem = Problem::error(message).at(need.span);
                return Err(self.unsupported(problem.help(format!(
                    "write `x-kraft-health: tcp:PORT` or `http:PORT/PATH` at `{}`",
                    other.name
                ))));
            }
        }
        Ok(())
    }

    /// Returns what the user should know about services, in one line: keys without an effect, and
    /// health checks that run programs.
    pub fn warning(&self, services: &[&Service]) -> Option<String> {
        let mut parts = Vec::new();
        if !self.idle().is_empty() {
            parts.push(format!(
                "no effect on unikernels: {}",
                self.idle().join(", ")
            ));
        }
        let unprobed = |service: &&&Service| {
            let health = service.health.as_ref();
            health.is_some_and(|health| health.probe.is_none())
        };
        let mut name = |is: &dyn Fn(&&&Service) -> bool, what: &str, help: &str| {
            let names = services.iter().filter(is).map(|it| it.name.as_str());
            let names: Vec<&str> = names.collect();
            if !names.is_empty() {
                parts.push(format!("{what}: {} ({help})", names.join(", ")));
            }
        };
        name(
            &unprobed,
            "health checks that run programs are not made",
            "`x-kraft-health: tcp:PORT` is one that is",
        );
        name(
            &|it| it.memory.is_some() && memory(it).is_none(),
            "memory of less than 1 MiB, which is not used",
            "`512m` is in MiB",
        );
        name(
            &|it| it.isolated && (it.health.is_some() || !it.ports.is_empty()),
            "ports and health checks without a network",
            "of `network_mode: none`",
        );
        name(
            &|it| it.extra_hosts.iter().any(is_unknown_host),
            "names of the host in `extra_hosts`, which are not known",
            "`host.docker.internal` is",
        );
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// Returns whether a name stands for the host, and the name servers of networks do not know it.
fn is_unknown_host(host: &ExtraHost) -> bool {
    let known = ["host.docker.internal", "host.kraft.internal"];
    host.address == HostAddress::Host && !known.contains(&host.name.as_str())
}

/// Returns how a machine of a service is kept running.
fn lifecycle(service: &Service) -> Lifecycle {
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let millis = |time: Option<Duration>, default: Duration| {
        let time = time.filter(|time| !time.is_zero()).unwrap_or(default);
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
    };
    let health = service.health.as_ref().and_then(|health| {
        Some(HealthCheck {
            probe: health.probe.clone()?,
            interval_ms: millis(health.interval, INTERVAL),
            timeout_ms: millis(health.timeout, INTERVAL),
            retries: health.retries.unwrap_or(RETRIES).max(1),
            start_period_ms: health.start_period.map_or(0, |time| {
                u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
            }),
        })
    });
    Lifecycle {
        restart: service.restart.unwrap_or_default(),
        stop_timeout: service.stop_grace_period.map(seconds),
        health,
        sleep_after_ms: service
            .sleep_after
            .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// Returns the digest of everything that a machine is made from. What only concerns the order of
/// machines, their number or their image is left out.
fn hash(service: &Service, request: &RunRequest, files: &[ExtraFile]) -> String {
    let plain = Service {
        depends_on: Vec::new(),
        profiles: Vec::new(),
        replicas: None,
        build: None,
        attach: true,
        ..service.clone()
    };
    let files: Vec<_> = files
        .iter()
        .map(|file| (&file.path, file.mode, digest::of(&file.content).to_string()))
        .collect();
    let all = (
        plain,
        &request.env,
        &request.networks,
        &request.ports,
        &request.volumes,
        files,
        &request.lifecycle,
    );
    // INVARIANT: serialising cannot fail, because all keys of maps are strings.
    let json = serde_json::to_vec(&all).unwrap_or_default();
    digest::of(&json).hex().to_owned()
}

/// Returns the memory of a service; `None` for the default if it is less than any machine has.
fn memory(service: &Service) -> Option<u64> {
    service.memory.filter(|bytes| *bytes >= LEAST_MEMORY)
}

/// Adds to a request what depends on what boots: the arguments, and what is left open.
///
/// | `entrypoint` | `command` | the program and its arguments |
/// |---|---|---|
/// | no | no | those of the image |
/// | no | yes | the entry point of the image, the command |
/// | yes | no | the entry point |
/// | yes | yes | the entry point, the command |
pub fn complete(service: &Service, request: &mut RunRequest, prepared: &PreparedBoot) {
    let image = prepared.entrypoint();
    request.args = match (&service.entrypoint, &service.command) {
        (None, None) => Vec::new(),
        (None, Some(command)) => [image, command.clone()].concat(),
        (Some(program), command) => [program.clone(), command.clone().unwrap_or_default()].concat(),
    };
    if prepared.guest() == kraft_core::kernel::Guest::Runtime {
        // It has one processor.
        request.cpus = None;
        if request.memory.is_none() {
            // The archive is unpacked into memory.
            let files = prepared.root_size().saturating_mul(2);
            request.memory = Some(CONTAINER_MEMORY.saturating_add(files));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::compose::definition::{self, OpenOptions};
    use crate::testing::{Script, context};

    /// Opens a project named `shop` with this file.
    fn open(home: &Path, text: &str) -> (Context, Definition) {
        let ctx = context(home, &Script::silent());
        let file = home.join("compose.yaml");
        kraft_sys::fs::replace_file(&file, text.as_bytes()).unwrap();
        let options = OpenOptions {
            files: vec![file],
            project: Some("shop".to_owned()),
            ..OpenOptions::default()
        };
        let definition = definition::open(&ctx, &options).unwrap();
        (ctx, definition)
    }

    /// Returns the machines of all services, or why there are none.
    fn described(text: &str) -> Result<Vec<(Described, RunRequest)>, String> {
        let home = tempfile::tempdir().unwrap();
        let (ctx, definition) = open(home.path(), text);
        let services = definition.services(&[]).unwrap();
        let wanted = definition.wanted(&ctx, &services);
        let wanted = wanted.map_err(|error| error.to_string())?;
        let wanted = wanted.into_iter();
        Ok(wanted.map(|one| (one.described, one.request)).collect())
    }

    #[test]
    fn the_first_machine_of_a_service_has_no_number_in_its_name() {
        let text = "services: {web: {image: x, scale: 2}, db: {image: x, container_name: data}}";
        let all = described(text).unwrap();
        let names: Vec<&str> = all.iter().map(|(it, _)| it.machine.as_str()).collect();
        assert_eq!(names, ["shop-web", "shop-web-2", "data"]);
        let labels = &all[1].1.labels;
        assert_eq!(labels[state::PROJECT], "shop");
        assert_eq!(
            (&*labels[state::SERVICE], &*labels[state::NUMBER]),
            ("web", "2")
        );
        assert_eq!(all[0].1.networks[0].network, "shop_default");
        assert_eq!(all[0].1.networks[0].aliases, ["web"]);
    }

    #[test]
    fn the_digest_depends_on_what_the_machine_is_made_from() {
        let digest = |more: &str| {
            let text = format!("services: {{web: {{image: x{more}}}, db: {{image: x}}}}");
            described(&text).unwrap()[0].0.hash.clone()
        };
        let plain = digest("");
        for same in [", depends_on: [db]", ", scale: 1", ", attach: false"] {
            let text = format!("services: {{web: {{image: x{same}}}, db: {{image: x}}}}");
            let all = described(&text).unwrap();
            let web = all.iter().find(|(it, _)| it.service == "web").unwrap();
            assert_eq!(web.0.hash, plain, "{same}");
        }
        for other in [
            ", command: [a]",
            ", environment: {A: b}",
            ", ports: [80]",
            ", labels: {a: b}",
            ", mem_limit: 64m",
            ", restart: always",
            ", networks: {default: {aliases: [a]}}",
        ] {
            assert_ne!(digest(other), plain, "{other}");
        }
    }

    #[test]
    fn what_cannot_run_is_named() {
        for (service, why) in [
            ("scale: 2, ports: ['80:80']", "port 80 of the host"),
            ("scale: 2, container_name: one", "the same name"),
            (
                "scale: 2, networks: {default: {ipv4_address: 172.20.0.5}}",
                "the address 172.20.0.5",
            ),
            ("scale: 100000", "more than 1000 machines"),
            ("ports: ['nowhere:80:80']", "`nowhere` is not an address"),
            ("ports: ['80:80/sctp']", "`sctp` is neither tcp nor udp"),
            ("platform: linux/mips", "`linux/mips` is not a platform"),
            (
                "volumes: ['data:/data']",
                "the volume `data` is not declared",
            ),
            ("networks: [front]", "the network `front` is not declared"),
            ("configs: [site]", "the config `site` is not declared"),
            (
                "depends_on: {db: {condition: service_healthy}}",
                "which has no health check",
            ),
            (
                "depends_on: {sick: {condition: service_healthy}}",
                "runs a program",
            ),
        ] {
            let text = format!(
                "services:\n  web: {{image: x, {service}}}\n  db: {{image: x}}\n  \
                 sick: {{image: x, healthcheck: {{test: [CMD, /check]}}}}\n"
            );
            let error = described(&text).unwrap_err();
            assert!(error.contains(why), "{service}: {error}");
        }
    }

    #[test]
    fn a_health_check_publishes_nothing_and_needs_a_network() {
        let check = "healthcheck: {test: [CMD, curl, 'http://localhost:80/']}";
        for (more, expected) in [
            ("", (0, 1, true)),
            (", ports: ['8080:80']", (1, 1, true)),
            (", ports: ['8080:80'], network_mode: none", (0, 0, false)),
        ] {
            let text = format!("services: {{web: {{image: x, {check}{more}}}}}");
            let all = described(&text).unwrap();
            let web = &all[0].1;
            let found = (
                web.ports.len(),
                web.networks.len(),
                web.lifecycle.health.is_some(),
            );
            assert_eq!(found, expected, "{more}");
        }
    }

    #[test]
    fn volumes_without_a_name_belong_to_one_machine_each() {
        let text = "services: {web: {image: x, scale: 2, volumes: [/a, /b]}}";
        let all = described(text).unwrap();
        let mut names: Vec<&str> = all
            .iter()
            .flat_map(|(_, it)| it.volumes.iter().filter_map(|it| it.name.as_deref()))
            .collect();
        assert_eq!(names.len(), 4);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 4);
        assert!(
            names.iter().all(|name| name.starts_with("shop_web")),
            "{names:?}"
        );
    }

    #[test]
    fn what_has_no_effect_is_named_in_one_line() {
        let home = tempfile::tempdir().unwrap();
        let text = "services:\n  web:\n    image: x\n    cap_add: [A]\n    privileged: true\n    \
                    mem_reservation: 512\n    healthcheck: {test: [CMD, /check]}\n  \
                    db: {image: x, cap_add: [B]}\n";
        let (_, definition) = open(home.path(), text);
        let services = definition.services(&[]).unwrap();
        let warning = definition.warning(&services).unwrap();
        assert!(
            warning.starts_with("no effect on unikernels: cap_add, privileged; "),
            "{warning}"
        );
        assert!(warning.contains("are not made: web"), "{warning}");
        assert!(
            warning.contains("less than 1 MiB, which is not used: web"),
            "{warning}"
        );
    }
}
