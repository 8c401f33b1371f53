//! Saving a guest, and restoring it.
//!
//! Firecracker writes the memory, a file as large as that, and everything else, a file of some KiB. A
//! Firecracker that restores the guest maps the file of the memory: nothing is read before the guest needs
//! it, and guests that were restored from the same file share its pages until they change them.
//!
//! It checks neither whether the processor is another one, nor whether the memory belongs to the rest:
//! kraft does.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kraft_core::machine::Acceleration;
use kraft_sys::fs;

use super::api::{Api, ApiError};
use super::memory::make_sparse;
use super::request::{MemoryBackend, NetworkOverride, Request, SnapshotCreate, SnapshotLoad};
use super::{control, faults, jail};
use crate::driver::program::Version;
use crate::driver::saved::host_model;
use crate::driver::{Action, Conditions, ControlError, Launch, Restored, Saved, SavedError, Vmm};
use crate::layout::MachineDir;

/// The first version that gives a restored card to another device of the host.
const OTHER_DEVICES: Version = Version(1, 12, 0);

/// How long it may take to write a GiB of memory, beyond the usual limit: it does so within one request.
const PER_GIB: Duration = Duration::from_mins(1);

impl From<ApiError> for SavedError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Refused { message, .. } => {
                let fault = faults::translate(&message);
                failed(match fault.cure {
                    Some(cure) => format!("{}: {cure}", fault.why),
                    None => fault.why,
                })
            }
            other => Self::Vmm(other.into()),
        }
    }
}

fn failed(why: impl Into<String>) -> SavedError {
    SavedError::Vmm(why.into().into())
}

/// Saves a paused guest; see [`Driver::save`](crate::driver::Driver::save).
pub(super) fn save(vmm: &Vmm<'_>, to: &Path, limit: Duration) -> Result<Conditions, SavedError> {
    let mut api = Api::connect(vmm.dir, limit)?;
    let version = api.instance()?.vmm_version;
    let config = api.config()?;
    let cards = config.network_interfaces.iter();
    let cards = cards.map(|card| card.host_dev_name.as_str());
    let mebibytes = config.machine_config.mem_size_mib;
    let conditions = conditions(&version, cards, mebibytes << 20);
    let create =
        |name: &str| fs::create_private(&to.join(name)).map_err(|e| SavedError::File(e.source));
    // It overwrites files that exist, which stay private.
    let (state, memory) = (create(Saved::STATE)?, create(Saved::MEMORY)?);
    let files = [(Saved::STATE, &state), (Saved::MEMORY, &memory)];
    let lent = jail::lend(vmm.dir, to, &files).map_err(SavedError::File)?;
    let path = |name: &str| match &lent {
        Some(_) => Ok(jail::lent(name)),
        None => text(to.join(name)),
    };
    let gibibytes = u32::try_from(mebibytes >> 10).unwrap_or(u32::MAX);
    api.set_limit(limit.saturating_add(PER_GIB.saturating_mul(gibibytes)));
    api.send(&Request::SnapshotCreate(SnapshotCreate {
        snapshot_type: "Full",
        snapshot_path: &path(Saved::STATE)?,
        mem_file_path: &path(Saved::MEMORY)?,
    }))?;
    drop(lent);
    let written = memory.metadata().map_err(SavedError::File)?.len();
    if written != conditions.memory {
        return Err(failed(format!(
            "Firecracker wrote {written} bytes instead of a memory of {}",
            conditions.memory
        )));
    }
    make_sparse(&memory).map_err(SavedError::File)?;
    Ok(conditions)
}

/// Has a Firecracker that has no machine restore its guest; see
/// [`Driver::restore`](crate::driver::Driver::restore). Its jail has the files already.
pub(super) fn restore<'a>(
    vmm: &Vmm<'a>,
    launch: &Launch<'_>,
    limit: Duration,
) -> Result<impl Restored + use<'a>, SavedError> {
    let Some(saved) = launch.saved else {
        return Err(SavedError::Unsupported);
    };
    let mut api = Api::connect(vmm.dir, limit)?;
    let version = api.instance()?.vmm_version;
    let cards = launch.cards.iter().map(|card| card.device);
    let present = conditions(&version, cards, launch.spec.memory);
    if let Some(misfit) = saved.conditions.misfit(&present) {
        return Err(other_card(&version, saved, &present).unwrap_or(SavedError::Misfit(misfit)));
    }
    let (state, memory) = (
        text(saved.dir.join(Saved::STATE))?,
        text(saved.dir.join(Saved::MEMORY))?,
    );
    let mut overrides = Vec::new();
    if gives_other_devices(&version) {
        let cards = launch.cards.iter().enumerate();
        overrides.extend(cards.map(|(index, card)| NetworkOverride {
            iface_id: format!("eth{index}"),
            host_dev_name: card.device,
        }));
    }
    api.send(&Request::SnapshotLoad(SnapshotLoad {
        snapshot_path: &state,
        mem_backend: MemoryBackend {
            backend_type: "File",
            backend_path: &memory,
        },
        network_overrides: overrides,
    }))?;
    Ok(Paused {
        dir: vmm.dir,
        limit,
    })
}

/// A Firecracker whose guest was restored.
struct Paused<'a> {
    dir: &'a MachineDir,
    limit: Duration,
}

impl Restored for Paused<'_> {
    fn resume(self: Box<Self>) -> Result<(), ControlError> {
        control::control(self.dir, Action::Resume, self.limit)
    }
}

/// Returns what a Firecracker of this version is like whose machine has these cards and this memory.
fn conditions<'a>(version: &str, cards: impl Iterator<Item = &'a str>, memory: u64) -> Conditions {
    let fixed = !gives_other_devices(version);
    let devices = cards.map(|device| {
        if fixed {
            format!("virtio-net on {device}")
        } else {
            "virtio-net".to_owned()
        }
    });
    Conditions {
        vmm: format!("Firecracker {version}"),
        board: "microVM".to_owned(),
        cpu: host_model(),
        acceleration: Acceleration::Kvm,
        devices: devices.chain(["virtio-rng".to_owned()]).collect(),
        memory,
    }
}

fn gives_other_devices(version: &str) -> bool {
    Version::at_start(version).is_some_and(|version| version >= OTHER_DEVICES)
}

/// Returns the error for a card whose device has another name than when the guest was saved, if that is
/// all that differs.
fn other_card(version: &str, saved: &Saved, present: &Conditions) -> Option<SavedError> {
    let devices = saved.conditions.devices.clone();
    let renamed = Conditions {
        devices,
        ..present.clone()
    };
    if saved.conditions.misfit(&renamed).is_some() {
        return None;
    }
    let mut pairs = saved.conditions.devices.iter().zip(&present.devices);
    let (old, new) = pairs.find(|(old, new)| old != new)?;
    Some(failed(format!(
        "Firecracker {version} restores a card only on the device of the host that it had: that was \
         `{old}` and is `{new}` now; {OTHER_DEVICES} or newer restores it on any",
    )))
}

/// Returns a path as Firecracker takes it.
fn text(path: PathBuf) -> Result<String, SavedError> {
    let invalid = |path: PathBuf| {
        let why = format!("the path `{}` is not valid UTF-8", path.display());
        SavedError::File(io::Error::new(io::ErrorKind::InvalidInput, why))
    };
    path.into_os_string()
        .into_string()
        .map_err(|path| invalid(path.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_versions_need_the_card_that_the_guest_had() {
        let at = |version, card| conditions(version, [card].into_iter(), 64 << 20);
        assert_eq!(at("1.12.0", "if0").misfit(&at("1.12.0", "if1")), None);
        assert_eq!(at("1.11.0", "if0").misfit(&at("1.11.0", "if0")), None);
        let saved = |conditions| Saved {
            dir: "saved".into(),
            conditions,
        };
        let present = at("1.11.0", "if1");
        let error = other_card("1.11.0", &saved(at("1.11.0", "if0")), &present).unwrap();
        insta::assert_snapshot!(error, @"Firecracker 1.11.0 restores a card only on the device of the host that it had: that was `virtio-net on if0` and is `virtio-net on if1` now; 1.12.0 or newer restores it on any");
        assert!(other_card("1.11.0", &saved(at("1.10.0", "if0")), &present).is_none());
        let misfit = at("1.11.0", "if1").misfit(&at("1.12.0", "if1")).unwrap();
        assert_eq!(misfit.what, "VMM");
    }
}
