#!/usr/bin/env bash
# Boots each guest on QEMU, without kraft, and looks for its greeting and its farewell.
set -euo pipefail

build=$1
failed=0
boot() {
    local arch=$1 log
    shift
    if ! command -v "$1" >/dev/null || [[ ! -e $build/mini_qemu-$arch ]]; then
        echo "guests: skipped $arch: no $1, or no guest for it"
        return
    fi
    log=$(timeout 60 "$@" -accel tcg -nodefaults -no-user-config -display none -no-reboot -m 64M \
        -kernel "$build/mini_qemu-$arch" -append 'guest @tick:2 @mem' -serial stdio) || true
    if [[ $log == "kraft-guest: hello from $arch"*'tick 2'*bye* ]]; then
        echo "guests: $arch boots"
    else
        printf 'guests: %s does not boot:\n%s\n' "$arch" "$log"
        failed=1
    fi
}
boot x86_64 qemu-system-x86_64 -machine pc
boot arm64 qemu-system-aarch64 -machine virt -cpu max
exit $failed
