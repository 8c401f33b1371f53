//! What commands that touch one image cost in a store of 10 000 images against one of 100, and what
//! `store verify` costs against `sha256sum` of every blob; each pair alternating in one run.
//!
//! The stores are written as files, from an image that kraft packaged. Nothing here fails because of
//! a number.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kraft_e2e::guest::mini;
use kraft_e2e::harness::Bench;
use kraft_e2e::measure::Cost;
use serde_json::Value;
use sha2::{Digest, Sha256};

const FEW: usize = 100;
const MANY: usize = 10_000;
const ROUNDS: usize = 7;
/// The label that differs from image to image, in the image that the others are made from.
const MARK: &str = "number-00000";

fn main() {
    println!("{:<44} {:>9} {:>9} {:>7}", "measured", "ms", "ms", "ratio");
    let (few, many) = (Store::with(FEW), Store::with(MANY));
    let title = |what: &str| format!("{what}: {MANY} | {FEW} images");
    compare(&title("pkg ls"), |_| many.ls(&[]), |_| few.ls(&[]));
    let none = ["--plat", "xen"];
    compare(
        &title("pkg ls, no row"),
        |_| many.ls(&none),
        |_| few.ls(&none),
    );
    compare(
        &title("pkg tag"),
        |round| many.tag(round),
        |round| few.tag(round),
    );
    compare(
        &title("pkg rm"),
        |round| many.remove(round),
        |round| few.remove(round),
    );
    compare(
        &title("pkg"),
        |round| many.package(round),
        |round| few.package(round),
    );
    compare(
        &format!("store verify of {MANY} images | sha256sum"),
        |_| Cost::of(many.bench.command(["store", "verify"]), &[]),
        |_| Cost::of(many.sums(), &[]),
    );
}

struct Store {
    bench: Bench,
}

impl Store {
    fn with(images: usize) -> Self {
        let bench = Bench::new();
        bench.ok(package("example.test/apps/number00000:v1", MARK));
        let dir = bench.runtime().join("images");
        let index = fs::read(dir.join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let first = index["manifests"][0].to_string();
        let documents = documents(&dir, &digest_of(&index["manifests"][0]));
        let mut entries = vec![first.clone()];
        for number in 1..images {
            let mut entry = first.replace("number00000", &format!("number{number:05}"));
            let mut renamed: Vec<(String, String)> = Vec::new();
            for (digest, text) in &documents {
                let mut text = text.replace(MARK, &format!("number-{number:05}"));
                text = text.replace("number00000", &format!("number{number:05}"));
                for (old, new) in &renamed {
                    text = text.replace(old, new);
                }
                let new = hex(text.as_bytes());
                fs::write(dir.join("blobs/sha256").join(&new), text).unwrap();
                entry = entry.replace(digest, &new);
                renamed.push((digest.clone(), new));
            }
            entries.push(entry);
        }
        let text = format!(
            "{{\"schemaVersion\":2,\"mediaType\":{},\"manifests\":[{}]}}",
            index["mediaType"],
            entries.join(",")
        );
        fs::write(dir.join("index.json"), text).unwrap();
        // The listing is kept once the store is older than the precision of times of its file system.
        std::thread::sleep(Duration::from_secs(5));
        let rows = bench.ok(["pkg", "ls", "--apps", "--local"]);
        assert_eq!(rows.matches("example.test/").count(), images);
        Self { bench }
    }

    fn ls(&self, filter: &[&str]) -> Cost {
        let args = [&["pkg", "ls", "--apps", "--local"], filter].concat();
        Cost::of(self.bench.command(args), &[])
    }

    fn tag(&self, round: usize) -> Cost {
        let name = format!("example.test/other:v{round}");
        let args = ["pkg", "tag", "example.test/apps/number00007:v1", &name];
        Cost::of(self.bench.command(args), &[])
    }

    fn remove(&self, round: usize) -> Cost {
        let name = format!("example.test/apps/number{:05}:v1", 20 + round);
        Cost::of(self.bench.command(["pkg", "rm", &name]), &[])
    }

    fn package(&self, round: usize) -> Cost {
        let name = format!("example.test/new:v{round}");
        let args = package(&name, &format!("round-{round}"));
        Cost::of(self.bench.command(args), &[])
    }

    fn sums(&self) -> Command {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "find . -type f -print0 | xargs -0 sha256sum > ../sums",
        ]);
        command.current_dir(self.bench.runtime().join("images/blobs/sha256"));
        command
    }
}

fn package(name: &str, label: &str) -> Vec<String> {
    let kernel = mini("x86_64").to_str().unwrap().to_owned();
    let label = format!("mark={label}");
    let args = ["pkg", "--name", name, "-k", &kernel, "-l", &label];
    let args = [&args[..], &["-m", "x86_64", "-p", "qemu"]].concat();
    args.into_iter().map(str::to_owned).collect()
}

/// Returns the documents that a digest leads to, itself last, with their digests.
fn documents(dir: &Path, digest: &str) -> Vec<(String, String)> {
    let path: PathBuf = dir.join("blobs/sha256").join(digest);
    let Ok(text) = fs::read_to_string(&path) else {
        return Vec::new();
    };
    let document: Value = serde_json::from_str(&text).unwrap();
    let below = document["manifests"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut all: Vec<(String, String)> = Vec::new();
    for child in below.iter().chain([&document["config"]]) {
        if child.is_object() && child["digest"].is_string() {
            all.extend(documents(dir, &digest_of(child)));
        }
    }
    all.push((digest.to_owned(), text));
    all
}

fn digest_of(descriptor: &Value) -> String {
    let digest = descriptor["digest"].as_str().unwrap();
    digest.trim_start_matches("sha256:").to_owned()
}

fn hex(bytes: &[u8]) -> String {
    let sum = Sha256::digest(bytes);
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs both sides in turn; the first round fills the caches and does not count.
fn compare(title: &str, ours: impl Fn(usize) -> Cost, theirs: impl Fn(usize) -> Cost) {
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let costs = (ours(round), theirs(round));
        if round > 0 {
            one.push(costs.0);
            other.push(costs.1);
        }
    }
    let (one, other) = (Cost::typical(one), Cost::typical(other));
    println!(
        "{title:<44} {:>9.1} {:>9.1} {:>7.2}",
        one.millis,
        other.millis,
        one.millis / other.millis
    );
}
