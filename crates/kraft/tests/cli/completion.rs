//! Completion candidates, and the bash script.

use std::time::{Duration, Instant};

use crate::support::Home;

fn candidates(home: &Home, line: &str) -> Vec<String> {
    let mut words = vec!["__complete", "--"];
    words.extend(line.split(' '));
    home.ok(&words)
        .lines()
        .map(|line| line.split('\t').next().unwrap().to_owned())
        .collect()
}

/// Asserts the candidates. A lookup that takes too long is not offered, so a slow host gets several
/// attempts.
#[track_caller]
fn offers(home: &Home, line: &str, expected: &[&str]) {
    retried(expected, || {
        let mut found = candidates(home, line);
        found.sort_by_key(|word| (word.starts_with(':'), word.clone()));
        found
    });
}

#[track_caller]
fn retried<F: PartialEq<E> + std::fmt::Debug, E: ?Sized + std::fmt::Debug>(
    expected: &E,
    found: impl Fn() -> F,
) {
    let deadline = Instant::now() + Duration::from_mins(2);
    while found() != *expected && Instant::now() < deadline {}
    let found = found();
    assert!(found == *expected, "{found:?} instead of {expected:?}");
}

#[test]
fn every_shell_has_a_script() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        assert!(
            home.ok(&["completion", shell]).contains("__complete"),
            "{shell}"
        );
    }
    let _ = home.kraft(&["completion", "tcsh"]).exits(2);
}

#[test]
fn the_variable_of_other_programs_prints_the_same_scripts() {
    let home = Home::new();
    let complete = |shell: &str, words: &[&str]| {
        let mut command = home.command(words);
        home.finish(command.env("COMPLETE", shell))
    };
    for shell in ["bash", "zsh", "fish", "powershell"] {
        for value in [shell, &format!("/usr/bin/{shell}")] {
            let printed = complete(value, &[]).exits(0).stdout;
            assert_eq!(printed, home.ok(&["completion", shell]), "{value}");
        }
    }
    let unknown = complete("tcsh", &[]).exits(2);
    assert!(
        unknown.stderr.contains("`COMPLETE=tcsh`"),
        "{}",
        unknown.stderr
    );
    // Nothing is completed where it is off, nor in place of a command.
    for (value, words) in [("", &[][..]), ("0", &[]), ("bash", &["version"])] {
        let printed = complete(value, words).exits(0).stdout;
        assert!(!printed.contains("__complete"), "{value} {words:?}");
    }
    let script = complete("bash", &[]).exits(0).stdout;
    retried("inspect\n", || bash_with(&home, &script, &["insp"]));
}

#[test]
fn commands_flags_values_and_machines_are_offered() {
    let home = Home::new();
    let kernel = home.kernel();
    home.ok(&["run", "-W", "--no-start", "-n", "alice", &kernel]);
    offers(&home, "sta", &["start", "stats"]);
    offers(&home, "stats a", &["alice"]);
    offers(&home, "top ", &[]);
    offers(&home, "run --det", &["--detach", "--detach-keys"]);
    offers(&home, "--log-type j", &["json"]);
    offers(&home, "ps --output=y", &["--output=yaml"]);
    offers(&home, "rm ", &["alice"]);
    offers(&home, "start a", &["alice"]);
    offers(&home, "stop ", &[]);
    offers(&home, "rm alice ", &[]);
    offers(&home, "run ", &[":files"]);
    offers(&home, "config set log.l", &["log.level"]);
    home.configure("[");
    offers(&home, "ver", &["version"]);
}

/// Writes a project with two targets and its components, and packages an image.
fn project(home: &Home) {
    home.write(
        "Kraftfile",
        "spec: v0.6\nname: web\nunikraft: {source: ./core}\nlibraries: {lwip: stable}\n\
         targets: [qemu/x86_64, {name: big, plat: qemu, arch: arm64}]\n",
    );
    let uk = home.path().join(".unikraft/unikraft");
    home.write(
        "core/lib/Config.uk",
        "config NET\n\tbool \"Network\"\nconfig NETBUF\n",
    );
    home.write(
        ".unikraft/libs/lwip/Config.uk",
        "menuconfig LWIP\n\tbool \"TCP/IP\"\n",
    );
    std::os::unix::fs::symlink("../core", uk).unwrap();
    let kernel = home.kernel();
    for name in ["unikraft.org/hello:1.0", "localhost:5000/team/hello:2.0"] {
        home.ok(&["pkg", "--name", name, "--kernel", &kernel]);
    }
}

#[test]
fn images_targets_and_options_of_the_project_are_offered() {
    let home = Home::new();
    project(&home);
    for (line, expected) in [
        (
            "pkg inspect ",
            &["hello:1.0", "localhost:5000/team/hello:2.0"][..],
        ),
        ("pkg inspect he", &["hello:1.0"]),
        ("pkg inspect unikraft.org/", &["unikraft.org/hello:1.0"]),
        ("pkg push localhost:5", &["localhost:5000/team/hello:2.0"]),
        ("pkg rm hello:1.0 ", &["localhost:5000/team/hello:2.0"]),
        ("pkg pull hel", &["hello:1.0"]),
        ("run hel", &["hello:1.0", ":files"]),
        (
            "run --runtime=loc",
            &["--runtime=localhost:5000/team/hello:2.0"],
        ),
        ("cloud image remove ", &[]),
        (
            "build --target ",
            &["big", "qemu/arm64", "qemu/x86_64", "web"],
        ),
        ("build -t qemu/a", &["qemu/arm64"]),
        ("set N", &["NET=", "NETBUF="]),
        ("kconfig set CONFIG_L", &["CONFIG_LWIP="]),
        ("kconfig get ", &["LWIP", "NET", "NETBUF"]),
        ("kconfig get NET NET", &["NETBUF"]),
        ("kconfig explain LW", &["LWIP"]),
        ("unset LW", &["LWIP"]),
        ("lib remove ", &["lwip"]),
    ] {
        offers(&home, line, expected);
    }
}

#[test]
fn metros_keys_values_hosts_and_services_are_offered() {
    let home = Home::new();
    home.configure("auth:\n  registry.example:\n    user: anna\n    token: secret\n");
    home.write(
        "compose.yaml",
        "services:\n  web: {image: nginx}\n  db: {image: redis}\n",
    );
    offers(&home, "cloud --metro fr", &["fra0"]);
    offers(&home, "cloud instance list --metro=fr", &["--metro=fra0"]);
    offers(&home, "config get log.l", &["log.level"]);
    offers(&home, "config set log.type j", &["json"]);
    offers(&home, "config set http_retries ", &[]);
    offers(&home, "logout ", &["registry.example"]);
    offers(&home, "compose up w", &["web"]);
    offers(&home, "compose logs -f d", &["db"]);
    offers(&home, "cloud compose up w", &["web"]);
    offers(&home, "cloud compose logs web ", &["db"]);
}

#[test]
fn volumes_are_offered() {
    let home = Home::new();
    offers(&home, "vol rm ", &[]);
    for name in ["data", "database", "other"] {
        home.ok(&["vol", "create", name]);
    }
    offers(&home, "vol rm da", &["data", "database"]);
    offers(&home, "vol inspect ", &["data", "database", "other"]);
}

#[test]
fn completion_is_silent_and_succeeds_whatever_it_finds() {
    let home = Home::new();
    home.write("Kraftfile", "spec: v0.6\ntargets: nonsense\n");
    home.write("compose.yaml", "services: [\n");
    home.write(
        ".local/share/kraftkit/runtime/images",
        "a file in place of the store",
    );
    home.configure("log: [");
    let lines = [
        "",
        "pkg inspect ",
        "run ",
        "build -t ",
        "set ",
        "unset ",
        "kconfig get ",
        "rm ",
        "logout ",
        "cloud compose up ",
        "compose up ",
        "cloud --metro ",
        "config set log.level ",
        "lib remove ",
        "nonsense ",
        "-- ",
        "--log-type=",
        "run --memory ",
        "pkg --",
        "-",
        "--",
        "=",
    ];
    for line in lines {
        let words = ["__complete", "--"].into_iter().chain(line.split(' '));
        let outcome = home.kraft(&words.collect::<Vec<_>>()).exits(0);
        assert_eq!(outcome.stderr, "", "{line}");
        for line in outcome.stdout.lines() {
            assert!(line.starts_with(':') || line.contains('\t'), "{line}");
        }
    }
    let entries = std::fs::read_dir(home.path()).unwrap().count();
    assert_eq!(entries, 4, "completion creates nothing");
}

#[test]
fn arguments_that_are_not_utf_8_are_completed() {
    use std::os::unix::ffi::OsStringExt as _;

    let home = Home::new();
    let mut command = home.command(&["__complete", "--", "run"]);
    command.args([std::ffi::OsString::from_vec(vec![0xff]), "--de".into()]);
    let outcome = home.finish(&mut command).exits(0);
    assert!(outcome.stdout.contains("--detach\t"), "{}", outcome.stdout);
}

/// Has bash itself complete a line, as it would at the key Tab.
fn bash(home: &Home, words: &[&str]) -> String {
    bash_with(home, &home.ok(&["completion", "bash"]), words)
}

fn bash_with(home: &Home, script: &str, words: &[&str]) -> String {
    let program = env!("CARGO_BIN_EXE_kraft");
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let drive = format!(
        "{script}\ncompopt() {{ :; }}\nCOMP_WORDS=('{program}' {})\nCOMP_CWORD={}\n_kraft\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        quoted.join(" "),
        words.len()
    );
    let output = assert_cmd::Command::new("bash")
        .args(["--norc", "-c", &drive])
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", "/usr/bin:/bin")
        .current_dir(home.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn bash_completes_names_and_values_after_colons_and_equals_signs() {
    let home = Home::new();
    let kernel = home.kernel();
    home.ok(&["run", "-W", "--no-start", "-n", "alice", &kernel]);
    retried("inspect\n", || bash(&home, &["insp"]));
    retried("alice\n", || bash(&home, &["rm", "al"]));
    project(&home);
    // Readline cuts at the colon and the equals sign.
    retried("1.0\n", || bash(&home, &["pkg", "inspect", "hello", ":"]));
    retried("hello:1.0\n", || bash(&home, &["pkg", "inspect", "hel"]));
    retried("qemu/arm64\n", || {
        bash(&home, &["build", "--target", "=", "qemu/a"])
    });
    retried("NETBUF=\n", || bash(&home, &["set", "NETB"]));
    retried("fra0\n", || bash(&home, &["cloud", "--metro", "fr"]));
    retried("yaml\n", || bash(&home, &["ps", "--output", "=", "y"]));
    retried("--no-start\n", || {
        bash(&home, &["run", "-e", "A", "=", "b", "--no-s"])
    });
}
