//! Attacks that no single answer gives away: on memory, on time, on the terminal, and on what a
//! store believes later.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use kraft_e2e::guest::mini;
use kraft_e2e::harness::{Bench, Outcome, without_runtime, wrapped};
use kraft_e2e::hostile::{Act, Hostile, INDEX, Image, LAYER, MANIFEST, Request, misnamed, tar};
use serde_json::{Value, json};

/// What an attacked `kraft` may take of the address space, in bytes; threads reserve much of it.
const ROOM: u64 = 1 << 30;

fn bench() -> Bench {
    Bench::new().env("KRAFTKIT_HTTP_RETRIES", "2")
}

/// As [`bench`], of a user who waits two seconds.
fn impatient() -> Bench {
    bench().env("KRAFTKIT_HTTP_TIMEOUT", "2")
}

/// Runs `kraft` with little memory, and insists that it ends by itself.
fn confined(bench: &Bench, args: &[&str]) -> Outcome {
    let mut prlimit = Command::new("prlimit");
    prlimit.arg(format!("--as={ROOM}")).arg("--core=0");
    let mut command = wrapped(prlimit, &bench.command(args));
    let outcome = Outcome::of(&mut command);
    assert!(
        outcome.code.is_some_and(|code| code < 126),
        "did not end by itself: {outcome:?}"
    );
    assert!(!outcome.stderr.contains("panicked"), "{outcome:?}");
    outcome
}

/// Pulls what must fail, and looks that nothing of it is believed.
fn refused(image: Image, play: impl Fn(&Request) -> Act + Send + Sync + 'static) -> String {
    refused_in(&bench(), image, play)
}

fn refused_in(
    bench: &Bench,
    image: Image,
    play: impl Fn(&Request) -> Act + Send + Sync + 'static,
) -> String {
    let registry = Hostile::start(image, Arc::new(play));
    let outcome = confined(bench, &["pkg", "pull", &registry.name("evil/image:v1")]).exits(4);
    assert!(outcome.stderr.contains(registry.address()), "{outcome:?}");
    assert!(outcome.stderr.contains("hint: "), "{outcome:?}");
    let _ = bench.kraft(["store", "verify"]).success();
    assert_eq!(bench.packages(&[]), json!([]));
    assert!(misnamed(&bench.runtime().join("images")).is_empty());
    outcome.stderr
}

fn small() -> Vec<u8> {
    tar("unikraft/bin/kernel", b'0', "", b"KERNEL\n")
}

fn good() -> Image {
    Image::of_layers(&[small()])
}

/// Changes what the tag of a good image names.
fn with_index(change: impl FnOnce(&mut Value)) -> Image {
    let mut image = good();
    let mut index = serde_json::from_slice(&image.blobs[&image.index].1).unwrap();
    change(&mut index);
    image.set_index(index.to_string().into_bytes());
    image
}

#[test]
fn a_huge_image_configuration_is_not_read_into_memory() {
    let mut image = Image::default();
    let digest = format!("sha256:{}", "a".repeat(64));
    let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": digest, "size": 1_u64 << 40});
    let layer = image.add(LAYER, small());
    let manifest =
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
    image.set_index(manifest.to_string().into_bytes());
    let said = refused(image, move |request| {
        if request.is_blob(&digest) {
            return Act::Endless;
        }
        Act::Serve
    });
    assert!(said.contains("more than 4194304 bytes"), "{said}");
}

#[test]
fn a_configuration_with_another_digest_is_rejected() {
    let mut image = Image::default();
    let config = br#"{"architecture":"x86_64","os":"qemu","rootfs":{"type":"layers"}}"#;
    let config = image.add("application/vnd.oci.image.config.v1+json", config.to_vec());
    let digest = config["digest"].as_str().unwrap().to_owned();
    let layer = image.add(LAYER, small());
    let manifest =
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
    image.set_index(manifest.to_string().into_bytes());
    let other = br#"{"architecture":"arm_64","os":"qemu","rootfs":{"type":"layers"}}"#;
    let said = refused(image, move |request| {
        if request.is_blob(&digest) {
            return Act::body(other.to_vec());
        }
        Act::Serve
    });
    assert!(said.contains("digest"), "{said}");
}

#[test]
fn a_wrong_size_of_a_manifest_in_an_index_is_accepted() {
    for size in [1_u64, 1 << 20, u64::MAX] {
        let bench = bench();
        let image = with_index(|index| index["manifests"][0]["size"] = json!(size));
        let registry = Hostile::start(image, Arc::new(|_| Act::Serve));
        let name = registry.name("evil/image:v1");
        let outcome = confined(&bench, &["pkg", "pull", &name]).exits(0);
        assert!(outcome.stderr.contains("wrong sizes"), "{outcome:?}");
        let _ = bench.kraft(["store", "verify"]).success();
    }
}

#[test]
fn a_document_with_a_wrong_media_type_is_rejected() {
    let image = with_index(|index| index["mediaType"] = json!(MANIFEST));
    let said = refused(image, |_| Act::Serve);
    assert!(said.contains("as an index and as a manifest"), "{said}");
    let mut image = good();
    let mut manifest: Value = serde_json::from_slice(&image.blobs[&image.manifest].1).unwrap();
    manifest["mediaType"] = json!(INDEX);
    image.set_index(manifest.to_string().into_bytes());
    let said = refused(image, |_| Act::Serve);
    assert!(said.contains("as an index and as a manifest"), "{said}");
}

#[test]
fn content_is_verified_against_its_digest() {
    let bench = bench();
    let registry = Hostile::start(
        good(),
        Arc::new(|request: &Request| match request.is_manifest() {
            true => Act::body(br#"{"schemaVersion":2,"manifests":[]}"#.to_vec()),
            false => Act::Serve,
        }),
    );
    let name = registry.name(&format!("evil/image@{}", good().index));
    let outcome = bench.kraft(["pkg", "pull", &name]).exits(4);
    assert!(outcome.stderr.contains("wrong document"), "{outcome:?}");
    assert!(outcome.stderr.contains(&good().index), "{outcome:?}");
}

#[test]
fn many_documents_do_not_fill_the_memory() {
    // Each is just what a document may be, and all are asked for by one pull.
    let padding = "x".repeat(4_000_000);
    let image = {
        let mut image = good();
        let mut index: Value = serde_json::from_slice(&image.blobs[&image.index].1).unwrap();
        for number in 0..40 {
            let mut side: Value = serde_json::from_slice(&image.blobs[&image.manifest].1).unwrap();
            side["annotations"] = json!({"number": number.to_string(), "padding": "PADDING"});
            let side = side.to_string().replace("PADDING", &padding);
            let mut side = image.add(MANIFEST, side.into_bytes());
            side["platform"] = json!({"os": "linux", "architecture": "amd64"});
            index["manifests"].as_array_mut().unwrap().push(side);
        }
        image.set_index(index.to_string().into_bytes());
        image
    };
    let said = refused(image, |_| Act::Serve);
    assert!(said.contains("documents"), "{said}");
}

#[test]
fn a_document_that_is_referenced_many_times_is_read_once() {
    let mut image = Image::with(
        &[small()],
        |manifest| {
            let layer = manifest["layers"][0].clone();
            manifest["layers"] = vec![layer; 4000].into();
        },
        |_| {},
    );
    let mut index: Value = serde_json::from_slice(&image.blobs[&image.index].1).unwrap();
    let entry = index["manifests"][0].clone();
    index["manifests"] = vec![entry; 4000].into();
    image.set_index(index.to_string().into_bytes());
    let bench = bench();
    let registry = Hostile::start(image, Arc::new(|_| Act::Serve));
    let name = registry.name("evil/image:v1");
    for args in [
        &["pkg", "pull", &name][..],
        &["pkg", "ls"],
        &["store", "verify"],
        &["store", "du"],
        &["store", "gc"],
        &["pkg", "save", "-o", "saved.tar", &name],
        &["pkg", "rm", &name],
        &["pkg", "load", "-i", "saved.tar"],
        &["store", "verify"],
    ] {
        let _ = confined(&bench, args).success();
    }
}

#[test]
fn an_index_with_wrong_sizes_does_not_stop_garbage_collection() {
    let layer = json!({"mediaType": MANIFEST, "digest": good().layers[0], "size": small().len()});
    let manifest = json!({"mediaType": MANIFEST, "digest": good().manifest, "size": 1});
    for lie in [&layer, &manifest] {
        for (os, architecture) in [("qemu", "arm64"), ("linux", "arm64"), ("linux", "s390x")] {
            let image = with_index(|index| {
                let mut entry = lie.clone();
                entry["platform"] = json!({"os": os, "architecture": architecture});
                index["manifests"].as_array_mut().unwrap().push(entry);
            });
            let bench = bench();
            let registry = Hostile::start(image, Arc::new(|_| Act::Serve));
            let name = registry.name("evil/image:v1");
            bench.ok(["pkg", "pull", &name]);
            let _ = bench.kraft(["store", "verify"]).success();
            let _ = bench.kraft(["store", "gc"]).success();
            let _ = bench.kraft(["store", "du"]).success();
            let listed = bench.kraft(["pkg", "ls"]).success();
            assert!(listed.stdout.contains("evil/image"), "{lie}: {listed:?}");
            let _ = bench.kraft(["pkg", "rm", &name]).success();
            let _ = bench.kraft(["store", "gc"]).success();
            let left = std::fs::read_dir(bench.runtime().join("images/blobs/sha256")).unwrap();
            assert_eq!(left.count(), 0, "{lie} {os}/{architecture}");
        }
    }
}

#[test]
fn a_server_that_sends_almost_nothing_times_out() {
    let image = good();
    let layer = image.layers[0].clone();
    let size = image.blobs[&layer].1.len();
    let said = refused_in(&impatient(), image, move |request| {
        if request.is_blob(&layer) {
            return Act::drip(size);
        }
        Act::Serve
    });
    assert!(said.contains("broke"), "{said}");
    let said = refused_in(&impatient(), good(), |request| {
        if request.is_manifest() {
            return Act::drip(1_000_000);
        }
        Act::Serve
    });
    assert!(said.contains("broke"), "{said}");
}

#[test]
fn an_endless_response_head_is_an_error() {
    let field = |count: usize| format!("X-Field: {}\r\n", "x".repeat(count)).into_bytes();
    let floods = [
        (b"HTTP/1.1 200 OK\r\n".to_vec(), field(1000)),
        (b"HTTP/1.1 200 OK\r\nX-Long: ".to_vec(), vec![b'x'; 65536]),
        (Vec::new(), b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;".to_vec(),
            vec![b'x'; 65536],
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n".to_vec(),
            field(1000),
        ),
    ];
    // Each is tried again, after a pause: all at once.
    std::thread::scope(|scope| {
        for (first, again) in floods {
            let act = Act::Flood(first, again, Duration::ZERO);
            scope.spawn(|| refused_in(&impatient(), good(), move |_| act.clone()));
        }
    });
}

#[test]
fn text_of_an_image_is_escaped_on_the_terminal() {
    let ugly = "\u{1b}[2J\u{7}\u{9b}31m";
    let mut image = Image::with(
        &[small()],
        |manifest| {
            manifest["annotations"]["org.unikraft.kernel.version"] = json!(ugly);
            manifest["config"]["platform"]["os.version"] = json!(ugly);
        },
        |config| {
            config["os.version"] = json!(ugly);
            config["os.features"] = json!([format!("CONFIG_{ugly}=y")]);
            config["config"]["Cmd"] = json!([ugly]);
            config["config"]["Env"] = json!([format!("A={ugly}")]);
            config["config"]["Labels"] = json!({ugly: ugly});
        },
    );
    let mut index: Value = serde_json::from_slice(&image.blobs[&image.index].1).unwrap();
    let mut second = index["manifests"][0].clone();
    second["platform"] = json!({"os": format!("x{ugly}"), "architecture": ugly});
    second["digest"] = json!(format!("sha256:{}", "b".repeat(64)));
    index["manifests"][0]["platform"]["os.version"] = json!(ugly);
    index["manifests"].as_array_mut().unwrap().push(second);
    index["annotations"][ugly] = json!(ugly);
    image.set_index(index.to_string().into_bytes());
    let registry = Hostile::start(image, Arc::new(|_| Act::Serve));
    let name = registry.name("evil/image:v1");
    let bench = bench();
    for args in [
        &["pkg", "pull", "-m", "arm64", &name][..],
        &["pkg", "pull", "-k", "NO=y", &name],
        &["pkg", "pull", &name],
        &["pkg", "pull", "--all", &name],
        &["pkg", "ls"],
        &["pkg", "ls", "-o", "list"],
        &["pkg", "ls", "-o", "json"],
        &["pkg", "ls", "-o", "yaml"],
        &["pkg", "info", &name],
        &["pkg", "inspect", &name],
        &["pkg", "inspect", "-o", "yaml", &name],
        &["run", "--rm", "-W", &name],
        &["run", "--rm", "-W", "-m", "arm64", &name],
        &["run", "--rm", "-W", "--plat", "xen", &name],
        &["store", "verify"],
        &["store", "du"],
        &["pkg", "rm", &name],
    ] {
        let outcome = confined(&bench, args);
        for said in [&outcome.stdout, &outcome.stderr] {
            let raw = said.chars().find(|&c| c.is_control() && c != '\n');
            assert_eq!(raw, None, "{args:?}: {said:?}");
        }
    }
}

#[test]
fn an_endless_list_of_repositories_is_an_error() {
    let bench = bench();
    let registry = Hostile::start(
        good(),
        Arc::new(|request: &Request| {
            if request.path == "/v2/" {
                return Act::Serve;
            }
            if !request.path.starts_with("/v2/_catalog") {
                return Act::status(404);
            }
            let link = format!(
                "</v2/_catalog?last={}>; rel=\"next\"",
                request.path.len() % 7
            );
            let body = br#"{"repositories":["a/b"]}"#.to_vec();
            Act::Answer(200, vec![("Link".to_owned(), link)], body)
        }),
    );
    bench.ok(["pkg", "source", registry.address()]);
    let outcome = confined(&bench, &["pkg", "ls", "--update"]);
    assert!(outcome.stderr.contains("does not end"), "{outcome:?}");
    let asked = registry.requests().len();
    assert!(asked < 20_000, "{asked} requests");
}

#[test]
fn invalid_names_in_a_catalog_are_not_listed() {
    let bench = bench();
    let list = json!({"repositories": ["../../../etc/x", "/abs", "a\u{1b}[2J", "", "good/one",
        "x".repeat(10_000), "a b", "UPPER", "a?b=c", "a#b", "good/one@sha256:00"]});
    let registry = Hostile::start(
        good(),
        Arc::new(move |request: &Request| {
            if request.path.starts_with("/v2/_catalog") {
                return Act::body(list.to_string());
            }
            Act::Serve
        }),
    );
    bench.ok(["pkg", "source", registry.address()]);
    let outcome = confined(&bench, &["pkg", "ls", "--update", "-o", "json"]).success();
    let rows = without_runtime(serde_json::from_str(&outcome.stdout).unwrap());
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    for request in registry.requests() {
        let honest = request.path.starts_with("/v2/good/one/")
            || request.path.starts_with("/v2/_catalog")
            || request.path == "/v2/";
        assert!(honest, "{request:?}");
    }
}

/// Compresses a head and 896 MiB of zeros behind it: one piece, repeated, as gzip permits.
fn gzip(head: &[u8]) -> Vec<u8> {
    let dir = Bench::new();
    std::fs::write(dir.path().join("head"), head).unwrap();
    let script = "gzip -1 <head; head -c 67108864 /dev/zero | gzip -1 >zeros; for i in $(seq 14); do cat zeros; done";
    let output = Command::new("sh")
        .args(["-c", script])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
fn a_huge_file_name_is_not_read_into_memory() {
    // GNU long names and link targets, and pax fields, precede a file.
    for kind in [b'L', b'K', b'x'] {
        let mut header = tar("././@LongLink", kind, "", b"")[..512].to_vec();
        header[124..136].copy_from_slice(b"07000000000\0");
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let layer = gzip(&header);
        let registry = Hostile::start(Image::of_layers(&[layer]), Arc::new(|_| Act::Serve));
        let name = registry.name("evil/image:v1");
        let outcome = confined(&bench(), &["run", "--rm", "-W", &name]);
        assert_eq!(outcome.code, Some(1), "{}: {outcome:?}", char::from(kind));
        let says = outcome.stderr.contains("have more than 1 MiB, the limit");
        assert!(says, "{}: {outcome:?}", char::from(kind));
    }
}

#[test]
fn a_kernel_of_another_architecture_is_reported() {
    let kernel = std::fs::read(mini("arm64")).unwrap();
    let layer = tar("unikraft/bin/kernel", b'0', "", &kernel);
    let registry = Hostile::start(Image::of_layers(&[layer]), Arc::new(|_| Act::Serve));
    let outcome = bench().kraft(["run", "--rm", "-W", &registry.name("evil/image:v1")]);
    let told = "is for x86_64, and its kernel is for arm64";
    assert!(outcome.stderr.contains(told), "{outcome:?}");
}

#[test]
fn arguments_that_a_command_line_cannot_represent_are_rejected_before_the_boot() {
    let kernel = std::fs::read(mini("x86_64")).unwrap();
    for (field, value) in [
        ("Cmd", json!(["a\0b"])),
        ("Cmd", json!(["x".repeat(1 << 20)])),
        ("Env", json!(["A=b\0c"])),
        ("Env", json!(["no equals sign\n"])),
        ("Env", json!(["=x"])),
    ] {
        let layer = tar("unikraft/bin/kernel", b'0', "", &kernel);
        let image = Image::with(
            &[layer],
            |_| {},
            |config| config["config"][field] = value.clone(),
        );
        let registry = Hostile::start(image, Arc::new(|_| Act::Serve));
        let outcome = bench().kraft(["run", "--rm", "-W", &registry.name("evil/image:v1")]);
        assert!(
            outcome.code.is_some_and(|code| code < 8),
            "{field} {value}: {outcome:?}"
        );
        assert!(!outcome.stderr.contains("panicked"), "{outcome:?}");
        assert!(!outcome.stderr.contains('\0'), "{outcome:?}");
    }
}
