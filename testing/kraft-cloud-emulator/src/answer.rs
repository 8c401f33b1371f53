//! The JSON envelope of every response, and the API's error codes.

use serde_json::{Value, json};

use crate::http::Response;

/// Error code of a rejected item or request. The number is the platform's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Code {
    /// The error has no number of its own: the state of the resource says what happened.
    Unnumbered = 0,
    /// The path does not support the method.
    WrongMethod = 2,
    /// The path does not exist.
    NoSuchEndpoint = 3,
    /// A value is outside of what the API description allows.
    Invalid = 7,
    /// No resource has this name or UUID.
    NotFound = 8,
    /// The operation failed.
    Failed = 10,
    /// The state of the instance does not allow the operation.
    WrongState = 11,
    /// The wait timed out.
    TimedOut = 12,
    /// Neither a name nor a UUID is set.
    MissingId = 13,
    /// The resource is still attached to another one.
    Attached = 15,
    /// The body does not match the schema of the API description.
    Malformed = 16,
    /// Two mutually exclusive fields are set.
    NotBoth = 17,
    /// The quota of the account is exceeded.
    Quota = 19,
    /// The volume is not attached.
    NotAttached = 21,
    /// The name already exists.
    Exists = 23,
    /// Autoscaling is already configured for the service group.
    AutoscaleConfigured = 26,
    /// Autoscaling is not configured for the service group.
    AutoscaleNotConfigured = 27,
}

/// An error of the API.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// Error code.
    pub code: Code,
    /// Message for users.
    pub message: String,
    /// UUID, name and state of the resource, if the response reports them with the error.
    pub about: Option<(String, String, &'static str)>,
}

impl Fault {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            about: None,
        }
    }

    /// Reports the resource that the error is about, and its state.
    pub(crate) fn about(mut self, uuid: &str, name: &str, state: &'static str) -> Self {
        self.about = Some((uuid.to_owned(), name.to_owned(), state));
        self
    }

    /// Returns the response to a request that is rejected as a whole, not item by item.
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

/// Returns the response of a collection: for each requested item, its result or its error.
pub(crate) fn items(collection: &str, outcomes: Vec<(Value, Result<Value, Fault>)>) -> Response {
    let total = outcomes.len();
    let mut failed = 0;
    let mut late = 0;
    let mut list = Vec::with_capacity(total);
    for (asked, outcome) in outcomes {
        list.push(outcome.unwrap_or_else(|fault| {
            failed += 1;
            late += usize::from(fault.code == Code::TimedOut);
            let mut item = serde_json::Map::new();
            item.insert("status".to_owned(), json!("error"));
            item.insert("message".to_owned(), json!(fault.message));
            if fault.code != Code::Unnumbered {
                item.insert("error".to_owned(), json!(fault.code as u16));
            }
            for key in ["uuid", "name"] {
                item.extend(asked.get(key).map(|id| (key.to_owned(), id.clone())));
            }
            if let Some((uuid, name, state)) = fault.about {
                let own = [("uuid", uuid), ("name", name), ("state", state.to_owned())];
                item.extend(own.map(|(key, text)| (key.to_owned(), json!(text))));
            }
            Value::Object(item)
        }));
    }
    let mut body = match failed {
        0 => json!({"status": "success"}),
        _ if late == total => json!({"status": "error", "message": "The wait timed out"}),
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
