#!/usr/bin/env bash
# Shows the main features: boots a unikernel, builds one from source, runs a web application from a Dockerfile.
#
# Every command is printed before it runs. Machines, images and the registry of the
# demo are in a temporary directory, which is removed at the end. No network is used
# but the loopback, and no fixed port.
set -euo pipefail

cd "$(dirname "$0")/.."
root=$PWD
kraft=${KRAFT:-kraft}
# The demo leaves this directory.
if [[ $kraft == */* ]]; then kraft=$(realpath "$kraft"); fi
guest=guests/build/mini_qemu-x86_64
# Seconds until a wait is given up: only distinguishes slow from never.
patience=300

scratch=$(mktemp -d)
# The user's own settings and images are not part of the demo.
export KRAFTKIT_RUNTIME_DIR=$scratch/runtime KRAFTKIT_CONFIG_DIR=$scratch/config XDG_DATA_HOME=$scratch/data
export KRAFTKIT_BUILDER=kraft
# A proxy is for other hosts.
export no_proxy=127.0.0.1 NO_PROXY=127.0.0.1
registry=

finish() {
    trap '' INT TERM HUP
    "$kraft" rm --force --all >/dev/null 2>&1 || true
    if [[ -n $registry ]]; then
        kill "$registry" 2>/dev/null || true
        wait "$registry" 2>/dev/null || true
    fi
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    printf 'demo: error: %s\n' "$1" >&2
    exit 1
}

# Prints the heading of an act; its first command follows without an empty line.
act() {
    printf '\ndemo: %s\n' "$*"
    gap=''
}

# Prints a command as it would be typed.
typed() {
    local word line=
    for word in "$@"; do
        case $word in
            '' | *[!A-Za-z0-9_./:=@,-]*) line+=" '${word//\'/\'\\\'\'}'" ;;
            *) line+=" $word" ;;
        esac
    done
    printf '%s$%s\n' "$gap" "$line"
    gap=$'\n'
}

# Prints a command, then runs it.
show() {
    typed kraft "$@"
    "$kraft" "$@"
}

# Waits until the console of machine $1 contains $2.
await() {
    local deadline=$((SECONDS + patience)) console
    while :; do
        console=$("$kraft" logs "$1" 2>/dev/null || true)
        if [[ $console == *"$2"* ]]; then return; fi
        case $("$kraft" ps --all 2>/dev/null) in
            *' exited '* | *' errored '* | *' failed '*)
                printf '%s\n' "$console" >&2
                fail "machine \`$1\` ended without \`$2\` on its console"
                ;;
        esac
        if ((SECONDS > deadline)); then fail "no \`$2\` on the console of \`$1\` within $patience s"; fi
        sleep 0.1
    done
}

# Sets `page` to the address of the port that kraft chose for machine $1.
find_page() {
    local port
    port=$("$kraft" ps | sed -n "s/^$1 .* 127\.0\.0\.1:\([0-9]*\)->8080.*/\1/p")
    [[ -n $port ]] || fail "machine \`$1\` has no published port"
    page=http://127.0.0.1:$port
}

fetch() {
    typed curl "$1"
    curl --silent --show-error --fail --max-time "$patience" "$1"
}

listens() { (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Starts a registry on a free port of the loopback; sets `registry` to its process and `host` to its address.
start_registry() {
    local port deadline _
    for _ in {1..20}; do
        port=$((20000 + RANDOM % 10000))
        if listens "$port"; then continue; fi
        cat >"$scratch/registry.yml" <<CONFIG
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: $scratch/registry}}
http: {addr: "127.0.0.1:$port", secret: demo}
CONFIG
        OTEL_TRACES_EXPORTER=none docker-registry serve "$scratch/registry.yml" \
            </dev/null >"$scratch/registry.log" 2>&1 &
        registry=$! host=127.0.0.1:$port
        deadline=$((SECONDS + patience))
        # If it ends, another process was faster to take the port.
        while kill -0 "$registry" 2>/dev/null; do
            if listens "$port"; then return; fi
            if ((SECONDS > deadline)); then fail "the registry does not listen within $patience s"; fi
            sleep 0.1
        done
        registry=
    done
    cat "$scratch/registry.log" >&2
    fail "the registry does not start"
}

act "a unikernel in the foreground, and one in the background"
show run --rm "$guest" a 'b c' 'd"e'
show run --detach --name demo "$guest" @sleep:600
await demo ready
show ps
show logs demo
show stop demo
show rm demo

act "a unikernel built from source: a core, two libraries and an application"
cp -r guests/core guests/libs guests/apps "$scratch"
cd "$scratch/apps/app-two-libs"
rm -rf .unikraft .config.*
show build
# The guest lists its configuration, too.
printf '\n%s\n' "\$ kraft run --rm | grep '^hello\|^count'"
"$kraft" run --rm | grep '^hello\|^count'

cd "$root"
if ! compgen -G 'runtime/build/*.xz' >/dev/null; then
    act "skipped the web application: it needs the built-in runtime, which was not built (\`make runtime\` prints why)"
    exit 0
fi

act "a web application from a Dockerfile, on the built-in runtime, without a network"
cp -r guests/web "$scratch"
gcc -static -O1 -o "$scratch/web/server" "$scratch/web/server.c"
cd "$scratch"
typed cat web/Dockerfile
cat web/Dockerfile
show --offline pkg --name demo.local/web:1 web
show --offline run --detach --name web --port 127.0.0.1::8080 demo.local/web:1
await web listening
show ps
find_page web
fetch "$page/"
fetch "$page/quit"
show wait web
show logs web
show rm web

if ! command -v docker-registry >/dev/null; then
    act "skipped the registry: docker-registry is not installed"
    exit 0
fi
act "the same image through a registry on this host"
start_registry
pushed=$host/web:1
show pkg tag demo.local/web:1 "$pushed"
show pkg push "$pushed"
show pkg rm demo.local/web:1 "$pushed"
show pkg ls
show pkg pull "$pushed"
show run --detach --name web --port 127.0.0.1::8080 "$pushed"
await web listening
find_page web
fetch "$page/quit"
show wait web
