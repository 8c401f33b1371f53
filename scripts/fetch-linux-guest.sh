#!/usr/bin/env bash
# Fetches Debian's own Linux kernel for the tests that need a full guest: 9p mounts, TCP and UDP.
#
# The package is unpacked under target/fixtures/linux and never installed, so the host's boot
# files are not changed. A second run does nothing.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
into=$root/target/fixtures/linux

say() { printf 'setup: %s\n' "$*"; }

if [[ -e $into/vmlinuz && -d $into/kvm && -d $into/net && -d $into/host ]]; then
    exit 0
fi
if [[ $(dpkg --print-architecture) != amd64 ]]; then
    say "skipping the Linux guest: it needs an amd64 kernel, and apt offers none"
    exit 0
fi

# The meta package names the concrete one; its dependency changes with every security update.
package=$(apt-cache depends --important linux-image-amd64 2>/dev/null |
    sed -n 's/^ *|\{0,1\}Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
if [[ -z $package ]]; then
    say "reading Debian's package lists, to find its Linux kernel"
    if [[ $(id -u) == 0 ]]; then apt-get update -qq; else sudo apt-get update -qq; fi
    package=$(apt-cache depends --important linux-image-amd64 |
        sed -n 's/^ *|\{0,1\}Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
fi
say "unpacking $package in target/fixtures/linux: the tests boot it as a full guest"

mkdir -p "$root/target/fixtures"
scratch=$(mktemp -d "$root/target/fixtures/.linux.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
(cd "$scratch" && apt-get download -qq "$package" 2>/dev/null || apt-get download "$package")
dpkg-deb --extract "$scratch"/*.deb "$scratch/package"

mkdir "$scratch/linux"
cp "$scratch"/package/boot/vmlinuz-* "$scratch/linux/vmlinuz"
modules=$(echo "$scratch"/package/lib/modules/*)
[[ -d $modules ]] || modules=$(echo "$scratch"/package/usr/lib/modules/*)
# Modules for a guest on QEMU, in the order in which they must be loaded.
for module in \
    fs/netfs/netfs fs/fscache/fscache net/9p/9pnet fs/9p/9p \
    drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_pci_modern_dev \
    drivers/virtio/virtio_pci_legacy_dev drivers/virtio/virtio_pci net/9p/9pnet_virtio \
    net/core/failover drivers/net/net_failover drivers/net/virtio_net; do
    for file in "$modules/kernel/$module.ko" "$modules/kernel/$module.ko.xz"; do
        if [[ -e $file ]]; then
            cp "$file" "$scratch/linux/"
            basename "$file" >>"$scratch/linux/modules"
        fi
    done
done
# Modules for a guest that runs guests itself.
mkdir "$scratch/linux/kvm"
for module in virt/lib/irqbypass drivers/crypto/ccp/ccp arch/x86/kvm/kvm arch/x86/kvm/kvm-amd; do
    for file in "$modules/kernel/$module.ko" "$modules/kernel/$module.ko.xz"; do
        if [[ -e $file ]]; then cp "$file" "$scratch/linux/kvm/"; fi
    done
done
# Modules for a guest that has networks of machines.
mkdir "$scratch/linux/net"
for module in net/llc/llc net/802/stp net/bridge/bridge drivers/net/tun; do
    for file in "$modules/kernel/$module.ko" "$modules/kernel/$module.ko.xz"; do
        if [[ -e $file ]]; then cp "$file" "$scratch/linux/net/"; fi
    done
done
# Modules for a guest that is a host of containers, with an index, as `modprobe` has them.
host=$scratch/linux/host/$(basename "$modules")
mkdir -p "$host"
cp "$modules"/modules.builtin* "$modules/modules.order" "$host/"
for directory in crypto drivers/net/vxlan fs/overlayfs lib net/802 net/bridge net/core net/ipv4 net/ipv6 \
    net/llc net/netfilter net/sched; do
    mkdir -p "$host/kernel/$directory"
    cp -r "$modules/kernel/$directory/." "$host/kernel/$directory"
done
for module in drivers/net/{dummy,tun,veth}.ko; do
    cp "$modules/kernel/$module"* "$host/kernel/drivers/net/"
done
find "$scratch/linux" -name '*.ko.xz' -exec xz --decompress {} +
# `depmod` of busybox expects them where they are in a root file system.
mkdir -p "$scratch/root/lib/modules"
ln -s "$host" "$scratch/root/lib/modules/"
busybox depmod -b "$scratch/root" "$(basename "$modules")"
sed -i 's/\.xz$//' "$scratch/linux/modules"

# The files belong to the owner of the checkout, even if root runs this script.
chown -R --reference="$root" "$root/target/fixtures"
rm -rf "$into"
mv "$scratch/linux" "$into"
