#!/usr/bin/env bash
# Shows the main features: a unikernel in the background, one in the foreground, one built from source.
#
# Every command is printed before it runs. Machines of the demo are in a
# temporary runtime directory, which is removed at the end.
set -euo pipefail

cd "$(dirname "$0")/.."
root=$PWD
kraft=${KRAFT:-kraft}
# The demo leaves this directory.
if [[ $kraft == */* ]]; then kraft=$(realpath "$kraft"); fi
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

# Waits until the console of the machine contains $1, for half a minute at most.
await() {
    local _
    for _ in {1..300}; do
        if [[ $("$kraft" logs demo 2>/dev/null) == *"$1"* ]]; then return; fi
        sleep 0.1
    done
    echo "demo: error: no \`$1\` on the console within 30 s" >&2
    return 1
}

echo "demo: a unikernel in the background"
show run --detach --name demo "$guest" @sleep:600
await ready
show ps
show logs demo
show stop demo
show ps --all
show rm demo

echo
echo "demo: a unikernel in the foreground, with quoted arguments"
show run --rm "$guest" a 'b c' 'd"e'

echo
echo "demo: a unikernel built from source: a core, two libraries and an application"
cp -r guests/core guests/libs guests/apps "$scratch"
cd "$scratch/apps/app-two-libs"
rm -rf .unikraft .config.*
export XDG_DATA_HOME=$scratch/data
show build
show build
show pkg --name demo/two-libs:latest
# The guest lists its configuration before.
show run --rm demo/two-libs:latest | tail --lines=6

# The last act needs the built-in runtime, which is left out where its Rust target is missing.
cd "$root"
compgen -G 'runtime/build/*.gz' >/dev/null || exit 0
echo
echo "demo: a web server for Linux from a Dockerfile, on the built-in runtime, without a network"
cp -r guests/web "$scratch"
gcc -static -O1 -o "$scratch/web/server" "$scratch/web/server.c"
cd "$scratch"
export KRAFTKIT_BUILDER=kraft
show --offline pkg --name demo.local/web:1 web
show --offline run --detach --name demo --port 127.0.0.1:18080:8080 demo.local/web:1
await listening
for page in / /quit; do
    printf '\n$ curl http://127.0.0.1:18080%s\n' "$page"
    curl --silent --show-error --retry 5 --retry-all-errors "http://127.0.0.1:18080$page"
done
show wait demo
show logs demo
show ps --all
