//! A full guest: Debian's Linux with a user land of one program, assembled at test time.
//!
//! It tests what a miniature kernel cannot: real 9p mounts, real TCP and UDP. Its `init` reads the
//! same command line as a unikernel: `vfs.fstab` names the mounts, the arguments after `--` are a
//! shell script to run.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::harness::{kraft_binary, repository};

/// What the guest does from its first instruction on: mount, load, obey, power off.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /bin /sbin
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
echo 2 >/proc/sys/kernel/printk
for module in $(cat /modules/modules); do insmod /modules/$module; done

# vfs.fstab=fs1:/data:9pfs:::mkmp, one word for each
tr ' ' '\n' </proc/cmdline | tr -d '"' | sed -n 's/^vfs\.fstab=//p' |
while IFS=: read -r tag where driver rest; do
    [ "$driver" = 9pfs ] || continue
    mkdir -p "$where"
    mount -t 9p -o trans=virtio,version=9p2000.L "$tag" "$where" || echo "cannot mount $tag"
done
if [ -e /sys/class/net/eth0 ]; then
    ip link set lo up
    ip addr add 10.0.2.15/24 dev eth0
    ip link set eth0 up
    ip route add default via 10.0.2.2
fi
echo "linux-guest: ready"
[ ! -e /script ] || sh /script
echo "linux-guest: bye"
poweroff -f
"#;

/// Returns Debian's kernel, or why it is not here.
pub fn kernel() -> Result<PathBuf, &'static str> {
    let kernel = repository().join("target/fixtures/linux/vmlinuz");
    if kernel.is_file() {
        Ok(kernel)
    } else {
        Err("Debian's kernel is not fetched: scripts/fetch-linux-guest.sh")
    }
}

/// Lays out a root filesystem under `root` that runs `script` and powers off.
///
/// # Panics
/// If it cannot be laid out; `Err` only says which optional part of the machine is missing.
pub fn lay_out(root: &Path, script: &str) -> Result<(), &'static str> {
    let busybox = Path::new("/bin/busybox");
    if !busybox.is_file() {
        return Err("busybox-static is not installed");
    }
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    symlink("busybox", root.join("bin/sh")).unwrap();
    executable(&root.join("init"), INIT);
    executable(&root.join("script"), script);
    let modules = root.join("modules");
    fs::create_dir(&modules).unwrap();
    for file in fs::read_dir(repository().join("target/fixtures/linux")).unwrap() {
        let file = file.unwrap();
        if file.path().extension().is_some_and(|it| it == "ko") || file.file_name() == "modules" {
            fs::copy(file.path(), modules.join(file.file_name())).unwrap();
        }
    }
    Ok(())
}

/// Copies a program of this host to the same path in the guest, with its shared libraries.
pub fn add_host_program(root: &Path, program: &Path) {
    add_libraries(root, program);
    add_file(root, program);
}

/// Adds kraft as `/kraft`, with its shared libraries, but without its symbols: an emulated machine
/// spends seconds on unpacking them.
///
/// # Panics
/// If `strip`, of the tools of the compiler, fails.
pub fn add_kraft(root: &Path) {
    add_libraries(root, kraft_binary());
    let stripped = std::process::Command::new("strip")
        .arg("-o")
        .arg(root.join("kraft"))
        .arg(kraft_binary())
        .status()
        .unwrap();
    assert!(stripped.success(), "{stripped}");
}

fn add_libraries(root: &Path, program: &Path) {
    let linked = std::process::Command::new("ldd")
        .arg(program)
        .output()
        .unwrap();
    let linked = String::from_utf8(linked.stdout).unwrap();
    let words = linked.split_whitespace();
    for library in words.filter(|word| word.starts_with('/')) {
        add_file(root, Path::new(library));
    }
}

/// Copies a file of this host to the same path in the guest.
pub fn add_file(root: &Path, file: &Path) {
    let inside = root.join(file.strip_prefix("/").unwrap());
    fs::create_dir_all(inside.parent().unwrap()).unwrap();
    fs::copy(file, inside).unwrap();
}

/// Adds the modules that give a guest a working `/dev/kvm`, as `/kvm/*.ko`.
pub fn add_kvm(root: &Path) -> Result<(), &'static str> {
    add_modules(root, "kvm", "kvm-amd.ko")
        .ok_or("the KVM modules are not fetched: scripts/fetch-linux-guest.sh")
}

/// Adds the modules for networks of machines, as `/net/*.ko`.
pub fn add_networks(root: &Path) -> Result<(), &'static str> {
    add_modules(root, "net", "tun.ko")
        .ok_or("the modules of networks are not fetched: remove target/fixtures/linux, then scripts/fetch-linux-guest.sh")
}

/// Adds the modules for networks of containers, with their index, for `modprobe`.
pub fn add_host_modules(root: &Path) -> Result<(), &'static str> {
    let modules = repository().join("target/fixtures/linux/host");
    if !modules.is_dir() {
        return Err("the modules of hosts are not fetched: scripts/fetch-linux-guest.sh");
    }
    fs::create_dir_all(root.join("lib")).unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .arg(modules)
        .arg(root.join("lib/modules"))
        .status()
        .unwrap();
    assert!(copied.success(), "{copied}");
    Ok(())
}

/// Adds a directory of modules; `None` if it does not have the one that is asked for.
fn add_modules(root: &Path, dir: &str, needed: &str) -> Option<()> {
    let modules = repository().join("target/fixtures/linux").join(dir);
    if !modules.join(needed).is_file() {
        return None;
    }
    fs::create_dir(root.join(dir)).unwrap();
    for file in fs::read_dir(modules).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), root.join(dir).join(file.file_name())).unwrap();
    }
    Some(())
}

/// Compiles a program of `fixtures/` for the guest, linked statically, into `/bin`.
pub fn add_program(root: &Path, name: &str) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{name}.c"));
    let compiled = std::process::Command::new("cc")
        .args(["-static", "-O1", "-Wall", "-Werror", "-o"])
        .arg(root.join("bin").join(name))
        .arg(source)
        .output()
        .unwrap();
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
