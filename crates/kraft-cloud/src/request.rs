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
//! // The description of 2024 takes a list.
//! assert_eq!(request.older.len(), 1);
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

/// Options of a request about one resource that the description of 2024 has in its query.
const OPTIONS: [&str; 3] = ["force", "drain_timeout_ms", "wait_timeout_ms"];

/// Returns whether a text is a UUID in its form of 36 characters.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The part of a request that differs between versions of the platform's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// HTTP method.
    pub method: Method,
    /// Path segments below the base URL, not encoded.
    pub path: Vec<String>,
    /// Query parameters.
    pub query: Vec<(&'static str, String)>,
    /// JSON body.
    pub body: Option<Value>,
}

impl Form {
    pub(crate) fn new(method: Method, path: &[&str]) -> Self {
        Self {
            method,
            path: path.iter().map(|&step| step.to_owned()).collect(),
            query: Vec::new(),
            body: None,
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

    /// Adds identifiers as query parameters, which are repeated.
    pub(crate) fn named(mut self, ids: &[Id]) -> Self {
        for id in ids {
            let (name, text) = match id {
                Id::Uuid(uuid) => ("uuid", uuid),
                Id::Name(name) => ("name", name),
            };
            self.query.push((name, text.clone()));
        }
        self
    }
}

/// The resources that a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The response is not compared with the request: something new, or everything.
    #[default]
    Any,
    /// A list, which the client requests in pages.
    Pages,
    /// The response must be about one new resource, with this name if there is one.
    New(Option<String>),
    /// The response must be about these resources and no other.
    Only(Vec<Id>),
    /// A change of each of these resources. The client looks up the UUIDs of names and sends one
    /// request per resource, with the UUID in its path: no server can take it for another one.
    Each(Vec<Id>),
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
    /// The resources that the request is about.
    pub scope: Scope,
    /// Forms of the request for older versions of the platform, tried in order if the platform
    /// does not know this one.
    pub older: Vec<Form>,
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
            scope: Scope::Any,
            older: Vec::new(),
            item: PhantomData,
        }
    }

    /// Creates a request that reads resources of a collection; all of them if `ids` is empty. A
    /// single UUID goes into the path, any other `ids` go into the query; the description of 2024
    /// has them in the body.
    pub(crate) fn read(collection: &[&str], ids: &[Id], doing: impl Into<String>) -> Self {
        let form = Form::new(Method::GET, collection);
        let (mut request, scope) = match ids {
            [] => {
                let mut request = Self::of(form.clone(), doing).or_else(form);
                request.query.push(("details", "true".to_owned()));
                (request, Scope::Pages)
            }
            [Id::Uuid(uuid)] => {
                let path: Vec<&str> = collection.iter().copied().chain([uuid.as_str()]).collect();
                let request = Self::of(Form::new(Method::GET, &path), doing);
                (
                    request.or_else(form.named(ids).with(json!(ids))),
                    Scope::Only(ids.to_vec()),
                )
            }
            ids => {
                let today = form.clone().named(ids).ask("details", &true);
                // A page has room for all of them. No platform of 2024 knows pages.
                let today = today.ask("count", &ids.len());
                let request = Self::of(today, doing);
                (
                    request.or_else(form.named(ids).with(json!(ids))),
                    Scope::Only(ids.to_vec()),
                )
            }
        };
        request.scope = scope;
        request
    }

    /// Puts the query form, which only today's platform knows, before the other forms.
    pub(crate) fn by_query(mut self, collection: &[&str], ids: &[Id]) -> Self {
        let today = Form::new(Method::GET, collection).named(ids);
        let mut older = self.forms();
        self.take(today.ask("count", &ids.len()));
        older.truncate(1);
        self.older = older;
        self
    }

    /// Creates a request that changes each of some resources.
    pub(crate) fn change(
        method: Method,
        collection: &[&str],
        action: Option<&str>,
        ids: &[Id],
        doing: impl Into<String>,
    ) -> Self {
        let path: Vec<&str> = collection.iter().copied().chain(action).collect();
        let mut request = Self::new(method, &path, doing).with(json!(ids));
        request.scope = Scope::Each(ids.to_vec());
        request
    }

    /// Creates a request in a form.
    pub(crate) fn of(form: Form, doing: impl Into<String>) -> Self {
        let mut request = Self::new(form.method.clone(), &[], doing);
        request.take(form);
        request
    }

    /// Adds a form for older platforms.
    pub(crate) fn or_else(mut self, form: Form) -> Self {
        self.older.push(form);
        self
    }

    /// Replaces the form.
    fn take(&mut self, form: Form) {
        self.method = form.method;
        self.path = form.path;
        self.query = form.query;
        self.body = form.body;
    }

    /// Returns the forms of the request, today's first.
    pub(crate) fn forms(&self) -> Vec<Form> {
        let today = Form {
            method: self.method.clone(),
            path: self.path.clone(),
            query: self.query.clone(),
            body: self.body.clone(),
        };
        [vec![today], self.older.clone()].concat()
    }

    /// Returns the request in one form only, for items of any type.
    pub(crate) fn in_form<U>(&self, form: Form) -> Request<U> {
        let mut request = Request::of(form, self.doing.clone());
        request.patience = self.patience;
        request.repeatable = self.repeatable;
        request.scope = match &self.scope {
            scope @ (Scope::Only(_) | Scope::New(_)) => scope.clone(),
            _ => Scope::Any,
        };
        request
    }

    /// Requires that the response is about one new resource, with this name if there is one.
    pub(crate) fn makes(mut self, name: Option<&str>) -> Self {
        self.scope = Scope::New(name.map(str::to_owned));
        self
    }

    /// Requires that the response is about these resources, and names them in the query as well: a
    /// server that ignores the body does not take the request for one about all resources.
    pub(crate) fn only(mut self, ids: &[Id]) -> Self {
        let named = Form::new(self.method.clone(), &[]).named(ids).query;
        self.query.extend(named);
        self.scope = Scope::Only(ids.to_vec());
        self
    }

    /// Returns whether the request has options that the description of 2024 has in the query.
    pub(crate) fn has_options(&self) -> bool {
        let items = self.body.as_ref().and_then(Value::as_array);
        let mut items = items.into_iter().flatten();
        items.any(|item| OPTIONS.iter().any(|name| item.get(name).is_some()))
    }

    /// Returns the request for a single resource of [`Scope::Each`]: its UUID is in the path, and
    /// the other fields of its item are the body.
    pub(crate) fn for_one(&self, at: usize, uuid: &str) -> Self {
        let item = self.body.as_ref().and_then(|body| body.get(at)).cloned();
        let mut options = item.unwrap_or_default();
        if let Some(options) = options.as_object_mut() {
            options.remove("uuid");
            options.remove("name");
        }
        // The last segment of `PUT /instances/stop` is the action; `PUT /certificates` has none.
        let ends = |name: &str| self.path.last().is_some_and(|last| last == name);
        let has_action = (self.method == Method::PUT && self.path.len() > 1) || ends("autoscale");
        let action = usize::from(has_action);
        let mut path = self.path.clone();
        path.insert(path.len().saturating_sub(action), uuid.to_owned());
        let mut today = Form {
            method: self.method.clone(),
            path,
            query: Vec::new(),
            body: None,
        };
        let mut older = today.clone();
        if let Some(map) = options.as_object().filter(|map| !map.is_empty()) {
            for (name, value) in map {
                if let Some(name) = OPTIONS.iter().find(|known| *known == name) {
                    older.query.push((*name, value.to_string()));
                }
            }
            today.body = Some(in_seconds(options));
        }
        let mut request = Self::of(today, self.doing.clone());
        if !older.query.is_empty() {
            request = request.or_else(older);
        }
        let is = |at: usize, name: &str| self.path.get(at).is_some_and(|step| step == name);
        if is(0, "volumes") && !is(1, "templates") && self.method != Method::PATCH {
            // In 2024, a volume has no path of its own.
            let id = Id::Uuid(uuid.to_owned());
            let mut item = json!(id);
            if let (Some(item), Some(Value::Object(options))) =
                (item.as_object_mut(), request.body.clone())
            {
                item.extend(options);
            }
            let collection = Form {
                method: self.method.clone(),
                path: self.path.clone(),
                query: Vec::new(),
                body: Some(json!([item])),
            };
            request = request.or_else(collection.named(&[id]));
        }
        request.patience = self.patience;
        request.repeatable = self.repeatable;
        request.scope = Scope::Only(vec![Id::Uuid(uuid.to_owned())]);
        request
    }

    pub(crate) fn with(mut self, body: Value) -> Self {
        self.body = Some(body);
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

/// Replaces `wait_timeout_ms`, which is deprecated today, by its seconds, rounded up.
fn in_seconds(mut options: Value) -> Value {
    if let Some(map) = options.as_object_mut()
        && let Some(ms) = map.remove("wait_timeout_ms")
    {
        let seconds = ms.as_i64().unwrap_or(0).saturating_add(999) / 1000;
        map.insert("timeout_s".to_owned(), json!(seconds));
    }
    options
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
