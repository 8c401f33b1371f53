#!/usr/bin/env bash
# Installs kraft for a GitHub Action, unless the input `version` is `path`; and QEMU, if a machine will run.
set -euo pipefail

if [[ ${INPUT_VERSION:-} != path ]]; then
    here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
    prefix=$RUNNER_TEMP/kraft
    version=${INPUT_VERSION#v}
    if [[ -z $version ]]; then
        version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$here/../../Cargo.toml")
    fi
    # The script of the release knows its address; this one is its template.
    repository=$(sed -n 's/^repository = "\(.*\)"/\1/p' "$here/../../Cargo.toml")
    sed -e "s|@VERSION@|$version|g" -e "s|@REPOSITORY@|$repository|g" "$here/../install.sh" |
        PREFIX=$prefix sh -s
    echo "$prefix/bin" >>"$GITHUB_PATH"
fi

if [[ ${INPUT_EXECUTE:-false} == true ]] && ! command -v qemu-system-x86_64 >/dev/null; then
    sudo apt-get update --quiet=2
    sudo apt-get install --quiet=2 --no-install-recommends qemu-system-x86 qemu-system-arm
fi
