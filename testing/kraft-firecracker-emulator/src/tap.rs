//! The card of a network on the host: a device that is opened by its name.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Opens a device, and makes it if there is none. It is busy if another process has it open.
pub(crate) fn open(name: &str) -> io::Result<File> {
    if name.len() >= libc::IFNAMSIZ {
        return Err(io::Error::other("Invalid interface name"));
    }
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: i16::try_from(flags).unwrap_or_default(),
        },
    };
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte.cast_signed();
    }
    // SAFETY: the request is a whole `ifreq`, which this call reads and writes.
    #[expect(unsafe_code, reason = "no library opens such devices")]
    let opened = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if opened < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}
