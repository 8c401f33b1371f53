//! The file with everything of a guest except its memory: a line of JSON, and a migration stream of
//! QEMU. Firecracker's own is another one.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::guest::{self, Guest};
use crate::resources::{
    BackendType, BootSource, Drive, MachineConfig, NetworkInterface, Resources, SnapshotCreate,
    SnapshotLoad, SnapshotType,
};

/// Everything that is not in the stream.
#[derive(Serialize, Deserialize)]
struct Head {
    version: String,
    machine: MachineConfig,
    boot: Option<BootSource>,
    cards: Vec<NetworkInterface>,
    drives: Vec<Drive>,
    entropy: bool,
    program: Vec<u8>,
}

/// Saves a paused guest.
pub(crate) fn create(
    version: &str,
    guest: &mut Guest,
    resources: &Resources,
    request: &SnapshotCreate,
) -> Result<(), String> {
    if request.snapshot_type == SnapshotType::Diff {
        return Err(
            "Create snapshot error: Cannot get dirty bitmap: not a part of the emulator".to_owned(),
        );
    }
    let failed = |what: &str, error: std::io::Error| {
        format!(
            "Create snapshot error: Cannot perform {what} on the snapshot backing file: {error}"
        )
    };
    // Files that exist are overwritten.
    let create = |path: &str| File::create(path).map_err(|error| failed("open", error));
    let mut state = create(&request.snapshot_path)?;
    let size = resources.machine.mem_size_mib << 20;
    let devices = guest
        .save(&request.mem_file_path, size)
        .map_err(|why| format!("Create snapshot error: Cannot save the microVM state: {why}"))?;
    let head = Head {
        version: version.to_owned(),
        machine: resources.machine.clone(),
        boot: resources.boot.clone(),
        cards: resources.cards.iter().map(|it| it.config.clone()).collect(),
        drives: resources.drives.clone(),
        entropy: resources.entropy,
        program: guest.program().to_vec(),
    };
    let mut bytes = serde_json::to_vec(&head).unwrap_or_default();
    bytes.push(b'\n');
    bytes.extend(devices);
    state
        .write_all(&bytes)
        .and_then(|()| state.sync_all())
        .map_err(|error| failed("write", error))
}

/// Restores a guest, which is paused, and sets its resources.
pub(crate) fn load(
    version: &str,
    resources: &mut Resources,
    request: SnapshotLoad,
) -> Result<(Guest, std::process::Child), String> {
    if request.mem_backend.backend_type == BackendType::Uffd {
        return Err("page faults are not handled by the emulator".to_owned());
    }
    let state = "Failed to get snapshot state from file:";
    let bytes = std::fs::read(&request.snapshot_path)
        .map_err(|error| format!("{state} Failed to open snapshot file: {error}"))?;
    let damaged =
        || format!("{state} Failed to load snapshot state from file: CRC64 validation failed");
    let at = bytes.iter().position(|byte| *byte == b'\n');
    let (head, devices) = at
        .and_then(|at| bytes.split_at_checked(at))
        .ok_or_else(damaged)?;
    let head: Head = serde_json::from_slice(head).map_err(|_| damaged())?;
    if head.version != version {
        return Err(format!(
            "{state} Failed to load snapshot state from file: Invalid snapshot version: {}",
            head.version
        ));
    }
    resources.set_machine(head.machine)?;
    resources.boot = head.boot;
    resources.drives = head.drives;
    resources.entropy = head.entropy;
    let overrides = request.network_overrides.unwrap_or_default();
    if let Some(unknown) = overrides
        .iter()
        .find(|it| head.cards.iter().all(|card| card.iface_id != it.iface_id))
    {
        return Err(format!(
            "{state} Unknown Network Device. ({})",
            unknown.iface_id
        ));
    }
    for mut card in head.cards {
        let other = overrides.iter().find(|it| it.iface_id == card.iface_id);
        if let Some(other) = other {
            card.host_dev_name.clone_from(&other.host_dev_name);
        }
        resources.add_card(card).map_err(|why| {
            format!("Failed to build microVM from snapshot: Failed to restore devices: {why}")
        })?;
    }
    let saved = guest::Saved {
        program: &head.program,
        devices: devices.get(1..).unwrap_or_default(),
        memory: Path::new(&request.mem_backend.backend_path),
    };
    guest::restore(resources, &saved)
}
