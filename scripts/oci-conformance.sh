#!/usr/bin/env bash
# Runs the validation tests of the OCI runtime-tools: with runc, with `runu` on the same ordinary containers, and
# with `runu` on bundles that hold a unikernel, the built-in runtime with the root file system of the tests.
#
#   scripts/oci-conformance.sh [TEST...]
#
# The sources are fetched into KRAFT_CONFORMANCE (target/conformance) and compiled there. The tests are not
# changed: only the archive of the root file system, which they unpack into every bundle, differs.
#
# Ordinary containers must have the same results with `runu` as with runc. For unikernels, an assertion that
# fails must be one of crates/kraft-runu/tests/oci-not-applicable.txt.
#
# Needs root, runc, git, Go, QEMU and the built-in runtime. KRAFT is the kraft to test (target/debug/kraft).
set -euo pipefail

repository=$(cd "$(dirname "$0")/.." && pwd)
into=${KRAFT_CONFORMANCE:-$repository/target/conformance}
kraft=$(realpath "${KRAFT:-$repository/target/debug/kraft}")
not_applicable=$repository/crates/kraft-runu/tests/oci-not-applicable.txt
tools=$into/runtime-tools
# Seconds for each test program, and how often results that differ are tried again: some tests race.
patience=120 tries=4

say() { printf 'oci-conformance: %s\n' "$*"; }

skip() { # REASON
    say "skipped: $1"
    exit 0
}

fetch() {
    local url=${OCI_RUNTIME_TOOLS_REPOSITORY:-https://github.com/opencontainers/runtime-tools.git}
    [[ ! -e $tools/.git/fetched ]] || return 0
    say "fetching runtime-tools from $url"
    mkdir -p "$tools"
    git -C "$tools" init --quiet
    git -C "$tools" fetch --quiet --depth 1 "$url" 5e639034dcdc2422164e3d7d76a737e2fb451a67 \
        2>"$into/runtime-tools.fetch.log" ||
        skip "$url cannot be fetched: $(head -n 1 "$into/runtime-tools.fetch.log")"
    git -C "$tools" -c advice.detachedHead=false checkout --quiet FETCH_HEAD
    touch "$tools/.git/fetched"
}

compile() {
    local log=$into/runtime-tools.build.log programs
    [[ ! -e $tools/compiled ]] || return 0
    say "compiling runtime-tools, with its output in $log"
    mapfile -t programs < <(cd "$tools" && find ./validation -mindepth 1 -maxdepth 1 -type d ! -name util)
    (
        cd "$tools"
        export CGO_ENABLED=0
        mkdir -p tests
        go build -o runtimetest ./cmd/runtimetest && go build -o tests/ "${programs[@]}"
    ) >"$log" 2>&1 || skip "runtime-tools cannot be compiled on this host: $(tail -n 1 "$log")"
    touch "$tools/compiled"
}

# Makes the directory from which test programs take the root file system: that of an ordinary container.
lay_out_container() { # DIRECTORY
    cp "$tools/runtimetest" "$tools/rootfs-amd64.tar.gz" "$1/"
}

# The same with a kernel, and with the files as its root archive, as in images of `kraft pkg`.
lay_out_unikernel() { # DIRECTORY
    local root=$1/root
    mkdir -p "$root"
    cp "$tools/runtimetest" "$1/"
    tar -C "$root" -xzf "$tools/rootfs-amd64.tar.gz"
    (cd "$root" && find . | cpio -o -H newc -R 0:0 2>/dev/null) >"$1/initrd"
    mkdir -p "$root/unikraft/bin"
    mv "$1/initrd" "$root/unikraft/bin/initrd"
    xz --decompress --stdout "$kernel" >"$root/unikraft/bin/kernel"
    tar -C "$root" -czf "$1/rootfs-amd64.tar.gz" .
    rm -r "$root"
}

# Runs a test program, and prints a line for each assertion: `passed`, `failed` or `skipped`, and its text.
# A program without assertions has one: that it found no error.
run() { # TEST RUNTIME DIRECTORY
    local log=$3/log status=0
    # What a test leaves mounted ends with its namespace.
    (cd "$3" && RUNTIME=$2 TMPDIR=$3/tmp timeout -s KILL "$patience" \
        unshare --mount --propagation slave "$tools/tests/$1") \
        </dev/null >"$log.tap" 2>"$log.err" || status=$?
    awk -v test="$1" -v status="$status" '
        /^(not )?ok / {
            result = /^not/ ? "failed" : /# (SKIP|skip)/ ? "skipped" : "passed"
            sub(/^(not )?ok [0-9]+( - )?/, "")
            print result "\t" test ": " $0
            n++
        }
        /"error": *"./ { error = 1 }
        END { if (!n) print (error || status ? "failed" : "passed") "\t" test ": program" }
    ' "$log.tap"
}

# Counts results: passed, failed, skipped.
count() { # FILE
    awk -F '\t' '{ n[$1]++ } END { printf "%d %d %d\n", n["passed"], n["failed"], n["skipped"] }' "$1"
}

# Sets apart failures that a machine cannot pass; the first expression of the list that matches decides.
judge() { # FILE
    awk -F '\t' -v list="$not_applicable" '
        BEGIN {
            while ((getline line <list) > 0) {
                if (line ~ /^#/ || line !~ / \| /) continue
                at = match(line, / \| [^|]*$/)
                patterns[++n] = substr(line, 1, at - 1)
            }
        }
        $1 == "failed" {
            for (i = 1; i <= n; i++) if ($2 ~ patterns[i]) { $1 = "skipped"; break }
        }
        { print $1 "\t" $2 }
    ' "$1"
}

compare() { # TEST
    local test=$1 try same=
    for ((try = 1; try <= tries && ${#same} == 0; try++)); do
        run "$test" runc "$scratch/container" >"$scratch/runc"
        run "$test" "$scratch/runu" "$scratch/container" >"$scratch/ordinary"
        # Texts have random names in them.
        ! cmp -s <(count "$scratch/runc") <(count "$scratch/ordinary") || same=yes
    done
    if [[ -z $same ]]; then
        say "error: $test differs between runc and runu"
        diff "$scratch/runc" "$scratch/ordinary" || true
        failed=1
    fi
    run "$test" "$scratch/runu" "$scratch/unikernel" | judge - >"$scratch/machine"
    if grep -P '^failed\t' "$scratch/machine" >"$scratch/lost"; then
        say "error: a unikernel fails in $test"
        cut -f 2 "$scratch/lost"
        failed=1
    fi
    printf '%s %s %s %s\n' "$test" "$(count "$scratch/runc")" "$(count "$scratch/ordinary")" \
        "$(count "$scratch/machine")" | tee -a "$scratch/table" | print_rows
}

print_rows() {
    awk '{ printf "%-32s %5d %6d   %5d %6d   %5d %6d %14d\n", $1, $2, $3, $5, $6, $8, $9, $10 }'
}

[[ $(id -u) == 0 ]] || skip "containers are started as root only"
for program in runc git go qemu-system-x86_64 cpio xz timeout unshare; do
    command -v "$program" >/dev/null || skip "needed to run it: $program"
done
[[ $(uname -m) == x86_64 ]] || skip "the root file system of the unikernel is that of x86_64"
kernel=$repository/runtime/build/kraft-runtime-x86_64.xz
[[ -e $kernel ]] || skip "the built-in runtime is not built: make runtime"
mkdir -p "$into"
fetch
compile
scratch=$(mktemp -d "$into/.oci.XXXXXX")
trap 'rm -rf --one-file-system "$scratch"' EXIT
ln -s "$kraft" "$scratch/runu"
# Users of other namespaces look into bundles.
chmod 755 "$scratch"
mkdir -p "$scratch"/{container,unikernel}/tmp
lay_out_container "$scratch/container"
lay_out_unikernel "$scratch/unikernel"
[[ $# != 0 ]] || mapfile -t -O 1 tests < <(cd "$tools/tests" && printf '%s\n' * | LC_ALL=C sort)
[[ $# == 0 ]] || tests=("$@")
failed=0
printf '%-32s %12s   %12s   %27s\n' '' 'runc' 'runu' 'runu with a unikernel'
printf '%-32s %5s %6s   %5s %6s   %5s %6s %14s\n' test passed failed passed failed passed failed 'not applicable'
for test in "${tests[@]}"; do
    compare "$test"
done
awk '{ for (i = 2; i <= NF; i++) sum[i] += $i }
    END { printf "all"; for (i = 2; i <= 10; i++) printf " %d", sum[i]; print "" }' "$scratch/table" | print_rows
exit "$failed"
