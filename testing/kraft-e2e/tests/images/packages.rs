//! What a package is, to the byte: as KraftKit writes it, the same wherever it is made, and what
//! KraftKit itself left is taken over.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use kraft_e2e::guest::mini;
use kraft_e2e::harness::{Bench, Outcome, without_runtime};
use kraft_e2e::hostile::{Image, tar};
use kraft_e2e::registry::{Registry, digest_of};
use serde_json::{Value, json};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Writes the kernel of the test vectors, and a root directory with what their archive holds.
fn vectors(dir: &Path) -> (String, String) {
    std::fs::create_dir_all(dir.join("root/a")).unwrap();
    std::fs::write(dir.join("root/a/hello"), "hi\n").unwrap();
    std::os::unix::fs::symlink("hello", dir.join("root/a/link")).unwrap();
    let kernel = dir.join("kernel");
    std::fs::write(&kernel, "KERNEL\n").unwrap();
    std::fs::set_permissions(&kernel, std::fs::Permissions::from_mode(0o755)).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    (text(&kernel), text(&dir.join("root")))
}

/// Packages for a platform and returns the digest of the index.
fn package(bench: &Bench, name: &str, pair: (&str, &str), more: &[&str]) -> String {
    let mut args = vec!["pkg", "--name", name, "--plat", pair.0, "--arch", pair.1];
    args.extend(more);
    let said = bench.ok(args);
    said.trim().rsplit_once('@').unwrap().1.to_owned()
}

fn raw(bench: &Bench, name: &str) -> Vec<u8> {
    let output = bench.command(["pkg", "inspect", "--raw", name]).output();
    output.unwrap().stdout
}

/// Returns a document out of the store, after a look at its digest.
fn blob(bench: &Bench, digest: &str) -> Vec<u8> {
    let hex = digest.strip_prefix("sha256:").unwrap();
    let path = bench.runtime().join("images/blobs/sha256").join(hex);
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(digest_of(&bytes), digest);
    bytes
}

/// The fields of a manifest's annotations, sorted as Go sorts them.
fn annotations(name: &str, repository: &str, created: &str) -> Value {
    json!({
        "io.containerd.image.name": name,
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.ref.name": repository,
        "org.unikraft.image.name": repository,
        "sh.kraftkit.version": env!("CARGO_PKG_VERSION"),
    })
}

fn index_annotations(name: &str, repository: &str) -> Value {
    json!({
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": repository,
        "sh.kraftkit.version": env!("CARGO_PKG_VERSION"),
    })
}

/// Builds an entry of the index, and every blob below it, by the rules of the format.
fn expected(
    bench: &Bench,
    (name, created): (&str, &str),
    platform: &Value,
    layers: &[(&str, &str)],
) -> Value {
    let repository = name.rsplit_once(':').unwrap().0;
    let digests: Vec<&str> = layers.iter().map(|(digest, _)| *digest).collect();
    let mut config = platform.clone();
    config["config"] = json!({"Env": ["A=1"], "Cmd": ["-c", "a&b"]});
    config["rootfs"] = json!({"type": "layers", "diff_ids": digests});
    let config = config.to_string().replace("a&b", "a\\u0026b");
    let config_digest = digest_of(config.as_bytes());
    assert_eq!(blob(bench, &config_digest), config.as_bytes());
    let layers: Vec<Value> = layers
        .iter()
        .map(|(digest, role)| {
            let key = match *role {
                "kernel" => "org.unikraft.kernel.image",
                _ => "org.unikraft.kernel.initrd",
            };
            let path = format!("/unikraft/bin/{role}");
            json!({"mediaType": LAYER, "digest": digest, "size": 2048, "annotations": {key: path}})
        })
        .collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": CONFIG, "digest": config_digest, "size": config.len(),
            "platform": platform,
        },
        "layers": layers,
        "annotations": annotations(name, repository, created),
    });
    let manifest = manifest.to_string();
    let digest = digest_of(manifest.as_bytes());
    assert_eq!(String::from_utf8(blob(bench, &digest)).unwrap(), manifest);
    json!({
        "mediaType": MANIFEST, "digest": digest, "size": manifest.len(),
        "annotations": annotations(name, repository, created), "platform": platform,
    })
}

/// The layers of the test vectors.
const KERNEL: &str = "sha256:67ca3871fc380b31798fd54e83f58b56cf118f4cac56ae1213bef1be1480d9ac";
const INITRD: &str = "sha256:a8238fcbfafc8dc65444a8ead1b9bd1844da94ed7b5c9630eb9d1595dde08829";

fn qemu() -> Value {
    json!({"architecture": "x86_64", "os": "qemu", "os.features": [
        "CONFIG_ARCH_X86_64=y", "CONFIG_KVM_VMM_QEMU=y", "CONFIG_PLAT_KVM=y"]})
}

#[test]
fn an_index_of_one_platform_is_what_kraftkit_writes() {
    let bench = Bench::new();
    let (kernel, root) = vectors(bench.path());
    let name = "unikraft.org/t:latest";
    let digest = package(
        &bench,
        "unikraft.org/t",
        ("qemu", "x86_64"),
        &[
            "-k",
            &kernel,
            "--rootfs",
            &root,
            "-a",
            "-c 'a&b'",
            "-e",
            "A=1",
            "--no-linux",
        ],
    );
    let entry = expected(
        &bench,
        (name, "1970-01-01T00:00:00Z"),
        &qemu(),
        &[(KERNEL, "kernel"), (INITRD, "initrd")],
    );
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry],
        "annotations": index_annotations(name, "unikraft.org/t"),
    });
    assert_eq!(
        String::from_utf8(raw(&bench, name)).unwrap(),
        index.to_string()
    );
    assert_eq!(digest_of(&raw(&bench, name)), digest);
}

#[test]
fn an_index_has_all_platforms_and_manifests_for_container_engines() {
    let bench = Bench::new().env("SOURCE_DATE_EPOCH", "1704067200");
    let (kernel, _) = vectors(bench.path());
    let name = "unikraft.org/many:v1";
    let more = [
        "-k",
        &kernel,
        "-a",
        "-c 'a&b'",
        "-e",
        "A=1",
        "--strategy",
        "merge",
    ];
    for pair in [("qemu", "x86_64"), ("fc", "x86_64"), ("qemu", "arm64")] {
        package(&bench, name, pair, &more);
    }
    let fc = json!({"architecture": "x86_64", "os": "fc", "os.features": [
        "CONFIG_ARCH_X86_64=y", "CONFIG_KVM_VMM_FIRECRACKER=y", "CONFIG_PLAT_KVM=y"]});
    let arm = json!({"architecture": "arm64", "os": "qemu", "os.features": [
        "CONFIG_ARCH_ARM_64=y", "CONFIG_KVM_VMM_QEMU=y", "CONFIG_PLAT_KVM=y"]});
    let index: Value = serde_json::from_slice(&raw(&bench, name)).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    for (entry, platform) in entries.iter().zip([qemu(), fc, arm]) {
        let expected = expected(
            &bench,
            (name, "2024-01-01T00:00:00Z"),
            &platform,
            &[(KERNEL, "kernel")],
        );
        assert_eq!(entry.to_string(), expected.to_string());
    }
    let sides: Vec<&Value> = entries[3..]
        .iter()
        .map(|entry| &entry["platform"])
        .collect();
    let side = |arch: &str| json!({"architecture": arch, "os": "linux"});
    assert_eq!(sides, [&side("amd64"), &side("arm64")]);
    for entry in &entries[3..] {
        // KraftKit passes over what does not carry its mark.
        assert!(entry["annotations"].get("sh.kraftkit.version").is_none());
        let manifest = blob(&bench, entry["digest"].as_str().unwrap());
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["layers"][0]["digest"], KERNEL);
    }
}

#[test]
fn merging_twice_changes_nothing() {
    let bench = Bench::new();
    let (kernel, root) = vectors(bench.path());
    let more = ["-k", &kernel, "--rootfs", &root, "--strategy", "merge"];
    let first = package(&bench, "a/b", ("qemu", "x86_64"), &more);
    assert_eq!(package(&bench, "a/b", ("qemu", "x86_64"), &more), first);
    package(&bench, "a/b", ("qemu", "arm64"), &more);
    let again = package(&bench, "a/b", ("qemu", "x86_64"), &more);
    assert_eq!(package(&bench, "a/b", ("qemu", "arm64"), &more), again);
}

#[test]
fn a_strategy_decides_about_an_image_that_exists() {
    let bench = Bench::new();
    let (kernel, _) = vectors(bench.path());
    let args = |arch, strategy| {
        let kernel = ["-k", kernel.as_str(), "-m", arch, "-p", "qemu"];
        [
            &["pkg", "--name", "a/b", "--strategy", strategy],
            &kernel[..],
        ]
        .concat()
    };
    let rows = || bench.packages(&[]).as_array().unwrap().len();
    bench.ok(args("x86_64", "abort"));
    for strategy in ["abort", "exit"] {
        let outcome = bench.kraft(args("arm64", strategy)).exits(1);
        assert!(
            outcome.stderr.contains("already exists"),
            "{}",
            outcome.stderr
        );
    }
    let outcome = bench.kraft(args("arm64", "prompt")).exits(2);
    assert!(outcome.stderr.contains("--strategy"), "{}", outcome.stderr);
    assert_eq!(rows(), 1);
    bench.ok(args("arm64", "merge"));
    assert_eq!(rows(), 2);
    bench.ok(args("arm64", "overwrite"));
    assert_eq!(rows(), 1);
}

#[test]
fn the_same_input_gives_the_same_digest_wherever_it_is_packaged() {
    let digest = |mask: u32, uid: u32, days: u64| {
        let bench = Bench::new();
        let dir = bench.path().join(format!("somewhere {uid}"));
        let (kernel, root) = vectors(&dir);
        if mask != 0 {
            for path in [&kernel, &format!("{root}/a/hello")] {
                let mode = std::fs::metadata(path).unwrap().permissions().mode() & !mask;
                let kept = mode & 0o111 | 0o644;
                let mode = if path == &kernel { mode } else { kept };
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
            }
        }
        let old = std::time::SystemTime::now() - std::time::Duration::from_hours(24 * days);
        for path in [&kernel, &format!("{root}/a/hello")] {
            std::fs::File::open(path)
                .unwrap()
                .set_modified(old)
                .unwrap();
        }
        let mut command = bench.command(["pkg", "--name", "a/b", "-k", &kernel]);
        command.args([
            "-m", "x86_64", "-p", "qemu", "--rootfs", &root, "-e", "B=2", "-e", "A=1",
        ]);
        if rustix::process::geteuid().is_root() && uid != 0 {
            std::os::unix::fs::chown(bench.path(), Some(uid), None).unwrap();
            std::os::unix::fs::chown(bench.runtime(), Some(uid), None).unwrap();
            std::os::unix::fs::chown(&dir, Some(uid), None).unwrap();
            std::os::unix::fs::chown(&kernel, Some(uid), None).unwrap();
            command.uid(uid);
        }
        let outcome = Outcome::of(&mut command).success();
        let stored = std::fs::read_dir(bench.runtime().join("images/blobs/sha256")).unwrap();
        let mut blobs: Vec<String> = stored
            .flatten()
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        blobs.sort();
        (outcome.stdout, blobs)
    };
    let first = digest(0, 0, 0);
    assert_eq!(digest(0o077, 65534, 400), first);
    for vector in [KERNEL, INITRD] {
        let hex = vector.strip_prefix("sha256:").unwrap();
        assert!(
            first.1.contains(&hex.to_owned()),
            "no {vector} in {:?}",
            first.1
        );
    }
}

/// Lays an image out as KraftKit keeps it, and returns the digest of its index and its manifest.
fn kraftkit_store(runtime: &Path) -> (String, String) {
    let kernel = std::fs::read(mini("x86_64")).unwrap();
    let image = Image::of_layers(&[tar("unikraft/bin/kernel", b'0', "", &kernel)]);
    let digests = runtime.join("oci/digests/sha256");
    let tags = runtime.join("oci/indexes/unikraft.org/old");
    std::fs::create_dir_all(&digests).unwrap();
    std::fs::create_dir_all(&tags).unwrap();
    for (digest, (_, bytes)) in &image.blobs {
        let hex = digest.strip_prefix("sha256:").unwrap();
        std::fs::write(digests.join(hex), bytes).unwrap();
    }
    let hex = image.index.strip_prefix("sha256:").unwrap();
    std::os::unix::fs::symlink(digests.join(hex), tags.join("v1")).unwrap();
    // One that was interrupted, and one whose blob was rewritten in place.
    std::os::unix::fs::symlink(digests.join("missing"), tags.join("half")).unwrap();
    std::fs::write(tags.join("broken"), "{").unwrap();
    (image.index, image.manifest)
}

#[test]
fn an_image_that_kraftkit_left_is_listed_run_pushed_and_merged_into() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let bench = Bench::new();
    let (index, manifest) = kraftkit_store(bench.runtime());
    let outcome = bench.kraft(["pkg", "ls", "-o", "json"]).success();
    assert!(outcome.stderr.contains("old/half"), "{}", outcome.stderr);
    let rows = without_runtime(serde_json::from_str(&outcome.stdout).unwrap());
    assert_eq!(rows[0]["name"], "unikraft.org/old");
    assert_eq!(rows[0]["index"], index.as_str());
    assert_eq!(rows[0]["manifest"], manifest.as_str());
    assert_eq!(rows.as_array().unwrap().len(), 1);
    let console = bench.ok(["run", "--rm", "-W", "old:v1"]);
    assert!(console.contains("arg 1 \"packaged\""), "{console}");
    let there = registry.name("old:v1");
    bench.ok(["pkg", "tag", "old:v1", &there]);
    bench.ok(["pkg", "push", &there]);
    bench.ok(["pkg", "rm", &there]);
    bench.ok(["pkg", "rm", "old:v1"]);
    // What was given up is not taken over again.
    assert_eq!(bench.packages(&[]), json!([]));
    bench.ok(["pkg", "pull", &there]);
    assert_eq!(digest_of(&raw(&bench, &there)), index);
    let arm = mini("arm64");
    let arm = arm.to_str().unwrap();
    package(
        &bench,
        &there,
        ("qemu", "arm64"),
        &["-k", arm, "--strategy", "merge"],
    );
    let rows = bench.packages(&[]);
    let manifests: Vec<&str> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["manifest"].as_str().unwrap())
        .collect();
    assert_eq!(manifests.len(), 2);
    assert!(manifests.contains(&manifest.as_str()), "{manifests:?}");
    bench.ok(["store", "verify"]);
}

#[test]
fn a_project_runs_on_a_packaged_runtime() {
    let bench = Bench::new();
    let (_, root) = vectors(bench.path());
    let kernel = mini("x86_64");
    let kernel = kernel.to_str().unwrap();
    let more = [
        "-k",
        kernel,
        "-a",
        "from-image",
        "-e",
        "IMAGE=1",
        "-e",
        "BOTH=image",
        "-l",
        "a=image",
    ];
    package(&bench, "base/runtime:v1", ("qemu", "x86_64"), &more);
    let project = bench.path().join("project");
    std::fs::create_dir_all(project.join("data")).unwrap();
    std::fs::write(project.join("data/file"), "shared\n").unwrap();
    let say = |text: &str| std::fs::write(project.join("Kraftfile"), text).unwrap();
    let run = |more: &[&str]| {
        let mut command = bench.command(["run", "--rm", "-W"]);
        Outcome::of(command.args(more).current_dir(&project))
    };
    // The short form, and nothing else: all is the image's.
    say("spec: v0.6\nruntime: base/runtime:v1\n");
    let console = run(&[]).success().stdout;
    assert!(
        console.contains("arg 1 \"from-image\"") && console.contains("env \"IMAGE=1\""),
        "{console}"
    );
    // The long form; the project wins over the image, name by name.
    say(&format!(
        "spec: v0.6\nruntime:\n  source: base/runtime\n  version: v1\n  kconfig:\n    CONFIG_PLAT_KVM: y\n\
         rootfs: {root}\ncmd: [\"@cat:/a/hello\", from-project]\nenv:\n  BOTH: project\n\
         volumes:\n  - ./data:/data\n"
    ));
    let console = run(&[]).success().stdout;
    for words in [
        "arg 2 \"from-project\"",
        "env \"BOTH=project\"",
        "env \"IMAGE=1\"",
        "\nhi\n",
        ":/data:9pfs:",
    ] {
        assert!(console.contains(words), "no {words} in\n{console}");
    }
    // Arguments take precedence over both.
    let console = run(&["-e", "BOTH=typed", "typed-argument"])
        .success()
        .stdout;
    assert!(console.contains("arg 1 \"typed-argument\""), "{console}");
    assert!(console.contains("env \"BOTH=typed\""), "{console}");
    // An option that the runtime was not built with.
    say("spec: v0.6\nruntime:\n  source: base/runtime:v1\n  kconfig:\n    CONFIG_NOT_THERE: y\n");
    let outcome = run(&["--pull", "never"]).exits(3);
    assert!(
        outcome.stderr.contains("CONFIG_NOT_THERE=y"),
        "{}",
        outcome.stderr
    );
    // On top of the runtime a package of its own.
    say(&format!(
        "spec: v0.6\nruntime: base/runtime:v1\nrootfs: {root}\nlabels:\n  a: project\n"
    ));
    let mut command = bench.command(["pkg", "--name", "mine/app", "-a", "@cat:/a/hello"]);
    let _ = Outcome::of(command.current_dir(&project)).success();
    assert!(
        bench
            .ok(["run", "--rm", "-W", "mine/app"])
            .contains("\nhi\n")
    );
    let shown = bench.json(["pkg", "inspect", "mine/app"]);
    let config = &shown["manifests"][0]["config"]["content"]["config"];
    assert_eq!(config["Labels"], json!({"a": "project"}));
    assert_eq!(config["Env"], json!(["BOTH=image", "IMAGE=1"]));
    let files = bench.ok(["pkg", "tree", "mine/app"]);
    assert!(files.contains("a/link -> hello"), "{files}");
    assert_eq!(bench.ok(["pkg", "cat", "mine/app", "/a/hello"]), "hi\n");
}

#[test]
fn an_image_for_platforms_that_cannot_run_is_reported() {
    let bench = Bench::new();
    let kernel = mini("x86_64");
    package(
        &bench,
        "only/xen",
        ("xen", "x86_64"),
        &["-k", kernel.to_str().unwrap()],
    );
    let outcome = bench.kraft(["run", "--rm", "only/xen"]).exits(7);
    assert!(outcome.stderr.contains("xen/x86_64"), "{}", outcome.stderr);
    let outcome = bench.kraft(["run", "--rm", "-m", "arm64", "only/xen", "--pull", "never"]);
    assert!(outcome.exits(3).stderr.contains("it has xen/x86_64"));
}

#[test]
fn damage_is_found_reported_and_repaired() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let bench = Bench::new();
    let name = registry.name("heal/me:v1");
    let kernel = mini("x86_64");
    package(
        &bench,
        &name,
        ("qemu", "x86_64"),
        &["-k", kernel.to_str().unwrap()],
    );
    bench.ok(["pkg", "push", &name]);
    let shown = bench.json(["pkg", "inspect", &name]);
    let manifest = &shown["manifests"][0];
    for digest in [
        &shown["digest"],
        &manifest["digest"],
        &manifest["config"]["digest"],
        &manifest["layers"][0]["digest"],
    ] {
        let digest = digest.as_str().unwrap();
        let hex = digest.strip_prefix("sha256:").unwrap();
        let path = bench.runtime().join("images/blobs/sha256").join(hex);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[7] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let outcome = bench.kraft(["store", "verify", "-o", "json"]).exits(1);
        let faults: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(faults[0]["digest"], digest, "{faults}");
        assert_eq!(faults[0]["images"][0], name.as_str(), "{faults}");
        bench.ok(["store", "verify", "--repair"]);
        std::fs::remove_file(&path).unwrap();
        let _ = bench.kraft(["store", "verify"]).exits(1);
        bench.ok(["store", "verify", "--repair"]);
        bench.ok(["run", "--rm", "-W", &name]);
    }
}
