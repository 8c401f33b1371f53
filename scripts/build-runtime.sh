#!/usr/bin/env bash
# Builds the kernels of the built-in runtime, stripped and compressed, in runtime/build.
#
#   scripts/build-runtime.sh
#
# The same sources and the same compiler give the same bytes, wherever the checkout is. A
# kernel whose target cannot be installed is left out, with a message: kraft is then built
# without the built-in runtime for that architecture.
set -euo pipefail

cd "$(dirname "$0")/../runtime"
mkdir -p build

say() { printf 'runtime: %s\n' "$*" >&2; }

# Succeeds if the standard library of a target is installed, or rustup can install it.
has_target() {
    [[ ! -d $(rustc --print target-libdir --target "$1" 2>/dev/null) ]] || return 0
    command -v rustup >/dev/null || return 1
    say "installing the target $1 with rustup"
    rustup --quiet target add "$1"
}

# build ARCH TARGET: compiles the kernel for an architecture.
build() {
    local arch=$1 target=$2 out=build/kraft-runtime-$1.gz home paths kernel
    if [[ ! -e link/${target%%-*}.ld ]]; then
        rm -f "$out"
        return
    fi
    if ! has_target "$target"; then
        rm -f "$out"
        say "skipped $arch: the Rust target $target is not installed, and there is no rustup to install it"
        return
    fi
    # The places of this checkout and of the crates are not part of the kernel.
    home=${CARGO_HOME:-$HOME/.cargo}
    paths="\"--remap-path-prefix=$PWD=runtime\", \"--remap-path-prefix=$home/registry/src=crates\""
    cargo build --quiet --release --locked --target "$target" \
        --config "target.$target.rustflags=[$paths]" --config 'profile.release.strip=true' \
        --config 'profile.release.debug=false'
    kernel=target/$target/release/kraft-runtime
    if [[ $arch == arm64 ]]; then
        # QEMU loads the memory image. The objcopy of any machine can make it: it need not know arm64.
        objcopy --input-target elf64-little --output-target binary "$kernel" "$kernel.image"
        kernel=$kernel.image
    fi
    gzip -9 --no-name --stdout "$kernel" >"$out.new"
    if cmp --silent "$out.new" "$out"; then rm "$out.new"; else mv "$out.new" "$out"; fi
}

build x86_64 x86_64-unknown-none
build arm64 aarch64-unknown-none-softfloat
ls build/*.gz >/dev/null 2>&1 || say "no kernel was built: kraft will have no built-in runtime"
