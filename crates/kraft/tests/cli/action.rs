//! The steps of the GitHub Action, run with a stub of the environment and of kraft.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;

use crate::support::Home;

/// The inputs of KraftKit's action.
const INPUTS: [&str; 23] = [
    "after",
    "run",
    "auths",
    "before",
    "loglevel",
    "privileged",
    "runtimedir",
    "grouprwx",
    "kraftfile",
    "workdir",
    "arch",
    "plat",
    "target",
    "execute",
    "timeout",
    "args",
    "memory",
    "name",
    "output",
    "push",
    "rootfs",
    "strategy",
    "dbg",
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs a step with inputs, in a workspace with the directory `app`.
fn step(home: &Home, name: &str, inputs: &[(&str, &str)]) -> Output {
    let stub = "#!/bin/sh\nprintf kraft\nfor it; do printf ' [%s]' \"$it\"; done\necho\n";
    let kraft = home.write("bin/kraft", stub);
    std::fs::set_permissions(&kraft, std::fs::Permissions::from_mode(0o755)).unwrap();
    home.write("ws/app/x", "");
    home.write("tmp/x", "");
    let step = repository().join("packaging/action").join(name);
    let mut command = Command::new("bash");
    command
        .arg(step)
        .env_clear()
        .env(
            "PATH",
            format!("{}/bin:/usr/bin:/bin", home.path().display()),
        )
        .env("GITHUB_WORKSPACE", home.path().join("ws"))
        .env("GITHUB_ENV", home.path().join("env"))
        .env("RUNNER_TEMP", home.path().join("tmp"))
        .current_dir(home.path().join("ws"));
    for (input, value) in inputs {
        command.env(format!("INPUT_{}", input.to_uppercase()), value);
    }
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn it_has_every_input_of_kraftkits_action() {
    let text = std::fs::read_to_string(repository().join("action.yml")).unwrap();
    for input in INPUTS {
        assert!(text.contains(&format!("\n  {input}:\n")), "{input}");
        // Values are passed in variables, and none is pasted into a script.
        let passed = format!("INPUT_{}: ${{{{ inputs.{input} }}}}", input.to_uppercase());
        let is_unused = ["privileged", "grouprwx", "name"].contains(&input);
        assert!(is_unused || text.contains(&passed), "{passed}");
    }
    for line in text.lines().filter(|line| line.trim().starts_with("run: ")) {
        assert!(!line.contains("${{"), "{line}");
    }
}

#[test]
fn it_builds_runs_packages_and_pushes_in_this_order() {
    let home = Home::new();
    let output = step(
        &home,
        "run.sh",
        &[
            ("workdir", "app"),
            ("plat", "qemu"),
            ("arch", "x86_64"),
            ("execute", "true"),
            ("args", "-c \"two words\" $(touch pwned)"),
            ("output", "oci://r.example/a:v1"),
            ("push", "true"),
            ("auths", "r.example:\n  user: anna\n  token: secret"),
            ("before", "basename \"$PWD\""),
        ],
    );
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    let [before, build, run, package] = lines.as_slice() else {
        panic!("{text}");
    };
    assert_eq!(*before, "app");
    assert_eq!(
        *build,
        "kraft [build] [--arch] [x86_64] [--plat] [qemu] [.]"
    );
    assert!(
        run.ends_with("[.] [--] [-c] [two words] [$(touch] [pwned)]"),
        "{run}"
    );
    assert!(
        package.contains("[--name] [r.example/a:v1] [--strategy] [merge]"),
        "{package}"
    );
    assert!(package.contains("[--push]"), "{package}");
    assert!(!home.path().join("ws/app/pwned").exists());
    let config = home.path().join("tmp/kraft-config/config.yaml");
    let mode = std::fs::metadata(&config).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(config).unwrap();
    assert!(text.contains("  r.example:\n    user: anna\n"), "{text}");
}

#[test]
fn a_script_replaces_all_of_it_and_the_last_step_removes_the_credentials() {
    let home = Home::new();
    let inputs = [("run", "kraft cloud deploy"), ("auths", "a.b: {user: x}")];
    assert_eq!(
        said(&step(&home, "run.sh", &inputs)),
        "kraft [cloud] [deploy]\n"
    );
    let failed = step(&home, "after.sh", &[("after", "echo end; false")]);
    assert!(!failed.status.success());
    assert!(
        said(&failed).starts_with("end\n::error::after"),
        "{}",
        said(&failed)
    );
    assert!(!home.path().join("tmp/kraft-config").exists());
    let both = step(&home, "run.sh", &[("target", "a"), ("arch", "b")]);
    assert!(
        said(&both).contains("::error::target excludes"),
        "{}",
        said(&both)
    );
}
