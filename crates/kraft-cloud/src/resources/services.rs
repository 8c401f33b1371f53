//! Service groups: published ports, domains, and the instances behind them.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Named;
use crate::request::{Id, Request};

/// Published port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Public port.
    pub port: u16,
    /// Port of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
    /// Connection handlers of the platform: `tls`, `http`, `redirect`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handlers: Vec<String>,
}

/// Domain to create: a name that ends with a dot is fully qualified, any other is a subdomain of
/// the metro's domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WantedDomain {
    /// Name of the domain.
    pub name: String,
    /// Certificate of the domain; if `None`, the platform finds or orders one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Id>,
}

/// Domain of a service group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Domain {
    /// Fully qualified domain name.
    pub fqdn: String,
    /// Certificate of the domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Named>,
}

/// Service group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// UUID of the group.
    pub uuid: String,
    /// Name of the group.
    pub name: String,
    /// Creation time.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_at: String,
    /// Whether the group is kept when its last instance is removed.
    pub persistent: bool,
    /// Whether the group is autoscaled.
    pub autoscale: bool,
    /// Number of concurrent connections or requests at which another instance is woken.
    pub soft_limit: u64,
    /// Maximum number of concurrent connections or requests; more are rejected.
    pub hard_limit: u64,
    /// Published ports.
    pub services: Vec<Service>,
    /// Domains of the group.
    pub domains: Vec<Domain>,
    /// Instances behind the group.
    pub instances: Vec<Named>,
    /// Other fields that the platform returns.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Parameters of a service group to create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CreateGroup {
    /// Name of the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Published ports.
    pub services: Vec<Service>,
    /// Domains of the group; if empty, the platform generates one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<WantedDomain>,
    /// Number of concurrent connections or requests at which another instance is woken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_limit: Option<u32>,
    /// Maximum number of concurrent connections or requests; more are rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_limit: Option<u32>,
    /// `{time_ms}`: time without instances after which the service is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autokill: Option<Value>,
}

/// Creates a service group.
pub fn create(wanted: &CreateGroup) -> Request<Group> {
    let request = Request::new(Method::POST, &["services"], "create a service");
    request.with(json!(wanted)).makes(wanted.name.as_deref())
}

/// Gets service groups; all of them if `ids` is empty.
pub fn get(ids: &[Id]) -> Request<Group> {
    Request::read(&["services"], ids, "get services")
}

/// Removes service groups, which must not have instances.
pub fn remove(ids: &[Id]) -> Request<Named> {
    Request::change(
        Method::DELETE,
        &["services"],
        None,
        ids,
        "remove the service",
    )
}
