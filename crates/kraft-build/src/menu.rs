//! Reads the options of a core, its libraries and an application as make does: with the environment
//! that Unikraft's Makefile passes to KConfig, and by running its commands.
//!
//! ```
//! use kraft_build::menu;
//! use kraft_build::plan::Plan;
//! use kraft_kconfig::DotConfig;
//!
//! let dir = tempfile::tempdir()?;
//! let text = "config NET\n\tbool \"Network\"\n";
//! std::fs::write(dir.path().join("Config.uk"), text)?;
//! let plan = Plan {
//!     name: "web".to_owned(),
//!     core: dir.path().to_owned(),
//!     app: dir.path().join("app"),
//!     libraries: Vec::new(),
//!     out: dir.path().join("out"),
//!     config: dir.path().join("config"),
//!     cross: None,
//!     date: String::new(),
//! };
//! let tree = menu::read(&plan, &DotConfig::default())?;
//! assert_eq!(tree.names(), ["NET"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kraft_core::component::matches;
use kraft_kconfig::DotConfig;
use kraft_kconfig::language::{KconfigErrors, Sources, Tree};
use kraft_sys::{fs, tool};

use crate::plan::Plan;

/// Maximum size of an options file, in bytes.
const LARGEST: u64 = 8 << 20;
/// Time limit of a command in an options file.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads the options of a target; it must have been configured once, since make generates some of
/// the files.
///
/// # Errors
/// The errors in the files, with positions.
pub fn read(plan: &Plan, config: &DotConfig) -> Result<Tree, KconfigErrors> {
    let world = World {
        core: plan.core.clone(),
        env: environment(plan, config),
    };
    Tree::parse("Config.uk", &world)
}

/// Returns the environment of KConfig (Unikraft, Makefile, `COMMON_CONFIG_ENV`).
fn environment(plan: &Plan, config: &DotConfig) -> BTreeMap<&'static str, String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let kconfig = plan.out.join("kconfig");
    let of_config = |name: &str| config.value(name).unwrap_or_default().to_owned();
    let libraries: Vec<String> = plan.libraries.iter().map(|path| text(path)).collect();
    BTreeMap::from([
        ("CONFIG_", "CONFIG_".to_owned()),
        ("KCONFIG_CONFIG", text(&plan.config)),
        ("KCONFIG_DIR", text(&kconfig)),
        ("KCONFIG_AUTOCONFIG", text(&kconfig.join("auto.conf"))),
        (
            "KCONFIG_AUTOHEADER",
            text(&plan.out.join("include/uk/bits/config.h")),
        ),
        ("KCONFIG_TRISTATE", text(&kconfig.join("tristate.config"))),
        ("KCONFIG_COMPONENTS", text(&kconfig.join("components.uk"))),
        ("KCONFIG_LIB_BASE", text(&plan.core.join("lib"))),
        ("KCONFIG_PLAT_BASE", text(&plan.core.join("plat"))),
        ("KCONFIG_DRIV_BASE", text(&plan.core.join("drivers"))),
        ("KCONFIG_ELIB_DIRS", libraries.join(":")),
        ("KCONFIG_EPLAT_DIRS", String::new()),
        ("KCONFIG_EAPP_DIR", text(&plan.app)),
        ("KCONFIG_EXCLUDEDIRS", String::new()),
        ("HOST_ARCH", std::env::consts::ARCH.to_owned()),
        ("BUILD_DIR", text(&plan.out)),
        ("UK_BASE", text(&plan.core)),
        ("UK_APP", text(&plan.app)),
        ("UK_CONFIG", text(&plan.config)),
        ("UK_DEFNAME", plan.name.clone()),
        ("UK_NAME", of_config("CONFIG_UK_NAME")),
        ("UK_ARCH", of_config("CONFIG_UK_ARCH")),
        ("UK_FULLVERSION", of_config("CONFIG_UK_FULLVERSION")),
        ("UK_CODENAME", of_config("CONFIG_UK_CODENAME")),
    ])
}

/// Files, environment and commands as make provides them to KConfig.
struct World {
    core: PathBuf,
    env: BTreeMap<&'static str, String>,
}

impl Sources for World {
    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn shell(&self, command: &str) -> String {
        let mut shell = tool::Tool::new("sh")
            .args(["-c", command])
            .current_dir(&self.core)
            .limit(PATIENCE);
        for (name, value) in &self.env {
            shell = shell.env(name, value);
        }
        // A failed command has no output, as in KConfig itself.
        let said = shell.output().map(|output| output.stdout);
        String::from_utf8_lossy(&said.unwrap_or_default()).into_owned()
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        fs::read_file(&self.core.join(path), LARGEST).map_err(|error| error.source)
    }

    fn glob(&self, pattern: &str) -> Vec<String> {
        let mut found = vec![String::new()];
        for (at, part) in pattern.split('/').enumerate() {
            let mut next = Vec::new();
            for base in &found {
                let with = |name: &str| {
                    if at == 0 {
                        name.to_owned()
                    } else {
                        format!("{base}/{name}")
                    }
                };
                if !part.contains(['*', '?', '[']) {
                    let path = with(part);
                    if part.is_empty() || self.core.join(&path).exists() {
                        next.push(path);
                    }
                    continue;
                }
                let dir = if base.is_empty() && at > 0 {
                    "/"
                } else {
                    base.as_str()
                };
                let Ok(entries) = std::fs::read_dir(self.core.join(dir)) else {
                    continue;
                };
                let mut names: Vec<String> = entries
                    .flatten()
                    .filter_map(|entry| entry.file_name().into_string().ok())
                    .filter(|name| !name.starts_with('.') && matches(part, name))
                    .collect();
                names.sort_unstable();
                next.extend(names.iter().map(|name| with(name)));
            }
            found = next;
        }
        found
    }
}
