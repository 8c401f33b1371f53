//! Audit events: what happens to the instances and volumes of an account, as a stream.

use http::Method;
use kraft_http::text::sanitized;
use serde_json::Value;

use crate::request::Request;

/// Which events are sent; an empty list selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Types, such as `vm.state_change`.
    pub events: Vec<String>,
    /// UUIDs of instances and volumes.
    pub uuids: Vec<String>,
    /// Tags, all of which the resource must have.
    pub tags: Vec<String>,
}

impl Filter {
    /// Returns what an event is about that the filter does not select, and `None` if it selects it.
    /// The platform may report at any time that events are missing.
    pub(crate) fn refuses(&self, event: &Event) -> Option<String> {
        let text = |pointer: &str| {
            let text = event.value.pointer(pointer).and_then(Value::as_str);
            text.unwrap_or_default()
        };
        let (kind, uuid) = (text("/type"), text("/object/uuid"));
        if kind == "gap" {
            return None;
        }
        let tags = event.value.pointer("/object/tags");
        let has = |tag: &String| {
            let tags = tags.and_then(Value::as_array);
            tags.is_none_or(|tags| tags.iter().any(|own| own == tag))
        };
        let is = |all: &[String], one: &str| {
            all.is_empty() || all.iter().any(|own| own.eq_ignore_ascii_case(one))
        };
        let selected = is(&self.events, kind) && is(&self.uuids, uuid);
        (!selected || !self.tags.iter().all(has)).then(|| format!("an event `{kind}` of `{uuid}`"))
    }
}

/// Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// JSON text, in one line.
    pub raw: String,
    value: Value,
}

impl Event {
    /// Parses the data of a server-sent event; `None` if it is not JSON.
    pub fn parse(data: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(data).ok()?;
        let raw = value.to_string();
        Some(Self { raw, value })
    }

    /// Returns the event in one line for display.
    pub fn line(&self) -> String {
        let text = |pointer: &str| {
            let text = self.value.pointer(pointer).and_then(Value::as_str);
            sanitized(text.unwrap_or_default())
        };
        let mut line = format!("{}  {}", text("/timestamp"), text("/type"));
        let parts = [
            ("", "/object/uuid"),
            ("from ", "/data/prev"),
            ("to ", "/data/new"),
            ("error ", "/data/error"),
            ("by ", "/attribution/origin"),
        ];
        for (label, pointer) in parts {
            let part = text(pointer);
            if !part.is_empty() {
                line.extend(["  ", label, &part]);
            }
        }
        if let Some(dropped) = self.value.get("dropped").and_then(Value::as_u64) {
            line.extend(["  ", &dropped.to_string(), " events are missing"]);
        }
        line
    }
}

/// Subscribes to events. The response is a stream: see
/// [`Client::events`](crate::client::Client::events).
pub fn subscribe(filter: &Filter) -> Request<Value> {
    let mut request = Request::new(Method::GET, &["audit"], "subscribe to events");
    let lists = [
        ("events", &filter.events),
        ("uuid", &filter.uuids),
        ("tags", &filter.tags),
    ];
    for (name, list) in lists {
        if !list.is_empty() {
            request.query.push((name, list.join(",")));
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let data = r#"{"type": "vm.state_change", "timestamp": "T", "object": {"uuid": "u"},
            "data": {"prev": "stopped", "new": "starting"}}"#;
        let event = Event::parse(data).unwrap();
        assert_eq!(
            event.line(),
            "T  vm.state_change  u  from stopped  to starting"
        );
        assert!(!event.raw.contains('\n'));
        let filter = |uuid: &str| Filter {
            uuids: vec![uuid.to_owned()],
            ..Filter::default()
        };
        assert_eq!(filter("U").refuses(&event), None);
        let other = filter("v").refuses(&event);
        assert_eq!(other.as_deref(), Some("an event `vm.state_change` of `u`"));
        let gap = Event::parse(r#"{"type": "gap", "dropped": 3}"#).unwrap();
        assert_eq!(filter("v").refuses(&gap), None);
        assert_eq!(gap.line(), "  gap  3 events are missing");
    }
}
