//! Scale to zero: an instance without connections goes to standby, and the next connection wakes
//! it.
//!
//! Only connections are counted, not the data on them, so the policies `idle` and `on` are
//! equivalent. A real machine of an instance in standby continues to run: no client can observe it,
//! because none is connected.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::Shared;
use crate::world::{Instance, State};

/// Default cooldown in milliseconds (API description, `cooldown_time_ms`).
const USUAL_COOLDOWN: i64 = 1000;

/// Connections to an instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traffic {
    open: usize,
    /// Connections so far.
    pub(crate) total: u64,

    /// Time of the last start of the instance, or of the last opened or closed connection.
    last: Option<Instant>,
}

impl Traffic {
    /// Records activity, which restarts the cooldown.
    pub(crate) fn touch(&mut self) {
        self.last = Some(Instant::now());
    }

    /// Returns the number of open connections.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    fn is_quiet(&self, time: Duration) -> bool {
        self.open == 0 && self.last.is_none_or(|last| last.elapsed() >= time)
    }
}

/// Returns whether an instance has to go to standby.
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
    /// Opens a connection to an instance, and wakes it if it is in standby.
    pub(crate) fn of(shared: &Shared, uuid: &str) -> Self {
        let mut world = shared.world();
        if let Some(one) = world.instance_mut(uuid) {
            one.traffic.open += 1;
            one.traffic.total += 1;
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
            let most = one.asked.pointer("/autokill/num_requests");
            let most = most.and_then(Value::as_u64).filter(|most| *most > 0);
            if one.traffic.open == 0 && most.is_some_and(|most| one.traffic.total >= most) {
                world.remove_instance(&self.uuid);
                drop(world);
                let (shared, uuid) = (self.shared.clone(), self.uuid.clone());
                std::thread::spawn(move || crate::machine::remove(&shared, &uuid));
            }
        }
    }
}
