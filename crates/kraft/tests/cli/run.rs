//! Errors before the boot, and dry runs.

use crate::support::Home;

#[test]
fn a_dry_run_prints_both_command_lines_and_creates_nothing() {
    let home = Home::new();
    let kernel = home.kernel();
    home.write("data/x", "");
    let words = [
        "run",
        "--dry-run",
        "-W",
        "-M",
        "96Mi",
        "-p",
        "127.0.0.2:8080:80",
        "-v",
        "data:/data:ro",
        "-e",
        "K=v w",
        "-a",
        "test.value=7",
        "--name",
        "x",
        &kernel,
        "a",
        "b c",
        "d\"e",
    ];
    let text = home.ok(&words);
    let (vmm, line) = text.trim_end().split_once('\n').unwrap();
    // The driver's tests cover the whole line; this test covers that every argument arrives there.
    for part in [
        "qemu-system-aarch64 ",
        " size=96M ",
        "hostfwd=tcp:127.0.0.2:8080-:80",
        "path=[HOME]/data,",
        "readonly=on",
    ] {
        assert!(vmm.contains(part), "{part} is not in {vmm}");
    }
    insta::assert_snapshot!(
        line,
        @r#"kernel test.value=7 vfs.fstab=[ "fs1:/data:9pfs:::mkmp" ] env.vars=[ "K=v w" ] -- a "b c" 'd"e'"#
    );
    let in_a_shell = format!("-append '{}'", line.replace('\'', r"'\''"));
    assert!(vmm.ends_with(&in_a_shell), "{vmm}");
    let plan = home.json(&[&words[..2], &["-o", "json"], &words[2..]].concat());
    assert_eq!(plan["argv"][0], "qemu-system-aarch64");
    assert_eq!(
        plan["spec"]["args"],
        serde_json::json!(["a", "b c", "d\"e"])
    );
    assert!(!home.path().join(".local").exists(), "something was made");
}

#[test]
fn the_error_of_a_file_that_is_not_a_kernel_names_its_type() {
    let home = Home::new();
    home.write("script", "#!/bin/sh\n");
    home.write("empty", "");
    home.write("dir/x", "");
    for (word, code, reason) in [
        ("./script", 2, "it is a script for `/bin/sh`"),
        ("./empty", 2, "it is an empty file"),
        ("./dir", 3, "no Kraftfile in `./dir`"),
        ("./nothing", 3, "there is no file `./nothing`"),
    ] {
        let outcome = home.kraft(&["run", word]).exits(code);
        assert!(
            outcome.stderr.contains(reason),
            "{word}: {}",
            outcome.stderr
        );
        assert!(
            outcome.stderr.contains("hint: "),
            "{word}: {}",
            outcome.stderr
        );
        assert_eq!(outcome.stdout, "");
    }
    let _ = home.kraft(&["run"]).exits(2);
}

#[test]
fn the_runtime_is_that_of_the_flag_the_kraftfile_the_configuration_or_the_built_in_one() {
    const BUILT_IN: &str = "the built-in runtime";
    for (flag, kraftfile, key, expected) in [
        (None, None, None, BUILT_IN),
        (None, None, Some("key.example/a:1"), "`key.example/a:1`"),
        (None, None, Some("builtin"), BUILT_IN),
        (
            None,
            Some("file.example/a:1"),
            Some("key.example/a:1"),
            "`file.example/a:1`",
        ),
        (None, Some("builtin"), Some("key.example/a:1"), BUILT_IN),
        (
            Some("flag.example/a:1"),
            Some("file.example/a:1"),
            Some("key.example/a:1"),
            "`flag.example/a:1`",
        ),
        (
            Some("builtin"),
            Some("file.example/a:1"),
            Some("key.example/a:1"),
            BUILT_IN,
        ),
    ] {
        let home = Home::new();
        home.write("fs/x", "");
        let named = kraftfile.map_or_else(String::new, |name| format!("runtime: {name}\n"));
        home.write("Kraftfile", format!("spec: v0.6\n{named}rootfs: ./fs\n"));
        if let Some(key) = key {
            home.configure(&format!("default_runtime: {key}\n"));
        }
        let mut words = vec!["run", "--offline", "--log-level", "debug", "--dry-run"];
        words.extend(flag.into_iter().flat_map(|name| ["--runtime", name]));
        // A kraft with the built-in runtime runs it, one without says so.
        let outcome = home.kraft(&words);
        let chosen = outcome.stderr.contains(expected)
            || (expected == BUILT_IN && outcome.stderr.contains("kraft.local/runtime:"));
        assert!(chosen, "{flag:?} {kraftfile:?} {key:?}: {}", outcome.stderr);
        assert!(
            !outcome.stderr.contains(".example") || expected != BUILT_IN,
            "{flag:?} {kraftfile:?} {key:?}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn the_error_of_a_missing_file_or_directory_names_it() {
    let home = Home::new();
    home.write("empty/x", "");
    for words in [
        &["run", "-K", "nope.yaml"][..],
        &["run", "-K", "no/where/nope.yaml"],
        &["run", "empty", "-K", "nope.yaml"],
        &["pkg", "--name", "x", "-K", "nope.yaml"],
        &["pkg", "--name", "x", "--runtime", "x:1", "-K", "nope.yaml"],
        &["pkg", "--name", "x", "nope.yaml"],
        &["pkg", "--name", "x", "nope.yaml", "--runtime", "x:1"],
        &["build", "-K", "nope.yaml"],
        &["build", "nope.yaml"],
        &["check", "-K", "nope.yaml"],
        &["set", "-K", "nope.yaml", "A=y"],
        &["lib", "add", "-K", "nope.yaml", "lwip"],
    ] {
        let outcome = home.kraft(words).exits(3);
        let named = outcome.stderr.contains("nope.yaml`: No such file");
        assert!(named, "{words:?}: {}", outcome.stderr);
    }
    // Without an argument and without a project, the error is another one.
    let outcome = home.kraft(&["run"]).exits(2);
    assert!(outcome.stderr.contains("nothing to run here"));
    let outcome = home.kraft(&["pkg", "--name", "x"]).exits(3);
    assert!(outcome.stderr.contains("nothing to package"));
    let outcome = home.kraft(&["run", "empty"]).exits(3);
    assert!(outcome.stderr.contains("no Kraftfile in `empty`"));
}

#[test]
fn invalid_flags_are_errors() {
    let home = Home::new();
    let kernel = home.kernel();
    home.write("file", "");
    for (flag, value, code, reason) in [
        ("-M", "12K", 2, "`12k`"),
        ("-M", "1", 2, "at least 1Mi"),
        ("-p", "x", 2, "x"),
        ("-v", "./nowhere:/x", 3, "[HOME]/nowhere"),
        ("-v", "file:/x", 2, "is not a directory"),
        ("-v", ":/x", 2, "is missing"),
        ("-v", "x:", 2, "not absolute"),
        ("-e", "=x", 2, "name of the variable"),
        ("-a", "noequals", 2, "noequals"),
        ("--plat", "vmware", 2, "vmware"),
        ("--plat", "fc", 2, "fc"),
        ("-m", "x86_64", 2, "arm64"),
        ("--name", "a b", 2, "a b"),
        ("--rootfs", "nowhere", 3, "nowhere"),
    ] {
        let outcome = home
            .kraft(&["run", "-W", "--no-start", flag, value, &kernel])
            .exits(code);
        assert!(
            outcome.stderr.contains(reason),
            "{flag} {value}: {}",
            outcome.stderr
        );
    }
    assert_eq!(home.ok(&["ps", "-aq"]), "", "a refused run left a machine");
}

#[test]
fn several_errors_are_reported_together() {
    let home = Home::new();
    let kernel = home.kernel();
    let outcome = home
        .kraft(&[
            "run",
            "--dry-run",
            "-W",
            "-M",
            "1",
            "--name",
            "a/b",
            &kernel,
            "",
        ])
        .exits(2);
    assert_eq!(
        outcome.stderr.matches("error: ").count(),
        3,
        "{}",
        outcome.stderr
    );
}

#[test]
fn flags_can_be_among_the_arguments_and_end_at_two_dashes() {
    let home = Home::new();
    let kernel = home.kernel();
    let plan = home.json(&[
        "run",
        &kernel,
        "a",
        "--dry-run",
        "-W",
        "-o",
        "json",
        "b",
        "--",
        "-x",
        "--rm",
    ]);
    assert_eq!(
        plan["spec"]["args"],
        serde_json::json!(["a", "b", "-x", "--rm"])
    );
    assert_eq!(plan["spec"]["remove_when_ended"], false);
}

#[test]
fn without_qemu_the_error_names_the_package_to_install() {
    let home = Home::new();
    let kernel = home.kernel();
    let mut command = home.command(&["run", "--rm", "-W", &kernel]);
    let outcome = home.finish(command.env("PATH", "/nowhere")).exits(7);
    assert!(
        outcome.stderr.contains("qemu-system-aarch64"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("apt install qemu-system-arm"),
        "{}",
        outcome.stderr
    );
    assert_eq!(home.ok(&["ps", "-aq"]), "");
}

#[test]
fn doctor_names_missing_parts_with_their_cure() {
    let home = Home::new();
    home.configure("acceleration: off\nlog: {level: loud}\n");
    let mut command = home.command(&["doctor", "-o", "json"]);
    for variable in ["PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
        command.env(variable, "/nowhere");
    }
    let outcome = home.finish(&mut command).exits(7);
    let checks: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let checks = checks.as_array().unwrap();
    let find = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap();
    assert_eq!(find("configuration")["status"], "fail");
    assert_eq!(find("make")["cure"], "apt install make");
    let certificates = find("certificates");
    assert_eq!(certificates["cure"], "apt install ca-certificates");
    for check in checks {
        assert_eq!(check["status"] == "ok", check["cure"].is_null(), "{check}");
    }
}

#[test]
fn a_volume_argument_replaces_that_of_the_kraftfile() {
    let home = Home::new();
    let kernel = home.kernel();
    home.write("mine/x", "");
    home.write("sub/x", "");
    // The directory that is replaced need not exist.
    home.write(
        "Kraftfile",
        format!(
            "spec: v0.6\nruntime: kernel://{kernel}\ncmd: \"-c '/etc/my app.conf'\"\n\
             volumes: ['./missing:/data', './sub:/data/sub']\n"
        ),
    );
    let run = ["run", "--dry-run", "-W"];
    let refused = home.kraft(&run).exits(3);
    assert!(refused.stderr.contains("missing"), "{}", refused.stderr);
    let text = home.ok(&[&run[..], &["-v", "mine:/data/"]].concat());
    for part in [
        "path=[HOME]/mine,",
        "path=[HOME]/sub,",
        r#"vfs.fstab=[ "fs1:/data:9pfs:::mkmp" "fs2:/data/sub:9pfs:::mkmp" ] -- -c "/etc/my app.conf""#,
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn a_dry_run_shows_the_command_of_a_dockerfile() {
    let home = Home::new();
    let kernel = home.kernel();
    let run = ["run", "--dry-run", "-W", "--rootfs", "Dockerfile", &kernel];
    home.write(
        "Dockerfile",
        "FROM scratch AS a\nCMD [\"/no\"]\nFROM scratch\nENTRYPOINT [\"/bin/x\"]\nCMD [\"two words\"]\n",
    );
    let text = home.ok(&run);
    assert!(
        text.trim_end().ends_with("-- /bin/x \"two words\""),
        "{text}"
    );
    // The arguments follow the entry point, as without `--dry-run`.
    let text = home.ok(&[&run[..], &["typed"]].concat());
    assert!(text.trim_end().ends_with("-- typed"), "{text}");
}
