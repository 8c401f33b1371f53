//! The records of networks on disk: JSON, each replaced as a whole.

use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::Ipv4Net;
use jiff::Timestamp;
use kraft_core::net::Mac;
use kraft_core::port::PortMapping;
use kraft_sys::fs;
use kraft_sys::process::Identity;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Error;
use crate::layout::NetworkDir;

/// The version that this `kraft` writes, and the newest that it reads.
const VERSION: u32 = 1;

/// The maximal size of a record in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// A network.
///
/// ```
/// let json = r#"{"version": 1, "id": "6fa459ea-ee8a-4ca4-894e-db77e160355e", "name": "web",
///     "driver": "bridge", "gateway": "10.9.0.1/24", "created_at": "2026-01-31T12:00:00Z",
///     "up": true}"#;
/// let network: kraft_net::Network = serde_json::from_str(json)?;
/// assert_eq!(network.gateway.netmask().to_string(), "255.255.255.0");
/// assert!(!network.internal);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    pub(crate) version: u32,
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its kind: `bridge`.
    pub driver: String,
    /// The address of the bridge, which is the gateway of the machines, with its mask.
    pub gateway: Ipv4Net,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether machines may be started in it.
    pub up: bool,
    /// Whether it has no way out.
    #[serde(default)]
    pub internal: bool,
}

impl Network {
    pub(crate) fn new(name: &str, gateway: Ipv4Net, internal: bool) -> Self {
        Self {
            version: VERSION,
            id: Uuid::new_v4(),
            name: name.to_owned(),
            driver: kraft_core::net::BRIDGE.to_owned(),
            gateway,
            created_at: Timestamp::now(),
            up: true,
            internal,
        }
    }

    pub(crate) fn load(dir: &NetworkDir) -> Result<Self, Error> {
        let path = dir.record();
        let network: Self = read(&path)?;
        if network.version > VERSION {
            let version = network.version;
            return Err(Error::TooNew { path, version });
        }
        Ok(network)
    }

    pub(crate) fn store(&self, dir: &NetworkDir) -> Result<(), Error> {
        write(&dir.record(), self)
    }
}

/// The addresses of a machine in a network. It has them until it is removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The id of the machine.
    pub machine: String,
    /// The name of the machine.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// The hardware address of its card.
    pub mac: Mac,
}

/// Reads the leases of a network; none if there is no file yet.
pub(crate) fn load_leases(dir: &NetworkDir) -> Result<Vec<Lease>, Error> {
    match read(&dir.leases()) {
        Err(Error::File(e)) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

pub(crate) fn store_leases(dir: &NetworkDir, leases: &[Lease]) -> Result<(), Error> {
    write(&dir.leases(), leases)
}

/// A machine that runs in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// The id of the machine.
    pub machine: String,
    /// The name of the machine.
    pub name: String,
    /// Further names by which it is found.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Its address.
    pub address: Ipv4Addr,
    /// The ports that are published through this network.
    pub ports: Vec<PortMapping>,
    /// The other networks of the machine.
    #[serde(default)]
    pub(crate) others: Vec<String>,
    /// The device of its card in the network; an older kraft did not record it.
    #[serde(default)]
    pub(crate) card: Option<String>,
    /// The index of that device, by which it is removed if the VMM leaves it behind.
    #[serde(default)]
    pub(crate) index: Option<u32>,
    /// Its VMM.
    pub vmm: Identity,
}

/// What a holder leaves for the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HolderRecord {
    pub(crate) process: Identity,
    /// The inode of the network namespace.
    pub(crate) network: u64,
    /// The inode of the user namespace, if it is not that of the host.
    pub(crate) user: Option<u64>,
    /// The address by which machines reach the host, or why they do not.
    pub(crate) way_out: Result<Ipv4Addr, String>,
    pub(crate) active: Vec<Active>,
}

impl HolderRecord {
    /// Reads the record; `None` if there is none, or none that is of use.
    pub(crate) fn load(dir: &NetworkDir) -> Option<Self> {
        read(&dir.holder()).ok()
    }

    pub(crate) fn store(&self, dir: &NetworkDir) -> Result<(), Error> {
        write(&dir.holder(), self)
    }

    /// Returns the machines whose VMM is alive.
    pub(crate) fn living(self) -> Vec<Active> {
        let mut active = self.active;
        active.retain(|it| it.vmm.is_alive());
        active
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let bytes = fs::read_file(path, MAX_BYTES)?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Damaged {
        path: path.to_owned(),
        source,
    })
}

fn write<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<(), Error> {
    // INVARIANT: serialising cannot fail, because all keys of maps are strings.
    let mut json = serde_json::to_vec_pretty(value).unwrap_or_default();
    json.push(b'\n');
    Ok(fs::replace_file(path, &json)?)
}
