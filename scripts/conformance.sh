#!/usr/bin/env bash
# Runs the system call tests of the Linux Test Project, and musl's libc-test, on the built-in runtime.
#
#   scripts/conformance.sh [ltp] [libc-test]
#
# The sources are fetched into KRAFT_CONFORMANCE (target/conformance) and compiled there; KRAFT_LTP and
# KRAFT_LIBC_TEST name compiled ones that exist already. A suite that cannot be fetched or compiled
# is skipped, with the reason.
#
# What passed is compared with runtime/tests/SUITE-passed.txt: a test of that list that does not pass any
# more is an error. KRAFT_CONFORMANCE_ACCEPT=1 writes the list instead. KRAFT_KERNEL is the kernel, if it
# is not the one that `make runtime` built.
set -euo pipefail

repository=$(cd "$(dirname "$0")/.." && pwd)
lists=$repository/runtime/tests
into=${KRAFT_CONFORMANCE:-$repository/target/conformance}
# Tests for each machine, seconds for each test and for each machine.
part=200 patience=60 machine_patience=1800
# Tests that fail where something takes long, as on a busy host without KVM: no list has them.
depends_on_load='^(clock_(gettime04|nanosleep0[12])|epoll_wait0[24]|futex_(cmp_requeue01|wait05)|getrusage04|nanosleep01|poll02'
depends_on_load+='|prctl09|pselect01(_64)?|select02|timer_settime01|timerfd(01|_settime02)|times03)$'

say() { printf 'conformance: %s\n' "$*"; }

skip() { # SUITE REASON
    say "skipped $1: $2"
    exit 0
}

# Fails with the programs that are missing.
missing() { # PROGRAM...
    local program absent=()
    for program in "$@"; do
        command -v "$program" >/dev/null || absent+=("$program")
    done
    [[ ${#absent[@]} == 0 ]] || echo "${absent[*]}"
}

# Fetches one commit, from the first repository that has it.
fetch() { # SUITE COMMIT URL...
    local suite=$1 commit=$2 directory=$into/$1 url fetched=no
    [[ ! -e $directory/.git/fetched ]] || return 0
    shift 2
    mkdir -p "$directory"
    git -C "$directory" init --quiet
    for url in "$@"; do
        say "fetching $suite from $url"
        if git -C "$directory" fetch --quiet --depth 1 "$url" "$commit" 2>"$into/$suite.fetch.log"; then
            fetched=yes
            break
        fi
    done
    [[ $fetched == yes ]] ||
        skip "$suite" "$url cannot be fetched: $(head -n 1 "$into/$suite.fetch.log")"
    git -C "$directory" -c advice.detachedHead=false checkout --quiet FETCH_HEAD
    touch "$directory/.git/fetched"
}

compile_ltp() {
    local absent directory log=$into/ltp.build.log
    absent=$(missing git make gcc autoconf automake m4 pkg-config)
    [[ -z $absent ]] || skip ltp "needed to compile it: $absent"
    fetch ltp 695827725f4fc14fe583043127e0335c29bbd52d \
        "${LTP_REPOSITORY:-https://github.com/linux-test-project/ltp.git}"
    ltp=$into/ltp
    [[ ! -e $ltp/compiled ]] || return 0
    say "compiling ltp, with its output in $log"
    (
        cd "$ltp"
        { make autotools && ./configure && make -C include && make -C lib; } || exit
        make --keep-going -C libs || true
        while read -r directory; do
            make --keep-going -C "testcases/kernel/syscalls/$directory" || true
        done <"$lists/ltp-directories.txt"
    ) >"$log" 2>&1 || skip ltp "it cannot be compiled on this host: $(tail -n 1 "$log")"
    touch "$ltp/compiled"
}

# The root filesystem of the Linux Test Project, and the list of its tests.
lay_out_ltp() { # ROOT
    local root=$1 directory library
    while read -r directory; do
        find "$ltp/testcases/kernel/syscalls/$directory" -type f -executable ! -name '*.*' \
            -exec cp -t "$root/t" {} +
    done <"$lists/ltp-directories.txt"
    strip "$root"/t/* 2>/dev/null || true
    # Where tests look for the programs that they start.
    mkdir -p "$root/testcases"
    ln -s ../t "$root/testcases/bin"
    for library in $(ldd "$root"/t/* 2>/dev/null | grep -oE '/[^ ]+\.so[^ ]*' | sort -u); do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
    # Not programs that tests start, nor tests that end the machine or fill it on purpose.
    find "$root/t" -type f -printf '%f\n' | LC_ALL=C sort | grep -vE \
        '_(child.?|init|helper|execve)$|^(execv[a-z]*_|tst_|reboot|kill10|swap|fork1[34]$|msgstress|mmap1$|pause0[23]|waitpid10|test_ioctl$)' \
        >"$root/tests"
    cat >"$root/settings" <<'SETTINGS'
export PATH=/t:/bin LTPROOT=/ TMPDIR=/tmp HOME=/root KCONFIG_SKIP_CHECK=1
cd /tmp
# What needs a block device, which the runtime does not have, does not say so by its status.
not_applicable='Failed to acquire device|Failed to find free loop device|Remaining cases broken'
SETTINGS
}

compile_libc_test() {
    local absent log=$into/libc-test.build.log
    absent=$(missing git make musl-gcc)
    [[ -z $absent ]] || skip libc-test "needed to compile it: $absent"
    fetch libc-test f2bac7711bec93467b73bec1465579ea0b8d5071 \
        "${LIBC_TEST_REPOSITORY:-https://repo.or.cz/libc-test.git}" https://github.com/Boeing/libc-test.git
    libc_test=$into/libc-test
    [[ ! -e $libc_test/compiled ]] || return 0
    say "compiling libc-test, with its output in $log"
    (
        cd "$libc_test"
        # musl has all of these libraries in one.
        sed '/-lcrypt/d' config.mak.def >config.mak
        # Never the default target: it runs the tests on this host.
        programs=$(make --silent debug CC=musl-gcc | sed -nE 's/^(BINS|LIBS) //p' | tr '\n' ' ')
        # shellcheck disable=SC2086 # one word for each program
        make --keep-going --silent CC=musl-gcc $programs || true
        test -x src/functional/argv-static.exe
    ) >"$log" 2>&1 || skip libc-test "it cannot be compiled on this host: $(tail -n 1 "$log")"
    touch "$libc_test/compiled"
}

# The root filesystem of musl's tests, which look for their libraries from the directory of the sources.
lay_out_libc_test() { # ROOT
    local root=$1
    (cd "$libc_test" && find src -name '*.exe' -o -name '*.so') |
        tar -C "$libc_test" -c -T - | tar -C "$root/t" -x
    mkdir -p "$root/lib"
    cp -L /lib/ld-musl-x86_64.so.1 "$root/lib/"
    # `common` is the program that runs the others.
    (cd "$root/t" && find src -name '*.exe' ! -path 'src/common/*') | LC_ALL=C sort >"$root/tests"
    cat >"$root/settings" <<'SETTINGS'
export PATH=/bin TMPDIR=/tmp HOME=/root
cd /t
not_applicable='^$'
SETTINGS
}

# A root filesystem with a shell, users, and what runs some tests of the list.
lay_out() { # ROOT
    local root=$1 applet
    mkdir -p "$root"/{bin,t,tmp,etc,root}
    cp "$(command -v busybox)" "$root/bin/busybox"
    for applet in $("$root/bin/busybox" --list); do
        [[ -e $root/bin/$applet ]] || ln -s busybox "$root/bin/$applet"
    done
    printf '%s\n' root:x:0:0:root:/root:/bin/sh daemon:x:1:1:daemon:/:/bin/false \
        bin:x:2:2:bin:/bin:/bin/false nobody:x:65534:65534:nobody:/nonexistent:/bin/false \
        >"$root/etc/passwd"
    printf '%s\n' root:x:0: daemon:x:1: bin:x:2: users:x:100: nogroup:x:65534: >"$root/etc/group"
    cat >"$root/run" <<RUN
. /settings
for test in \$(sed -n "\$1,\$2p" /tests); do
    timeout -s KILL $patience "/t/\$test" >/output 2>&1 </dev/null
    status=\$?
    if [ \$status != 0 ] && grep -qE "\$not_applicable" /output; then status=32; fi
    # A test may have written part of a line to the console.
    printf '\nRESULT %s %s\n' "\$test" "\$status"
    case \$status in 0 | 32) ;; *) tail -n 20 /output | cut -c 1-300 ;; esac
    rm -rf /tmp/*
done
RUN
}

# Boots one machine for each part of the list; the console goes to a log.
run() { # SUITE ROOT
    local suite=$1 root=$2 first total log=$into/$1.log
    (cd "$root" && find . | cpio -o -H newc -R 0:0 2>/dev/null) >"$root.cpio"
    total=$(wc -l <"$root/tests")
    : >"$log"
    for ((first = 1; first <= total; first += part)); do
        say "$suite: tests $first to $((first + part <= total ? first + part - 1 : total)) of $total"
        timeout "$machine_patience" qemu-system-x86_64 -machine pc,accel=tcg -cpu max -m 1G \
            -nographic -no-reboot -bios qboot.rom -device isa-debug-exit,iobase=0xf4,iosize=4 \
            -kernel "$kernel" -initrd "$root.cpio" \
            -append "kernel env.vars=[ ] -- /bin/sh /run $first $((first + part - 1))" </dev/null \
            >>"$log" 2>&1 || true
    done
    tr -d '\r' <"$log" | { grep -aoE '^RESULT [^ ]+ [0-9]+' || true; } >"$into/$suite.results"
}

# Counts the results and compares what passed with the list. A test without a result ended its machine.
judge() { # SUITE ROOT
    local suite=$1 passed=$into/$1.passed list=$lists/$1-passed.txt lost
    awk '$3 == 0 { print $2 }' "$into/$suite.results" | LC_ALL=C sort >"$passed"
    awk -v suite="$suite" -v total="$(wc -l <"$2/tests")" '
        { n[$3 == 0 ? "passed" : $3 == 32 ? "other" : "failed"]++ }
        END { printf "conformance: %s: %d passed, %d failed, %d not applicable, %d without a result\n",
            suite, n["passed"], n["failed"], n["other"], total - NR }' "$into/$suite.results"
    if [[ -n ${KRAFT_CONFORMANCE_ACCEPT:-} ]]; then
        grep -vE "$depends_on_load" "$passed" >"$list"
        return
    fi
    lost=$(LC_ALL=C comm -13 "$passed" "$list")
    if [[ -n $lost ]]; then
        say "error: these tests of $suite passed before; $into/$suite.log has their output"
        printf '%s\n' "$lost"
        return 1
    fi
}

suite() { # SUITE
    local scratch name=${1//-/_} kernel=${KRAFT_KERNEL:-} packed
    packed=$repository/runtime/build/kraft-runtime-x86_64.xz
    absent=$(missing qemu-system-x86_64 busybox cpio)
    [[ -z $absent ]] || skip "$1" "needed to run it: $absent"
    [[ -n $kernel || -e $packed ]] || skip "$1" "the built-in runtime is not built: make runtime"
    mkdir -p "$into"
    "compile_$name"
    scratch=$(mktemp -d "$into/.$1.XXXXXX")
    # shellcheck disable=SC2064 # the directory of now
    trap "rm -rf '$scratch'" EXIT
    if [[ -z $kernel ]]; then
        kernel=$scratch/kernel
        xz --decompress --stdout "$packed" >"$kernel"
    fi
    lay_out "$scratch/root"
    "lay_out_$name" "$scratch/root"
    run "$1" "$scratch/root"
    judge "$1" "$scratch/root"
}

ltp=${KRAFT_LTP:-} libc_test=${KRAFT_LIBC_TEST:-}
[[ -z $ltp ]] || compile_ltp() { :; }
[[ -z $libc_test ]] || compile_libc_test() { :; }
[[ $# != 0 ]] || set -- ltp libc-test
failed=0
for name in "$@"; do
    case $name in
    ltp | libc-test)
        # Errors end the suite only where its status is not tested at once.
        set +e
        (set -e && suite "$name")
        [[ $? == 0 ]] || failed=1
        set -e
        ;;
    *) say "error: there is no suite $name" && exit 2 ;;
    esac
done
exit "$failed"
