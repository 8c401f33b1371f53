//! The machines that the files of a project describe: what `kraft run` would be asked for each.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use kraft_config::dirs::absolute;
use kraft_core::compose::{Condition, Port, Service};
use kraft_core::lifecycle::{HealthCheck, Lifecycle};
use kraft_core::plan::RunRequest;
use kraft_core::port::{PortMapping, Protocol};
use kraft_core::problem::Problem;
use kraft_oci::digest;

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
            let hash = hash(service, &request);
            for number in 1..=replicas {
                let machine = self.machine(service, number);
                let mut request = request.clone();
                request.name = Some(machine.clone());
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
        if let Some(port) = service.ports.iter().find_map(|port| port.published) {
            return refuse(&format!("port {port} of the host"));
        }
        if let Some(address) = networks.iter().find_map(|network| network.address) {
            return refuse(&format!("the address {address}"));
        }
        Ok(replicas)
    }

    /// Returns what is asked for every machine of a service.
    fn request(&self, ctx: &Context, service: &Service) -> Result<RunRequest, Error> {
        let networks = self.interfaces(service)?;
        let mut ports = Vec::with_capacity(service.ports.len());
        for port in &service.ports {
            ports.push(self.port(port)?);
        }
        let lifecycle = lifecycle(service);
        if let Some(check) = &lifecycle.health {
            publish(check.probe.port(), &mut ports);
        }
        Ok(RunRequest {
            name: None,
            platform: None,
            arch: self.arch(service)?,
            memory: service.memory,
            cpus: service.cpus,
            ports,
            networks,
            volumes: self.mounts(ctx, service)?,
            env: self.env(ctx, service)?,
            labels: service.labels.clone(),
            lifecycle,
            stdin: service.stdin_open,
            tty: service.tty && service.stdin_open,
            kernel_args: Vec::new(),
            args: Vec::new(),
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

    /// Returns the environment: variables of files, overridden by those of the service.
    fn env(&self, ctx: &Context, service: &Service) -> Result<BTreeMap<String, String>, Error> {
        let mut env = BTreeMap::new();
        for file in &service.env_files {
            env.extend(self.variables_of(&file.path, file.required)?);
        }
        for variable in &service.environment {
            let value = variable.value.clone();
            match value.or_else(|| self.look_up(ctx, &variable.name)) {
                Some(value) => env.insert(variable.name.clone(), value),
                None => env.remove(&variable.name),
            };
        }
        Ok(env)
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
                let probe = other.health.as_ref().map(|health| health.probe.is_some());
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
        let names: Vec<&str> = services
            .iter()
            .filter(unprobed)
            .map(|service| service.name.as_str())
            .collect();
        if !names.is_empty() {
            parts.push(format!(
                "health checks that run programs are not made: {} (`x-kraft-health: tcp:PORT` is one that is)",
                names.join(", ")
            ));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
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
    }
}

/// Returns the digest of everything that a machine is made from. What only concerns the order of
/// machines, their number or their image is left out.
fn hash(service: &Service, request: &RunRequest) -> String {
    let plain = Service {
        depends_on: Vec::new(),
        profiles: Vec::new(),
        replicas: None,
        build: None,
        attach: true,
        ..service.clone()
    };
    let volumes: Vec<_> = request.volumes.iter().collect();
    let all = (
        plain,
        &request.env,
        &request.networks,
        &request.ports,
        volumes,
        &request.lifecycle,
    );
    // INVARIANT: serialising cannot fail, because all keys of maps are strings.
    let json = serde_json::to_vec(&all).unwrap_or_default();
    digest::of(&json).hex().to_owned()
}

/// Publishes a port for health checks on a free port of the host, unless it is published.
fn publish(port: u16, ports: &mut Vec<PortMapping>) {
    let is = |it: &PortMapping| it.machine_port == port && it.protocol == Protocol::Tcp;
    if !ports.iter().any(is) {
        ports.push(PortMapping {
            host_ip: Ipv4Addr::LOCALHOST.into(),
            host_port: 0,
            machine_port: port,
            protocol: Protocol::Tcp,
        });
    }
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
