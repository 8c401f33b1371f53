//! The calls that name one thing by its UUID in their path.
//!
//! The platform has each beside the call for several; commands use that one, which takes names too.

use std::time::Duration;

use http::Method;

use super::Named;
use super::autoscale::Autoscale;
use super::certificates::Certificate;
use super::instances::{Instance, Log, Metrics};
use super::services::Group;
use crate::request::{Request, millis};

/// Asks for an instance.
pub fn instance(uuid: &str) -> Request<Instance> {
    Request::new(Method::GET, &["instances", uuid], "get the instance")
}

/// Removes an instance.
pub fn remove_instance(uuid: &str) -> Request<Named> {
    Request::new(Method::DELETE, &["instances", uuid], "remove the instance")
}

/// Asks for the end of a log.
pub fn log(uuid: &str) -> Request<Log> {
    Request::new(Method::GET, &["instances", uuid, "log"], "get the log")
}

/// Asks what was measured of an instance.
pub fn metrics(uuid: &str) -> Request<Metrics> {
    Request::new(Method::GET, &["instances", uuid, "metrics"], "get metrics")
}

/// Starts an instance, and lets the platform wait until it runs.
pub fn start(uuid: &str, wait: Duration) -> Request<Named> {
    let path = ["instances", uuid, "start"];
    Request::new(Method::PUT, &path, "start the instance")
        .ask("wait_timeout_ms", &millis(wait))
        .patient(wait)
        .repeatable()
}

/// Stops an instance: kills it, or lets it finish with its connections for a while.
pub fn stop(uuid: &str, force: bool, drain: Duration) -> Request<Named> {
    let path = ["instances", uuid, "stop"];
    Request::new(Method::PUT, &path, "stop the instance")
        .ask("force", &force)
        .ask("drain_timeout_ms", &millis(drain))
        .repeatable()
}

/// Asks for a group of services.
pub fn group(uuid: &str) -> Request<Group> {
    Request::new(Method::GET, &["services", uuid], "get the service")
}

/// Removes a group of services.
pub fn remove_group(uuid: &str) -> Request<Named> {
    Request::new(Method::DELETE, &["services", uuid], "remove the service")
}

/// Asks how a group of services is scaled.
pub fn autoscale(uuid: &str) -> Request<Autoscale> {
    let path = ["services", uuid, "autoscale"];
    Request::new(Method::GET, &path, "get how the service is scaled")
}

/// Ceases to scale a group of services.
pub fn reset_autoscale(uuid: &str) -> Request<Named> {
    let path = ["services", uuid, "autoscale"];
    Request::new(Method::DELETE, &path, "cease to scale the service")
}

/// Asks for a certificate.
pub fn certificate(uuid: &str) -> Request<Certificate> {
    Request::new(Method::GET, &["certificates", uuid], "get the certificate")
}

/// Removes a certificate.
pub fn remove_certificate(uuid: &str) -> Request<Named> {
    let path = ["certificates", uuid];
    Request::new(Method::DELETE, &path, "remove the certificate")
}
