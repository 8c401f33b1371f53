//! A program that behaves as Firecracker 1.12 does, for tests on hosts without KVM. It is never
//! shipped.
//!
//! The API is that of Firecracker's public description (`firecracker.yaml`): the same requests,
//! states, errors and files. The guest runs on QEMU's machine `microvm` by binary translation, and is
//! entered as Firecracker enters it. What differs: no filters for system calls, no rate limits, only
//! full snapshots, and no device for vsock behind its socket.
//!
//! ```text
//! main thread   requests and the end of the guest, one at a time   ──► QEMU, its child
//! API thread    the socket; a thread per connection                ──► main thread
//! ```
//!
//! Errors are injected by arguments before those of Firecracker:
//!
//! | argument | effect |
//! |---|---|
//! | `--fault refuse=/boot-source` | requests on this path are refused |
//! | `--fault hang=/actions` | requests on this path are never answered |
//! | `--fault exit=/boot-source` | the process exits with status 1 at such a request |
//! | `--fault garbage=/machine-config` | such a request is answered with something that is not HTTP |
//! | `--fault kvm` | the guest ends as where KVM cannot run it |
//! | `--fault silent` | the socket is never opened |
//! | `--fault version=1.10.1` | it is another version; before 1.12 a restored card keeps its device |
//!
//! ```
//! use kraft_firecracker_emulator::run;
//!
//! let mut output = Vec::new();
//! let code = run(["--version".to_owned()], &mut output);
//! assert_eq!(code, 0);
//! assert!(output.starts_with(b"Firecracker v1.12.0\n"));
//! ```

use std::io::Write;

mod api;
mod guest;
mod log;
mod options;
mod resources;
mod snapshot;
mod tap;
mod vmm;

use options::{Mode, Options};

/// The version that it says it has, unless a test wants another.
const VERSION: &str = "1.12.0";

/// The exit status of an invalid command line.
const BAD_ARGUMENTS: i32 = 153;

/// Runs with Firecracker's arguments, and returns the exit status.
pub fn run(args: impl IntoIterator<Item = String>, output: &mut dyn Write) -> i32 {
    let options = match Options::parse(args) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("Error: {why}");
            return BAD_ARGUMENTS;
        }
    };
    if options.mode == Mode::Version {
        // The reader may be gone.
        let _ = writeln!(output, "Firecracker v{}\n", options.version());
        return 0;
    }
    match vmm::run(options) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("Error: {why}");
            1
        }
    }
}
