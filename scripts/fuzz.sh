#!/usr/bin/env bash
# Runs every fuzz target for a bounded time.
#
#   scripts/fuzz.sh [SECONDS-PER-TARGET]
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

for target in $(cargo +nightly fuzz list); do
    echo "fuzz: $target for $seconds s"
    # What is found goes under target; fuzz/corpus holds only what was chosen.
    mkdir -p "fuzz/target/corpus/$target" "fuzz/corpus/$target"
    cargo +nightly fuzz run "$target" "fuzz/target/corpus/$target" "fuzz/corpus/$target" -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048
done
echo "fuzz: no target found a fault"
