//! Hostile registries: each failure or attack ends in the right error, in time, and leaves no
//! invalid data behind.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use kraft_e2e::guest::mini;
use kraft_e2e::harness::{Bench, Outcome};
use kraft_e2e::hostile::{Act, Hostile, INDEX, Image, MANIFEST, Play, Request, misnamed, tar};
use kraft_e2e::limit::Limit;
use serde_json::{Value, json};

/// A layer larger than any buffer.
const LAYER: usize = 3 << 20;

fn kernel_layer() -> Vec<u8> {
    let bytes: Vec<u8> = (0..LAYER).map(|n| (n * 7 / 3) as u8).collect();
    tar("unikraft/bin/kernel", b'0', "", &bytes)
}

fn good() -> Image {
    Image::of_layers(&[kernel_layer()])
}

/// A case: the image, the behaviour of the registry, the exit code and the message.
struct Fault {
    what: &'static str,
    image: Image,
    play: Play,
    code: i32,
    says: &'static [&'static str],
    /// Seconds after which a silent registry is given up.
    timeout: &'static str,
}

impl Fault {
    fn timeout(mut self, seconds: &'static str) -> Self {
        self.timeout = seconds;
        self
    }
}

fn fault(
    what: &'static str,
    image: Image,
    code: i32,
    says: &'static [&'static str],
    play: impl Fn(&Request) -> Act + Send + Sync + 'static,
) -> Fault {
    Fault {
        what,
        image,
        play: Arc::new(play),
        code,
        says,
        timeout: "60",
    }
}

fn bench() -> Bench {
    Bench::new().env("KRAFTKIT_HTTP_RETRIES", "3")
}

/// Runs the cases concurrently: most of the time is waiting.
fn play_all(faults: Vec<Fault>) {
    let _limit = Limit::new();
    let faults = Mutex::new(faults.into_iter());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let next = faults.lock().unwrap().next();
                    let Some(fault) = next else { return };
                    let what = fault.what;
                    if let Err(why) = play(fault) {
                        wrong.lock().unwrap().push(format!("{what}: {why}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn play(fault: Fault) -> Result<(), String> {
    let bench = bench().env("KRAFTKIT_HTTP_TIMEOUT", fault.timeout);
    let registry = Hostile::start(fault.image, fault.play);
    let name = registry.name("evil/image:v1");
    let outcome = bench.kraft(["pkg", "pull", &name]);
    let complain = |why: String| format!("{why}\n{}\n{}", outcome.stdout, outcome.stderr);
    if outcome.code != Some(fault.code) {
        return Err(complain(format!(
            "{:?} instead of {}",
            outcome.code, fault.code
        )));
    }
    for words in fault.says {
        if !outcome.stderr.contains(words) {
            return Err(complain(format!("does not say `{words}`")));
        }
    }
    if outcome.stderr.contains("panicked") || outcome.stderr.contains('\u{1b}') {
        return Err(complain("says what no user may see".to_owned()));
    }
    if fault.code != 0 && !outcome.stderr.contains(registry.address()) {
        return Err(complain("does not name the registry".to_owned()));
    }
    if fault.code != 0 && !outcome.stderr.contains("hint: ") {
        return Err(complain("does not say what to do".to_owned()));
    }
    let wrong = misnamed(&bench.runtime().join("images"));
    if !wrong.is_empty() {
        return Err(complain(format!("wrong blobs: {wrong:?}")));
    }
    let verified = bench.kraft(["store", "verify"]);
    if verified.code != Some(0) {
        return Err(complain(format!("verify: {}", verified.stderr)));
    }
    let listed = bench.packages(&[]);
    if listed.as_array().unwrap().is_empty() != (fault.code != 0) {
        return Err(complain(format!("lists {listed}")));
    }
    Ok(())
}

/// Answers a request for a blob or a manifest, by whatever name, and leaves the rest to honesty.
fn at(digest: &str, act: Act) -> impl Fn(&Request) -> Act + Send + Sync + use<> {
    let (blob, manifest) = (format!("/blobs/{digest}"), format!("/manifests/{digest}"));
    move |request| {
        if request.path.ends_with(&blob) || request.path.ends_with(&manifest) {
            return act.clone();
        }
        Act::Serve
    }
}

fn at_tag(act: Act) -> impl Fn(&Request) -> Act + Send + Sync {
    at("v1", act)
}

fn blobs_with_a_wrong_digest_or_size() -> Vec<Fault> {
    let image = good();
    let (layer, manifest) = (image.layers[0].clone(), image.manifest.clone());
    let bytes = image.blobs[&layer].1.clone();
    let size = bytes.len();
    let config: Value = serde_json::from_slice(&image.blobs[&manifest].1).unwrap();
    let config = config["config"]["digest"].as_str().unwrap().to_owned();
    let other = |size: usize| vec![b'x'; size];
    let cut = bytes[..size / 2].to_vec();
    let config_size = image.blobs[&config].1.len();
    let mut ambiguous: Value = serde_json::from_slice(&image.blobs[&image.index].1).unwrap();
    ambiguous["layers"] = json!([]);
    ambiguous["config"] = json!({});
    vec![
        fault(
            "wrong layer",
            image.clone(),
            4,
            &["digest"],
            at(&layer, Act::body(other(size))),
        ),
        fault(
            "wrong configuration",
            image.clone(),
            4,
            &["digest"],
            at(&config, Act::body(other(config_size))),
        ),
        fault(
            "wrong manifest",
            image.clone(),
            4,
            &["wrong document"],
            at(&manifest, Act::body(b"{}".to_vec())),
        ),
        fault(
            "short layer",
            image.clone(),
            4,
            &["broke"],
            at(&layer, Act::body(other(5))),
        ),
        fault(
            "empty layer",
            image.clone(),
            4,
            &["only 0 of"],
            at(&layer, Act::body(Vec::new())),
        ),
        fault("layer cut off, always", image.clone(), 4, &["broke"], {
            let cut = cut[..1000].to_vec();
            at(&layer, Act::Promise(size, cut))
        }),
        fault(
            "longer layer",
            image.clone(),
            4,
            &["more than"],
            at(&layer, Act::body(other(size + 1))),
        ),
        fault(
            "endless layer",
            image.clone(),
            4,
            &["more than"],
            at(&layer, Act::Endless),
        ),
        fault(
            "another range than asked for",
            image.clone(),
            4,
            &["another part"],
            {
                let (layer, cut) = (layer.clone(), cut.clone());
                move |request| match request {
                    r if !r.is_blob(&layer) => Act::Serve,
                    r if r.headers.contains_key("range") => Act::Answer(
                        206,
                        vec![("Content-Range".into(), format!("bytes 0-9/{size}"))],
                        other(10),
                    ),
                    _ => Act::Promise(size, cut.clone()),
                }
            },
        ),
        fault(
            "missing layer",
            image.clone(),
            3,
            &["no blob"],
            at(&layer, Act::status(404)),
        ),
        fault(
            "endless document",
            image.clone(),
            4,
            &["more than"],
            at_tag(Act::Endless),
        ),
        fault(
            "document of 5 MiB",
            image.clone(),
            4,
            &["more than"],
            at_tag(Act::body(other(5 << 20))),
        ),
        fault(
            "no JSON",
            image.clone(),
            4,
            &["not a valid document"],
            at_tag(Act::body(b"<html>".to_vec())),
        ),
        fault(
            "JSON without end",
            image.clone(),
            4,
            &["not a valid document"],
            at_tag(Act::body(
                other(0)
                    .into_iter()
                    .chain("[".repeat(100_000).into_bytes())
                    .collect::<Vec<_>>(),
            )),
        ),
        fault(
            "neither index nor manifest",
            image.clone(),
            4,
            &["neither"],
            at_tag(Act::body(b"{\"schemaVersion\":2}".to_vec())),
        ),
        fault(
            "docker's first format",
            image.clone(),
            4,
            &["schema 1"],
            at_tag(Act::body(b"{\"schemaVersion\":1}".to_vec())),
        ),
        fault(
            "both index and manifest",
            image,
            4,
            &["as an index and as a manifest"],
            at_tag(Act::body(ambiguous.to_string())),
        ),
    ]
}

fn malicious_documents() -> Vec<Fault> {
    let changed = |change: fn(&mut Value)| Image::with(&[kernel_layer()], change, |_| {});
    let mut many = good();
    let entry = json!({"mediaType": MANIFEST, "digest": many.manifest, "size": 10});
    let entries = vec![entry; 20_000];
    many.set_index(
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
            .to_string()
            .into_bytes(),
    );
    let mut inside = good();
    let index = inside.index.clone();
    let entry = json!({"mediaType": INDEX, "digest": index, "size": 1,
        "platform": {"os": "qemu", "architecture": "x86_64"}});
    inside.set_index(
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})
            .to_string()
            .into_bytes(),
    );
    let nest = |image: &mut Image, entries: Vec<Value>| {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        image.set_index(index.to_string().into_bytes());
        json!({"mediaType": INDEX, "digest": image.index, "size": 1})
    };
    let mut deep = good();
    for _ in 0..4 {
        let entry = json!({"mediaType": INDEX, "digest": deep.index, "size": 1});
        nest(&mut deep, vec![entry]);
    }
    let mut masked = good();
    let entry = json!({"mediaType": MANIFEST, "digest": masked.index, "size": 1,
        "platform": {"os": "qemu", "architecture": "x86_64"}});
    nest(&mut masked, vec![entry]);
    let mut wide = good();
    let entry = json!({"mediaType": INDEX, "digest": wide.index, "size": 1});
    let entries = (0..100)
        .map(|number| {
            let mut entry = entry.clone();
            entry["annotations"] = json!({"number": number.to_string()});
            nest(&mut wide, vec![entry])
        })
        .collect();
    nest(&mut wide, entries);
    let mut elsewhere = good();
    let entry = json!({"mediaType": MANIFEST, "digest": elsewhere.manifest, "size": 1,
        "platform": {"os": "linux", "architecture": "amd64"}});
    elsewhere.set_index(
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})
            .to_string()
            .into_bytes(),
    );
    let honest = |_: &Request| Act::Serve;
    vec![
        fault(
            "a million layers",
            changed(|m| {
                let layer = m["layers"][0].clone();
                m["layers"] = vec![layer; 1_000_000].into();
            }),
            4,
            &["more than"],
            honest,
        ),
        fault(
            "five thousand layers",
            changed(|m| {
                let layer = json!({"digest": m["layers"][0]["digest"], "size": 1});
                m["layers"] = vec![layer; 5_000].into();
            }),
            4,
            &["5000 blobs"],
            honest,
        ),
        fault("twenty thousand manifests", many, 4, &["blobs"], honest),
        fault(
            "a negative size",
            changed(|m| m["layers"][0]["size"] = json!(-1)),
            4,
            &["not a valid document"],
            honest,
        ),
        fault(
            "a size beyond numbers",
            changed(|m| m["layers"][0]["size"] = json!(1e30)),
            4,
            &["not a valid document"],
            honest,
        ),
        fault(
            "a size that nothing has",
            changed(|m| m["layers"][0]["size"] = json!(1_u64 << 62)),
            4,
            &["broke"],
            honest,
        ),
        fault(
            "a digest of another kind",
            changed(|m| m["layers"][0]["digest"] = json!("md5:00")),
            4,
            &["md5"],
            honest,
        ),
        fault(
            "a digest that is a path",
            changed(|m| m["layers"][0]["digest"] = json!("sha256:../../../etc/passwd")),
            4,
            &["is not a valid digest"],
            honest,
        ),
        fault(
            "the same layer twice",
            changed(|m| {
                let layer = m["layers"][0].clone();
                m["layers"].as_array_mut().unwrap().push(layer);
            }),
            0,
            &[],
            honest,
        ),
        fault("an index inside an index", inside, 0, &[], honest),
        fault(
            "indexes inside indexes without end",
            deep,
            4,
            &["indexes inside indexes"],
            honest,
        ),
        fault(
            "an index that says it is a manifest",
            masked,
            4,
            &["not a manifest, but an index"],
            honest,
        ),
        fault("a hundred indexes", wide, 4, &["65 blobs"], honest),
        fault(
            "nothing for unikernels",
            elsewhere,
            3,
            &["no unikernel"],
            honest,
        ),
    ]
}

fn invalid_responses() -> Vec<Fault> {
    let loops = |_: &Request| Act::field(302, "Location", "/v2/evil/image/manifests/v1");
    vec![
        fault(
            "401 without a challenge",
            good(),
            5,
            &["kraft login"],
            |_| Act::status(401),
        ),
        fault("403", good(), 5, &["not allow"], |_| Act::status(403)),
        fault("404", good(), 3, &["evil/image:v1"], |_| Act::status(404)),
        fault("418", good(), 4, &["HTTP 418"], |_| Act::status(418)),
        fault("429 for ever", good(), 4, &["HTTP 429"], |_| {
            Act::field(429, "Retry-After", "0")
        }),
        fault("429 for a day", good(), 4, &["86400 seconds"], |_| {
            Act::field(429, "Retry-After", "86400")
        }),
        fault("503 for ever", good(), 4, &["HTTP 503"], |_| {
            Act::status(503)
        }),
        fault(
            "500 once, 502 once",
            good(),
            0,
            &[],
            |request| match request.time {
                1 => Act::status(500),
                2 => Act::status(502),
                _ => Act::Serve,
            },
        ),
        fault("a circle", good(), 4, &["circle"], loops),
        fault("a way to a file", good(), 4, &["not an HTTP URL"], |_| {
            Act::field(302, "Location", "file:///etc/passwd")
        }),
        fault(
            "a way to nowhere",
            good(),
            4,
            &["without a `Location`"],
            |_| Act::status(307),
        ),
        fault("hangs up", good(), 4, &["cannot reach"], |_| {
            Act::Raw(Vec::new())
        }),
        fault("no HTTP", good(), 4, &["cannot reach"], |_| {
            Act::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())
        }),
        fault("silent", good(), 4, &["silent for 2 seconds"], |_| {
            Act::Stall
        })
        .timeout("2"),
        fault("escape sequences", good(), 5, &["not allow"], |_| {
            Act::Answer(
                403,
                Vec::new(),
                br#"{"errors":[{"message":"\u001b[2Jgone"}]}"#.to_vec(),
            )
        }),
        fault(
            "an unasked 304",
            good(),
            4,
            &["returned 304"],
            at_tag(Act::status(304)),
        ),
    ]
}

fn tokens() -> Vec<Fault> {
    let challenge = |realm: &str| {
        Act::field(
            401,
            "WWW-Authenticate",
            &format!("Bearer realm=\"{realm}\",service=\"s\""),
        )
    };
    let sends_to = move |realm: &'static str| move |_: &Request| challenge(realm);
    // The realm is on the registry itself; its address is only known when it is asked.
    let own = move |token: Act| {
        move |request: &Request| {
            if request.path.starts_with("/token") {
                return token.clone();
            }
            match request.headers.get("authorization") {
                Some(header) if header == "Bearer good" => Act::Serve,
                _ => challenge(&format!("http://{}/token", request.headers["host"])),
            }
        }
    };
    vec![
        fault(
            "credentials unprotected to a stranger",
            good(),
            4,
            &["unprotected"],
            sends_to("http://stranger.example/token"),
        ),
        fault(
            "a token server that is none",
            good(),
            4,
            &["not an HTTP URL"],
            sends_to("ftp://stranger.example/"),
        ),
        fault(
            "a token server without a name",
            good(),
            4,
            &["is not a URL"],
            sends_to("nonsense"),
        ),
        fault(
            "a good token",
            good(),
            0,
            &[],
            own(Act::body(br#"{"token":"good"}"#.to_vec())),
        ),
        fault(
            "an empty token",
            good(),
            4,
            &["no token"],
            own(Act::body(br#"{"token":""}"#.to_vec())),
        ),
        fault(
            "a token that is no JSON",
            good(),
            4,
            &["no token"],
            own(Act::body(b"good".to_vec())),
        ),
        fault(
            "an endless token",
            good(),
            4,
            &["endless"],
            own(Act::Endless),
        ),
        fault(
            "a token with a line break",
            good(),
            1,
            &[],
            own(Act::body(b"{\"token\":\"a\\nb\"}".to_vec())),
        ),
        fault(
            "a token that is refused",
            good(),
            5,
            &["kraft login"],
            own(Act::body(br#"{"token":"bad"}"#.to_vec())),
        ),
        fault(
            "no token for you",
            good(),
            5,
            &["refused"],
            own(Act::status(401)),
        ),
    ]
}

#[test]
fn blobs_and_documents_with_a_wrong_digest_or_size_are_rejected() {
    play_all(blobs_with_a_wrong_digest_or_size());
}

#[test]
fn malicious_documents_are_rejected() {
    play_all(malicious_documents());
}

#[test]
fn invalid_responses_are_errors() {
    play_all(invalid_responses());
}

#[test]
fn malicious_token_servers_are_errors() {
    let mut faults = tokens();
    // What our own side cannot send names no registry.
    faults.retain(|fault| fault.what != "a token with a line break");
    play_all(faults);
}

#[test]
fn a_registry_that_always_answers_429_gets_few_requests() {
    let registry = Hostile::start(good(), Arc::new(|_| Act::field(429, "Retry-After", "0")));
    let _ = bench()
        .kraft(["pkg", "pull", &registry.name("a/b")])
        .exits(4);
    // The first, and as many as there are retries.
    assert_eq!(registry.requests().len(), 4);
}

#[test]
fn an_interrupted_transfer_is_resumed() {
    let image = good();
    let layer = image.layers[0].clone();
    let bytes = image.blobs[&layer].1.clone();
    let cuts = Arc::new(AtomicUsize::new(0));
    let play = {
        let (layer, cuts) = (layer.clone(), Arc::clone(&cuts));
        move |request: &Request| {
            if request.is_blob(&layer) && cuts.fetch_add(1, Ordering::SeqCst) == 0 {
                return Act::Promise(bytes.len(), bytes[..bytes.len() / 2].to_vec());
            }
            Act::Serve
        }
    };
    let registry = Hostile::start(image, Arc::new(play));
    let bench = bench();
    bench.ok(["pkg", "pull", &registry.name("a/b")]);
    let asked: Vec<Request> = registry.requests();
    let second = asked.iter().filter(|r| r.is_blob(&layer)).nth(1).unwrap();
    assert!(second.headers["range"].starts_with("bytes=1"), "{second:?}");
    bench.ok(["store", "verify"]);
}

#[test]
fn a_registry_without_ranges_sends_all_of_it_again() {
    let image = good();
    let layer = image.layers[0].clone();
    let bytes = image.blobs[&layer].1.clone();
    let play = {
        let layer = layer.clone();
        move |request: &Request| match request {
            r if !r.is_blob(&layer) => Act::Serve,
            r if r.time == 1 => Act::Promise(bytes.len(), bytes[..100_000].to_vec()),
            _ => Act::body(bytes.clone()),
        }
    };
    let registry = Hostile::start(image, Arc::new(play));
    let bench = bench();
    bench.ok(["pkg", "pull", &registry.name("a/b")]);
    bench.ok(["store", "verify"]);
}

#[test]
fn the_next_pull_resumes_after_a_registry_died() {
    let image = good();
    let layer = image.layers[0].clone();
    let bytes = image.blobs[&layer].1.clone();
    let dead = Arc::new(AtomicUsize::new(0));
    let play = {
        let (layer, dead) = (layer.clone(), Arc::clone(&dead));
        move |request: &Request| {
            if !request.is_blob(&layer) || dead.load(Ordering::SeqCst) == 1 {
                return Act::Serve;
            }
            match request.headers.get("range") {
                None => Act::Promise(bytes.len(), bytes[..2 << 20].to_vec()),
                Some(_) => Act::Raw(Vec::new()),
            }
        }
    };
    let registry = Hostile::start(image, Arc::new(play));
    let bench = bench();
    let name = registry.name("a/b");
    let outcome = bench.kraft(["pkg", "pull", &name]).exits(4);
    assert!(
        outcome.stderr.contains("is resumed") || outcome.stderr.contains("cannot reach"),
        "{}",
        outcome.stderr
    );
    bench.ok(["store", "verify"]);
    dead.store(1, Ordering::SeqCst);
    let before = registry.requests().len();
    bench.ok(["pkg", "pull", &name]);
    let asked = registry.requests();
    let again = asked[before..].iter().find(|r| r.is_blob(&layer)).unwrap();
    let from: usize = again.headers["range"]
        .trim_start_matches("bytes=")
        .trim_end_matches('-')
        .parse()
        .unwrap();
    assert!(from >= 1 << 20, "{again:?}");
    bench.ok(["store", "verify"]);
}

#[test]
fn an_expired_token_is_fetched_again() {
    let image = Image::of_layers(&[kernel_layer(), tar("unikraft/bin/initrd", b'0', "", b"x")]);
    let given = Arc::new(AtomicUsize::new(0));
    let used = Arc::new(AtomicUsize::new(0));
    let play = {
        let (given, used) = (Arc::clone(&given), Arc::clone(&used));
        move |request: &Request| {
            if request.path.starts_with("/token") {
                let number = given.fetch_add(1, Ordering::SeqCst) + 1;
                used.store(0, Ordering::SeqCst);
                return Act::body(format!("{{\"token\":\"t{number}\",\"expires_in\":3600}}"));
            }
            let now = format!("Bearer t{}", given.load(Ordering::SeqCst));
            let valid = request.headers.get("authorization") == Some(&now);
            // Each token is good for three questions.
            if valid && used.fetch_add(1, Ordering::SeqCst) < 3 {
                return Act::Serve;
            }
            let realm = format!("Bearer realm=\"http://{}/token\"", request.headers["host"]);
            Act::field(401, "WWW-Authenticate", &realm)
        }
    };
    let registry = Hostile::start(image, Arc::new(play));
    let bench = bench();
    bench.ok(["pkg", "pull", &registry.name("a/b")]);
    assert!(given.load(Ordering::SeqCst) >= 2);
    bench.ok(["store", "verify"]);
}

#[test]
fn credentials_are_not_sent_to_another_host() {
    let image = good();
    let layer = image.layers[0].clone();
    let other = Hostile::start(image.clone(), Arc::new(|_| Act::Serve));
    let play = {
        let (layer, to) = (layer.clone(), other.address().to_owned());
        move |request: &Request| {
            if !request.headers.contains_key("authorization") {
                return Act::field(401, "WWW-Authenticate", "Basic realm=\"r\"");
            }
            if request.is_blob(&layer) {
                return Act::field(307, "Location", &format!("http://{to}{}", request.path));
            }
            Act::Serve
        }
    };
    let registry = Hostile::start(image, Arc::new(play));
    let bench = bench();
    let config = bench.path().join("config");
    std::fs::create_dir(&config).unwrap();
    let auth = format!(
        "auth:\n  \"{}\": {{user: joe, token: s3cret}}\n",
        registry.address()
    );
    std::fs::write(config.join("config.yaml"), auth).unwrap();
    bench.ok(["pkg", "pull", &registry.name("a/b")]);
    let followed = other.requests();
    assert!(followed.iter().any(|r| r.is_blob(&layer)), "{followed:?}");
    for request in followed {
        assert!(
            !request.headers.contains_key("authorization"),
            "{request:?}"
        );
    }
}

/// Pulls and runs an image with these layers; what must fail fails and writes nothing outside.
fn run_layers(what: &str, layers: &[Vec<u8>]) -> Outcome {
    let registry = Hostile::start(Image::of_layers(layers), Arc::new(|_| Act::Serve));
    let bench = bench();
    let outcome = bench.kraft(["run", "--rm", "-W", &registry.name("evil/image")]);
    let left: Vec<_> = walk(bench.path())
        .into_iter()
        .filter(|path| path.contains("escaped"))
        .collect();
    assert!(left.is_empty(), "{what}: {left:?}");
    outcome
}

fn walk(dir: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        found.push(entry.path().display().to_string());
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&entry.path()));
        }
    }
    found
}

#[test]
fn malicious_layers_are_rejected_before_anything_boots() {
    let kernel = std::fs::read(mini("x86_64")).unwrap();
    let path = "unikraft/bin/kernel";
    let whole = tar(path, b'0', "", &kernel);
    let mut huge = whole.clone();
    huge[124..136].copy_from_slice(b"77777777777\0");
    // Members of a gzip file, one after the other, are one content: 1.3 GB.
    let gzip_of_nothing = {
        let mut gzip = std::process::Command::new("sh");
        gzip.args(["-c", "head -c 10000000 /dev/zero | gzip -9"]);
        gzip.output().unwrap().stdout.repeat(130)
    };
    for (what, layer, says) in [
        (
            "climbs out",
            tar("../../escaped", b'0', "", b"x"),
            "leads out",
        ),
        (
            "climbs out later",
            tar("unikraft/../../escaped", b'0', "", b"x"),
            "leads out",
        ),
        ("absolute", tar("/tmp/escaped", b'0', "", b"x"), "leads out"),
        (
            "symbolic link",
            tar(path, b'2', "/etc/passwd", b""),
            "a link or a device",
        ),
        (
            "hard link",
            tar(path, b'1', "/etc/passwd", b""),
            "a link or a device",
        ),
        ("device", tar(path, b'3', "", b""), "a link or a device"),
        ("no kernel", tar("escaped", b'0', "", b"x"), "has no kernel"),
        ("no tar", kernel.clone(), "not a readable tar"),
        ("cut off", whole[..whole.len() / 2].to_vec(), "cannot"),
        ("larger than it is", huge, "cannot"),
        (
            "no kernel that we know",
            tar(path, b'0', "", b"#!/bin/sh"),
            "cannot be run",
        ),
        ("a bomb", gzip_of_nothing, "cannot"),
    ] {
        let outcome = run_layers(what, &[layer]);
        assert!(matches!(outcome.code, Some(1..=3)), "{what}: {outcome:?}");
        assert!(outcome.stderr.contains(says), "{what}: {}", outcome.stderr);
        assert!(!outcome.stdout.contains("kraft-guest"), "{what}");
    }
    let outcome = run_layers("good", &[whole]);
    assert!(outcome.stdout.contains("hello from x86_64"), "{outcome:?}");
}

#[test]
fn a_layer_with_another_diff_id_is_rejected() {
    let kernel = std::fs::read(mini("x86_64")).unwrap();
    let layer = tar("unikraft/bin/kernel", b'0', "", &kernel);
    let image = Image::with(
        &[layer],
        |_| {},
        |config| {
            config["rootfs"]["diff_ids"][0] = json!(format!("sha256:{}", "0".repeat(64)));
        },
    );
    let registry = Hostile::start(image, Arc::new(|_| Act::Serve));
    let outcome = bench().kraft(["run", "--rm", "-W", &registry.name("a/b")]);
    let _ = outcome.exits(1);
}
