//! Scale to zero: an instance that nobody is connected to falls asleep, and the next connection wakes
//! it.
//!
//! Connections are counted, not what goes through them, so that the policy `idle` is that of `on`. A
//! real machine behind an instance goes on running: nobody can tell, as nobody is connected.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::Shared;
use crate::world::{Instance, State};

/// How long an instance stays awake when nobody says so (cloud description, `cooldown_time_ms`).
const USUAL_COOLDOWN: i64 = 1000;

/// Who is connected to an instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traffic {
    open: usize,
    /// When something last began or ended: a start, a connection.
    last: Option<Instant>,
}

impl Traffic {
    /// Somebody needs the instance, or did a moment ago.
    pub(crate) fn touch(&mut self) {
        self.last = Some(Instant::now());
    }

    fn is_quiet(&self, time: Duration) -> bool {
        self.open == 0 && self.last.is_none_or(|last| last.elapsed() >= time)
    }
}

/// Returns whether it is time for an instance to fall asleep.
pub(crate) fn is_due(one: &Instance) -> bool {
    let Some(zero) = one.asked.get("scale_to_zero") else {
        return false;
    };
    let policy = zero.get("policy").and_then(Value::as_str);
    let cooldown = zero.get("cooldown_time_ms").and_then(Value::as_i64);
    let cooldown = u64::try_from(cooldown.unwrap_or(USUAL_COOLDOWN)).unwrap_or(0);
    one.state == State::Running
        && matches!(policy, Some("on" | "idle"))
        && one.traffic.is_quiet(Duration::from_millis(cooldown))
}

/// A connection to an instance, which keeps it awake.
pub(crate) struct Guest {
    shared: Shared,
    uuid: String,
}

impl Guest {
    /// Comes to an instance, and wakes it if it sleeps.
    pub(crate) fn of(shared: &Shared, uuid: &str) -> Self {
        let mut world = shared.world();
        if let Some(one) = world.instance_mut(uuid) {
            one.traffic.open += 1;
            one.traffic.touch();
            if one.state == State::Standby {
                one.state = State::Running;
            }
        }
        drop(world);
        Self {
            shared: shared.clone(),
            uuid: uuid.to_owned(),
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut world = self.shared.world();
        if let Some(one) = world.instance_mut(&self.uuid) {
            one.traffic.open = one.traffic.open.saturating_sub(1);
            one.traffic.touch();
        }
    }
}
