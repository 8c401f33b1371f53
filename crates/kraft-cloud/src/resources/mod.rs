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

use crate::request::Id;

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

/// A thing that has a UUID, and a name for people.
pub trait Known {
    /// Returns its UUID.
    fn uuid(&self) -> &str;

    /// Returns its name; it may have none.
    fn name(&self) -> &str;

    /// Returns what people call it by.
    fn title(&self) -> &str {
        match self.name() {
            "" => self.uuid(),
            name => name,
        }
    }

    /// Returns what requests call it by: its name may be another's tomorrow.
    fn id(&self) -> Id {
        Id::Uuid(self.uuid().to_owned())
    }
}

/// Returns what requests call things by.
pub fn ids<'t, T: Known + 't>(things: impl IntoIterator<Item = &'t T>) -> Vec<Id> {
    things.into_iter().map(Known::id).collect()
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
    instances::Instance,
    services::Group,
    volumes::Mounted,
    volumes::Volume
);
