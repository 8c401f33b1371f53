#!/usr/bin/env bash
# The main step of the GitHub Action: the script in `before`, then that in `run`, or else build, run, package and push.
#
# Inputs come in variables, never as text of this script: their values are data.
set -euo pipefail

# shellcheck source=packaging/action/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

enter
if [[ -n ${INPUT_ARCH:-}${INPUT_PLAT:-} && -n ${INPUT_TARGET:-} ]]; then
    fail "target excludes plat and arch"
fi

KRAFTKIT_RUNTIME_DIR=$(in_workspace "${INPUT_RUNTIMEDIR:-$GITHUB_WORKSPACE/.kraftkit/runtime}")
export KRAFTKIT_RUNTIME_DIR KRAFTKIT_NO_PROMPT=true KRAFTKIT_LOG_TYPE=basic
export KRAFTKIT_LOG_LEVEL=${INPUT_LOGLEVEL:-error}
if [[ -n ${INPUT_AUTHS:-} ]]; then
    # Only this job reads it: the directory of a job is removed with it.
    export KRAFTKIT_CONFIG_DIR=$RUNNER_TEMP/kraft-config
    (
        umask 077
        mkdir -p "$KRAFTKIT_CONFIG_DIR"
        { echo "auth:" && sed 's/^/  /' <<<"$INPUT_AUTHS"; } >"$KRAFTKIT_CONFIG_DIR/config.yaml"
    )
fi
# For the scripts, and for the steps after this one.
for name in KRAFTKIT_RUNTIME_DIR KRAFTKIT_NO_PROMPT KRAFTKIT_LOG_TYPE KRAFTKIT_CONFIG_DIR; do
    [[ -z ${!name:-} ]] || echo "$name=${!name}" >>"$GITHUB_ENV"
done

script before "${INPUT_BEFORE:-}"
if [[ -n ${INPUT_RUN:-} ]]; then
    script run "$INPUT_RUN"
    exit
fi

project=()
if [[ -n ${INPUT_KRAFTFILE:-} ]]; then
    file=$(in_workspace "$INPUT_KRAFTFILE")
    if [[ $INPUT_KRAFTFILE == *$'\n'* || ! -e $file ]]; then
        # A Kraftfile names paths from its own directory.
        file=$PWD/.kraftfile-of-the-action
        printf '%s\n' "$INPUT_KRAFTFILE" >"$file"
        trap 'rm -f "$file"' EXIT
    fi
    project+=(--kraftfile "$file")
fi
target=()
[[ -z ${INPUT_ARCH:-} ]] || target+=(--arch "$INPUT_ARCH")
[[ -z ${INPUT_PLAT:-} ]] || target+=(--plat "$INPUT_PLAT")
[[ -z ${INPUT_TARGET:-} ]] || target+=(--target "$INPUT_TARGET")
rootfs=()
[[ -z ${INPUT_ROOTFS:-} ]] || rootfs+=(--rootfs "$(in_workspace "$INPUT_ROOTFS")")
# One argument a line, or words as a shell splits them, without expanding them.
args=()
if [[ -n ${INPUT_ARGS:-} ]]; then
    while IFS= read -r -d '' word; do args+=("$word"); done < <(xargs -r printf '%s\0' <<<"$INPUT_ARGS")
fi

kraft build "${project[@]}" "${target[@]}" "${rootfs[@]}" .

if [[ ${INPUT_EXECUTE:-false} == true ]]; then
    machine=(--rm --disable-acceleration --name github-action)
    [[ -z ${INPUT_MEMORY:-} ]] || machine+=(--memory "$INPUT_MEMORY")
    seconds=${INPUT_TIMEOUT:-0}
    [[ $seconds =~ ^[0-9]+$ ]] || fail "timeout: expected a number of seconds"
    [[ $seconds != 0 ]] || seconds=10
    # The end of the time is not a failure: kraft stops the machine and exits with 130.
    code=0
    timeout --signal=INT "$seconds" kraft run "${machine[@]}" "${project[@]}" "${target[@]}" "${rootfs[@]}" . \
        -- "${args[@]}" || code=$?
    [[ $code == 0 || $code == 124 || $code == 130 ]] || fail "the unikernel failed with exit code $code"
fi

if [[ -n ${INPUT_OUTPUT:-} ]]; then
    case $INPUT_OUTPUT in
        oci://* | auto://*) name=${INPUT_OUTPUT#*://} ;;
        *://*) fail "output: only oci:// images are supported" ;;
        *) name=$INPUT_OUTPUT ;;
    esac
    package=(--name "$name" --strategy "${INPUT_STRATEGY:-merge}")
    if ((${#args[@]})); then
        printf -v line '%q ' "${args[@]}"
        package+=(--args "$line")
    fi
    [[ ${INPUT_DBG:-false} != true ]] || package+=(--dbg)
    [[ ${INPUT_PUSH:-false} != true ]] || package+=(--push)
    kraft pkg "${package[@]}" "${project[@]}" "${target[@]}" "${rootfs[@]}" .
fi
