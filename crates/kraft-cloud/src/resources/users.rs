//! Accounts: their usage and quotas.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::request::{Id, Request, Scope};

/// Amounts of resources: usage or maximum of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Amounts {
    /// Instances in any state.
    pub instances: u64,
    /// Running instances.
    pub live_instances: u64,
    /// vCPUs of running instances.
    pub live_vcpus: u64,
    /// Memory of running instances, in MiB.
    pub live_memory_mb: u64,
    /// Service groups.
    pub service_groups: u64,
    /// Published ports.
    pub services: u64,
    /// Volumes.
    pub volumes: u64,
    /// Total size of the volumes, in MiB.
    pub total_volume_mb: u64,
    /// Other fields that the platform returns.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Limits of a single resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Minimum memory of an instance, in MiB.
    pub min_memory_mb: u64,
    /// Maximum memory of an instance, in MiB.
    pub max_memory_mb: u64,
    /// Minimum number of vCPUs of an instance.
    pub min_vcpus: u64,
    /// Maximum number of vCPUs of an instance.
    pub max_vcpus: u64,
    /// Minimum size of a volume, in MiB.
    pub min_volume_mb: u64,
    /// Maximum size of a volume, in MiB; 0 if the account cannot have volumes.
    pub max_volume_mb: u64,
    /// Minimum number of instances of an autoscaled service group.
    pub min_autoscale_size: u64,
    /// Maximum number of instances of an autoscaled service group.
    pub max_autoscale_size: u64,
    /// Other fields that the platform returns.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Usage and quota of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quota {
    /// UUID of the account.
    pub uuid: String,
    /// Resources in use.
    pub used: Amounts,
    /// Maximum amounts of resources (hard limits).
    pub hard: Amounts,
    /// Limits of a single resource.
    pub limits: Limits,
    /// Other fields that the platform returns.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Gets the quota of an account by its UUID; of the token's account if `user` is `None`.
pub fn quota(user: Option<&str>) -> Request<Quota> {
    let doing = "get the quota";
    match user {
        None => Request::new(Method::GET, &["users", "quotas"], doing),
        Some(uuid) => {
            let path = ["users", uuid, "quotas"];
            let mut request = Request::new(Method::GET, &path, doing);
            request.scope = Scope::Only(vec![Id::Uuid(uuid.to_owned())]);
            request
        }
    }
}
