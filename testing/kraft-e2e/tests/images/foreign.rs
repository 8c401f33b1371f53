//! Images as other programs write them: KraftKit's wrong sizes, indexes inside indexes, variants,
//! nulls, configurations that make no sense.

use std::path::Path;
use std::sync::Arc;

use kraft_e2e::guest::mini;
use kraft_e2e::harness::{Bench, without_runtime};
use kraft_e2e::hostile::{Act, Hostile, INDEX, Image, MANIFEST, tar};
use kraft_e2e::registry::{Registry, digest_of};
use serde_json::{Value, json};

/// What is said about sizes that are stated wrongly.
const WRONG_SIZES: &str = "wrong sizes";

fn serve(image: &Image) -> Hostile {
    Hostile::start(image.clone(), Arc::new(|_| Act::Serve))
}

/// Makes an image of one manifest with a kernel.
fn unikernel(os: &str, arch: &str) -> Image {
    let guest = if arch == "arm64" { "arm64" } else { "x86_64" };
    let kernel = std::fs::read(mini(guest)).unwrap();
    let layer = tar("unikraft/bin/kernel", b'0', "", &kernel);
    Image::with(
        &[layer],
        |manifest| manifest["config"]["platform"] = json!({"os": os, "architecture": arch}),
        |config| {
            config["os"] = json!(os);
            config["architecture"] = json!(arch);
        },
    )
}

/// Makes an image of one manifest for Linux, with one file.
fn base(file: &str, change_config: impl FnOnce(&mut Value)) -> Image {
    let image = Image::with(
        &[tar(file, b'0', "", b"content")],
        |manifest| {
            let _ = manifest["config"]
                .as_object_mut()
                .unwrap()
                .remove("platform");
        },
        |config| {
            config["os"] = json!("linux");
            config["architecture"] = json!("amd64");
            change_config(config);
        },
    );
    Image {
        manifest: image.manifest.clone(),
        layers: image.layers.clone(),
        ..indexed(&[&image], &[entry(&image, "linux", "amd64")])
    }
}

/// Returns the entry of an index for an image's manifest.
fn entry(image: &Image, os: &str, arch: &str) -> Value {
    json!({"mediaType": MANIFEST, "digest": image.manifest,
        "size": image.blobs[&image.manifest].1.len(),
        "annotations": {"sh.kraftkit.version": "0.9.4"},
        "platform": {"os": os, "architecture": arch}})
}

/// Makes an image of these entries, whose blobs are those of some images.
fn indexed(images: &[&Image], entries: &[Value]) -> Image {
    let mut whole = Image::default();
    for image in images {
        whole.blobs.extend(image.blobs.clone());
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries,
        "annotations": {"sh.kraftkit.version": "0.9.4"}});
    whole.set_index(index.to_string().into_bytes());
    whole
}

/// The index of several targets as KraftKit writes it: all manifests but the last have "32 bytes".
fn of_kraftkit(targets: &[(&str, &str)]) -> Image {
    let images: Vec<Image> = targets
        .iter()
        .map(|(os, arch)| unikernel(os, arch))
        .collect();
    let mut entries: Vec<Value> = targets
        .iter()
        .zip(&images)
        .map(|((os, arch), image)| entry(image, os, arch))
        .collect();
    let merged = entries.len() - 1;
    for entry in &mut entries[..merged] {
        entry["size"] = json!(32);
    }
    indexed(&images.iter().collect::<Vec<_>>(), &entries)
}

/// Returns the rows of `pkg ls` for an image: the platform and whether it exists locally.
fn rows(bench: &Bench, name: &str) -> Vec<String> {
    let rows = bench.json(["pkg", "info", name, "-o", "json"]);
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
            let here = if row["size"].is_null() { " absent" } else { "" };
            format!("{}/{}{here}", text("platform"), text("architecture"))
        })
        .collect()
}

fn index_of(bench: &Bench, name: &str) -> String {
    digest_of(bench.ok(["pkg", "inspect", "--raw", name]).as_bytes())
}

fn assert_boots(bench: &Bench, args: &[&str]) {
    let console = bench.ok([&["run", "--rm", "-W", "--pull", "never"], args].concat());
    assert!(console.contains("arg 1 \"packaged\""), "{console}");
}

/// Lays an image out as KraftKit keeps it.
fn in_kraftkits_store(runtime: &Path, image: &Image, tag: &str) {
    let digests = runtime.join("oci/digests/sha256");
    let tags = runtime.join("oci/indexes/unikraft.org/old");
    std::fs::create_dir_all(&digests).unwrap();
    std::fs::create_dir_all(&tags).unwrap();
    for (digest, (_, bytes)) in &image.blobs {
        std::fs::write(digests.join(digest.strip_prefix("sha256:").unwrap()), bytes).unwrap();
    }
    let hex = image.index.strip_prefix("sha256:").unwrap();
    std::os::unix::fs::symlink(digests.join(hex), tags.join(tag)).unwrap();
}

#[test]
fn sizes_that_kraftkit_states_wrongly_do_not_matter() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    for targets in [
        [("qemu", "x86_64"), ("fc", "x86_64")],
        [("qemu", "x86_64"), ("qemu", "arm64")],
        [("fc", "arm64"), ("qemu", "x86_64")],
    ] {
        let image = of_kraftkit(&targets);
        let origin = serve(&image);
        let bench = Bench::new();
        let name = origin.name("others/app:v1");
        let outcome = bench.kraft(["pkg", "pull", "--all", &name]).success();
        assert_eq!(
            outcome.stderr.matches(WRONG_SIZES).count(),
            1,
            "{}",
            outcome.stderr
        );
        assert_eq!(index_of(&bench, &name), image.index);
        let mut all = rows(&bench, &name);
        all.sort();
        let mut expected = targets.map(|(os, arch)| format!("{os}/{arch}"));
        expected.sort();
        assert_eq!(all, expected);
        let outcome = bench.kraft(["run", "--rm", "-W", &name]).success();
        assert!(!outcome.stderr.contains(WRONG_SIZES), "{}", outcome.stderr);
        // What is shown is what there is.
        let shown = bench.json(["pkg", "inspect", &name]);
        for manifest in shown["manifests"].as_array().unwrap() {
            let bytes = &image.blobs[manifest["digest"].as_str().unwrap()].1;
            assert_eq!(manifest["size"], bytes.len());
        }
        bench.ok(["store", "verify"]);
        bench.ok(["store", "gc"]);

        let there = registry.name(&format!("round/{}-{}:v1", targets[0].1, targets[1].0));
        bench.ok(["pkg", "tag", &name, &there]);
        bench.ok(["pkg", "push", &there]);
        bench.ok(["pkg", "save", &there, "-o", "saved.tar"]);
        bench.ok(["pkg", "rm", &name, &there]);
        let by_digest = format!("{}@{}", there.strip_suffix(":v1").unwrap(), image.index);
        bench.ok(["pkg", "pull", &by_digest]);
        assert_boots(&bench, &[&by_digest]);
        bench.ok(["pkg", "rm", &by_digest]);
        bench.ok(["pkg", "pull", "--all", &there]);
        assert_eq!(index_of(&bench, &there), image.index);
        assert_boots(&bench, &[&there]);
        bench.ok(["pkg", "rm", &there]);
        let outcome = bench.kraft(["pkg", "load", "-i", "saved.tar"]).success();
        assert!(outcome.stderr.contains(WRONG_SIZES), "{}", outcome.stderr);
        assert_boots(&bench, &[&there]);

        // Newly written documents state the right ones.
        let kernel = mini("arm64");
        let kernel = kernel.to_str().unwrap();
        let merge = ["--strategy", "merge", "-m", "arm64", "-p", "xen"];
        bench.ok([&["pkg", "--name", &there, "-k", kernel], &merge[..]].concat());
        let merged: Value =
            serde_json::from_str(&bench.ok(["pkg", "inspect", "--raw", &there])).unwrap();
        for manifest in merged["manifests"].as_array().unwrap() {
            assert_ne!(manifest["size"], 32, "{merged}");
        }
        bench.ok(["store", "verify"]);
    }
}

#[test]
fn sizes_that_kraftkit_states_wrongly_do_not_matter_in_its_own_store() {
    let bench = Bench::new();
    let image = of_kraftkit(&[("qemu", "x86_64"), ("fc", "x86_64")]);
    in_kraftkits_store(bench.runtime(), &image, "v1");
    let outcome = bench.kraft(["pkg", "ls", "--apps"]).success();
    assert!(
        outcome.stderr.contains("0 left behind"),
        "{}",
        outcome.stderr
    );
    assert_eq!(index_of(&bench, "old:v1"), image.index);
    assert_eq!(rows(&bench, "old:v1").len(), 2);
    assert_boots(&bench, &["old:v1"]);
    bench.ok(["store", "verify"]);
}

/// Sets the time of an image in KraftKit's store.
fn age(runtime: &Path, tag: &str, time: &str) {
    let status = std::process::Command::new("touch")
        .args(["--no-dereference", "--date", time])
        .arg(runtime.join("oci/indexes/unikraft.org/old").join(tag))
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn images_that_kraftkit_adds_later_are_imported_on_request() {
    let bench = Bench::new();
    let image = of_kraftkit(&[("qemu", "x86_64"), ("fc", "x86_64")]);
    in_kraftkits_store(bench.runtime(), &image, "v1");
    age(bench.runtime(), "v1", "2024-05-06T07:08:09Z");
    let first = bench.kraft(["pkg", "ls", "--apps", "-o", "json"]).success();
    assert!(first.stderr.contains("1 imported"), "{}", first.stderr);
    let rows = without_runtime(serde_json::from_str(&first.stdout).unwrap());
    assert_eq!(rows[0]["pulled"], "2024-05-06T07:08:09Z");

    let late = unikernel("qemu", "x86_64");
    in_kraftkits_store(bench.runtime(), &late, "v2");
    let command = "kraft store import-kraftkit";
    for args in [
        &["run", "--rm", "-W", "--offline", "old:v2"][..],
        &["run", "--rm", "-W", "--pull", "never", "old:v2"],
        &["pkg", "inspect", "old:v2"],
        &["pkg", "push", "unikraft.org/old:v2"],
    ] {
        let outcome = bench.kraft(args);
        assert_ne!(outcome.code, Some(0));
        assert!(
            outcome.stderr.contains(command),
            "{args:?}: {}",
            outcome.stderr
        );
    }
    let outcome = bench.kraft(["pkg", "inspect", "old:v3"]).exits(3);
    assert!(!outcome.stderr.contains(command), "{}", outcome.stderr);

    let import = ["store", "import-kraftkit"];
    assert_eq!(bench.ok(import), "unikraft.org/old:v2\n");
    assert_boots(&bench, &["old:v2"]);
    assert_eq!(bench.ok(import), "");
    // Of the same name another image, one that lacks a blob, and one that is none.
    bench.ok(["pkg", "tag", "old:v1", "old:v2"]);
    let mut lacking = unikernel("xen", "x86_64");
    let config: Value = serde_json::from_slice(&lacking.blobs[&lacking.manifest].1).unwrap();
    let _ = lacking
        .blobs
        .remove(config["config"]["digest"].as_str().unwrap());
    in_kraftkits_store(bench.runtime(), &lacking, "half");
    std::fs::write(
        bench.runtime().join("oci/indexes/unikraft.org/old/odd"),
        "{",
    )
    .unwrap();
    in_kraftkits_store(bench.runtime(), &unikernel("qemu", "arm64"), "v4");
    let outcome = bench.kraft(import).exits(1);
    assert_eq!(outcome.stdout, "unikraft.org/old:v4\n");
    for words in [
        "`unikraft.org/old/v2` was left behind: another image is already named `unikraft.org/old:v2`",
        "`unikraft.org/old/half` was left behind: KraftKit does not have all of it",
        "`unikraft.org/old/odd` was left behind: ",
        "1 imported",
        "3 left behind",
    ] {
        assert!(
            outcome.stderr.contains(words),
            "{words}: {}",
            outcome.stderr
        );
    }
    let outcome = bench
        .kraft(["store", "import-kraftkit", "--replace"])
        .exits(1);
    assert_eq!(outcome.stdout, "unikraft.org/old:v2\n");
    assert_eq!(index_of(&bench, "old:v2"), late.index);
    bench.ok(["store", "verify"]);

    let empty = Bench::new();
    let outcome = empty.kraft(import).exits(3);
    assert!(
        outcome.stderr.contains("--runtime-dir"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn many_images_of_kraftkit_are_imported_together() {
    let bench = Bench::new();
    let one = unikernel("qemu", "x86_64");
    for number in 0..250 {
        let mut entry = entry(&one, "qemu", "x86_64");
        entry["annotations"]["number"] = json!(number.to_string());
        let image = indexed(&[&one], &[entry]);
        in_kraftkits_store(bench.runtime(), &image, &format!("v{number}"));
    }
    let outcome = bench.kraft(["store", "import-kraftkit"]).success();
    assert_eq!(outcome.stdout.lines().count(), 250);
    assert!(
        outcome.stderr.contains("250 imported"),
        "{}",
        outcome.stderr
    );
    let rows = bench.packages(&["--apps"]);
    assert_eq!(rows.as_array().unwrap().len(), 250);
    bench.ok(["store", "verify"]);
    bench.ok(["store", "gc"]);
    assert_boots(&bench, &["old:v77"]);
}

#[test]
fn a_wrong_size_of_a_layer_is_rejected_and_removes_no_blob() {
    let good = unikernel("qemu", "x86_64");
    let mut lying = Image::with(
        &[good.blobs[&good.layers[0]].1.clone()],
        |manifest| manifest["layers"][0]["size"] = json!(10),
        |_| {},
    );
    let bench = Bench::new();
    let (one, other) = (serve(&good), serve(&lying));
    let name = one.name("good:v1");
    bench.ok(["pkg", "pull", &name]);
    let outcome = bench
        .kraft(["pkg", "pull", &other.name("lying:v1")])
        .exits(4);
    assert!(
        outcome.stderr.contains("the image states 10"),
        "{}",
        outcome.stderr
    );
    bench.ok(["store", "verify"]);
    assert_boots(&bench, &[&name]);
    // Of what is not here, no more is taken than is stated.
    lying.blobs.retain(|digest, _| *digest != lying.layers[0]);
    let empty = Bench::new();
    let _ = empty
        .kraft(["pkg", "pull", &serve(&lying).name("lying:v1")])
        .exits(3);
}

#[test]
fn an_index_inside_an_index_is_pulled_listed_run_pushed_and_carried() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let x86 = unikernel("qemu", "x86_64");
    let arm = unikernel("qemu", "arm64");
    let mut attestation = entry(&arm, "unknown", "unknown");
    attestation["digest"] = json!(digest_of(b"never fetched"));
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let inner = indexed(&[&x86], &[attestation, entry(&x86, "qemu", "x86_64")]);
    let to_inner = json!({"mediaType": INDEX, "digest": inner.index, "size": 7});
    let mut anonymous = entry(&x86, "", "");
    let _ = anonymous.as_object_mut().unwrap().remove("platform");
    let mut typeless = to_inner.clone();
    typeless["mediaType"] = Value::Null;
    for (entries, expected) in [
        (vec![to_inner.clone()], vec!["qemu/x86_64"]),
        (vec![typeless], vec!["qemu/x86_64"]),
        (vec![anonymous], vec!["qemu/x86_64"]),
        (
            vec![entry(&arm, "qemu", "arm64"), to_inner],
            vec!["qemu/arm64", "qemu/x86_64"],
        ),
    ] {
        let image = indexed(&[&inner, &x86, &arm], &entries);
        let bench = Bench::new();
        let name = serve(&image).name("nested:v1");
        bench.ok(["pkg", "pull", "--all", &name]);
        assert_eq!(rows(&bench, &name), expected);
        let shown = bench.json(["pkg", "inspect", &name]);
        let here = shown["manifests"].as_array().unwrap().iter();
        assert_eq!(
            here.filter(|one| one["here"] == true).count(),
            expected.len()
        );
        bench.ok(["store", "verify"]);
        bench.ok(["store", "gc"]);
        assert_boots(&bench, &["-m", "x86_64", &name]);
        // The attestation is nowhere, and a registry takes no index of what it does not have.
        if expected.len() == 1
            && entries[0].get("platform").is_none()
            && entries[0]["mediaType"] == MANIFEST
        {
            let there = registry.name("nested:v1");
            bench.ok(["pkg", "tag", &name, &there]);
            bench.ok(["pkg", "push", &there]);
        }
        bench.ok(["pkg", "save", &name, "-o", "saved"]);
        bench.ok(["pkg", "rm", &name]);
        let loaded = bench.ok(["pkg", "load", "-i", "saved"]);
        assert_eq!(loaded.trim(), name);
        assert_eq!(rows(&bench, &name), expected);
        assert_boots(&bench, &["-m", "x86_64", &name]);
    }
    // Whole ones go through a registry, what is inside first.
    let inner = indexed(&[&x86], &[entry(&x86, "qemu", "x86_64")]);
    let to_inner = json!({"mediaType": INDEX, "digest": inner.index, "size": 7});
    let image = indexed(&[&inner], &[to_inner]);
    let bench = Bench::new();
    let name = serve(&image).name("nested:v1");
    let there = registry.name("deep:v1");
    bench.ok(["pkg", "pull", &name]);
    bench.ok(["pkg", "tag", &name, &there]);
    bench.ok(["pkg", "push", &there]);
    bench.ok(["pkg", "rm", &name, &there]);
    assert_boots_pulled(&bench, &there);
    assert_eq!(index_of(&bench, &there), image.index);
}

fn assert_boots_pulled(bench: &Bench, name: &str) {
    let console = bench.ok(["run", "--rm", "-W", name]);
    assert!(console.contains("arg 1 \"packaged\""), "{console}");
}

/// Builds a root filesystem of an image of containers; returns the names in it.
fn root_of(bench: &Bench, name: &str, more: &[&str]) -> String {
    let source = format!("oci://{name}");
    bench.ok([&["rootfs", "build", &source, "-o", "out.cpio"], more].concat());
    bench.ok(["rootfs", "ls", "out.cpio"])
}

#[test]
fn a_base_image_is_found_in_nested_indexes_and_its_default_variant_chosen() {
    let (plain, v2, v3) = (
        base("plain", |_| {}),
        base("v2", |_| {}),
        base("v3", |_| {}),
    );
    let variant = |image: &Image, variant: &str| {
        let mut entry = entry(image, "linux", "amd64");
        entry["platform"]["variant"] = json!(variant);
        entry
    };
    let mut anonymous = entry(&plain, "", "");
    let _ = anonymous.as_object_mut().unwrap().remove("platform");
    let inner = indexed(&[&plain], &[entry(&plain, "linux", "amd64")]);
    let mut to_inner = json!({"mediaType": INDEX, "digest": inner.index, "size": 1});
    let bare = to_inner.clone();
    to_inner["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let all = [&inner, &plain, &v2, &v3];
    for (entries, expected) in [
        (
            vec![variant(&v3, "v3"), variant(&v2, "v2"), variant(&plain, "")],
            "plain",
        ),
        (vec![variant(&plain, "v1"), variant(&v3, "v3")], "plain"),
        (vec![variant(&v3, "v3"), variant(&v2, "v2")], "v2"),
        (vec![to_inner, variant(&v3, "v3")], "plain"),
        (vec![bare], "plain"),
        (vec![anonymous], "plain"),
        (vec![entry(&plain, "linux", "x86_64")], "plain"),
        (
            vec![
                entry(&v2, "unknown", "unknown"),
                entry(&plain, "linux", "amd64"),
            ],
            "plain",
        ),
    ] {
        let image = indexed(&all, &entries);
        let bench = Bench::new();
        let name = serve(&image).name("base:v1");
        for time in ["pulled", "here"] {
            let names = root_of(&bench, &name, &["-m", "x86_64"]);
            assert!(names.contains(expected), "{time}: {names}\n{entries:?}");
            assert_eq!(
                names
                    .lines()
                    .filter(|line| line.ends_with(" v2") || line.ends_with(" v3"))
                    .count(),
                usize::from(expected == "v2"),
                "{time}: {names}"
            );
        }
        bench.ok(["store", "verify"]);
    }
}

#[test]
fn null_in_a_configuration_is_an_absent_value() {
    for change in [
        (|config| config["config"] = Value::Null) as fn(&mut Value),
        |config| config["rootfs"] = Value::Null,
        |config| config["config"] = json!({"User": null, "WorkingDir": null, "StopSignal": null}),
        |config| config["config"] = json!({"Env": [null], "Labels": {"a": null}, "Cmd": null}),
        |config| {
            for key in [
                "created",
                "author",
                "variant",
                "os.version",
                "os.features",
                "history",
            ] {
                config[key] = Value::Null;
            }
        },
    ] {
        let image = base("file", change);
        let bench = Bench::new();
        let name = serve(&image).name("null:v1");
        let names = root_of(&bench, &name, &["-m", "x86_64"]);
        assert!(names.contains("file"), "{names}");
        bench.ok(["store", "verify"]);
    }
}

/// Changes a configuration.
type Change = fn(&mut Value);

/// Changes after which no program can read a configuration, and what is said of it.
fn unreadable() -> [(&'static str, Change); 3] {
    let huge = |config: &mut Value| {
        for number in 0..6000 {
            config["config"]["Labels"][format!("k{number}")] = json!("v".repeat(1000));
        }
    };
    [
        ("4 MiB", huge),
        ("invalid type", |config| config["config"] = json!("text")),
        ("invalid type", |config| config["rootfs"] = json!([1])),
    ]
}

#[test]
fn an_image_with_an_invalid_configuration_is_rejected_and_not_kept() {
    for (words, change) in unreadable() {
        let kernel = tar("unikraft/bin/kernel", b'0', "", b"not read");
        for (image, command) in [
            (base("file", change), "rootfs"),
            (Image::with(&[kernel], |_| {}, change), "pkg"),
        ] {
            let bench = Bench::new();
            let name = serve(&image).name("odd:v1");
            let source = format!("oci://{name}");
            let outcome = match command {
                "rootfs" => bench.kraft(["rootfs", "build", &source, "-o", "out.cpio"]),
                _ => bench.kraft(["pkg", "pull", &name]),
            };
            let outcome = outcome.exits(4);
            assert!(outcome.stderr.contains("hint: "), "{}", outcome.stderr);
            assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
            bench.ok(["store", "verify"]);
            let _ = bench.kraft(["pkg", "inspect", &name]).exits(3);
        }
    }
}

#[test]
fn an_invalid_image_is_reported_and_hides_no_other() {
    for (words, change) in unreadable() {
        let odd = base("file", change);
        let bench = Bench::new();
        let good = unikernel("qemu", "x86_64");
        let name = serve(&good).name("good:v1");
        bench.ok(["pkg", "pull", &name]);
        // As an older program left it.
        let images = bench.runtime().join("images");
        for (digest, (_, bytes)) in &odd.blobs {
            let hex = digest.strip_prefix("sha256:").unwrap();
            std::fs::write(images.join("blobs/sha256").join(hex), bytes).unwrap();
        }
        let path = images.join("index.json");
        let mut names: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for (tag, digest, media_type) in [
            ("odd:index", &odd.index, INDEX),
            ("odd:manifest", &odd.manifest, MANIFEST),
        ] {
            let name = format!("example.test/{tag}");
            let size = odd.blobs[digest].1.len();
            names["manifests"].as_array_mut().unwrap().push(json!({
                "mediaType": media_type, "digest": digest, "size": size,
                "annotations": {"org.opencontainers.image.ref.name": name}}));
        }
        std::fs::write(&path, names.to_string()).unwrap();
        let layer = images
            .join("blobs/sha256")
            .join(&good.layers[0]["sha256:".len()..]);
        let bytes = std::fs::read(&layer).unwrap();
        std::fs::write(&layer, vec![b'x'; bytes.len()]).unwrap();

        let outcome = bench.kraft(["store", "verify", "-o", "json"]).exits(1);
        let faults: Value = serde_json::from_str(&outcome.stdout).unwrap();
        let faults = faults.as_array().unwrap();
        let of = |name: &str| {
            let names = |fault: &&Value| fault["images"].to_string().contains(name);
            let found = faults
                .iter()
                .find(names)
                .unwrap_or_else(|| panic!("{name}: {faults:?}"));
            found["damage"].as_str().unwrap().to_owned()
        };
        assert!(of("odd:index").contains(words), "{faults:?}");
        assert!(of("odd:manifest").contains(words), "{faults:?}");
        assert!(of("good:v1").contains("digest"), "{faults:?}");
        assert!(
            outcome.stderr.contains("kraft pkg rm"),
            "{}",
            outcome.stderr
        );

        let outcome = bench.kraft(["pkg", "ls", "--apps"]).success();
        assert!(outcome.stdout.contains("good"), "{}", outcome.stdout);
        bench.ok(["store", "gc"]);
        bench.ok(["store", "du"]);
        bench.ok([
            "pkg",
            "rm",
            "example.test/odd:index",
            "example.test/odd:manifest",
        ]);
        bench.ok(["store", "verify", "--repair"]);
        assert_boots(&bench, &[&name]);
    }
}
