#!/usr/bin/env bash
# Installs what this workspace needs on Debian 12 or 13, and prints what and why.
#
#   scripts/setup.sh demo     packages to build kraft and boot a guest
#   scripts/setup.sh test     demo, and tools of the tests
#   scripts/setup.sh check    test, and the linters
#   scripts/setup.sh kubernetes    test, and what a node of Kubernetes needs
#   scripts/setup.sh conformance   test, and what compiles the Linux Test Project
#
# Does not prompt and can be run any number of times: installed packages are not
# changed. Everything comes from Debian's own archive, except Rust where Debian
# has no recent one: rustup installs it then, with a message.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
group=${1:-demo}
case $group in
    demo | test | check | kubernetes | conformance) ;;
    *)
        echo "usage: scripts/setup.sh [demo|test|check|kubernetes|conformance]" >&2
        exit 2
        ;;
esac

# group | package | a program or file that makes it unnecessary | why
needs='
demo | ca-certificates       | /etc/ssl/certs/ca-certificates.crt | to fetch crates over TLS
demo | gcc                   | gcc                     | to link Rust and to build the x86_64 guest
demo | libc6-dev             | /usr/include/stdlib.h   | to build the C parts of zstd and of TLS
demo | binutils              | objcopy                 | to turn a guest into a bootable file
demo | gcc-aarch64-linux-gnu | aarch64-linux-gnu-gcc   | to build the arm64 guest
demo | kconfig-frontends-nox | kconfig-conf            | to configure the core of the tests
demo | qemu-system-x86       | qemu-system-x86_64      | to run x86_64 machines
demo | qemu-system-arm       | qemu-system-aarch64     | to run arm64 machines
demo | qemu-system-data      | /usr/share/qemu         | the firmware that QEMU starts a kernel with
demo | curl                  | curl                    | to fetch a page from a machine
demo | xz-utils              | xz                      | to compress the kernels of the built-in runtime
demo | docker-registry       | docker-registry         | a registry on this host, to push to and pull from
test | libc6-dev-arm64-cross | /usr/aarch64-linux-gnu/include/stdio.h | to build programs for arm64 machines
test | cpio                  | cpio                    | to list archives with another reader
test | libarchive-tools      | bsdtar                  | to list archives with another reader
test | zstd                  | zstd                    | to make compressed archives for the tests
test | bzip2                 | bzip2                   | the same, with another compressor
test | git                   | git                     | for the repositories that components come from
test | wget                  | wget                    | to fetch sources that a library downloads
test | procps                | pgrep                   | to find processes of an interrupted build
test | python3               | python3                 | to create archives that no archiver creates
test | python3-venv           | /usr/share/doc/python3-venv | to install the SDK of Unikraft Cloud for its tests
test | busybox-static        | /bin/busybox            | the user land of the Linux guest
test | strace                | strace                  | to trace the system calls of kraft
test | tmux                  | tmux                    | to read the screen of a terminal
test | util-linux            | unshare                 | to run kraft without a network
test | openssl               | openssl                 | to make the certificate of a registry
test | apache2-utils         | htpasswd                | to make the password file of a registry
test | skopeo                | skopeo                  | to read images with another reader
test | docker.io             | dockerd                 | to check that docker accepts images
test | buildah               | buildah                 | to build Dockerfiles with another builder
test | podman                | podman                  | to build Dockerfiles with another builder
test | catatonit             | catatonit               | to run Pods with podman
test | passt                 | pasta                   | to give build steps a private network
test | slirp4netns           | slirp4netns             | the same, with another program
test | iproute2              | ip                      | to make networks for the tests
test | socat                 | socat                   | to put TLS, or a program, between kraft and a BuildKit
test | containerd            | ctr                     | to check that containerd accepts images
test | runc                  | runc                    | the container runtime of both
test | kconfig-frontends-nox | kconfig-conf            | the KConfig that kraft is compared with
kubernetes | nftables        | nft                     | the rules of Services
kubernetes | conntrack       | conntrack               | the connections of Services
kubernetes | containernetworking-plugins | /usr/lib/cni/bridge | the networks of Pods
conformance | autoconf       | autoconf                | to configure the Linux Test Project
conformance | automake       | automake                | the same
conformance | m4             | m4                      | the same
conformance | pkg-config     | pkg-config              | the same
'

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: error: %s\n' "$1" >&2
    shift
    [[ $# == 0 ]] || printf 'setup: hint: %s\n' "$@" >&2
    exit 1
}

# Runs a command with the rights to install.
as_root() {
    if [[ $(id -u) == 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo --preserve-env=http_proxy,https_proxy,no_proxy "$@"
    else
        fail "installing packages needs root, and \`sudo\` is not installed" \
            "run \`scripts/setup.sh $group\` once as root"
    fi
}

# Runs apt-get so that it asks nothing, waits for another apt, and tries again.
# Its output is shown only if it fails.
apt_get() {
    local output
    command -v apt-get >/dev/null || fail "this system has no apt-get" \
        "install the packages above with its own package manager, then try again"
    if ! output=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 \
        -o Acquire::Retries=3 -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@" </dev/null 2>&1); then
        printf '%s\n' "$output" >&2
        return 1
    fi
}

# Installs packages and nothing that they only recommend.
install() {
    apt_get install --no-install-recommends "$@" ||
        fail "apt-get cannot install $*" "see its output above"
}

# Installs packages that would start a system service, without starting it: the
# tests run their own daemons in their own directories.
install_asleep() {
    local policy=/usr/sbin/policy-rc.d package
    if [[ ! -e $policy ]]; then
        # Debian's policy mechanism: 101 means "not allowed".
        # shellcheck disable=SC2064 # the name is wanted as it is now
        trap "as_root rm -f $policy" EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    install "$@"
    [[ ! -d /run/systemd/system ]] || for package in "$@"; do
        # Nor at the next boot: only the tests need these packages.
        # shellcheck disable=SC2046 # one word for each unit
        as_root systemctl --quiet disable $(service_of "$package") 2>/dev/null || true
    done
}

# Prints the systemd units that start the service of a package.
service_of() { if [[ $1 == docker.io ]]; then echo docker.socket docker.service; else echo "$1"; fi; }

# Fetches the package lists, at most once in a run.
lists_fetched=no
fetch_lists() {
    [[ $lists_fetched == no ]] || return 0
    say "reading Debian's package lists"
    apt_get update || say "some lists cannot be read; continuing with the existing ones"
    lists_fetched=yes
}

# Prints the names of the packages that this group needs and that are missing.
missing_packages() {
    local wanted name presence
    while IFS='|' read -r wanted name presence _; do
        read -r wanted <<<"$wanted"
        read -r name <<<"$name"
        read -r presence <<<"$presence"
        [[ -n $wanted ]] || continue
        # Each group has the packages of the demo; all but that also those of the tests.
        case $wanted in
            demo | "$group") ;;
            test) [[ $group != demo ]] || continue ;;
            *) continue ;;
        esac
        [[ -e $presence ]] || command -v "$presence" >/dev/null || printf '%s\n' "$name"
    done <<<"$needs"
}

# Prints why a package is needed.
why() { sed -n "s/^[a-z]* | $1 *|[^|]*| //p" <<<"$needs"; }

# Prints the newest version of a package that apt offers, without epoch and revision.
offered() {
    apt-cache policy "$1" 2>/dev/null |
        sed -n 's/^ *Candidate: \([0-9]*:\)\{0,1\}\([0-9.]*\).*/\2/p'
}

# Succeeds if version $1 is at least version $2.
at_least() { printf '%s\n' "$2" "$1" | sort --check=quiet --version-sort; }

# Debian 12 carries QEMU 7.2, whose emulated processor has no RDSEED, which
# Unikraft's random library needs. QEMU 10 is in Debian's own backports.
install_qemu() {
    local source=/etc/apt/sources.list.d/kraft-backports.sources archive added=no
    if [[ ${VERSION_CODENAME:-} != bookworm ]]; then
        install "$@"
        return
    fi
    if ! offers_backports; then
        # shellcheck disable=SC2016 # apt expands it
        archive=$(apt-get indextargets --format '$(REPO_URI)' \
            'Created-By: Packages' 'Codename: bookworm' 2>/dev/null | head -n 1)
        say "adding Debian's own bookworm-backports in $source, for QEMU 10"
        printf '%s\n' 'Types: deb' "URIs: ${archive:-http://deb.debian.org/debian}" \
            'Suites: bookworm-backports' 'Components: main' \
            'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg' |
            as_root tee "$source" >/dev/null
        added=yes
        apt_get update || true
    fi
    if offers_backports &&
        apt_get install --no-install-recommends -t bookworm-backports "$@"; then
        return
    fi
    if [[ $added == yes ]]; then
        as_root rm -f "$source"
        apt_get update || true
    fi
    say "bookworm-backports is not reachable: installing the QEMU of Debian 12"
    install "$@"
}

# (Not `grep -q`: it would end before apt-cache has, which is a failure with pipefail.)
offers_backports() { apt-cache policy qemu-system-x86 | grep bookworm-backports >/dev/null; }

install_packages() {
    local missing qemu=() others=() asleep=() name
    missing=$(missing_packages)
    [[ -n $missing ]] || return 0
    for name in $missing; do
        say "installing $name: $(why "$name")"
        case $name in
            qemu-*) qemu+=("$name") ;;
            docker* | containerd) asleep+=("$name") ;;
            *) others+=("$name") ;;
        esac
    done
    fetch_lists
    [[ ${#others[@]} == 0 ]] || install "${others[@]}"
    [[ ${#asleep[@]} == 0 ]] || install_asleep "${asleep[@]}"
    [[ ${#qemu[@]} == 0 ]] || install_qemu "${qemu[@]}"
}

# An older QEMU that was installed deliberately is kept; its limit is printed.
mention_old_qemu() {
    local version
    version=$(qemu-system-x86_64 --version | sed -n '1s/.*version \([0-9.]*\).*/\1/p')
    at_least "$version" 8 ||
        say "QEMU $version runs the guests of the tests, but does not emulate RDSEED, which Unikraft's random library" \
            "needs; Debian's backports have a newer one"
}

# Prints Debian's packages of a Rust that is new enough, best first; Debian
# keeps one for its browsers up to date under names with `web`.
debian_rust() {
    if at_least "$(offered cargo)" "$1" && at_least "$(offered rustc)" "$1"; then
        echo "cargo rustc rust-clippy rustfmt"
    elif at_least "$(offered cargo-web)" "$1" && at_least "$(offered rustc-web)" "$1"; then
        echo "cargo-web rustc-web rust-web-clippy rustfmt-web"
    fi
}

install_rust() {
    local wanted cargo rustc clippy rustfmt
    ! "$root/scripts/find-rust.sh" >/dev/null || return 0
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    say "Rust $wanted or newer is missing: kraft is written in it"
    fetch_lists
    read -r cargo rustc clippy rustfmt <<<"$(debian_rust "$wanted")" || true
    if [[ -n $cargo ]]; then
        say "installing $cargo $rustc: Rust $(offered "$rustc") from Debian"
        install "$cargo" "$rustc"
    else
        install_rustup "$wanted"
    fi
    "$root/scripts/find-rust.sh" >/dev/null ||
        fail "Rust $wanted is still missing" "install it from https://rustup.rs, then try again"
}

# The last resort: Debian has no Rust that is new enough.
install_rustup() {
    say "Debian offers no Rust $1: installing the stable one with rustup, from rust-lang.org," \
        "for the user $(owner) into ~/.cargo and ~/.rustup"
    command -v curl >/dev/null || install curl
    as_owner sh -c 'curl --proto "=https" --tlsv1.2 --silent --show-error --fail https://sh.rustup.rs |
        sh -s -- -y --quiet --no-modify-path --profile minimal --component clippy,rustfmt' ||
        fail "cannot install Rust with rustup" "install Rust $1 or newer by other means, then try again"
}

# Whose toolchain it is: the one behind `sudo`, if any.
owner() { if [[ $(id -u) == 0 ]]; then echo "${SUDO_USER:-root}"; else id -un; fi; }
as_owner() { if [[ $(owner) == "$(id -un)" ]]; then "$@"; else sudo -E -H -u "$(owner)" "$@"; fi; }

# The kernels of the built-in runtime need a core library for a machine without an
# operating system. rustup has it compiled; of Debian's Rust, it is compiled from the sources.
install_core_library() {
    local sysroot rust source=rust-src
    rust=$("$root/scripts/find-rust.sh")
    sysroot=$("$rust/rustc" --print sysroot)
    [[ ! -x $rust/rustup && ! -e $sysroot/lib/rustlib/src/rust/library/core/Cargo.toml ]] || return 0
    [[ $sysroot == /usr ]] || return 0
    ! dpkg-query --show rustc-web >/dev/null 2>&1 || source=rust-web-src
    say "installing $source: the built-in runtime is linked with a core library that Debian does not compile"
    fetch_lists
    install "$source"
}

# The linters come from the source of the toolchain.
install_linters() {
    local rust cargo rustc clippy rustfmt
    rust=$("$root/scripts/find-rust.sh")
    [[ ! -x $rust/cargo-clippy || ! -x $rust/cargo-fmt ]] || return 0
    if [[ -x $rust/rustup ]]; then
        say "adding clippy and rustfmt to the Rust of rustup: \`make check\` runs them"
        as_owner "$rust/rustup" component add clippy rustfmt
    else
        fetch_lists
        read -r cargo rustc clippy rustfmt <<<"$(debian_rust 1)" || true
        if dpkg-query --show rustc-web >/dev/null 2>&1; then
            clippy=rust-web-clippy rustfmt=rustfmt-web
        fi
        say "installing $clippy $rustfmt: \`make check\` runs them"
        install "$clippy" "$rustfmt"
    fi
}

if [[ -r /etc/os-release ]]; then
    # shellcheck source=/dev/null
    . /etc/os-release
fi
install_packages
mention_old_qemu
install_rust
install_core_library
[[ $group != check ]] || install_linters
if [[ $group != demo && -x $root/scripts/fetch-linux-guest.sh ]]; then
    "$root/scripts/fetch-linux-guest.sh"
fi
say "everything that \`$group\` needs is installed"
