//! TLS certificates of domains.

use std::fmt;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Named;
use crate::request::{Form, Id, Request, each};

/// TLS certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificate {
    /// UUID of the certificate.
    pub uuid: String,
    /// Name of the certificate.
    pub name: String,
    /// Time at which the certificate was added to the platform.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_at: String,
    /// Common name: the domain.
    pub common_name: String,
    /// State: `pending`, `valid` or `error`.
    pub state: String,
    /// Progress of the domain validation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// Subject of the certificate.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Issuer of the certificate.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub issuer: String,
    /// Serial number.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub serial_number: String,
    /// Start of the validity period.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub not_before: String,
    /// End of the validity period.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub not_after: String,
    /// Service groups that use the certificate.
    pub service_groups: Vec<Named>,
    /// Other fields that the platform returns.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Progress of a domain validation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Validation {
    /// Number of attempts.
    pub attempt: u64,
    /// Time of the next attempt.
    pub next: String,
}

/// Parameters of a certificate to upload.
#[derive(Clone, Serialize)]
pub struct CreateCertificate {
    /// Name of the certificate; if `None`, the platform derives one from the domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Common name: the domain.
    pub cn: String,
    /// Certificate chain in PEM format, from the domain's certificate to the CA's.
    pub chain: String,
    /// Private key in PEM format.
    pub pkey: String,
}

impl fmt::Debug for CreateCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CreateCertificate({})", self.cn)
    }
}

/// Uploads a certificate to the platform.
pub fn create(wanted: &CreateCertificate) -> Request<Named> {
    let doing = format!("create a certificate for `{}`", wanted.cn);
    let older = json!(wanted);
    let mut today = older.clone();
    if let Some(today) = today.as_object_mut()
        && let Some(name) = today.remove("cn")
    {
        today.insert("common_name".to_owned(), name);
    }
    let form = Form::new(Method::POST, &["certificates"]);
    let request = Request::of(form.clone().with(today), doing).or_else(form.with(older));
    request.makes(wanted.name.as_deref())
}

/// Replaces the chain and the private key of a certificate; both are PEM texts.
pub fn renew(id: &Id, chain: &str, pkey: &str) -> Request<Certificate> {
    let ids = std::slice::from_ref(id);
    let body = each(ids, &[("chain", json!(chain)), ("pkey", json!(pkey))]);
    let mut request = Request::change(
        Method::PUT,
        &["certificates"],
        None,
        ids,
        "renew the certificate",
    );
    request.body = Some(body);
    request
}

/// Gets certificates; all of them if `ids` is empty.
pub fn get(ids: &[Id]) -> Request<Certificate> {
    Request::read(&["certificates"], ids, "get certificates")
}

/// Removes certificates.
pub fn remove(ids: &[Id]) -> Request<Named> {
    Request::change(
        Method::DELETE,
        &["certificates"],
        None,
        ids,
        "remove the certificate",
    )
}
