//! Flags of a new instance, shared by `instance create` and `deploy`.

use std::ffi::OsString;
use std::time::Duration;

use clap::ValueEnum;
use kraft_cloud::request::Id;
use kraft_cloud::resources::instances::{CreateInstance, NewGroup, ScaleToZero, WantedGroup};
use kraft_cloud::resources::services::WantedDomain;

use super::features::FeatureArgs;
use crate::app::App;
use crate::commands::choices;
use crate::commands::values;
use crate::failure::Failure;
use kraft_deploy::launch::NewVolume;
use kraft_deploy::rollout::{Qualifier, Rollout, Strategy};
use kraft_deploy::{domains, ports, volumes};
use kraft_engine::arguments;

/// The public domains of a service.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
pub(crate) struct DomainArgs {
    /// Publish at this custom domain
    #[arg(short, long, value_name = "DOMAIN", alias = "fqdn")]
    pub(crate) domain: Vec<String>,

    /// Publish at this subdomain of the metro
    #[arg(short, long, value_name = "NAME")]
    pub(crate) subdomain: Vec<String>,

    /// Name or UUID of the certificate of a domain, one for each domain
    #[arg(short = 'C', long, value_name = "CERTIFICATE")]
    pub(crate) certificate: Vec<String>,
}

impl DomainArgs {
    /// Returns the domains as requests name them.
    pub(crate) fn wanted(&self) -> Result<Vec<WantedDomain>, Failure> {
        let wanted = domains::wanted(&self.domain, &self.subdomain, &self.certificate)?;
        Ok(wanted)
    }
}

/// When an instance that has ended is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Restart {
    /// Never
    Never,
    /// Whenever it ends
    Always,
    /// When it crashes
    OnFailure,
}

/// When an instance is put on standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Zero {
    /// Never
    Off,
    /// When it has no connections
    On,
    /// When its connections are idle
    Idle,
}

/// The properties of a new instance.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct ShapeArgs {
    /// Name of the instance (default: a random one)
    #[arg(short, long)]
    pub(crate) name: Option<String>,

    /// Memory, such as 64Mi or 1G; a number without a unit is in MiB
    #[arg(short = 'M', long, value_name = "SIZE")]
    memory: Option<String>,

    /// Number of virtual CPUs
    #[arg(short = 'V', long, value_name = "N")]
    vcpus: Option<u32>,

    /// Set an environment variable; without a value, take it from this environment
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,

    /// Publish a port; a single 443 is a web site, with plain HTTP redirected to it
    #[arg(short, long, value_name = "PORT[:PORT][/HANDLERS]")]
    port: Vec<String>,

    #[command(flatten)]
    domains: DomainArgs,

    /// Add the instance to this existing service
    #[arg(short = 'g', long, value_name = "SERVICE", alias = "service-group",
          conflicts_with_all = ["port", "domain", "subdomain", "certificate"])]
    service: Option<String>,

    /// Mount a volume; with a size, the volume is created if it does not exist
    #[arg(
        short,
        long,
        value_name = "VOLUME:PATH[:ro][:size=SIZE]",
        alias = "volumes"
    )]
    volume: Vec<String>,

    /// Number of replicas in addition to the instance
    #[arg(
        short = 'R',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true
    )]
    replicas: u32,

    /// Restart the instance when it has ended
    #[arg(long, value_name = "WHEN")]
    restart: Option<Restart>,

    /// Put the instance on standby when it is not used
    #[arg(long, value_name = "WHEN")]
    scale_to_zero: Option<Zero>,

    /// Time until an unused instance is put on standby
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    scale_to_zero_cooldown: Option<Duration>,

    /// Resume from standby with the memory of the instance, instead of booting
    #[arg(long)]
    scale_to_zero_stateful: bool,

    /// Enable a feature of the platform, such as delete-on-stop
    #[arg(long, value_name = "FEATURE")]
    feature: Vec<String>,

    #[command(flatten)]
    features: FeatureArgs,

    /// Run this program instead of that of the image
    #[arg(long, value_name = "PATH")]
    pub(crate) entrypoint: Option<String>,

    /// What happens to the existing instances of the service
    #[arg(long, value_name = "STRATEGY", default_value = "prompt", value_parser = choices::ROLLOUT)]
    rollout: Strategy,

    /// Which instances of the service are replaced
    #[arg(long, value_name = "WHICH", default_value = "image", value_parser = choices::QUALIFIER)]
    rollout_qualifier: Qualifier,

    /// Timeout until the new instance runs, before old ones are stopped or removed
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::duration)]
    rollout_wait: Duration,
}

impl ShapeArgs {
    /// Returns the request without the image, its arguments and whether it starts.
    pub(crate) fn wanted(&self, app: &App) -> Result<CreateInstance, Failure> {
        let memory_mb = self.memory.as_deref().map(volumes::mebibytes).transpose()?;
        let service_group = self.group()?;
        let features = self.feature.clone();
        if features.iter().any(|one| one == "delete-on-stop")
            && self.restart.is_some_and(|policy| policy != Restart::Never)
        {
            return Err(Failure::usage(
                "`--feature delete-on-stop` and `--restart` exclude each other: a removed instance cannot \
                 restart",
            ));
        }
        Ok(CreateInstance {
            name: self.name.as_deref().map(|name| name.replace('/', "-")),
            memory_mb,
            vcpus: self.vcpus,
            env: arguments::env(&self.env, &app.env)?,
            replicas: (self.replicas > 0).then_some(self.replicas),
            restart_policy: self.restart.as_ref().map(value_name),
            scale_to_zero: self.scale_to_zero(app, service_group.is_some()),
            features,
            volumes: self
                .volume
                .iter()
                .map(|text| volumes::parse(text).map(|(wanted, _)| wanted))
                .collect::<Result<_, _>>()?,
            service_group,
            more: self.features.fields()?,
            ..CreateInstance::default()
        })
    }

    /// Returns the volumes that are created if they do not exist.
    pub(crate) fn new_volumes(&self) -> Result<Vec<NewVolume>, Failure> {
        let mut new = Vec::new();
        for text in &self.volume {
            new.extend(volumes::parse(text)?.1);
        }
        Ok(new)
    }

    /// Returns how the instance replaces others.
    pub(crate) fn rollout(&self) -> Rollout {
        Rollout {
            strategy: self.rollout,
            qualifier: self.rollout_qualifier,
            wait: self.rollout_wait,
        }
    }

    fn group(&self) -> Result<Option<WantedGroup>, Failure> {
        if let Some(service) = &self.service {
            return Ok(Some(Id::new(service).into()));
        }
        let services = ports::parse(&self.port)?;
        let domains = self.domains.wanted()?;
        if services.is_empty() && domains.is_empty() {
            return Ok(None);
        }
        Ok(Some(WantedGroup::New(NewGroup { services, domains })))
    }

    fn scale_to_zero(&self, app: &App, published: bool) -> Option<ScaleToZero> {
        let given = self.scale_to_zero.is_some()
            || self.scale_to_zero_cooldown.is_some()
            || self.scale_to_zero_stateful;
        if !given {
            return None;
        }
        let policy = match self.scale_to_zero {
            Some(policy) => policy,
            // The other flags of scale-to-zero imply `on`.
            None => Zero::On,
        };
        if !published && policy != Zero::Off {
            app.ui
                .info("an instance without a published port cannot resume from standby: `--scale-to-zero` is ignored");
            return None;
        }
        Some(ScaleToZero {
            policy: value_name(&policy),
            stateful: self.scale_to_zero_stateful,
            cooldown_time_ms: self.scale_to_zero_cooldown.map_or(1000, |time| {
                u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
            }),
        })
    }
}

/// Returns the name of a value on the command line.
pub(super) fn value_name<T: ValueEnum>(value: &T) -> String {
    value
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}
