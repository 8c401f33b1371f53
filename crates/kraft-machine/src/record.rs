//! The record of a machine on disk: `record.json`, versioned.
//!
//! It is changed only under the machine's lock, and replaced as a whole. Fields that a newer `kraft`
//! added are kept when this one rewrites it.

use jiff::Timestamp;
use kraft_core::machine::{EndReason, MachineSpec};
use kraft_core::port::PortMapping;
use kraft_sys::fs::{self, Spare};
use kraft_sys::process::Identity;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::id::Id;
use crate::layout::MachineDir;
use crate::restart::Restarts;

/// The version this `kraft` writes, and the newest it reads.
const VERSION: u32 = 1;

/// The maximal size of a record in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// The minimal size that is reserved for the next version of a record, in bytes.
const MIN_SPARE: u64 = 16 << 10;

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// When it ended.
    pub at: Timestamp,
    /// Why it ended.
    pub reason: EndReason,
}

/// A machine on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) created_at: Timestamp,
    pub(crate) spec: Verbatim<MachineSpec>,
    /// The start in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) starting: Option<Starting>,
    /// The current or last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<Run>,
    /// The process that saves its memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) saving: Option<Saving>,
    /// The process that keeps its ports open while it is suspended because it was idle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) asleep: Option<Identity>,
    /// The name of the snapshot that is made when its health check first succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) warm: Option<String>,
    /// Its restarts.
    #[serde(default, skip_serializing_if = "Restarts::is_empty")]
    pub(crate) restarts: Restarts,
    #[serde(flatten)]
    pub(crate) unknown: Map<String, Value>,
}

/// A start in progress: the monitor, and the ports it has claimed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Starting {
    pub(crate) monitor: Identity,
    pub(crate) ports: Vec<PortMapping>,
    /// As [`Run::hidden_ports`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hidden_ports: Vec<PortMapping>,
}

/// The memory of a machine is being saved, for which its guest is paused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Saving {
    /// The process that does that.
    pub(crate) process: Identity,
    /// Whether the guest ran before.
    pub(crate) resumes: bool,
}

/// One run of a machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) started_at: Timestamp,
    pub(crate) monitor: Identity,
    /// The VMM's process; `None` if it could not be started.
    pub(crate) vmm: Option<Identity>,
    /// The ports of the specification, with the assigned host ports.
    pub(crate) ports: Vec<PortMapping>,
    /// The ports on which the VMM listens for the monitor, if the monitor publishes the ports itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hidden_ports: Vec<PortMapping>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<Ending>,
    /// The run that was suspended and that this one continues, until its guest runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restoring: Option<Box<Run>>,
    #[serde(flatten)]
    pub(crate) unknown: Map<String, Value>,
}

impl Run {
    /// Returns whether it ended because the machine was suspended.
    pub(crate) fn is_suspended(&self) -> bool {
        let reason = self.end.as_ref().map(|end| &end.reason);
        reason == Some(&EndReason::Suspended)
    }
}

/// A record cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// The file is not a valid record.
    #[error("the record `{path}` is damaged", path = path.display())]
    Damaged {
        /// The record.
        path: std::path::PathBuf,
        /// The syntax error.
        source: serde_json::Error,
    },
    /// The directory of the machine exists, and its record does not.
    #[error("the record `{path}` is missing", path = path.display())]
    Missing {
        /// The record.
        path: std::path::PathBuf,
    },
    /// The directory of the machine was removed while its VMM runs.
    #[error(
        "its directory `{path}` is missing, and its VMM still runs (pid {pid})",
        path = path.display()
    )]
    Lost {
        /// The directory.
        path: std::path::PathBuf,
        /// The VMM's process.
        pid: u32,
    },
    /// The path of the machine's directory is something else.
    #[error("`{path}` is not a directory that kraft made", path = path.display())]
    Foreign {
        /// The symbolic link or file.
        path: std::path::PathBuf,
    },
    /// A newer `kraft` wrote it.
    #[error(
        "the record `{path}` was written by a newer kraft (version {version}, this one reads {VERSION})",
        path = path.display()
    )]
    TooNew {
        /// The record.
        path: std::path::PathBuf,
        /// Its version.
        version: u64,
    },
}

impl RecordError {
    /// Returns whether there is no such machine (any more).
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::File(e) if e.kind() == std::io::ErrorKind::NotFound)
    }

    /// Returns whether the path is a link or a file instead of a machine's directory.
    pub fn is_foreign(&self) -> bool {
        matches!(self, Self::Foreign { .. })
    }
}

impl Record {
    /// Returns whether the machine is suspended: its memory is saved, and nothing of it runs.
    pub(crate) fn is_suspended(&self) -> bool {
        self.run.as_ref().is_some_and(Run::is_suspended)
    }

    /// Returns whether the machine is suspended because it was idle, and its ports are kept open.
    pub(crate) fn is_asleep(&self) -> bool {
        self.asleep.is_some() && self.is_suspended()
    }

    pub(crate) fn new(id: Id, name: String, spec: MachineSpec, now: Timestamp) -> Self {
        Self {
            version: VERSION,
            id,
            name,
            created_at: now,
            spec: Verbatim::new(spec),
            starting: None,
            run: None,
            saving: None,
            asleep: None,
            warm: None,
            restarts: Restarts::default(),
            unknown: Map::new(),
        }
    }

    pub(crate) fn load(dir: &MachineDir) -> Result<Self, RecordError> {
        let path = dir.record();
        let bytes = fs::read_file(&path, MAX_BYTES)?;
        Self::parse(&bytes).map_err(|e| match e {
            ParseError::Damaged(source) => RecordError::Damaged { path, source },
            ParseError::TooNew(version) => RecordError::TooNew { path, version },
        })
    }

    fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let value: Value = serde_json::from_slice(bytes).map_err(ParseError::Damaged)?;
        if let Some(version) = value.get("version").and_then(Value::as_u64)
            && version > u64::from(VERSION)
        {
            return Err(ParseError::TooNew(version));
        }
        serde_json::from_value(value).map_err(ParseError::Damaged)
    }

    /// Writes the record, into the reserved space if the disk is full.
    pub(crate) fn store(&self, dir: &MachineDir) -> Result<(), fs::Error> {
        spare(dir).replace(&self.to_json())
    }

    /// As [`store`](Self::store), for a change that a loss of power may undo.
    pub(crate) fn store_soon(&self, dir: &MachineDir) -> Result<(), fs::Error> {
        spare(dir).replace_soon(&self.to_json())
    }

    /// Writes the record of a machine whose directory is not complete.
    pub(crate) fn create(&self, dir: &MachineDir) -> Result<(), fs::Error> {
        spare(dir).create(&self.to_json())
    }

    /// Reserves disk space, so that the end can be recorded even if the disk is full then.
    pub(crate) fn reserve(&self, dir: &MachineDir) -> Result<(), fs::Error> {
        // Until the end, a few lines are added: twice the size is enough.
        let bytes = (self.to_json().len() as u64 * 2).max(MIN_SPARE);
        spare(dir).reserve(bytes)
    }

    fn to_json(&self) -> Vec<u8> {
        // INVARIANT: serialising cannot fail, because all keys of maps are strings and no number is
        // a float.
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }
}

fn spare(dir: &MachineDir) -> Spare {
    Spare::new(dir.record_spare(), dir.record())
}

enum ParseError {
    Damaged(serde_json::Error),
    TooNew(u64),
}

/// A value that is written back exactly as it was read, including unknown fields.
#[derive(Clone, Debug)]
pub(crate) struct Verbatim<T> {
    value: T,
    json: Option<Value>,
}

impl<T> Verbatim<T> {
    fn new(value: T) -> Self {
        Self { value, json: None }
    }

    pub(crate) fn get(&self) -> &T {
        &self.value
    }
}

impl<T: Serialize> Verbatim<T> {
    /// Changes the value; unknown fields are kept.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut T)) {
        change(&mut self.value);
        if let Some(Value::Object(old)) = &mut self.json
            && let Ok(Value::Object(new)) = serde_json::to_value(&self.value)
        {
            old.extend(new);
        }
    }
}

impl<T: Serialize> Serialize for Verbatim<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.json {
            Some(json) => json.serialize(serializer),
            None => self.value.serialize(serializer),
        }
    }
}

impl<'de, T: serde::de::DeserializeOwned> Deserialize<'de> for Verbatim<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Value::deserialize(deserializer)?;
        let value = serde_json::from_value(json.clone()).map_err(serde::de::Error::custom)?;
        Ok(Self {
            value,
            json: Some(json),
        })
    }
}
