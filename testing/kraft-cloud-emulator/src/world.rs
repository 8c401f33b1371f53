//! State of the emulated platform, and its transitions over time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::answer::{Code, Fault};
use crate::check::Who;
use crate::fault::Planned;

/// Number of console bytes kept per instance; older ones are discarded.
const MAX_CONSOLE: usize = 1 << 20;
/// Run time after which a crash resets the restart backoff of an instance.
const HEALTHY: Duration = Duration::from_secs(10);
/// Maximum backoff before a crashed instance is restarted.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// Settings of the emulator. The control API can change some of them later.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Description of the API that requests are served by.
    pub dialect: Dialect,
    /// Valid tokens, as sent after `Bearer`.
    pub tokens: Vec<String>,
    /// Name of the account, which is the namespace of its images.
    pub user: String,
    /// Suffix of the domain names.
    pub metro: String,
    /// Metros that the control plane lists: the name, and the URL of its API; if that is empty,
    /// this server itself.
    pub metros: Vec<(String, String)>,
    /// Time that an instance is `starting`.
    pub start: Duration,
    /// Time that an instance is `stopping`.
    pub stop: Duration,
    /// Time that a volume is `initializing`.
    pub volume: Duration,
    /// Quotas: instances, groups, volumes, and the memory in MiB of running instances.
    pub hard: Hard,
    /// Path of the `kraft` program that runs images as real machines on this host; `None` to
    /// emulate them.
    pub kraft: Option<std::path::PathBuf>,
    /// The whole environment of that program, which isolates its machines from those of the user;
    /// if empty, it inherits the environment of this process.
    pub kraft_env: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    /// Address of a registry on this host, accessed over plain HTTP, whose images can be deployed.
    pub registry: Option<SocketAddr>,
}

/// Description of the API that requests are served by.
///
/// A request with the header `X-Emulator-Dialect` (`2024` or `2026`) is served by that description
/// instead, so that a test can prepare and inspect the state in one form only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// The OpenAPI description 0.6.0 of 2024: 40 operations.
    V2024,
    /// The description of 2026: 90 operations of the platform, the control plane and the builds.
    #[default]
    V2026,
}

impl Dialect {
    /// Parses the year of a description: `2024` or `2026`.
    #[must_use]
    pub fn of(year: &str) -> Option<Self> {
        match year {
            "2024" => Some(Self::V2024),
            "2026" => Some(Self::V2026),
            _ => None,
        }
    }
}

/// Quotas of the account.
#[derive(Debug, Clone, Copy)]
pub struct Hard {
    /// Number of instances, running or not.
    pub instances: usize,
    /// Number of service groups.
    pub groups: usize,
    /// Number of volumes.
    pub volumes: usize,
    /// Memory of running instances in MiB.
    pub memory: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dialect: Dialect::default(),
            tokens: Vec::new(),
            user: "tester".to_owned(),
            metro: "emu0.kraft.host".to_owned(),
            metros: vec![("emu".to_owned(), String::new())],
            start: Duration::from_millis(20),
            stop: Duration::from_millis(20),
            volume: Duration::ZERO,
            hard: Hard {
                instances: 64,
                groups: 253,
                volumes: 253,
                memory: 32768,
            },
            kraft: None,
            kraft_env: Vec::new(),
            registry: None,
        }
    }
}

/// State of an instance, of those that the emulator uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It does not run.
    Stopped,
    /// It was requested to start.
    Starting,
    /// It runs.
    Running,
    /// It is scaled to zero until the next connection.
    Standby,
    /// It was requested to stop and finishes open requests.
    Draining,
    /// It was requested to stop.
    Stopping,
    /// It is a template, from which instances are cloned.
    Template,
    /// It is a checkpoint of an instance, from which instances are restored.
    Checkpoint,
}

impl State {
    /// Returns the name of the state in the API description.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Standby => "standby",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Template => "template",
            Self::Checkpoint => "checkpoint",
        }
    }

    /// Returns whether it uses neither a CPU nor memory.
    pub(crate) fn is_at_rest(self) -> bool {
        matches!(self, Self::Stopped | Self::Template | Self::Checkpoint)
    }
}

/// An image that instances can be created from.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// Repository without the registry host: `user/app`.
    pub repository: String,
    /// Digest: `sha256:…`.
    pub digest: String,
    /// Tags.
    pub tags: Vec<String>,
    /// Size in bytes.
    pub size: u64,
    /// Default arguments.
    pub args: String,
    /// Time from which the image is visible.
    pub from: Instant,
    /// Output of its instances before they crash; `None` if they do not crash.
    pub crash: Option<String>,
    /// Output of its instances when they start.
    pub output: String,
}

/// An instance.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    /// UUID.
    pub uuid: String,
    /// Name.
    pub name: String,
    /// Current state.
    pub state: State,
    /// Next state and when it is entered.
    pub next: Option<(Instant, State)>,
    /// Image: `user/app@sha256:…`.
    pub image: String,
    /// Body of the request that created it, for fields that are only returned unchanged.
    pub asked: Value,
    /// Memory in MiB.
    pub memory: i64,
    /// Arguments.
    pub args: Vec<String>,
    /// UUID of its service group.
    pub group: Option<String>,
    /// IP address in the private network.
    pub ip: String,
    /// Creation time.
    pub created: String,
    /// Time of the last start.
    pub started: Option<(Instant, String)>,
    /// Time of the last stop.
    pub stopped: Option<String>,
    /// Total number of starts.
    pub starts: u64,
    /// Number of automatic restarts since the last healthy run.
    pub attempts: u32,
    /// Stop reason, as a bit mask.
    pub reason: Option<u8>,
    /// Exit code of the application.
    pub exit: Option<u8>,
    /// Console bytes that are kept.
    pub console: Vec<u8>,
    /// Number of discarded console bytes before those.
    pub forgotten: u64,
    /// Addresses of its ports on this host.
    pub backends: BTreeMap<u16, SocketAddr>,
    /// Addresses of its plugins on this host, by name.
    pub plugins: BTreeMap<String, SocketAddr>,
    /// Whether it runs as a real machine.
    pub real: bool,
    /// Checkpoints that it came from, the latest first: `{uuid, name, created_at}`.
    pub history: Vec<Value>,
    /// Changes that apply when it is stopped: `{prop, op, value, status}`.
    pub updates: Vec<Value>,
    /// Time from which on it counts as idle, for `autokill`: when it stopped, or when a template or
    /// a checkpoint was used last.
    pub idle: Instant,
    /// Time up to which its schedules were carried out.
    pub scheduled: jiff::Timestamp,
    /// Its connections, for scale to zero.
    pub(crate) traffic: crate::sleep::Traffic,
}

impl Instance {
    /// Appends to the console and discards the oldest bytes beyond the limit.
    pub(crate) fn print(&mut self, bytes: &[u8]) {
        self.console.extend_from_slice(bytes);
        let over = self.console.len().saturating_sub(MAX_CONSOLE);
        self.console.drain(..over);
        self.forgotten += over as u64;
    }

    /// Returns whether the instance is deleted when it stops.
    pub(crate) fn deletes_itself(&self) -> bool {
        let features = self.asked.get("features").and_then(Value::as_array);
        features.is_some_and(|list| list.iter().any(|word| word == "delete-on-stop"))
    }
}

/// A service group.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// UUID.
    pub uuid: String,
    /// Name.
    pub name: String,
    /// Whether it is kept without instances.
    pub persistent: bool,
    /// Creation time.
    pub created: String,
    /// Port mappings, with defaults filled in.
    pub services: Vec<Value>,
    /// Domains: `{fqdn, certificate?}`.
    pub domains: Vec<Value>,
    /// Soft limit and hard limit: concurrent requests beyond which the next instance is woken, and
    /// beyond which requests are rejected.
    pub limits: (i64, i64),
    /// Autoscaling configuration, if any.
    pub autoscale: Option<Value>,
    /// Autoscaling policies.
    pub policies: Vec<Value>,
    /// `{time_ms}`: time without instances after which the group is removed.
    pub autokill: Value,
    /// Time from which on it has no instance.
    pub empty: Instant,
}

/// A volume.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    /// UUID.
    pub uuid: String,
    /// Name.
    pub name: String,
    /// Size in MiB.
    pub size: i64,
    /// Creation time.
    pub created: String,
    /// Time from which it is available.
    pub ready: Instant,
    /// Whether it is kept when the instance it was created with is removed.
    pub persistent: bool,
    /// Attachments: instance, path, whether it is read-only.
    pub attached: Vec<(String, String, bool)>,
    /// Whether it is a template.
    pub template: bool,
    /// Other properties, which are only returned unchanged: `tags`, `quota_policy` …
    pub more: Map<String, Value>,
}

impl Volume {
    /// Returns whether another instance can attach it: several can if its access mode allows it.
    pub(crate) fn is_available(&self, readonly: bool) -> bool {
        let mode = self.more.get("access_mode").and_then(Value::as_str);
        let shared = match mode {
            Some("rwx") => true,
            Some("rox") => readonly,
            _ => false,
        };
        self.ready <= Instant::now() && (shared || self.attached.is_empty())
    }
}

/// A certificate. Its private key is discarded at once.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    /// UUID.
    pub uuid: String,
    /// Name.
    pub name: String,
    /// Common name.
    pub cn: String,
    /// Creation time.
    pub created: String,
    /// State: `valid` or `pending`.
    pub state: &'static str,
    /// Number of renewals.
    pub renewed: u32,
}

/// What is due for real machines: each is a UUID of an instance.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Machines to start.
    pub start: Vec<String>,
    /// Machines to remove.
    pub remove: Vec<String>,
}

/// State of the emulated platform.
#[derive(Debug)]
pub(crate) struct World {
    /// See [`Settings`].
    pub settings: Settings,
    /// Instances in order of creation.
    pub instances: Vec<Instance>,
    /// Service groups in order of creation.
    pub groups: Vec<Group>,
    /// Volumes in order of creation.
    pub volumes: Vec<Volume>,
    /// Certificates in order of creation.
    pub certificates: Vec<Certificate>,
    /// Images that a test added or an instance uses; those of the registry are listed on demand.
    pub images: Vec<Image>,
    /// Pinned images: `{uuid, url, …}`.
    pub pins: Vec<Value>,
    /// Builds of the build service.
    pub builds: Vec<Value>,
    /// Pending and confirmed logins: request ID, and whether it is confirmed.
    pub logins: Vec<(String, bool)>,
    /// Nodes of the control plane.
    pub nodes: Vec<Value>,
    /// Audit events, in order.
    pub events: Vec<Value>,
    /// Injected errors of requests to come.
    pub faults: Vec<Planned>,
    /// Recorded requests and responses.
    pub journal: Vec<Value>,
    /// UUID of the account.
    pub account: String,
    /// Directory whose subdirectories are the volumes of real machines.
    pub(crate) disks: std::path::PathBuf,
    /// Injected errors of helper instances.
    pub(crate) spoilt: crate::helpers::Spoilt,
    /// Imported entries of volumes, by UUID.
    pub(crate) imported: BTreeMap<String, Value>,
    /// Certificate authority of the published domain names.
    pub(crate) authority: Option<crate::tls::Authority>,
    /// Runtime that serves the published ports.
    pub(crate) runtime: tokio::runtime::Handle,
    /// Ports that are published on this host.
    pub(crate) published: Vec<crate::proxy::Published>,
    /// Number of assigned IP addresses.
    pub addresses: u32,
    /// Sandboxes of instances, by UUID.
    pub(crate) sandboxes: BTreeMap<String, std::sync::Arc<crate::sandbox::Sandbox>>,
}

impl World {
    /// Creates an empty platform.
    pub(crate) fn new(settings: Settings, runtime: tokio::runtime::Handle) -> Self {
        Self {
            settings,
            instances: Vec::new(),
            groups: Vec::new(),
            volumes: Vec::new(),
            certificates: Vec::new(),
            images: Vec::new(),
            pins: Vec::new(),
            builds: Vec::new(),
            logins: Vec::new(),
            nodes: Vec::new(),
            events: Vec::new(),
            faults: Vec::new(),
            journal: Vec::new(),
            account: fresh_uuid(),
            disks: std::env::temp_dir().join(format!("kraft-cloud-emulator-{}", fresh_uuid())),
            spoilt: crate::helpers::Spoilt::default(),
            imported: BTreeMap::new(),
            authority: crate::tls::Authority::new(),
            runtime,
            published: Vec::new(),
            addresses: 0,
            sandboxes: BTreeMap::new(),
        }
    }

    /// Applies all due state transitions. Returns what is due for real machines.
    pub(crate) fn settle(&mut self) -> Due {
        let mut due = Due::default();
        self.carry_out_schedules(&mut due);
        self.remove_idle(&mut due);
        let now = Instant::now();
        let moving = self.instances.iter().filter(|one| one.next.is_some());
        let uuids: Vec<String> = moving.map(|one| one.uuid.clone()).collect();
        for uuid in uuids {
            // An instance that restarts without a backoff may have several transitions due.
            for _ in 0..4 {
                match self.instance(&uuid).and_then(|one| one.next) {
                    Some((at, state)) if at <= now => {
                        self.enter(&uuid, state);
                        let real = self.instance(&uuid).is_some_and(|one| one.real);
                        if real && state == State::Starting {
                            due.start.push(uuid.clone());
                        }
                    }
                    _ => break,
                }
            }
        }
        for one in &mut self.instances {
            if crate::sleep::is_due(one) {
                one.state = State::Standby;
            }
        }
        due
    }

    /// Carries out the scheduled operations that are due.
    fn carry_out_schedules(&mut self, due: &mut Due) {
        let now = jiff::Timestamp::now();
        let mut actions = Vec::new();
        for one in &mut self.instances {
            // Events have a resolution of a second.
            if one.scheduled.as_second() == now.as_second() {
                continue;
            }
            let since = std::mem::replace(&mut one.scheduled, now);
            if matches!(one.state, State::Template | State::Checkpoint) {
                continue;
            }
            let all = one.asked.get("schedules").and_then(Value::as_array);
            for schedule in all.into_iter().flatten() {
                if next_of(schedule, since).is_some_and(|at| at <= now) {
                    actions.push((one.uuid.clone(), schedule.clone()));
                }
            }
        }
        for (uuid, schedule) in actions {
            let action = schedule.get("action").and_then(Value::as_str);
            let Some(one) = self.instance_mut(&uuid) else {
                continue;
            };
            match (action, one.state) {
                (Some("start"), State::Stopped) => {
                    let real = one.real;
                    self.enter(&uuid, State::Starting);
                    due.start.extend(real.then_some(uuid));
                }
                (Some("stop"), State::Running | State::Starting | State::Standby) => {
                    // Initiated by the platform.
                    due.remove.extend(one.real.then(|| uuid.clone()));
                    self.end(&uuid, 7, None);
                }
                (Some("delete"), _) => {
                    due.remove.extend(one.real.then(|| uuid.clone()));
                    self.remove_instance(&uuid);
                }
                (Some("exec"), State::Running) => {
                    // An emulated instance has no programs: its console shows the command.
                    let args = schedule.get("args").and_then(Value::as_array);
                    let args = args.into_iter().flatten().filter_map(Value::as_str);
                    let line = args.collect::<Vec<_>>().join(" ");
                    one.print(format!("exec: {line}\n").as_bytes());
                }
                _ => {}
            }
        }
    }

    /// Removes what is idle for longer than its `autokill`.
    fn remove_idle(&mut self, due: &mut Due) {
        let is_over = |kill: Option<&Value>, since: Instant| {
            let time = kill.and_then(|kill| kill.get("time_ms")?.as_u64());
            time.is_some_and(|ms| ms > 0 && since.elapsed() >= Duration::from_millis(ms))
        };
        let idle = self.instances.iter().filter(|one| {
            let kill = match one.state {
                State::Stopped if one.stopped.is_some() && one.next.is_none() => "autokill",
                State::Template => "template_autokill",
                State::Checkpoint => "checkpoint_autokill",
                _ => return false,
            };
            is_over(one.asked.get(kill), one.idle)
        });
        let idle: Vec<(String, bool)> = idle.map(|one| (one.uuid.clone(), one.real)).collect();
        for (uuid, real) in idle {
            self.remove_instance(&uuid);
            due.remove.extend(real.then_some(uuid));
        }
        let instances = &self.instances;
        self.groups.retain_mut(|group| {
            let members = || {
                let mut all = instances.iter();
                all.any(|one| one.group.as_ref() == Some(&group.uuid))
            };
            // Most groups have no `autokill`, and need no look.
            if !group.autokill.is_null() && members() {
                group.empty = Instant::now();
            }
            !is_over(Some(&group.autokill), group.empty)
        });
    }

    /// Moves an instance to a state.
    pub(crate) fn enter(&mut self, uuid: &str, state: State) {
        let start = self.settings.start;
        let owner = self.account.clone();
        let image = self
            .instance(uuid)
            .and_then(|one| self.image_of(&one.image));
        let Some(one) = self.instance_mut(uuid) else {
            return;
        };
        one.next = None;
        let before = one.state;
        one.state = state;
        let event = crate::audit::moved(one, before, &owner);
        match state {
            State::Starting => {
                one.starts += 1;
                one.started = Some((Instant::now(), stamp()));
                (one.reason, one.exit) = (None, None);
                if !one.real {
                    one.next = Some((Instant::now() + start, State::Running));
                }
            }
            State::Running => {
                one.traffic.touch();
                let crash = image.and_then(|image| {
                    one.print(image.output.as_bytes());
                    image.crash
                });
                if let Some(last) = crash {
                    one.print(last.as_bytes());
                    self.events.push(event);
                    return self.end(uuid, 1, None);
                }
            }
            State::Stopped => {
                one.state = before;
                return self.end(uuid, 15, None);
            }
            State::Template | State::Checkpoint => one.idle = Instant::now(),
            State::Standby | State::Draining | State::Stopping => {}
        }
        self.events.push(event);
    }

    /// Stops an instance for a reason; it is restarted if its restart policy demands it.
    pub(crate) fn end(&mut self, uuid: &str, reason: u8, exit: Option<u8>) {
        let owner = self.account.clone();
        let Some(one) = self.instance_mut(uuid) else {
            return;
        };
        let before = one.state;
        one.state = State::Stopped;
        crate::patch::apply_pending(one);
        one.next = None;
        one.idle = Instant::now();
        one.stopped = Some(stamp());
        (one.reason, one.exit) = (Some(reason), exit);
        let event = crate::audit::moved(one, before, &owner);
        let policy = one.asked.get("restart_policy").and_then(Value::as_str);
        let policy = policy.map(str::to_owned);
        // Neither the user nor the platform stopped it.
        let own = reason & 12 == 0;
        let crashed = own && reason != 3;
        let again = match policy.as_deref() {
            Some("always") => own,
            Some("on-failure") => crashed,
            _ => false,
        };
        if again {
            let ran = one.started.as_ref().map(|(at, _)| at.elapsed());
            if ran.is_some_and(|ran| ran >= HEALTHY) {
                one.attempts = 0;
            }
            let pause = match one.attempts {
                0 => Duration::ZERO,
                n => Duration::from_secs(5 << (n - 1).min(10)).min(MAX_PAUSE),
            };
            one.attempts += 1;
            one.next = Some((Instant::now() + pause, State::Starting));
        } else if one.deletes_itself() {
            self.remove_instance(uuid);
        }
        self.events.push(event);
    }

    /// Removes an instance, and the volumes and group created only for it.
    pub(crate) fn remove_instance(&mut self, uuid: &str) {
        let group = self.instance(uuid).and_then(|one| one.group.clone());
        self.instances.retain(|one| one.uuid != uuid);
        self.sandboxes.remove(uuid);
        for volume in &mut self.volumes {
            volume.attached.retain(|(instance, _, _)| instance != uuid);
        }
        self.volumes
            .retain(|one| one.persistent || !one.attached.is_empty());
        if let Some(group) = group
            && !self
                .instances
                .iter()
                .any(|one| one.group.as_deref() == Some(&group))
        {
            self.groups
                .retain(|one| one.uuid != group || one.persistent);
        }
    }

    pub(crate) fn instance(&self, uuid: &str) -> Option<&Instance> {
        self.instances.iter().find(|one| one.uuid == uuid)
    }

    pub(crate) fn instance_mut(&mut self, uuid: &str) -> Option<&mut Instance> {
        self.instances.iter_mut().find(|one| one.uuid == uuid)
    }

    /// Returns the UUID of the selected instance.
    pub(crate) fn find_instance(&self, item: &Value) -> Result<String, Fault> {
        let who = Who::of(item)?;
        let found = self
            .instances
            .iter()
            .find(|one| who.is(&one.uuid, &one.name));
        found
            .map(|one| one.uuid.clone())
            .ok_or_else(|| who.missing("instance"))
    }

    /// Returns the UUID of the selected template or checkpoint.
    pub(crate) fn find_saved(&self, item: &Value, state: State) -> Result<String, Fault> {
        let who = Who::of(item)?;
        let missing = || who.missing(state.word());
        let uuid = self.find_instance(item).map_err(|_| missing())?;
        match self.instance(&uuid) {
            Some(one) if one.state == state => Ok(uuid),
            _ => Err(missing()),
        }
    }

    /// Returns the selected service group.
    pub(crate) fn find_group(&self, item: &Value) -> Result<&Group, Fault> {
        let who = Who::of(item)?;
        let found = self.groups.iter().find(|one| who.is(&one.uuid, &one.name));
        found.ok_or_else(|| who.missing("service group"))
    }

    /// Returns the selected volume.
    pub(crate) fn find_volume(&self, item: &Value) -> Result<&Volume, Fault> {
        let who = Who::of(item)?;
        let found = self.volumes.iter().find(|one| who.is(&one.uuid, &one.name));
        found.ok_or_else(|| who.missing("volume"))
    }

    /// Returns the selected certificate.
    pub(crate) fn find_certificate(&self, item: &Value) -> Result<&Certificate, Fault> {
        let who = Who::of(item)?;
        let found = self
            .certificates
            .iter()
            .find(|one| who.is(&one.uuid, &one.name));
        found.ok_or_else(|| who.missing("certificate"))
    }

    /// Returns the images that are visible now, including those of the registry.
    pub(crate) fn visible_images(&self) -> Vec<Image> {
        let now = Instant::now();
        let told = self.images.iter().filter(|one| one.from <= now).cloned();
        let mut all: Vec<Image> = told.collect();
        if let Some(registry) = self.settings.registry {
            let delayed: Vec<&Image> = self.images.iter().filter(|one| one.from > now).collect();
            for image in crate::images::of_registry(registry) {
                let known = |other: &Image| other.digest == image.digest;
                if !all.iter().any(known) && !delayed.iter().any(|other| known(other)) {
                    all.push(image);
                }
            }
        }
        all
    }

    /// Returns the image with a name `repository@digest`.
    pub(crate) fn image_of(&self, name: &str) -> Option<Image> {
        let (repository, digest) = name.split_once('@')?;
        let mut images = self.images.iter();
        images
            .find(|one| one.repository == repository && one.digest == digest)
            .cloned()
    }

    /// Resolves an image name to an image, which is pinned to its digest.
    pub(crate) fn resolve(&self, name: &str) -> Result<Image, Fault> {
        let bare = hostless(name);
        let missing = || Fault::new(Code::NotFound, format!("No image with name '{bare}'"));
        if let Some(image) = crate::helpers::image(bare) {
            return Ok(image);
        }
        let images = self.visible_images();
        let found = if let Some((repository, digest)) = bare.split_once('@') {
            let repository = repository.split(':').next().unwrap_or(repository);
            images
                .into_iter()
                .find(|one| is_repository(one, repository) && one.digest == digest)
        } else {
            let (repository, tag) = bare.split_once(':').unwrap_or((bare, "latest"));
            let mut images = images.into_iter();
            images.find(|one| is_repository(one, repository) && one.tags.iter().any(|t| t == tag))
        };
        found.ok_or_else(missing)
    }
}

/// Returns the next time of a schedule after another time.
pub(crate) fn next_of(schedule: &Value, after: jiff::Timestamp) -> Option<jiff::Timestamp> {
    let when = schedule.get("when")?.as_str()?;
    crate::calendar::Event::parse(when)?.next(after)
}

/// Returns whether a name is the repository of an image. Official images also match without their
/// namespace.
fn is_repository(image: &Image, name: &str) -> bool {
    image.repository == name || image.repository.strip_prefix("official/") == Some(name)
}

/// Returns the name of an image without its registry host.
pub(crate) fn hostless(name: &str) -> &str {
    let name = name.strip_prefix("oci://").unwrap_or(name);
    match name.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => rest,
        _ => name,
    }
}

/// Returns the current time in the platform's format.
pub(crate) fn stamp() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// Returns a new random UUID.
pub(crate) fn fresh_uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Returns random letters and digits for names that the platform generates.
pub(crate) fn random(letters: usize) -> String {
    let text = uuid::Uuid::new_v4().simple().to_string();
    text.chars().take(letters).collect()
}

/// Returns `{uuid, name}`, by which one resource refers to another.
pub(crate) fn pointer(uuid: &str, name: &str) -> Value {
    json!({"uuid": uuid, "name": name})
}
