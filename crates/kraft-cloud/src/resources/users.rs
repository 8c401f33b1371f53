//! Accounts: what they use, and what they may.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::request::Request;

/// Amounts of things.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Amounts {
    /// Instances in every state.
    pub instances: u64,
    /// Instances that run.
    pub live_instances: u64,
    /// Their processors.
    pub live_vcpus: u64,
    /// Their memory, in MiB.
    pub live_memory_mb: u64,
    /// Groups of services.
    pub service_groups: u64,
    /// Published ports.
    pub services: u64,
    /// Volumes.
    pub volumes: u64,
    /// Their size, in MiB.
    pub total_volume_mb: u64,
    /// What else the platform tells.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// What a single thing may have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory of an instance, in MiB.
    pub min_memory_mb: u64,
    /// Memory of an instance, in MiB.
    pub max_memory_mb: u64,
    /// Processors of an instance.
    pub min_vcpus: u64,
    /// Processors of an instance.
    pub max_vcpus: u64,
    /// Size of a volume, in MiB.
    pub min_volume_mb: u64,
    /// Size of a volume, in MiB; 0 if there are none.
    pub max_volume_mb: u64,
    /// Instances of an autoscaled service.
    pub min_autoscale_size: u64,
    /// Instances of an autoscaled service.
    pub max_autoscale_size: u64,
    /// What else the platform tells.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// What an account uses and may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quota {
    /// The account.
    pub uuid: String,
    /// What is in use.
    pub used: Amounts,
    /// What may be in use at most.
    pub hard: Amounts,
    /// What a single thing may have.
    pub limits: Limits,
    /// What else the platform tells.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Asks what the account of the token uses, or that of a UUID.
pub fn quota(user: Option<&str>) -> Request<Quota> {
    let doing = "get the quota";
    match user {
        None => Request::new(Method::GET, &["users", "quotas"], doing),
        Some(uuid) => Request::new(Method::GET, &["users", uuid, "quotas"], doing),
    }
}
