//! Error injection: failures of requests that a test asks for.

use std::time::Duration;

use serde_json::Value;

use crate::http::Request;

/// How a request fails.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// The response is delayed.
    Latency(Duration),
    /// The response has this status and `Retry-After` in seconds; the request has no effect.
    Status(u16, Option<u64>),
    /// The connection is closed before the request has an effect.
    DropBefore,
    /// The request has its effect, then the connection is closed without a response.
    DropAfter,
    /// The request has its effect, then the connection is closed in the middle of the response.
    Half,
    /// The response redirects to this location.
    Redirect(String),
}

/// An injected error that waits for its request.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    /// Method of the request; any method if `None`.
    pub method: Option<String>,
    /// Prefix of the path of the request.
    pub path: String,
    /// Number of matching requests that succeed first.
    pub after: u64,
    /// Number of requests that fail.
    pub times: u64,
    /// How the requests fail.
    pub kind: Kind,
}

impl Planned {
    /// Parses `{kind, method?, path?, after?, times?, ms?, status?, retry_after?, location?}`.
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

/// Returns the injected error for this request, if any, and uses it up.
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
