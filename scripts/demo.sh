#!/usr/bin/env bash
# Shows the main job: boots a unikernel with arguments, then one in the background.
#
# Every command is printed before it runs. Machines of the demo live in a
# runtime directory of their own, which goes away with it.
set -euo pipefail

cd "$(dirname "$0")/.."
kraft=${KRAFT:-kraft}
guest=guests/build/mini_qemu-x86_64

scratch=$(mktemp -d)
export KRAFTKIT_RUNTIME_DIR=$scratch/runtime
finish() {
    "$kraft" rm --force --all >/dev/null 2>&1 || true
    rm -rf "$scratch"
}
trap finish EXIT

# Prints a command as it would be typed, then runs it.
show() {
    local word line='$ kraft'
    for word in "$@"; do
        case $word in
            '' | *[!A-Za-z0-9_./:=@,-]*) line+=" '${word//\'/\'\\\'\'}'" ;;
            *) line+=" $word" ;;
        esac
    done
    printf '\n%s\n' "$line"
    "$kraft" "$@"
}

echo "demo: a unikernel in the foreground, with arguments that want quoting"
show run "$guest" a 'b c' 'd"e'

echo
echo "demo: the same in the background, for as long as we like"
show run --detach --name demo "$guest" @tick:3 @sleep:600
show ps
"$kraft" logs --follow demo 2>/dev/null | grep --quiet --max-count 1 '^tick' || true
show logs demo
show stop demo
show ps --all
show rm demo

echo
echo "demo: and back to the foreground, once more with what it was given"
show run --rm "$guest" a 'b c' 'd"e'
