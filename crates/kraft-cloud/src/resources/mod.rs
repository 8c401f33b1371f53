//! Resources of the platform, one module each: the API calls and the types that they return.
//!
//! Unknown fields are kept in `more`, and every field may be missing: the platform may be older or
//! newer than this client.
//!
//! ```
//! use kraft_cloud::resources::{Known, ids, instances};
//!
//! let instance = instances::Instance {
//!     uuid: "0a1b2c3d-0000-4000-8000-000000000000".to_owned(),
//!     name: "web".to_owned(),
//!     ..instances::Instance::default()
//! };
//! assert_eq!(instance.title(), "web");
//! let request = instances::remove(&ids([&instance]));
//! assert_eq!(request.method, "DELETE");
//! ```

pub mod audit;
pub mod autoscale;
pub mod builds;
pub mod certificates;
pub mod control;
pub mod images;
pub mod instances;
pub mod sandbox;
pub mod services;
pub mod stop_reason;
pub mod users;
pub mod volumes;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::request::{Id, Request, each};

/// Reference to a resource, in other resources and in the response of most calls that change it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// UUID of the resource.
    #[serde(default)]
    pub uuid: String,
    /// Name of the resource.
    #[serde(default)]
    pub name: String,
    /// State, for resources that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// State before the call, if the call changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_state: Option<String>,
    /// Other fields that the platform returns.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Resource with a UUID and a name.
pub trait Known {
    /// Returns the UUID.
    fn uuid(&self) -> &str;

    /// Returns the name; empty if there is none.
    fn name(&self) -> &str;

    /// Returns the name for display: the name, or the UUID if there is none.
    fn title(&self) -> &str {
        match self.name() {
            "" => self.uuid(),
            name => name,
        }
    }

    /// Returns the identifier for requests: the UUID, since a name can be reused later.
    fn id(&self) -> Id {
        Id::Uuid(self.uuid().to_owned())
    }
}

/// Returns the identifiers of resources, for requests.
pub fn ids<'t, T: Known + 't>(things: impl IntoIterator<Item = &'t T>) -> Vec<Id> {
    things.into_iter().map(Known::id).collect()
}

/// Operation of a change of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Property, such as `memory_mb`.
    pub prop: String,
    /// Operation: `set`, `add` or `del`.
    pub op: &'static str,
    /// Value, or members to add or remove; without it, `del` removes the property.
    pub value: Option<Value>,
}

/// Gets resources of a collection, of any kind, with all of their fields in `more`; all of them if
/// `ids` is empty.
pub fn get(collection: &[&str], ids: &[Id]) -> Request<Named> {
    let what = collection.last().copied().unwrap_or_default();
    Request::read(collection, ids, format!("get {what}"))
}

/// Looks up resources by the query of a request only: before a change that can be requested for
/// several resources at once only, it shows whether the platform honors the query.
pub fn look_up(collection: &[&str], ids: &[Id]) -> Request<Named> {
    let mut request = get(collection, ids).by_query(collection, ids);
    request.older.clear();
    request
}

/// Changes a property of a resource in place (`PATCH`).
pub fn edit(collection: &[&str], id: &Id, change: &Change) -> Request<Named> {
    let ids = std::slice::from_ref(id);
    let mut more = vec![("prop", json!(change.prop)), ("op", json!(change.op))];
    more.extend(change.value.clone().map(|value| ("value", value)));
    let doing = format!("change `{}` of `{}`", change.prop, id.as_str());
    let request = Request::change(Method::PATCH, collection, None, ids, doing);
    request.with(each(ids, &more))
}

macro_rules! known {
    ($($thing:ty),*) => {$(
        impl Known for $thing {
            fn uuid(&self) -> &str {
                &self.uuid
            }

            fn name(&self) -> &str {
                &self.name
            }
        }
    )*};
}

known!(
    Named,
    certificates::Certificate,
    instances::History,
    instances::Instance,
    services::Group,
    volumes::Mounted,
    volumes::Volume
);
