#!/usr/bin/env bash
# Runs the system call tests of the Linux Test Project in one machine after the other, and
# compares what passed with ltp-passed.txt: a test there that does not pass any more is an error.
#
#   git clone https://github.com/linux-test-project/ltp && cd ltp
#   make autotools && ./configure && make -C include && make -C lib && make -C libs
#   for d in testcases/kernel/syscalls/*/; do make -k -C "$d"; done
#   runtime/tests/ltp.sh LTP_DIRECTORY [KERNEL]
#
# Tests of devices, namespaces and other kernels' files say themselves that they do not apply.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
ltp=${1:?usage: ltp.sh LTP_DIRECTORY [KERNEL]}
kernel=${2:-$here/../target/x86_64-unknown-none/release/kraft-runtime}
part=200
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

mkdir -p "$root"/{bin,t,tmp,etc,root}
cp "$(command -v busybox)" "$root/bin/busybox"
for applet in $("$root/bin/busybox" --list); do
    [ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
done
find "$ltp/testcases/kernel/syscalls" -type f -executable ! -name '*.*' -exec cp -t "$root/t" {} +
strip "$root"/t/* 2>/dev/null || true
for library in $(ldd "$root"/t/* 2>/dev/null | grep -oE '/[^ ]+\.so[^ ]*' | sort -u); do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
cat >"$root/etc/passwd" <<'PASSWD'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/:/bin/false
bin:x:2:2:bin:/bin:/bin/false
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
PASSWD
printf 'root:x:0:\ndaemon:x:1:\nbin:x:2:\nusers:x:100:\nnogroup:x:65534:\n' >"$root/etc/group"
cat >"$root/run.sh" <<'RUN'
export PATH=/t:/bin LTPROOT=/ TMPDIR=/tmp HOME=/root KCONFIG_SKIP_CHECK=1
cd /tmp
for test in $(ls /t | sed -n "$1,$2p"); do
    # Programs that other tests start, and tests that end the machine or fill it on purpose.
    case $test in
    *_child | *_child? | *_init | execv*_* | tst_* | reboot* | kill10* | swap* | fork13 | fork14 | msgstress* | mmap1 | pause0[23] | waitpid10) continue ;;
    esac
    timeout -s KILL 60 "/t/$test" >/dev/null 2>&1 </dev/null
    echo "RESULT $test $?"
    rm -rf /tmp/*
done
RUN
(cd "$root" && find . | cpio -o -H newc -R 0:0 2>/dev/null) >"$work/root.cpio"

total=$(find "$root/t" -type f | wc -l)
for ((first = 1; first <= total; first += part)); do
    timeout 1800 qemu-system-x86_64 -machine pc,accel=tcg -cpu max -m 1G -nographic -no-reboot \
        -bios qboot.rom -device isa-debug-exit,iobase=0xf4,iosize=4 \
        -kernel "$kernel" -initrd "$work/root.cpio" \
        -append "kernel env.vars=[ ] -- /bin/sh /run.sh $first $((first + part - 1))" </dev/null || true
done | tr -d '\r' | { grep -aoE 'RESULT [^ ]+ [0-9]+' || true; } >"$work/results"

awk '$3 == 0 { print $2 }' "$work/results" | LC_ALL=C sort >"$work/passed"
awk '{ n[$3 == 0 ? "passed" : $3 == 32 ? "not applicable" : "failed"]++ }
    END { for (k in n) print k ": " n[k] }' "$work/results"
lost=$(LC_ALL=C comm -13 "$work/passed" "$here/ltp-passed.txt")
if [ -n "$lost" ]; then
    printf 'ltp.sh: these passed before:\n%s\n' "$lost" >&2
    exit 1
fi
