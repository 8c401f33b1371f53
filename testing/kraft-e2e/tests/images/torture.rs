//! One store, many processes, and some of them killed: what is listed is whole, whatever happens.
//!
//! `KRAFT_TORTURE=1000` kills that many processes instead of a few.

use std::process::Child;
use std::time::{Duration, Instant};

use kraft_e2e::guest::mini;
use kraft_e2e::harness::{Bench, Outcome};
use kraft_e2e::limit;
use kraft_e2e::registry::Registry;

/// Processes that pull at the same time.
const PULLERS: usize = 16;
/// Images that share their kernel and differ in their root filesystem.
const IMAGES: usize = 6;
/// How long the short form may kill.
const SHORT: Duration = Duration::from_secs(40);
/// How many it kills at most.
const KILLS: usize = 60;
/// How many it kills at least, however slow the host is.
const FEWEST: usize = 11;

/// Random numbers with a seed that a failure prints.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap();
        Self(u64::from(now.subsec_nanos()) << 20 | 1)
    }

    /// Throws: a number below `sides`.
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Writes a root filesystem of some MiB with unique content.
fn root(bench: &Bench, number: usize) -> String {
    let dir = bench.path().join(format!("root{number}"));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("number"), number.to_string()).unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32)
        .map(|n| (n.wrapping_mul(number as u32 + 3) >> 3) as u8)
        .collect();
    std::fs::write(dir.join("bytes"), bytes).unwrap();
    dir.display().to_string()
}

fn package(bench: &Bench, name: &str, root: &str) -> Outcome {
    let kernel = mini("x86_64");
    let kernel = kernel.to_str().unwrap();
    bench.kraft(["pkg", "--name", name, "--kernel", kernel, "--rootfs", root])
}

/// Fills a registry with the images.
fn fill(registry: &Registry) -> Vec<String> {
    let bench = Bench::new();
    (0..IMAGES)
        .map(|number| {
            let name = registry.name(&format!("torture/{number}:v1"));
            let _ = package(&bench, &name, &root(&bench, number)).success();
            bench.ok(["pkg", "push", &name]);
            name
        })
        .collect()
}

fn start(bench: &Bench, args: &[&str]) -> Child {
    let mut command = bench.command(args);
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn pulls_garbage_collections_and_removals_share_a_store() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let names = fill(&registry);
    let bench = Bench::new();
    std::thread::scope(|scope| {
        let pullers: Vec<_> = (0..PULLERS)
            .map(|number| {
                let (bench, names) = (&bench, &names);
                scope.spawn(move || {
                    for round in 0..3 {
                        let name = &names[(number + round * 5) % names.len()];
                        bench.ok(["pkg", "pull", name]);
                    }
                })
            })
            .collect();
        let over = || {
            pullers
                .iter()
                .all(std::thread::ScopedJoinHandle::is_finished)
        };
        std::thread::scope(|others| {
            others.spawn(|| {
                while !over() {
                    bench.ok(["store", "gc"]);
                }
            });
            let mut dice = Dice::new();
            while !over() {
                let name = &names[dice.throw(names.len() as u64) as usize];
                let removed = bench.kraft(["pkg", "rm", name]);
                assert!(matches!(removed.code, Some(0 | 3)), "{removed:?}");
            }
        });
    });
    let _ = bench.kraft(["store", "verify"]).success();
    let listed = bench.packages(&[]);
    for row in listed.as_array().unwrap() {
        let name = format!("{}:v1", row["name"].as_str().unwrap());
        let console = bench.ok([
            "run",
            "--rm",
            "-W",
            "--pull",
            "never",
            &name,
            "@cat:/number",
        ]);
        assert!(console.contains("bye"), "{console}");
    }
}

/// Makes the list of names as long as that of some hundred images, of which kraft writes parts: with
/// an entry of another tool.
fn enlarge(bench: &Bench) {
    let path = bench.runtime().join("images/index.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let index: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut entry = index["manifests"][0].clone();
    entry["annotations"] = serde_json::json!({"padding": "x".repeat(100_000)});
    let (head, entries) = text.split_once('\n').unwrap();
    std::fs::write(&path, format!("{head}\n{entry},\n{entries}")).unwrap();
}

#[test]
fn a_store_verifies_clean_after_every_kill() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let names = fill(&registry);
    let bench = Bench::new();
    let roots: Vec<String> = (0..3).map(|number| root(&bench, 100 + number)).collect();
    let kernel = mini("x86_64");
    let kernel = kernel.to_str().unwrap();
    let long: Option<usize> = std::env::var("KRAFT_TORTURE")
        .ok()
        .and_then(|text| text.parse().ok());
    let bench = match long {
        // A kill and the checks after it take a few seconds at most.
        Some(kills) => bench.limit(limit::USUAL + Duration::from_secs(30) * kills as u32),
        None => bench,
    };
    let begun = Instant::now();
    bench.ok(["pkg", "pull", &names[0]]);
    enlarge(&bench);
    let mut dice = Dice::new();
    let seed = dice.0;
    let mut kills = 0;
    let is_enough = |kills| match long {
        Some(most) => kills >= most,
        None => kills >= KILLS || (kills >= FEWEST && begun.elapsed() > SHORT),
    };
    while !is_enough(kills) {
        let name = &names[dice.throw(names.len() as u64) as usize];
        let root = &roots[dice.throw(roots.len() as u64) as usize];
        let args: &[&str] = match dice.throw(6) {
            0..3 => &["pkg", "pull", name],
            3 => &[
                "pkg",
                "--name",
                "own/image",
                "--kernel",
                kernel,
                "--rootfs",
                root,
            ],
            4 => &["store", "gc"],
            _ => &["pkg", "rm", name],
        };
        let mut child = start(&bench, args);
        std::thread::sleep(Duration::from_micros(dice.throw(90_000)));
        // The process has already ended.
        kills += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        // As other tools read it.
        let list = std::fs::read(bench.runtime().join("images/index.json")).unwrap();
        let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
        assert!(list["manifests"].is_array(), "{args:?}");
        let verified = bench.kraft(["store", "verify"]);
        assert_eq!(
            verified.code,
            Some(0),
            "seed {seed}, {kills} kills, {args:?}\n{verified:?}"
        );
        // The next try is not hindered by what the dead one left.
        if kills % 5 == 0 {
            bench.ok(["pkg", "pull", name]);
            let _ = package(&bench, "own/image", root).success();
        }
    }
    bench.ok(["store", "gc"]);
    let _ = bench.kraft(["store", "verify"]).success();
    for name in &names {
        bench.ok(["pkg", "pull", name]);
    }
    let _ = bench.kraft(["store", "verify"]).success();
}
