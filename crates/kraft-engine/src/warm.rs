//! Warm starts: a machine continues from a snapshot of an earlier one that was made of the same things.
//!
//! ```text
//! kernel, root archive, specification ─► name of a snapshot ─┬─ there is one: restore it
//!                                                            └─ none: boot; it is made once the machine
//!                                                                     answers its health check
//! ```
//!
//! The name has the digest of everything that the machine is made of. So a snapshot of something else is
//! never used, and stays until `kraft snapshot prune`.
//!
//! ```
//! use kraft_core::plan::RunRequest;
//! use kraft_core::port;
//! use kraft_engine::warm;
//!
//! let mut request = RunRequest { ports: port::parse("8080:80").unwrap(), ..RunRequest::default() };
//! warm::complete(&mut request)?;
//! let health = request.lifecycle.health.expect("a health check");
//! assert_eq!(health.probe.port(), 80, "the machine is ready when its port is open");
//! # Ok::<(), warm::Error>(())
//! ```

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use kraft_core::lifecycle::{HealthCheck, HealthProbe, Lifecycle};
use kraft_core::machine::MachineSpec;
use kraft_core::net::Interface;
use kraft_core::plan::RunRequest;
use kraft_core::port::{PortMapping, Protocol};
use kraft_core::reference::Digest;
use kraft_machine::Machines;
use kraft_oci::digest;
use kraft_sys::fs;

/// How the names of these snapshots begin.
pub const PREFIX: &str = "warm-";

/// The number of digits of the digest in a name.
const DIGITS: usize = 24;

/// The time between two health checks, where none is set, in milliseconds.
const HEALTH_INTERVAL_MS: u64 = 30_000;

/// A machine cannot be started warm.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It has volumes, which cannot be saved.
    #[error("machines with volumes are not saved")]
    Volumes,
    /// It has neither a health check nor a port that could be checked.
    #[error(
        "the machine has neither a health check nor a TCP port, so that it is not known when it is ready"
    )]
    NoCheck,
    /// A file of it cannot be read.
    #[error(transparent)]
    File(#[from] fs::Error),
}

/// Prepares the request for a machine that is started warm: without a health check, its first TCP port
/// is checked.
///
/// # Errors
///
/// If the machine cannot be saved, or there is nothing to check.
pub fn complete(request: &mut RunRequest) -> Result<(), Error> {
    if !request.volumes.is_empty() {
        return Err(Error::Volumes);
    }
    if request.lifecycle.health.is_some() {
        return Ok(());
    }
    let tcp = |port: &&PortMapping| port.protocol == Protocol::Tcp;
    let port = request.ports.iter().find(tcp).ok_or(Error::NoCheck)?;
    request.lifecycle.health = Some(HealthCheck {
        probe: HealthProbe::Tcp {
            port: port.machine_port,
        },
        interval_ms: HEALTH_INTERVAL_MS,
        timeout_ms: HEALTH_INTERVAL_MS,
        retries: 3,
        start_period_ms: 0,
    });
    Ok(())
}

/// The digests of the files of a machine, as far as they are known without reading them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// That of the kernel.
    pub kernel: Option<Digest>,
    /// That of the root archive.
    pub initrd: Option<Digest>,
}

/// Returns the name of the snapshot from which machines with a specification continue.
///
/// # Errors
///
/// If the kernel or the root archive cannot be read.
pub fn name(spec: &MachineSpec, known: Digests) -> Result<String, fs::Error> {
    let mut all = digest::Hasher::default();
    // INVARIANT: no map has keys that are not strings, and no number is a float.
    all.update(&serde_json::to_vec(&essence(spec)).unwrap_or_default());
    let files = [
        (Some(&spec.kernel), known.kernel),
        (spec.initrd.as_ref(), known.initrd),
    ];
    for (path, known) in files {
        let Some(path) = path else { continue };
        let digest = match known {
            Some(digest) => digest,
            None => digest::of_file(path)?,
        };
        all.update(digest.to_string().as_bytes());
    }
    let digest = all.finish().to_string();
    let (_, digits) = digest.split_once(':').unwrap_or_default();
    let digits = digits.get(..DIGITS).unwrap_or(digits);
    Ok(format!("{PREFIX}{digits}"))
}

/// Removes the snapshots of warm starts that were not used for a time, and returns their size on disk in
/// bytes; with `dry_run` nothing is removed.
///
/// # Errors
///
/// If the snapshots cannot be listed, or one cannot be removed.
pub fn remove_unused(
    machines: &Machines,
    age: Duration,
    dry_run: bool,
) -> Result<u64, kraft_machine::Error> {
    let mut bytes = 0;
    for name in machines.snapshot_names()? {
        if !name.starts_with(PREFIX) || machines.unused_for(&name) < age {
            continue;
        }
        let snapshot = machines.snapshot(&name);
        bytes += snapshot.map_or(0, |snapshot| snapshot.saved.size_on_disk());
        if !dry_run {
            machines.remove_snapshot(&name)?;
        }
    }
    Ok(bytes)
}

/// Returns a specification without what does not concern the guest.
fn essence(spec: &MachineSpec) -> MachineSpec {
    let port = |port: &PortMapping| PortMapping {
        host_ip: Ipv4Addr::UNSPECIFIED.into(),
        host_port: 0,
        ..port.clone()
    };
    let network = |interface: &Interface| Interface {
        network: interface.network.clone(),
        ..Interface::default()
    };
    MachineSpec {
        name: None,
        origin: String::new(),
        kernel: PathBuf::new(),
        initrd: spec.initrd.as_ref().map(|_| PathBuf::new()),
        labels: BTreeMap::new(),
        ports: spec.ports.iter().map(port).collect(),
        networks: spec.networks.iter().map(network).collect(),
        remove_when_ended: false,
        lifecycle: Lifecycle::default(),
        ..spec.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn name(spec: &MachineSpec) -> Result<String, fs::Error> {
        super::name(spec, Digests::default())
    }

    fn spec(dir: &Path) -> MachineSpec {
        let text = r#"{"name": "web", "arch": "x86_64", "platform": "qemu", "origin": "", "kernel": "/k",
            "boot": "pvh", "initrd": null, "kernel_args": [], "args": [], "env": {}, "memory": 1048576,
            "cpus": 1, "ports": [], "volumes": [], "acceleration": "tcg", "remove_when_ended": true}"#;
        let mut spec: MachineSpec = serde_json::from_str(text).unwrap();
        spec.kernel = dir.join("kernel");
        spec.initrd = Some(dir.join("root"));
        fs::replace_file(&spec.kernel, b"kernel").unwrap();
        fs::replace_file(&dir.join("root"), b"root").unwrap();
        spec
    }

    #[test]
    fn only_what_concerns_the_guest_changes_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let first = spec(dir.path());
        let expected = name(&first).unwrap();
        assert!(expected.starts_with(PREFIX), "{expected}");
        let mut other = first.clone();
        other.name = None;
        other.ports = kraft_core::port::parse("8080:80").unwrap();
        let with_port = name(&other).unwrap();
        assert_ne!(with_port, expected);
        other.ports = kraft_core::port::parse("9090:80").unwrap();
        other.remove_when_ended = false;
        assert_eq!(name(&other).unwrap(), with_port);

        let changes: [fn(&mut MachineSpec); 5] = [
            |spec| spec.memory += 1,
            |spec| spec.args.push("x".to_owned()),
            |spec| drop(spec.env.insert("A".to_owned(), "b".to_owned())),
            |spec| spec.initrd = None,
            |spec| spec.initrd = Some(spec.kernel.clone()),
        ];
        for change in changes {
            let mut other = first.clone();
            change(&mut other);
            assert_ne!(name(&other).unwrap(), expected, "{other:?}");
        }
        // Files whose digests are known are not read.
        let known = Digests {
            kernel: Some(digest::of(b"kernel")),
            initrd: Some(digest::of(b"root")),
        };
        fs::replace_file(&first.kernel, b"kernels").unwrap();
        assert_ne!(name(&first).unwrap(), expected);
        assert_eq!(super::name(&first, known).unwrap(), expected);
    }

    #[test]
    fn the_first_tcp_port_is_checked_unless_there_is_a_check() {
        let mut request = RunRequest::default();
        assert!(matches!(complete(&mut request), Err(Error::NoCheck)));
        request.ports = kraft_core::port::parse("53:53/udp").unwrap();
        assert!(matches!(complete(&mut request), Err(Error::NoCheck)));
        request
            .ports
            .extend(kraft_core::port::parse("8080:80").unwrap());
        complete(&mut request).unwrap();
        assert_eq!(request.lifecycle.health.unwrap().probe.port(), 80);
    }
}
