//! Converts the YAML tree to a Compose file, including the short forms.

use crate::document::located::Located;
use crate::document::node::{Entry, Node, Value};
use crate::document::problems::Problems;
use crate::document::shape::{Record, is_extension};
use crate::problem::{Problem, Span};
use crate::shell_words;

use super::model::{Build, Compose, EnvFile, Mount, Port, Restart, Service, Variable, Volume};
use super::shape::{
    AMOUNTS, BUILD, DEPLOY, ENV_FILE, FILE, MOUNT, PORT, RESOURCES, SERVICE, VOLUME,
};
use super::short;

/// Converts a tree whose shape was checked.
pub(super) fn lower(root: &Node, problems: &mut Problems) -> Compose {
    let own = |entry: &&Entry| !is_extension(&entry.key.value);
    let services = FILE
        .get(root, "services")
        .map(Node::entries)
        .unwrap_or_default();
    let volumes = FILE
        .get(root, "volumes")
        .map(Node::entries)
        .unwrap_or_default();
    Compose {
        name: text(&FILE, root, "name"),
        services: services
            .iter()
            .filter(own)
            .map(|entry| service(entry, problems))
            .collect(),
        volumes: volumes
            .iter()
            .filter(own)
            .map(|entry| volume(entry, problems))
            .collect(),
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
        depends_on: get("depends_on").map(names).unwrap_or_default(),
        domain: text(&SERVICE, node, "domainname"),
        container_name: text(&SERVICE, node, "container_name"),
        memory: memory(node, problems),
        replicas: replicas(node, problems),
        restart: get("restart").and_then(|node| restart(node, problems)),
        attach: flag(get("attach"), true),
        profiles: texts(get("profiles")),
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
    scalar
        .and_then(crate::document::node::Scalar::as_bool)
        .unwrap_or(default)
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
    };
    if let Some(path) = node.text() {
        return vec![file(path.value)];
    }
    let one = |item: &Node| match item.text() {
        Some(path) => Some(file(path.value)),
        None => Some(EnvFile {
            path: text(&ENV_FILE, item, "path")?,
            required: flag(ENV_FILE.get(item, "required"), true),
        }),
    };
    node.items().iter().filter_map(one).collect()
}

/// Reports an invalid value.
fn wrong(problems: &mut Problems, shown: &str, why: &str, span: Span) {
    problems.push(Problem::error(format!("`{shown}`: {why}")).at(span));
}

fn ports(node: Option<&Node>, problems: &mut Problems) -> Vec<Port> {
    let mut ports = Vec::new();
    for item in node.map(Node::items).unwrap_or_default() {
        let (shown, port) = match item.text() {
            Some(text) => (text.value.clone(), short::port(&text.value, text.span)),
            None => (
                text(&PORT, item, "target").unwrap_or_default(),
                long_port(item),
            ),
        };
        match port {
            Ok(port) => ports.push(port),
            Err(why) => wrong(problems, &shown, why, item.span),
        }
    }
    ports
}

fn long_port(item: &Node) -> Result<Port, &'static str> {
    let target = text(&PORT, item, "target").unwrap_or_default();
    let published = text(&PORT, item, "published");
    let protocol = text(&PORT, item, "protocol");
    Ok(Port {
        published: published.as_deref().map(short::number).transpose()?,
        target: short::number(&target)?,
        protocol: protocol.unwrap_or_else(|| "tcp".to_owned()),
        span: item.span,
    })
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
    let source = text(&MOUNT, item, "source");
    if !target.starts_with('/') {
        return Err("the target is not an absolute path");
    }
    Ok(Mount {
        source: source.ok_or("a volume without a name is not kept: name it")?,
        target,
        read_only: flag(MOUNT.get(item, "read_only"), false),
        span: item.span,
    })
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
        .or_else(|| SERVICE.get(node, "scale"))?
        .text()?;
    let number = said.value.parse().ok();
    if number.is_none() {
        wrong(problems, &said.value, "it is not a number", said.span);
    }
    number
}

fn restart(node: &Node, problems: &mut Problems) -> Option<Restart> {
    let said = node.text()?;
    let word = said.value.split(':').next().unwrap_or_default();
    match word {
        "no" | "false" | "never" => Some(Restart::Never),
        "always" | "unless-stopped" => Some(Restart::Always),
        "on-failure" => Some(Restart::OnFailure),
        _ => {
            wrong(
                problems,
                &said.value,
                "it is neither no, always, on-failure nor unless-stopped",
                said.span,
            );
            None
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
        name: text(&VOLUME, node, "name"),
        size: size.and_then(|option| bytes(&option.value, problems)),
        external: flag(VOLUME.get(node, "external"), false),
    }
}
