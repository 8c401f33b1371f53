//! `features`: what this runtime supports (OCI runtime specification, Features).

use crate::decide::ANNOTATIONS;
use crate::failure::Failure;
use crate::print;
use crate::state::OCI_VERSION;

/// Prints what this runtime supports.
pub(crate) fn exec() -> Result<(), Failure> {
    let features = serde_json::json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "poststart", "poststop"],
        "mountOptions": ["bind", "rbind", "ro", "rw", "private", "rprivate"],
        "linux": {
            "namespaces": ["network"],
            "cgroup": { "v1": true, "v2": true, "systemd": false, "systemdUser": false },
        },
        "annotations": { "org.unikraft.runu.version": env!("CARGO_PKG_VERSION") },
        "potentiallyUnsafeConfigAnnotations": ANNOTATIONS,
    });
    print(&features.to_string())
}
