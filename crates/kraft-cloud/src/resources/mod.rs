//! What the platform has, one file each: the calls, and the things that they answer with.
//!
//! Fields that are not known here are kept in `more`, and every field may be missing: the platform
//! is older and newer than this program.

pub mod autoscale;
pub mod certificates;
pub mod end;
pub mod images;
pub mod instances;
pub mod services;
pub mod users;
pub mod volumes;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A thing as others mention it, and as most calls that change it answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its UUID.
    #[serde(default)]
    pub uuid: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its state, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The state before, where the call changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_state: Option<String>,
    /// What else the platform tells.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Named {
    /// Returns what people call it by.
    pub fn title(&self) -> &str {
        if self.name.is_empty() {
            &self.uuid
        } else {
            &self.name
        }
    }
}
