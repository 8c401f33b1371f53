#!/usr/bin/env bash
# Passes the output of `cargo test` through and adds a line with the counts, and
# what failed: tests, and programs that did not compile or ended early.
#
# `cargo test` prints a result per test program; with many of them the answer
# to "did it pass, and how much was run?" scrolls away.
set -euo pipefail

exec awk '
    { print; fflush() }
    /^test result: / {
        for (i = 2; i <= NF; i++) {
            if ($i == "passed;")  passed  += $(i - 1)
            if ($i == "failed;")  failed  += $(i - 1)
            if ($i == "ignored;") ignored += $(i - 1)
        }
    }
    /^test .* FAILED$/ { names = names "\n  " $2 }
    /^error: (test|doctest|[0-9]+ target|could not compile)/ { names = names "\n  " $0 }
    END {
        printf "\ntests: %d passed, %d failed, %d ignored\n", passed, failed, ignored
        if (names) print "failed:" names
    }'
