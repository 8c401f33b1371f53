//! What stays on a real terminal after a command: its closing line, and no rest of a bar.

use std::path::Path;

use kraft_e2e::guest::{mini, package};
use kraft_e2e::harness::Bench;
use kraft_e2e::registry::Registry;
use kraft_e2e::terminal::{Terminal, closing_line};

/// Writes a file that takes a while to move.
fn fill(path: &Path, mib: usize) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut state = 1u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_le_bytes()[7]
    })
    .take(mib << 20)
    .collect();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_transfer_leaves_one_closing_line_at_every_width() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    for columns in [60, 100, 120] {
        let bench = Bench::new();
        let name = registry.name(&format!("t/c-{columns}:v1"));
        let short = format!("t/c-{columns}:v1");
        fill(&bench.path().join("root/payload"), 24);
        let kernel = mini("x86_64");
        let kernel = kernel.to_str().unwrap();
        let data = bench.path().join("data");
        let run = |words: &[&str]| {
            let terminal = Terminal::open(&bench, bench.path(), columns, Some(&data), words)?;
            Some((terminal.left(), std::fs::read_to_string(&data).unwrap()))
        };
        let words = [
            "pkg", "--name", &name, "--kernel", kernel, "--arch", "x86_64", "--plat", "qemu",
            "--rootfs", "root",
        ];
        let Some((screen, printed)) = run(&words) else {
            return;
        };
        let last = closing_line(&screen);
        assert!(last.starts_with("packaged "), "{screen:#?}");
        assert!(last.contains(" MiB in "), "{screen:#?}");
        assert!(printed.starts_with(&format!("{name}@sha256:")), "{printed}");
        assert_eq!(printed.lines().count(), 1);

        let (screen, printed) = run(&["pkg", "push", &name]).unwrap();
        let last = closing_line(&screen);
        assert!(
            last.starts_with("pushed ") && last.contains(&short),
            "{screen:#?}"
        );
        assert!(last.contains(" MiB in "), "{screen:#?}");
        assert_eq!(printed, "");
        let (screen, _) = run(&["pkg", "push", &name]).unwrap();
        assert!(
            closing_line(&screen).ends_with("is up to date"),
            "{screen:#?}"
        );

        let (screen, printed) = run(&["pkg", "rm", "--all"]).unwrap();
        assert_eq!(screen, [""; 0]);
        assert_eq!(printed, format!("{name}\n"));

        let (screen, printed) = run(&["pkg", "pull", &name]).unwrap();
        let last = closing_line(&screen);
        assert!(
            last.starts_with("pulled ") && last.contains(" MiB in "),
            "{screen:#?}"
        );
        assert_eq!(printed, "");
        let (screen, _) = run(&["pkg", "pull", &name]).unwrap();
        assert!(
            closing_line(&screen).ends_with("is up to date"),
            "{screen:#?}"
        );
    }
}

#[test]
fn closing_lines_follow_the_log_settings() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let bench = Bench::new();
    let name = registry.name("tester/quiet:v1");
    package(&bench, &name, &["--push"]);
    for (flags, says) in [
        (&["--log-type", "quiet"][..], false),
        (&["--log-level", "warn"], false),
        (&["--log-type", "basic"], true),
        (&["--log-type", "json"], true),
    ] {
        let outcome = bench
            .kraft([&["pkg", "push", &name], flags].concat())
            .success();
        assert_eq!(outcome.stdout, "", "{outcome:?}");
        assert_eq!(
            outcome.stderr.contains("is up to date"),
            says,
            "{outcome:?}"
        );
    }
}

#[test]
fn a_password_is_not_shown_and_ctrl_c_leaves_the_terminal_as_it_was() {
    let bench = Bench::new();
    let words = ["login", "localhost:1", "-u", "me"];
    let Some(terminal) = Terminal::open(&bench, bench.path(), 80, None, &words) else {
        return;
    };
    terminal.wait_for("Password:");
    terminal.type_keys(&["s3cret", "C-c"]);
    terminal.wait_for("ended with 130");
    // The shell that follows echoes its input again.
    terminal.type_keys(&[": visible"]);
    terminal.wait_for(": visible");
    assert!(!terminal.tmux(&["capture-pane", "-p"]).contains("s3cret"));

    let Some(terminal) = Terminal::open(&bench, bench.path(), 80, None, &words) else {
        return;
    };
    terminal.wait_for("Password:");
    terminal.type_keys(&["s3cret", "Enter"]);
    // Nothing listens there: it is the connection that fails.
    terminal.wait_for("ended with 4");
    terminal.type_keys(&[": visible"]);
    terminal.wait_for(": visible");
    assert!(!terminal.tmux(&["capture-pane", "-p"]).contains("s3cret"));
}
