//! Translate a service of a Compose file into a request for an instance.

use kraft_cloud::request::Id;
use kraft_cloud::resources::images::Image;
use kraft_cloud::resources::instances::{CreateInstance, NewGroup, WantedGroup, WantedVolume};
use kraft_cloud::resources::services::{Service as Published, WantedDomain};
use kraft_core::compose::{Port, Service};
use kraft_core::lifecycle::RestartPolicy;
use kraft_core::problem::Problem;
use kraft_core::quantity::MIB;
use kraft_engine::context::Context;

use super::{Error, Stack};
use crate::launch::NewVolume;
use crate::{naming, ports};

/// The default size of a volume, in MiB (KraftKit).
const DEFAULT_VOLUME: u64 = 64;

impl Stack {
    /// Returns the request for the instance of a service; it does not start the instance.
    pub(super) fn wanted(
        &self,
        ctx: &Context,
        service: &Service,
        image: &Image,
    ) -> Result<CreateInstance, Error> {
        let service_group = self.group(ctx, service)?;
        let replicas = service.replicas.unwrap_or(1);
        if replicas > 1 && service_group.is_none() {
            ctx.warn(&format!(
                "`{}` publishes no port that replicas could share: it gets one instance",
                service.name
            ));
        }
        let program = service
            .entrypoint
            .as_deref()
            .and_then(|command| command.split_first());
        let mut args: Vec<String> = program.map(|(_, rest)| rest.to_vec()).unwrap_or_default();
        args.extend(service.command.clone().unwrap_or_default());
        Ok(CreateInstance {
            name: Some(self.instance(service)),
            args: naming::arguments(image, program.map(|(first, _)| first.as_str()), &args),
            image: image.reference().to_owned(),
            env: self.environment(ctx, service)?,
            memory_mb: service.memory.map(|bytes| (bytes / MIB).max(1)),
            replicas: (replicas > 1 && service_group.is_some()).then(|| replicas - 1),
            restart_policy: service.restart.map(|policy| {
                match policy {
                    RestartPolicy::No => "never",
                    RestartPolicy::Always | RestartPolicy::UnlessStopped => "always",
                    RestartPolicy::OnFailure(_) => "on-failure",
                }
                .to_owned()
            }),
            volumes: self.mounts(ctx, service),
            service_group,
            ..CreateInstance::default()
        })
    }

    fn group(&self, ctx: &Context, service: &Service) -> Result<Option<WantedGroup>, Error> {
        if service.ports.is_empty() {
            if service.domain.is_some() {
                ctx.warn(&format!(
                    "`{}` publishes no port: its domain has no effect",
                    service.name
                ));
            }
            return Ok(None);
        }
        let domains = service.domain.as_deref().map(domain).into_iter().collect();
        Ok(Some(WantedGroup::New(NewGroup {
            services: self.published(&service.ports)?,
            domains,
        })))
    }

    /// Returns the published ports by the rules of the platform: HTTPS at 443, HTTP at 80, TLS at
    /// every other one.
    fn published(&self, ports: &[Port]) -> Result<Vec<Published>, Error> {
        let has_http = ports.iter().any(|port| port.published == Some(80));
        let mut all = Vec::new();
        for port in ports {
            if !matches!(port.protocol.as_str(), "tcp" | "tls") {
                let message = format!("the platform does not publish `{}`", port.protocol);
                let (text, problem) = self.locate(Problem::error(message).at(port.span));
                return Err(Error::Unsupported {
                    text,
                    problem: Box::new(problem),
                });
            }
            let handlers = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            let plain = |handlers| Published {
                port: port.published.unwrap_or(port.target),
                destination_port: Some(port.target),
                handlers,
            };
            match port.published.unwrap_or(port.target) {
                443 => {
                    let mut site = ports::web_site(Some(port.target));
                    site.retain(|one| one.port == 443 || !has_http);
                    all.extend(site);
                }
                80 => all.push(plain(handlers(&["http"]))),
                _ => all.push(plain(handlers(&["tls"]))),
            }
        }
        Ok(all)
    }

    /// Returns the volumes that a service mounts; local directories are reported and left out.
    fn mounts(&self, ctx: &Context, service: &Service) -> Vec<WantedVolume> {
        let mut mounts = Vec::new();
        for mount in &service.volumes {
            if mount.is_directory() {
                ctx.warn(&format!(
                    "`{}` cannot mount `{}`: a directory of this host is not in the cloud; \
                     `kraft cloud volume import` copies it into a volume",
                    service.name, mount.source
                ));
                continue;
            }
            if !mount.is_volume() {
                continue;
            }
            mounts.push(WantedVolume {
                id: Id::Name(self.volume(&mount.source)),
                at: mount.target.clone(),
                readonly: mount.read_only,
            });
        }
        mounts
    }

    /// Returns the volumes of services that are created if they do not exist.
    pub fn new_volumes(&self, services: &[&Service]) -> Vec<NewVolume> {
        let mut new: Vec<NewVolume> = Vec::new();
        let mounts = services.iter().flat_map(|service| &service.volumes);
        for mount in mounts.filter(|mount| mount.is_volume()) {
            let declared = self
                .compose
                .volumes
                .iter()
                .find(|one| one.key == mount.source);
            if declared.is_some_and(|volume| volume.external) {
                continue;
            }
            let name = self.volume(&mount.source);
            let bytes = declared.and_then(|volume| volume.size);
            let size_mb = bytes.map_or(DEFAULT_VOLUME, |bytes| bytes.div_ceil(MIB).max(1));
            if !new.iter().any(|one| one.name == name) {
                new.push(NewVolume { name, size_mb });
            }
        }
        new
    }
}

/// Returns the request for a domain: one with a dot inside is a full name, and ends with a dot.
fn domain(name: &str) -> WantedDomain {
    let bare = name.trim_end_matches('.');
    let name = if bare.contains('.') {
        format!("{bare}.")
    } else {
        bare.to_owned()
    };
    WantedDomain {
        name,
        certificate: None,
    }
}
