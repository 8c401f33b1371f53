//! Properties of a new instance that only today's platform knows.

use clap::ValueEnum;
use kraft_cloud::request::Id;
use kraft_cloud::resources::instances;
use kraft_core::shell_words;
use kraft_sys::fs;
use serde_json::{Map, Value, json};

use super::shape::value_name;
use crate::failure::Failure;

/// Largest file that is sent inline in a ROM, in bytes.
const LARGEST_FILE: u64 = 4 << 20;

/// The kind of virtual machine of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Small and fast
    Micro,
    /// With devices such as GPUs; without scale-to-zero, templates and checkpoints
    Full,
}

/// Tags, plugins, ROMs and the like.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
pub(crate) struct FeatureArgs {
    /// Set a tag
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,

    /// Set an annotation, which the application can read
    #[arg(long, value_name = "KEY=VALUE")]
    annotation: Vec<String>,

    /// Host name inside the instance
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,

    /// Add a read-only disk: an image, or files separated by commas
    #[arg(long, value_name = "NAME[@PATH]=IMAGE|FILE,…")]
    rom: Vec<String>,

    /// Load a plugin
    #[arg(long, value_name = "NAME=IMAGE")]
    plugin: Vec<String>,

    /// Start, stop or delete the instance at these times (calendar events of systemd), or run a
    /// command in it: `exec=WHEN=COMMAND`
    #[arg(long, value_name = "ACTION=WHEN")]
    schedule: Vec<String>,

    /// Delete the instance when it was idle for this time
    #[arg(long, value_name = "TIME", value_parser = crate::commands::values::duration)]
    autokill: Option<std::time::Duration>,

    /// Delete the instance after this number of requests
    #[arg(long, value_name = "N")]
    autokill_requests: Option<u64>,

    /// Add a network interface: `ip=…`, `mac=…`, `name=…`, separated by commas
    #[arg(long, value_name = "KEY=VALUE,…")]
    network_interface: Vec<String>,

    /// Kind of virtual machine
    #[arg(long = "type", value_name = "TYPE")]
    machine_type: Option<Kind>,

    /// Number of GPUs, for `--type full`
    #[arg(long, value_name = "N")]
    gpus: Option<u32>,
}

/// What a new instance is cloned from.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
pub(crate) struct OriginArgs {
    /// Clone this template
    #[arg(long, value_name = "TEMPLATE", conflicts_with_all = ["checkpoint", "branch_from"])]
    template: Option<String>,

    /// Restore this checkpoint
    #[arg(long, value_name = "CHECKPOINT", conflicts_with = "branch_from")]
    checkpoint: Option<String>,

    /// Copy this instance as it is now
    #[arg(long, value_name = "INSTANCE")]
    branch_from: Option<String>,
}

impl OriginArgs {
    /// Returns the field of the request and the name, if one is selected.
    pub(crate) fn field(&self) -> Option<(&'static str, &str)> {
        let all = [
            ("template", &self.template),
            ("checkpoint", &self.checkpoint),
            ("branch_from", &self.branch_from),
        ];
        all.into_iter()
            .find_map(|(field, name)| Some((field, name.as_deref()?)))
    }

    /// Returns the field of the request.
    pub(crate) fn fields(&self) -> Map<String, Value> {
        let field = self.field();
        field
            .map(|(field, name)| (field.to_owned(), json!(Id::new(name))))
            .into_iter()
            .collect()
    }
}

impl FeatureArgs {
    /// Returns the fields of the request.
    pub(crate) fn fields(&self) -> Result<Map<String, Value>, Failure> {
        let mut all = Map::new();
        let mut set = |name: &str, value: Value| {
            all.insert(name.to_owned(), value);
        };
        if !self.tag.is_empty() {
            set("tags", json!(self.tag));
        }
        if !self.annotation.is_empty() {
            set("annotations", Value::Object(pairs(&self.annotation)?));
        }
        if let Some(name) = &self.hostname {
            set("hostname", json!(name));
        }
        let roms: Vec<Value> = each(&self.rom, rom)?;
        if !roms.is_empty() {
            set("roms", json!(roms));
        }
        let plugin = |text: &str| {
            let (name, image) = pair(text)?;
            Ok(json!({"name": name, "image": image}))
        };
        let plugins: Vec<Value> = each(&self.plugin, plugin)?;
        if !plugins.is_empty() {
            set("plugins", json!(plugins));
        }
        let mut schedules: Vec<Value> = each(&self.schedule, schedule)?;
        name_apart(&mut schedules);
        if !schedules.is_empty() {
            set("schedules", json!(schedules));
        }
        let mut kill = Map::new();
        if let Some(time) = self.autokill {
            let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            kill.insert("time_ms".to_owned(), json!(ms));
        }
        if let Some(count) = self.autokill_requests {
            kill.insert("num_requests".to_owned(), json!(count));
        }
        if !kill.is_empty() {
            set("autokill", Value::Object(kill));
        }
        let interface = |text: &str| {
            let parts: Vec<String> = text.split(',').map(str::to_owned).collect();
            let own = pairs(&parts)?;
            let known = ["name", "tap_name", "ip", "mac"];
            match own.keys().find(|key| !known.contains(&key.as_str())) {
                Some(key) => Err(Failure::usage(format!(
                    "`{key}` is not a property of a network interface: expected {}",
                    known.join(", ")
                ))),
                None => Ok(Value::Object(own)),
            }
        };
        let interfaces: Vec<Value> = each(&self.network_interface, interface)?;
        if !interfaces.is_empty() {
            set("network_interfaces", json!(interfaces));
        }
        if let Some(kind) = &self.machine_type {
            set("type", json!(value_name(kind)));
        }
        if let Some(gpus) = self.gpus {
            if gpus > 0 && self.machine_type != Some(Kind::Full) {
                return Err(Failure::usage("`--gpus` needs `--type full`"));
            }
            set("gpus", json!(gpus));
        }
        Ok(all)
    }
}

fn each(
    texts: &[String],
    parse: impl Fn(&str) -> Result<Value, Failure>,
) -> Result<Vec<Value>, Failure> {
    texts.iter().map(|text| parse(text)).collect()
}

fn pair(text: &str) -> Result<(&str, &str), Failure> {
    let wrong = || Failure::usage(format!("`{text}` is not NAME=VALUE"));
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    if name.is_empty() || value.is_empty() {
        return Err(wrong());
    }
    Ok((name, value))
}

fn pairs(texts: &[String]) -> Result<Map<String, Value>, Failure> {
    let pairs = texts.iter().map(|text| pair(text));
    pairs
        .map(|pair| pair.map(|(name, value)| (name.to_owned(), json!(value))))
        .collect()
}

/// Parses a schedule: `ACTION=WHEN`, or `exec=WHEN=COMMAND`.
fn schedule(text: &str) -> Result<Value, Failure> {
    let (action, when) = pair(text)?;
    match action {
        "start" | "stop" | "delete" => Ok(json!({"action": action, "when": when})),
        "exec" => {
            let (when, command) = when.split_once('=').ok_or_else(|| {
                Failure::usage(format!("`{text}` has no command"))
                    .hint("write `exec=WHEN=COMMAND`, such as `exec=daily=/bin/backup --all`")
            })?;
            let args = shell_words::split(command)
                .map_err(|error| Failure::usage(format!("`{command}`: {error}")))?;
            if args.is_empty() {
                return Err(Failure::usage(format!("`{text}` has no command")));
            }
            Ok(json!({"action": action, "when": when, "args": args}))
        }
        _ => Err(Failure::usage(format!(
            "`{action}` is not an action: expected start, stop, delete or exec"
        ))),
    }
}

/// Names each schedule after its action; the names of schedules of one instance differ.
fn name_apart(schedules: &mut [Value]) {
    let mut actions: Vec<Value> = Vec::new();
    for one in schedules {
        let action = one.get("action").cloned().unwrap_or_default();
        actions.push(action.clone());
        let count = actions.iter().filter(|known| **known == action).count();
        let action = action.as_str().unwrap_or_default();
        let name = if count > 1 {
            format!("{action}-{count}")
        } else {
            action.to_owned()
        };
        if let Some(own) = one.as_object_mut() {
            own.insert("name".to_owned(), json!(name));
        }
    }
}

/// Parses a ROM: local files are sent inline, any other text is an image.
fn rom(text: &str) -> Result<Value, Failure> {
    let (name, content) = pair(text)?;
    let (name, at) = match name.split_once('@') {
        Some((name, at)) => (name, Some(at)),
        None => (name, None),
    };
    let mut rom = json!({"name": name});
    let Some(own) = rom.as_object_mut() else {
        return Ok(rom);
    };
    if let Some(at) = at {
        own.insert("at".to_owned(), json!(at));
    }
    let paths: Vec<&std::path::Path> = content.split(',').map(std::path::Path::new).collect();
    if !paths.iter().all(|path| path.is_file()) {
        own.insert("image".to_owned(), json!(content));
        return Ok(rom);
    }
    let mut files = Vec::new();
    for path in paths {
        let bytes = fs::read_file(path, LARGEST_FILE)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        files.push(instances::inline_file(&name, &bytes));
    }
    own.insert("files".to_owned(), json!(files));
    Ok(rom)
}
