#!/usr/bin/env bash
# Prints the directory of a `cargo` that is new enough for this workspace.
#
# Looks on PATH, then where rustup installs for the user (also for the user
# behind `sudo`). Prints nothing and fails when there is none.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")

# Succeeds if the `cargo` and `rustc` in directory $1 run and are new enough.
new_enough() {
    local version
    [[ -x $1/cargo && -x $1/rustc ]] || return 1
    version=$("$1/rustc" --version 2>/dev/null | cut -d' ' -f2) || return 1
    [[ -n $version ]] && printf '%s\n' "$wanted" "$version" | sort --check=quiet --version-sort
}

homes=("${HOME:-/}")
if [[ $(id -u) == 0 && -n ${SUDO_USER:-} ]]; then
    homes+=("$(getent passwd "$SUDO_USER" | cut -d: -f6)")
fi

candidates=()
on_path=$(command -v cargo || true)
[[ -z $on_path ]] || candidates+=("$(dirname "$on_path")")
[[ -z ${CARGO_HOME:-} ]] || candidates+=("$CARGO_HOME/bin")
for home in "${homes[@]}"; do
    candidates+=("$home/.cargo/bin")
done
candidates+=(/usr/local/cargo/bin /usr/local/bin /usr/bin)

for directory in "${candidates[@]}"; do
    if new_enough "$directory"; then
        printf '%s\n' "$directory"
        exit 0
    fi
done
exit 1
