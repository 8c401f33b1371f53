//! The same commands on a store in a real containerd.

use kraft_e2e::engines::Containerd;
use kraft_e2e::guest::{MOTD, package};
use kraft_e2e::harness::Bench;
use kraft_e2e::registry::Registry;
use serde_json::json;

/// A bench whose images are in a containerd of its own.
fn bench(containerd: &Containerd) -> Bench {
    Bench::new()
        .env(
            "KRAFTKIT_CONTAINERD_ADDR",
            containerd.address().to_str().unwrap(),
        )
        .env("CONTAINERD_NAMESPACE", "kraft-test")
}

fn ctr(containerd: &Containerd, args: &[&str]) -> String {
    let output = containerd.ctr(&[&["--namespace", "kraft-test"], args].concat());
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn images_live_in_containerd_as_they_do_in_a_directory() {
    let (Some(containerd), Some(registry)) = (Containerd::start(), Registry::plain()) else {
        return;
    };
    let bench = bench(&containerd);
    assert_eq!(bench.packages(&[]), json!([]));
    let name = registry.name("in/containerd:v1");
    let digest = package(&bench, &name, &[]);
    let listed = ctr(&containerd, &["images", "ls"]);
    assert!(
        listed.contains(&name) && listed.contains(&digest),
        "{listed}"
    );
    let checked = ctr(&containerd, &["images", "check"]);
    assert!(!checked.contains("incomplete"), "{checked}");
    let rows = bench.packages(&[]);
    assert_eq!(rows[0]["index"], digest.as_str());
    assert!(bench.ok(["run", "--rm", "-W", &name]).contains(MOTD));
    bench.ok(["store", "verify"]);

    bench.ok(["pkg", "push", &name]);
    bench.ok(["pkg", "rm", &name]);
    assert_eq!(bench.packages(&[]), json!([]));
    let left = ctr(&containerd, &["content", "ls", "-q"]);
    assert_eq!(left, "", "something was not swept");
    bench.ok(["pkg", "pull", &name]);
    assert_eq!(bench.packages(&[])[0]["index"], digest.as_str());
    assert!(
        bench
            .ok(["run", "--rm", "-W", "--pull", "never", &name])
            .contains(MOTD)
    );
    bench.ok(["store", "verify"]);
    let usage = bench.json(["store", "du", "-o", "json"]);
    assert_eq!(usage[0]["name"], name.as_str());

    // The same, from a directory to containerd and back, is still the same.
    bench.ok(["pkg", "save", &name, "-o", "image.tar"]);
    bench.ok(["pkg", "rm", "--all"]);
    bench.ok(["pkg", "load", "-i", "image.tar"]);
    assert_eq!(bench.packages(&[])[0]["index"], digest.as_str());
}

#[test]
fn images_of_other_accounts_are_not_changed() {
    let (Some(containerd), Some(registry)) = (Containerd::start(), Registry::plain()) else {
        return;
    };
    // An image of another client: pulled by ctr itself.
    let elsewhere = Bench::new();
    let name = registry.name("of/others:v1");
    package(&elsewhere, &name, &[]);
    elsewhere.ok(["pkg", "push", &name]);
    let pull = ["images", "pull", "--plain-http", "--snapshotter", "native"];
    ctr(
        &containerd,
        &[&pull[..], &["--platform", "linux/amd64", &name]].concat(),
    );
    let before = ctr(&containerd, &["images", "ls", "-q"]);

    let bench = bench(&containerd);
    assert_eq!(bench.packages(&[]), json!([]));
    let _ = bench.kraft(["pkg", "rm", &name]).exits(3);
    bench.ok(["pkg", "rm", "--all"]);
    bench.ok(["store", "gc"]);
    assert_eq!(ctr(&containerd, &["images", "ls", "-q"]), before);
    // Blobs that both have are shared, and stay as long as one of them needs them.
    let mine = registry.name("of/mine:v1");
    package(&bench, &mine, &[]);
    assert!(bench.ok(["run", "--rm", "-W", &mine]).contains(MOTD));
    bench.ok(["pkg", "rm", "--all"]);
    let checked = ctr(&containerd, &["images", "check"]);
    assert!(
        checked.contains("complete") && !checked.contains("incomplete"),
        "{checked}"
    );
}

#[test]
fn an_unreachable_containerd_is_reported() {
    let bench = Bench::new().env("KRAFTKIT_CONTAINERD_ADDR", "/nonexistent/containerd.sock");
    let outcome = bench.kraft(["pkg", "ls"]).exits(1);
    for words in ["/nonexistent/containerd.sock", "containerd_addr"] {
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
}
