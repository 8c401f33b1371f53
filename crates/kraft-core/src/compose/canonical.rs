//! The canonical form of a project: short forms are written out, and names are those on the host. Pure.
//!
//! | short | canonical |
//! |---|---|
//! | `build: ./app` | `build: {context: /dir/app, dockerfile: Dockerfile}` |
//! | `ports: ["8080:80"]` | `ports: [{mode: ingress, target: 80, published: "8080", protocol: tcp}]` |
//! | `depends_on: [db]` | `depends_on: {db: {condition: service_started, required: true}}` |
//! | `volumes: {data: }` | `volumes: {data: {name: shop_data}}` |

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::lower::DEFAULT_NETWORK;
use super::model::{Mount, MountKind, Port};
use super::short;
use crate::problem::Span;
use crate::shell_words;

type Fields = Map<String, Value>;

/// What the canonical form consists of.
#[derive(Clone, Copy)]
pub struct Canonical<'a> {
    /// The name of the project, which begins those of its networks and volumes.
    pub project: &'a str,
    /// The services that are kept.
    pub services: &'a [&'a str],
    /// Whether networks, volumes, configs and secrets are kept that no service uses.
    pub all_resources: bool,
    /// Whether short forms are written out.
    pub normal: bool,
    /// Returns the path on the host that a relative one stands for.
    pub path: &'a dyn Fn(&str) -> String,
}

impl std::fmt::Debug for Canonical<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Canonical")
            .field("project", &self.project)
            .field("services", &self.services)
            .finish_non_exhaustive()
    }
}

/// Returns the canonical form of a merged project without errors, [`super::Loaded::merged`].
///
/// ```
/// use kraft_core::compose::{Canonical, canonical};
/// use serde_json::json;
///
/// let merged = json!({"services": {"web": {"image": "nginx", "ports": ["8080:80"]}, "old": {"image": "x"}}});
/// let form = Canonical {
///     project: "shop",
///     services: &["web"],
///     all_resources: false,
///     normal: true,
///     path: &|path| format!("/srv/{path}"),
/// };
/// let shown = canonical(merged, form);
/// assert_eq!(shown["services"]["web"]["ports"][0]["published"], "8080");
/// assert_eq!(shown["services"]["old"], json!(null));
/// assert_eq!(shown["networks"]["default"]["name"], "shop_default");
/// ```
pub fn canonical(merged: Value, form: Canonical<'_>) -> Value {
    let Value::Object(mut root) = merged else {
        return merged;
    };
    for gone in ["version", "include"] {
        root.shift_remove(gone);
    }
    root.shift_remove("name");
    root.shift_insert(0, "name".to_owned(), form.project.into());
    if let Some(services) = root.get_mut("services").and_then(Value::as_object_mut) {
        services.retain(|name, _| form.services.contains(&name.as_str()));
        for service in services.values_mut().filter_map(Value::as_object_mut) {
            self::service(service, &form);
        }
    }
    if !form.normal {
        return Value::Object(root);
    }
    let used = |key: &str| used(&root, key);
    let kinds = ["networks", "volumes", "configs", "secrets"].map(|key| (key, used(key)));
    for (key, used) in kinds {
        let mut declared = match root.shift_remove(key) {
            Some(Value::Object(declared)) => declared,
            _ => Map::new(),
        };
        if key == "networks" && used.contains(DEFAULT_NETWORK) {
            declared.entry(DEFAULT_NETWORK).or_insert(Value::Null);
        }
        declared.retain(|name, _| form.all_resources || used.contains(name));
        for (name, value) in &mut declared {
            resource(name, value, &form);
        }
        if !declared.is_empty() {
            root.insert(key.to_owned(), Value::Object(declared));
        }
    }
    // What other tools read comes last.
    let (other, own): (Fields, Fields) =
        root.into_iter().partition(|(key, _)| key.starts_with("x-"));
    Value::Object(own.into_iter().chain(other).collect())
}

/// Returns the keys of the networks, volumes, configs or secrets that services use.
fn used(root: &Fields, key: &str) -> BTreeSet<String> {
    let services = root.get("services").and_then(Value::as_object);
    let mut used = BTreeSet::new();
    for service in services.into_iter().flat_map(Map::values) {
        match service.get(key) {
            Some(Value::Object(map)) => used.extend(map.keys().cloned()),
            Some(Value::Array(items)) => {
                let sources = items.iter().filter_map(|item| item.get("source")?.as_str());
                used.extend(sources.map(str::to_owned));
            }
            _ => {}
        }
    }
    used
}

/// Completes a network, a volume, a config or a secret.
fn resource(key: &str, value: &mut Value, form: &Canonical<'_>) {
    if !value.is_object() {
        *value = json!({});
    }
    let Value::Object(fields) = value else { return };
    change(fields, "file", |file| path(file, form));
    pairs(fields, "labels");
    let external = fields.get("external").cloned().unwrap_or_default();
    // The old form names it there.
    let old = external.get("name").and_then(Value::as_str);
    let old = old.map(str::to_owned);
    let is_external = external == true || external.is_object();
    let name = match old {
        Some(old) => old,
        None if is_external => key.to_owned(),
        None => format!("{}_{key}", form.project),
    };
    if is_external {
        fields.insert("external".to_owned(), true.into());
    }
    if !fields.contains_key("name") {
        fields.shift_insert(0, "name".to_owned(), name.into());
    }
}

fn service(fields: &mut Fields, form: &Canonical<'_>) {
    fields.shift_remove("extends");
    change(fields, "build", |build| self::build(build, form));
    change(fields, "env_file", |files| {
        to_list(files);
        each(files, |file| {
            if file.is_string() {
                *file = json!({"path": file.take(), "required": true});
            }
            if let Value::Object(file) = file {
                change(file, "path", |it| path(it, form));
            }
        });
    });
    change(fields, "volumes", |volumes| {
        each(volumes, |volume| mount(volume, form));
    });
    if let Some(Value::Object(develop)) = fields.get_mut("develop") {
        change(develop, "watch", |rules| {
            each(rules, |rule| {
                if let Value::Object(rule) = rule {
                    change(rule, "path", |it| path(it, form));
                }
            });
        });
    }
    if !form.normal {
        return;
    }
    for key in ["command", "entrypoint"] {
        change(fields, key, |line| {
            let words = line.as_str().and_then(|it| shell_words::split(it).ok());
            if let Some(words) = words {
                *line = words.into();
            }
        });
    }
    for key in ["environment", "labels", "annotations", "sysctls"] {
        pairs(fields, key);
    }
    for key in ["dns", "dns_search", "tmpfs"] {
        change(fields, key, to_list);
    }
    for key in ["mem_limit", "mem_reservation", "shm_size"] {
        change(fields, key, |amount| {
            let text = plain(amount);
            if let Some(bytes) = text.and_then(|text| short::bytes(&text)) {
                *amount = bytes.to_string().into();
            }
        });
    }
    if let Some(Value::Object(check)) = fields.get_mut("healthcheck") {
        change(check, "test", |test| match test.as_str() {
            Some("NONE") => *test = json!(["NONE"]),
            Some(line) => *test = json!(["CMD-SHELL", line]),
            None => {}
        });
    }
    change(fields, "depends_on", |needs| {
        keys(needs, || json!({}));
        for need in needs.as_object_mut().into_iter().flat_map(Map::values_mut) {
            if !need.is_object() {
                *need = json!({});
            }
            if let Value::Object(need) = need {
                need.entry("condition").or_insert("service_started".into());
                need.entry("required").or_insert(true.into());
            }
        }
    });
    change(fields, "networks", |networks| {
        keys(networks, || Value::Null);
    });
    if !fields.contains_key("networks") && !fields.contains_key("network_mode") {
        let default = json!({DEFAULT_NETWORK: null});
        fields.insert("networks".to_owned(), default);
    }
    change(fields, "ports", ports);
    for key in ["configs", "secrets"] {
        change(fields, key, |files| {
            each(files, |file| {
                if file.is_string() {
                    *file = json!({"source": file.take()});
                }
            });
        });
    }
}

fn build(build: &mut Value, form: &Canonical<'_>) {
    if build.is_string() {
        *build = json!({"context": build.take()});
    }
    let Value::Object(fields) = build else { return };
    fields.entry("context").or_insert(".".into());
    change(fields, "context", |it| path(it, form));
    if form.normal {
        if !fields.contains_key("dockerfile_inline") {
            fields.entry("dockerfile").or_insert("Dockerfile".into());
        }
        pairs(fields, "args");
        pairs(fields, "labels");
    }
}

fn ports(ports: &mut Value) {
    let Value::Array(items) = ports else { return };
    let mut all = Vec::with_capacity(items.len());
    for item in std::mem::take(items) {
        match plain(&item).map(|text| short::ports(&text, Span::default())) {
            Some(Ok(many)) => all.extend(many.iter().map(port)),
            _ => all.push(long_port(item)),
        }
    }
    *items = all;
}

fn port(port: &Port) -> Value {
    let published = port.published.map(|first| {
        let last = port.published_to.map(|last| format!("-{last}"));
        format!("{first}{}", last.unwrap_or_default())
    });
    object([
        ("mode", Some("ingress".into())),
        ("host_ip", port.host_ip.as_deref().map(Value::from)),
        ("target", Some(port.target.into())),
        ("published", published.map(Value::from)),
        ("protocol", Some(port.protocol.as_str().into())),
    ])
}

/// Returns a mapping of the fields that have a value.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let there = fields
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(there.collect())
}

fn long_port(mut port: Value) -> Value {
    if let Value::Object(fields) = &mut port {
        fields.entry("mode").or_insert("ingress".into());
        fields.entry("protocol").or_insert("tcp".into());
        change(fields, "published", |number| {
            if let Some(text) = plain(number) {
                *number = text.into();
            }
        });
    }
    port
}

fn mount(volume: &mut Value, form: &Canonical<'_>) {
    let text = volume.as_str();
    if let Some(mount) = text.and_then(|text| short::mount(text, Span::default()).ok())
        && (form.normal || mount.kind == MountKind::Bind)
    {
        *volume = long_mount(&mount);
    }
    if let Value::Object(fields) = volume {
        let is_bind = fields.get("type").is_some_and(|kind| kind == "bind");
        for key in ["source", "src"].into_iter().filter(|_| is_bind) {
            change(fields, key, |it| path(it, form));
        }
    }
}

fn long_mount(mount: &Mount) -> Value {
    let (kind, source, bind, volume) = match mount.kind {
        MountKind::Bind => {
            let options = json!({"create_host_path": true});
            ("bind", Some(&mount.source), Some(options), None)
        }
        MountKind::Volume => ("volume", Some(&mount.source), None, Some(json!({}))),
        MountKind::Anonymous => ("volume", None, None, Some(json!({}))),
        MountKind::Memory => ("tmpfs", None, None, None),
    };
    object([
        ("type", Some(kind.into())),
        ("source", source.map(|it| it.as_str().into())),
        ("target", Some(mount.target.as_str().into())),
        ("read_only", mount.read_only.then(|| true.into())),
        ("bind", bind),
        ("volume", volume),
    ])
}

/// Changes a value that is there and not null.
fn change(fields: &mut Fields, key: &str, change: impl FnOnce(&mut Value)) {
    if let Some(value) = fields.get_mut(key).filter(|value| !value.is_null()) {
        change(value);
    }
}

fn each(list: &mut Value, change: impl FnMut(&mut Value)) {
    if let Value::Array(items) = list {
        items.iter_mut().for_each(change);
    }
}

fn path(value: &mut Value, form: &Canonical<'_>) {
    if let Some(text) = value.as_str()
        && !text.contains("://")
    {
        *value = (form.path)(text).into();
    }
}

fn to_list(value: &mut Value) {
    if !value.is_array() {
        *value = Value::Array(vec![value.take()]);
    }
}

/// Returns the text of a scalar.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Makes a mapping of a list of `NAME=VALUE`, and strings of its values.
fn pairs(fields: &mut Fields, key: &str) {
    change(fields, key, |value| {
        let pairs: Fields = match value.take() {
            Value::Array(items) => {
                let texts = items.iter().filter_map(plain);
                let split = texts.map(|text| match text.split_once('=') {
                    Some((name, value)) => (name.to_owned(), value.into()),
                    None => (text, Value::Null),
                });
                split.collect()
            }
            Value::Object(fields) => {
                let texts = fields.into_iter().map(|(name, value)| {
                    let text = match &value {
                        Value::Bool(flag) => Some(flag.to_string()),
                        other => plain(other),
                    };
                    (name, text.map_or(Value::Null, Value::String))
                });
                texts.collect()
            }
            _ => Map::new(),
        };
        *value = Value::Object(pairs);
    });
}

/// Makes a mapping of a list of its keys.
fn keys(value: &mut Value, inner: impl Fn() -> Value) {
    if let Value::Array(items) = value {
        let names = items.iter().filter_map(plain);
        *value = Value::Object(names.map(|name| (name, inner())).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(merged: Value, normal: bool) -> Value {
        let form = Canonical {
            project: "shop",
            services: &["web"],
            all_resources: false,
            normal,
            path: &|path| format!("/srv/{}", path.trim_start_matches("./")),
        };
        canonical(merged, form)
    }

    #[test]
    fn short_forms_are_written_out() {
        let web = |key: &str, value: Value| {
            let merged = json!({"services": {"web": {"image": "x", key: value}}});
            shown(merged, true)["services"]["web"][key].clone()
        };
        for (key, short, long) in [
            (
                "build",
                json!("./app"),
                json!({"context": "/srv/app", "dockerfile": "Dockerfile"}),
            ),
            ("command", json!("a 'b c'"), json!(["a", "b c"])),
            (
                "environment",
                json!(["A=1", "B"]),
                json!({"A": "1", "B": null}),
            ),
            (
                "labels",
                json!({"a": 1, "b": true}),
                json!({"a": "1", "b": "true"}),
            ),
            (
                "env_file",
                json!("a.env"),
                json!([{"path": "/srv/a.env", "required": true}]),
            ),
            (
                "ports",
                json!(["127.0.0.1:8000-8001:80-81/udp", 90]),
                json!([
                    {"mode": "ingress", "host_ip": "127.0.0.1", "target": 80, "published": "8000", "protocol": "udp"},
                    {"mode": "ingress", "host_ip": "127.0.0.1", "target": 81, "published": "8001", "protocol": "udp"},
                    {"mode": "ingress", "target": 90, "protocol": "tcp"}
                ]),
            ),
            (
                "volumes",
                json!(["./a:/a:ro", "data:/b", "/c"]),
                json!([
                    {"type": "bind", "source": "/srv/a", "target": "/a", "read_only": true, "bind": {"create_host_path": true}},
                    {"type": "volume", "source": "data", "target": "/b", "volume": {}},
                    {"type": "volume", "target": "/c", "volume": {}}
                ]),
            ),
            ("mem_limit", json!("64m"), json!("67108864")),
            ("dns", json!("10.0.0.1"), json!(["10.0.0.1"])),
            ("secrets", json!(["key"]), json!([{"source": "key"}])),
            (
                "depends_on",
                json!(["db"]),
                json!({"db": {"condition": "service_started", "required": true}}),
            ),
            ("networks", json!(["back"]), json!({"back": null})),
            (
                "healthcheck",
                json!({"test": "true"}),
                json!({"test": ["CMD-SHELL", "true"]}),
            ),
        ] {
            assert_eq!(web(key, short), long, "{key}");
        }
    }

    #[test]
    fn only_what_the_selected_services_use_is_kept_under_its_name() {
        let merged = json!({
            "version": "3", "x-note": 1,
            "services": {"web": {"image": "x", "volumes": ["data:/d"]}, "db": {"image": "y"}},
            "volumes": {"data": null, "other": null},
            "networks": {"default": {"external": {"name": "far"}}},
        });
        let found = shown(merged.clone(), true);
        let keys: Vec<&String> = found.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["name", "services", "networks", "volumes", "x-note"]);
        assert_eq!(found["volumes"], json!({"data": {"name": "shop_data"}}));
        assert_eq!(
            found["networks"]["default"],
            json!({"name": "far", "external": true})
        );
        let short = shown(merged, false);
        assert_eq!(short["services"]["web"]["volumes"], json!(["data:/d"]));
        assert_eq!(short["volumes"].as_object().unwrap().len(), 2);
    }
}
