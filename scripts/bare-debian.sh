#!/usr/bin/env bash
# Tests the first command of a new user: on a bare Debian, in a chroot.
#
#   sudo scripts/bare-debian.sh [-s SUITE] [-u] [-k] [-d FILES] DIRECTORY COMMAND...
#   sudo scripts/bare-debian.sh /var/tmp/bare make demo
#
#   -s SUITE  the Debian release: bookworm (default) or trixie
#   -u        run COMMAND as an ordinary user who may use sudo, not as root
#   -k        keep the Debian of the last run in DIRECTORY, with what was
#             installed and built since, to see that a second run is quick;
#             the clone is brought to the last commit
#   -d FILES  copy a directory of this host beside the clone, as `dist`
#
# DIRECTORY receives a minimal Debian with the sources that its installer sets
# up, then `make` and `git` as the README asks, and a fresh clone of the last
# commit of this repository, where COMMAND runs. It runs in its own mount and
# process namespaces: nothing stays mounted or running. Needs root,
# debootstrap and git.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
suite=bookworm user=root keep=no files=
while getopts s:ukd: option; do
    case $option in
        s) suite=$OPTARG ;;
        u) user=newuser ;;
        k) keep=yes ;;
        d) files=$OPTARG ;;
        *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
if [[ $# -lt 2 || $(id -u) != 0 ]]; then
    sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0" >&2
    exit 2
fi
bare=$1
shift

# Copies the network settings of the host into the chroot: the resolver,
# apt's proxy, and certificates that were added to this host by hand.
borrow_network() {
    cp --dereference /etc/resolv.conf "$bare/etc/resolv.conf"
    apt-config dump | grep '^Acquire::[a-z]*::Proxy ' >"$bare/etc/apt/apt.conf.d/90proxy" || true
    printf '127.0.0.1 localhost %s\n' "$(hostname)" >"$bare/etc/hosts"
    mkdir -p "$bare/usr/local/share/ca-certificates"
    cp /usr/local/share/ca-certificates/*.crt "$bare/usr/local/share/ca-certificates/" 2>/dev/null || true
}

make_debian() {
    local mirror=http://deb.debian.org
    rm -rf --one-file-system "$bare"
    debootstrap --variant=minbase "$suite" "$bare" "$mirror/debian"
    printf '%s\n' "deb $mirror/debian $suite main" "deb $mirror/debian $suite-updates main" \
        "deb $mirror/debian-security $suite-security main" >"$bare/etc/apt/sources.list"
}

# Runs a command inside as user $1, with nothing of this host's environment
# but the way to the network.
inside() {
    local as=$1 variable environment=()
    shift
    for variable in http_proxy https_proxy no_proxy CARGO_HTTP_CAINFO CARGO_HTTP_PROXY; do
        [[ -z ${!variable:-} ]] || environment+=("$variable=${!variable}")
    done
    # shellcheck disable=SC2016 # expands in the inner shell
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        "${environment[@]}" \
        unshare --mount --pid --fork --kill-child sh -euc '
            bare=$1 as=$2
            shift 2
            mount -t proc proc "$bare/proc"
            mount --rbind /sys "$bare/sys"
            mount --rbind /dev "$bare/dev"
            if [ "$as" = root ]; then
                exec chroot "$bare" env HOME=/root "$@"
            fi
            exec chroot --userspec="$as" --groups="$as" "$bare" env HOME="/home/$as" USER="$as" "$@"
        ' sh "$bare" "$as" "$@" </dev/null
}

if [[ $keep == no || ! -e $bare/etc/debian_version ]]; then
    make_debian
    borrow_network
    inside root sh -euc 'apt-get update --quiet=2 && apt-get install --quiet=2 make git sudo >/dev/null 2>&1
        useradd --create-home --shell /bin/bash newuser
        echo "newuser ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/newuser'
fi

home=/root
[[ $user == root ]] || home=/home/$user
clone=$bare$home/kraft
[[ -e $clone ]] || git clone --quiet --no-local "$root" "$clone"
git -c safe.directory='*' -C "$clone" fetch --quiet "$root" HEAD
git -c safe.directory='*' -C "$clone" reset --quiet --hard FETCH_HEAD
if [[ -n $files ]]; then
    rm -rf "$bare$home/dist"
    cp -r "$files" "$bare$home/dist"
    chown -R --reference "$bare$home" "$bare$home/dist"
fi
chown -R --reference "$bare$home" "$clone"

echo "bare-debian: $suite, as $user, in a fresh clone: $*"
started=$SECONDS
status=0
# shellcheck disable=SC2016 # expands in the inner shell
inside "$user" bash -c 'cd "$HOME/kraft" && exec "$@"' bash "$@" || status=$?
echo "bare-debian: ended with $status after $((SECONDS - started)) s"
exit "$status"
