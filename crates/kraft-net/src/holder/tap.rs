//! The card of a machine on the side of the network: a device whose packets a VMM reads and writes.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::Refused;

/// The device that makes them.
const TUN: &str = "/dev/net/tun";

/// Checks that this user may make such devices.
pub(super) fn check() -> Result<(), Refused> {
    match open() {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Err(Refused::with_cure(
            format!("only root may use `{TUN}`"),
            format!("sudo chmod 0666 {TUN}"),
        )),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Refused::with_cure(
            format!("there is no `{TUN}`"),
            "sudo modprobe tun",
        )),
        Err(e) => Err(Refused::new(format!("cannot open `{TUN}`: {e}"))),
    }
}

fn open() -> io::Result<File> {
    File::options().read(true).write(true).open(TUN)
}

/// Makes a device in the network namespace of this thread; returns it with its name, in which the kernel
/// puts a number in place of `%d`. It is gone when it is closed everywhere.
pub(crate) fn make(pattern: &str) -> io::Result<(File, String)> {
    let file = open()?;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            // The last one lets a VMM hand over packets whose checksums are not computed yet.
            ifru_flags: flags(libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR),
        },
    };
    for (place, byte) in request.ifr_name.iter_mut().zip(pattern.as_bytes()) {
        *place = to_char(*byte);
    }
    // SAFETY: the request is a whole `ifreq`, which this call reads and writes (tuntap.txt of Linux).
    #[expect(unsafe_code, reason = "no library makes such devices")]
    let made = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((file, name_in(&request)))
}

/// Returns the name of a device.
pub(crate) fn name(file: &impl AsRawFd) -> io::Result<String> {
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: 0 },
    };
    // SAFETY: the request is a whole `ifreq`, which this call writes.
    #[expect(unsafe_code, reason = "no library knows such devices")]
    let asked = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNGETIFF, &raw mut request) };
    if asked < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(name_in(&request))
}

/// Keeps a device when it is closed everywhere, until it is removed.
pub(crate) fn keep(file: &impl AsRawFd) -> io::Result<()> {
    let on: libc::c_ulong = 1;
    // SAFETY: the argument is a number.
    #[expect(unsafe_code, reason = "no library knows such devices")]
    let kept = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETPERSIST, on) };
    if kept < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn name_in(request: &libc::ifreq) -> String {
    let name = request.ifr_name.iter().map(|byte| from_char(*byte));
    let name: Vec<u8> = name.take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&name).into_owned()
}

/// Returns a byte of C's `char`, which is signed on some processors.
pub(crate) fn from_char(char: libc::c_char) -> u8 {
    let [byte] = char.to_ne_bytes();
    byte
}

/// Returns a byte as C's `char`.
pub(crate) fn to_char(byte: u8) -> libc::c_char {
    libc::c_char::from_ne_bytes([byte])
}

/// Flags of a device as a request holds them: 16 bits.
fn flags(bits: libc::c_int) -> libc::c_short {
    let [low, high, ..] = bits.to_le_bytes();
    libc::c_short::from_le_bytes([low, high])
}
