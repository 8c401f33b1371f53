//! What a build from sources shows on a real terminal, what it leaves there, and its prompts.

use std::path::Path;

use kraft_e2e::harness::{Bench, skip};
use kraft_e2e::source::{skipped, workshop, write};
use kraft_e2e::terminal::{Terminal, closing_line, is_moving, lines_of};

#[test]
fn a_build_shows_its_progress_and_leaves_a_summary_at_every_width() {
    if skipped() {
        return;
    }
    for columns in [60, 120] {
        let bench = Bench::new();
        let app = workshop(&bench).join("apps/app-two-libs");
        let data = bench.path().join("data");
        let Some(terminal) = Terminal::open(&bench, &app, columns, Some(&data), &["build"]) else {
            return;
        };
        let screens = terminal.watch();
        let moved = screens.iter().any(|screen| screen.lines().any(is_moving));
        assert!(moved, "{screens:#?}");
        let left = lines_of(screens.last().unwrap());
        assert_eq!(closing_line(&left), "build completed successfully");
    }
}

#[test]
fn prompts_fit_into_every_width_and_take_an_answer() {
    let busybox = Path::new("/bin/busybox");
    if !busybox.is_file() {
        return skip("busybox-static is not installed: scripts/setup.sh test");
    }
    for columns in [60, 120] {
        let bench = Bench::new();
        let begun = bench.path().join("begun");
        for name in ["first", "second"] {
            write(&begun.join(name), "");
            std::fs::copy(busybox, begun.join(name)).unwrap();
        }
        let data = bench.path().join("data");
        let words = ["init"];
        let Some(terminal) = Terminal::open(&bench, &begun, columns, Some(&data), &words) else {
            return;
        };
        terminal.wait_for("begun");
        terminal.type_keys(&["shop", "Enter"]);
        terminal.wait_for("1-2 [1]:");
        terminal.type_keys(&["9", "Enter"]);
        terminal.wait_for("`9` is not one of them.");
        terminal.type_keys(&["2", "Enter"]);
        let left = terminal.left();
        assert_eq!(
            closing_line(&left),
            "`kraft run` boots a kernel that runs it"
        );
        let text = std::fs::read_to_string(begun.join("Kraftfile")).unwrap();
        assert!(
            text.contains("name: \"shop\"") && text.contains("/second"),
            "{text}"
        );
    }
}
