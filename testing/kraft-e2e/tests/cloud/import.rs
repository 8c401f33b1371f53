//! Local files in a volume of the emulated cloud.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use kraft_e2e::cloud::{Cloud, in_both};
use kraft_e2e::harness::{Bench, Outcome};
use kraft_e2e::registry::digest_of;
use serde_json::{Value, json};

/// A cloud with the volume `data` of some MiB; and its UUID.
fn with_volume(size_mb: u64) -> (Cloud, String) {
    let cloud = Cloud::new();
    let made = cloud.ok(
        "POST /volumes",
        &json!([{"name": "data", "size_mb": size_mb}]),
    );
    let uuid = made[0]["uuid"].as_str().unwrap().to_owned();
    (cloud, uuid)
}

/// A directory with a few files.
fn site(bench: &Bench) {
    let dir = bench.path().join("site");
    fs::create_dir_all(dir.join("pages")).unwrap();
    fs::write(dir.join("pages/index.html"), "open all day\n").unwrap();
    fs::write(dir.join("odd name"), vec![b'x'; 200_001]).unwrap();
    fs::write(dir.join("empty"), "").unwrap();
    symlink("pages/index.html", dir.join("start")).unwrap();
    fs::set_permissions(dir.join("odd name"), fs::Permissions::from_mode(0o755)).unwrap();
}

fn import(cloud: &Cloud, bench: &Bench, more: &[&str]) -> Outcome {
    let words = ["cloud", "volume", "import", "-v", "data", "-s", "site"];
    let words: Vec<&str> = words.iter().chain(more).copied().collect();
    Outcome::of(&mut cloud.visitor(bench, &words))
}

fn assert_no_helper(cloud: &Cloud) {
    assert_eq!(
        cloud.ok("GET /instances", &Value::Null),
        Vec::<Value>::new()
    );
}

#[test]
fn a_directory_is_imported_completely() {
    in_both(|| {
        let ((cloud, uuid), bench) = (with_volume(16), Bench::new());
        site(&bench);
        let outcome = import(&cloud, &bench, &[]).success();
        assert_eq!(outcome.stdout, "data\n");
        assert!(
            outcome
                .stderr
                .contains("`data` has 15.8 MiB of 16.0 MiB left"),
            "{}",
            outcome.stderr
        );
        let kept = cloud.door(&format!("GET volumes/{uuid}"), &Value::Null);
        let kept = kept.as_array().unwrap();
        let one = |path: &str| {
            let path = format!("./{path}");
            let found = kept.iter().find(|entry| entry["path"] == path.as_str());
            found
                .unwrap_or_else(|| panic!("no {path}: {kept:#?}"))
                .clone()
        };
        assert_eq!(one("pages")["type"], "directory");
        assert_eq!(one("pages/index.html")["sha256"], sum(b"open all day\n"));
        let odd = one("odd name");
        assert_eq!(
            (&odd["size"], &odd["mode"]),
            (&json!(200_001), &json!("755"))
        );
        assert_eq!(odd["sha256"], sum(&vec![b'x'; 200_001]));
        assert_eq!(one("empty")["size"], 0);
        assert_eq!(one("start")["target"], "pages/index.html");
        assert_no_helper(&cloud);
    });
}

fn sum(bytes: &[u8]) -> String {
    digest_of(bytes).split_once(':').unwrap().1.to_owned()
}

#[test]
fn files_too_large_for_the_volume_are_an_error_before_anything_is_created() {
    in_both(|| {
        let ((cloud, _), bench) = (with_volume(1), Bench::new());
        site(&bench);
        fs::write(bench.path().join("site/large"), vec![0; 1 << 20]).unwrap();
        let outcome = import(&cloud, &bench, &[]).exits(1);
        assert!(
            outcome.stderr.contains("the volume is too small"),
            "{}",
            outcome.stderr
        );
        assert!(
            !cloud
                .journal()
                .iter()
                .any(|entry| entry["path"] == "/v1/instances")
        );
        // With force, it is the helper who says so.
        let outcome = import(&cloud, &bench, &["--force"]).exits(1);
        assert!(
            outcome.stderr.contains("no space left on device"),
            "{}",
            outcome.stderr
        );
        assert_no_helper(&cloud);
    });
}

#[test]
fn the_message_of_the_helper_is_printed_in_full() {
    in_both(|| {
        let ((cloud, _), bench) = (with_volume(16), Bench::new());
        site(&bench);
        let complaint = json!({"complaint": {"at": 1000, "text": "the disk is on fire"}});
        cloud.door("PUT helpers", &complaint);
        let outcome = import(&cloud, &bench, &[]).exits(1);
        assert!(
            outcome.stderr.contains("the disk is on fire"),
            "{}",
            outcome.stderr
        );
        cloud.door("PUT helpers", &json!({"hang_up": 1000}));
        let outcome = import(&cloud, &bench, &[]).exits(4);
        assert!(
            outcome
                .stderr
                .contains("the connection with the helper broke"),
            "{}",
            outcome.stderr
        );
        assert_no_helper(&cloud);
    });
}

#[test]
fn a_volume_that_is_missing_or_in_use_is_reported() {
    in_both(|| {
        let ((cloud, _), bench) = (with_volume(16), Bench::new());
        site(&bench);
        let words = ["cloud", "volume", "import", "-v", "ghost", "-s", "site"];
        let outcome = Outcome::of(&mut cloud.visitor(&bench, &words)).exits(3);
        assert!(outcome.stderr.contains("ghost"), "{}", outcome.stderr);
        let words = ["cloud", "volume", "import", "-v", "data", "-s", "nowhere"];
        let outcome = Outcome::of(&mut cloud.visitor(&bench, &words)).exits(3);
        assert!(
            outcome.stderr.contains("there is no `nowhere`"),
            "{}",
            outcome.stderr
        );
        assert_no_helper(&cloud);
    });
}
