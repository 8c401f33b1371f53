//! Groups of services: published ports, domains, and the instances behind them.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Named;
use crate::request::{Id, Request};

/// A published port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// The port that the world sees.
    pub port: u16,
    /// The port of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
    /// What the platform does on the way: `tls`, `http`, `redirect`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handlers: Vec<String>,
}

/// A domain that is wanted: one that ends with a dot is meant as it is, any other is below the
/// metro's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WantedDomain {
    /// The name.
    pub name: String,
    /// Its certificate; the platform finds or orders one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Id>,
}

/// A domain that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Domain {
    /// The whole name.
    pub fqdn: String,
    /// Its certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Named>,
}

/// A group of services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// Its UUID.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// When it was made.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_at: String,
    /// Whether it stays when its last instance goes.
    pub persistent: bool,
    /// Whether it is autoscaled.
    pub autoscale: bool,
    /// So much at once wakes another instance.
    pub soft_limit: u64,
    /// More than this at once is refused.
    pub hard_limit: u64,
    /// The published ports.
    pub services: Vec<Service>,
    /// The names of it.
    pub domains: Vec<Domain>,
    /// The instances behind it.
    pub instances: Vec<Named>,
    /// What else the platform tells.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A group that is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CreateGroup {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The published ports.
    pub services: Vec<Service>,
    /// The names of it; the platform makes one up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<WantedDomain>,
    /// So much at once wakes another instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_limit: Option<u32>,
    /// More than this at once is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_limit: Option<u32>,
}

/// Makes a group.
pub fn create(wanted: &CreateGroup) -> Request<Group> {
    Request::new(Method::POST, &["services"], "create a service").with(json!(wanted))
}

/// Asks for groups; without ids for all.
pub fn get(ids: &[Id]) -> Request<Group> {
    Request::about(Method::GET, ("services", None), ids, "get services")
}

/// Removes groups, which must have no instances.
pub fn remove(ids: &[Id]) -> Request<Named> {
    Request::about(
        Method::DELETE,
        ("services", None),
        ids,
        "remove the service",
    )
}
