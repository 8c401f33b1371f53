//! Converts the YAML tree to a Compose file, including the short forms.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use crate::document::located::Located;
use crate::document::node::{Entry, Node, Scalar, Value};
use crate::document::problems::Problems;
use crate::document::shape::{Record, is_extension};
use crate::lifecycle::{HealthProbe, RestartPolicy, SHORTEST_SLEEP};
use crate::problem::{Problem, Span};
use crate::shell_words;

use super::model::{
    Build, Compose, Condition, Dependency, EnvFile, ExtraHost, FileContent, FileMount, FileSource,
    Health, HostAddress, Mount, MountKind, Network, Port, PullPolicy, Service, ServiceNetwork,
    Variable, Volume, WatchAction, WatchRule,
};
use super::shape::{
    AMOUNTS, BUILD, DEPENDENCY, DEPLOY, DEVELOP, ENV_FILE, EXTERNAL_NAME, FILE, FILE_MOUNT,
    FILE_SOURCE, HEALTH, IPAM, MOUNT, NETWORK, PORT, RESOURCES, RESTART, SERVICE, SERVICE_NETWORK,
    SUBNET, VOLUME, VOLUME_OPTIONS, WATCH,
};
use super::{between, health, short};

/// Converts a tree whose shape was checked.
pub(super) fn lower(root: &Node, problems: &mut Problems) -> Compose {
    let own = |entry: &&Entry| !is_extension(&entry.key.value);
    let entries = |name: &str| {
        let node = FILE.get(root, name);
        node.map(Node::entries).unwrap_or_default()
    };
    let own = |name: &str| entries(name).iter().filter(own);
    let mut services: Vec<Service> = own("services")
        .map(|entry| service(entry, problems))
        .collect();
    between::connect(root, &mut services, problems);
    Compose {
        name: text(&FILE, root, "name"),
        services,
        volumes: own("volumes")
            .map(|entry| volume(entry, problems))
            .collect(),
        networks: own("networks")
            .map(|entry| network(entry, problems))
            .collect(),
        configs: own("configs").map(file_source).collect(),
        secrets: own("secrets").map(file_source).collect(),
    }
}

fn service(entry: &Entry, problems: &mut Problems) -> Service {
    let node = &entry.value;
    let get = |name: &str| SERVICE.get(node, name);
    let service = Service {
        name: entry.key.value.clone(),
        span: entry.key.span,
        image: text(&SERVICE, node, "image"),
        build: get("build").map(build),
        runtime: text(&SERVICE, node, "runtime"),
        command: get("command").and_then(|node| command(node, problems)),
        entrypoint: get("entrypoint").and_then(|node| command(node, problems)),
        environment: get("environment").map(variables).unwrap_or_default(),
        env_files: get("env_file").map(env_files).unwrap_or_default(),
        ports: ports(get("ports"), problems),
        volumes: mounts(get("volumes"), problems),
        depends_on: get("depends_on").map(dependencies).unwrap_or_default(),
        domain: text(&SERVICE, node, "domainname"),
        container_name: text(&SERVICE, node, "container_name"),
        memory: memory(node, problems),
        replicas: replicas(node, problems),
        restart: restart(node, problems),
        attach: flag(get("attach"), true),
        profiles: texts(get("profiles")),
        networks: service_networks(node, problems),
        isolated: get("network_mode").is_some_and(|mode| is_isolated(mode, problems)),
        hostname: text(&SERVICE, node, "hostname"),
        working_dir: text(&SERVICE, node, "working_dir"),
        dns: servers(get("dns"), problems),
        health: health(node, problems),
        sleep_after: sleep_after(get("x-kraft-sleep-after"), problems),
        stop_grace_period: duration(get("stop_grace_period"), problems),
        labels: labels(get("labels")),
        cpus: cpus(node, problems),
        files: files(node, problems),
        platform: get("platform").and_then(Node::text),
        pull_policy: pull_policy(get("pull_policy"), problems),
        stdin_open: flag(get("stdin_open"), false),
        tty: flag(get("tty"), false),
        extra_hosts: extra_hosts(get("extra_hosts"), problems),
        watch: watch_rules(node, problems),
    };
    if service.image.is_none() && service.build.is_none() {
        let message = format!(
            "the service `{}` has neither an image nor a build",
            service.name
        );
        let problem = Problem::error(message).at(service.span);
        problems.push(problem.help("write `image: NAME` or `build: DIRECTORY`"));
    }
    service
}

fn text(record: &Record, node: &Node, name: &str) -> Option<String> {
    record.get(node, name)?.text().map(|text| text.value)
}

fn flag(node: Option<&Node>, default: bool) -> bool {
    let scalar = node.and_then(Node::scalar);
    scalar.and_then(Scalar::reads_as_bool).unwrap_or(default)
}

/// Parses a value, and reports an invalid one with what is `expected`.
fn parsed<T: FromStr>(node: Option<&Node>, expected: &str, problems: &mut Problems) -> Option<T> {
    let said = node?.text()?;
    let value = said.value.parse().ok();
    if value.is_none() {
        wrong(
            problems,
            &said.value,
            format!("it is not {expected}"),
            said.span,
        );
    }
    value
}

fn duration(node: Option<&Node>, problems: &mut Problems) -> Option<Duration> {
    let said = node?.text()?;
    let time = short::duration(&said.value);
    if time.is_none() {
        let why = "it is not a duration, such as `1m30s`";
        wrong(problems, &said.value, why, said.span);
    }
    time
}

fn labels(node: Option<&Node>) -> BTreeMap<String, String> {
    let labels = node.map(variables).unwrap_or_default();
    labels
        .into_iter()
        .map(|label| (label.name, label.value.unwrap_or_default()))
        .collect()
}

/// Returns the entries of a mapping whose values are records; those of a list have none.
fn keyed(node: &Node) -> Vec<(Located<String>, Option<&Node>)> {
    match &node.value {
        Value::List(items) => {
            let names = items.iter().filter_map(Node::text);
            names.map(|name| (name, None)).collect()
        }
        Value::Map(entries) => entries
            .iter()
            .map(|entry| (entry.key.clone(), Some(&entry.value)))
            .collect(),
        Value::Scalar(_) => Vec::new(),
    }
}

fn dependencies(node: &Node) -> Vec<Dependency> {
    let one = |(name, node): (Located<String>, Option<&Node>)| {
        let condition = node.and_then(|node| text(&DEPENDENCY, node, "condition"));
        Dependency {
            service: name.value,
            span: name.span,
            condition: match condition.as_deref() {
                Some("service_healthy") => Condition::ServiceHealthy,
                Some("service_completed_successfully") => Condition::ServiceCompletedSuccessfully,
                _ => Condition::ServiceStarted,
            },
            required: flag(node.and_then(|node| DEPENDENCY.get(node, "required")), true),
            restart: flag(node.and_then(|node| DEPENDENCY.get(node, "restart")), false),
        }
    };
    keyed(node).into_iter().map(one).collect()
}

const ADDRESS: &str = "an IPv4 address, such as 172.23.0.5";

/// The network of services that name none.
pub(super) const DEFAULT_NETWORK: &str = "default";

fn service_networks(service: &Node, problems: &mut Problems) -> Option<Vec<ServiceNetwork>> {
    let mac = SERVICE.get(service, "mac_address");
    let Some(networks) = SERVICE.get(service, "networks") else {
        // Only this makes the default network differ from what it is anyway.
        let mac = parsed(mac, "a hardware address", problems)?;
        return Some(vec![ServiceNetwork {
            network: DEFAULT_NETWORK.to_owned(),
            span: service.span,
            mac: Some(mac),
            ..ServiceNetwork::default()
        }]);
    };
    let mut all = Vec::new();
    for (key, node) in keyed(networks) {
        let get = |name: &str| SERVICE_NETWORK.get(node?, name);
        let priority: i32 = parsed(get("priority"), "a number", problems).unwrap_or(0);
        let network = ServiceNetwork {
            network: key.value,
            span: key.span,
            aliases: texts(get("aliases")),
            address: parsed(get("ipv4_address"), ADDRESS, problems),
            mac: parsed(get("mac_address"), "a hardware address", problems),
        };
        all.push((priority, network));
    }
    all.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
    let mut all: Vec<ServiceNetwork> = all.into_iter().map(|(_, network)| network).collect();
    if let Some(first) = all.first_mut()
        && first.mac.is_none()
    {
        first.mac = parsed(mac, "a hardware address", problems);
    }
    Some(all)
}

/// Parses `NAME:ADDRESS`, `NAME=ADDRESS` and a mapping of them.
fn extra_hosts(node: Option<&Node>, problems: &mut Problems) -> Vec<ExtraHost> {
    let Some(node) = node else {
        return Vec::new();
    };
    let mut pairs: Vec<(String, Vec<String>, Span)> = Vec::new();
    for entry in node.entries() {
        let one = entry.value.text().map(|text| vec![text.value]);
        let addresses = one.unwrap_or_else(|| texts(Some(&entry.value)));
        pairs.push((entry.key.value.clone(), addresses, entry.key.span));
    }
    for item in node.items().iter().filter_map(Node::text) {
        let (name, address) = item
            .value
            .split_once('=')
            .or_else(|| item.value.split_once(':'))
            .unwrap_or((&item.value, ""));
        pairs.push((name.to_owned(), vec![address.to_owned()], item.span));
    }
    let mut hosts = Vec::new();
    for (name, addresses, span) in pairs {
        let addresses = addresses.iter().flat_map(|text| text.split(','));
        for text in addresses {
            let bare = text.trim().trim_matches(['[', ']']);
            let address = match bare {
                "host-gateway" => Some(HostAddress::Host),
                _ => bare.parse().ok().map(HostAddress::Ip),
            };
            let is_name =
                !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '#');
            let Some(address) = address.filter(|_| is_name) else {
                let why = "it is not a name and an address, such as `db:10.0.0.5`";
                wrong(problems, &format!("{name}:{text}"), why, span);
                continue;
            };
            let name = name.clone();
            hosts.push(ExtraHost { name, address });
        }
    }
    hosts
}

fn watch_rules(service: &Node, problems: &mut Problems) -> Vec<WatchRule> {
    let rules = SERVICE
        .get(service, "develop")
        .and_then(|develop| DEVELOP.get(develop, "watch"));
    let mut all = Vec::new();
    for item in rules.map(Node::items).unwrap_or_default() {
        let get = |name: &str| text(&WATCH, item, name);
        let patterns = |name: &str| match get(name) {
            Some(one) => vec![one],
            None => texts(WATCH.get(item, name)),
        };
        let action = match get("action").as_deref() {
            Some("rebuild") => WatchAction::Rebuild,
            Some("restart") => WatchAction::Restart,
            Some("sync") => WatchAction::Sync,
            Some("sync+restart") => WatchAction::SyncRestart,
            Some(action @ "sync+exec") => {
                let why = "a machine runs one program, and cannot start another";
                wrong(problems, action, why, item.span);
                continue;
            }
            // It was reported.
            Some(_) | None => continue,
        };
        let target = get("target");
        let syncs = matches!(action, WatchAction::Sync | WatchAction::SyncRestart);
        if syncs && !target.as_ref().is_some_and(|path| path.starts_with('/')) {
            let why = "it needs a `target` with an absolute path";
            wrong(problems, "sync", why, item.span);
        }
        all.push(WatchRule {
            path: get("path").unwrap_or_default(),
            action,
            target,
            ignore: patterns("ignore"),
            include: patterns("include"),
            span: item.span,
        });
    }
    all
}

fn is_isolated(mode: &Node, problems: &mut Problems) -> bool {
    let Some(said) = mode.text() else {
        return false;
    };
    match said.value.as_str() {
        "none" => true,
        // That it has no ports of the host is named elsewhere.
        "bridge" | "default" | "host" => false,
        _ => {
            let why = "a machine has cards of its own, and shares those of nothing else";
            wrong(problems, &said.value, why, said.span);
            false
        }
    }
}

fn servers(node: Option<&Node>, problems: &mut Problems) -> Vec<std::net::Ipv4Addr> {
    let Some(node) = node else {
        return Vec::new();
    };
    let one = std::slice::from_ref(node);
    let items = if node.items().is_empty() {
        one
    } else {
        node.items()
    };
    // The value of a variable that is not set.
    let is_empty = |item: &&Node| item.text().is_some_and(|text| text.value.is_empty());
    let items = items.iter().filter(|item| !is_empty(item));
    items
        .filter_map(|item| parsed(Some(item), ADDRESS, problems))
        .collect()
}

fn health(service: &Node, problems: &mut Problems) -> Option<Health> {
    let own = text(&SERVICE, service, "x-kraft-health");
    let check = SERVICE.get(service, "healthcheck");
    let get = |name: &str| HEALTH.get(check?, name);
    let test = get("test");
    let words = match test.and_then(Node::text) {
        Some(line) => vec!["CMD-SHELL".to_owned(), line.value],
        None => texts(test),
    };
    let is_off = flag(get("disable"), false) || words.first().is_some_and(|word| word == "NONE");
    if own.is_none() && (is_off || words.is_empty()) {
        return None;
    }
    let probe = match &own {
        Some(said) => {
            let probe = own_probe(said);
            if probe.is_none() {
                let span = SERVICE
                    .get(service, "x-kraft-health")
                    .map_or(service.span, |node| node.span);
                let why = "write `tcp:PORT` or `http:PORT[/PATH]`";
                wrong(problems, said, why, span);
            }
            probe
        }
        None => health::probe(&words),
    };
    Some(Health {
        probe,
        interval: duration(get("interval"), problems),
        timeout: duration(get("timeout"), problems),
        start_period: duration(get("start_period"), problems),
        retries: parsed(get("retries"), "a number", problems),
    })
}

fn sleep_after(node: Option<&Node>, problems: &mut Problems) -> Option<Duration> {
    let node = node?;
    let time = duration(Some(node), problems)?;
    if time < SHORTEST_SLEEP {
        let said = node.text().map(|text| text.value).unwrap_or_default();
        let why = format!("expected at least {} ms", SHORTEST_SLEEP.as_millis());
        wrong(problems, &said, &why, node.span);
        return None;
    }
    Some(time)
}

/// Parses the value of `x-kraft-health`: `tcp:5432`, `http:8080/health`.
fn own_probe(text: &str) -> Option<HealthProbe> {
    let (kind, rest) = text.split_once(':')?;
    match kind {
        "tcp" => {
            let port = rest.trim().parse().ok().filter(|port| *port > 0)?;
            Some(HealthProbe::Tcp { port })
        }
        "http" => HealthProbe::http(rest.trim()).ok(),
        _ => None,
    }
}

fn cpus(node: &Node, problems: &mut Problems) -> Option<u32> {
    let limits = SERVICE
        .get(node, "deploy")
        .and_then(|deploy| DEPLOY.get(deploy, "resources"))
        .and_then(|resources| RESOURCES.get(resources, "limits"))
        .and_then(|limits| AMOUNTS.get(limits, "cpus"));
    let said = SERVICE.get(node, "cpus").or(limits)?;
    let number: f64 = parsed(Some(said), "a number of processors", problems)?;
    if !(0.0..=1024.0).contains(&number) {
        let why = "it is not a number of processors";
        wrong(problems, &number.to_string(), why, said.span);
        return None;
    }
    (1..=1024_u32).find(|whole| f64::from(*whole) >= number)
}

/// Returns the configs and secrets of a service.
fn files(node: &Node, problems: &mut Problems) -> Vec<FileMount> {
    let mut files = Vec::new();
    for (key, secret) in [("configs", false), ("secrets", true)] {
        let items = SERVICE.get(node, key).map(Node::items).unwrap_or_default();
        for item in items {
            let whole = item.text().map(|text| text.value);
            let get = |name: &str| FILE_MOUNT.get(item, name).and_then(Node::text);
            let source = whole.or_else(|| get("source").map(|text| text.value));
            let Some(source) = source else { continue };
            let target = get("target").map_or_else(|| source.clone(), |text| text.value);
            let target = match (target.starts_with('/'), secret) {
                (true, _) => target,
                (false, true) => format!("/run/secrets/{target}"),
                (false, false) => format!("/{target}"),
            };
            let mode = get("mode").map(|text| {
                let digits = text.value.trim_start_matches("0o");
                let mode = u32::from_str_radix(digits, 8).ok();
                let mode = mode.filter(|mode| *mode <= 0o777);
                if mode.is_none() {
                    let why = "it is not a mode, such as 0440";
                    wrong(problems, &text.value, why, text.span);
                }
                mode.unwrap_or(0o444)
            });
            files.push(FileMount {
                source,
                secret,
                target,
                mode: mode.unwrap_or(0o444),
                span: item.span,
            });
        }
    }
    files
}

fn pull_policy(node: Option<&Node>, problems: &mut Problems) -> PullPolicy {
    let Some(said) = node.and_then(Node::text) else {
        return PullPolicy::Missing;
    };
    match said.value.as_str() {
        "always" | "refresh" => PullPolicy::Always,
        "missing" | "if_not_present" | "daily" | "weekly" => PullPolicy::Missing,
        "never" => PullPolicy::Never,
        "build" => PullPolicy::Build,
        other if other.starts_with("every_") => PullPolicy::Missing,
        other => {
            let why = "it is neither always, missing, never nor build";
            wrong(problems, other, why, said.span);
            PullPolicy::Missing
        }
    }
}

fn file_source(entry: &Entry) -> FileSource {
    let node = &entry.value;
    let get = |name: &str| text(&FILE_SOURCE, node, name);
    let content = get("content").map(FileContent::Text);
    let content = content.or_else(|| get("environment").map(FileContent::Variable));
    FileSource {
        key: entry.key.value.clone(),
        content: content.or_else(|| get("file").map(FileContent::File)),
        span: entry.key.span,
    }
}

/// Returns the name of a network or a volume, which files of version 2 have below `external`.
fn name(record: &Record, node: &Node) -> Option<String> {
    let old = || {
        let external = record.get(node, "external")?;
        text(&EXTERNAL_NAME, external, "name")
    };
    text(record, node, "name").or_else(old)
}

fn is_external(record: &Record, node: &Node) -> bool {
    let external = record.get(node, "external");
    flag(
        external,
        external.is_some_and(|it| !it.entries().is_empty()),
    )
}

fn network(entry: &Entry, problems: &mut Problems) -> Network {
    let node = &entry.value;
    let pool = NETWORK
        .get(node, "ipam")
        .and_then(|ipam| IPAM.get(ipam, "config"))
        .and_then(|config| config.items().first());
    let get = |name: &str| pool.and_then(|pool| SUBNET.get(pool, name));
    Network {
        key: entry.key.value.clone(),
        span: entry.key.span,
        name: name(&NETWORK, node),
        subnet: get("subnet").and_then(Node::text),
        gateway: parsed(get("gateway"), ADDRESS, problems),
        internal: flag(NETWORK.get(node, "internal"), false),
        external: is_external(&NETWORK, node),
    }
}

fn build(node: &Node) -> Build {
    if let Some(context) = node.text() {
        return Build {
            context: context.value,
            ..Build::default()
        };
    }
    Build {
        context: text(&BUILD, node, "context").unwrap_or_else(|| ".".to_owned()),
        dockerfile: text(&BUILD, node, "dockerfile"),
        args: BUILD.get(node, "args").map(variables).unwrap_or_default(),
        dockerfile_inline: text(&BUILD, node, "dockerfile_inline"),
        target: text(&BUILD, node, "target"),
    }
}

/// A command line, or a list of arguments.
fn command(node: &Node, problems: &mut Problems) -> Option<Vec<String>> {
    if let Some(line) = node.text() {
        return match shell_words::split(&line.value) {
            Ok(words) => Some(words),
            Err(quote) => {
                let problem = Problem::error(format!("the quote {quote} is never closed"));
                problems.push(problem.at(line.span));
                None
            }
        };
    }
    Some(texts(Some(node)))
}

fn texts(node: Option<&Node>) -> Vec<String> {
    let names = node.map(names).unwrap_or_default();
    names.into_iter().map(|name| name.value).collect()
}

/// The strings of a list, or the keys of a mapping.
fn names(node: &Node) -> Vec<Located<String>> {
    match &node.value {
        Value::List(items) => items.iter().filter_map(Node::text).collect(),
        Value::Map(entries) => entries.iter().map(|entry| entry.key.clone()).collect(),
        Value::Scalar(_) => Vec::new(),
    }
}

fn variables(node: &Node) -> Vec<Variable> {
    match &node.value {
        Value::Map(entries) => entries
            .iter()
            .map(|entry| Variable {
                name: entry.key.value.clone(),
                value: entry.value.text().map(|text| text.value),
            })
            .collect(),
        Value::List(_) => names(node)
            .into_iter()
            .map(|text| match text.value.split_once('=') {
                Some((name, value)) => Variable {
                    name: name.to_owned(),
                    value: Some(value.to_owned()),
                },
                None => Variable {
                    name: text.value,
                    value: None,
                },
            })
            .collect(),
        Value::Scalar(_) => Vec::new(),
    }
}

fn env_files(node: &Node) -> Vec<EnvFile> {
    let file = |path: String| EnvFile {
        path,
        required: true,
        raw: false,
    };
    if let Some(path) = node.text() {
        return vec![file(path.value)];
    }
    let one = |item: &Node| match item.text() {
        Some(path) => Some(file(path.value)),
        None => Some(EnvFile {
            path: text(&ENV_FILE, item, "path")?,
            required: flag(ENV_FILE.get(item, "required"), true),
            raw: text(&ENV_FILE, item, "format").is_some(),
        }),
    };
    node.items().iter().filter_map(one).collect()
}

/// Reports an invalid value.
fn wrong(problems: &mut Problems, shown: &str, why: impl Display, span: Span) {
    problems.push(Problem::error(format!("`{shown}`: {why}")).at(span));
}

/// The maximum number of ports of a service.
const MOST_PORTS: usize = 4096;

fn ports(node: Option<&Node>, problems: &mut Problems) -> Vec<Port> {
    let mut all = Vec::new();
    for item in node.map(Node::items).unwrap_or_default() {
        let (shown, ports) = match item.text() {
            Some(text) => (text.value.clone(), short::ports(&text.value, text.span)),
            None => (
                text(&PORT, item, "target").unwrap_or_default(),
                long_ports(item),
            ),
        };
        match ports {
            Ok(ports) if all.len() + ports.len() > MOST_PORTS => {
                let why = "a service publishes at most 4096 ports";
                wrong(problems, &shown, why, item.span);
                break;
            }
            Ok(ports) => all.extend(ports),
            Err(why) => wrong(problems, &shown, why, item.span),
        }
    }
    all
}

fn long_ports(item: &Node) -> Result<Vec<Port>, &'static str> {
    let get = |name: &str| text(&PORT, item, name);
    let target = get("target").unwrap_or_default();
    let protocol = get("protocol");
    short::pair(
        get("host_ip").as_deref(),
        get("published").as_deref(),
        &target,
        protocol.as_deref().unwrap_or("tcp"),
        item.span,
    )
}

fn mounts(node: Option<&Node>, problems: &mut Problems) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for item in node.map(Node::items).unwrap_or_default() {
        let (shown, mount) = if let Some(text) = item.text() {
            (text.value.clone(), short::mount(&text.value, text.span))
        } else {
            let target = text(&MOUNT, item, "target").unwrap_or_default();
            (target.clone(), long_mount(item, target))
        };
        match mount {
            Ok(mount) => mounts.push(mount),
            Err(why) => wrong(problems, &shown, why, item.span),
        }
    }
    mounts
}

fn long_mount(item: &Node, target: String) -> Result<Mount, &'static str> {
    if !target.starts_with('/') {
        return Err("the target is not an absolute path");
    }
    let options = MOUNT.get(item, "volume");
    if options.is_some_and(|options| VOLUME_OPTIONS.get(options, "subpath").is_some()) {
        // A guest could replace the directory by a link out of the volume.
        return Err("a machine mounts a whole volume, not a `subpath` of it");
    }
    let source = text(&MOUNT, item, "source");
    let kind = match text(&MOUNT, item, "type").as_deref() {
        Some("volume") | None => MountKind::Volume,
        Some("bind") => MountKind::Bind,
        Some("tmpfs") => MountKind::Memory,
        Some(_) => return Err("its type is neither volume, bind nor tmpfs"),
    };
    match (kind, source) {
        (MountKind::Memory | MountKind::Anonymous, _) => {
            Ok(short::unnamed(MountKind::Memory, target, item.span))
        }
        (MountKind::Volume, None) => Ok(short::unnamed(MountKind::Anonymous, target, item.span)),
        (MountKind::Bind, None) => Err("a mount of a directory has no `source`"),
        (kind, Some(source)) => Ok(Mount {
            kind,
            source,
            target,
            read_only: flag(MOUNT.get(item, "read_only"), false),
            span: item.span,
        }),
    }
}

/// The memory limit, otherwise the reservation.
fn memory(node: &Node, problems: &mut Problems) -> Option<u64> {
    let resources = SERVICE
        .get(node, "deploy")
        .and_then(|deploy| DEPLOY.get(deploy, "resources"));
    let amount = |name: &str| {
        let amounts = RESOURCES.get(resources?, name)?;
        AMOUNTS.get(amounts, "memory")
    };
    let said = SERVICE
        .get(node, "mem_limit")
        .or_else(|| amount("limits"))
        .or_else(|| SERVICE.get(node, "mem_reservation"))
        .or_else(|| amount("reservations"))?;
    bytes(said, problems)
}

fn bytes(node: &Node, problems: &mut Problems) -> Option<u64> {
    let said = node.text()?;
    let bytes = short::bytes(&said.value);
    if bytes.is_none() {
        wrong(
            problems,
            &said.value,
            "it is not a valid amount, such as `256m`",
            said.span,
        );
    }
    bytes
}

fn replicas(node: &Node, problems: &mut Problems) -> Option<u32> {
    let said = SERVICE
        .get(node, "deploy")
        .and_then(|deploy| DEPLOY.get(deploy, "replicas"))
        .or_else(|| SERVICE.get(node, "scale"));
    parsed(said, "a number", problems)
}

/// Returns the policy of `restart`, else that of `deploy`.
fn restart(node: &Node, problems: &mut Problems) -> Option<RestartPolicy> {
    let Some(said) = SERVICE.get(node, "restart").and_then(Node::text) else {
        let deploy = SERVICE.get(node, "deploy")?;
        let policy = DEPLOY.get(deploy, "restart_policy")?;
        let most = RESTART.get(policy, "max_attempts");
        return Some(match text(&RESTART, policy, "condition").as_deref() {
            Some("none") => RestartPolicy::No,
            Some("on-failure") => RestartPolicy::OnFailure(parsed(most, "a number", problems)),
            _ => RestartPolicy::Always,
        });
    };
    match said.value.as_str() {
        "no" | "false" | "never" => Some(RestartPolicy::No),
        policy => {
            let policy = policy.parse();
            if policy.is_err() {
                let why = "it is neither no, always, on-failure nor unless-stopped";
                wrong(problems, &said.value, why, said.span);
            }
            policy.ok()
        }
    }
}

fn volume(entry: &Entry, problems: &mut Problems) -> Volume {
    let node = &entry.value;
    let size = VOLUME.get(node, "driver_opts").and_then(|options| {
        let mut options = options.entries().iter();
        options.find(|option| option.key.value == "size")
    });
    Volume {
        key: entry.key.value.clone(),
        name: name(&VOLUME, node),
        size: size.and_then(|option| bytes(&option.value, problems)),
        external: is_external(&VOLUME, node),
    }
}
