//! Certificates of domains.

use std::fmt;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Named;
use crate::request::{Id, Request};

/// A certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificate {
    /// Its UUID.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// When it came to the platform.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_at: String,
    /// The domain.
    pub common_name: String,
    /// `pending`, `valid` or `error`.
    pub state: String,
    /// How far the platform has come with proving the domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// Whom it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Who signed it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub issuer: String,
    /// Its number.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub serial_number: String,
    /// When it begins to count.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub not_before: String,
    /// When it ceases to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub not_after: String,
    /// Which services use it.
    pub service_groups: Vec<Named>,
    /// What else the platform tells.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// How far the platform has come with proving a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Validation {
    /// So often it tried.
    pub attempt: u64,
    /// When it tries next.
    pub next: String,
}

/// A certificate that is given to the platform.
#[derive(Clone, Serialize)]
pub struct CreateCertificate {
    /// Its name; the platform makes one from the domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The domain.
    pub cn: String,
    /// The certificates, from its own to the authority's, as PEM.
    pub chain: String,
    /// The private key, as PEM.
    pub pkey: String,
}

impl fmt::Debug for CreateCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CreateCertificate({})", self.cn)
    }
}

/// Gives a certificate to the platform.
pub fn create(wanted: &CreateCertificate) -> Request<Named> {
    let doing = format!("create a certificate for `{}`", wanted.cn);
    Request::new(Method::POST, &["certificates"], doing).with(json!(wanted))
}

/// Asks for certificates; without ids for all.
pub fn get(ids: &[Id]) -> Request<Certificate> {
    Request::about(Method::GET, ("certificates", None), ids, "get certificates")
}

/// Removes certificates.
pub fn remove(ids: &[Id]) -> Request<Named> {
    Request::about(
        Method::DELETE,
        ("certificates", None),
        ids,
        "remove the certificate",
    )
}
