//! Requests as values, which can be inspected before they are sent.
//!
//! ```
//! use kraft_cloud::request::Id;
//! use kraft_cloud::resources::volumes;
//!
//! let uuid = "0a1b2c3d-0000-4000-8000-000000000000";
//! assert_eq!(Id::new(uuid), Id::Uuid(uuid.to_owned()));
//! assert_eq!(Id::new("data"), Id::Name("data".to_owned()));
//!
//! let request = volumes::create(Some("data"), 64);
//! assert_eq!(request.method, "POST");
//! assert_eq!(request.path, ["volumes"]);
//! assert!(request.body.expect("a body").to_string().contains(r#""size_mb":64"#));
//! ```

use std::marker::PhantomData;
use std::time::Duration;

use http::Method;
use serde::Serialize;
use serde_json::{Value, json};

/// Identifier of a resource: its UUID or its name. The platform accepts either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Id {
    /// UUID of the resource.
    Uuid(String),
    /// Name of the resource.
    Name(String),
}

impl Id {
    /// Parses an argument: a UUID in its form of 36 characters, or else a name.
    pub fn new(text: &str) -> Self {
        if is_uuid(text) {
            Self::Uuid(text.to_owned())
        } else {
            Self::Name(text.to_owned())
        }
    }

    /// Returns the UUID or name, unmodified.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Uuid(text) | Self::Name(text) => text,
        }
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Request whose response has items of type `T`.
#[derive(Clone, Debug)]
pub struct Request<T> {
    /// HTTP method.
    pub method: Method,
    /// Path segments below the base URL, not encoded.
    pub path: Vec<String>,
    /// Query parameters.
    pub query: Vec<(&'static str, String)>,
    /// JSON body. Requests with `GET` and `DELETE` can have one too.
    pub body: Option<Value>,
    /// The operation, phrased to follow "cannot" in an error message.
    pub doing: String,
    /// Extra time before the request times out, for calls that wait on the platform's side.
    pub patience: Option<Duration>,
    /// Whether the request is idempotent, so that it can be retried.
    pub repeatable: bool,
    item: PhantomData<fn() -> T>,
}

impl<T> Request<T> {
    pub(crate) fn new(method: Method, path: &[&str], doing: impl Into<String>) -> Self {
        // A repeated DELETE answers "not found", which would hide that the first one succeeded.
        let repeatable = method == Method::GET;
        Self {
            method,
            path: path.iter().map(|&step| step.to_owned()).collect(),
            query: Vec::new(),
            body: None,
            doing: doing.into(),
            patience: None,
            repeatable,
            item: PhantomData,
        }
    }

    /// Creates a request about resources of a collection. A single UUID goes into the path, which
    /// every proxy supports; any other `ids` go into the body. Empty `ids` mean all resources.
    pub(crate) fn about(
        method: Method,
        (collection, action): (&str, Option<&str>),
        ids: &[Id],
        doing: impl Into<String>,
    ) -> Self {
        let mut path = vec![collection];
        if let [Id::Uuid(uuid)] = ids {
            path.push(uuid);
            path.extend(action);
            return Self::new(method, &path, doing);
        }
        path.extend(action);
        let request = Self::new(method, &path, doing);
        if ids.is_empty() {
            request
        } else {
            request.with(json!(ids))
        }
    }

    pub(crate) fn with(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    pub(crate) fn ask(mut self, name: &'static str, value: &impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    pub(crate) fn patient(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    pub(crate) fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }
}

/// Returns a JSON array of the IDs, each with the same additional fields.
pub(crate) fn each(ids: &[Id], more: &[(&str, Value)]) -> Value {
    let items = ids.iter().map(|id| {
        let mut item = json!(id);
        if let Some(item) = item.as_object_mut() {
            for (name, value) in more {
                item.insert((*name).to_owned(), value.clone());
            }
        }
        item
    });
    Value::Array(items.collect())
}

/// Converts a duration to milliseconds, saturating at `i64::MAX`.
pub(crate) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_told_from_a_name() {
        let uuid = "471a2a73-36db-4df9-bb63-82a45810e88a";
        assert_eq!(json!(Id::new(uuid)), json!({"uuid": uuid}));
        assert_eq!(json!(Id::new("web")), json!({"name": "web"}));
        let name = "471a2a73x36db-4df9-bb63-82a45810e88a";
        assert_eq!(json!(Id::new(name)), json!({"name": name}));
    }

    #[test]
    fn every_thing_gets_the_same_fields() {
        let ids = [Id::new("a"), Id::new("b")];
        assert_eq!(
            each(&ids, &[("force", json!(true))]),
            json!([{"name": "a", "force": true}, {"name": "b", "force": true}])
        );
    }
}
