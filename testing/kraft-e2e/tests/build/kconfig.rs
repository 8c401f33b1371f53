//! Options: lost values are reported with their cause, and every option can be explained.

use std::path::{Path, PathBuf};

use kraft_e2e::harness::{Bench, skip};
use kraft_e2e::registry::installed;
use kraft_e2e::source::{build_and_boot, kraft_in, replace, skipped, workshop, write};
use kraft_e2e::terminal::Terminal;

fn app(bench: &Bench) -> PathBuf {
    workshop(bench).join("apps/app-two-libs")
}

fn ask(app: &Path, options: &[(&str, &str)]) {
    let mut text = String::new();
    for (name, value) in options {
        text.push_str(&format!("    CONFIG_{name}: '{value}'\n"));
    }
    replace(
        &app.join("Kraftfile"),
        "    CONFIG_LIBMINI_HEAP_PAGES: 32\n",
        &text,
    );
}

#[test]
fn every_cause_of_a_dropped_option_is_reported() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    for (options, says) in [
        // It depends on another option, which is not set.
        (
            &[("LIBNET", "y"), ("LIBNET_DHCP", "y")][..],
            "CONFIG_LIBNET_DHCP=y was dropped: needs LIBNET_UDP, which is n because nothing sets it",
        ),
        // … and that one needs another.
        (
            &[("LIBNET", "y"), ("LIBNET_NAME", "x")],
            "CONFIG_LIBNET_NAME=x was dropped: needs LIBNET_DHCP, which is n because it needs LIBNET_UDP",
        ),
        // … which the Kraftfile itself switched off.
        (
            &[("LIBNET", "y"), ("LIBNET_UDP", "n"), ("LIBNET_DHCP", "y")],
            "needs LIBNET_UDP, which is n because the configuration sets it",
        ),
        // The whole menu is off.
        (
            &[("LIBNET_SOCKETS", "9")],
            "CONFIG_LIBNET_SOCKETS=9 was dropped: needs LIBNET",
        ),
        // Another option forces it on.
        (
            &[("LIBNET", "y"), ("LIBNET_CORE", "n")],
            "CONFIG_LIBNET_CORE=n became y: LIBNET_TCP selects it",
        ),
        // Users cannot set it.
        (
            &[("LIBNET_CORE", "y")],
            "CONFIG_LIBNET_CORE=y was dropped: ",
        ),
        // A number is out of its range.
        (
            &[("LIBNET", "y"), ("LIBNET_SOCKETS", "100")],
            "CONFIG_LIBNET_SOCKETS=100 became 8: it must be from 1 to 64",
        ),
        (
            &[("LIBNET", "y"), ("LIBNET_WINDOW", "0x20")],
            "CONFIG_LIBNET_WINDOW=0x20 became 0x1000: it must be from 0x400 to 0x10000",
        ),
        // It is no number at all.
        (
            &[("LIBMINI_HEAP_PAGES", "many")],
            "CONFIG_LIBMINI_HEAP_PAGES=many became 16: the value is not valid for its type, int",
        ),
        // Another member of the choice was chosen.
        (
            &[("LIBNET", "y"), ("LIBNET_RENO", "y"), ("LIBNET_CUBIC", "y")],
            "LIBNET_RENO is selected for `Congestion control`",
        ),
        // There is no such option.
        (
            &[("LIBNET_UDPP", "y")],
            "CONFIG_LIBNET_UDPP=y was dropped: no component has this option",
        ),
        // A platform that the core does not have.
        (&[("KVM_VMM_FIRECRACKER", "y")], "KVM_VMM_FIRECRACKER"),
    ] {
        let app = app(&bench);
        ask(&app, options);
        let outcome = kraft_in(&bench, &app, &["build"]).exits(6);
        let name = options.last().unwrap().0;
        assert!(outcome.stderr.contains(says), "no `{says}`: {outcome:?}");
        // With the line that asked for it.
        assert!(
            outcome.stderr.contains(&format!(" |     CONFIG_{name}: ")),
            "{outcome:?}"
        );
        let _ = std::fs::remove_dir_all(bench.path().join("workshop"));
    }
}

#[test]
fn dropped_options_can_be_allowed_and_are_still_reported() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let app = app(&bench);
    ask(&app, &[("LIBNET", "y"), ("LIBNET_SOCKETS", "100")]);
    let outcome = kraft_in(&bench, &app, &["build", "--allow-lost"]).success();
    assert!(outcome.stderr.contains("warning:"), "{outcome:?}");
    assert!(
        outcome.stderr.contains("CONFIG_LIBNET_SOCKETS=100"),
        "{outcome:?}"
    );
    // It was not forgotten: without the flag it is an error again.
    let _ = kraft_in(&bench, &app, &["build"]).exits(6);
}

/// Insists on warnings that end with the file and line that asked for the value.
fn warns_of(outcome: &kraft_e2e::harness::Outcome, says: &str, place: &str) {
    let told = outcome.stderr.lines().any(|line| {
        line.starts_with("warning:") && line.contains(says) && line.ends_with(&format!("({place})"))
    });
    assert!(told, "no warning `{says}` at {place}: {outcome:?}");
}

#[test]
fn options_of_another_release_are_warnings_and_typing_errors_are_not() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let app = app(&bench);
    // Names that no component has, as a Kraftfile for another release of the core has them.
    ask(
        &app,
        &[("LIBQUUX_FRAMES", "7"), ("LIBMINI_CRASH_SCREEN", "y")],
    );
    for _ in 0..2 {
        let built = kraft_in(&bench, &app, &["build"]).success();
        warns_of(
            &built,
            "CONFIG_LIBQUUX_FRAMES=7 was dropped: no component has this option",
            "Kraftfile:6",
        );
        warns_of(
            &built,
            "CONFIG_LIBMINI_CRASH_SCREEN=y was dropped: no component has this option",
            "Kraftfile:7",
        );
    }
    // One mistake among them is an error, and the only one.
    for typo in [
        "LIBMINI_GREETINGS",
        "LIBMINI_GREETNIG",
        "LIB_MINI_GREETING",
        "MINI_GREETING",
    ] {
        let text = std::fs::read_to_string(app.join("Kraftfile")).unwrap();
        replace(&app.join("Kraftfile"), "LIBMINI_CRASH_SCREEN", typo);
        let refused = kraft_in(&bench, &app, &["build"]).exits(6);
        assert!(
            refused
                .stderr
                .contains("did you mean `CONFIG_LIBMINI_GREETING`?"),
            "{refused:?}"
        );
        assert!(!refused.stderr.contains("LIBQUUX"), "{refused:?}");
        write(&app.join("Kraftfile"), &text);
    }
}

#[test]
fn a_selected_option_may_override_a_requested_one() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let app = app(&bench);
    ask(
        &app,
        &[("LIBNET", "y"), ("LIBNET_TCP", "y"), ("LIBNET_CORE", "n")],
    );
    let built = kraft_in(&bench, &app, &["build"]).success();
    warns_of(
        &built,
        "CONFIG_LIBNET_CORE=n became y: LIBNET_TCP selects it",
        "Kraftfile:8",
    );
}

#[test]
fn options_that_a_template_sets_in_vain_are_warnings_with_their_line() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let place = workshop(&bench);
    let (template, app) = (
        place.join("apps/app-template"),
        place.join("apps/app-templated"),
    );
    // Unknown, a typing error, a value out of its range, and an unmet need.
    replace(
        &template.join("Kraftfile"),
        "    CONFIG_LIBMINI_HEAP_PAGES: 8\n",
        "    CONFIG_LIBQUUX: 'y'\n    CONFIG_LIBMINI_GREETINGS: x\n    CONFIG_LIBNET: 'y'\n    \
         CONFIG_LIBNET_SOCKETS: 100\n    CONFIG_LIBNET_DHCP: 'y'\n",
    );
    let built = kraft_in(&bench, &app, &["build"]).success();
    let file = template.join("Kraftfile").canonicalize().unwrap();
    for (says, line) in [
        ("CONFIG_LIBQUUX=y was dropped", 7),
        ("CONFIG_LIBMINI_GREETINGS=x was dropped", 8),
        ("CONFIG_LIBNET_SOCKETS=100 became 8", 10),
        ("CONFIG_LIBNET_DHCP=y was dropped: needs LIBNET_UDP", 11),
    ] {
        warns_of(&built, says, &format!("{}:{line}", file.display()));
    }
    // The same value of the project's own is the project's mistake.
    replace(
        &app.join("Kraftfile"),
        "    CONFIG_LIBMINI_HEAP_PAGES: 64\n",
        "    CONFIG_LIBNET_SOCKETS: 100\n",
    );
    let refused = kraft_in(&bench, &app, &["build"]).exits(6);
    assert!(
        refused.stderr.contains("Kraftfile:6:5") && !refused.stderr.contains("LIBNET_DHCP"),
        "{refused:?}"
    );
}

#[test]
fn options_of_a_rejected_build_do_not_count_as_manual_edits() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let app = app(&bench);
    let heap = "    CONFIG_LIBMINI_HEAP_PAGES: 32\n";
    ask(&app, &[("LIBNET", "y"), ("LIBNET_SOCKETS", "100")]);
    let refused = std::fs::read_to_string(app.join("Kraftfile")).unwrap();
    let _ = kraft_in(&bench, &app, &["build"]).exits(6);
    let asked = "    CONFIG_LIBNET: 'y'\n    CONFIG_LIBNET_SOCKETS: '100'\n";
    write(&app.join("Kraftfile"), &refused.replace(asked, heap));
    let built = kraft_in(&bench, &app, &["build"]).success();
    assert!(!built.stderr.contains("by hand"), "{built:?}");
    let get = kraft_in(&bench, &app, &["kconfig", "get", "LIBNET"]).success();
    assert_eq!(get.stdout, "n\n");
}

#[test]
fn options_can_be_asked_about_and_set() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let app = app(&bench);
    let run = |words: &[&str]| kraft_in(&bench, &app, words);
    assert_eq!(
        run(&["kconfig", "get", "LIBCOUNT_TO"]).success().stdout,
        "2\n"
    );
    let all = run(&["kconfig", "get", "-o", "json"]).success().stdout;
    let all: serde_json::Value = serde_json::from_str(&all).unwrap();
    assert!(
        all.as_array()
            .unwrap()
            .iter()
            .any(|o| o["name"] == "CONFIG_LIBHELLO_WHOM" && o["value"] == "two libraries")
    );
    let found = run(&["kconfig", "search", "dhcp", "-o", "json"])
        .success()
        .stdout;
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found[0]["name"], "LIBNET_DHCP");
    let explained = run(&["kconfig", "explain", "LIBHELLO_LOUD"])
        .success()
        .stdout;
    for text in ["Loudly", "LIBCOUNT", "lib-hello/Config.uk:11"] {
        assert!(explained.contains(text), "no {text}: {explained}");
    }
    let why = run(&["kconfig", "explain", "CONFIG_LIBNET_DHCP=y", "-o", "json"])
        .success()
        .stdout;
    let why: serde_json::Value = serde_json::from_str(&why).unwrap();
    assert_eq!(why["loss"]["cause"]["kind"], "needs");

    let text = std::fs::read_to_string(app.join("Kraftfile")).unwrap();
    std::fs::write(
        app.join("Kraftfile"),
        text.replace("spec: v0.6", "spec: v0.6 # a comment"),
    )
    .unwrap();
    let _ = run(&["kconfig", "set", "LIBCOUNT_TO=3", "LIBNET=y"]).success();
    let text = std::fs::read_to_string(app.join("Kraftfile")).unwrap();
    assert!(
        text.contains("# a comment") && text.contains("CONFIG_LIBNET: "),
        "{text}"
    );
    assert!(build_and_boot(&bench, &app, &[]).contains("count 3\n"));
    let _ = run(&["unset", "CONFIG_LIBNET"]).success();
    assert!(
        !std::fs::read_to_string(app.join("Kraftfile"))
            .unwrap()
            .contains("LIBNET")
    );
    let unknown = run(&["set", "LIBCOUNT_TOO=1"]).exits(3);
    assert!(
        unknown
            .stderr
            .contains("did you mean `CONFIG_LIBCOUNT_TO`?"),
        "{unknown:?}"
    );
    let _ = run(&["set", "--force", "LIBCOUNT_TOO=1"]).success();
    let _ = run(&["build"]).exits(6);
    let malformed = run(&["set", "LIBCOUNT_TO"]).exits(2);
    assert!(
        malformed
            .stderr
            .contains("`LIBCOUNT_TO` is not a valid option"),
        "{malformed:?}"
    );
}

#[test]
fn configurations_can_be_compared() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let app = workshop(&bench).join("apps/app-four-targets");
    let outcome = kraft_in(
        &bench,
        &app,
        &["kconfig", "diff", "qemu/x86_64", "fc/x86_64", "-o", "json"],
    )
    .success();
    let rows: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let names: Vec<&str> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["CONFIG_KVM_VMM_FIRECRACKER", "CONFIG_KVM_VMM_QEMU"]);
}

#[test]
fn a_menu_needs_a_terminal() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let app = app(&bench);
    let outcome = kraft_in(&bench, &app, &["menu"]).exits(2);
    assert!(outcome.stderr.contains("needs a terminal"), "{outcome:?}");
}

#[test]
fn changes_in_the_menu_can_be_written_into_the_kraftfile() {
    if skipped() {
        return;
    }
    if !installed("kconfig-mconf") {
        return skip("kconfig-mconf is not installed: scripts/setup.sh test");
    }
    let bench = Bench::new();
    let app = app(&bench);
    let Some(terminal) = Terminal::open(&bench, &app, 100, None, &["menu"]) else {
        return;
    };
    terminal.wait_for("Library configuration");
    terminal.type_keys(&["Down", "Down", "Enter"]);
    terminal.wait_for("[ ] net");
    terminal.type_keys(&["Down", "Down", "Down", "Down", "Down", "Down", "y"]);
    terminal.wait_for("[*] net");
    terminal.type_keys(&["Escape", "Escape"]);
    terminal.wait_for("Platform  --->");
    terminal.type_keys(&["Escape", "Escape"]);
    terminal.wait_for("save your new configuration");
    terminal.type_keys(&["Enter"]);
    terminal.wait_for("Write these changes into the Kraftfile?");
    terminal.type_keys(&["Enter"]);
    terminal.wait_for("ended with 0");
    let text = std::fs::read_to_string(app.join("Kraftfile")).unwrap();
    assert!(text.contains("CONFIG_LIBNET: "), "{text}");
    // What follows from it is not repeated.
    assert!(
        !text.contains("LIBNET_CORE") && !text.contains("LIBNET_SOCKETS"),
        "{text}"
    );
    let said = build_and_boot(&bench, &app, &[]);
    assert!(said.contains("config CONFIG_LIBNET \"1\""), "{said}");
}
