//! `features`: what this runtime supports (OCI runtime specification, Features).

use std::time::Duration;

use kraft_sys::tool::Tool;
use serde_json::{Map, Value};

use crate::decide::ANNOTATIONS;
use crate::failure::Failure;
use crate::state::OCI_VERSION;
use crate::{Context, delegate, print};

/// How long the runtime for ordinary containers may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints what the runtime for ordinary containers supports, because engines decide by it what
/// they ask for, and what is this one's own.
pub(crate) fn exec(ctx: &Context<'_>) -> Result<(), Failure> {
    let mut features = of_delegate(ctx).unwrap_or_else(own);
    let annotations = features
        .entry("annotations")
        .or_insert_with(|| Value::Object(Map::new()));
    annotations["org.unikraft.runu.version"] = env!("CARGO_PKG_VERSION").into();
    let name = "potentiallyUnsafeConfigAnnotations";
    if let Value::Array(names) = features
        .entry(name)
        .or_insert_with(|| Value::Array(Vec::new()))
    {
        names.extend(ANNOTATIONS.map(Value::from));
    }
    print(&Value::from(features).to_string())
}

/// Asks the runtime for ordinary containers; `None` if there is none that knows this command.
fn of_delegate(ctx: &Context<'_>) -> Option<Map<String, Value>> {
    let program = delegate::find(ctx).ok()?;
    let output = Tool::new(program)
        .args(["features"])
        .limit(PATIENCE)
        .output()
        .ok()?;
    let features: Map<String, Value> = serde_json::from_slice(&output.stdout).ok()?;
    let annotations = features.get("annotations").is_none_or(Value::is_object);
    (output.status.success() && annotations).then_some(features)
}

/// Returns what this runtime supports without another.
fn own() -> Map<String, Value> {
    let features = serde_json::json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "poststart", "poststop"],
        "mountOptions": ["bind", "rbind", "ro", "rw", "private", "rprivate"],
        "linux": {
            "namespaces": ["network"],
            "cgroup": { "v1": true, "v2": true, "systemd": false, "systemdUser": false },
        },
    });
    match features {
        Value::Object(features) => features,
        _ => Map::new(),
    }
}
