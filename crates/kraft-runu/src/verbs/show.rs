//! `state`, `list`, `ps` and `events`: what containers are and use.

use std::time::Duration;

use kraft_sys::fs;
use serde::Serialize;

use crate::failure::Failure;
use crate::state::{Container, StateDir, Status};
use crate::{Context, print};

/// The interval of `events`.
const INTERVAL: Duration = Duration::from_secs(5);

fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|e| Failure::of("cannot write JSON", &e))
}

/// Prints the state of a container.
pub(crate) fn state(dir: &StateDir) -> Result<(), Failure> {
    let container = dir.load()?;
    // On several lines, as runc does: scripts look for `"status": "running"`.
    let state = serde_json::to_string_pretty(&container.oci_state(dir.status(&container)));
    print(&state.map_err(|e| Failure::of("cannot write JSON", &e))?)
}

/// A line of `list`, as runc names its fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    oci_version: &'static str,
    id: String,
    pid: u32,
    status: Status,
    bundle: String,
    created: String,
}

/// Prints the containers of this runtime.
pub(crate) fn list(ctx: &Context<'_>) -> Result<(), Failure> {
    let mut lines = Vec::new();
    for id in fs::names(&ctx.root)? {
        let Ok(dir) = StateDir::new(&ctx.root, &id) else {
            continue;
        };
        // It may be deleted meanwhile.
        if let Ok(container) = dir.load() {
            lines.push(line(&dir, &container));
        }
    }
    if ctx.arguments.flags.quiet {
        return lines.iter().try_for_each(|line| print(&line.id));
    }
    match ctx.arguments.flags.format.as_deref() {
        Some("json") => print(&json(&lines)?),
        None | Some("table") => {
            let width = lines
                .iter()
                .map(|line| line.id.len())
                .max()
                .unwrap_or(2)
                .max(2);
            print(&format!(
                "{:width$}  {:>8}  {:9}  BUNDLE",
                "ID", "PID", "STATUS"
            ))?;
            lines.iter().try_for_each(|line| {
                let status = line.status.name();
                let Line {
                    id, pid, bundle, ..
                } = line;
                print(&format!("{id:width$}  {pid:>8}  {status:9}  {bundle}"))
            })
        }
        Some(other) => Err(Failure(format!(
            "`{other}` is not a format: expected table or json"
        ))),
    }
}

fn line(dir: &StateDir, container: &Container) -> Line {
    let state = container.oci_state(dir.status(container));
    Line {
        oci_version: state.oci_version,
        id: container.id.clone(),
        pid: state.pid,
        status: state.status,
        bundle: container.bundle.display().to_string(),
        created: container.created.to_string(),
    }
}

/// Returns the processes of a container: the supervisor and the VMM.
fn processes(container: &Container) -> Vec<u32> {
    let all = container.cgroup.processes();
    if all.is_empty() {
        let supervisor = container.supervisor.as_ref().filter(|it| it.is_alive());
        return supervisor.map(|it| it.pid).into_iter().collect();
    }
    all
}

/// Prints the processes of a container.
pub(crate) fn ps(ctx: &Context<'_>, dir: &StateDir) -> Result<(), Failure> {
    let pids = processes(&dir.load()?);
    if ctx.arguments.flags.format.as_deref() == Some("json") {
        return print(&json(&pids)?);
    }
    print("PID")?;
    pids.iter().try_for_each(|pid| print(&pid.to_string()))
}

/// Prints what a container uses: once with `--stats`, else until it ends.
pub(crate) fn events(ctx: &Context<'_>, dir: &StateDir) -> Result<(), Failure> {
    let container = dir.load()?;
    loop {
        if dir.status(&container) == Status::Stopped {
            return Err(Failure("container not running".to_owned()));
        }
        let cgroup = &container.cgroup;
        let nanoseconds = cgroup.number("cpuacct.usage", "none").unwrap_or_default();
        let usage = cgroup.number("memory.usage_in_bytes", "memory.current");
        let limit = cgroup.number("memory.limit_in_bytes", "memory.max");
        let pids = cgroup.number("pids.current", "pids.current");
        print(&json(&serde_json::json!({
            "type": "stats",
            "id": container.id,
            "data": {
                "cpu": { "usage": { "total": nanoseconds } },
                "memory": { "usage": { "usage": usage, "limit": limit } },
                "pids": { "current": pids },
            },
        }))?)?;
        if ctx.arguments.flags.stats {
            return Ok(());
        }
        std::thread::sleep(INTERVAL);
    }
}
