//! A request as a value: what is asked, before anybody asks it.

use std::marker::PhantomData;
use std::time::Duration;

use http::Method;
use serde::Serialize;
use serde_json::{Value, json};

/// Which thing is meant: the platform takes either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Id {
    /// Its UUID.
    Uuid(String),
    /// Its name.
    Name(String),
}

impl Id {
    /// Reads what was typed: 36 characters that are a UUID are one, everything else is a name.
    pub fn new(text: &str) -> Self {
        if is_uuid(text) {
            Self::Uuid(text.to_owned())
        } else {
            Self::Name(text.to_owned())
        }
    }

    /// Returns it as it was typed.
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

/// A request whose answer has items of the type `T`.
#[derive(Clone, Debug)]
pub struct Request<T> {
    /// The HTTP method.
    pub method: Method,
    /// The steps below the base, each without slashes.
    pub path: Vec<String>,
    /// The query.
    pub query: Vec<(&'static str, String)>,
    /// The document that goes with it, with `GET` and `DELETE` as well.
    pub body: Option<Value>,
    /// What it does, as it follows "cannot".
    pub doing: String,
    /// How much longer than usual the platform may think about it: it waits for something itself.
    pub patience: Option<Duration>,
    /// Whether asking twice comes to the same as asking once.
    pub repeatable: bool,
    item: PhantomData<fn() -> T>,
}

impl<T> Request<T> {
    pub(crate) fn new(method: Method, path: &[&str], doing: impl Into<String>) -> Self {
        // A second DELETE says that the thing is gone, which would hide that the first succeeded.
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

    /// Asks about things of a collection. A single UUID stands in the path, which everything on the
    /// way understands; anything else goes into a document. None at all means every one.
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

/// Returns the things that are meant, each with the same further fields.
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

/// Returns a time as the platform counts it: in milliseconds, at most what fits.
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
