//! Configures a kernel: resolves the requested options to a `.config`, and reports lost values.
//!
//! ```text
//! manual edits     ┐
//! requested options ┴─► defconfig text ─ make defconfig ─► new .config ─ compare ─► Lost
//! ```
//!
//! Requested options take precedence over manual edits, so a changed Kraftfile always takes effect.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use kraft_build::configure::lost;
//! use kraft_kconfig::DotConfig;
//!
//! let requested = |name: &str, value: &str| (name.to_owned(), value.to_owned());
//! let wanted = BTreeMap::from([
//!     requested("CONFIG_LWIP", "y"),
//!     requested("CONFIG_STACK", "16"),
//! ]);
//! let found = DotConfig::parse("CONFIG_LWIP=y\nCONFIG_STACK=8\n");
//! let lost = lost(&wanted, &found);
//! assert_eq!(lost.len(), 1);
//! assert_eq!(lost[0].name, "CONFIG_STACK");
//! assert_eq!(lost[0].found.as_deref(), Some("8"));
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use kraft_kconfig::{DotConfig, defconfig_text};
use kraft_sys::fs;

use crate::make::{Call, Error};
use crate::plan::Plan;
use crate::state::State;

/// Maximum size of a `.config`, in bytes.
pub const LARGEST: u64 = 8 << 20;

/// A requested value that did not take effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The option: `CONFIG_…`.
    pub name: String,
    /// The requested value.
    pub wanted: String,
    /// The actual value; `None` if it is not set.
    pub found: Option<String>,
}

/// The result of configuring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// Manually edited options, which are kept where the Kraftfile does not set them.
    pub edits: BTreeMap<String, Option<String>>,
    /// The resulting configuration.
    pub settled: BTreeMap<String, String>,
}

/// Configures a kernel; `scratch` is a private directory of this build.
///
/// The configuration at `call.plan.config` is replaced only if it changes, and only after make has
/// written the new one completely.
pub fn configure(
    call: &Call<'_>,
    wanted: &BTreeMap<String, String>,
    before: &State,
    scratch: &Path,
) -> Result<Configured, Error> {
    let config = &call.plan.config;
    let old = read(config)?;
    let edits = edits(old.as_ref(), before, wanted);
    let text = text(&edits, wanted);
    let (defconfig, new) = (scratch.join("defconfig"), scratch.join("new.config"));
    fs::create_dir_all(scratch, 0o755)?;
    fs::replace_file(&defconfig, text.as_bytes())?;
    if new.exists() {
        fs::remove_file(&new)?;
    }
    let mut variable = std::ffi::OsString::from("UK_DEFCONFIG=");
    variable.push(&defconfig);
    let mut extra = call.extra.clone();
    extra.push(variable);
    let plan = Plan {
        config: new.clone(),
        ..call.plan.clone()
    };
    Call {
        plan: &plan,
        extra,
        ..*call
    }
    .targets(&["defconfig"])?;
    let bytes = fs::read_file(&new, LARGEST)?;
    let old = fs::read_file(config, LARGEST);
    if old.map_or(true, |old| old != bytes) {
        fs::replace_file(config, &bytes)?;
    }
    let found = DotConfig::parse(&String::from_utf8_lossy(&bytes));
    Ok(Configured {
        edits,
        settled: found
            .iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect(),
    })
}

/// Reads a configuration; `None` if the file does not exist.
pub fn read(path: &Path) -> Result<Option<DotConfig>, fs::Error> {
    match fs::read_file(path, LARGEST) {
        Ok(bytes) => Ok(Some(DotConfig::parse(&String::from_utf8_lossy(&bytes)))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the options edited manually since kraft wrote the configuration, in addition to earlier
/// edits; requested options are excluded.
fn edits(
    now: Option<&DotConfig>,
    before: &State,
    wanted: &BTreeMap<String, String>,
) -> BTreeMap<String, Option<String>> {
    let mut edits = before.edits.clone();
    if let Some(now) = now {
        for (name, value) in now.iter() {
            if before.settled.get(name).map(String::as_str) != Some(value) {
                edits.insert(name.to_owned(), Some(value.to_owned()));
            }
        }
        for name in before.settled.keys() {
            if now.value(name).is_none() {
                edits.insert(name.clone(), None);
            }
        }
    } else {
        // Removing the configuration also discards its manual edits.
        edits.clear();
    }
    edits.retain(|name, _| !wanted.contains_key(name) && !is_made_up(name));
    edits
}

/// Returns whether the build itself sets an option.
fn is_made_up(name: &str) -> bool {
    const MADE_UP: [&str; 9] = [
        "CONFIG_UK_BASE",
        "CONFIG_UK_APP",
        "CONFIG_UK_DEFNAME",
        "CONFIG_UK_NAME",
        "CONFIG_UK_FULLVERSION",
        "CONFIG_UK_CODENAME",
        "CONFIG_UK_ARCH",
        "CONFIG_HOST_ARCH",
        "CONFIG_CC_VERSION",
    ];
    MADE_UP.contains(&name)
}

/// Returns the text that make starts from.
fn text(edits: &BTreeMap<String, Option<String>>, wanted: &BTreeMap<String, String>) -> String {
    let mut all: BTreeMap<&str, &str> = edits
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or("n")))
        .collect();
    all.extend(wanted.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    defconfig_text(all)
}

/// Returns the requested values that did not take effect.
pub fn lost(wanted: &BTreeMap<String, String>, found: &DotConfig) -> Vec<Lost> {
    wanted
        .iter()
        .filter(|(name, wanted)| !is_made_up(name) && !is_same(wanted, found.value(name)))
        .map(|(name, wanted)| Lost {
            name: name.clone(),
            wanted: wanted.clone(),
            found: found.value(name).map(ToOwned::to_owned),
        })
        .collect()
}

/// Returns whether an option has the requested value: numbers are compared numerically, and an
/// option that is not set equals `n` or an empty string.
fn is_same(wanted: &str, found: Option<&str>) -> bool {
    match found {
        None => matches!(wanted, "n" | ""),
        Some(found) => {
            found == wanted || number(wanted).is_some_and(|number_| number(found) == Some(number_))
        }
    }
}

fn number(text: &str) -> Option<i128> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => i128::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn dropped_and_changed_values_are_lost() {
        let found = DotConfig::parse("CONFIG_A=y\nCONFIG_N=64\nCONFIG_H=0x10\nCONFIG_S=\"t\"\n");
        let wanted = map(&[
            ("CONFIG_A", "n"),
            ("CONFIG_B", "y"),
            ("CONFIG_N", "128"),
            ("CONFIG_H", "0x0010"),
            ("CONFIG_S", "t"),
            ("CONFIG_GONE", "n"),
            ("CONFIG_UK_NAME", "x"),
        ]);
        let lost: Vec<String> = lost(&wanted, &found)
            .into_iter()
            .map(|l| format!("{}={} is {:?}", l.name, l.wanted, l.found))
            .collect();
        assert_eq!(
            lost,
            [
                "CONFIG_A=n is Some(\"y\")",
                "CONFIG_B=y is None",
                "CONFIG_N=128 is Some(\"64\")"
            ]
        );
    }

    #[test]
    fn manual_edits_are_kept_unless_overridden_or_removed() {
        let before = State {
            settled: map(&[("CONFIG_A", "y"), ("CONFIG_B", "1"), ("CONFIG_C", "y")]),
            ..State::default()
        };
        let now = Some(DotConfig::parse(
            "CONFIG_A=y\nCONFIG_B=2\nCONFIG_D=y\nCONFIG_UK_BASE=\"/x\"\n",
        ));
        let wanted = map(&[("CONFIG_D", "n")]);
        let edited = edits(now.as_ref(), &before, &wanted);
        assert_eq!(
            edited,
            BTreeMap::from([
                ("CONFIG_B".to_owned(), Some("2".to_owned())),
                ("CONFIG_C".to_owned(), None)
            ])
        );
        let again = State {
            edits: edited,
            ..before
        };
        assert!(edits(None, &again, &wanted).is_empty());
    }
}
