//! kraft.lock: pinned versions stay, moved ones are reported.

use std::path::{Path, PathBuf};

use kraft_e2e::harness::{Bench, Outcome, skip};
use kraft_e2e::netns;
use kraft_e2e::source::{
    build_and_boot, git, kraft_in, make_repository, replace, skipped, workshop, write,
};

const KERNEL: &str = ".unikraft/build/two-libs_qemu-x86_64";

/// A project whose components are local repositories, itself under version control.
fn project(bench: &Bench) -> (PathBuf, PathBuf) {
    let place = workshop(bench);
    let app = place.join("apps/app-two-libs");
    for (dir, old) in [
        ("core", "../../core"),
        ("libs/lib-hello", "../../libs/lib-hello"),
        ("libs/lib-count", "../../libs/lib-count"),
    ] {
        let dir = place.join(dir);
        make_repository(&dir);
        let new = format!("file://{}\n    version: stable", dir.display());
        let new = if old.ends_with("core") {
            new.replace("    version", "  version")
        } else {
            new
        };
        replace(&app.join("Kraftfile"), old, &new);
    }
    write(&app.join(".gitignore"), ".unikraft\n.config.*\n");
    (place, app)
}

fn lock(app: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(app.join("kraft.lock")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_locked_build_in_a_clone_without_a_network_gives_the_same_kernel() {
    if skipped() {
        return;
    }
    if let Some(obstacle) = netns::obstacle() {
        return skip(obstacle);
    }
    let bench = Bench::new();
    let (_, app) = project(&bench);
    let _ = kraft_in(&bench, &app, &["build"]).success();
    let first = std::fs::read(app.join(KERNEL)).unwrap();
    make_repository(&app);
    let clone = bench.path().join("another place/clone");
    git(
        bench.path(),
        [
            "clone",
            "--quiet",
            app.to_str().unwrap(),
            clone.to_str().unwrap(),
        ],
    );
    let mut inner = bench.command(["build", "--locked"]);
    inner.current_dir(&clone);
    let trace = bench.path().join("trace");
    let _ = Outcome::of(&mut netns::isolated(&inner, &trace)).success();
    assert_eq!(std::fs::read(clone.join(KERNEL)).unwrap(), first);
    // Said to be offline, it does not even ask.
    let _ = std::fs::remove_dir_all(clone.join(".unikraft"));
    let mut inner = bench.command(["build", "--locked", "--offline"]);
    inner.current_dir(&clone);
    let _ = Outcome::of(&mut netns::isolated(&inner, &trace)).success();
    assert_eq!(netns::outward_sockets(&trace), [""; 0]);
    assert_eq!(std::fs::read(clone.join(KERNEL)).unwrap(), first);
}

#[test]
fn a_moved_branch_changes_nothing_until_an_update() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let (place, app) = project(&bench);
    assert!(build_and_boot(&bench, &app, &[]).contains("hello to two"));
    let pinned = lock(&app)["components"]["lib/hello"]["commit"].clone();
    let library = place.join("libs/lib-hello");
    replace(&library.join("hello.c"), "hello to ", "moved to ");
    git(&library, ["commit", "--quiet", "--all", "-m", "two"]);
    let moved = git(&library, ["rev-parse", "HEAD"]);

    let _ = kraft_in(&bench, &app, &["build", "--force"]).success();
    assert_eq!(lock(&app)["components"]["lib/hello"]["commit"], pinned);
    let locked = kraft_in(&bench, &app, &["build", "--locked"]).success();
    assert!(locked.stderr.contains("kraft.lock has"), "{locked:?}");
    assert!(locked.stderr.contains(&moved[..12]), "{locked:?}");
    let check = kraft_in(&bench, &app, &["update", "--check", "-o", "json"]).exits(1);
    let moves: serde_json::Value = serde_json::from_str(&check.stdout).unwrap();
    assert_eq!(moves[0]["name"], "lib/hello");
    assert_eq!(moves[0]["from"], pinned);
    assert_eq!(moves[0]["to"], moved.as_str());
    assert_eq!(moves.as_array().unwrap().len(), 1);
    assert_eq!(lock(&app)["components"]["lib/hello"]["commit"], pinned);

    let update = kraft_in(&bench, &app, &["update", "hello"]).success();
    assert!(update.stdout.contains("lib/hello"), "{update:?}");
    assert_eq!(
        lock(&app)["components"]["lib/hello"]["commit"],
        moved.as_str()
    );
    assert!(build_and_boot(&bench, &app, &["-t", "qemu/x86_64"]).contains("moved to two"));
    let unknown = kraft_in(&bench, &app, &["update", "nothing"]).exits(3);
    assert!(unknown.stderr.contains("core/unikraft"), "{unknown:?}");
}

#[test]
fn a_moved_template_updates_its_components_in_the_same_update() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let place = workshop(&bench);
    let at = |what: &str| format!("file://{}", place.join(what).display());
    let (template, count) = (place.join("apps/app-template"), at("libs/lib-count"));
    let kraftfile = template.join("Kraftfile");
    for what in ["core", "libs/lib-hello"] {
        replace(&kraftfile, &format!("../../{what}"), &at(what));
    }
    for what in [
        "core",
        "libs/lib-hello",
        "libs/lib-count",
        "apps/app-template",
    ] {
        make_repository(&place.join(what));
    }
    let app = bench.path().join("templated");
    let text = format!(
        "spec: v0.6\nname: templated\ntemplate:\n  source: {}\n  version: stable\n",
        at("apps/app-template")
    );
    write(&app.join("Kraftfile"), &text);
    let _ = kraft_in(&bench, &app, &["update"]).success();
    assert!(lock(&app)["components"]["lib/count"].is_null());

    let library = format!("libraries:\n  count:\n    source: {count}\n");
    replace(&kraftfile, "libraries:\n", &library);
    git(&template, ["commit", "--quiet", "--all", "-m", "two"]);
    let update = kraft_in(&bench, &app, &["update"]).success();
    assert!(update.stdout.contains("lib/count"), "{update:?}");
    assert!(lock(&app)["components"]["lib/count"]["commit"].is_string());
}

#[test]
fn an_outdated_lock_file_is_an_error_with_locked() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let (_, app) = project(&bench);
    let none = kraft_in(&bench, &app, &["build", "--locked"]).exits(1);
    assert!(
        none.stderr.contains("does not have core/unikraft"),
        "{none:?}"
    );
    let _ = kraft_in(&bench, &app, &["build"]).success();
    let before = std::fs::read(app.join("kraft.lock")).unwrap();
    let kraftfile = std::fs::read_to_string(app.join("Kraftfile")).unwrap();
    let at = kraftfile.find("lib-hello").unwrap();
    let changed = format!(
        "{}{}",
        &kraftfile[..at],
        kraftfile[at..].replacen("stable", "RELEASE-0.1.0", 1)
    );
    write(&app.join("Kraftfile"), &changed);
    let drift = kraft_in(&bench, &app, &["build", "--locked"]).exits(1);
    assert!(drift.stderr.contains("lib/hello"), "{drift:?}");
    assert_eq!(std::fs::read(app.join("kraft.lock")).unwrap(), before);
    let _ = kraft_in(&bench, &app, &["build"]).success();
    assert_eq!(
        lock(&app)["components"]["lib/hello"]["asked"]["version"],
        "RELEASE-0.1.0"
    );
    for broken in ["", "{", "{\"version\": 7}"] {
        write(&app.join("kraft.lock"), broken);
        let refused = kraft_in(&bench, &app, &["build"]).exits(1);
        assert!(refused.stderr.contains("kraft.lock"), "{refused:?}");
    }
}

#[test]
fn the_image_that_a_project_runs_on_is_pinned() {
    let bench = Bench::new();
    kraft_e2e::guest::package(&bench, "example.test/apps/base:v1", &[]);
    let app = bench.path().join("on-base");
    write(
        &app.join("Kraftfile"),
        "spec: v0.6\nname: on-base\nruntime: example.test/apps/base:v1\n",
    );
    let _ = kraft_in(&bench, &app, &["build"]).success();
    let digest = lock(&app)["images"]["example.test/apps/base:v1"].clone();
    assert!(digest.as_str().unwrap().starts_with("sha256:"), "{digest}");
    let _ = kraft_in(&bench, &app, &["run", "--rm"]).success();
    // Another image takes the name: that is reported.
    kraft_e2e::guest::package(&bench, "example.test/apps/base:v1", &["--label", "a=b"]);
    let run = kraft_in(&bench, &app, &["run", "--rm"]).success();
    assert!(run.stderr.contains("kraft.lock has"), "{run:?}");
    assert_eq!(lock(&app)["images"]["example.test/apps/base:v1"], digest);
}
