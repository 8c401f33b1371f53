//! Lifecycle of instances: start, stop, wait, logs.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{done, each, must_ask, query};
use crate::answer::{Code, Fault};
use crate::check::{Field, Kind, NAME_FIELD, UUID_FIELD};
use crate::http::{Request, Response};
use crate::server::{LOOK, Shared};
use crate::world::{State, World};

const TIME: Kind = Kind::Number(-1, 2_147_483_647);
const START: &[Field] = &[UUID_FIELD, NAME_FIELD, ("wait_timeout_ms", TIME, false)];
const START_TODAY: &[Field] = &[
    UUID_FIELD,
    NAME_FIELD,
    ("wait_timeout_ms", TIME, false),
    ("timeout_s", TIME, false),
];
const STOP: &[Field] = &[UUID_FIELD, NAME_FIELD, ("force", Kind::Flag, false), DRAIN];
const DRAIN: Field = ("drain_timeout_ms", Kind::Number(-1, 3_600_000), false);
const STOP_TODAY: &[Field] = &[
    UUID_FIELD,
    NAME_FIELD,
    ("force", Kind::Flag, false),
    DRAIN,
    ("quick", Kind::Flag, false),
    ("ifstate", STATES_TODAY, false),
    ("dump", Kind::Flag, false),
];
const SUSPEND: &[Field] = &[UUID_FIELD, NAME_FIELD, DRAIN];
const STATES: Kind = Kind::Word(&[
    "stopped", "starting", "running", "draining", "stopping", "standby",
]);
const STATES_TODAY: Kind = Kind::Word(&[
    "stopped",
    "starting",
    "running",
    "draining",
    "stopping",
    "standby",
    "template",
    "deleted",
    "checkpoint",
]);
const WAIT_TODAY: &[Field] = &[
    UUID_FIELD,
    NAME_FIELD,
    ("state", STATES_TODAY, false),
    ("timeout_ms", TIME, false),
    ("timeout_s", TIME, false),
];
const WAIT: &[Field] = &[
    UUID_FIELD,
    NAME_FIELD,
    ("state", STATES, false),
    ("timeout_ms", TIME, false),
];
const LOG_TODAY: &[Field] = &[
    UUID_FIELD,
    NAME_FIELD,
    ("offset", Kind::Number(i64::MIN, i64::MAX), false),
    ("limit", Kind::Number(0, i64::MAX), false),
];
const LOG: &[Field] = &[
    UUID_FIELD,
    NAME_FIELD,
    ("offset", Kind::Number(-2_147_483_647, 2_147_483_647), false),
    ("limit", Kind::Number(0, 16_383), false),
];
/// Maximum time that a request blocks, even if it asks for no timeout.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// Converts milliseconds to a duration of at most [`FOR_EVER`]; -1 is no timeout.
fn span(ms: i64) -> Duration {
    u64::try_from(ms)
        .map_or(FOR_EVER, Duration::from_millis)
        .min(FOR_EVER)
}

/// Starts an instance, with a real machine if one is configured.
pub(super) fn begin(shared: &Shared, uuid: &str) {
    let real = {
        let mut world = shared.world();
        world.enter(uuid, State::Starting);
        world.instance(uuid).is_some_and(|one| one.real)
    };
    if real {
        crate::machine::start(shared, uuid);
    } else {
        crate::helpers::start(shared, uuid);
    }
}

/// Blocks until every instance runs or has stopped, or the timeout expires.
pub(super) fn until_running(shared: &Shared, uuids: &[String], timeout: Option<i64>) {
    let end = Instant::now() + span(timeout.unwrap_or(0));
    while Instant::now() < end {
        let world = shared.world();
        let starting = |uuid: &&String| {
            world
                .instance(uuid)
                .is_some_and(|one| one.state == State::Starting)
        };
        if !uuids.iter().any(|uuid| starting(&uuid)) {
            return;
        }
        drop(world);
        std::thread::sleep(LOOK);
    }
}

pub(super) fn start(
    shared: &Shared,
    request: &Request,
    one: Option<&str>,
) -> Result<Response, Response> {
    let list = if request.today {
        query(request, &[])?;
        must_ask(request, one, START_TODAY)?
    } else {
        query(request, &["wait_timeout_ms"])?;
        must_ask(request, one, START)?
    };
    let asked = request
        .parameter("wait_timeout_ms")
        .and_then(|ms| ms.parse().ok());
    Ok(each("instances", list, |item| {
        let (uuid, name, before) = found(shared, item)?;
        match before {
            State::Stopped => {
                if let Some(one) = shared.world().instance_mut(&uuid) {
                    one.attempts = 0;
                }
                begin(shared, &uuid);
                let wait = timeout(item, "wait_timeout_ms").or(asked);
                until_running(shared, std::slice::from_ref(&uuid), wait);
                if request.today && wait.unwrap_or(0) != 0 {
                    not_running(&shared.world(), &uuid, &name).map_or(Ok(()), Err)?;
                }
            }
            State::Standby => {
                if let Some(one) = shared.world().instance_mut(&uuid) {
                    one.state = State::Running;
                    one.traffic.touch();
                }
            }
            State::Starting | State::Running => {}
            State::Draining | State::Stopping => {
                return Err(Fault::new(
                    Code::WrongState,
                    "the instance is being stopped",
                ));
            }
            State::Template | State::Checkpoint => return Err(saved()),
        }
        Ok(moved(shared, &uuid, &name, before))
    }))
}

pub(super) fn stop(
    shared: &Shared,
    request: &Request,
    one: Option<&str>,
) -> Result<Response, Response> {
    let list = if request.today {
        query(request, &[])?;
        must_ask(request, one, STOP_TODAY)?
    } else {
        query(request, &["force", "drain_timeout_ms"])?;
        must_ask(request, one, STOP)?
    };
    let drain = request
        .parameter("drain_timeout_ms")
        .and_then(|ms| ms.parse().ok());
    let forced = request.parameter("force") == Some("true");
    Ok(each("instances", list, |item| {
        let (uuid, name, before) = found(shared, item)?;
        if matches!(before, State::Template | State::Checkpoint) {
            return Err(saved());
        }
        let only = item.get("ifstate").and_then(Value::as_str);
        if only.is_some_and(|state| state != before.word()) {
            let message = format!("the instance is {}", before.word());
            return Err(Fault::new(Code::WrongState, message));
        }
        let force = item.get("force").and_then(Value::as_bool).unwrap_or(forced);
        if item.get("dump") == Some(&json!(true)) && !force {
            return Err(Fault::new(Code::Invalid, "`dump` needs `force`"));
        }
        let drain = item
            .get("drain_timeout_ms")
            .and_then(Value::as_i64)
            .or(drain)
            .unwrap_or(0);
        let mut world = shared.world();
        let pause = world.settings.stop;
        let Some(one) = world.instance_mut(&uuid) else {
            return Ok(Value::Null);
        };
        if before == State::Stopped {
            one.next = None;
        } else if force {
            world.end(&uuid, 28, None);
        } else {
            // There are no connections to drain: only the time passes.
            one.state = if drain == 0 {
                State::Stopping
            } else {
                State::Draining
            };
            one.next = Some((Instant::now() + pause, State::Stopped));
        }
        drop(world);
        if before != State::Stopped {
            crate::machine::remove(shared, &uuid);
        }
        Ok(moved(shared, &uuid, &name, before))
    }))
}

/// Suspends instances: they keep their memory, and the next connection resumes them.
pub(super) fn suspend(
    shared: &Shared,
    request: &Request,
    one: Option<&str>,
) -> Result<Response, Response> {
    query(request, &[])?;
    let list = must_ask(request, one, SUSPEND)?;
    Ok(each("instances", list, |item| {
        let (uuid, name, before) = found(shared, item)?;
        match before {
            State::Running | State::Starting => shared.world().enter(&uuid, State::Standby),
            State::Standby => {}
            _ => {
                let message = format!("the instance is {}", before.word());
                return Err(Fault::new(Code::WrongState, message));
            }
        }
        Ok(moved(shared, &uuid, &name, before))
    }))
}

/// Returns the error for an instance that was awaited and does not run.
pub(super) fn not_running(world: &World, uuid: &str, name: &str) -> Option<Fault> {
    match world.instance(uuid).map(|one| one.state) {
        Some(State::Running | State::Standby) => None,
        Some(state @ State::Starting) => {
            let message = format!("Timed out: the instance is {}", state.word());
            Some(Fault::new(Code::TimedOut, message).about(uuid, name, state.word()))
        }
        // One that deletes itself when it stops is gone.
        found => {
            let message = "The instance stopped before it was running";
            let state = found.map_or("deleted", State::word);
            Some(Fault::new(Code::Unnumbered, message).about(uuid, name, state))
        }
    }
}

fn saved() -> Fault {
    Fault::new(Code::WrongState, "templates and checkpoints do not run")
}

/// Returns the timeout of a request in milliseconds: of `timeout_s`, or of its former field.
pub(super) fn timeout(item: &Value, former: &str) -> Option<i64> {
    let seconds = item.get("timeout_s").and_then(Value::as_i64);
    let seconds = seconds.map(|s| if s < 0 { -1 } else { s.saturating_mul(1000) });
    seconds.or_else(|| item.get(former)?.as_i64())
}

fn found(shared: &Shared, item: &Value) -> Result<(String, String, State), Fault> {
    let world = shared.world();
    let uuid = world.find_instance(item)?;
    let gone = || Fault::new(Code::NotFound, format!("No instance with uuid '{uuid}'"));
    let one = world.instance(&uuid).ok_or_else(gone)?;
    Ok((uuid.clone(), one.name.clone(), one.state))
}

fn moved(shared: &Shared, uuid: &str, name: &str, before: State) -> Value {
    let world = shared.world();
    let state = world.instance(uuid).map_or(State::Stopped, |one| one.state);
    let more = json!({"state": state.word(), "previous_state": before.word()});
    done(uuid, name, more)
}

pub(super) fn wait(
    shared: &Shared,
    request: &Request,
    one: Option<&str>,
) -> Result<Response, Response> {
    let list = if request.today {
        query(request, &["state", "timeout_s", "timeout_ms"])?;
        with_parameters(request, must_ask(request, one, WAIT_TODAY)?)
    } else {
        query(request, &[])?;
        must_ask(request, one, WAIT)?
    };
    Ok(each("instances", list, |item| {
        let wanted = item
            .get("state")
            .and_then(Value::as_str)
            .unwrap_or("running");
        let timeout = timeout(item, "timeout_ms").unwrap_or(-1);
        let end = Instant::now() + span(timeout);
        loop {
            let (uuid, name, state) = found(shared, item)?;
            if state.word() == wanted {
                return Ok(done(&uuid, &name, json!({"state": state.word()})));
            }
            if Instant::now() >= end {
                let message = format!("Timed out: the instance is {}, not {wanted}", state.word());
                return Err(Fault::new(Code::TimedOut, message).about(&uuid, &name, state.word()));
            }
            std::thread::sleep(LOOK);
        }
    }))
}

/// Completes the items of a request by its parameters, the n-th by the n-th value; if there are
/// fewer values, the last one applies.
fn with_parameters(request: &Request, mut list: Vec<Value>) -> Vec<Value> {
    for key in ["state", "timeout_s", "timeout_ms", "offset", "limit"] {
        let values = request.query.iter().filter(|(name, _)| name == key);
        let values: Vec<&str> = values.map(|(_, value)| value.as_str()).collect();
        for (at, item) in list.iter_mut().enumerate() {
            let value = values.get(at).or(values.last());
            if let (Some(value), Some(item)) = (value, item.as_object_mut()) {
                let value = value
                    .parse::<i64>()
                    .map_or_else(|_| json!(value), |n| json!(n));
                item.entry(key).or_insert(value);
            }
        }
    }
    list
}

pub(super) fn log(
    shared: &Shared,
    request: &Request,
    one: Option<&str>,
) -> Result<Response, Response> {
    query(request, &["offset", "limit"])?;
    let list = match request.today {
        true => with_parameters(request, must_ask(request, one, LOG_TODAY)?),
        false => must_ask(request, one, LOG)?,
    };
    let parameter = |key: &str| {
        request
            .parameter(key)
            .and_then(|text| text.parse::<i64>().ok())
    };
    let world = shared.world();
    Ok(each("instances", list, |item| {
        let uuid = world.find_instance(item)?;
        let Some(one) = world.instance(&uuid) else {
            return Ok(Value::Null);
        };
        let number = |key: &str| {
            item.get(key)
                .and_then(Value::as_i64)
                .or_else(|| parameter(key))
        };
        let offset = number("offset").unwrap_or(-4096);
        let limit = u64::try_from(number("limit").unwrap_or(4096).clamp(0, 16_383)).unwrap_or(0);
        let (start, length) = (one.forgotten, one.console.len() as u64);
        let end = start + length;
        let from = match u64::try_from(offset) {
            Ok(offset) => offset.clamp(start, end),
            Err(_) => end.saturating_sub(offset.unsigned_abs()).max(start),
        };
        let to = (from + limit).min(end);
        let place = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX);
        let bytes = one.console.get(place(from)..place(to)).unwrap_or_default();
        let more = json!({
            "output": STANDARD.encode(bytes),
            "available": {"start": start, "end": end},
            "range": {"start": from, "end": to},
            "state": one.state.word(),
        });
        Ok(done(&one.uuid, &one.name, more))
    }))
}
