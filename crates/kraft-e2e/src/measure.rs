//! What a command costs: its time, and the most memory it ever had. Benchmarks compare two such
//! costs of one run; costs of different machines say nothing to each other.

use std::io::{Read, Seek, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The price of one command.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// From its start to its end, in milliseconds.
    pub millis: f64,
    /// The most it had resident, in MiB, without its children.
    pub mebibytes: f64,
}

impl Cost {
    /// Runs a command to its end with `input` on its stdin.
    ///
    /// # Panics
    /// If it fails.
    pub fn of(mut command: Command, input: &[u8]) -> Self {
        // A file, because nobody empties a pipe meanwhile.
        let mut talk = tempfile::tempfile().unwrap();
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(talk.try_clone().unwrap());
        let start = Instant::now();
        let mut child = command.spawn().unwrap();
        // Whoever reads no input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input);
        let mut mebibytes = 0.0;
        // Its high-water mark only rises: the last look is the truth or just below.
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            mebibytes = high_water(child.id()).unwrap_or(mebibytes);
            std::thread::sleep(Duration::from_micros(200));
        };
        let millis = start.elapsed().as_secs_f64() * 1e3;
        if !status.success() {
            let mut told = String::new();
            talk.rewind().unwrap();
            talk.read_to_string(&mut told).unwrap();
            panic!("{command:?}: {status}: {told}");
        }
        Self { millis, mebibytes }
    }

    /// Returns the median of the times, and the most memory of any.
    ///
    /// # Panics
    /// If there is none.
    pub fn typical(mut costs: Vec<Self>) -> Self {
        costs.sort_by(|a, b| a.millis.total_cmp(&b.millis));
        Self {
            millis: costs[costs.len() / 2].millis,
            mebibytes: costs.iter().map(|cost| cost.mebibytes).fold(0.0, f64::max),
        }
    }
}

/// Returns `VmHWM` of a process that lives, in MiB.
fn high_water(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}
