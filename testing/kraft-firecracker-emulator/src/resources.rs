//! What is configured: the bodies of requests, and the checks that Firecracker makes.

use std::fs::File;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::tap;

/// The maximal length of a kernel command line, in bytes.
const LONGEST_LINE: usize = 2048;

/// `PUT /machine-config`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MachineConfig {
    pub(crate) vcpu_count: u32,
    pub(crate) mem_size_mib: u64,
    #[serde(default)]
    smt: bool,
    cpu_template: Option<String>,
    #[serde(default)]
    track_dirty_pages: bool,
    huge_pages: Option<String>,
}

impl Default for MachineConfig {
    fn default() -> Self {
        Self {
            vcpu_count: 1,
            mem_size_mib: 128,
            smt: false,
            cpu_template: None,
            track_dirty_pages: false,
            huge_pages: None,
        }
    }
}

/// `PUT /boot-source`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BootSource {
    pub(crate) kernel_image_path: String,
    pub(crate) initrd_path: Option<String>,
    pub(crate) boot_args: Option<String>,
}

/// `PUT /network-interfaces/ID`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NetworkInterface {
    pub(crate) iface_id: String,
    pub(crate) host_dev_name: String,
    pub(crate) guest_mac: Option<String>,
    rx_rate_limiter: Option<serde_json::Value>,
    tx_rate_limiter: Option<serde_json::Value>,
}

/// `PUT /drives/ID`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drive {
    pub(crate) drive_id: String,
    pub(crate) path_on_host: Option<String>,
    is_root_device: bool,
    pub(crate) is_read_only: Option<bool>,
    partuuid: Option<String>,
    cache_type: Option<String>,
    rate_limiter: Option<serde_json::Value>,
    io_engine: Option<String>,
    socket: Option<String>,
}

/// `PUT /vsock`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "fields without an effect in the emulator")]
pub(crate) struct Vsock {
    vsock_id: Option<String>,
    guest_cid: u32,
    pub(crate) uds_path: String,
}

/// `PUT /logger`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "fields without an effect in the emulator")]
pub(crate) struct Logger {
    pub(crate) log_path: Option<String>,
    pub(crate) level: Option<String>,
    show_level: Option<bool>,
    show_log_origin: Option<bool>,
    module: Option<String>,
}

/// `PUT /metrics`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metrics {
    pub(crate) metrics_path: String,
}

/// `PUT /actions`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Action {
    pub(crate) action_type: ActionType,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum ActionType {
    InstanceStart,
    FlushMetrics,
    SendCtrlAltDel,
}

/// `PATCH /vm`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vm {
    pub(crate) state: VmState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum VmState {
    Paused,
    Resumed,
}

/// `PUT /snapshot/create`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnapshotCreate {
    #[serde(default)]
    pub(crate) snapshot_type: SnapshotType,
    pub(crate) snapshot_path: String,
    pub(crate) mem_file_path: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum SnapshotType {
    #[default]
    Full,
    Diff,
}

/// `PUT /snapshot/load`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnapshotLoad {
    pub(crate) snapshot_path: String,
    pub(crate) mem_backend: MemoryBackend,
    #[serde(default)]
    pub(crate) resume_vm: bool,
    pub(crate) network_overrides: Option<Vec<NetworkOverride>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemoryBackend {
    pub(crate) backend_type: BackendType,
    pub(crate) backend_path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum BackendType {
    File,
    Uffd,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NetworkOverride {
    pub(crate) iface_id: String,
    pub(crate) host_dev_name: String,
}

/// A configuration file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Config {
    pub(crate) boot_source: BootSource,
    pub(crate) machine_config: Option<MachineConfig>,
    #[serde(default)]
    pub(crate) drives: Vec<Drive>,
    #[serde(default)]
    pub(crate) network_interfaces: Vec<NetworkInterface>,
}

/// A card, with its device open.
#[derive(Debug)]
pub(crate) struct Card {
    pub(crate) config: NetworkInterface,
    pub(crate) tap: File,
}

/// Everything that is configured.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    pub(crate) machine: MachineConfig,
    pub(crate) boot: Option<BootSource>,
    pub(crate) cards: Vec<Card>,
    pub(crate) drives: Vec<Drive>,
    pub(crate) entropy: bool,
}

/// Parses a body.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| {
        format!("An error occurred when deserializing the json body of a request: {error}.")
    })
}

/// Checks the id in a path, and that the body has the same.
pub(crate) fn check_id(path: Option<&str>, body: &str) -> Result<(), String> {
    let id = path.unwrap_or_default();
    if id.is_empty() {
        return Err("The ID cannot be empty.".to_owned());
    }
    if !id.chars().all(|c| c == '_' || c.is_alphanumeric()) {
        return Err(
            "API Resource IDs can only contain alphanumeric characters and underscores.".to_owned(),
        );
    }
    if id != body {
        return Err(format!(
            "The id from the path [{id}] does not match the id from the body [{body}]!"
        ));
    }
    Ok(())
}

impl Resources {
    pub(crate) fn set_machine(&mut self, machine: MachineConfig) -> Result<(), String> {
        if machine.vcpu_count == 0 || machine.vcpu_count > 32 {
            return Err(
                "Machine config error: The number of vCPUs must be greater than 0, less than \
                        32 and must be 1 or an even number if SMT is enabled."
                    .to_owned(),
            );
        }
        if machine.mem_size_mib == 0 {
            return Err(
                "Machine config error: The memory size (MiB) is either 0, or not a multiple of \
                        the configured page size."
                    .to_owned(),
            );
        }
        self.machine = machine;
        Ok(())
    }

    pub(crate) fn set_boot(&mut self, boot: BootSource) -> Result<(), String> {
        if let Err(error) = File::open(&boot.kernel_image_path) {
            return Err(format!(
                "Boot source error: The kernel file cannot be opened: {error}"
            ));
        }
        if let Some(path) = &boot.initrd_path
            && let Err(error) = File::open(path)
        {
            return Err(format!(
                "Boot source error: The initrd file cannot be opened due to invalid path or invalid \
                 permissions. {error}"
            ));
        }
        if boot
            .boot_args
            .as_ref()
            .is_some_and(|line| line.len() >= LONGEST_LINE)
        {
            return Err(
                "Boot source error: The kernel command line is invalid: Invalid cmdline \
                        capacity provided."
                    .to_owned(),
            );
        }
        self.boot = Some(boot);
        Ok(())
    }

    pub(crate) fn add_card(&mut self, config: NetworkInterface) -> Result<(), String> {
        let others = || {
            self.cards
                .iter()
                .filter(|it| it.config.iface_id != config.iface_id)
        };
        if let Some(mac) = &config.guest_mac {
            if mac.split(':').filter(|part| part.len() == 2).count() != 6 {
                return Err("The provided MAC address is invalid.".to_owned());
            }
            if others().any(|it| it.config.guest_mac.as_ref() == Some(mac)) {
                return Err(format!(
                    "Network config error: The MAC address is already in use: {mac}"
                ));
            }
        }
        self.cards
            .retain(|it| it.config.iface_id != config.iface_id);
        let name = &config.host_dev_name;
        let tap = tap::open(name).map_err(|error| {
            format!(
                "Network config error: Could not create the network device: Open tap device failed: \
                 Error while creating ifreq structure: {error}. Invalid TUN/TAP Backend provided by \
                 {name}. Check our documentation on setting up the network devices."
            )
        })?;
        self.cards.push(Card { config, tap });
        Ok(())
    }

    pub(crate) fn add_drive(&mut self, drive: Drive) -> Result<(), String> {
        let path = drive.path_on_host.clone().unwrap_or_default();
        let file = File::options()
            .read(true)
            .write(drive.is_read_only != Some(true))
            .open(Path::new(&path));
        if let Err(error) = file {
            return Err(format!(
                "Drive config error: Unable to create the virtio block device: Virtio backend error: \
                 Error manipulating the backing file: {error} {path}"
            ));
        }
        self.drives.retain(|it| it.drive_id != drive.drive_id);
        self.drives.push(drive);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_with_unknown_fields_and_invalid_values_are_refused() {
        assert!(parse::<Vm>(b"{\"state\":\"Paused\"}").is_ok());
        assert!(parse::<Vm>(b"{\"state\":\"Sleeping\"}").is_err());
        assert!(parse::<Metrics>(b"{\"metrics_path\":\"m\",\"more\":1}").is_err());
        let mut resources = Resources::default();
        for (body, fine) in [
            (r#"{"vcpu_count":1,"mem_size_mib":64}"#, true),
            (r#"{"vcpu_count":0,"mem_size_mib":64}"#, false),
            (r#"{"vcpu_count":33,"mem_size_mib":64}"#, false),
            (r#"{"vcpu_count":1,"mem_size_mib":0}"#, false),
        ] {
            let set = parse(body.as_bytes()).and_then(|it| resources.set_machine(it));
            assert_eq!(set.is_ok(), fine, "{body}");
        }
        assert!(check_id(Some("eth0"), "eth0").is_ok());
        assert!(check_id(Some("my-net"), "my-net").is_err());
        assert!(check_id(Some("eth0"), "eth1").is_err());
        assert!(check_id(None, "").is_err());
    }
}
