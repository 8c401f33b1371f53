//! What a command costs: its time, that of its processors, and the most memory it ever had. Benchmarks compare two such
//! costs of one run; costs of different machines say nothing to each other.

use std::io::{Read, Seek, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// The price of one command.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// From its start to its end, in milliseconds.
    pub millis: f64,
    /// What it kept processors busy, its threads together, in milliseconds: a multiple of 10.
    pub cpu_millis: f64,
    /// The most it had resident, in MiB, without its children.
    pub mebibytes: f64,
}

impl Cost {
    /// Runs a command to its end with `input` on its stdin.
    ///
    /// # Panics
    /// If it fails.
    pub fn of(mut command: Command, input: &[u8]) -> Self {
        // A file, because a pipe would not be read meanwhile.
        let mut log = tempfile::tempfile().unwrap();
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log.try_clone().unwrap());
        let start = Instant::now();
        let mut child = command.spawn().unwrap();
        // The program may already have ended without reading input.
        let _ = child.stdin.take().unwrap().write_all(input);
        let mut mebibytes = 0.0;
        // The high-water mark only rises: the last value is the maximum, or just below.
        loop {
            if has_ended(&child) {
                break;
            }
            mebibytes = high_water(child.id()).unwrap_or(mebibytes);
            std::thread::sleep(Duration::from_micros(200));
        }
        let millis = start.elapsed().as_secs_f64() * 1e3;
        let cpu_millis = busy(child.id()).unwrap_or_default();
        let status = child.wait().unwrap();
        if !status.success() {
            let mut output = String::new();
            log.rewind().unwrap();
            log.read_to_string(&mut output).unwrap();
            panic!("{command:?}: {status}: {output}");
        }
        Self {
            millis,
            cpu_millis,
            mebibytes,
        }
    }

    /// Returns the medians of the times, and the most memory of any.
    ///
    /// # Panics
    /// If there is none.
    pub fn typical(mut costs: Vec<Self>) -> Self {
        costs.sort_by(|a, b| a.cpu_millis.total_cmp(&b.cpu_millis));
        let cpu_millis = costs[costs.len() / 2].cpu_millis;
        costs.sort_by(|a, b| a.millis.total_cmp(&b.millis));
        Self {
            millis: costs[costs.len() / 2].millis,
            cpu_millis,
            mebibytes: costs.iter().map(|cost| cost.mebibytes).fold(0.0, f64::max),
        }
    }
}

/// Returns whether a child has ended, and leaves it to be waited for.
fn has_ended(child: &Child) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let pid = Pid::from_child(child);
    waitid(WaitId::Pid(pid), options).is_ok_and(|status| status.is_some())
}

/// Returns `utime` and `stime` of a process that was not waited for yet (proc(5)), in milliseconds.
fn busy(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u32>().ok();
    let ticks = ticks(11)?.checked_add(ticks(12)?)?;
    Some(f64::from(ticks) * 1e3 / rustix::param::clock_ticks_per_second() as f64)
}

/// Returns `VmHWM` of a process that lives, in MiB.
fn high_water(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}
