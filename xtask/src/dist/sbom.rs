//! The software bill of materials: `CycloneDX` 1.5, from `cargo metadata` and Cargo.lock.
//!
//! It lists what is linked into the program for all release targets, not what only builds it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::run::output;
use super::{Description, TARGETS};
use crate::complain;

/// Runs `cargo metadata`.
pub(super) fn metadata(root: &Path, flags: &[&str]) -> Result<Value, Vec<String>> {
    let text = output(
        Command::new("cargo")
            .args(["metadata", "--format-version", "1", "--locked"])
            .args(flags)
            .current_dir(root),
    )?;
    serde_json::from_str(&text)
        .map_err(|error| vec![format!("cannot read `cargo metadata`: {error}")])
}

/// Returns the document.
pub(super) fn of(root: &Path, description: &Description) -> Result<String, Vec<String>> {
    let mut flags = Vec::new();
    for target in TARGETS {
        flags.extend(["--filter-platform", target]);
    }
    let metadata = metadata(root, &flags)?;
    let lock = root.join("Cargo.lock");
    let lock = std::fs::read_to_string(&lock).map_err(|error| complain("read", &lock, &error))?;
    let document = document(&metadata, &checksums(&lock), description);
    serde_json::to_string_pretty(&document)
        .map(|text| text + "\n")
        .map_err(|error| vec![format!("cannot write the SBOM: {error}")])
}

/// Returns the checksums of Cargo.lock by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let mut sums = BTreeMap::new();
    for package in lock.split("[[package]]") {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.trim_start_matches(" = ").trim_matches('"').to_owned())
        };
        if let (Some(name), Some(version), Some(sum)) =
            (value("name"), value("version"), value("checksum"))
        {
            sums.insert((name, version), sum);
        }
    }
    sums
}

fn document(
    metadata: &Value,
    sums: &BTreeMap<(String, String), String>,
    description: &Description,
) -> Value {
    let packages: BTreeMap<&str, &Value> = entries(&metadata["packages"])
        .map(|package| (text(package, "id"), package))
        .collect();
    let nodes: BTreeMap<&str, &Value> = entries(&metadata["resolve"]["nodes"])
        .map(|node| (text(node, "id"), node))
        .collect();
    let own = packages
        .iter()
        .find(|(_, package)| package["name"] == "kraft")
        .map_or("", |(id, _)| *id);
    // Everything that is reached by a normal dependency.
    let mut linked: BTreeSet<&str> = BTreeSet::new();
    let mut open = vec![own];
    while let Some(id) = open.pop() {
        if linked.insert(id) {
            open.extend(nodes.get(id).into_iter().flat_map(|node| needed(node)));
        }
    }
    let reference = |id: &str| {
        packages.get(id).map_or_else(String::new, |package| {
            format!(
                "pkg:cargo/{}@{}",
                text(package, "name"),
                text(package, "version")
            )
        })
    };
    let component = |id: &&str| {
        let package = packages.get(id)?;
        let (name, version) = (text(package, "name"), text(package, "version"));
        let mut component = json!({
            "type": "library",
            "bom-ref": reference(id),
            "name": name,
            "version": version,
            "purl": reference(id),
        });
        if let Some(license) = package["license"].as_str() {
            // The old separator of Rust's registry.
            let license = license.replace('/', " OR ");
            component["licenses"] = json!([{ "expression": license }]);
        }
        if let Some(sum) = sums.get(&(name.to_owned(), version.to_owned())) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
        }
        Some(component)
    };
    let others = linked.iter().filter(|id| **id != own);
    let components: Vec<Value> = others.filter_map(component).collect();
    let dependencies: Vec<Value> = linked
        .iter()
        .map(|id| {
            let mut needs: Vec<String> = nodes
                .get(id)
                .into_iter()
                .flat_map(|node| needed(node))
                .map(reference)
                .collect();
            needs.sort();
            json!({ "ref": reference(id), "dependsOn": needs })
        })
        .collect();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": rfc3339(description.epoch),
            "component": {
                "type": "application",
                "bom-ref": reference(own),
                "name": "kraft",
                "version": description.version,
                "purl": reference(own),
                "licenses": [{ "expression": description.license }],
            },
        },
        "components": components,
        "dependencies": dependencies,
    })
}

/// Returns the packages that a package links.
fn needed(node: &Value) -> impl Iterator<Item = &str> {
    entries(&node["deps"])
        .filter(|dep| entries(&dep["dep_kinds"]).any(|kind| kind["kind"].is_null()))
        .map(|dep| text(dep, "pkg"))
}

fn entries(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// Returns a time in UTC, by the algorithm for the civil calendar of days since 1970.
fn rfc3339(epoch: u64) -> String {
    let (days, seconds) = (epoch / 86400, epoch % 86400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_civil_calendar() {
        for (epoch, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(epoch), text);
        }
    }

    #[test]
    fn linked_crates_are_listed_with_their_checksums() {
        let description = Description {
            version: "1.2.3".to_owned(),
            summary: String::new(),
            license: "BSD-3-Clause".to_owned(),
            repository: String::new(),
            epoch: 0,
        };
        let metadata = json!({
            "packages": [
                { "id": "k", "name": "kraft", "version": "1.2.3" },
                { "id": "a", "name": "a", "version": "1.0.0", "license": "MIT/Apache-2.0" },
                { "id": "b", "name": "b", "version": "2.0.0" },
            ],
            "resolve": { "nodes": [
                { "id": "k", "deps": [
                    { "pkg": "a", "dep_kinds": [{ "kind": null }] },
                    { "pkg": "b", "dep_kinds": [{ "kind": "dev" }, { "kind": "build" }] },
                ] },
                { "id": "a", "deps": [] },
            ] },
        });
        let sums =
            checksums("[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"abc\"\n");
        let document = document(&metadata, &sums, &description);
        assert_eq!(document["components"].as_array().unwrap().len(), 1);
        let component = &document["components"][0];
        assert_eq!(component["purl"], "pkg:cargo/a@1.0.0");
        assert_eq!(component["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(component["hashes"][0]["content"], "abc");
        assert_eq!(document["dependencies"][0]["ref"], "pkg:cargo/a@1.0.0");
    }
}
