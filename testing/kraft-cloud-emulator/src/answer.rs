//! The envelope that every answer comes in, and the codes of faults.

use serde_json::{Value, json};

use crate::http::Response;

/// Why an item, or a whole request, is refused. The number is what the platform calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Code {
    /// The method is not one of the path's.
    WrongMethod = 2,
    /// No such path.
    NoSuchEndpoint = 3,
    /// A value is not what the description allows.
    Invalid = 7,
    /// Nothing of this name or UUID.
    NotFound = 8,
    /// The operation did not succeed.
    Failed = 10,
    /// The instance is in a state that does not allow it.
    WrongState = 11,
    /// Waited too long.
    TimedOut = 12,
    /// Neither a name nor a UUID.
    MissingId = 13,
    /// Still attached to something.
    Attached = 15,
    /// The body is not what the description says.
    Malformed = 16,
    /// Two fields that exclude each other.
    NotBoth = 17,
    /// More than the account may have.
    Quota = 19,
    /// Nothing to detach.
    NotAttached = 21,
    /// The name is taken.
    Exists = 23,
    /// The group is scaled already.
    AutoscaleConfigured = 26,
    /// The group is not scaled.
    AutoscaleNotConfigured = 27,
}

/// One refusal.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// What kind.
    pub code: Code,
    /// A sentence for people.
    pub message: String,
}

impl Fault {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// The answer to a request that cannot be looked at item by item.
    pub(crate) fn whole(&self, status: u16) -> Response {
        let body = json!({
            "status": "error",
            "message": self.message,
            "errors": [{"status": self.code as u16, "message": self.message}],
            "data": {},
        });
        Response::new(status, body)
    }
}

/// The answer of a collection, item by item: each as it was asked for, and what came of it.
pub(crate) fn items(collection: &str, outcomes: Vec<(Value, Result<Value, Fault>)>) -> Response {
    let total = outcomes.len();
    let mut failed = 0;
    let mut list = Vec::with_capacity(total);
    for (asked, outcome) in outcomes {
        list.push(outcome.unwrap_or_else(|fault| {
            failed += 1;
            let mut item = json!({
                "status": "error",
                "message": fault.message,
                "error": fault.code as u16,
            });
            for key in ["uuid", "name"] {
                if let (Some(id), Some(item)) = (asked.get(key), item.as_object_mut()) {
                    item.insert(key.to_owned(), id.clone());
                }
            }
            item
        }));
    }
    let mut body = match failed {
        0 => json!({"status": "success"}),
        _ if failed == total => json!({
            "status": "error", "message": "Failed to perform all operations"
        }),
        _ => json!({
            "status": "partial_success", "message": "Failed to perform all operations"
        }),
    };
    if let Some(body) = body.as_object_mut() {
        body.insert("data".to_owned(), json!({ collection: list }));
    }
    Response::new(200, body)
}
