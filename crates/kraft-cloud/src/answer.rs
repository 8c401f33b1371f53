//! Parsed responses: the items inside the platform's JSON envelope.
//!
//! ```json
//! {"status": "partial_success", "message": "…",
//!  "data": {"instances": [{"status": "success", "uuid": …}, {"status": "error", "error": 8, …}]}}
//! ```
//!
//! ```
//! use std::io::{Read, Write};
//!
//! use kraft_cloud::client::Client;
//! use kraft_cloud::endpoint::Endpoint;
//! use kraft_cloud::resources::instances;
//! use kraft_cloud::token::Token;
//! use kraft_http::Policy;
//!
//! // A platform that knows one of two instances.
//! let server = std::net::TcpListener::bind("127.0.0.1:0")?;
//! let base = format!("http://{}/v1", server.local_addr()?);
//! std::thread::spawn(move || {
//!     let (mut stream, _) = server.accept()?;
//!     stream.read(&mut [0; 4096])?;
//!     let body = r#"{"status": "partial_success", "data": {"instances": [
//!         {"status": "success", "uuid": "1", "name": "web"},
//!         {"status": "error", "name": "db", "message": "No instance", "error": 8}]}}"#;
//!     write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
//! });
//! let token = Token::of("robot$anna.users.kraftcloud", "secret")?;
//! let client = Client::new(Endpoint::of(&base)?, token, Policy::new("example"))?;
//! let runtime = tokio::runtime::Runtime::new()?;
//! let answer = runtime.block_on(client.send(&instances::get(&[])))?;
//!
//! let each = answer.each();
//! assert!(matches!(&each[0], Ok(instance) if instance.name == "web"));
//! assert!(each[1].is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use kraft_http::text::sanitized;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::AnswerError;
use crate::request::Id;
use crate::{Error, ErrorKind};

/// Response with one item per requested or created resource.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// Result for each resource, in the order of the response.
    pub items: Vec<Item<T>>,
    /// Message of the platform about the whole request.
    pub message: Option<String>,
    /// Response body, unmodified.
    pub raw: String,
    /// Warnings of the platform, such as about deprecated fields.
    pub warnings: Vec<String>,
    /// UUID and name of each item; empty if it has none.
    ids: Vec<(String, String)>,
    /// The operation, phrased to follow "cannot" in an error message.
    doing: String,
    failed: bool,
}

/// Result for one resource.
#[derive(Clone, Debug)]
pub enum Item<T> {
    /// The resource, or the result of the operation on it.
    Done(T),
    /// The operation failed for this resource.
    Failed(Refusal),
}

/// Error of the platform for one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Refusal {
    /// UUID of the resource, if the platform returns it.
    pub uuid: Option<String>,
    /// Name of the resource.
    pub name: Option<String>,
    /// Error message of the platform.
    pub message: Option<String>,
    /// Error code of the platform.
    pub error: Option<i64>,
}

#[derive(Deserialize)]
struct Envelope {
    status: Option<String>,
    message: Option<String>,
    data: Option<Map<String, Value>>,
    #[serde(default)]
    errors: Vec<Refusal>,
    #[serde(default)]
    warnings: Vec<Value>,
    /// The data itself, of the build service: it has no envelope.
    #[serde(flatten)]
    more: Map<String, Value>,
}

impl<T: DeserializeOwned> Answer<T> {
    /// Parses a response body. `doing` is the operation, for error messages.
    pub(crate) fn read(raw: String, doing: &str) -> Result<Self, AnswerError> {
        let value = serde_json::from_str(if raw.is_empty() { "{}" } else { &raw })?;
        let envelope = Envelope::deserialize(without_nulls(value))?;
        let status = envelope.status.as_deref().unwrap_or_default();
        let failed = matches!(status, "error" | "failure");
        let mut items = Vec::new();
        let mut ids = Vec::new();
        let data = envelope.data.unwrap_or_else(|| {
            let mut build = envelope.more;
            if build.contains_key("id") {
                build.insert("status".to_owned(), Value::from(status));
            } else {
                build.retain(|name, _| name == "builds");
            }
            build
        });
        for value in collection(data) {
            if let Some(name) = unprintable(&value) {
                return Err(AnswerError::Name(name.chars().take(80).collect()));
            }
            let value = lifted(value);
            let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
            ids.push((text("uuid").to_owned(), text("name").to_owned()));
            let status = value.get("status").and_then(Value::as_str);
            let bad = matches!(status, Some("error" | "failure"))
                || value
                    .get("error")
                    .and_then(Value::as_i64)
                    .is_some_and(|code| code != 0);
            items.push(if bad {
                Item::Failed(Refusal::deserialize(value).unwrap_or_default())
            } else {
                Item::Done(T::deserialize(value)?)
            });
        }
        if items.is_empty() {
            items.extend(envelope.errors.into_iter().map(Item::Failed));
            ids.resize(items.len(), Default::default());
        }
        let warnings = envelope.warnings.iter().filter_map(|warning| {
            let text = warning
                .as_str()
                .or_else(|| warning.get("message")?.as_str())?;
            Some(sanitized(text))
        });
        Ok(Self {
            items,
            warnings: warnings.collect(),
            ids,
            message: envelope.message,
            raw,
            doing: doing.to_owned(),
            failed,
        })
    }
}

/// Returns an item with the members of its `policy`, in which policies are wrapped since 2026.
fn lifted(mut item: Value) -> Value {
    if let Some(own) = item.as_object_mut()
        && let Some(Value::Object(policy)) = own.remove("policy")
    {
        own.extend(policy);
    }
    item
}

/// Removes members that are `null`: some servers send `null` where others omit the member.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name, without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// Returns the UUID or name of an item if it contains control characters, which must not reach a
/// terminal or a script.
fn unprintable(item: &Value) -> Option<&str> {
    ["uuid", "name"]
        .iter()
        .filter_map(|member| item.get(member)?.as_str())
        .find(|name| name.contains(char::is_control))
}

/// Returns the items of `data`: those of its list, or `data` itself if it is a single resource (as
/// in the description of a created instance) or has no list (as in the control plane).
fn collection(data: Map<String, Value>) -> Vec<Value> {
    if data.contains_key("uuid") {
        return vec![Value::Object(data)];
    }
    match data.values().position(Value::is_array) {
        Some(at) => match data.into_iter().nth(at) {
            Some((_, Value::Array(items))) => items,
            _ => Vec::new(),
        },
        None if data.is_empty() => Vec::new(),
        None => vec![Value::Object(data)],
    }
}

impl<T> Answer<T> {
    /// Fails if the answer is about a resource that was not requested, and adds an error for each
    /// requested one that it leaves out.
    ///
    /// A server that ignores the identifiers of a request answers with everything, or with
    /// anything. Items without an identifier are accepted if `in_path`: their identifier was in the
    /// path of the request.
    pub(crate) fn check(&mut self, asked: &[Id], in_path: bool) -> Result<(), String> {
        let is = |(uuid, name): &(String, String), id: &Id| match id {
            Id::Uuid(asked) => asked.eq_ignore_ascii_case(uuid),
            Id::Name(asked) => asked == name,
        };
        let mut seen: Vec<&(String, String)> = Vec::new();
        for (item, id) in self.items.iter().zip(&self.ids) {
            let (uuid, name) = id;
            let nameless = uuid.is_empty() && name.is_empty();
            let right = match item {
                Item::Failed(_) if nameless => true,
                _ if nameless => in_path,
                _ => asked.iter().any(|asked| is(id, asked)),
            };
            if !right {
                return Err(described(id));
            }
            if !uuid.is_empty() && seen.iter().any(|(earlier, _)| earlier == uuid) {
                return Err(format!("{} twice", described(id)));
            }
            seen.push(id);
        }
        let nameless = |(uuid, name): &(String, String)| uuid.is_empty() && name.is_empty();
        if self.ids.iter().any(nameless) || (self.items.is_empty() && self.failed) {
            return Ok(());
        }
        for (at, id) in asked.iter().enumerate() {
            let earlier = asked.get(..at).unwrap_or_default();
            if !earlier.contains(id) && !self.ids.iter().any(|known| is(known, id)) {
                self.refuse(id);
            }
        }
        Ok(())
    }

    /// Fails if the answer is not about one new resource, with this name if there is one. The
    /// refusal of a resource is such an answer.
    pub(crate) fn check_new(&self, name: Option<&str>) -> Result<(), String> {
        if self.failed && self.items.is_empty() {
            return Ok(());
        }
        match (self.items.as_slice(), self.ids.as_slice()) {
            ([Item::Failed(_)], _) => Ok(()),
            ([_], [id]) => match name {
                Some(name) if !id.1.is_empty() && id.1 != name => Err(described(id)),
                _ => Ok(()),
            },
            ([], _) => Err("nothing".to_owned()),
            (all, _) => Err(format!("{} resources", all.len())),
        }
    }

    /// Adds the error for a resource that does not exist.
    pub(crate) fn refuse(&mut self, id: &Id) {
        let (uuid, name) = match id {
            Id::Uuid(uuid) => (Some(uuid.clone()), None),
            Id::Name(name) => (None, Some(name.clone())),
        };
        self.ids.push((
            uuid.clone().unwrap_or_default(),
            name.clone().unwrap_or_default(),
        ));
        self.items.push(Item::Failed(Refusal {
            uuid,
            name,
            message: Some(format!("`{}` does not exist on the platform", id.as_str())),
            error: Some(8),
        }));
    }

    /// Returns whether a resource is refused by its UUID, and so exists.
    pub(crate) fn names_refused(&self) -> bool {
        self.items.iter().any(|item| match item {
            Item::Failed(refusal) => refusal.uuid.is_some(),
            Item::Done(_) => false,
        })
    }

    /// Returns the UUID of each item; empty if it has none.
    pub(crate) fn uuids(&self) -> impl Iterator<Item = &str> {
        self.ids.iter().map(|(uuid, _)| uuid.as_str())
    }

    /// Keeps the items at some positions, here and in `raw`.
    pub(crate) fn keep(&mut self, wanted: &[bool]) {
        let mut at = wanted.iter();
        self.items.retain(|_| at.next().copied().unwrap_or(true));
        let mut at = wanted.iter();
        self.ids.retain(|_| at.next().copied().unwrap_or(true));
        edit(&mut self.raw, |list| {
            let mut at = wanted.iter();
            list.retain(|_| at.next().copied().unwrap_or(true));
        });
    }

    /// Appends the items of another answer, here and in `raw`.
    pub fn append(&mut self, mut other: Self) {
        let mut more = Vec::new();
        edit(&mut other.raw, |list| more.append(list));
        edit(&mut self.raw, |list| list.append(&mut more));
        self.items.append(&mut other.items);
        self.ids.append(&mut other.ids);
        for warning in other.warnings {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
        self.failed |= other.failed;
        self.message = self.message.take().or(other.message);
    }

    /// Creates an answer without items.
    pub(crate) fn empty(doing: &str) -> Self {
        Self {
            items: Vec::new(),
            message: None,
            raw: r#"{"status":"success","data":{"items":[]}}"#.to_owned(),
            warnings: Vec::new(),
            ids: Vec::new(),
            doing: doing.to_owned(),
            failed: false,
        }
    }

    /// Keeps the resources that match a predicate. Failed items are kept, and `raw` is unchanged.
    pub fn retain(&mut self, wanted: impl Fn(&T) -> bool) {
        self.items.retain(|item| match item {
            Item::Done(value) => wanted(value),
            Item::Failed(_) => true,
        });
    }

    /// Sorts the resources by a key; failed items come last.
    pub fn sort_by<K: Ord>(&mut self, key: impl Fn(&T) -> K) {
        self.items.sort_by_cached_key(|item| match item {
            Item::Done(value) => (false, Some(key(value))),
            Item::Failed(_) => (true, None),
        });
    }

    /// Returns one result per resource. A failed response without items is a single error.
    pub fn each(self) -> Vec<Result<T, Error>> {
        if self.items.is_empty() && self.failed {
            return vec![Err(Error::Refused {
                message: sanitized(
                    self.message
                        .as_deref()
                        .unwrap_or("the platform gave no reason"),
                ),
                doing: self.doing,
                code: None,
            })];
        }
        let doing = self.doing;
        let whole = self.message;
        self.items
            .into_iter()
            .map(|item| match item {
                Item::Done(value) => Ok(value),
                Item::Failed(refusal) => Err(Error::Refused {
                    doing: doing.clone(),
                    message: sanitized(
                        refusal
                            .message
                            .as_deref()
                            .or(whole.as_deref())
                            .unwrap_or("the platform gave no reason"),
                    ),
                    code: refusal.error,
                }),
            })
            .collect()
    }

    /// Returns all resources, or the first error.
    pub fn all(self) -> Result<Vec<T>, Error> {
        self.each().into_iter().collect()
    }

    /// Returns the resources that exist, or the first error other than
    /// [`NotFound`](ErrorKind::NotFound).
    pub fn found(self) -> Result<Vec<T>, Error> {
        let each = self.each().into_iter();
        each.filter(|item| {
            let error = item.as_ref().err();
            error.is_none_or(|error| error.kind() != ErrorKind::NotFound)
        })
        .collect()
    }

    /// Returns the first resource; for a request for a single one. An empty response is a
    /// [`NotFound`](ErrorKind::NotFound) error.
    pub fn one(self) -> Result<T, Error> {
        let doing = self.doing.clone();
        self.each().into_iter().next().unwrap_or_else(|| {
            Err(Error::Refused {
                doing,
                message: "it does not exist on the platform".to_owned(),
                code: Some(8),
            })
        })
    }
}

impl<T> Default for Answer<T> {
    fn default() -> Self {
        Self::empty("do nothing")
    }
}

/// Returns what an error message calls a resource.
fn described((uuid, name): &(String, String)) -> String {
    match (name.as_str(), uuid.as_str()) {
        ("", "") => "a resource without a name".to_owned(),
        ("", uuid) => format!("`{uuid}`"),
        (name, _) => format!("`{name}`"),
    }
}

/// Changes the list of items in the text of a response.
fn edit(raw: &mut String, change: impl FnOnce(&mut Vec<Value>)) {
    let Ok(mut value) = serde_json::from_str::<Value>(raw) else {
        return;
    };
    let data = value.get_mut("data").and_then(Value::as_object_mut);
    let list = data.and_then(|data| data.values_mut().find_map(Value::as_array_mut));
    if let Some(list) = list {
        change(list);
        *raw = value.to_string();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_told_item_by_item() {
        let raw = r#"{"status":"partial_success","message":"not all","data":{"instances":[
            {"status":"success","uuid":"u","name":"a"},
            {"status":"error","name":"b","message":"No instance with name 'b'","error":8}]}}"#;
        let answer = Answer::<Value>::read(raw.to_owned(), "get it").unwrap();
        assert_eq!(answer.clone().found().unwrap().len(), 1);
        let each = answer.each();
        assert_eq!(each.len(), 2);
        assert!(each.first().unwrap().is_ok());
        let error = each.into_iter().nth(1).unwrap().unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::NotFound);
        assert_eq!(
            error.to_string(),
            "cannot get it: No instance with name 'b'"
        );
    }

    #[test]
    fn a_name_that_moves_the_cursor_is_no_name() {
        let raw = r#"{"data":{"volumes":[{"name":"a\u001b[2J"}]}}"#.to_owned();
        let error = Answer::<Value>::read(raw, "x").unwrap_err();
        assert_eq!(error.to_string(), "a resource is called \"a\\u{1b}[2J\"");
    }

    #[test]
    fn null_is_as_good_as_nothing() {
        let raw = r#"{"status":"success","message":null,"errors":null,"data":{"instances":[
            {"status":"success","uuid":"u","name":null,"args":null,"volumes":[{"at":null}]}]}}"#;
        let answer =
            Answer::<crate::resources::instances::Instance>::read(raw.to_owned(), "get it");
        let one = answer.unwrap().one().unwrap();
        assert_eq!((one.uuid.as_str(), one.name.as_str()), ("u", ""));
        let nothing = r#"{"status":"success","data":null}"#.to_owned();
        assert!(
            Answer::<Value>::read(nothing, "x")
                .unwrap()
                .all()
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_refusal_of_the_whole_is_an_error_and_no_empty_list() {
        let raw = r#"{"status":"error","message":"quota\u001b[2J"}"#.to_owned();
        let error = Answer::<Value>::read(raw, "create it")
            .unwrap()
            .all()
            .unwrap_err();
        assert_eq!(error.to_string(), "cannot create it: quota [2J");
        let empty = r#"{"status":"success","data":{"instances":[]}}"#.to_owned();
        assert!(
            Answer::<Value>::read(empty, "x")
                .unwrap()
                .all()
                .unwrap()
                .is_empty()
        );
    }
}
