#!/usr/bin/env bash
# Runs every fuzz target for a bounded time.
#
#   scripts/fuzz.sh [SECONDS-PER-TARGET [TARGET…]]
set -euo pipefail

cd "$(dirname "$0")/.."
seconds=${1:-30}
rust=$(scripts/find-rust.sh) && export PATH="$rust:$PATH"

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "fuzz: error: a nightly Rust is missing: the fuzzer's instrumentation is not stable" >&2
    echo "fuzz: hint: install rustup, then \`rustup toolchain install nightly --profile minimal\`" >&2
    exit 1
fi
if ! command -v cargo-fuzz >/dev/null; then
    echo "fuzz: error: cargo-fuzz is missing: it builds and drives the targets in fuzz/" >&2
    echo "fuzz: hint: \`cargo install cargo-fuzz --locked\`" >&2
    exit 1
fi

# Prints the directories with inputs of a target: its own, and those of the tests.
seeds() {
    for dir in "fuzz/corpus/$1" crates/kraft-{core,kconfig}/tests/"$1" crates/kraft-core/tests/"$1"/{ok,bad}; do
        [ ! -d "$dir" ] || echo "$dir"
    done
    # The guests are kernels of 12 to 80 KiB.
    [ "$1" != kernel ] || [ ! -d guests/build ] || echo guests/build
}

[ $# -gt 1 ] && targets=("${@:2}") || mapfile -t targets < <(cargo +nightly fuzz list)
echo "fuzz: building"
# Not as small as a release: fast to build, and fast.
export CARGO_PROFILE_RELEASE_OPT_LEVEL=3 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
built=target/fuzz
cargo +nightly fuzz build --target-dir "$built"
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
# The address sanitizer reports false positives for Rust's own statics (`cargo fuzz run` sets this, too).
export ASAN_OPTIONS="detect_odr_violation=0:${ASAN_OPTIONS:-}"
for target in "${targets[@]}"; do
    # New inputs go to target and artifacts; fuzz/corpus contains only selected inputs.
    found=$built/corpus/$target
    log=$built/$target.log
    mkdir -p "$found" "fuzz/artifacts/$target"
    mapfile -t seeds < <(seeds "$target")
    if ! "$built/$host/release/$target" "$found" "${seeds[@]}" -artifact_prefix="fuzz/artifacts/$target/" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        echo "fuzz: error: $target failed; its output is in $log" >&2
        exit 1
    fi
    awk -v target="$target" '
        /^stat::number_of_executed_units/ { runs = $2 }
        /^stat::slowest_unit_time_sec/ { slowest = $2 }
        /^stat::peak_rss_mb/ { memory = $2 }
        END { printf "fuzz: %-12s %9d runs, slowest %d s, peak %d MB\n", target, runs, slowest, memory }' "$log"
done
echo "fuzz: no target failed"
