//! The profiles of several boots of one machine, as they are stored and compared.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kraft_core::machine::MachineSpec;
use kraft_sys::fs;
use serde::{Deserialize, Serialize};

use super::BootProfile;

/// The version of the format that this `kraft` writes, and the newest it reads.
const VERSION: u32 = 1;

/// The maximal size of a stored report in bytes.
const MAX_REPORT: u64 = 16 << 20;

/// The profiles of several boots: what is stored as JSON.
///
/// ```
/// use std::time::Duration;
///
/// use kraft_engine::profile::{BootProfile, BootReport, Part};
///
/// let runs = [30, 10, 20].map(|at| {
///     let at = Duration::from_millis(at);
///     BootProfile::new(&[(Part::Output, at)], at)
/// });
/// let report = BootReport::new("./kernel", None, runs.to_vec());
/// let median = report.median().expect("there are runs");
/// assert_eq!(median.total(), Duration::from_millis(20));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootReport {
    version: u32,
    /// What was booted.
    pub target: String,
    /// The platform, the architecture and how instructions are executed: `qemu/x86_64, tcg`.
    #[serde(default)]
    pub machine: String,
    /// The boots, in the order of time.
    pub runs: Vec<BootProfile>,
}

/// A stored report cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// It is not a report.
    #[error("`{path}` is not a boot profile: {why}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
}

/// A part in two reports, in microseconds; `None` where a report does not have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The name of the part.
    pub name: String,
    /// The time before.
    pub before: Option<u64>,
    /// The time now.
    pub now: Option<u64>,
}

impl BootReport {
    /// Makes a report.
    pub fn new(target: &str, spec: Option<&MachineSpec>, runs: Vec<BootProfile>) -> Self {
        let machine = spec.map(|spec| {
            let acceleration = match spec.acceleration {
                kraft_core::machine::Acceleration::Kvm => "kvm",
                kraft_core::machine::Acceleration::Tcg => "tcg",
            };
            format!("{}/{}, {acceleration}", spec.platform, spec.arch)
        });
        Self {
            version: VERSION,
            target: target.to_owned(),
            machine: machine.unwrap_or_default(),
            runs,
        }
    }

    /// Reads a report that was stored as JSON.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is not a report.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let invalid = |why: String| ReportError::Invalid {
            path: path.to_owned(),
            why,
        };
        let bytes = fs::read_file(path, MAX_REPORT)?;
        let report: Self = serde_json::from_slice(&bytes).map_err(|e| invalid(e.to_string()))?;
        if report.version > VERSION {
            let version = report.version;
            return Err(invalid(format!("version {version} is of a newer kraft")));
        }
        if report.runs.is_empty() {
            return Err(invalid("it has no runs".to_owned()));
        }
        Ok(report)
    }

    /// Returns the run with the median of the sums: its parts belong together. `None` if there are
    /// no runs.
    pub fn median(&self) -> Option<&BootProfile> {
        let mut runs: Vec<&BootProfile> = self.runs.iter().collect();
        runs.sort_by_key(|run| run.total());
        runs.get(runs.len().saturating_sub(1) / 2).copied()
    }

    /// Returns the shortest and the longest sum.
    pub fn extremes(&self) -> (Duration, Duration) {
        let totals = || self.runs.iter().map(BootProfile::total);
        (
            totals().min().unwrap_or_default(),
            totals().max().unwrap_or_default(),
        )
    }

    /// Compares the median with that of an earlier report, part by part.
    pub fn changes(&self, before: &Self) -> Vec<Change> {
        let times = |report: &Self| -> Vec<(String, u64)> {
            let parts = report.median().map(|run| run.parts.clone());
            let parts = parts.unwrap_or_default().into_iter();
            parts.map(|part| (part.name, part.us)).collect()
        };
        let (old, new) = (times(before), times(self));
        let time = |times: &[(String, u64)], name: &str| {
            let found = times.iter().find(|(it, _)| it == name);
            found.map(|(_, us)| *us)
        };
        let gone = old.iter().filter(|(name, _)| time(&new, name).is_none());
        let names = new.iter().chain(gone).map(|(name, _)| name.clone());
        names
            .map(|name| Change {
                before: time(&old, &name),
                now: time(&new, &name),
                name,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Part;

    fn report(ends: &[(Part, u64)]) -> BootReport {
        let ends: Vec<(Part, Duration)> = ends
            .iter()
            .map(|(part, at)| (*part, Duration::from_millis(*at)))
            .collect();
        BootReport::new("x", None, vec![BootProfile::new(&ends, Duration::ZERO)])
    }

    #[test]
    fn parts_that_only_one_report_has_are_shown_as_well() {
        let before = report(&[(Part::Kraft, 10), (Part::Output, 30)]);
        let now = report(&[(Part::Kraft, 15), (Part::Vmm, 20), (Part::Output, 35)]);
        let changes: Vec<String> = now
            .changes(&before)
            .into_iter()
            .map(|it| format!("{}: {:?} {:?}", it.name, it.before, it.now))
            .collect();
        insta::assert_snapshot!(changes.join("\n"), @"
        kraft: Some(10000) Some(15000)
        VMM: None Some(5000)
        firmware + kernel + first output: None Some(15000)
        VMM + firmware + kernel + first output: Some(20000) None
        ");
    }

    #[test]
    fn what_is_not_a_report_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        let good = serde_json::to_string(&report(&[(Part::Output, 1)])).unwrap();
        for (text, valid) in [
            (good.clone(), true),
            (good.replace("\"version\":1", "\"version\":2"), false),
            (r#"{"version":1,"target":"x","runs":[]}"#.to_owned(), false),
            ("[]".to_owned(), false),
        ] {
            fs::replace_file(&path, text.as_bytes()).unwrap();
            assert_eq!(BootReport::read(&path).is_ok(), valid, "{text}");
        }
        assert!(BootReport::read(&dir.path().join("missing")).is_err());
    }
}
