//! Starts of programs of the host on the built-in runtime, again and again: none hangs or crashes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use kraft_e2e::harness::{Bench, has_builtin_runtime, skip};
use kraft_e2e::linux;

/// How often each program is started.
const STARTS: usize = 50;

/// Programs with arguments, and a part of what they print.
const PROGRAMS: [(&[&str], &str); 24] = [
    (&["bash", "-c", "f() { echo $((6 * 7)); }; f | cat"], "42"),
    (&["dash", "-c", "echo a | sort; (exit 3); echo $?"], "3"),
    (&["busybox", "sh", "-c", "echo one | wc -c"], "4"),
    (&["cat", "/etc/text"], "beta"),
    (&["ls", "-l", "/etc"], "text"),
    (&["sort", "-r", "/etc/text"], "gamma"),
    (&["sed", "-n", "s/^be/ze/p", "/etc/text"], "zeta"),
    (&["mawk", "END { print NR }", "/etc/text"], "3"),
    (&["grep", "-c", "a$", "/etc/text"], "3"),
    (&["find", "/etc", "-name", "t*"], "/etc/text"),
    (&["tar", "-cvf", "/tmp/all.tar", "/etc/text"], "/etc/text"),
    (&["gzip", "-nkv", "/etc/text"], "%"),
    (&["xz", "-kv", "/etc/text"], "text"),
    (&["bzip2", "-kv", "/etc/text"], "text"),
    (
        &["perl", "-e", "print join('-', sort(3, 1, 2)), qq(\\n)"],
        "1-2-3",
    ),
    (&["openssl", "dgst", "-sha256", "/etc/text"], "text)= "),
    (&["curl", "--silent", "file:///etc/text"], "beta"),
    (&["git", "hash-object", "/etc/text"], "\n"),
    (&["date", "-u", "-d", "@86400"], "1970"),
    (&["sha256sum", "/etc/text"], "/etc/text"),
    (
        &["make", "--eval", "all: ; @made=made; echo $$made $@"],
        "made all",
    ),
    (&["diff", "/etc/text", "/etc/text", "-s"], "identical"),
    (&["od", "-c", "/etc/text"], "0000000"),
    (&["readelf", "-h", "/usr/bin/cat"], "Entry point"),
];

#[test]
#[ignore = "1,200 machines take ten minutes without KVM"]
fn every_program_ends_well_every_time() {
    if !has_builtin_runtime() {
        return skip("the built-in runtime is not built: make runtime");
    }
    let bench = Bench::new().env("KRAFTKIT_OFFLINE", "true");
    let root = bench.path().join("root");
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/text"), "alpha\nbeta\ngamma\n").unwrap();
    symlink("usr/bin", root.join("bin")).unwrap();
    for (words, _) in PROGRAMS {
        let program = Path::new("/usr/bin").join(words[0]);
        if !program.is_file() {
            return skip(&format!("{} is not installed", words[0]));
        }
        linux::add_host_program(&root, &program);
    }
    symlink("dash", root.join("usr/bin/sh")).unwrap();
    fs::write(
        bench.path().join("Kraftfile"),
        "spec: v0.6\nruntime: builtin\nrootfs: ./root\n",
    )
    .unwrap();
    for (words, part) in PROGRAMS {
        for start in 1..=STARTS {
            let args = ["run", "--rm", "--memory", "256Mi", ".", "--"];
            let outcome = bench.kraft(args.iter().chain(words)).success();
            assert!(
                outcome.stdout.contains(part),
                "start {start} of {words:?}: {}{}",
                outcome.stdout,
                outcome.stderr
            );
        }
    }
}
