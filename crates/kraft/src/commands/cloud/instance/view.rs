//! Print instances.

use anstyle::AnsiColor;
use jiff::Timestamp;
use kraft_cloud::resources::instances::{Instance, InstanceVolume};
use serde_json::Value;

use super::super::output::{Shown, when};
use super::super::saved::list;
use crate::ui::{Cell, Column};

type Field = Column<Instance>;

const UUID: Field = Column::new("UUID", |one| Cell::new(&one.uuid));
const NAME: Field = Column::new("NAME", |one| Cell::new(&one.name));
const FQDN: Field = Column::new("FQDN", |one| Cell::new(fqdns(one)));
const PRIVATE_FQDN: Field = Column::new("PRIVATE FQDN", |one| Cell::new(&one.private_fqdn));
const PRIVATE_IP: Field = Column::new("PRIVATE IP", |one| Cell::new(&one.private_ip));
const STATE: Field = Column::new("STATE", |one| coloured(&one.state));
const STATUS: Field = Column::new("STATUS", |one| Cell::new(status(one, Timestamp::now())));
const CREATED: Field = Column::new("CREATED", |one| Cell::new(&one.created_at));
const STARTED: Field = Column::new("STARTED", |one| Cell::new(&one.started_at));
const STOPPED: Field = Column::new("STOPPED", |one| Cell::new(&one.stopped_at));
const STARTS: Field = Column::new("START COUNT", |one| Cell::new(one.start_count.to_string()));
const RESTARTS: Field = Column::new("RESTART COUNT", |one| {
    Cell::new(one.restart_count.to_string())
});
const ATTEMPTS: Field = Column::new("RESTART ATTEMPTS", |one| {
    Cell::new(
        one.restart
            .as_ref()
            .map(|restart| restart.attempt.to_string())
            .unwrap_or_default(),
    )
});
const NEXT: Field = Column::new("NEXT RESTART", |one| {
    Cell::new(
        one.restart
            .as_ref()
            .map_or("", |restart| restart.next_at.as_str()),
    )
});
const POLICY: Field = Column::new("RESTART POLICY", |one| Cell::new(&one.restart_policy));
const ORIGIN: Field = Column::new("STOP ORIGIN", |one| {
    Cell::new(one.end().map(|end| end.origin()).unwrap_or_default())
});
const REASON: Field = Column::new("STOP REASON", |one| {
    Cell::new(one.end().map(|end| end.to_string()).unwrap_or_default())
});
const EXIT: Field = Column::new("APP EXIT CODE", |one| {
    let code = one.end().and_then(|end| end.exit_code());
    Cell::new(code.map(|code| code.to_string()).unwrap_or_default())
});
const IMAGE: Field = Column::new("IMAGE", |one| {
    Cell::new(kraft_cloud::resources::images::without_host(&one.image))
});
const MEMORY: Field = Column::new("MEMORY", |one| Cell::new(format!("{} MiB", one.memory_mb)));
const VCPUS: Field = Column::new("VCPUS", |one| Cell::new(one.vcpus.to_string()));
const ARGS: Field = Column::new("ARGS", |one| Cell::new(one.args.join(" ")));
const ENV: Field = Column::new("ENV", |one| {
    let pairs: Vec<String> = one
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    Cell::new(pairs.join(", "))
});
const VOLUMES: Field = Column::new("VOLUMES", |one| {
    let volumes: Vec<String> = one.volumes.iter().map(volume).collect();
    Cell::new(volumes.join(", "))
});
const SERVICE: Field = Column::new("SERVICE", |one| {
    Cell::new(
        one.service_group
            .as_ref()
            .map_or("", |group| group.name.as_str()),
    )
});
const SCALE: Field = Column::new("SCALE TO ZERO", |one| {
    Cell::new(
        one.scale_to_zero
            .as_ref()
            .map_or("off", |scale| scale.policy.as_str()),
    )
});
const COOLDOWN: Field = Column::new("SCALE TO ZERO COOLDOWN", |one| {
    let time = one
        .scale_to_zero
        .as_ref()
        .map(|scale| format!("{} ms", scale.cooldown_time_ms));
    Cell::new(time.unwrap_or_default())
});
const STATEFUL: Field = Column::new("SCALE TO ZERO STATEFUL", |one| {
    let stateful = one
        .scale_to_zero
        .as_ref()
        .map(|scale| scale.stateful.to_string());
    Cell::new(stateful.unwrap_or_default())
});
const TAGS: Field = Column::new("TAGS", |one| Cell::new(list(one.more.get("tags"))));
const SCHEDULES: Field = Column::new("SCHEDULES", |one| {
    Cell::new(parts(one, "schedules", &["action", "when"]))
});
const PLUGINS: Field = Column::new("PLUGINS", |one| Cell::new(parts(one, "plugins", &["name"])));
const BOOT_TIME: Field = Column::new("BOOT TIME", |one| Cell::new(boot_time(one.boot_time_us)));
const UP_TIME: Field = Column::new("UP TIME", |one| Cell::new(span(one.uptime_ms / 1000)));

impl Shown for Instance {
    const TABLE: &'static [Field] = &[
        NAME, FQDN, STATE, STATUS, IMAGE, MEMORY, VCPUS, ARGS, BOOT_TIME,
    ];
    const LIST: &'static [Field] = &[
        UUID,
        NAME,
        FQDN,
        PRIVATE_FQDN,
        PRIVATE_IP,
        STATE,
        CREATED,
        STARTED,
        STOPPED,
        STARTS,
        RESTARTS,
        ATTEMPTS,
        NEXT,
        POLICY,
        ORIGIN,
        REASON,
        EXIT,
        IMAGE,
        MEMORY,
        VCPUS,
        ARGS,
        ENV,
        VOLUMES,
        SERVICE,
        SCALE,
        COOLDOWN,
        STATEFUL,
        TAGS,
        SCHEDULES,
        PLUGINS,
        BOOT_TIME,
        UP_TIME,
    ];
}

/// Returns some texts of each member of a list that only today's platform returns.
fn parts(one: &Instance, field: &str, keys: &[&str]) -> String {
    let members = one.more.get(field).and_then(Value::as_array);
    let text = |member: &Value| {
        let texts = keys.iter().filter_map(|key| member.get(key)?.as_str());
        texts.collect::<Vec<_>>().join(" ")
    };
    let all: Vec<String> = members.into_iter().flatten().map(text).collect();
    all.join(", ")
}

fn fqdns(one: &Instance) -> String {
    let domains = one.service_group.iter().flat_map(|group| &group.domains);
    let names: Vec<&str> = domains.map(|domain| domain.fqdn.as_str()).collect();
    names.join(", ")
}

fn volume(one: &InstanceVolume) -> String {
    let mode = if one.readonly { ":ro" } else { "" };
    format!("{}:{}{mode}", one.name, one.at)
}

/// Returns a state in its colour.
fn coloured(state: &str) -> Cell {
    let cell = Cell::new(state);
    match state {
        "running" | "starting" => cell.colour(AnsiColor::Green),
        "standby" => cell.colour(AnsiColor::Cyan),
        "stopped" => cell.colour(AnsiColor::Red),
        "draining" | "stopping" => cell.colour(AnsiColor::Yellow),
        _ => cell,
    }
}

/// Returns the state for tables: since when the instance runs, or why it does not.
fn status(one: &Instance, now: Timestamp) -> String {
    match one.state.as_str() {
        "running" => match when(&one.started_at) {
            Some(then) => {
                let seconds = now.as_second().saturating_sub(then.as_second());
                format!("since {}", span(u64::try_from(seconds).unwrap_or_default()))
            }
            None => "running".to_owned(),
        },
        "stopped" => match one.end() {
            Some(end) if !end.is_clean() => end.to_string(),
            _ => String::new(),
        },
        other => other.to_owned(),
    }
}

/// Returns a length of time: `2days 3hrs 5mins`, and seconds only below a minute.
fn span(seconds: u64) -> String {
    if seconds < 60 {
        return format!("{seconds}secs");
    }
    let units = [
        (seconds / 86_400, "days"),
        (seconds / 3600 % 24, "hrs"),
        (seconds / 60 % 60, "mins"),
    ];
    let parts: Vec<String> = units
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    parts.join(" ")
}

/// Formats a time in microseconds: `12.34 ms`.
pub(crate) fn boot_time(micros: u64) -> String {
    format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_leave_out_what_is_zero() {
        assert_eq!(span(5), "5secs");
        assert_eq!(span(60), "1mins");
        assert_eq!(span(2 * 86_400 + 3 * 3600 + 5 * 60 + 9), "2days 3hrs 5mins");
        assert_eq!(span(86_400 + 61), "1days 1mins");
    }

    #[test]
    fn a_boot_time_has_two_digits_behind_its_point() {
        assert_eq!(boot_time(12_345), "12.34 ms");
        assert_eq!(boot_time(50), "0.05 ms");
    }

    #[test]
    fn the_status_says_since_when_or_why() {
        let mut one = Instance {
            state: "running".to_owned(),
            started_at: "2026-01-01T00:00:00Z".to_owned(),
            ..Instance::default()
        };
        let now = "2026-01-02T00:05:00Z".parse().unwrap();
        assert_eq!(status(&one, now), "since 1days 5mins");
        one.state = "stopped".to_owned();
        one.stop_reason = Some(15);
        assert_eq!(status(&one, now), "");
        one.stop_reason = Some(1);
        assert_eq!(status(&one, now), "the kernel crashed");
    }
}
