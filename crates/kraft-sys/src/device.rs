//! Devices: their numbers, and their requests.
//!
//! ```
//! // Works on KVM's device only; on any other file the system refuses the request.
//! let file = tempfile::tempfile()?;
//! assert!(kraft_sys::device::kvm_version(&file).is_err());
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fs::{File, Metadata};
use std::io;

use rustix::ioctl::{self, NoArg, Opcode, opcode};

use crate::host;

/// Returns the major and the minor number of a device; of any other file, zeros or what the file system puts there.
pub fn numbers(metadata: &Metadata) -> (u32, u32) {
    host::device_numbers(metadata)
}

/// Returns whether the Hypervisor framework runs guests on this host.
#[cfg(target_os = "macos")]
pub fn has_hypervisor() -> bool {
    host::has_hypervisor()
}

/// Linux, `include/uapi/linux/kvm.h`: `KVM_GET_API_VERSION`.
const KVM_GET_API_VERSION: Opcode = opcode::none(0xae, 0x00);

/// Returns the version of the KVM API, which is 12 since Linux 2.6.22.
pub fn kvm_version(kvm: &File) -> io::Result<i32> {
    // SAFETY: the request takes no argument and changes nothing; a file that is not KVM's answers
    // with an error, or with a number that is not a version.
    #[expect(unsafe_code, reason = "no safe wrapper exists for this request")]
    let version = unsafe { ioctl::ioctl(kvm, GetVersion(NoArg::new())) }?;
    Ok(version)
}

struct GetVersion(NoArg<KVM_GET_API_VERSION>);

// SAFETY: opcode and argument are those of the wrapped request, which has none; only the answer,
// a plain number, is kept instead of being dropped.
#[expect(unsafe_code, reason = "an ioctl whose answer is its return value")]
unsafe impl ioctl::Ioctl for GetVersion {
    type Output = i32;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        self.0.opcode()
    }

    fn as_ptr(&mut self) -> *mut rustix::ffi::c_void {
        self.0.as_ptr()
    }

    unsafe fn output_from_ptr(
        out: ioctl::IoctlOutput,
        _: *mut rustix::ffi::c_void,
    ) -> rustix::io::Result<i32> {
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_kvm_has_no_version() {
        assert!(kvm_version(&File::open("/dev/null").unwrap()).is_err());
    }
}
