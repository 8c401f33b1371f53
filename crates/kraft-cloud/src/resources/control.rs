//! The control plane, which is the same for all metros: metros, the account, and the login. Also the
//! health of a metro.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::request::Request;

/// Time to confirm a login in a browser.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// Metro of the platform.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metro {
    /// Name, such as `fra`.
    pub name: String,
    /// URL of its API.
    pub endpoint: String,
    /// IATA code of the city.
    pub iata_code: String,
    /// Country code.
    pub country: String,
    /// Other fields that the platform returns.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Lists the metros that the account can use.
pub fn metros() -> Request<Metro> {
    Request::new(Method::GET, &["metros"], "list the metros")
}

/// Account of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Organization {
    /// Name, which is the first component of its images' names.
    pub organization_name: String,
    /// Name for display.
    pub organization_display_name: String,
    /// UUID.
    pub organization_uuid: String,
    /// Host of the registry.
    pub registry: String,
    /// Token; only in the response to a confirmed login.
    #[serde(skip_serializing)]
    pub token: Option<String>,
}

/// Gets the account of the token.
pub fn whoami() -> Request<Organization> {
    Request::new(Method::GET, &["auth"], "get the account")
}

/// Login that has to be confirmed in a browser.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Signin {
    /// Address to confirm it at.
    pub authorization_url: String,
    /// Identifier, to ask for the token.
    pub request_id: String,
}

/// Begins a login on a host.
pub fn signin(host: &str) -> Request<Signin> {
    let body = json!({"hostname": host, "os": std::env::consts::OS,
        "cli_version": env!("CARGO_PKG_VERSION")});
    Request::new(Method::POST, &["auth", "signin"], "begin a login").with(body)
}

/// Waits until a login is confirmed.
pub fn confirmed(signin: &Signin) -> Request<Organization> {
    let body = json!({"request_id": signin.request_id});
    Request::new(Method::POST, &["auth", "check"], "finish the login")
        .with(body)
        .patient(PATIENCE)
}

/// Health of a metro.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Parts of the platform, each `healthy`, `degraded` or `unknown`.
    pub checks: BTreeMap<String, String>,
    /// Versions of parts of the platform.
    pub versions: BTreeMap<String, String>,
    /// Other fields that the platform returns.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Gets the health of a metro.
pub fn health() -> Request<Health> {
    Request::new(Method::GET, &["healthz"], "get the health of the platform")
}
