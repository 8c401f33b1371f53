//! Completion candidates, and the bash script.

use crate::support::Home;

fn candidates(home: &Home, line: &str) -> Vec<String> {
    let mut words = vec!["__complete", "--"];
    words.extend(line.split(' '));
    home.ok(&words)
        .lines()
        .map(|line| line.split('\t').next().unwrap().to_owned())
        .collect()
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
fn commands_flags_values_and_machines_are_offered() {
    let home = Home::new();
    let kernel = home.kernel();
    home.ok(&["run", "-W", "--no-start", "-n", "alice", &kernel]);
    assert_eq!(candidates(&home, "sta"), ["start"]);
    assert_eq!(candidates(&home, "run --det"), ["--detach"]);
    assert_eq!(candidates(&home, "--log-type j"), ["json"]);
    assert_eq!(candidates(&home, "ps --output=y"), ["--output=yaml"]);
    assert_eq!(candidates(&home, "rm "), ["alice"]);
    assert_eq!(candidates(&home, "start a"), ["alice"]);
    assert_eq!(candidates(&home, "stop "), [""; 0]);
    assert_eq!(candidates(&home, "rm alice "), [""; 0]);
    assert_eq!(candidates(&home, "run "), [":files"]);
    assert_eq!(candidates(&home, "config set log.l"), ["log.level"]);
    home.configure("[");
    assert_eq!(candidates(&home, "ver"), ["version"]);
}

/// Has bash itself complete a line, as it would at the key Tab.
fn bash(home: &Home, words: &[&str]) -> String {
    let script = home.ok(&["completion", "bash"]);
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
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn bash_completes_commands_machines_and_values_after_an_equals_sign() {
    let home = Home::new();
    let kernel = home.kernel();
    home.ok(&["run", "-W", "--no-start", "-n", "alice", &kernel]);
    assert_eq!(bash(&home, &["insp"]), "inspect\n");
    assert_eq!(bash(&home, &["rm", "al"]), "alice\n");
    // Readline cuts at the equals sign.
    assert_eq!(bash(&home, &["ps", "--output", "=", "y"]), "yaml\n");
    assert_eq!(
        bash(&home, &["run", "-e", "A", "=", "b", "--no-s"]),
        "--no-start\n"
    );
}
