//! Instances: virtual machines on the platform.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Named;
use super::services::{Domain, Service, WantedDomain};
use super::stop_reason::StopReason;
use crate::request::{Form, Id, Request, Scope, each, millis};

/// Maximum number of log bytes in one response.
pub const LONGEST_LOG: u32 = 16383;

/// Instance of an image on the platform.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Instance {
    /// UUID of the instance.
    pub uuid: String,
    /// Name of the instance.
    pub name: String,
    /// Creation time.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_at: String,
    /// State: `stopped`, `starting`, `running`, `draining`, `stopping`, `standby`, `template`,
    /// `checkpoint` or `deleted`.
    pub state: String,
    /// Image reference by digest: without a host, or as a URL, `oci://HOST/NAME@DIGEST`.
    pub image: String,
    /// Memory, in MiB.
    pub memory_mb: u64,
    /// Number of vCPUs.
    pub vcpus: u64,
    /// Arguments of the application.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Number of starts.
    pub start_count: u64,
    /// Number of restarts by the platform.
    pub restart_count: u64,
    /// Restart policy: `never`, `always` or `on-failure`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub restart_policy: String,
    /// Time of the last start.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub started_at: String,
    /// Time of the last stop.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stopped_at: String,
    /// Uptime, in milliseconds.
    pub uptime_ms: u64,
    /// Boot time, in microseconds.
    pub boot_time_us: u64,
    /// Who stopped the instance, as a bit field: see [`StopReason::reason`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<u64>,
    /// Exit status of the kernel, as a bit field: see [`StopReason::code`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_code: Option<u64>,
    /// Exit code of the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Host name in the account's private network.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub private_fqdn: String,
    /// IP address in the account's private network.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub private_ip: String,
    /// Service group of the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_group: Option<InstanceGroup>,
    /// Scale-to-zero configuration: whether the instance is suspended while idle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_to_zero: Option<ScaleToZero>,
    /// Volumes of the instance.
    pub volumes: Vec<InstanceVolume>,
    /// Pending restart by the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// Other fields that the platform returns.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Instance {
    /// Returns the first public domain name.
    pub fn fqdn(&self) -> Option<&str> {
        let group = self.service_group.as_ref()?;
        group.domains.first().map(|domain| domain.fqdn.as_str())
    }

    /// Returns the reason of the last stop, if the instance is stopped.
    pub fn end(&self) -> Option<StopReason> {
        let reason = self.stop_reason?;
        (self.state == "stopped").then_some(StopReason {
            reason,
            code: self.stop_code,
            exit: self.exit_code,
        })
    }
}

/// Pending restart of an instance that exited by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Restart {
    /// Number of attempts since the last healthy run.
    pub attempt: u64,
    /// Time of the next attempt.
    pub next_at: String,
}

/// Service group of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceGroup {
    /// UUID of the group.
    pub uuid: String,
    /// Name of the group.
    pub name: String,
    /// Public domains of the group.
    pub domains: Vec<Domain>,
}

/// Volume attached to an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceVolume {
    /// UUID of the volume.
    pub uuid: String,
    /// Name of the volume.
    pub name: String,
    /// Mount path.
    pub at: String,
    /// Whether the mount is read-only.
    pub readonly: bool,
}

/// Scale-to-zero configuration of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleToZero {
    /// Policy: `on`, `off` or `idle`.
    pub policy: String,
    /// Whether the instance resumes with its memory state instead of booting.
    #[serde(default)]
    pub stateful: bool,
    /// Idle time before the instance is scaled to zero, in milliseconds.
    #[serde(default)]
    pub cooldown_time_ms: u64,
}

/// Volume to attach to a new instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WantedVolume {
    /// Identifier of the volume.
    #[serde(flatten)]
    pub id: Id,
    /// Absolute mount path.
    pub at: String,
    /// Whether the mount is read-only.
    pub readonly: bool,
}

/// Service group for a new instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WantedGroup {
    /// Existing group, by UUID.
    Uuid(String),
    /// Existing group, by name.
    Name(String),
    /// New group.
    #[serde(untagged)]
    New(NewGroup),
}

/// Service group that is created and removed together with an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NewGroup {
    /// Published ports.
    pub services: Vec<Service>,
    /// Domains of the group.
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

/// Parameters of an instance to create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CreateInstance {
    /// Name of the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Image reference, without a host; empty if the instance starts from a template, a checkpoint
    /// or another instance.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Arguments of the application; if empty, those of the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Memory, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// Number of vCPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<u32>,
    /// Whether the instance is started when it is created.
    pub autostart: bool,
    /// Number of additional instances with the same parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Restart policy: `never`, `always` or `on-failure`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<String>,
    /// Scale-to-zero configuration: whether the instance is suspended while idle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_to_zero: Option<ScaleToZero>,
    /// Optional features: `delete-on-stop`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Volumes of the instance.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<WantedVolume>,
    /// Service group of the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_group: Option<WantedGroup>,
    /// How long the platform waits until the instance runs.
    #[serde(skip)]
    pub wait: Option<Duration>,
    /// Other fields, which only today's platform knows: `tags`, `template`, `roms` …
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl CreateInstance {
    /// Sets a generated name if there is none, in the platform's format: the name of the image and
    /// five random characters. An instance with a known name can be found when a response is lost.
    #[must_use]
    pub fn named(mut self) -> Self {
        if self.name.is_none() {
            let path = self.image.split(['@', ':']).next().unwrap_or_default();
            let app = path.rsplit('/').next().filter(|app| !app.is_empty());
            let app = app.unwrap_or("instance");
            self.name = Some(format!("{app}-{}", by_chance()));
        }
        self
    }

    /// Makes the name unique by appending five random characters.
    pub fn rename(&mut self) {
        if let Some(name) = &mut self.name {
            name.push('-');
            name.push_str(&by_chance());
        }
    }
}

/// Returns five random letters and digits.
fn by_chance() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0_u8; 5];
    // Without random bytes the name may already exist; the platform then returns an error.
    let _ = getrandom::fill(&mut bytes);
    bytes
        .iter()
        .filter_map(|byte| LETTERS.get(usize::from(*byte) % LETTERS.len()))
        .map(|&letter| char::from(letter))
        .collect()
}

/// Creates an instance. Send this with [`Client::create`](crate::client::Client::create).
pub fn create(wanted: &CreateInstance) -> Request<Instance> {
    let doing = match wanted.image.as_str() {
        "" => "create an instance".to_owned(),
        image => format!("create an instance of `{image}`"),
    };
    let request = Request::new(Method::POST, &["instances"], doing).with(json!(wanted));
    let Some(wait) = wanted.wait else {
        return request;
    };
    let body = |name: &str, value: i64| {
        let mut body = json!(wanted);
        if let Some(body) = body.as_object_mut() {
            body.insert(name.to_owned(), json!(value));
        }
        body
    };
    let older = Form::new(Method::POST, &["instances"]).with(body("wait_timeout_ms", millis(wait)));
    // Seconds are rounded up.
    let seconds = millis(wait).saturating_add(999) / 1000;
    request
        .with(body("timeout_s", seconds))
        .or_else(older)
        .patient(wait)
}

/// Properties of an instance that can be changed in place.
pub const PROPERTIES: &[&str] = &[
    "image",
    "args",
    "env",
    "memory_mb",
    "vcpus",
    "scale_to_zero",
    "tags",
    "delete_lock",
    "schedules",
    "autokill",
    "hostname",
    "roms",
    "dependencies",
    "sched_priority",
    "plugins",
    "annotations",
];

/// Returns a file of a ROM that is sent inline.
pub fn inline_file(path: &str, content: &[u8]) -> Value {
    match std::str::from_utf8(content) {
        Ok(text) => json!({"path": path, "encoding": "text", "data": text}),
        Err(_) => json!({"path": path, "encoding": "base64", "data": STANDARD.encode(content)}),
    }
}

/// Saved instances: templates, from which instances are cloned, and checkpoints, from which they
/// are restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// Templates.
    Template,
    /// Checkpoints.
    Checkpoint,
}

impl Saved {
    /// Returns the path of the collection.
    pub fn path(self) -> [&'static str; 2] {
        match self {
            Self::Template => ["instances", "templates"],
            Self::Checkpoint => ["instances", "checkpoints"],
        }
    }

    /// Gets saved instances; all of them if `ids` is empty.
    pub fn get(self, ids: &[Id]) -> Request<Instance> {
        let mut request = Request::read(&self.path(), ids, "get saved instances");
        // The description of 2024 does not know them.
        request.older.clear();
        request
    }

    /// Removes saved instances.
    pub fn remove(self, ids: &[Id]) -> Request<Named> {
        Request::change(
            Method::DELETE,
            &self.path(),
            None,
            ids,
            "remove the saved instance",
        )
    }
}

/// Turns instances into templates. The platform waits for at most `wait` until they are ready.
pub fn make_template(ids: &[Id], wait: Duration, more: &Map<String, Value>) -> Request<Named> {
    let seconds = millis(wait).saturating_add(999) / 1000;
    let mut options: Vec<(&str, Value)> = vec![("timeout_s", json!(seconds))];
    options.extend(
        more.iter()
            .map(|(name, value)| (name.as_str(), value.clone())),
    );
    let request = Request::new(Method::POST, &Saved::Template.path(), "make a template");
    request.only(ids).with(each(ids, &options)).patient(wait)
}

/// Saves a checkpoint of an instance, which continues to run.
pub fn make_checkpoint(from: &Id, name: Option<&str>, more: &Map<String, Value>) -> Request<Named> {
    let mut item = more.clone();
    item.insert("from".to_owned(), json!(from));
    if let Some(name) = name {
        item.insert("name".to_owned(), json!(name));
    }
    let doing = format!("save a checkpoint of `{}`", from.as_str());
    let request = Request::new(Method::POST, &Saved::Checkpoint.path(), doing);
    // The name in the query keeps a server that ignores the body from another instance.
    let request = request.only(std::slice::from_ref(from)).makes(name);
    request.with(json!([item]))
}

/// Checkpoints that an instance came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// UUID of the instance.
    pub uuid: String,
    /// Name of the instance.
    pub name: String,
    /// Checkpoints, the latest first, each with `uuid`, `name` and `created_at`.
    pub history: Vec<Named>,
}

/// Gets the checkpoints that an instance came from, given by its UUID.
pub fn history(uuid: &str) -> Request<History> {
    let path = ["instances", uuid, "history"];
    let mut request = Request::new(Method::GET, &path, "get the history");
    request.scope = Scope::Only(vec![Id::Uuid(uuid.to_owned())]);
    request
}

/// Timeout of a request that waits without a limit: a day.
const FOREVER: Duration = Duration::from_hours(24);

/// Gets instances; all of them if `ids` is empty.
pub fn get(ids: &[Id]) -> Request<Instance> {
    Request::read(&["instances"], ids, "get instances")
}

/// Removes instances; running ones are killed.
pub fn remove(ids: &[Id]) -> Request<Named> {
    Request::change(
        Method::DELETE,
        &["instances"],
        None,
        ids,
        "remove the instance",
    )
}

/// Starts instances. The platform waits for at most `wait` until they run.
pub fn start(ids: &[Id], wait: Duration) -> Request<Named> {
    let request = put("start", ids, "start the instance");
    let request = match ids {
        _ if wait.is_zero() => request,
        ids => request.with(each(ids, &[("wait_timeout_ms", json!(millis(wait)))])),
    };
    request.patient(wait).repeatable()
}

fn put(action: &str, ids: &[Id], doing: &str) -> Request<Named> {
    Request::change(Method::PUT, &["instances"], Some(action), ids, doing)
}

/// Suspends instances: they keep their memory, and the next connection resumes them. `drain` is the
/// time to finish open connections.
pub fn suspend(ids: &[Id], drain: Duration) -> Request<Named> {
    let request = put("suspend", ids, "suspend the instance");
    let request = match ids {
        _ if drain.is_zero() => request,
        ids => request.with(each(ids, &[("drain_timeout_ms", json!(millis(drain)))])),
    };
    request.repeatable()
}

/// Stops instances. `force` kills them; `drain` is the time to finish open connections.
pub fn stop(ids: &[Id], force: bool, drain: Duration) -> Request<Named> {
    let mut more = Vec::new();
    if force {
        more.push(("force", json!(true)));
    }
    if !drain.is_zero() {
        more.push(("drain_timeout_ms", json!(millis(drain))));
    }
    let request = put("stop", ids, "stop the instance");
    request.with(each(ids, &more)).repeatable()
}

/// Waits on the platform's side until instances are in a state; indefinitely if `limit` is `None`.
///
/// The description of 2024 specifies `PUT` with a body; some platforms accept `GET` with it.
pub fn wait(ids: &[Id], state: &str, limit: Option<Duration>) -> Request<Named> {
    let timeout = limit.map_or(-1, millis);
    let more = [("state", json!(state)), ("timeout_ms", json!(timeout))];
    let doing = format!("wait until the instance is {state}");
    let path = ["instances", "wait"];
    let body = each(ids, &more);
    // Seconds are rounded up.
    let seconds = limit.map_or(-1, |limit| millis(limit).saturating_add(999) / 1000);
    let today = Form::new(Method::GET, &path).named(ids);
    let mut request = Request::of(today.ask("state", &state).ask("timeout_s", &seconds), doing)
        .or_else(Form::new(Method::PUT, &path).with(body.clone()))
        .or_else(Form::new(Method::GET, &path).with(body));
    request.scope = Scope::Only(ids.to_vec());
    request.patient(limit.unwrap_or(FOREVER)).repeatable()
}

/// Looks up an instance that does not exist, by the body of a request only. The refusal of that
/// instance shows that the platform reads bodies: before a change that its body restricts.
pub fn look_up_none() -> Request<Named> {
    let none = [Id::Uuid("00000000-0000-0000-0000-000000000000".to_owned())];
    let more = [("state", json!("running")), ("timeout_s", json!(0))];
    let doing = "check that nothing else is changed";
    let mut request = Request::new(Method::GET, &["instances", "wait"], doing);
    request.scope = Scope::Only(none.to_vec());
    request.with(each(&none, &more))
}

/// Byte range of a log, counted from the first boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Span {
    /// Offset of the first byte.
    pub start: i64,
    /// Offset after the last byte.
    pub end: i64,
}

/// Part of an instance's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Log {
    /// UUID of the instance.
    pub uuid: String,
    /// Name of the instance.
    pub name: String,
    /// Content, in base64.
    pub output: String,
    /// Range that is available.
    pub available: Span,
    /// Range of this part.
    pub range: Span,
    /// Other fields that the platform returns.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Log {
    /// Returns the decoded content, or `None` if it is not valid base64.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.output).ok()
    }
}

/// Gets a part of a log, starting at `offset`, which counts from the end if it is negative.
pub fn log(id: &Id, offset: i64, limit: u32) -> Request<Log> {
    let more = [
        ("offset", json!(offset)),
        ("limit", json!(limit.min(LONGEST_LOG))),
    ];
    let doing = format!("get the log of `{}`", id.as_str());
    let ids = std::slice::from_ref(id);
    let form = Form::new(Method::GET, &["instances", "log"]).named(ids);
    let form = form
        .ask("offset", &offset)
        .ask("limit", &limit.min(LONGEST_LOG));
    let mut request = Request::of(form.clone(), doing).or_else(form.with(each(ids, &more)));
    request.scope = Scope::Only(ids.to_vec());
    request
}

/// Gets the end of the log of an instance, given by its UUID.
pub fn log_end(uuid: &str) -> Request<Log> {
    let path = ["instances", uuid, "log"];
    let mut request = Request::new(Method::GET, &path, format!("get the log of `{uuid}`"));
    request.scope = Scope::Only(vec![Id::Uuid(uuid.to_owned())]);
    request
}

/// Metrics of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metrics {
    /// UUID of the instance.
    pub uuid: String,
    /// Name of the instance.
    pub name: String,
    /// State of the instance; today's platform does not report it here.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Memory in use, in bytes.
    pub rss_bytes: u64,
    /// CPU time, in milliseconds.
    pub cpu_time_ms: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Current connections.
    pub nconns: u64,
    /// Current requests.
    pub nreqs: u64,
    /// Requests queued until an instance is available.
    pub nqueued: u64,
    /// Total number of requests.
    pub ntotal: u64,
    /// Other fields that the platform returns.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Gets metrics; of all instances if `ids` is empty.
pub fn metrics(ids: &[Id]) -> Request<Metrics> {
    let path = match ids {
        [Id::Uuid(uuid)] => vec!["instances", uuid, "metrics"],
        _ => vec!["instances", "metrics"],
    };
    let form = Form::new(Method::GET, &path);
    let mut request = match ids {
        [] | [Id::Uuid(_)] => Request::of(form, "get metrics"),
        ids => {
            let form = form.named(ids);
            Request::of(form.clone(), "get metrics").or_else(form.with(json!(ids)))
        }
    };
    if !ids.is_empty() {
        request.scope = Scope::Only(ids.to_vec());
    }
    request
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
