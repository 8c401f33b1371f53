//! `/audit`: events of the account, as a stream of server-sent events (2026).

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::Request;
use crate::server::Shared;
use crate::world::{Instance, State, fresh_uuid, stamp};

/// Interval between two looks for new events.
const LOOK: Duration = Duration::from_millis(20);

/// Returns the event of an instance that moved from a state to its current one.
pub(crate) fn moved(one: &Instance, before: State, owner: &str) -> Value {
    let kind = match one.state {
        State::Starting | State::Running => "start",
        State::Draining => "drain",
        State::Standby => "suspend",
        State::Stopped | State::Stopping | State::Template | State::Checkpoint => "stop",
    };
    let mut data = json!({"prev": before.word(), "new": one.state.word()});
    if let (State::Stopped, Some(bits), Some(data)) = (one.state, one.reason, data.as_object_mut())
    {
        data.insert("stop".to_owned(), json!({"reason": reasons(bits)}));
    }
    json!({
        "type": "vm.state_change",
        "timestamp": stamp(),
        "object": {
            "type": "i",
            "uuid": one.uuid,
            "owner": owner,
            "tags": one.asked.get("tags").cloned().unwrap_or_else(|| json!([])),
        },
        "attribution": {
            "operation": fresh_uuid(), "kind": kind, "trigger": "observed", "origin": "api",
            "user": owner,
        },
        "data": data,
    })
}

/// Returns the names of the bits of a stop reason.
fn reasons(bits: u8) -> Vec<&'static str> {
    ["kernel", "app", "platform", "user", "forced"]
        .into_iter()
        .enumerate()
        .filter(|(at, _)| bits & (1 << at) != 0)
        .map(|(_, name)| name)
        .collect()
}

/// Returns whether a client that filters by type, UUID and tags receives an event.
fn is_wanted(request: &Request, event: &Value) -> bool {
    let listed = |name: &str, value: Option<&Value>| {
        let wanted: Vec<&str> = request
            .query
            .iter()
            .filter(|(key, _)| key == name)
            .flat_map(|(_, values)| values.split(','))
            .collect();
        wanted.is_empty()
            || value
                .and_then(Value::as_str)
                .is_some_and(|v| wanted.contains(&v))
    };
    let tags = event.pointer("/object/tags").and_then(Value::as_array);
    let tagged = request
        .query
        .iter()
        .filter(|(key, _)| key == "tags")
        .flat_map(|(_, tags)| tags.split(','))
        .all(|tag| tags.is_some_and(|tags| tags.iter().any(|one| one == tag)));
    tagged && listed("events", event.get("type")) && listed("uuid", event.pointer("/object/uuid"))
}

/// Sends the events from now on until the client closes the connection.
pub(crate) fn stream(shared: &Shared, request: &Request, mut client: TcpStream) {
    let mut next = shared.world().events.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    let mut sent = client.write_all(head.as_bytes());
    while sent.is_ok() {
        let events: Vec<Value> = {
            let world = shared.world();
            let new = world.events.get(next..).unwrap_or_default().to_vec();
            next = world.events.len();
            new
        };
        // A comment shows whether the client is still connected.
        let mut text = String::from(":\n\n");
        for event in events.iter().filter(|event| is_wanted(request, event)) {
            text.push_str(&format!("data: {event}\n\n"));
        }
        sent = client.write_all(text.as_bytes());
        std::thread::sleep(LOOK);
    }
}
