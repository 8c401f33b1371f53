#!/usr/bin/env bash
# Boots each guest on QEMU, without kraft, and looks for its greeting and its farewell: those that
# make builds here, and those of the core, which are configured and built as Unikraft is.
set -euo pipefail

build=$1
failed=0
boot() {
    local kernel=$1 arch=$2 expected=$3 log
    shift 3
    if ! command -v "$1" >/dev/null || [[ ! -e $kernel ]]; then
        echo "guests: skipped ${kernel##*/}: no $1, or no kernel"
        return
    fi
    log=$(timeout 60 "$@" -accel tcg -nodefaults -no-user-config -display none -no-reboot -m 64M \
        -kernel "$kernel" -append 'guest @tick:2 @mem' -serial stdio) || true
    if [[ $log == "kraft-guest: hello from $arch"*"$expected"*'tick 2'*bye* ]]; then
        echo "guests: ${kernel##*/} boots"
    else
        printf 'guests: %s does not boot:\n%s\n' "${kernel##*/}" "$log"
        failed=1
    fi
}
x86_64=(qemu-system-x86_64 -machine pc)
arm64=(qemu-system-aarch64 -machine virt -cpu max)
boot "$build/mini_qemu-x86_64" x86_64 ready "${x86_64[@]}"
boot "$build/mini_qemu-arm64" arm64 ready "${arm64[@]}"

here=$PWD
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Configures and builds an application for one target into a directory that all targets share.
core() {
    local app=$1 vmm=$2 arch=$3 libraries=$4
    shift 4
    local told=(A="$here/apps/app-$app" O="$scratch/$app" N="$app" C="$scratch/$app.$vmm-$arch" L="$libraries")
    printf '%s\n' CONFIG_PLAT_KVM=y "$@" >"$scratch/defconfig"
    if make -C core --no-print-directory -s "${told[@]}" UK_DEFCONFIG="$scratch/defconfig" defconfig &&
        make -C core --no-print-directory -j2 "${told[@]}" >"$scratch/log" 2>&1; then
        return
    fi
    echo "guests: ${app}_$vmm-$arch cannot be built"
    cat "$scratch/log" 2>/dev/null || true
    failed=1
}
if ! command -v kconfig-conf >/dev/null; then
    echo "guests: skipped the core: no kconfig-conf (apt install kconfig-frontends-nox)"
    exit $failed
fi
qemu=CONFIG_KVM_VMM_QEMU=y fc=CONFIG_KVM_VMM_FIRECRACKER=y
greeting='one source, four targets'
core four-targets qemu x86_64 '' CONFIG_ARCH_X86_64=y $qemu
core four-targets fc x86_64 '' CONFIG_ARCH_X86_64=y $fc
boot "$scratch/four-targets/four-targets_qemu-x86_64" x86_64 "$greeting" "${x86_64[@]}"
boot "$scratch/four-targets/four-targets_fc-x86_64" x86_64 "$greeting" "${x86_64[@]}"
if command -v aarch64-linux-gnu-gcc >/dev/null; then
    core four-targets qemu arm64 '' CONFIG_ARCH_ARM_64=y $qemu
    core four-targets fc arm64 '' CONFIG_ARCH_ARM_64=y $fc
    boot "$scratch/four-targets/four-targets_qemu-arm64" arm64 "$greeting" "${arm64[@]}"
fi
core two-libs qemu x86_64 "$here/libs/lib-hello:$here/libs/lib-count" CONFIG_ARCH_X86_64=y $qemu \
    CONFIG_LIBHELLO=y CONFIG_LIBCOUNT=y CONFIG_LIBCOUNT_TO=2
boot "$scratch/two-libs/two-libs_qemu-x86_64" x86_64 'count 2' "${x86_64[@]}"
exit $failed
