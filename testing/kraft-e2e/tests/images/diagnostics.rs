//! Diagnostics: what `--log-level debug` and a log file show of requests and programs, and the
//! secrets that neither may show.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::Arc;

use kraft_e2e::guest::package;
use kraft_e2e::harness::{Bench, Outcome};
use kraft_e2e::hostile::{Act, Hostile, Image, Request, tar};
use kraft_e2e::registry::Registry;
use kraft_e2e::source::{git, kraft_in, make_repository, replace, skipped, workshop};
use kraft_e2e::web::Web;

const USER: &str = "joe";
const PASSWORD: &str = "correct-horse-battery";
/// `joe:correct-horse-battery` in base64.
const PAIR: &str = "am9lOmNvcnJlY3QtaG9yc2UtYmF0dGVyeQ==";

/// Returns the debug lines about requests, and insists on no secret in any line.
fn requests<'a>(log: &'a str, secrets: &[&str]) -> Vec<&'a str> {
    for secret in secrets.iter().chain(&["uthorization", "Bearer ", "Basic "]) {
        assert!(!log.contains(secret), "`{secret}` is shown: {log}");
    }
    log.lines()
        .filter(|line| line.contains("debug: HTTP request method="))
        .collect()
}

/// Returns the value of a field in a line.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let start = format!(" {name}=");
    let rest = line.split_once(&start).map(|(_, rest)| rest);
    let rest = rest.unwrap_or_else(|| panic!("no {name}: {line}"));
    rest.split(' ').next().unwrap()
}

fn log_in(bench: &Bench, registry: &Registry) {
    let file = bench.path().join("password");
    std::fs::write(&file, PASSWORD).unwrap();
    let address = registry.address();
    let mut command = bench.command(["login", &address, "-u", USER, "--password-stdin"]);
    command.stdin(Stdio::from(std::fs::File::open(&file).unwrap()));
    let _ = Outcome::of(&mut command).success();
}

#[test]
fn every_request_to_a_registry_is_shown_without_the_password() {
    let Some(registry) = Registry::with_password(USER, PASSWORD) else {
        return;
    };
    let bench = Bench::new();
    log_in(&bench, &registry);
    let name = registry.name("apps/motd:v1");
    package(&bench, &name, &[]);
    bench.ok(["pkg", "push", &name]);
    bench.ok(["pkg", "rm", &name]);

    let pulled = bench.kraft(["pkg", "pull", "--log-level", "debug", &name]);
    let pulled = pulled.success();
    let lines = requests(&pulled.stderr, &[PASSWORD, PAIR]);
    let url = format!("http://{}/v2/apps/motd/manifests/v1", registry.address());
    // Asked without credentials first, then with them; and the parts of the image.
    for outcome in ["401", "200"] {
        let is_it = |line: &&&str| field(line, "url") == url && field(line, "outcome") == outcome;
        let line = lines.iter().find(is_it);
        let line = line.unwrap_or_else(|| panic!("no {outcome} of {url}: {lines:#?}"));
        assert_eq!(
            (field(line, "method"), field(line, "attempt")),
            ("GET", "1")
        );
        assert!(field(line, "milliseconds").parse::<u64>().is_ok(), "{line}");
    }
    assert!(
        lines
            .iter()
            .any(|line| field(line, "url").contains("/blobs/sha256:")),
        "{lines:#?}"
    );

    // Without it, nothing of this is shown.
    bench.ok(["pkg", "rm", &name]);
    let quiet = bench.kraft(["pkg", "pull", &name]).success();
    assert!(!quiet.stderr.contains("HTTP request"), "{}", quiet.stderr);
}

#[test]
fn tokens_and_signed_urls_are_not_shown_and_retries_are_counted() {
    let image = Image::of_layers(&[tar("kernel", b'0', "", b"not a kernel")]);
    let layer = image.layers[0].clone();
    // The layer is elsewhere, behind a signature; the manifest is there at the second attempt only.
    let storage = Hostile::start(
        image.clone(),
        Arc::new(|request: &Request| {
            assert!(!request.headers.contains_key("authorization"));
            Act::Serve
        }),
    );
    let elsewhere = format!("http://{}/v2/a/b/blobs/{layer}", storage.address());
    let registry = Hostile::start(
        image,
        Arc::new(move |request: &Request| {
            let given = request.headers.get("authorization").map(String::as_str);
            if request.path.starts_with("/token") {
                return Act::body(r#"{"token":"hush-token"}"#);
            }
            if given != Some("Bearer hush-token") {
                let host = &request.headers["host"];
                let realm = format!("Bearer realm=\"http://{host}/token?key=hush-key\"");
                return Act::field(401, "WWW-Authenticate", &realm);
            }
            if request.is_manifest() && request.time < 3 {
                return Act::field(503, "Retry-After", "0");
            }
            if request.is_blob(&layer) {
                let signed = format!("{elsewhere}?X-Signature=hush-signature");
                return Act::field(307, "Location", &signed);
            }
            Act::Serve
        }),
    );
    let bench = Bench::new();
    let log = bench.path().join("kraft.log");
    let name = registry.name("a/b:1");
    let mut command = bench.command(["pkg", "pull", "--log-type", "json", &name]);
    command
        .env("KRAFTKIT_LOG_LEVEL", "debug")
        .env("KRAFTKIT_LOG_FILE", &log);
    let outcome = Outcome::of(&mut command).success();
    let file = std::fs::read_to_string(&log).unwrap();
    for text in [&outcome.stderr, &file] {
        assert!(!text.contains("hush"), "a secret is shown: {text}");
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|line: &serde_json::Value| line["msg"] == "HTTP request")
            .collect();
        let has = |url: &str, outcome: &str, attempt: u64| {
            lines.iter().any(|line| {
                line["level"] == "debug"
                    && line["url"] == url
                    && line["outcome"] == outcome
                    && line["attempt"] == attempt
                    && line["milliseconds"].is_u64()
            })
        };
        let manifest = format!("http://{}/v2/a/b/manifests/1", registry.address());
        let token = format!("http://{}/token", registry.address());
        assert!(has(&manifest, "503", 1), "{lines:#?}");
        assert!(has(&manifest, "200", 2), "{lines:#?}");
        assert!(has(&token, "200", 1), "{lines:#?}");
        let storage = format!("http://{}/v2/a/b/blobs/", storage.address());
        let is_there = |line: &serde_json::Value| {
            line["url"].as_str().unwrap().starts_with(&storage) && line["outcome"] == "200"
        };
        assert!(lines.iter().any(is_there), "{lines:#?}");
    }
    // In the file every line has its time.
    assert!(
        file.lines().all(|line| line.contains("\"time\":")),
        "{file}"
    );
}

#[test]
fn a_build_shows_the_command_lines_of_git_and_make_without_credentials() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let place = workshop(&bench);
    let core = place.join("core");
    make_repository(&core);
    let served = bench.path().join("served/git");
    std::fs::create_dir_all(&served).unwrap();
    let (from, to) = (core.to_str().unwrap(), served.join("unikraft.git"));
    git(
        &served,
        ["clone", "--quiet", "--bare", from, to.to_str().unwrap()],
    );
    let web = Web::serve(&bench.path().join("served"));
    let url = web.url("git/unikraft.git");
    let secret = url.replace("://", &format!("://{USER}:{PASSWORD}@"));
    let app = place.join("apps/app-two-libs");
    replace(&app.join("Kraftfile"), "../../core", &secret);

    let log = bench.path().join("kraft.log");
    let mut command = bench.command(["build"]);
    command.current_dir(&app).env("KRAFTKIT_LOG_FILE", &log);
    let outcome = Outcome::of(&mut command).success();
    assert!(!outcome.stderr.contains("debug:"), "{}", outcome.stderr);
    let file = std::fs::read_to_string(&log).unwrap();
    let mode = std::fs::metadata(&log).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!file.contains(PASSWORD), "{file}");
    let shown = |program: &str, part: &str| {
        let start = format!("debug: program command=\"{program} ");
        let mut lines = file.lines().filter(|line| line.contains(&start));
        assert!(
            lines.any(|line| line.contains(part)),
            "no {program} {part}: {file}"
        );
    };
    shown(
        "git",
        &format!(" ls-remote -- {url}\" outcome=\"exit status: 0\" milliseconds="),
    );
    shown("git", &format!(" -- {url} "));
    shown("make", " kraft-images ");

    // A second run adds its lines; on the terminal they are shown on request.
    let again = kraft_in(&bench, &app, &["build", "--force", "--log-level", "debug"]);
    let again = again.success();
    assert!(again.stderr.contains("debug: program command=\"make "));
    assert!(!again.stderr.contains(PASSWORD), "{}", again.stderr);
}
