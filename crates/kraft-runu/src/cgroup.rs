//! The control group of a container: version 1, version 2, or both (hybrid).
//!
//! The supervisor and its VMM are in it, so that engines find their use of memory and time, and learn
//! that memory ran out. In every hierarchy it has the path that the engine gives.
//!
//! No list of devices is applied: a VMM needs those of KVM and of network cards, which engines deny.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kraft_sys::fs;
use kraft_sys::process::Identity;
use serde::{Deserialize, Serialize};

use crate::config::{Cpu, Memory, Resources};
use crate::failure::Failure;

/// The largest table of mounts that is read, in bytes.
const LARGEST: u64 = 8 << 20;

/// How long processes may take to end that were killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The control group of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cgroup {
    /// Its directories, one per hierarchy.
    pub(crate) dirs: Vec<Dir>,
}

/// The directory of a control group in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dir {
    pub(crate) path: PathBuf,
    /// Where the hierarchy is mounted.
    mount: PathBuf,
    hierarchy: Hierarchy,
}

/// A hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Hierarchy {
    /// Of version 1, with its controllers.
    V1(Vec<String>),
    /// Of version 2.
    V2,
}

impl Cgroup {
    /// Returns the directories of a control group on this host. `path` is `cgroupsPath`; empty for one
    /// that is named like the container.
    pub(crate) fn find(path: &str, id: &str) -> Result<Self, Failure> {
        let read = |file: &str| -> Result<String, Failure> {
            let bytes = fs::read_file(Path::new(file), LARGEST)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let path = if path.is_empty() {
            PathBuf::from("/runu").join(id)
        } else {
            expand(path)?
        };
        Ok(place(&read("/proc/self/mountinfo")?, &path))
    }

    /// Creates the directories and writes the limits. Returns what does without limits, because this
    /// user may not write there.
    pub(crate) fn create(&self, resources: &Resources) -> Result<Vec<String>, Failure> {
        let mut skipped = Vec::new();
        for dir in &self.dirs {
            match dir.create() {
                Ok(()) => {}
                Err(e) if is_forbidden(&e) => {
                    skipped.push(format!(
                        "no control group in `{}`: {e}",
                        dir.mount.display()
                    ));
                    continue;
                }
                Err(e) => {
                    let what = format!("cannot create the control group `{}`", dir.path.display());
                    return Err(Failure::of(&what, &e));
                }
            }
            dir.limit(resources, false)?;
        }
        Ok(skipped)
    }

    /// Moves this process into the control group.
    pub(crate) fn join(&self) -> Result<(), Failure> {
        for dir in self.existing() {
            let file = dir.path.join("cgroup.procs");
            match write(&file, "0") {
                Ok(()) => {}
                Err(e) if is_forbidden(&e) => {}
                Err(e) => {
                    return Err(Failure::of(
                        &format!("cannot write `{}`", file.display()),
                        &e,
                    ));
                }
            }
        }
        Ok(())
    }

    /// Changes limits. Those that the system refuses now are reported.
    pub(crate) fn update(&self, resources: &Resources) -> Result<(), Failure> {
        self.existing()
            .try_for_each(|dir| dir.limit(resources, true))
    }

    fn existing(&self) -> impl Iterator<Item = &Dir> {
        self.dirs.iter().filter(|dir| dir.path.is_dir())
    }

    /// Returns the processes in the control group.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self
            .existing()
            .filter_map(|dir| fs::read_file(&dir.path.join("cgroup.procs"), LARGEST).ok())
            .flat_map(|bytes| {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let numbers = text.lines().map(str::to_owned).collect::<Vec<_>>();
                numbers.into_iter().filter_map(|line| line.parse().ok())
            })
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Returns a number of a file of the control group, of version 1 or of version 2.
    pub(crate) fn number(&self, v1: &str, v2: &str) -> Option<u64> {
        self.existing().find_map(|dir| {
            let name = if dir.hierarchy == Hierarchy::V2 {
                v2
            } else {
                v1
            };
            let bytes = fs::read_file(&dir.path.join(name), 4096).ok()?;
            String::from_utf8_lossy(&bytes).trim().parse().ok()
        })
    }

    /// Kills what is left in the control group, and removes it.
    pub(crate) fn remove(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for process in self.processes().into_iter().filter_map(Identity::of) {
                if let Ok(Some(process)) = kraft_sys::process::Process::open(&process) {
                    let _ = process.signal(rustix::process::Signal::KILL);
                }
            }
            let mut busy = None;
            for dir in self.existing() {
                if let Err(e) = remove_below(&dir.path) {
                    busy = Some((dir.path.clone(), e));
                }
            }
            let Some((path, error)) = busy else {
                return Ok(());
            };
            if Instant::now() > deadline {
                let what = format!("cannot remove the control group `{}`", path.display());
                return Err(Failure::of(&what, &error));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Removes a control group with those below it.
fn remove_below(path: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_below(&entry.path())?;
        }
    }
    match std::fs::remove_dir(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Returns whether an operation failed because this user may not do it here.
fn is_forbidden(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Expands `slice:prefix:name`, as engines write it for systemd, into the path that systemd would use.
fn expand(path: &str) -> Result<PathBuf, Failure> {
    let parts: Vec<&str> = path.split(':').collect();
    let expanded = match parts[..] {
        [slice, prefix, name] => {
            let mut expanded = PathBuf::from("/");
            let stem = slice.strip_suffix(".slice").unwrap_or(slice);
            // `a-b.slice` is inside of `a.slice`.
            for (at, _) in stem.match_indices('-') {
                expanded.push(format!("{}.slice", stem.get(..at).unwrap_or_default()));
            }
            if !stem.is_empty() && stem != "-" {
                expanded.push(format!("{stem}.slice"));
            }
            let unit = if prefix.is_empty() {
                name.to_owned()
            } else {
                format!("{prefix}-{name}.scope")
            };
            expanded.push(unit);
            expanded
        }
        _ => PathBuf::from("/").join(path),
    };
    let plain = kraft_core::mount::plain_path(&expanded);
    if plain == Path::new("/") || path.contains("..") {
        return Err(Failure(format!(
            "`{path}` is not a path of a control group"
        )));
    }
    Ok(plain)
}

/// Finds the hierarchies in the table of mounts (`proc_pid_mountinfo(5)`), and the directory in each.
fn place(mounts: &str, path: &Path) -> Cgroup {
    let below = path.strip_prefix("/").unwrap_or(path);
    let mut dirs: Vec<Dir> = Vec::new();
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let Some(mount) = left.split(' ').nth(4) else {
            continue;
        };
        let mut right = right.split(' ');
        let hierarchy = match right.next() {
            Some("cgroup2") => Hierarchy::V2,
            Some("cgroup") => {
                let options = right.nth(1).unwrap_or_default().split(',');
                let controllers = options.filter(|it| !matches!(*it, "rw" | "ro"));
                Hierarchy::V1(controllers.map(str::to_owned).collect())
            }
            _ => continue,
        };
        if dirs.iter().any(|dir| dir.hierarchy == hierarchy) {
            // It is mounted twice.
            continue;
        }
        dirs.push(Dir {
            path: Path::new(mount).join(below),
            mount: PathBuf::from(mount),
            hierarchy,
        });
    }
    Cgroup { dirs }
}

impl Dir {
    fn has(&self, controller: &str) -> bool {
        match &self.hierarchy {
            Hierarchy::V1(controllers) => controllers.iter().any(|it| it == controller),
            Hierarchy::V2 => self
                .path
                .join(match controller {
                    "memory" => "memory.max",
                    "cpu" => "cpu.max",
                    "pids" => "pids.max",
                    _ => "cpuset.cpus",
                })
                .exists(),
        }
    }

    /// Creates the directory and those above it.
    fn create(&self) -> io::Result<()> {
        let below = self.path.strip_prefix(&self.mount).unwrap_or(&self.path);
        let mut at = self.mount.clone();
        for part in below.components() {
            if self.hierarchy == Hierarchy::V2 {
                for controller in ["+memory", "+cpu", "+pids", "+cpuset"] {
                    // A host may not have it, or not allow it here.
                    let _ = write(&at.join("cgroup.subtree_control"), controller);
                }
            }
            let above = at.clone();
            at.push(part);
            match std::fs::create_dir(&at) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
            if matches!(&self.hierarchy, Hierarchy::V1(it) if it.iter().any(|it| it == "cpuset")) {
                // No process can be in it before both are set.
                for name in ["cpuset.cpus", "cpuset.mems"] {
                    inherit(&above.join(name), &at.join(name))?;
                }
            }
        }
        Ok(())
    }

    /// Writes limits; `later` is whether processes are in it already.
    fn limit(&self, resources: &Resources, later: bool) -> Result<(), Failure> {
        for (file, value) in self.values(resources) {
            let path = self.path.join(file);
            let mut written = write(&path, &value);
            // Both limits of memory are only valid together.
            if written.is_err() && later && file == "memory.limit_in_bytes" {
                let both = self.path.join("memory.memsw.limit_in_bytes");
                written = write(&both, &value).and_then(|()| write(&path, &value));
            }
            match written {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound || is_forbidden(&e) => {}
                Err(e) => {
                    let what = format!("cannot set `{}` to {value}", path.display());
                    return Err(Failure::of(&what, &e));
                }
            }
        }
        Ok(())
    }

    /// Returns what is written into which files.
    fn values(&self, resources: &Resources) -> Vec<(&'static str, String)> {
        let mut values = Vec::new();
        let v2 = self.hierarchy == Hierarchy::V2;
        if let Some(memory) = resources.memory.as_ref().filter(|_| self.has("memory")) {
            values.extend(memory_values(memory, v2));
        }
        if let Some(cpu) = resources.cpu.as_ref() {
            if self.has("cpu") {
                values.extend(cpu_values(cpu, v2));
            }
            if self.has("cpuset") {
                let sets = [("cpuset.cpus", &cpu.cpus), ("cpuset.mems", &cpu.mems)];
                let given = sets.into_iter().filter(|(_, set)| !set.is_empty());
                values.extend(given.map(|(file, set)| (file, set.clone())));
            }
        }
        if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit)
            && self.has("pids")
        {
            values.push(("pids.max", number_or_max(limit)));
        }
        values
    }
}

fn number_or_max(number: i64) -> String {
    if number > 0 {
        number.to_string()
    } else {
        "max".to_owned()
    }
}

fn memory_values(memory: &Memory, v2: bool) -> Vec<(&'static str, String)> {
    let limit = memory.limit.filter(|limit| *limit != 0);
    let both = memory.swap.filter(|swap| *swap != 0);
    let reservation = memory.reservation.filter(|reservation| *reservation > 0);
    let mut values = Vec::new();
    if v2 {
        values.extend(reservation.map(|bytes| ("memory.low", bytes.to_string())));
        values.extend(limit.map(|limit| ("memory.max", number_or_max(limit))));
        // Version 1 counts memory and swap, version 2 swap alone.
        let swap = both.zip(limit).map(|(both, limit)| match (both, limit) {
            (both, limit) if both > 0 && limit > 0 => (both - limit).max(0).to_string(),
            _ => "max".to_owned(),
        });
        values.extend(swap.map(|swap| ("memory.swap.max", swap)));
    } else {
        values.extend(limit.map(|limit| ("memory.limit_in_bytes", limit.to_string())));
        values.extend(both.map(|both| ("memory.memsw.limit_in_bytes", both.to_string())));
        values.extend(reservation.map(|bytes| ("memory.soft_limit_in_bytes", bytes.to_string())));
        // What follows does not exist in version 2.
        let swappiness = memory.swappiness.filter(|it| (0..=100).contains(it));
        values.extend(swappiness.map(|it| ("memory.swappiness", it.to_string())));
        let waits = memory.disable_oom_killer.filter(|waits| *waits);
        values.extend(waits.map(|_| ("memory.oom_control", "1".to_owned())));
    }
    values
}

/// The default period, in microseconds.
const PERIOD: u64 = 100_000;

fn cpu_values(cpu: &Cpu, v2: bool) -> Vec<(&'static str, String)> {
    let shares = cpu.shares.filter(|shares| *shares > 0);
    let quota = cpu.quota.filter(|quota| *quota != 0);
    let period = cpu.period.filter(|period| *period > 0);
    let mut values = Vec::new();
    if v2 {
        // The usual conversion of 2..262144 to 1..10000.
        let weight = |shares: u64| 1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142;
        values.extend(shares.map(|shares| ("cpu.weight", weight(shares).to_string())));
        if quota.is_some() || period.is_some() {
            let time = number_or_max(quota.unwrap_or(-1));
            values.push(("cpu.max", format!("{time} {}", period.unwrap_or(PERIOD))));
        }
    } else {
        values.extend(shares.map(|shares| ("cpu.shares", shares.to_string())));
        values.extend(period.map(|period| ("cpu.cfs_period_us", period.to_string())));
        values.extend(quota.map(|quota| ("cpu.cfs_quota_us", quota.to_string())));
    }
    values
}

/// Copies a set of the control group above, unless there is one.
fn inherit(from: &Path, to: &Path) -> io::Result<()> {
    let read = |path| fs::read_file(path, 4096).map_err(|e: fs::Error| e.source);
    if read(to)?.trim_ascii().is_empty() {
        let set = read(from)?;
        write(to, String::from_utf8_lossy(&set).trim())?;
    }
    Ok(())
}

/// Writes a file of a control group, at once.
fn write(path: &Path, value: &str) -> io::Result<()> {
    let mut file = std::fs::File::options().write(true).open(path)?;
    io::Write::write_all(&mut file, value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Pids;

    const HYBRID: &str = "\
30 24 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro
31 30 0:27 / /sys/fs/cgroup/unified rw shared:1 - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 30 0:29 / /elsewhere/memory rw - cgroup cgroup rw,memory
35 30 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
";

    #[test]
    fn every_hierarchy_has_a_directory() {
        let cgroup = place(HYBRID, Path::new("/docker/abc"));
        let paths: Vec<_> = cgroup
            .dirs
            .iter()
            .map(|dir| dir.path.to_str().unwrap())
            .collect();
        assert_eq!(
            paths,
            [
                "/sys/fs/cgroup/unified/docker/abc",
                "/sys/fs/cgroup/cpu,cpuacct/docker/abc",
                "/sys/fs/cgroup/memory/docker/abc",
                "/sys/fs/cgroup/systemd/docker/abc",
            ]
        );
        assert!(cgroup.dirs[1].has("cpu") && !cgroup.dirs[1].has("memory"));
    }

    #[test]
    fn paths_cannot_leave_the_hierarchy() {
        assert_eq!(expand("docker/a").unwrap(), Path::new("/docker/a"));
        assert_eq!(
            expand("system-x.slice:docker:abc").unwrap(),
            Path::new("/system.slice/system-x.slice/docker-abc.scope")
        );
        for bad in ["/", "..", "/a/../../b", "/.."] {
            assert!(expand(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_are_written_as_each_version_has_them() {
        let memory = Memory {
            limit: Some(100),
            swap: Some(150),
            reservation: Some(60),
            swappiness: Some(10),
            disable_oom_killer: Some(true),
        };
        let cpu = Cpu {
            shares: Some(1024),
            quota: Some(50_000),
            period: Some(100_000),
            ..Cpu::default()
        };
        let v2 = [memory_values(&memory, true), cpu_values(&cpu, true)].concat();
        let expected = [
            ("memory.low", "60"),
            ("memory.max", "100"),
            ("memory.swap.max", "50"),
            ("cpu.weight", "39"),
            ("cpu.max", "50000 100000"),
        ];
        assert_eq!(v2, expected.map(|(file, value)| (file, value.to_owned())));
        let v1 = memory_values(&memory, false);
        let expected = [
            ("memory.limit_in_bytes", "100"),
            ("memory.memsw.limit_in_bytes", "150"),
            ("memory.soft_limit_in_bytes", "60"),
            ("memory.swappiness", "10"),
            ("memory.oom_control", "1"),
        ];
        assert_eq!(v1, expected.map(|(file, value)| (file, value.to_owned())));
        let unlimited = Memory {
            limit: Some(-1),
            swap: Some(-1),
            swappiness: Some(-1),
            ..Memory::default()
        };
        assert_eq!(memory_values(&unlimited, false)[0].1, "-1");
        assert_eq!(memory_values(&unlimited, true)[0].1, "max");
        let none = Resources {
            pids: Some(Pids { limit: Some(-1) }),
            ..Resources::default()
        };
        assert_eq!(none.memory_limit(), None);
    }
}
