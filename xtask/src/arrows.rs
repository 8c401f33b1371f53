//! Checks the dependencies between crates against the picture in ARCHITECTURE.md.
//!
//! A crate or a dependency that is not in the table is an error, also for tests: a crate whose
//! tests import another crate cannot be understood alone.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::{Outcome, modules};

/// Every crate of the workspace with the workspace crates that it may import.
const PICTURE: &[(&str, &[&str])] = &[
    ("kraft-core", &[]),
    ("kraft-archive", &[]),
    ("kraft-sys", &[]),
    ("kraft-kconfig", &["kraft-core"]),
    ("kraft-http", &["kraft-core", "kraft-sys"]),
    (
        "kraft-build",
        &[
            "kraft-core",
            "kraft-kconfig",
            "kraft-sys",
            "kraft-archive",
            "kraft-http",
        ],
    ),
    (
        "kraft-rootfs",
        &["kraft-core", "kraft-sys", "kraft-archive"],
    ),
    ("kraft-buildkit", &["kraft-core", "kraft-sys", "kraft-http"]),
    (
        "kraft-oci",
        &["kraft-core", "kraft-sys", "kraft-archive", "kraft-http"],
    ),
    ("kraft-cloud", &["kraft-http"]),
    ("kraft-net", &["kraft-core", "kraft-sys"]),
    ("kraft-machine", &["kraft-core", "kraft-sys", "kraft-net"]),
    (
        "kraft-runu",
        &[
            "kraft-core",
            "kraft-sys",
            "kraft-net",
            "kraft-rootfs",
            "kraft-machine",
        ],
    ),
    (
        "kraft-config",
        &["kraft-core", "kraft-sys", "kraft-buildkit", "kraft-machine"],
    ),
    (
        "kraft-engine",
        &[
            "kraft-core",
            "kraft-kconfig",
            "kraft-sys",
            "kraft-archive",
            "kraft-http",
            "kraft-build",
            "kraft-buildkit",
            "kraft-rootfs",
            "kraft-oci",
            "kraft-machine",
            "kraft-net",
            "kraft-config",
        ],
    ),
    (
        "kraft-deploy",
        &[
            "kraft-core",
            "kraft-sys",
            "kraft-http",
            "kraft-rootfs",
            "kraft-oci",
            "kraft-cloud",
            "kraft-config",
            "kraft-engine",
        ],
    ),
    (
        "kraft",
        &[
            "kraft-core",
            "kraft-kconfig",
            "kraft-sys",
            "kraft-build",
            "kraft-buildkit",
            "kraft-rootfs",
            "kraft-oci",
            "kraft-cloud",
            "kraft-machine",
            "kraft-net",
            "kraft-runu",
            "kraft-config",
            "kraft-engine",
            "kraft-deploy",
        ],
    ),
    ("kraft-cloud-emulator", &[]),
    ("kraft-firecracker-emulator", &["kraft-core"]),
    (
        "kraft-e2e",
        &["kraft-cloud-emulator", "kraft-firecracker-emulator"],
    ),
    (
        "kraft-fuzz",
        &[
            "kraft-core",
            "kraft-kconfig",
            "kraft-archive",
            "kraft-rootfs",
            "kraft-oci",
            "kraft-machine",
            "kraft-runu",
            "kraft-runtime",
        ],
    ),
    ("xtask", &["kraft", "kraft-core"]),
];

/// External crates that only one workspace crate may import, so that there is one policy for them.
const KEPT_TO: &[(&str, &str)] = &[("reqwest", "kraft-http")];

/// The part of `cargo metadata --format-version 1` with the dependencies.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `null` (a normal one), `dev` or `build`.
    kind: Option<String>,
    /// Set for a dependency inside this workspace.
    path: Option<String>,
}

/// Compares `cargo metadata` of the workspace in `root` with the picture.
pub(crate) fn exec(root: &Path) -> Outcome {
    let mut complaints = complaints(&metadata(root)?);
    complaints.extend(modules::complaints(root));
    if complaints.is_empty() {
        Ok(format!(
            "arrows: {} crates import only what the picture allows",
            PICTURE.len()
        ))
    } else {
        Err(complaints)
    }
}

fn metadata(root: &Path) -> Result<Metadata, Vec<String>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the workspace's chores are not part of the product and do not import kraft-sys"
    )]
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked"])
        .current_dir(root)
        .output()
        .map_err(|error| vec![format!("cannot run `cargo metadata`: {error}")])?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(vec![format!("`cargo metadata` failed: {}", stderr.trim())]);
    }
    serde_json::from_slice(&output.stdout).map_err(|error| {
        vec![format!(
            "cannot parse the output of `cargo metadata`: {error}"
        )]
    })
}

/// Returns one sentence for every arrow and every crate that is not in the picture.
fn complaints(metadata: &Metadata) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in &metadata.packages {
        let Some((_, allowed)) = PICTURE.iter().find(|(name, _)| *name == package.name) else {
            complaints.push(format!(
                "crate `{}` is not in the picture: draw it in ARCHITECTURE.md and xtask/src/arrows.rs",
                package.name
            ));
            continue;
        };
        for (theirs, ours) in KEPT_TO {
            let imports = |d: &Dependency| d.name == *theirs && d.path.is_none();
            if package.name != *ours && package.dependencies.iter().any(imports) {
                complaints.push(format!(
                    "`{}` imports `{theirs}`, which only `{ours}` may import",
                    package.name
                ));
            }
        }
        for dependency in package.dependencies.iter().filter(|d| d.path.is_some()) {
            if !allowed.contains(&dependency.name.as_str()) {
                complaints.push(forbidden(package, dependency, allowed));
            }
        }
    }
    for (name, _) in PICTURE {
        if !metadata
            .packages
            .iter()
            .any(|package| package.name == *name)
        {
            complaints.push(format!(
                "crate `{name}` is in the picture but not in the workspace"
            ));
        }
    }
    complaints
}

fn forbidden(package: &Package, dependency: &Dependency, allowed: &[&str]) -> String {
    let kind = match dependency.kind.as_deref() {
        Some("dev") => " in its tests",
        Some("build") => " in its build script",
        Some(_) | None => "",
    };
    let allowed = if allowed.is_empty() {
        "none of the workspace".to_owned()
    } else {
        format!("only {}", allowed.join(", "))
    };
    format!(
        "`{}` imports `{}`{kind}, but may import {allowed}",
        package.name, dependency.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The metadata of a workspace as drawn, with one more arrow.
    fn with_arrow(from: &str, to: &str, kind: Option<&str>) -> Metadata {
        let packages = PICTURE
            .iter()
            .map(|(name, allowed)| {
                let mut dependencies: Vec<Dependency> =
                    allowed.iter().map(|to| arrow(to, None)).collect();
                if *name == from {
                    dependencies.push(arrow(to, kind));
                }
                Package {
                    name: (*name).to_owned(),
                    dependencies,
                }
            })
            .collect();
        Metadata { packages }
    }

    fn arrow(to: &str, kind: Option<&str>) -> Dependency {
        Dependency {
            name: to.to_owned(),
            kind: kind.map(str::to_owned),
            path: Some(format!("/workspace/crates/{to}")),
        }
    }

    #[test]
    fn the_picture_itself_is_allowed() {
        let metadata = with_arrow("kraft", "kraft-core", None);
        assert_eq!(complaints(&metadata), Vec::<String>::new());
    }

    #[test]
    fn a_room_that_imports_another_is_named() {
        let metadata = with_arrow("kraft-rootfs", "kraft-machine", None);
        assert_eq!(
            complaints(&metadata),
            [
                "`kraft-rootfs` imports `kraft-machine`, but may import only kraft-core, kraft-sys, kraft-archive"
            ]
        );
    }

    #[test]
    fn an_arrow_from_tests_counts_too() {
        let metadata = with_arrow("kraft-core", "kraft-sys", Some("dev"));
        assert_eq!(
            complaints(&metadata),
            ["`kraft-core` imports `kraft-sys` in its tests, but may import none of the workspace"]
        );
    }

    #[test]
    fn a_crate_from_elsewhere_is_no_arrow() {
        let mut metadata = with_arrow("kraft", "kraft-core", None);
        for package in &mut metadata.packages {
            package.dependencies.push(Dependency {
                name: "serde".to_owned(),
                kind: None,
                path: None,
            });
        }
        assert_eq!(complaints(&metadata), Vec::<String>::new());
    }

    #[test]
    fn a_crate_that_is_kept_to_one_of_ours_is_named_elsewhere() {
        let mut metadata = with_arrow("kraft", "kraft-core", None);
        for package in &mut metadata.packages {
            if ["kraft-http", "kraft-oci"].contains(&package.name.as_str()) {
                package.dependencies.push(Dependency {
                    name: "reqwest".to_owned(),
                    kind: None,
                    path: None,
                });
            }
        }
        assert_eq!(
            complaints(&metadata),
            ["`kraft-oci` imports `reqwest`, which only `kraft-http` may import"]
        );
    }

    #[test]
    fn a_crate_that_nobody_drew_is_named() {
        let mut metadata = with_arrow("kraft", "kraft-core", None);
        metadata.packages.push(Package {
            name: "kraft-nowhere".to_owned(),
            dependencies: Vec::new(),
        });
        let complaints = complaints(&metadata);
        assert!(
            complaints
                .iter()
                .any(|c| c.contains("`kraft-nowhere` is not in the picture"))
        );
    }

    #[test]
    fn a_crate_that_is_gone_is_named() {
        let mut metadata = with_arrow("kraft", "kraft-core", None);
        metadata
            .packages
            .retain(|package| package.name != "kraft-sys");
        assert_eq!(
            complaints(&metadata),
            ["crate `kraft-sys` is in the picture but not in the workspace"]
        );
    }
}
