#!/usr/bin/env bash
# Tests the files of a release where none was installed before: each way to
# install kraft gives one that runs a program, in under a minute.
#
#   scripts/try-release.sh DIRECTORY
#
# DIRECTORY has what `cargo xtask dist` makes. It installs packages, as root, so
# run it in a bare Debian:
#
#   sudo scripts/bare-debian.sh -d target/dist /var/tmp/bare scripts/try-release.sh ../dist
set -euo pipefail

dist=$(cd "${1:?the directory of the release}" && pwd)
target=$(uname -m)-unknown-linux-musl
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The program that is run, and the only one in a root without a C library.
apt-get install --quiet=2 --no-install-recommends busybox-static >/dev/null 2>&1
busybox=$(command -v busybox)

# Runs the program with a kraft that was installed since the second $2.
tries() { # WAY SECOND KRAFT
    local said
    said=$("$3" run --rm "$busybox" echo "it works") 2>"$scratch/log" || {
        cat "$scratch/log" >&2
        echo "try-release: error: $1: kraft run failed" >&2
        exit 1
    }
    if [[ $said != *"it works"* ]]; then
        echo "try-release: error: $1: the program printed: $said" >&2
        exit 1
    fi
    local seconds=$((SECONDS - $2))
    echo "try-release: $1: installed and run in $seconds s"
    [[ $seconds -lt 60 ]]
}

# With QEMU, which the package recommends; what an earlier try has left would change that.
apt-get remove --quiet=2 --autoremove kraft >/dev/null 2>&1 || true
second=$SECONDS
apt-get install --quiet=2 "$dist"/kraft_*_"$(dpkg --print-architecture)".deb >/dev/null 2>"$scratch/log" || {
    cat "$scratch/log" >&2
    exit 1
}
tries "the package" "$second" /usr/bin/kraft
apt-get remove --quiet=2 kraft >/dev/null
[[ ! -e /usr/bin/kraft ]]

second=$SECONDS
KRAFT_DOWNLOAD=$dist PREFIX=$scratch/prefix sh "$dist/install.sh" >/dev/null
tries "the installer" "$second" "$scratch/prefix/bin/kraft"

second=$SECONDS
mkdir "$scratch/archive"
tar --extract --gzip --directory "$scratch/archive" --file "$(echo "$dist"/kraft-*-"$target".tar.gz)"
program=$(find "$scratch/archive" -name kraft -type f -perm -u+x)
tries "the archive" "$second" "$program"

mkdir -p "$scratch/root/bin"
cp "$busybox" "$scratch/root/bin/busybox"
cp "$program" "$scratch/root/kraft"
chroot "$scratch/root" /kraft version >/dev/null
chroot "$scratch/root" /kraft pkg ls >/dev/null
echo "try-release: the program starts beside busybox alone"
