//! `kraft cloud instance edit`, and what it has in common with other changes in place.

use kraft_cloud::request::Id;
use kraft_cloud::resources::instances;
use kraft_cloud::resources::{self, Change};
use serde_json::{Value, json};

use crate::app::App;
use crate::failure::Failure;
use kraft_deploy::edit::{self, Outcome};
use kraft_deploy::{Cloud, volumes};

/// Change an instance in place, and print what changed
///
/// A value is JSON, or a text. What a running application cannot see before it is restarted is
/// printed as pending.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft cloud instance edit --memory 256 web
  kraft cloud instance edit --env LOG=debug --tag prod web
  kraft cloud instance edit --set 'scale_to_zero={\"policy\":\"on\"}' --unset autokill web")]
pub(super) struct Args {
    /// Name or UUID
    instance: String,

    /// Memory, such as 64Mi or 1G; a number without a unit is in MiB
    #[arg(short = 'M', long, value_name = "SIZE")]
    memory: Option<String>,

    /// Number of virtual CPUs
    #[arg(short = 'V', long, value_name = "N")]
    vcpus: Option<u32>,

    /// Image
    #[arg(short, long, value_name = "IMAGE")]
    image: Option<String>,

    /// Set an environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,

    /// Remove an environment variable
    #[arg(long, value_name = "NAME")]
    unset_env: Vec<String>,

    /// Add a tag
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,

    /// Remove a tag
    #[arg(long, value_name = "TAG")]
    untag: Vec<String>,

    /// Protect the instance from its removal, or not
    #[arg(long, value_name = "BOOL")]
    lock: Option<bool>,

    /// Set a property
    #[arg(long, value_name = "PROPERTY=VALUE")]
    set: Vec<String>,

    /// Add members to a property
    #[arg(long, value_name = "PROPERTY=VALUE")]
    add: Vec<String>,

    /// Remove members of a property
    #[arg(long, value_name = "PROPERTY=VALUE")]
    remove: Vec<String>,

    /// Remove a property
    #[arg(long, value_name = "PROPERTY")]
    unset: Vec<String>,

    /// Print what would be changed, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// The properties of every resource that can be tagged.
#[derive(Debug, clap::Args)]
pub(super) struct TagArgs {
    /// Name or UUID
    name: String,

    /// Add a tag
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,

    /// Remove a tag
    #[arg(long, value_name = "TAG")]
    untag: Vec<String>,

    /// Protect it from its removal, or not
    #[arg(long, value_name = "BOOL")]
    lock: Option<bool>,

    /// Print what would be changed, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Changes a resource of a collection as `TagArgs` describe it.
pub(super) fn tags(
    app: &App,
    cloud: &Cloud,
    collection: &[&str],
    args: &TagArgs,
) -> Result<(), Failure> {
    let changes = tag_changes(&args.tag, &args.untag, args.lock);
    run(app, cloud, collection, &args.name, &changes, args.dry_run)
}

fn tag_changes(tag: &[String], untag: &[String], lock: Option<bool>) -> Vec<Change> {
    let change = |prop: &str, op, value| Change {
        prop: prop.to_owned(),
        op,
        value: Some(value),
    };
    let mut all = Vec::new();
    for (op, tags) in [("add", tag), ("del", untag)] {
        if !tags.is_empty() {
            all.push(change("tags", op, json!(tags)));
        }
    }
    all.extend(lock.map(|lock| change("delete_lock", "set", json!(lock))));
    all
}

impl Args {
    fn changes(&self) -> Result<Vec<Change>, Failure> {
        let mut all = Vec::new();
        let mut change = |prop: &str, op, value| {
            all.push(Change {
                prop: prop.to_owned(),
                op,
                value,
            });
        };
        if let Some(memory) = &self.memory {
            change("memory_mb", "set", Some(json!(volumes::mebibytes(memory)?)));
        }
        if let Some(vcpus) = self.vcpus {
            change("vcpus", "set", Some(json!(vcpus)));
        }
        if let Some(image) = &self.image {
            change("image", "set", Some(json!(image)));
        }
        if !self.env.is_empty() {
            let pairs: Result<serde_json::Map<String, Value>, Failure> = self
                .env
                .iter()
                .map(|text| pair(text).map(|(name, value)| (name.to_owned(), json!(value))))
                .collect();
            change("env", "add", Some(json!(pairs?)));
        }
        if !self.unset_env.is_empty() {
            change("env", "del", Some(json!(self.unset_env)));
        }
        for (op, texts) in [
            ("set", &self.set),
            ("add", &self.add),
            ("del", &self.remove),
        ] {
            for text in texts {
                let (name, value) = pair(text)?;
                change(known(name)?, op, Some(parse(value)));
            }
        }
        for name in &self.unset {
            change(known(name)?, "del", None);
        }
        all.extend(tag_changes(&self.tag, &self.untag, self.lock));
        Ok(all)
    }
}

fn pair(text: &str) -> Result<(&str, &str), Failure> {
    text.split_once('=')
        .ok_or_else(|| Failure::usage(format!("`{text}` is not NAME=VALUE")))
}

fn known(name: &str) -> Result<&str, Failure> {
    if instances::PROPERTIES.contains(&name) {
        return Ok(name);
    }
    let all = instances::PROPERTIES.join(", ");
    Err(
        Failure::usage(format!("`{name}` is not a property that can be changed"))
            .hint(format!("the properties are {all}")),
    )
}

/// Parses a value: JSON, else a text.
fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

pub(super) fn exec(app: &App, cloud: &Cloud, args: &Args) -> Result<(), Failure> {
    let changes = args.changes()?;
    run(
        app,
        cloud,
        &["instances"],
        &args.instance,
        &changes,
        args.dry_run,
    )
}

/// Changes a resource of a collection, and prints the difference.
pub(super) fn run(
    app: &App,
    cloud: &Cloud,
    collection: &[&str],
    name: &str,
    changes: &[Change],
    dry_run: bool,
) -> Result<(), Failure> {
    if changes.is_empty() {
        return Err(Failure::usage("nothing to change").hint("`--help` lists what can be changed"));
    }
    let id = Id::new(name);
    if dry_run {
        cloud.one(&resources::get(collection, &[id]))?;
        for change in changes {
            let value = change.value.as_ref().map(Value::to_string);
            app.ui.line(&format!(
                "{} {} {}",
                change.op,
                change.prop,
                value.unwrap_or_default()
            ))?;
        }
        return Ok(());
    }
    for changed in edit::apply(cloud, collection, &id, changes)? {
        let (prop, old) = (&changed.prop, shown(changed.old.as_ref()));
        let new = shown(changed.new.as_ref());
        app.ui.line(&match changed.outcome {
            Outcome::Pending => format!("{prop}: {old} (the change is pending until a restart)"),
            Outcome::Unreported => format!("{prop}: changed"),
            Outcome::Applied if old == new => format!("{prop}: {old} (unchanged)"),
            Outcome::Applied => format!("{prop}: {old} -> {new}"),
        })?;
    }
    Ok(())
}

/// Returns a property for display.
fn shown(value: Option<&Value>) -> String {
    match value {
        None => "none".to_owned(),
        // JSON escapes control characters.
        Some(text @ Value::String(_)) => text.to_string().trim_matches('"').to_owned(),
        Some(other) => other.to_string(),
    }
}
