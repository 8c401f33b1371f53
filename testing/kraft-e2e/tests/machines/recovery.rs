//! Records and directories that are missing, VMMs that hang: what is reported done is done.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use kraft_e2e::guest::mini;
use kraft_e2e::harness::{Bench, eventually, is_running};
use kraft_e2e::program;
use rustix::process::{Pid, Signal, kill_process};

/// A machine that runs until it is ended.
struct Running {
    id: String,
    dir: PathBuf,
    vmm: Pid,
    monitor: Pid,
}

fn run(bench: &Bench, name: &str) -> Running {
    let kernel = mini("x86_64");
    let kernel = kernel.to_str().unwrap();
    bench.ok(["run", "-W", "-d", "--name", name, kernel, "@sleep:6000"]);
    let machine = &bench.json(["inspect", name])[0];
    let pid = |field: &str| {
        let pid = machine[field]
            .as_i64()
            .unwrap_or_else(|| panic!("{machine}"));
        Pid::from_raw(pid.try_into().unwrap()).unwrap()
    };
    let id = machine["id"].as_str().unwrap().to_owned();
    Running {
        dir: bench.runtime().join("machines").join(&id),
        vmm: pid("pid"),
        monitor: pid("monitor_pid"),
        id,
    }
}

/// Makes sure that nothing is left of a machine.
fn gone(bench: &Bench, name: &str, machine: &Running) {
    assert!(!is_running(machine.vmm), "the VMM runs on");
    eventually("the end of the monitor", || !is_running(machine.monitor));
    assert!(!machine.dir.exists());
    let link = bench.runtime().join("names").join(name);
    assert!(link.symlink_metadata().is_err(), "the name is still taken");
    assert_eq!(bench.ok(["ps", "--all", "--quiet"]), "");
}

/// Replaces a record by what makes it unreadable.
fn spoil(record: &Path, how: &str) {
    std::fs::remove_file(record).unwrap();
    match how {
        "missing" => {}
        "empty" => std::fs::write(record, "").unwrap(),
        "garbage" => std::fs::write(record, "{\"version\": 1}").unwrap(),
        "directory" => std::fs::create_dir(record).unwrap(),
        "fifo" => {
            let made = std::process::Command::new("mkfifo").arg(record).status();
            assert!(made.unwrap().success());
        }
        "dangling link" => std::os::unix::fs::symlink("/nowhere", record).unwrap(),
        other => panic!("{other}"),
    }
}

#[test]
fn a_machine_without_a_readable_record_is_listed_and_ended_only_by_force() {
    for how in [
        "missing",
        "empty",
        "garbage",
        "directory",
        "fifo",
        "dangling link",
    ] {
        let bench = Bench::new();
        let machine = run(&bench, "nr");
        spoil(&machine.dir.join("record.json"), how);
        let listed = bench.kraft(["ps", "-o", "json"]).success();
        let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
        assert_eq!(listed[0]["state"], "unknown", "{how}: {listed}");
        assert_eq!(
            listed[0]["pid"],
            machine.vmm.as_raw_nonzero().get(),
            "{how}"
        );
        for command in [
            &["rm", "nr"][..],
            &["stop", "nr"],
            &["stop", "--force", "nr"],
            &["stop", "--all"],
            &["rm", "--all"],
            &["pause", "nr"],
            &["logs", "nr"],
        ] {
            let failed = bench.kraft(command).exits(1);
            assert_eq!(failed.stdout, "", "{how}: {command:?}");
            assert!(
                failed.stderr.contains("--force"),
                "{how}: {}",
                failed.stderr
            );
            assert!(is_running(machine.vmm));
        }
        assert_eq!(bench.ok(["rm", "--force", "nr"]), "nr\n", "{how}");
        gone(&bench, "nr", &machine);
    }
}

#[test]
fn a_machine_whose_directory_was_removed_is_listed_and_ended_by_force() {
    for all in [false, true] {
        let bench = Bench::new();
        let machine = run(&bench, "lost");
        std::fs::remove_dir_all(&machine.dir).unwrap();
        let listed = bench.json(["ps", "-o", "json"]);
        assert_eq!(listed[0]["name"], "lost");
        assert_eq!(listed[0]["pid"], machine.vmm.as_raw_nonzero().get());
        for command in ["rm", "stop"] {
            assert_eq!(bench.kraft([command, "lost"]).exits(1).stdout, "");
        }
        assert!(is_running(machine.vmm));
        let word = if all { "--all" } else { "lost" };
        assert_eq!(bench.ok(["rm", "--force", word]), "lost\n");
        gone(&bench, "lost", &machine);
    }
}

#[test]
fn a_vmm_without_any_files_of_its_machine_is_found_by_id() {
    let bench = Bench::new();
    let machine = run(&bench, "lost");
    std::fs::remove_dir_all(bench.runtime()).unwrap();
    assert_eq!(bench.ok(["ps", "--quiet"]), format!("{}\n", machine.id));
    bench.ok(["rm", "--force", &machine.id]);
    gone(&bench, "lost", &machine);
}

#[test]
fn another_machine_of_the_same_name_does_not_hide_one_that_lost_its_directory() {
    let bench = Bench::new();
    let lost = run(&bench, "twin");
    std::fs::remove_dir_all(&lost.dir).unwrap();
    let second = run(&bench, "twin");
    assert_eq!(bench.ok(["ps", "--quiet"]).lines().count(), 2);
    bench.ok(["rm", "--force", &lost.id]);
    assert!(!is_running(lost.vmm) && is_running(second.vmm));
    assert_eq!(bench.ok(["rm", "--force", "twin"]), "twin\n");
    gone(&bench, "twin", &second);
}

#[test]
fn a_link_in_the_place_of_a_machine_is_neither_followed_nor_removed() {
    let bench = Bench::new();
    std::fs::create_dir(bench.runtime().join("machines")).unwrap();
    let target = bench.path().join("precious");
    std::fs::create_dir(&target).unwrap();
    std::fs::write(target.join("record.json"), "{}").unwrap();
    let machines = bench.runtime().join("machines");
    let id = "6fa459ea-ee8a-4ca4-894e-db77e160355e";
    std::os::unix::fs::symlink(&target, machines.join(id)).unwrap();
    let file = "7fa459ea-ee8a-4ca4-894e-db77e160355e";
    std::fs::write(machines.join(file), "").unwrap();
    for id in [id, file] {
        for command in [
            &["rm", id][..],
            &["rm", "--force", id],
            &["stop", id],
            &["logs", id],
        ] {
            let failed = bench.kraft(command).exits(1);
            assert_eq!(failed.stdout, "", "{command:?}");
            assert!(
                failed.stderr.contains("not a directory that kraft made"),
                "{}",
                failed.stderr
            );
        }
    }
    let listed = bench.kraft(["ps", "--all", "--quiet"]).success();
    assert_eq!(listed.stdout, "");
    assert!(listed.stderr.contains("skipped"), "{}", listed.stderr);
    let all = bench.kraft(["rm", "--all", "--force"]).success();
    assert_eq!(all.stdout, "");
    assert!(machines.join(id).is_symlink() && machines.join(file).is_file());
    assert!(target.join("record.json").is_file());
}

/// Writes a fake QEMU that prints its version and never starts.
fn never_up(bench: &Bench) -> String {
    let path = bench.path().join("qemu-never-up");
    let script = "case \"$*\" in\n*-version*) echo 'QEMU emulator version 10.0.2'; exit;;\n\
        esac\ntrap '' TERM INT HUP\necho $$ > \"$0.pid\"\nexec sleep 6000\n";
    program::script(&path, script);
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_vmm_that_does_not_start_is_ended_at_once() {
    for end in [
        &["rm", "--force", "up"][..],
        &["stop", "--force", "up"],
        &["rm", "-f", "--all"],
    ] {
        let bench = Bench::new();
        let qemu = never_up(&bench);
        let mut start = bench.command(["run", "-W", "-d", "--name", "up", "--qemu", &qemu]);
        start.arg(mini("x86_64")).stderr(Stdio::piped());
        let start = start.spawn().unwrap();
        let mut vmm = None;
        eventually("the start of the VMM", || {
            let machine = bench.machine("up");
            vmm = machine.and_then(|machine| machine["pid"].as_i64());
            vmm.is_some()
        });
        let vmm = Pid::from_raw(vmm.unwrap().try_into().unwrap()).unwrap();
        let listed = bench.json(["ps", "-o", "json"]);
        assert_eq!(
            listed[0]["state"], "created",
            "it has not come up: {listed}"
        );
        assert_eq!(bench.ok(end), "up\n", "{end:?}");
        assert!(!is_running(vmm), "{end:?}");
        let start = start.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&start.stderr);
        assert_eq!(start.status.code(), Some(1), "{said}");
        assert!(
            !said.contains("did not come up within"),
            "{end:?} waited for the start: {said}"
        );
    }
}

#[test]
fn ctrl_c_ends_a_start_that_hangs() {
    let bench = Bench::new();
    let qemu = never_up(&bench);
    let mut run = bench.command(["run", "-W", "--name", "up", "--qemu", &qemu]);
    let mut run = run
        .arg(mini("x86_64"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid_file = format!("{qemu}.pid");
    let pid = || std::fs::read_to_string(&pid_file).ok()?.trim().parse().ok();
    eventually("the start of the VMM", || pid().is_some());
    let vmm = Pid::from_raw(pid().unwrap()).unwrap();
    kill_process(Pid::from_child(&run), Signal::INT).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(130));
    assert!(!is_running(vmm));
    assert_eq!(bench.ok(["ps", "--all", "--quiet"]), "");
}

#[test]
fn a_vmm_that_hangs_is_ended_by_stop_and_rm() {
    for end in [
        &["stop", "h"][..],
        &["stop", "--force", "h"],
        &["rm", "h"],
        &["rm", "-f", "h"],
    ] {
        let bench = Bench::new();
        let machine = run(&bench, "h");
        kill_process(machine.vmm, Signal::STOP).unwrap();
        assert_eq!(bench.ok(end), "h\n", "{end:?}");
        assert!(!is_running(machine.vmm), "{end:?}");
    }
}

#[test]
fn a_program_that_is_not_a_usable_qemu_is_named_as_the_cause() {
    let bench = Bench::new();
    for (version, told) in [
        ("QEMU emulator version 2.1.0", "QEMU 2.1.0 is too old"),
        ("hello", "does not look like QEMU"),
    ] {
        let path = bench.path().join("qemu-other");
        program::script(&path, &format!("echo '{version}'\n"));
        let mut run = bench.command(["run", "-W", "-d", "--qemu"]);
        let failed = kraft_e2e::harness::Outcome::of(run.arg(&path).arg(mini("x86_64"))).exits(7);
        let program = path.to_str().unwrap();
        for part in [told, program, "kraft config set qemu PATH"] {
            assert!(failed.stderr.contains(part), "{}", failed.stderr);
        }
    }
}
