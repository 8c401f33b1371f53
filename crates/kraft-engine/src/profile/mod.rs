//! How long each part of a boot took: measured, summarised, and drawn.
//!
//! ```text
//! kraft ──► VMM ──► firmware ──► kernel ──► first output ──► first answer on a port
//! ```
//!
//! A part whose end is not known is counted with the next one: `firmware + kernel`.
//!
//! ```
//! use std::time::Duration;
//!
//! use kraft_engine::profile::{BootProfile, Part};
//!
//! let millis = Duration::from_millis;
//! let profile = BootProfile::new(
//!     &[(Part::Kraft, millis(20)), (Part::Kernel, millis(90)), (Part::Output, millis(100))],
//!     millis(100),
//! );
//! let names: Vec<&str> = profile.parts.iter().map(|part| part.name.as_str()).collect();
//! assert_eq!(names, ["kraft", "VMM + firmware + kernel", "first output"]);
//! assert_eq!(profile.total(), millis(100));
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

mod chart;
mod measure;
mod report;

pub use chart::{html, svg};
pub use measure::{Began, MeasureError, measure, port};
pub use report::{BootReport, Change, ReportError};

/// A part of a boot, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// From the start of `kraft` to the start of the VMM.
    Kraft,
    /// Until the VMM starts the processors of the guest. If it restores the guest, this is included.
    Vmm,
    /// Until the firmware starts the kernel.
    Firmware,
    /// Until the kernel starts the program.
    Kernel,
    /// Until the first byte on the console.
    Output,
    /// Until the first byte of an answer on a published port.
    Answer,
}

impl Part {
    const ALL: [Self; 6] = [
        Self::Kraft,
        Self::Vmm,
        Self::Firmware,
        Self::Kernel,
        Self::Output,
        Self::Answer,
    ];

    /// Returns its name in tables and charts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kraft => "kraft",
            Self::Vmm => "VMM",
            Self::Firmware => "firmware",
            Self::Kernel => "kernel",
            Self::Output => "first output",
            Self::Answer => "first answer",
        }
    }
}

/// How long one part took, or several that cannot be told apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartTime {
    /// The [name](Part::name) of the part, or several with ` + ` between them.
    pub name: String,
    /// The time in microseconds.
    pub us: u64,
}

/// How long the parts of one boot took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootProfile {
    /// The time from the beginning to the end, in microseconds, measured by another clock than the parts.
    pub wall_us: u64,
    /// The parts, in order.
    pub parts: Vec<PartTime>,
}

impl BootProfile {
    /// Makes a profile of the times, from the beginning, at which parts ended; in any order. The last
    /// one in the order of parts ends the boot.
    pub fn new(ends: &[(Part, Duration)], wall: Duration) -> Self {
        let end_of = |part| ends.iter().find(|(it, _)| *it == part).map(|(_, at)| *at);
        let last = ends.iter().max_by_key(|(part, _)| *part);
        let end = last.map_or(Duration::ZERO, |(_, at)| *at);
        let (mut parts, mut names, mut before) = (Vec::new(), Vec::new(), Duration::ZERO);
        for part in Part::ALL {
            // What comes after the end of the boot did not delay it.
            let at = end_of(part).filter(|at| *at <= end);
            if part != Part::Output || at.is_some() {
                names.push(part.name());
            }
            let Some(at) = at else { continue };
            let at = at.max(before);
            parts.push(PartTime {
                name: names.join(" + "),
                us: micros(at.saturating_sub(before)),
            });
            names.clear();
            before = at;
        }
        Self {
            wall_us: micros(wall),
            parts,
        }
    }

    /// Returns the sum of the parts.
    pub fn total(&self) -> Duration {
        let sum = |sum: u64, part: &PartTime| sum.saturating_add(part.us);
        Duration::from_micros(self.parts.iter().fold(0, sum))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Returns a time in milliseconds with one digit behind the point: `12.3 ms`.
pub fn millis(us: u64) -> String {
    let tenths = us.saturating_add(50) / 100;
    format!("{}.{} ms", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(ends: &[(Part, u64)]) -> String {
        let ends: Vec<(Part, Duration)> = ends
            .iter()
            .map(|(part, at)| (*part, Duration::from_millis(*at)))
            .collect();
        let profile = BootProfile::new(&ends, Duration::ZERO);
        let parts = profile.parts.iter();
        let parts: Vec<String> = parts
            .map(|it| format!("{} {}", it.name, it.us / 1000))
            .collect();
        parts.join(", ")
    }

    #[test]
    fn parts_that_cannot_be_told_apart_are_counted_together() {
        use Part::{Answer, Firmware, Kernel, Kraft, Output, Vmm};

        let all = [
            (Kraft, 10),
            (Vmm, 50),
            (Firmware, 60),
            (Kernel, 90),
            (Output, 100),
            (Answer, 120),
        ];
        assert_eq!(
            shown(&all),
            "kraft 10, VMM 40, firmware 10, kernel 30, first output 10, first answer 20"
        );
        assert_eq!(
            shown(&[(Kraft, 10), (Vmm, 50), (Output, 100)]),
            "kraft 10, VMM 40, firmware + kernel + first output 50"
        );
        // Output after the answer, and a clock that was set back.
        assert_eq!(
            shown(&[
                (Answer, 100),
                (Kraft, 10),
                (Vmm, 50),
                (Firmware, 40),
                (Kernel, 90),
                (Output, 101)
            ]),
            "kraft 10, VMM 40, firmware 0, kernel 40, first answer 10"
        );
        assert_eq!(shown(&[]), "");
    }

    #[test]
    fn times_have_one_digit_behind_the_point() {
        assert_eq!(millis(0), "0.0 ms");
        assert_eq!(millis(12_349), "12.3 ms");
        assert_eq!(millis(999_950), "1000.0 ms");
    }
}
