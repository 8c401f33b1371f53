//! Images through a real registry and back: open, with a password, with a certificate; looked at
//! with skopeo from outside.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use kraft_e2e::guest::{MOTD, Report, package};
use kraft_e2e::harness::{Bench, Outcome, skip};
use kraft_e2e::hostile::{Act, Hostile, Image, Request, tar};
use kraft_e2e::program;
use kraft_e2e::registry::{Registry, digest_of, installed, skopeo};

const USER: &str = "joe";
const PASSWORD: &str = "correct-horse-battery";

/// Runs `kraft` with a text on its stdin.
fn kraft_reading(bench: &Bench, args: &[&str], input: &str) -> Outcome {
    let file = bench.path().join("input");
    std::fs::write(&file, input).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut command = bench.command(args);
    command.stdin(std::fs::File::open(&file).unwrap());
    let outcome = Outcome::of(&mut command);
    std::fs::remove_file(&file).unwrap();
    outcome
}

fn log_in(bench: &Bench, registry: &Registry, password: &str) -> Outcome {
    let address = registry.address();
    let args = ["login", &address, "-u", USER, "--password-stdin"];
    kraft_reading(bench, &args, password)
}

/// Returns the index digests that `kraft pkg ls` knows, one for each row.
fn listed(bench: &Bench) -> Vec<String> {
    let rows = bench.packages(&["--apps", "--all"]);
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| row["index"].as_str().unwrap().to_owned())
        .collect()
}

fn assert_boots(bench: &Bench, flags: &[&str], name: &str) {
    let console = bench.ok([&["run", "--rm"], flags, &[name]].concat());
    assert!(console.contains(MOTD), "{console}");
    let arguments = ["@cat:/etc/motd", "packaged"];
    assert_eq!(Report::parse(&console).args, arguments);
}

/// pkg, push, rm, pull, run; the content of the registry is byte by byte that of the package.
fn goes_round(bench: &Bench, registry: &Registry, flags: &[&str]) {
    let name = registry.name("apps/motd:v1");
    let pkg = |command| [&["pkg", command], flags, &[name.as_str()]].concat();
    let digest = package(bench, &name, &[]);
    assert_boots(bench, flags, &name);
    bench.ok(pkg("push"));
    bench.ok(["pkg", "rm", &name]);
    assert_eq!(listed(bench), [""; 0], "it is still listed after `pkg rm`");
    bench.ok(pkg("pull"));
    assert!(listed(bench).contains(&digest), "{:?}", listed(bench));
    assert_boots(bench, flags, &name);
    let told = bench.ok(["pkg", "inspect", &name]);
    assert!(told.contains(&digest), "no {digest} in\n{told}");
    if installed("skopeo") {
        let mut args = vec!["inspect".to_owned(), "--raw".to_owned()];
        // `inspect` has no two ends, and so no prefix for its flags.
        args.extend(registry.skopeo_flags(""));
        args.push(format!("docker://{name}"));
        assert_eq!(digest_of(&skopeo(args)), digest);
    } else {
        skip("skopeo is not installed: scripts/setup.sh test");
    }
    // What is not in the store is fetched when it is to run.
    bench.ok(["pkg", "rm", &name]);
    assert_boots(bench, flags, &name);
}

#[test]
fn an_image_is_pushed_and_pulled_without_credentials() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    goes_round(&Bench::new(), &registry, &[]);
}

#[test]
fn an_image_is_pushed_and_pulled_with_a_password() {
    let Some(registry) = Registry::with_password(USER, PASSWORD) else {
        return;
    };
    let bench = Bench::new();
    let _ = log_in(&bench, &registry, PASSWORD).success();
    goes_round(&bench, &registry, &[]);
}

#[test]
fn an_image_is_pushed_and_pulled_with_a_configured_certificate() {
    let Some(registry) = Registry::with_tls() else {
        return;
    };
    let certificate = registry.certificate();
    let flags = ["--ca-file", certificate.to_str().unwrap()];
    goes_round(&Bench::new(), &registry, &flags);
    goes_round(&without_authorities(), &registry, &flags);
}

/// Returns a place on a system without authorities.
fn without_authorities() -> Bench {
    let nowhere = "/nonexistent";
    let bench = Bench::new().env("SSL_CERT_FILE", nowhere);
    bench.env("SSL_CERT_DIR", nowhere)
}

#[test]
fn an_image_is_pushed_and_pulled_over_an_insecure_registry() {
    let Some(registry) = Registry::with_tls() else {
        return;
    };
    let address = registry.address();
    goes_round(&Bench::new(), &registry, &["--insecure", &address]);
}

#[test]
fn an_untrusted_certificate_is_an_error_with_a_hint() {
    let Some(registry) = Registry::with_tls() else {
        return;
    };
    let name = registry.name("apps/motd:v1");
    // Without authorities of the system, those that are part of kraft do not vouch for it either.
    for bench in [Bench::new(), without_authorities()] {
        package(&bench, &name, &[]);
        for command in ["push", "pull"] {
            let outcome = bench.kraft(["pkg", command, &name]).exits(4);
            for word in [registry.address().as_str(), "--ca-file", "--insecure"] {
                assert!(outcome.stderr.contains(word), "{word}:\n{}", outcome.stderr);
            }
        }
    }
    assert_eq!(
        registry.requests(),
        [],
        "something was asked over a connection nobody vouches for"
    );
}

#[test]
fn a_registry_that_requires_credentials_is_an_authentication_error() {
    let Some(registry) = Registry::with_password(USER, PASSWORD) else {
        return;
    };
    let bench = Bench::new();
    let name = registry.name("apps/motd:v1");
    package(&bench, &name, &[]);
    for command in ["push", "pull"] {
        let outcome = bench.kraft(["pkg", command, &name]).exits(5);
        let advice = format!("kraft login {}", registry.address());
        assert!(outcome.stderr.contains(&advice), "{}", outcome.stderr);
    }
}

#[test]
fn a_wrong_password_is_refused_and_the_registry_named() {
    let Some(registry) = Registry::with_password(USER, PASSWORD) else {
        return;
    };
    let bench = Bench::new();
    let outcome = log_in(&bench, &registry, "wrong-pony").exits(5);
    assert!(
        outcome.stderr.contains(&registry.address()),
        "{}",
        outcome.stderr
    );
    // The same with docker's configuration.
    let name = registry.name("apps/motd:v1");
    package(&bench, &name, &[]);
    let docker = bench.path().join(".docker");
    std::fs::create_dir(&docker).unwrap();
    let entry = serde_json::json!({ "auths": {
        registry.address(): { "auth": base64(&format!("{USER}:wrong-pony")) }
    }});
    std::fs::write(docker.join("config.json"), entry.to_string()).unwrap();
    for command in ["push", "pull"] {
        let outcome = bench.kraft(["pkg", command, &name]).exits(5);
        assert!(
            outcome.stderr.contains(&registry.address()),
            "{}",
            outcome.stderr
        );
        assert!(!outcome.stderr.contains("wrong-pony"), "{}", outcome.stderr);
    }
}

#[test]
fn credentials_of_docker_are_used() {
    let Some(registry) = Registry::with_password(USER, PASSWORD) else {
        return;
    };
    let bench = Bench::new();
    let docker = bench.path().join(".docker");
    std::fs::create_dir(&docker).unwrap();
    let entry = serde_json::json!({ "auths": {
        registry.address(): { "auth": base64(&format!("{USER}:{PASSWORD}")) }
    }});
    std::fs::write(docker.join("config.json"), entry.to_string()).unwrap();
    goes_round(&bench, &registry, &[]);
}

/// A registry that accepts any token, with a token server that issues tokens to all clients.
fn with_tokens_for_all() -> Hostile {
    let image = Image::of_layers(&[tar("unikraft/bin/kernel", b'0', "", b"kernel")]);
    let play = |request: &Request| {
        if request.path.starts_with("/token") {
            return Act::body(r#"{"token":"anonymous"}"#);
        }
        if request.headers.contains_key("authorization") {
            return Act::Serve;
        }
        let realm = format!("http://{}/token", request.headers["host"]);
        Act::field(
            401,
            "WWW-Authenticate",
            &format!("Bearer realm=\"{realm}\""),
        )
    };
    Hostile::start(image, Arc::new(play))
}

/// Gives docker this helper: a shell script, or one that is missing.
fn with_helper(script: Option<&str>) -> Bench {
    let bench = Bench::new();
    std::fs::create_dir(bench.path().join(".docker")).unwrap();
    let config = bench.path().join(".docker/config.json");
    std::fs::write(config, r#"{"auths": {}, "credsStore": "odd.exe"}"#).unwrap();
    let bin = bench.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    if let Some(script) = script {
        let helper = bin.join("docker-credential-odd.exe");
        program::script(&helper, &format!("{script}\n"));
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    bench.env("PATH", &path)
}

const HELPER: &str = "docker-credential-odd.exe";

#[test]
fn a_failed_credential_helper_does_not_prevent_anonymous_pulls() {
    let registry = with_tokens_for_all();
    let name = registry.name("public/app:v1");
    for (script, words) in [
        (None, "no such program"),
        (
            Some("echo 'the vault is closed'; exit 1"),
            "the vault is closed",
        ),
        (
            Some("echo out; printf 'no \\033[31mkey\\n' >&2; exit 3"),
            "no \\u{1b}[31mkey",
        ),
        (Some("echo nonsense"), "not the JSON"),
        (Some("kill -9 $$"), "signal"),
    ] {
        let bench = with_helper(script);
        let outcome = bench.kraft(["pkg", "pull", &name]).success();
        for said in [HELPER, words, "without credentials"] {
            assert_eq!(
                outcome.stderr.matches(said).count(),
                1,
                "{said}: {}",
                outcome.stderr
            );
        }
        assert!(!outcome.stderr.contains('\u{1b}'), "{}", outcome.stderr);
    }
    let bench = with_helper(Some(
        "echo 'credentials not found in native keychain'; exit 1",
    ));
    let outcome = bench.kraft(["pkg", "pull", &name]).success();
    assert!(!outcome.stderr.contains(HELPER), "{}", outcome.stderr);
}

#[test]
fn a_failed_credential_helper_is_named_if_the_registry_requires_credentials() {
    let Some(registry) = Registry::with_password(USER, PASSWORD) else {
        return;
    };
    let name = registry.name("apps/motd:v1");
    let bench = with_helper(Some("echo 'the vault is closed'; exit 1"));
    package(&bench, &name, &[]);
    for command in ["pull", "push"] {
        let outcome = bench.kraft(["pkg", command, &name]).exits(5);
        let hints: Vec<&str> = outcome
            .stderr
            .lines()
            .filter(|l| l.contains("hint: "))
            .collect();
        assert!(hints.iter().any(|hint| hint.contains(HELPER)), "{hints:?}");
        assert!(
            hints.iter().any(|hint| hint.contains("kraft login")),
            "{hints:?}"
        );
        assert!(
            outcome.stderr.contains("vault is closed"),
            "{}",
            outcome.stderr
        );
    }
    // Our own log-in comes before it.
    let _ = log_in(&bench, &registry, PASSWORD).success();
    let outcome = bench.kraft(["pkg", "push", &name]).success();
    assert!(!outcome.stderr.contains(HELPER), "{}", outcome.stderr);
}

#[test]
fn a_damaged_blob_is_named_and_not_pushed() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    for change in [
        (|bytes: &mut Vec<u8>| bytes[700] ^= 1) as fn(&mut Vec<u8>),
        |bytes| bytes.truncate(700),
        |bytes| bytes.push(0),
    ] {
        let bench = Bench::new();
        let name = registry.name("apps/motd:v1");
        package(&bench, &name, &[]);
        let shown = bench.json(["pkg", "inspect", &name]);
        let digest = shown["manifests"][0]["layers"][0]["digest"]
            .as_str()
            .unwrap();
        let blobs = bench.runtime().join("images/blobs/sha256");
        let path = blobs.join(digest.strip_prefix("sha256:").unwrap());
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        let outcome = bench.kraft(["pkg", "push", &name]).exits(1);
        for words in [digest, "damaged", "store verify --repair"] {
            assert!(
                outcome.stderr.contains(words),
                "{words}: {}",
                outcome.stderr
            );
        }
        let tags = registry.ask("GET /v2/apps/motd/tags/list", &[], b"");
        assert_eq!(tags.status, 404, "{tags:?}");
    }
}

#[test]
fn a_logout_takes_the_password_away() {
    let Some(registry) = Registry::with_password(USER, PASSWORD) else {
        return;
    };
    let bench = Bench::new();
    let name = registry.name("apps/motd:v1");
    package(&bench, &name, &[]);
    let _ = log_in(&bench, &registry, PASSWORD).success();
    bench.ok(["pkg", "push", &name]);
    bench.ok(["logout", &registry.address()]);
    let _ = bench.kraft(["pkg", "push", &name]).exits(5);
    assert_eq!(holders_of_secret(bench.path(), PASSWORD), [""; 0]);
}

#[test]
fn the_file_of_a_password_is_readable_by_its_owner_only() {
    let Some(registry) = Registry::with_password(USER, PASSWORD) else {
        return;
    };
    if !installed("strace") {
        return skip("strace is not installed: scripts/setup.sh test");
    }
    let bench = Bench::new();
    let name = registry.name("apps/motd:v1");
    let mut spoken = String::new();
    let address = registry.address();
    let login: &[&str] = &["login", &address, "-u", USER, "--password-stdin"];
    package(&bench, &name, &[]);
    for (number, args) in [login, &["pkg", "push", &name], &["pkg", "pull", &name]]
        .into_iter()
        .enumerate()
    {
        let trace = bench.path().join(format!("trace{number}"));
        let inner = bench.command([&["--log-level", "trace"], args].concat());
        let mut traced = Command::new("strace");
        traced
            .args(["-f", "-qq", "-s", "10000", "-e", "trace=execve", "-o"])
            .arg(&trace)
            .arg("--")
            .arg(inner.get_program())
            .args(inner.get_args())
            .env_clear()
            .envs(
                inner
                    .get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            )
            .current_dir(bench.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = traced.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // Only `login` reads it.
        let _ = writeln!(stdin, "{PASSWORD}");
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {told}");
        spoken.push_str(&told);
        spoken.push_str(&String::from_utf8_lossy(&output.stdout));
        spoken.push_str(&std::fs::read_to_string(&trace).unwrap());
    }
    assert!(spoken.contains("execve"), "nothing was traced");
    let encoded = base64(&format!("{USER}:{PASSWORD}"));
    for secret in [PASSWORD, encoded.as_str()] {
        assert!(!spoken.contains(secret), "{secret} was told:\n{spoken}");
    }
    let holders = holders_of_secret(bench.path(), PASSWORD);
    assert!(!holders.is_empty(), "the password is kept nowhere");
    for holder in holders {
        let mode = std::fs::metadata(&holder).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{holder} has mode {mode:o}");
    }
}

#[test]
fn skopeo_copies_an_image_without_changing_it() {
    let (Some(here), Some(there)) = (Registry::plain(), Registry::plain()) else {
        return;
    };
    if !installed("skopeo") {
        return skip("skopeo is not installed: scripts/setup.sh test");
    }
    let bench = Bench::new();
    let (name, moved) = (here.name("apps/motd:v1"), there.name("moved/motd:v2"));
    let digest = package(&bench, &name, &[]);
    bench.ok(["pkg", "push", &name]);
    let copy = |from: &str, to: &str| {
        let mut args = vec!["copy", "--quiet", "--all", "--preserve-digests"];
        args.extend([
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            from,
            to,
        ]);
        skopeo(args);
    };
    copy(&format!("docker://{name}"), &format!("docker://{moved}"));
    bench.ok(["pkg", "rm", "--all"]);
    bench.ok(["pkg", "pull", &moved]);
    assert!(listed(&bench).contains(&digest), "{:?}", listed(&bench));
    assert_boots(&bench, &["--pull", "never"], &moved);

    // Through a layout on disk that skopeo wrote ...
    let layout = bench.path().join("theirs");
    let at = format!("oci:{}:v3", layout.display());
    copy(&format!("docker://{moved}"), &at);
    bench.ok(["pkg", "rm", "--all"]);
    let theirs = layout.to_str().unwrap();
    bench.ok([
        "pkg",
        "load",
        "-i",
        theirs,
        "--name",
        &there.name("apps/motd:v3"),
    ]);
    assert!(listed(&bench).contains(&digest), "{:?}", listed(&bench));

    // ... and one that kraft wrote.
    bench.ok(["pkg", "pull", &moved]);
    bench.ok(["pkg", "save", &moved, "-o", "ours"]);
    let at = format!("oci:{}:{moved}", bench.path().join("ours").display());
    let back = here.name("back/motd:v4");
    copy(&at, &format!("docker://{back}"));
    let raw = ["inspect", "--raw", "--tls-verify=false"];
    let source = format!("docker://{back}");
    let bytes = skopeo(raw.iter().copied().chain([source.as_str()]));
    assert_eq!(digest_of(&bytes), digest);
}

#[test]
fn the_store_is_a_layout_that_skopeo_reads() {
    if !installed("skopeo") {
        return skip("skopeo is not installed: scripts/setup.sh test");
    }
    let bench = Bench::new();
    let name = "example.test/apps/motd:v1";
    let digest = package(&bench, name, &[]);
    let store = bench.runtime().join("images");
    let at = format!("oci:{}:{name}", store.display());
    assert_eq!(digest_of(&skopeo(["inspect", "--raw", &at])), digest);
}

#[test]
fn an_image_is_pulled_and_run_by_its_digest() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let bench = Bench::new();
    let name = registry.name("apps/motd:v1");
    let digest = package(&bench, &name, &["--push"]);
    let index = registry
        .ask("GET /v2/apps/motd/manifests/v1", &[ACCEPT_INDEX], b"")
        .expect(&[200]);
    let index: serde_json::Value = serde_json::from_slice(&index.body).unwrap();
    let manifest = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .find(|descriptor| descriptor["platform"]["os"] == "qemu")
        .unwrap();
    for digest in [digest.as_str(), manifest["digest"].as_str().unwrap()] {
        bench.ok(["pkg", "rm", "--all"]);
        let exact = registry.name(&format!("apps/motd@{digest}"));
        bench.ok(["pkg", "pull", &exact]);
        assert_boots(&bench, &["--pull", "never"], &exact);
    }
}

/// An index, as docker-registry wants to be asked for it.
const ACCEPT_INDEX: (&str, &str) = ("Accept", "application/vnd.oci.image.index.v1+json");

#[test]
fn existing_blobs_are_not_sent_again() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let bench = Bench::new();
    let name = registry.name("apps/motd:v1");
    package(&bench, &name, &["--push"]);
    let before = registry.requests().len();
    bench.ok(["pkg", "push", &name]);
    let again = registry.requests().split_off(before);
    assert!(
        !again
            .iter()
            .any(|request| request.path.contains("/uploads/")),
        "{again:#?}"
    );
    // Under another repository of the same registry they are mounted, not sent.
    let other = registry.name("other/motd:v1");
    bench.ok(["pkg", "tag", &name, &other]);
    let before = registry.requests().len();
    bench.ok(["pkg", "push", &other]);
    let mounted = registry.requests().split_off(before);
    assert!(
        !mounted
            .iter()
            .any(|request| request.method == "PATCH" || request.path.contains("&digest=")),
        "{mounted:#?}"
    );
}

#[test]
fn a_missing_image_and_an_unreachable_registry_are_different_errors() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let bench = Bench::new();
    let name = registry.name("apps/none:v1");
    let outcome = bench.kraft(["pkg", "pull", &name]).exits(3);
    assert!(outcome.stderr.contains(&name), "{}", outcome.stderr);
    let address = registry.address();
    drop(registry);
    let outcome = bench.kraft(["pkg", "pull", &name]).exits(4);
    assert!(outcome.stderr.contains(&address), "{}", outcome.stderr);
}

/// Returns the files under `dir` that hold a secret, plain or as docker encodes it.
fn holders_of_secret(dir: &Path, secret: &str) -> Vec<String> {
    let encoded = base64(&format!("{USER}:{secret}"));
    let mut holders = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
            } else if let Ok(bytes) = std::fs::read(entry.path()) {
                let text = String::from_utf8_lossy(&bytes);
                if text.contains(secret) || text.contains(&encoded) {
                    holders.push(entry.path().display().to_string());
                }
            }
        }
    }
    holders
}

/// Encodes as `base64` does, in one line.
fn base64(text: &str) -> String {
    let mut child = Command::new("base64")
        .arg("--wrap=0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}
