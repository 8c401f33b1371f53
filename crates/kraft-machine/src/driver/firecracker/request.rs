//! The requests to Firecracker: one type per resource (`firecracker.yaml`, its description).

use serde::Serialize;

/// A request with a body. Its answer has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Request<'a> {
    /// The processors and the memory.
    MachineConfig(MachineConfig),
    /// The kernel, the root archive and the kernel command line.
    BootSource(BootSource<'a>),
    /// A card of a network.
    NetworkInterface(NetworkInterface<'a>),
    /// The device for random numbers.
    Entropy(Entropy),
    /// The log.
    Logger(Logger),
    /// Something that is done once.
    Action(Action),
    /// The state of the guest's processors.
    Vm(Vm),
    /// Files for the memory and the devices of a paused guest.
    SnapshotCreate(SnapshotCreate<'a>),
    /// Files that a guest is restored from; it is paused then.
    SnapshotLoad(SnapshotLoad<'a>),
}

/// `PUT /machine-config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct MachineConfig {
    pub(super) vcpu_count: u32,
    pub(super) mem_size_mib: u64,
}

/// `PUT /boot-source`. Paths are relative to Firecracker's working directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct BootSource<'a> {
    pub(super) kernel_image_path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) initrd_path: Option<&'a str>,
    /// Without it, Firecracker has a line for Linux.
    pub(super) boot_args: &'a str,
}

/// `PUT /network-interfaces/ID`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct NetworkInterface<'a> {
    /// Letters, digits and `_` only: not the name of a network.
    pub(super) iface_id: String,
    /// The device on the host, in Firecracker's namespace.
    pub(super) host_dev_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) guest_mac: Option<String>,
}

/// `PUT /entropy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Entropy {}

/// `PUT /logger`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Logger {
    pub(super) level: &'static str,
    /// Without it, the file stays the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) log_path: Option<&'static str>,
}

/// `PUT /actions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "action_type")]
pub(super) enum Action {
    /// Starts the guest.
    InstanceStart,
    /// Presses Ctrl, Alt and Del on the guest's keyboard (x86 only).
    SendCtrlAltDel,
}

/// `PATCH /vm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "state")]
pub(super) enum Vm {
    /// Stops the processors.
    Paused,
    /// Starts them again.
    Resumed,
}

/// `PUT /snapshot/create`. Files that exist are overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct SnapshotCreate<'a> {
    pub(super) snapshot_type: &'static str,
    pub(super) snapshot_path: &'a str,
    pub(super) mem_file_path: &'a str,
}

/// `PUT /snapshot/load`. The file of the memory is mapped, and not changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct SnapshotLoad<'a> {
    pub(super) snapshot_path: &'a str,
    pub(super) mem_backend: MemoryBackend<'a>,
    /// Since 1.12.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) network_overrides: Vec<NetworkOverride<'a>>,
}

/// Where the memory of a restored guest comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct MemoryBackend<'a> {
    pub(super) backend_type: &'static str,
    pub(super) backend_path: &'a str,
}

/// The device on the host of a card that is restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct NetworkOverride<'a> {
    pub(super) iface_id: String,
    pub(super) host_dev_name: &'a str,
}

impl Request<'_> {
    /// Returns the method and the path.
    pub(super) fn line(&self) -> (&'static str, String) {
        let put = |path: &str| ("PUT", path.to_owned());
        match self {
            Self::MachineConfig(_) => put("/machine-config"),
            Self::BootSource(_) => put("/boot-source"),
            Self::NetworkInterface(one) => ("PUT", format!("/network-interfaces/{}", one.iface_id)),
            Self::Entropy(_) => put("/entropy"),
            Self::Logger(_) => put("/logger"),
            Self::Action(_) => put("/actions"),
            Self::Vm(_) => ("PATCH", "/vm".to_owned()),
            Self::SnapshotCreate(_) => put("/snapshot/create"),
            Self::SnapshotLoad(_) => put("/snapshot/load"),
        }
    }

    /// Returns the body.
    pub(super) fn body(&self) -> Vec<u8> {
        // INVARIANT: texts and numbers can always be serialised.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_those_of_the_description() {
        let requests = [
            Request::MachineConfig(MachineConfig {
                vcpu_count: 1,
                mem_size_mib: 64,
            }),
            Request::BootSource(BootSource {
                kernel_image_path: "kernel",
                initrd_path: None,
                boot_args: "kernel -- \"a\"",
            }),
            Request::NetworkInterface(NetworkInterface {
                iface_id: "eth0".to_owned(),
                host_dev_name: "if0",
                guest_mac: Some("02:b0:b0:00:00:01".to_owned()),
            }),
            Request::Entropy(Entropy {}),
            Request::Logger(Logger {
                level: "Info",
                log_path: None,
            }),
            Request::Action(Action::InstanceStart),
            Request::Vm(Vm::Paused),
            Request::SnapshotCreate(SnapshotCreate {
                snapshot_type: "Full",
                snapshot_path: "state",
                mem_file_path: "memory",
            }),
            Request::SnapshotLoad(SnapshotLoad {
                snapshot_path: "state",
                mem_backend: MemoryBackend {
                    backend_type: "File",
                    backend_path: "memory",
                },
                network_overrides: vec![NetworkOverride {
                    iface_id: "eth0".to_owned(),
                    host_dev_name: "if1",
                }],
            }),
        ];
        let shown = requests.map(|request| {
            let (method, path) = request.line();
            format!(
                "{method} {path} {}",
                String::from_utf8_lossy(&request.body())
            )
        });
        insta::assert_snapshot!(shown.join("\n"), @r#"
        PUT /machine-config {"vcpu_count":1,"mem_size_mib":64}
        PUT /boot-source {"kernel_image_path":"kernel","boot_args":"kernel -- \"a\""}
        PUT /network-interfaces/eth0 {"iface_id":"eth0","host_dev_name":"if0","guest_mac":"02:b0:b0:00:00:01"}
        PUT /entropy {}
        PUT /logger {"level":"Info"}
        PUT /actions {"action_type":"InstanceStart"}
        PATCH /vm {"state":"Paused"}
        PUT /snapshot/create {"snapshot_type":"Full","snapshot_path":"state","mem_file_path":"memory"}
        PUT /snapshot/load {"snapshot_path":"state","mem_backend":{"backend_type":"File","backend_path":"memory"},"network_overrides":[{"iface_id":"eth0","host_dev_name":"if1"}]}
        "#);
    }
}
