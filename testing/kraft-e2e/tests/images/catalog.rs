//! What `kraft pkg ls` shows: one row for each platform of an image, here and in registries, and
//! what asking a large registry costs it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use kraft_e2e::guest::{mini, package};
use kraft_e2e::harness::Bench;
use kraft_e2e::registry::Registry;
use serde_json::Value;

const REPOSITORIES: usize = 200;
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn pack_three(bench: &Bench, name: &str) {
    for (arch, plat) in [("x86_64", "qemu"), ("arm64", "qemu"), ("x86_64", "fc")] {
        let kernel = mini(arch);
        let kernel = kernel.to_str().unwrap();
        let args = ["pkg", "--name", name, "-k", kernel, "-m", arch, "-p", plat];
        bench.ok([&args[..], &["--strategy", "merge"]].concat());
    }
}

/// Returns the cells of a table whose columns are at least two blanks apart.
fn cells(table: &str) -> Vec<Vec<&str>> {
    table
        .lines()
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect()
}

#[test]
fn an_image_for_three_platforms_has_three_rows() {
    let bench = Bench::new();
    pack_three(&bench, "example.test/apps/motd:v1");
    let table = bench.ok(["pkg", "ls", "--apps", "--all"]);
    let mut rows = cells(&table);
    rows.retain(|row| row[1] != "kraft.local/runtime");
    let header = [
        "TYPE", "NAME", "VERSION", "FORMAT", "PULLED", "MANIFEST", "INDEX", "PLAT", "SIZE",
    ];
    assert_eq!(rows[0], header, "{table}");
    assert_eq!(rows.len(), 4, "{table}");
    let plats = ["fc/x86_64", "qemu/arm64", "qemu/x86_64"];
    let json = bench.packages(&["--apps", "--all"]);
    let json = json.as_array().unwrap();
    assert_eq!(json.len(), 3, "{json:#?}");
    for ((row, plat), value) in rows[1..].iter().zip(plats).zip(json) {
        let same = ["app", "example.test/apps/motd", "v1", "oci"];
        assert_eq!(row[..4], same, "{table}");
        assert_eq!(row[7], plat, "{table}");
        let (platform, arch) = plat.split_once('/').unwrap();
        assert_eq!(value["platform"], platform);
        assert_eq!(value["architecture"], arch);
        // The table's seven digits are the first ones of the real digests.
        for (cell, key) in [(row[5], "manifest"), (row[6], "index")] {
            let digest = value[key].as_str().unwrap();
            assert_eq!(
                digest.strip_prefix("sha256:").map(|hex| &hex[..7]),
                Some(cell)
            );
        }
        assert!(value["size"].as_u64().unwrap() > 10_000, "{value:#}");
    }
    assert_eq!(json[0]["index"], json[1]["index"]);
    assert_ne!(json[0]["manifest"], json[1]["manifest"]);
}

#[test]
fn rows_are_chosen_by_platform_and_architecture() {
    let bench = Bench::new();
    pack_three(&bench, "example.test/apps/motd:v1");
    for (flags, rows) in [
        (&["-p", "qemu"][..], 2),
        (&["-m", "x86_64"], 2),
        (&["-p", "fc", "-m", "x86_64"], 1),
        (&["-p", "fc", "-m", "arm64"], 0),
    ] {
        let chosen = bench.packages(&[&["--apps"], flags].concat());
        assert_eq!(chosen.as_array().unwrap().len(), rows, "{flags:?}");
    }
}

#[test]
fn a_registry_shows_three_rows_for_an_image_of_three_platforms() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let bench = Bench::new();
    let name = registry.name("apps/motd:latest");
    pack_three(&bench, &name);
    bench.ok(["pkg", "push", &name]);
    bench.ok(["pkg", "rm", "--all"]);
    bench.ok(["pkg", "source", &registry.address()]);
    let rows = bench.packages(&["--apps", "--all", "--update"]);
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 3, "{rows:#?}");
    let blobs = requests(&registry, 0, "/blobs/");
    assert!(
        !blobs.iter().any(|(what, _)| what.starts_with("GET")),
        "a list needs no blob: {blobs:#?}"
    );
}

#[test]
fn two_hundred_repositories_are_asked_at_once_and_then_only_what_is_new() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let bench = Bench::new();
    fill(&bench, &registry);
    let tap = Tap::on(registry.address());
    bench.ok(["pkg", "source", &tap.address]);
    let list = ["--apps", "--all", "--update"];

    let before = registry.requests().len();
    let first = bench.packages(&list);
    let count = first.as_array().unwrap().len();
    assert_eq!(count, REPOSITORIES, "one platform each");
    let asked = requests(&registry, before, "/manifests/");
    // Once for the index that the tag names, and no question is asked twice.
    let indexes: Vec<_> = asked
        .iter()
        .filter(|(what, _)| what.ends_with("/latest"))
        .collect();
    assert_eq!(indexes.len(), REPOSITORIES, "{asked:#?}");
    assert!(
        asked.values().all(|statuses| *statuses == [200]),
        "{asked:#?}"
    );
    assert_eq!(requests(&registry, before, "/blobs/"), BTreeMap::new());
    let peak = tap.peak();
    assert!((8..=48).contains(&peak), "{peak} connections at once");

    let before = registry.requests().len();
    let second = bench.packages(&list);
    assert_eq!(second, first);
    let asked = requests(&registry, before, "/manifests/");
    assert!(asked.len() <= REPOSITORIES, "{asked:#?}");
    assert!(
        asked.values().all(|statuses| *statuses == [304]),
        "{asked:#?}"
    );
    assert_eq!(requests(&registry, before, "/blobs/"), BTreeMap::new());

    // What has changed is seen, although everything else is only confirmed.
    let changed = registry
        .ask(
            "GET /v2/lib/r007/manifests/latest",
            &[("Accept", INDEX)],
            b"",
        )
        .expect(&[200]);
    let mut index: Value = serde_json::from_slice(&changed.body).unwrap();
    index["annotations"]["test.changed"] = "yes".into();
    put_manifest(
        &registry,
        "r007/manifests/latest",
        INDEX,
        index.to_string().as_bytes(),
    );
    let before = registry.requests().len();
    let third = bench.packages(&list);
    assert_ne!(third, second);
    let asked = requests(&registry, before, "/manifests/");
    let fresh: Vec<_> = asked
        .iter()
        .filter(|(_, statuses)| **statuses != [304])
        .map(|(what, _)| what.as_str())
        .collect();
    assert_eq!(fresh, ["GET /v2/lib/r007/manifests/latest"]);

    // Without an explicit request no registry is queried.
    let before = registry.requests().len();
    let local = bench.packages(&["--apps", "--all"]);
    assert_eq!(registry.requests().len(), before);
    assert!(local.as_array().is_some());
}

/// Returns what was asked of a registry since `from`, if its path holds `part`, with the statuses
/// of the answers.
fn requests(registry: &Registry, from: usize, part: &str) -> BTreeMap<String, Vec<u16>> {
    let mut asked = BTreeMap::<String, Vec<u16>>::new();
    for request in registry.requests().split_off(from) {
        if request.path.contains(part) {
            let what = format!("{} {}", request.method, request.path);
            asked.entry(what).or_default().push(request.status);
        }
    }
    asked
}

/// Puts one small image into the registry with `kraft`, and as many copies of it beside it, each
/// a little different, without.
fn fill(bench: &Bench, registry: &Registry) {
    let name = registry.name("lib/r000:latest");
    package(bench, &name, &["--push"]);
    bench.ok(["pkg", "rm", "--all"]);
    let get = |reference: &str, kind: &str| {
        let what = format!("GET /v2/lib/r000/manifests/{reference}");
        registry
            .ask(&what, &[("Accept", kind)], b"")
            .expect(&[200])
            .body
    };
    let index: Value = serde_json::from_slice(&get("latest", INDEX)).unwrap();
    let manifests: Vec<(String, Vec<u8>)> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|descriptor| descriptor["digest"].as_str().unwrap().to_owned())
        .map(|digest| (digest.clone(), get(&digest, MANIFEST)))
        .collect();
    let blobs: BTreeSet<String> = manifests
        .iter()
        .flat_map(|(_, bytes)| blobs_of(bytes))
        .collect();
    for number in 1..REPOSITORIES {
        let repository = format!("r{number:03}");
        for blob in &blobs {
            let mount =
                format!("POST /v2/lib/{repository}/blobs/uploads/?mount={blob}&from=lib/r000");
            let _ = registry.ask(&mount, &[], b"").expect(&[201]);
        }
        for (digest, bytes) in &manifests {
            let path = format!("{repository}/manifests/{digest}");
            put_manifest(registry, &path, MANIFEST, bytes);
        }
        let mut own = index.clone();
        own["annotations"]["test.number"] = number.to_string().into();
        let path = format!("{repository}/manifests/latest");
        put_manifest(registry, &path, INDEX, own.to_string().as_bytes());
    }
}

/// Returns the digests of a manifest's config and layers.
fn blobs_of(manifest: &[u8]) -> Vec<String> {
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    layers
        .iter()
        .chain([&manifest["config"]])
        .map(|blob| blob["digest"].as_str().unwrap().to_owned())
        .collect()
}

fn put_manifest(registry: &Registry, path: &str, kind: &str, bytes: &[u8]) {
    let what = format!("PUT /v2/lib/{path}");
    let _ = registry
        .ask(&what, &[("Content-Type", kind)], bytes)
        .expect(&[201]);
}

/// A listener in front of a registry that counts how many connections are open at once.
struct Tap {
    address: String,
    peak: Arc<AtomicUsize>,
}

impl Tap {
    /// Begins to listen. Its thread ends with the test's process.
    fn on(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let peak = Arc::new(AtomicUsize::new(0));
        let open = Arc::new(Mutex::new(0_usize));
        let highest = Arc::clone(&peak);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (open, highest) = (Arc::clone(&open), Arc::clone(&highest));
                let upstream = TcpStream::connect(&upstream).unwrap();
                std::thread::spawn(move || {
                    let now = {
                        let mut open = open.lock().unwrap();
                        *open += 1;
                        *open
                    };
                    highest.fetch_max(now, Ordering::SeqCst);
                    pass(client, upstream);
                    *open.lock().unwrap() -= 1;
                });
            }
        });
        Self { address, peak }
    }

    /// Returns the most connections that were ever open at once.
    fn peak(&self) -> usize {
        self.peak.load(Ordering::SeqCst)
    }
}

/// Copies bytes in both directions until both sides are done. Responses are delayed, as from a
/// distant registry, to show that requests are concurrent.
fn pass(client: TcpStream, upstream: TcpStream) {
    let (from_client, to_upstream) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
    let questions = std::thread::spawn(move || pump(from_client, to_upstream, 0));
    pump(upstream, client, 10);
    let _ = questions.join();
}

fn pump(mut from: TcpStream, mut to: TcpStream, delay_ms: u64) {
    let mut buffer = [0; 65536];
    while let Ok(count) = from.read(&mut buffer) {
        std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
