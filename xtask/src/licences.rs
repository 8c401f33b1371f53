//! The licences of the crates in the kernels of the built-in runtime, which are part of the kraft
//! program.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Returns the text of `runtime/LICENSES`: each crate with its version and its licences.
pub(crate) fn text(root: &Path) -> Result<String, Vec<String>> {
    let fail = |why: String| vec![format!("cannot list the crates of runtime/: {why}")];
    #[expect(
        clippy::disallowed_methods,
        reason = "the workspace's chores are not part of the product and do not import kraft-sys"
    )]
    let output = Command::new("cargo")
        .args(["metadata", "--format-version=1", "--locked"])
        .args(["--filter-platform=x86_64-unknown-none", "--manifest-path"])
        .arg(root.join("runtime/Cargo.toml"))
        .output()
        .map_err(|error| fail(error.to_string()))?;
    if !output.status.success() {
        return Err(fail(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| fail(error.to_string()))?;
    let list = |at: &str| {
        let list = metadata.pointer(at).and_then(Value::as_array);
        list.into_iter().flatten()
    };
    let field = |of: &Value, name: &str| {
        let text = of.get(name).and_then(Value::as_str);
        text.map(ToOwned::to_owned)
    };
    let used: BTreeSet<String> = list("/resolve/nodes")
        .filter_map(|node| field(node, "id"))
        .collect();
    let mut lines = BTreeSet::new();
    for package in list("/packages") {
        let is_used = field(package, "id").is_some_and(|id| used.contains(&id));
        // The kernel itself has no source.
        if !is_used || field(package, "source").is_none() {
            continue;
        }
        let shown = |name| field(package, name).unwrap_or_else(|| "unknown".to_owned());
        lines.insert(format!(
            "{} {}: {}",
            shown("name"),
            shown("version"),
            shown("license")
        ));
    }
    let mut text = String::from(
        "The built-in runtime contains, or is made with, these crates under these licences:\n\n",
    );
    for line in lines {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    }
    Ok(text)
}
