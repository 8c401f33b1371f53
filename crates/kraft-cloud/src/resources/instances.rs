//! Instances: machines of the platform.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Named;
use super::end::End;
use super::services::{Domain, Service, WantedDomain};
use crate::request::{Id, Request, each, millis};

/// The most bytes of a log that one answer has.
pub const LONGEST_LOG: u32 = 16383;

/// An instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Instance {
    /// Its UUID.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// When it was made.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_at: String,
    /// `stopped`, `starting`, `running`, `draining`, `stopping` or `standby`.
    pub state: String,
    /// Its image, by digest and without a host.
    pub image: String,
    /// Its memory, in MiB.
    pub memory_mb: u64,
    /// Its processors.
    pub vcpus: u64,
    /// The arguments of its program.
    pub args: Vec<String>,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// How often it was started.
    pub start_count: u64,
    /// How often the platform started it again.
    pub restart_count: u64,
    /// `never`, `always` or `on-failure`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub restart_policy: String,
    /// When it started last.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub started_at: String,
    /// When it stopped last.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stopped_at: String,
    /// How long it has been up, in milliseconds.
    pub uptime_ms: u64,
    /// How long it took to boot, in microseconds.
    pub boot_time_us: u64,
    /// Who stopped it, as bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<u64>,
    /// How its kernel ended, as bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_code: Option<u64>,
    /// How its program ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Its name in the network of the account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub private_fqdn: String,
    /// Its address there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub private_ip: String,
    /// The group of services that it is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_group: Option<InstanceGroup>,
    /// Whether it sleeps when nobody needs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_to_zero: Option<ScaleToZero>,
    /// Its volumes.
    pub volumes: Vec<InstanceVolume>,
    /// When the platform starts it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// What else the platform tells.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Instance {
    /// Returns its first public name.
    pub fn fqdn(&self) -> Option<&str> {
        let group = self.service_group.as_ref()?;
        group.domains.first().map(|domain| domain.fqdn.as_str())
    }

    /// Returns who or what ended it last, if it ended.
    pub fn end(&self) -> Option<End> {
        let reason = self.stop_reason?;
        (self.state == "stopped").then_some(End {
            reason,
            code: self.stop_code,
            exit: self.exit_code,
        })
    }
}

/// When the platform starts an instance again that ended by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Restart {
    /// So often it tried since the last healthy run.
    pub attempt: u64,
    /// When it tries next.
    pub next_at: String,
}

/// The group of services that an instance is behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceGroup {
    /// Its UUID.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Its names in the world.
    pub domains: Vec<Domain>,
}

/// A volume of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceVolume {
    /// Its UUID.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Where it is mounted.
    pub at: String,
    /// Whether it cannot be written to.
    pub readonly: bool,
}

/// When an instance sleeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleToZero {
    /// `on`, `off` or `idle`.
    pub policy: String,
    /// Whether it wakes as it was, instead of booting.
    #[serde(default)]
    pub stateful: bool,
    /// How long nobody must have needed it, in milliseconds.
    #[serde(default)]
    pub cooldown_time_ms: u64,
}

/// A volume that an instance is to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WantedVolume {
    /// Which.
    #[serde(flatten)]
    pub id: Id,
    /// Where, absolutely.
    pub at: String,
    /// Whether it cannot be written to.
    pub readonly: bool,
}

/// The group of services that an instance is to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WantedGroup {
    /// One that is there, by UUID.
    Uuid(String),
    /// One that is there, by name.
    Name(String),
    /// A new one.
    #[serde(untagged)]
    New(NewGroup),
}

/// A group of services that comes and goes with an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NewGroup {
    /// The published ports.
    pub services: Vec<Service>,
    /// The names of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<WantedDomain>,
}

impl From<Id> for WantedGroup {
    fn from(id: Id) -> Self {
        match id {
            Id::Uuid(uuid) => Self::Uuid(uuid),
            Id::Name(name) => Self::Name(name),
        }
    }
}

/// An instance that is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CreateInstance {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its image, without a host.
    pub image: String,
    /// The arguments of its program, if they are not those of the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Its environment.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Its memory, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// Its processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<u32>,
    /// Whether it starts at once.
    pub autostart: bool,
    /// So many more of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// `never`, `always` or `on-failure`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<String>,
    /// Whether it sleeps when nobody needs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_to_zero: Option<ScaleToZero>,
    /// What else it is to do: `delete-on-stop`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Its volumes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<WantedVolume>,
    /// The group of services that it is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_group: Option<WantedGroup>,
    /// How long the platform waits for it to run, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_timeout_ms: Option<i64>,
}

impl CreateInstance {
    /// Gives it a name if it has none, as the platform would: that of the image, and five characters
    /// by chance. An instance that was named beforehand can be looked for when an answer is lost.
    #[must_use]
    pub fn named(mut self) -> Self {
        if self.name.is_none() {
            let path = self.image.split(['@', ':']).next().unwrap_or_default();
            let app = path.rsplit('/').next().unwrap_or_default();
            self.name = Some(format!("{app}-{}", by_chance()));
        }
        self
    }

    /// Gives it a name of its own: the one it has, and five characters by chance.
    pub fn rename(&mut self) {
        if let Some(name) = &mut self.name {
            name.push('-');
            name.push_str(&by_chance());
        }
    }
}

/// Returns five characters by chance.
fn by_chance() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0_u8; 5];
    // Without chance the name may be taken, which the platform says.
    let _ = getrandom::fill(&mut bytes);
    bytes
        .iter()
        .filter_map(|byte| LETTERS.get(usize::from(*byte) % LETTERS.len()))
        .map(|&letter| char::from(letter))
        .collect()
}

/// Makes an instance. Send it with [`Client::create`](crate::client::Client::create).
pub fn create(wanted: &CreateInstance) -> Request<Instance> {
    let doing = format!("create an instance of `{}`", wanted.image);
    let request = Request::new(Method::POST, &["instances"], doing).with(json!(wanted));
    let wait = wanted.wait_timeout_ms.unwrap_or_default();
    match u64::try_from(wait) {
        Ok(wait) => request.patient(Duration::from_millis(wait)),
        Err(_) => request.patient(FOREVER),
    }
}

/// A day: longer than anybody lets the platform wait.
const FOREVER: Duration = Duration::from_hours(24);

/// Asks for instances; without ids for all.
pub fn get(ids: &[Id]) -> Request<Instance> {
    Request::about(Method::GET, ("instances", None), ids, "get instances")
}

/// Removes instances; those that run are killed.
pub fn remove(ids: &[Id]) -> Request<Named> {
    Request::about(
        Method::DELETE,
        ("instances", None),
        ids,
        "remove the instance",
    )
}

/// Starts instances, and lets the platform wait until they run.
pub fn start(ids: &[Id], wait: Duration) -> Request<Named> {
    let request = Request::about(
        Method::PUT,
        ("instances", Some("start")),
        ids,
        "start the instance",
    );
    let request = match ids {
        _ if wait.is_zero() => request,
        [Id::Uuid(_)] => request.ask("wait_timeout_ms", &millis(wait)),
        several => request.with(each(several, &[("wait_timeout_ms", json!(millis(wait)))])),
    };
    request.patient(wait).repeatable()
}

/// Stops instances: kills them, or lets them finish with their connections for a while.
pub fn stop(ids: &[Id], force: bool, drain: Duration) -> Request<Named> {
    let mut more = Vec::new();
    if force {
        more.push(("force", json!(true)));
    }
    if !drain.is_zero() {
        more.push(("drain_timeout_ms", json!(millis(drain))));
    }
    let mut request = Request::about(
        Method::PUT,
        ("instances", Some("stop")),
        ids,
        "stop the instance",
    );
    if matches!(ids, [Id::Uuid(_)]) {
        for (name, value) in more {
            request = request.ask(name, &value);
        }
    } else {
        request = request.with(each(ids, &more));
    }
    request.repeatable()
}

/// Waits in the platform until instances are in a state; without a limit for as long as it takes.
///
/// The platform's description asks for `PUT`; older platforms take `GET`:
/// [`Client::wait`](crate::client::Client::wait) tries both.
pub fn wait(method: Method, ids: &[Id], state: &str, limit: Option<Duration>) -> Request<Named> {
    let timeout = limit.map_or(-1, millis);
    let more = [("state", json!(state)), ("timeout_ms", json!(timeout))];
    let doing = format!("wait until the instance is {state}");
    Request::new(method, &["instances", "wait"], doing)
        .with(each(ids, &more))
        .patient(limit.unwrap_or(FOREVER))
        .repeatable()
}

/// A range of a log, in bytes since the first boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Span {
    /// The first byte.
    pub start: i64,
    /// The byte behind the last.
    pub end: i64,
}

/// A part of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Log {
    /// The instance.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// The part, as base64.
    pub output: String,
    /// What there is.
    pub available: Span,
    /// What this is.
    pub range: Span,
    /// What else the platform tells.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Log {
    /// Returns the bytes of the part, if they can be read.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.output).ok()
    }
}

/// Asks for a part of a log: from an offset, which counts from the end if it is negative.
pub fn log(id: &Id, offset: i64, limit: u32) -> Request<Log> {
    let more = [
        ("offset", json!(offset)),
        ("limit", json!(limit.min(LONGEST_LOG))),
    ];
    let doing = format!("get the log of `{}`", id.as_str());
    Request::new(Method::GET, &["instances", "log"], doing)
        .with(each(std::slice::from_ref(id), &more))
}

/// Asks for the end of the log of an instance that is named by its UUID.
pub fn log_end(uuid: &str) -> Request<Log> {
    let path = ["instances", uuid, "log"];
    Request::new(Method::GET, &path, format!("get the log of `{uuid}`"))
}

/// What was measured of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metrics {
    /// The instance.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: String,
    /// Its memory in use, in bytes.
    pub rss_bytes: u64,
    /// Its time on processors, in milliseconds.
    pub cpu_time_ms: u64,
    /// Bytes that it got.
    pub rx_bytes: u64,
    /// Bytes that it sent.
    pub tx_bytes: u64,
    /// Connections now.
    pub nconns: u64,
    /// Requests now.
    pub nreqs: u64,
    /// Requests that wait for an instance.
    pub nqueued: u64,
    /// Requests in all.
    pub ntotal: u64,
    /// What else the platform tells.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Asks what was measured; without ids of all.
pub fn metrics(ids: &[Id]) -> Request<Metrics> {
    Request::about(
        Method::GET,
        ("instances", Some("metrics")),
        ids,
        "get metrics",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_is_not_sent() {
        let wanted = CreateInstance {
            image: "anna/web@sha256:00".to_owned(),
            service_group: Some(WantedGroup::New(NewGroup::default())),
            ..CreateInstance::default()
        };
        let request = create(&wanted);
        assert_eq!(
            request.body,
            Some(json!({
                "image": "anna/web@sha256:00", "autostart": false, "service_group": {"services": []}
            }))
        );
        assert!(!request.repeatable);
    }

    #[test]
    fn a_name_is_made_from_the_image() {
        let wanted = CreateInstance {
            image: "anna/web:latest".to_owned(),
            ..CreateInstance::default()
        };
        let name = wanted.named().name.unwrap();
        assert!(name.starts_with("web-") && name.len() == 9, "{name}");
    }

    #[test]
    fn a_group_that_is_there_is_named_and_a_volume_is_flat() {
        let group = WantedGroup::from(Id::new("front"));
        assert_eq!(json!(group), json!({"name": "front"}));
        let volume = WantedVolume {
            id: Id::new("data"),
            at: "/data".to_owned(),
            readonly: true,
        };
        assert_eq!(
            json!(volume),
            json!({"name": "data", "at": "/data", "readonly": true})
        );
    }

    #[test]
    fn unknown_fields_of_an_instance_are_kept() {
        let instance: Instance =
            serde_json::from_value(json!({"uuid": "u", "status": "success", "snapshot": {}}))
                .unwrap();
        assert_eq!(json!(instance).get("snapshot"), Some(&json!({})));
    }
}
