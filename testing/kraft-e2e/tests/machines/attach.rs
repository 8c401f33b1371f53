//! The user's terminal at the console of a machine: a shell on the built-in runtime.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use kraft_e2e::harness::{Bench, eventually, has_builtin_runtime, skip};
use kraft_e2e::terminal::Terminal;

const BUSYBOX: &str = "/bin/busybox";

fn is_ready() -> bool {
    if !has_builtin_runtime() {
        skip("the built-in runtime is not built: make runtime");
        return false;
    }
    if !Path::new(BUSYBOX).is_file() {
        skip("busybox is not installed: scripts/setup.sh test");
        return false;
    }
    true
}

#[test]
fn a_shell_gets_keys_signals_and_the_size_of_the_window_and_can_be_left_and_joined() {
    shell(&Bench::new().env("KRAFTKIT_OFFLINE", "true"), &[]);
}

/// Uses a shell in a machine that is run with more arguments.
pub(crate) fn shell(bench: &Bench, more: &[&str]) {
    if !is_ready() {
        return;
    }
    let words = [&["run", "-it", "--name", "shell"], more, &[BUSYBOX, "sh"]].concat();
    let Some(terminal) = Terminal::open(bench, bench.path(), 100, None, &words) else {
        return;
    };
    terminal.wait_for("/ #");
    terminal.type_keys(&["echo one-$((40 + 2))", "Enter"]);
    terminal.wait_for("one-42");
    // Ctrl-C ends the program in the guest, not the shell and not kraft. The program itself prints: a shell that is
    // interrupted before it has given the terminal to a program ignores that, on Linux as well.
    let asleep = "sh -c 'echo asleep-$((40 + 4)); exec sleep 1000'";
    terminal.type_keys(&[asleep, "Enter"]);
    terminal.wait_for("asleep-44");
    terminal.type_keys(&["C-c"]);
    terminal.type_keys(&["echo two-$((40 + 3))", "Enter"]);
    terminal.wait_for("two-43");
    terminal.tmux(&["resize-window", "-x", "90", "-y", "30"]);
    eventually("the new size", || {
        terminal.type_keys(&["stty size", "Enter"]);
        let screen = terminal.tmux(&["capture-pane", "-p"]);
        screen.contains("30 90")
    });
    terminal.type_keys(&["C-p", "C-q"]);
    terminal.wait_for("ended with 0");
    assert_eq!(bench.state("shell"), "running");

    let words = ["attach", "--detach-keys", "ctrl-a,d", "shell"];
    let Some(again) = Terminal::open(bench, bench.path(), 80, None, &words) else {
        return;
    };
    again.wait_for("/ #");
    again.type_keys(&["C-a", "d"]);
    again.wait_for("ended with 0");
    // The terminal echoes again.
    again.type_keys(&["echo four-$((40 + 5))", "Enter"]);
    again.wait_for("echo four");
    again.wait_for("four-45");

    let log = bench.ok(["logs", "shell"]);
    for text in ["one-42", "two-43", "30 90"] {
        assert!(log.contains(text), "{log}");
    }
    bench.ok(["kill", "shell"]);
}

#[test]
fn stdin_goes_to_the_program_and_ends_there() {
    if !is_ready() {
        return;
    }
    let bench = Bench::new().env("KRAFTKIT_OFFLINE", "true");
    let mut command = bench.command(["run", "--rm", "-i", BUSYBOX, "sha256sum"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Every byte, those that begin commands and signals included.
    let bytes: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8_lossy(&output.stdout);
    let sum = "290c84b9b148f3bc4dc2c6cbc847910f611e446e722eae6969438db9f4aecd57";
    assert_eq!(printed.trim_end(), format!("{sum}  -"));
}

#[test]
fn a_program_gets_sigterm_before_it_is_stopped() {
    if !is_ready() {
        return;
    }
    let bench = Bench::new().env("KRAFTKIT_OFFLINE", "true");
    let script = "trap 'echo said goodbye; exit 0' TERM; echo ready; while :; do sleep 1; done";
    bench.ok([
        "run", "-d", "--name", "polite", BUSYBOX, "sh", "--", "-c", script,
    ]);
    bench.wait_for_log("polite", "ready");
    assert_eq!(bench.ok(["stop", "polite"]), "polite\n");
    assert!(bench.ok(["logs", "polite"]).contains("said goodbye"));
    assert_eq!(bench.state("polite"), "exited");
}

#[test]
fn a_terminal_is_required_before_anything_is_created_and_exec_says_what_to_use() {
    let bench = Bench::new().env("KRAFTKIT_OFFLINE", "true");
    let kernel = kraft_e2e::guest::mini("x86_64");
    let kernel = kernel.to_str().unwrap();
    let refused = bench.kraft(["run", "-it", kernel]).exits(1);
    assert!(
        refused.stderr.contains("not a terminal"),
        "{}",
        refused.stderr
    );
    assert_eq!(bench.ok(["ps", "-aq"]), "");
    bench.ok(["run", "-d", "--name", "a", kernel, "@tick:1000000"]);
    let refused = bench.kraft(["exec", "-it", "a", "sh"]).exits(7);
    assert!(
        refused.stderr.contains("kraft attach a"),
        "{}",
        refused.stderr
    );
}
