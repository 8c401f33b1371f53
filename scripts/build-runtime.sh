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

# core_library TARGET LINKER: prints how the core library of a target is obtained: `installed`,
# which rustup can make it, or `source`, from the sources that Debian packages for its own Rust;
# the latter needs the linker. Fails if there is no way.
core_library() {
    if [[ -d $(rustc --print target-libdir --target "$1" 2>/dev/null) ]]; then
        echo installed
    elif command -v rustup >/dev/null; then
        say "installing the target $1 with rustup"
        rustup --quiet target add "$1" >&2 && echo installed
    elif [[ -e $(rustc --print sysroot)/lib/rustlib/src/rust/library/core/Cargo.toml ]] &&
        command -v "$2" >/dev/null; then
        say "compiling the core library for $1, which Debian does not package"
        echo source
    else
        return 1
    fi
}

# The place of this checkout and of the crates is not part of the kernel.
home=${CARGO_HOME:-$HOME/.cargo}
remap="\"--remap-path-prefix=$PWD=runtime\", \"--remap-path-prefix=$home/registry/src=crates\""

# One cargo compiles all kernels: each has steps that use a single CPU.
command=(cargo build --quiet --release --locked --config 'profile.release.strip=true'
    --config 'profile.release.debug=false')
build_std=() built=()

# add ARCH TARGET LINKER: adds the kernel for an architecture; only Debian's Rust needs the linker.
add() {
    local arch=$1 target=$2 linker=$3 flags=$remap core
    if [[ ! -e link/${target%%-*}.ld ]]; then
        rm -f "build/kraft-runtime-$arch.xz"
        return
    fi
    if ! core=$(core_library "$target" "$linker"); then
        rm -f "build/kraft-runtime-$arch.xz"
        say "skipped $arch: the Rust target $target is not installed, and there is neither rustup nor" \
            "Debian's rust-web-src to obtain it"
        return
    fi
    if [[ $core == source ]]; then
        # Debian has no rust-lld.
        flags+=", \"-Clinker=$linker\", \"-Clinker-flavor=ld\""
        build_std=(-Zbuild-std=core,alloc -Zbuild-std-features=compiler-builtins-mem)
    fi
    command+=(--target "$target" --config "target.$target.rustflags=[$flags]")
    built+=("$arch:$target")
}

# store ARCH TARGET: compresses a compiled kernel; the file is untouched if it has not changed.
store() {
    local arch=$1 out=build/kraft-runtime-$1.xz kernel=target/$2/release/kraft-runtime filters
    if [[ $arch == arm64 ]]; then
        # QEMU loads the memory image. The objcopy of any machine can make it: it need not know arm64.
        objcopy --input-target elf64-little --output-target binary "$kernel" "$kernel.image"
        kernel=$kernel.image
        # Instructions are words of four bytes.
        filters=(--arm64 --lzma2=preset=9e,lc=2,lp=2,pb=2)
    else
        filters=(--x86 --lzma2=preset=9e,lc=4,pb=0)
    fi
    xz --format=xz --check=crc32 --threads=1 "${filters[@]}" --stdout "$kernel" >"$out.new"
    if cmp --silent "$out.new" "$out"; then rm "$out.new"; else mv "$out.new" "$out"; fi
}

add x86_64 x86_64-unknown-none x86_64-linux-gnu-ld
add arm64 aarch64-unknown-none-softfloat aarch64-linux-gnu-ld
if [[ ${#built[@]} == 0 ]]; then
    say "no kernel was built: kraft will have no built-in runtime"
    exit
fi
# Compiling the core library is an unstable feature of cargo.
[[ ${#build_std[@]} == 0 ]] || export RUSTC_BOOTSTRAP=1
"${command[@]}" "${build_std[@]}"
for kernel in "${built[@]}"; do
    store "${kernel%%:*}" "${kernel##*:}"
done
