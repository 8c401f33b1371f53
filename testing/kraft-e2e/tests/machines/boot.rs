//! What reaches the guest: arguments, environment, parameters, volumes, the root filesystem.
//!
//! The guest prints what it received as JSON strings, so every comparison here is exact.

use kraft_e2e::guest::{Report, mini};
use kraft_e2e::harness::Bench;

const ARCHES: [&str; 2] = ["x86_64", "arm64"];

fn run(bench: &Bench, arch: &str, flags: &[&str], words: &[&str]) -> Report {
    let kernel = mini(arch);
    let mut args = vec!["run", "--rm"];
    args.extend(flags);
    args.push(kernel.to_str().unwrap());
    if !words.is_empty() {
        args.push("--");
        args.extend(words);
    }
    let console = bench.ok(&args);
    assert!(
        console.starts_with("kraft-guest: hello from"),
        "the first line is lost:\n{console}"
    );
    Report::parse(&console)
}

#[test]
fn arguments_arrive_exactly_as_typed() {
    let bench = Bench::new();
    for arch in ARCHES {
        let words = [
            "a",
            "b c",
            "d\"e",
            "it's",
            "back\\slash",
            "-x",
            "--",
            "=",
            "tab\there",
            "ümlaut",
        ];
        let words: Vec<&str> = words.into_iter().filter(|w| *w != "--").collect();
        assert_eq!(run(&bench, arch, &[], &words).args, words, "{arch}");
    }
}

#[test]
fn arguments_arrive_the_same_when_parameters_precede_them() {
    let bench = Bench::new();
    for arch in ARCHES {
        let words = ["a", "b c", "d\"e"];
        let report = run(
            &bench,
            arch,
            &["-a", "test.value=7", "-e", "K=v w", "-e", "Q=a\"b\\c"],
            &words,
        );
        assert_eq!(report.args, words, "{arch}");
        assert_eq!(report.env, ["K=v w", "Q=a\"b\\c"], "{arch}");
        assert!(
            report
                .params
                .iter()
                .any(|(name, value)| name == "test.value" && value == "\"7\""),
            "{arch}: {:?}",
            report.params
        );
    }
}

#[test]
fn no_arguments_arrive_as_none() {
    let bench = Bench::new();
    for arch in ARCHES {
        assert_eq!(run(&bench, arch, &[], &[]).args, [""; 0], "{arch}");
    }
}

#[test]
fn volumes_arrive_as_mount_entries_in_the_order_given() {
    let bench = Bench::new();
    for arch in ARCHES {
        for name in ["one", "two", "three"] {
            let _ = std::fs::create_dir(bench.path().join(name));
        }
        let report = run(
            &bench,
            arch,
            &["-v", "one:/1", "-v", "./two:/two/deep:ro", "-v", "three:/3"],
            &["x"],
        );
        assert_eq!(
            report.fstab,
            [
                "fs1:/1:9pfs:::mkmp",
                "fs2:/two/deep:9pfs:::mkmp",
                "fs3:/3:9pfs:::mkmp"
            ],
            "{arch}"
        );
    }
}

#[test]
fn a_volume_whose_directory_is_missing_is_refused() {
    let bench = Bench::new();
    let kernel = mini("x86_64");
    let outcome = bench.kraft(["run", "-v", "./nowhere:/x", kernel.to_str().unwrap()]);
    assert_ne!(outcome.code, Some(0));
    assert!(outcome.stderr.contains("nowhere"), "{}", outcome.stderr);
    assert!(!bench.path().join("nowhere").exists());
}

#[test]
fn a_directory_becomes_the_root_filesystem() {
    let bench = Bench::new();
    let root = bench.path().join("root/etc");
    std::fs::create_dir_all(&root).unwrap();
    std::fs::write(root.join("motd"), "carved in stone\n").unwrap();
    for arch in ARCHES {
        let kernel = mini(arch);
        let console = bench.ok([
            "run",
            "--rm",
            "--rootfs",
            "root",
            kernel.to_str().unwrap(),
            "@cat:/etc/motd",
        ]);
        assert!(console.contains("carved in stone\n"), "{arch}:\n{console}");
        let fstab = Report::parse(&console).fstab;
        assert_eq!(fstab, ["initrd0:/:extract::ramfs=2:"], "{arch}");
    }
}

#[test]
fn a_kernel_is_identified_by_its_content_and_not_by_its_name() {
    let bench = Bench::new();
    for arch in ARCHES {
        let misnamed = bench.path().join("name with blanks, commas.txt");
        std::fs::copy(mini(arch), &misnamed).unwrap();
        let console = bench.ok(["run", "--rm", misnamed.to_str().unwrap(), "one two"]);
        assert_eq!(Report::parse(&console).args, ["one two"], "{arch}");
    }
    std::fs::write(bench.path().join("kernel"), "#!/bin/sh\n").unwrap();
    let outcome = bench.kraft(["run", "./kernel"]);
    assert_ne!(outcome.code, Some(0));
    assert!(outcome.stderr.contains("script"), "{}", outcome.stderr);
}

#[test]
fn an_argument_that_cannot_be_passed_is_refused_with_a_reason() {
    let bench = Bench::new();
    let kernel = mini("x86_64");
    let kernel = kernel.to_str().unwrap();
    let long = "x".repeat(5000);
    for (word, reason) in [("", "empty"), (long.as_str(), "5000"), ("a\nb", "line")] {
        let outcome = bench.kraft(["run", "--rm", kernel, word]);
        assert_ne!(outcome.code, Some(0), "{word:?} was accepted");
        assert!(
            outcome.stderr.contains(reason),
            "{word:.20?}: {}",
            outcome.stderr
        );
    }
    let many: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let mut args = vec!["run", "--rm", kernel];
    args.extend(many.iter().map(String::as_str));
    let outcome = bench.kraft(args);
    assert_ne!(outcome.code, Some(0));
    assert!(outcome.stderr.contains("60"), "{}", outcome.stderr);
    assert_eq!(
        bench.ok(["ps", "--all", "--quiet"]),
        "",
        "a refused run left a machine"
    );
}

#[test]
fn memory_is_what_was_asked_for() {
    let bench = Bench::new();
    let kernel = mini("x86_64");
    for (asked, expected) in [("96Mi", 96), ("1G", 953)] {
        let console = bench.ok(["run", "--rm", "-M", asked, kernel.to_str().unwrap(), "@mem"]);
        let mib = console
            .lines()
            .find_map(|line| line.strip_prefix("memory "))
            .and_then(|rest| rest.split(' ').next())
            .map(|bytes| bytes.parse::<u64>().unwrap().div_ceil(1 << 20));
        // The firmware keeps a little of it for itself.
        let mib = mib.unwrap_or_else(|| panic!("no memory line:\n{console}"));
        assert!(
            (expected - 2..=expected).contains(&mib),
            "{asked}: {mib} MiB"
        );
    }
}

#[test]
fn the_reason_for_running_without_acceleration_is_one_line() {
    let bench = Bench::new();
    let kernel = mini("x86_64");
    let outcome = bench
        .kraft(["run", "--rm", kernel.to_str().unwrap()])
        .success();
    let doctor = bench.json(["doctor", "-o", "json"]);
    let kvm = doctor
        .as_array()
        .unwrap()
        .iter()
        .find(|check| {
            check["name"]
                .as_str()
                .is_some_and(|n| n.to_lowercase().contains("kvm"))
        })
        .expect("doctor says nothing about KVM")
        .clone();
    let lines: Vec<&str> = outcome
        .stderr
        .lines()
        .filter(|line| line.contains("acceleration"))
        .collect();
    if kvm["status"] == "ok" {
        assert_eq!(lines, [""; 0]);
    } else {
        assert_eq!(lines.len(), 1, "{}", outcome.stderr);
    }
    let forced = bench
        .kraft(["run", "--rm", "-W", kernel.to_str().unwrap()])
        .success();
    assert!(forced.stdout.contains("bye"));
}

#[test]
fn a_dry_run_prints_the_plan_and_makes_nothing() {
    let bench = Bench::new();
    let kernel = mini("x86_64");
    let plan = bench.ok([
        "run",
        "--dry-run",
        "-p",
        "127.0.0.2:8080:80",
        kernel.to_str().unwrap(),
        "b c",
    ]);
    assert!(plan.contains("qemu-system-x86_64"), "{plan}");
    assert!(plan.contains("hostfwd=tcp:127.0.0.2:8080-:80"), "{plan}");
    assert!(plan.contains("\"b c\""), "{plan}");
    assert_eq!(bench.ok(["ps", "--all", "--quiet"]), "");
}
