//! What goes wrong on demand.

use std::time::Duration;

use serde_json::Value;

use crate::http::Request;

/// How a request is spoilt.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Answered late.
    Latency(Duration),
    /// Answered with a status, and seconds for `Retry-After`, without any effect.
    Status(u16, Option<u64>),
    /// Hung up before anything happened.
    DropBefore,
    /// Done, and hung up without an answer.
    DropAfter,
    /// Done, and hung up in the middle of the answer.
    Half,
    /// Sent somewhere else.
    Redirect(String),
}

/// One fault that waits for its request.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    /// The method it waits for; any if `None`.
    pub method: Option<String>,
    /// What the path begins with.
    pub path: String,
    /// How many requests to let pass first.
    pub after: u64,
    /// How many requests to spoil.
    pub times: u64,
    /// How.
    pub kind: Kind,
}

impl Planned {
    /// Reads `{kind, method?, path?, after?, times?, ms?, status?, retry_after?, location?}`.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let number = |key: &str| value.get(key).and_then(Value::as_u64);
        let kind = match value.get("kind")?.as_str()? {
            "latency" => Kind::Latency(Duration::from_millis(number("ms")?)),
            "status" => {
                let status = u16::try_from(number("status")?).ok()?;
                Kind::Status(status, number("retry_after"))
            }
            "drop-before" => Kind::DropBefore,
            "drop-after" => Kind::DropAfter,
            "half" => Kind::Half,
            "redirect" => Kind::Redirect(text("location")?),
            _ => return None,
        };
        Some(Self {
            method: text("method"),
            path: text("path").unwrap_or_default(),
            after: number("after").unwrap_or(0),
            times: number("times").unwrap_or(1),
            kind,
        })
    }

    fn meets(&self, request: &Request) -> bool {
        let method = self
            .method
            .as_ref()
            .is_none_or(|method| *method == request.method);
        method && request.path.starts_with(&self.path)
    }
}

/// The fault for this request, if one waits; it is used up.
pub(crate) fn take(planned: &mut Vec<Planned>, request: &Request) -> Option<Kind> {
    let index = planned.iter().position(|one| one.meets(request))?;
    let one = planned.get_mut(index)?;
    if one.after > 0 {
        one.after -= 1;
        return None;
    }
    let kind = one.kind.clone();
    one.times = one.times.saturating_sub(1);
    if one.times == 0 {
        planned.remove(index);
    }
    Some(kind)
}
