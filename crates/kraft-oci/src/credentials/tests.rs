use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

fn basic(user: &str, password: &str) -> Credential {
    Credential::Basic {
        user: user.to_owned(),
        password: Secret::new(password),
    }
}

fn file(dir: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    kraft_sys::fs::replace_file(&path, text.as_bytes()).unwrap();
    path
}

#[test]
fn our_own_come_first_then_dockers_then_podmans() {
    let dir = tempfile::tempdir().unwrap();
    let pair = |text: &str| STANDARD.encode(text);
    let docker = format!(
        r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{}"}},"both.example":{{"auth":"{}"}},
            "token.example":{{"auth":"{}","identitytoken":"idt"}},"empty.example":{{}}}}}}"#,
        pair("hub:1"),
        pair("docker:2"),
        pair("<token>:x"),
    );
    let podman = format!(
        r#"{{"auths":{{"both.example":{{"auth":"{}"}},"path.example/a/b":{{"auth":"{}"}}}}}}"#,
        pair("podman:3"),
        pair("podman:4:5"),
    );
    let keyrings = Keyrings {
        own: [(
            "own.example".to_owned(),
            ("me".to_owned(), "s3cret".to_owned()),
        )]
        .into(),
        docker: Some(file(&dir, "config.json", &docker)),
        podman: vec![dir.path().join("missing"), file(&dir, "auth.json", &podman)],
        ..Keyrings::default()
    };
    let find = |host: &str| keyrings.find(host).unwrap();
    assert_eq!(find("own.example"), Some(basic("me", "s3cret")));
    assert_eq!(find("index.docker.io"), Some(basic("hub", "1")));
    assert_eq!(find("both.example"), Some(basic("docker", "2")));
    assert_eq!(find("path.example"), Some(basic("podman", "4:5")));
    assert_eq!(
        find("token.example"),
        Some(Credential::IdentityToken(Secret::new("idt")))
    );
    assert_eq!(find("empty.example"), None);
    assert_eq!(find("unknown.example"), None);
}

#[test]
fn a_token_alone_may_carry_its_user() {
    assert_eq!(own("", &STANDARD.encode("me:pw")), basic("me", "pw"));
    assert_eq!(own("", "opaque"), Credential::Bearer(Secret::new("opaque")));
}

/// Keeps warnings.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Reporter for Warnings {
    fn report(&self, event: Event) {
        if let Event::Warning(text) = event {
            self.0.lock().unwrap().push(text);
        }
    }
}

/// Looks a registry up in a docker configuration; returns what was found, warned of and advised.
fn look_up(text: &str, host: &str) -> (Option<Credential>, Vec<String>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let warnings = Arc::new(Warnings::default());
    let keyrings = Keyrings {
        docker: Some(file(&dir, "config.json", text)),
        reporter: Some(Arc::clone(&warnings) as Arc<dyn Reporter>),
        ..Keyrings::default()
    };
    let found = keyrings.find(host).unwrap();
    let told = warnings.0.lock().unwrap().clone();
    (found, told, keyrings.advice(host))
}

#[test]
fn a_broken_file_is_passed_over_and_told_without_what_is_in_it() {
    for text in [
        r#"{"auths":{"a":{"auth":"s3cret"}}}"#,
        "{s3cret",
        r#"{"auths":"s3cret"}"#,
    ] {
        let (found, told, advice) = look_up(text, "a");
        assert_eq!((found, told.len()), (None, 1), "{told:?}");
        let told = format!("{told:?} {advice:?}");
        assert!(
            told.contains("config.json") && !told.contains("s3cret"),
            "{told}"
        );
    }
}

#[test]
fn null_is_an_absent_value_in_a_file() {
    let pair = STANDARD.encode("me:1");
    for text in [
        "null",
        r#"{"auths":null,"credHelpers":null,"credsStore":null}"#,
        r#"{"auths":{"a":null},"credHelpers":{"a":null},"credsStore":""}"#,
        r#"{"auths":{"a":{"auth":null,"username":null,"password":null,"identitytoken":null}}}"#,
    ] {
        assert_eq!(look_up(text, "a"), (None, Vec::new(), Vec::new()), "{text}");
    }
    let text = format!(r#"{{"auths":{{"b":null,"a":{{"auth":"{pair}"}}}},"credHelpers":null}}"#);
    assert_eq!(look_up(&text, "a").0, Some(basic("me", "1")));
}

#[test]
fn a_helper_that_is_missing_is_named_and_passed_over() {
    for text in [
        r#"{"credsStore":"no-such-store"}"#,
        r#"{"credHelpers":{"a.example":"no-such-store"}}"#,
        r#"{"credsStore":"../no-such-store"}"#,
    ] {
        let (found, told, advice) = look_up(text, "a.example");
        assert_eq!((found, told.len(), advice.len()), (None, 1, 1), "{told:?}");
        assert!(told[0].contains("no-such-store"), "{told:?}");
        assert!(told[0].contains("without credentials"), "{told:?}");
        assert!(advice[0].contains("config.json"), "{advice:?}");
    }
    let pair = STANDARD.encode("me:1");
    let text =
        format!(r#"{{"credsStore":"no-such-store","auths":{{"a.example":{{"auth":"{pair}"}}}}}}"#);
    let (found, told, _) = look_up(&text, "a.example");
    assert_eq!(found, Some(basic("me", "1")));
    assert!(told[0].contains("other credentials are used"), "{told:?}");
}

#[test]
fn nothing_secret_is_shown() {
    let keyrings = Keyrings {
        own: [("h".to_owned(), ("me".to_owned(), "s3cret".to_owned()))].into(),
        ..Keyrings::default()
    };
    let shown = format!("{keyrings:?} {:?}", keyrings.find("h").unwrap());
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn a_helper_is_asked_once_by_every_name_a_registry_has() {
    let names = docker::names;
    assert_eq!(names("a.example", "a.example"), ["a.example"]);
    assert_eq!(
        names("https://a.example/v1/", "a.example"),
        ["https://a.example/v1/", "a.example"]
    );
    let hub = ["index.docker.io", "https://index.docker.io/v1/"];
    assert_eq!(names(hub[0], hub[0]), hub);
    assert_eq!(names(hub[1], hub[0]), [hub[1], hub[0]]);
}
