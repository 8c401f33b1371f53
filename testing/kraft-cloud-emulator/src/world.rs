//! Everything the emulated platform remembers, and how it moves on by itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::answer::{Code, Fault};
use crate::check::Who;
use crate::fault::Planned;

/// Console bytes that are kept of an instance; older ones are forgotten.
const MAX_CONSOLE: usize = 1 << 20;
/// One that has run for so long begins its pauses anew when it crashes.
const HEALTHY: Duration = Duration::from_secs(10);
/// The longest pause before a crashed instance is started again.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// What a test may set at the start or later.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Tokens that are let in, as they stand behind `Bearer`.
    pub tokens: Vec<String>,
    /// The account: the namespace of its images.
    pub user: String,
    /// What stands behind the names of domains.
    pub metro: String,
    /// How long an instance is `starting`.
    pub start: Duration,
    /// How long it is `stopping`.
    pub stop: Duration,
    /// How long a volume is `initializing`.
    pub volume: Duration,
    /// The most instances, groups, volumes, and the most memory in MiB of running instances.
    pub hard: Hard,
    /// The program that runs images as machines of this host, if they are to be run for real.
    pub kraft: Option<std::path::PathBuf>,
    /// The whole environment of that program, so that its machines are nobody else's; that of this
    /// process if empty.
    pub kraft_env: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    /// A registry on this host, spoken to by plain HTTP, whose images are known.
    pub registry: Option<SocketAddr>,
}

/// The quotas of the account.
#[derive(Debug, Clone, Copy)]
pub struct Hard {
    /// Instances, running or not.
    pub instances: usize,
    /// Groups of services.
    pub groups: usize,
    /// Volumes.
    pub volumes: usize,
    /// MiB of memory of instances that run.
    pub memory: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            user: "tester".to_owned(),
            metro: "emu0.kraft.host".to_owned(),
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

/// The states of an instance that this emulator goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It does not run.
    Stopped,
    /// It was told to.
    Starting,
    /// It runs.
    Running,
    /// It sleeps until somebody needs it.
    Standby,
    /// It was told to stop and finishes what it has begun.
    Draining,
    /// It was told to stop.
    Stopping,
}

impl State {
    /// The word of the description.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Standby => "standby",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
        }
    }
}

/// An image that instances can be made of.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// `user/app`, without a host.
    pub repository: String,
    /// `sha256:…`.
    pub digest: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its size in bytes.
    pub size: u64,
    /// The arguments it is started with when none are given.
    pub args: String,
    /// When it begins to be seen.
    pub from: Instant,
    /// What its instances print before they crash, if they do.
    pub crash: Option<String>,
    /// What its instances print when they start.
    pub output: String,
}

/// One instance.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    /// Its UUID.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Where it is in its life.
    pub state: State,
    /// What comes next, and when.
    pub next: Option<(Instant, State)>,
    /// `user/app@sha256:…`.
    pub image: String,
    /// What was asked for, field by field, for what is only shown again.
    pub asked: Value,
    /// MiB.
    pub memory: i64,
    /// The arguments it runs with.
    pub args: Vec<String>,
    /// The group it belongs to.
    pub group: Option<String>,
    /// Its place in the private network.
    pub ip: String,
    /// When it was made.
    pub created: String,
    /// When it was last started.
    pub started: Option<(Instant, String)>,
    /// When it last stopped.
    pub stopped: Option<String>,
    /// Starts in all.
    pub starts: u64,
    /// Starts again without being told to, since the last healthy run.
    pub attempts: u32,
    /// Why it stopped: bits.
    pub reason: Option<u8>,
    /// What its application ended with.
    pub exit: Option<u8>,
    /// Bytes of the console that are kept.
    pub console: Vec<u8>,
    /// How many came before those.
    pub forgotten: u64,
    /// Where its ports are reached on this host.
    pub backends: BTreeMap<u16, SocketAddr>,
    /// Whether a real machine stands behind it.
    pub real: bool,
    /// Who is connected to it.
    pub(crate) traffic: crate::sleep::Traffic,
}

impl Instance {
    /// Adds to the console and forgets what is too old.
    pub(crate) fn print(&mut self, bytes: &[u8]) {
        self.console.extend_from_slice(bytes);
        let over = self.console.len().saturating_sub(MAX_CONSOLE);
        self.console.drain(..over);
        self.forgotten += over as u64;
    }

    /// Whether it goes away by itself when it stops.
    pub(crate) fn deletes_itself(&self) -> bool {
        let features = self.asked.get("features").and_then(Value::as_array);
        features.is_some_and(|list| list.iter().any(|word| word == "delete-on-stop"))
    }
}

/// A group of services.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// Its UUID.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Whether it outlives its instances.
    pub persistent: bool,
    /// When it was made.
    pub created: String,
    /// The mappings, as asked for and filled up.
    pub services: Vec<Value>,
    /// Its domains: `{fqdn, certificate?}`.
    pub domains: Vec<Value>,
    /// Requests at once before the next instance is woken, and before they are refused.
    pub limits: (i64, i64),
    /// How it is scaled, if it is.
    pub autoscale: Option<Value>,
    /// Its policies.
    pub policies: Vec<Value>,
}

/// A volume.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    /// Its UUID.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// MiB.
    pub size: i64,
    /// When it was made.
    pub created: String,
    /// When it can be used.
    pub ready: Instant,
    /// Whether it outlives the instance it was made with.
    pub persistent: bool,
    /// Where it is attached: instance, path, whether it is only read.
    pub attached: Vec<(String, String, bool)>,
}

/// A certificate. The key that came with it is thrown away at once.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    /// Its UUID.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// The name it is for.
    pub cn: String,
    /// When it was made.
    pub created: String,
    /// `valid` or `pending`.
    pub state: &'static str,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct World {
    /// See [`Settings`].
    pub settings: Settings,
    /// In the order they were made.
    pub instances: Vec<Instance>,
    /// In the order they were made.
    pub groups: Vec<Group>,
    /// In the order they were made.
    pub volumes: Vec<Volume>,
    /// In the order they were made.
    pub certificates: Vec<Certificate>,
    /// Images told by a test; those of the registry are looked up when they are needed.
    pub images: Vec<Image>,
    /// What goes wrong next.
    pub faults: Vec<Planned>,
    /// What was asked and answered.
    pub journal: Vec<Value>,
    /// The UUID of the account.
    pub account: String,
    /// Where the volumes of real machines are directories.
    pub(crate) disks: std::path::PathBuf,
    /// What helpers do wrong.
    pub(crate) spoilt: crate::helpers::Spoilt,
    /// What was imported into volumes, by their UUIDs.
    pub(crate) imported: BTreeMap<String, Value>,
    /// Who signs the certificates of published names.
    pub(crate) authority: Option<crate::front::Authority>,
    /// What published ports are served by.
    pub(crate) runtime: tokio::runtime::Handle,
    /// Ports that are open on this host.
    pub(crate) published: Vec<crate::proxy::Published>,
    /// Addresses handed out.
    pub addresses: u32,
}

impl World {
    /// An empty platform.
    pub(crate) fn new(settings: Settings, runtime: tokio::runtime::Handle) -> Self {
        Self {
            settings,
            instances: Vec::new(),
            groups: Vec::new(),
            volumes: Vec::new(),
            certificates: Vec::new(),
            images: Vec::new(),
            faults: Vec::new(),
            journal: Vec::new(),
            account: fresh_uuid(),
            disks: std::env::temp_dir().join(format!("kraft-cloud-emulator-{}", fresh_uuid())),
            spoilt: crate::helpers::Spoilt::default(),
            imported: BTreeMap::new(),
            authority: crate::front::Authority::new(),
            runtime,
            published: Vec::new(),
            addresses: 0,
        }
    }

    /// Lets time pass: states that are due are entered. Returns the instances whose real machines are
    /// to be started again.
    pub(crate) fn settle(&mut self) -> Vec<String> {
        let mut again = Vec::new();
        let now = Instant::now();
        let uuids: Vec<String> = self.instances.iter().map(|one| one.uuid.clone()).collect();
        for uuid in uuids {
            // One that is restarted at once may have several states behind it.
            for _ in 0..4 {
                let due = self.instance(&uuid).and_then(|one| one.next);
                match due {
                    Some((at, state)) if at <= now => {
                        self.enter(&uuid, state);
                        let real = self.instance(&uuid).is_some_and(|one| one.real);
                        if real && state == State::Starting {
                            again.push(uuid.clone());
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
        again
    }

    /// One instance moves to a state.
    pub(crate) fn enter(&mut self, uuid: &str, state: State) {
        let start = self.settings.start;
        let image = self
            .instance(uuid)
            .and_then(|one| self.image_of(&one.image));
        let Some(one) = self.instance_mut(uuid) else {
            return;
        };
        one.next = None;
        one.state = state;
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
                let Some(image) = image else { return };
                one.print(image.output.as_bytes());
                if let Some(last) = image.crash {
                    one.print(last.as_bytes());
                    self.end(uuid, 1, None);
                }
            }
            State::Stopped => self.end(uuid, 15, None),
            State::Standby | State::Draining | State::Stopping => {}
        }
    }

    /// One instance is over, for a reason; it is started again if its policy says so.
    pub(crate) fn end(&mut self, uuid: &str, reason: u8, exit: Option<u8>) {
        let Some(one) = self.instance_mut(uuid) else {
            return;
        };
        one.state = State::Stopped;
        one.next = None;
        one.stopped = Some(stamp());
        (one.reason, one.exit) = (Some(reason), exit);
        let policy = one.asked.get("restart_policy").and_then(Value::as_str);
        let crashed = reason & 8 == 0 && reason != 3;
        let again = match policy {
            Some("always") => reason & 8 == 0,
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
    }

    /// Takes an instance away, with what was made for it alone.
    pub(crate) fn remove_instance(&mut self, uuid: &str) {
        let group = self.instance(uuid).and_then(|one| one.group.clone());
        self.instances.retain(|one| one.uuid != uuid);
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

    /// The UUID of the instance that is meant.
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

    /// The group that is meant.
    pub(crate) fn find_group(&self, item: &Value) -> Result<&Group, Fault> {
        let who = Who::of(item)?;
        let found = self.groups.iter().find(|one| who.is(&one.uuid, &one.name));
        found.ok_or_else(|| who.missing("service group"))
    }

    /// The volume that is meant.
    pub(crate) fn find_volume(&self, item: &Value) -> Result<&Volume, Fault> {
        let who = Who::of(item)?;
        let found = self.volumes.iter().find(|one| who.is(&one.uuid, &one.name));
        found.ok_or_else(|| who.missing("volume"))
    }

    /// The certificate that is meant.
    pub(crate) fn find_certificate(&self, item: &Value) -> Result<&Certificate, Fault> {
        let who = Who::of(item)?;
        let found = self
            .certificates
            .iter()
            .find(|one| who.is(&one.uuid, &one.name));
        found.ok_or_else(|| who.missing("certificate"))
    }

    /// Images that can be seen by now, those of the registry among them.
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

    /// The image of `repository@digest`.
    pub(crate) fn image_of(&self, name: &str) -> Option<Image> {
        let (repository, digest) = name.split_once('@')?;
        let mut images = self.images.iter();
        images
            .find(|one| one.repository == repository && one.digest == digest)
            .cloned()
    }

    /// Which image a name means, pinned to its digest.
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

/// Official images go by their name alone, too.
fn is_repository(image: &Image, name: &str) -> bool {
    image.repository == name || image.repository.strip_prefix("official/") == Some(name)
}

/// A name of an image without the host before it.
pub(crate) fn hostless(name: &str) -> &str {
    match name.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => rest,
        _ => name,
    }
}

/// Now, as the platform writes it.
pub(crate) fn stamp() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// A UUID that was never given before.
pub(crate) fn fresh_uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Random letters and digits behind names that the platform makes up.
pub(crate) fn random(letters: usize) -> String {
    let text = uuid::Uuid::new_v4().simple().to_string();
    text.chars().take(letters).collect()
}

/// `{uuid, name}`, as things point at each other.
pub(crate) fn pointer(uuid: &str, name: &str) -> Value {
    json!({"uuid": uuid, "name": name})
}
