//! Tests of the client against a small HTTP server that returns the responses given by each test.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use kraft_cloud::client::Client;
use kraft_cloud::endpoint::Endpoint;
use kraft_cloud::request::Id;
use kraft_cloud::resources::instances::{self, CreateInstance};
use kraft_cloud::token::Token;
use kraft_cloud::{Error, ErrorKind};
use kraft_http::Policy;

/// Requests that the server received, one per connection.
type Seen = Arc<Mutex<Vec<String>>>;

/// Answers one connection after the other with these responses; an empty one closes the connection.
fn serve(answers: Vec<String>) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let request = read(&mut stream);
            log.lock().unwrap().push(request);
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (base, seen)
}

/// Reads a request: its head, and as many bytes of body as its `Content-Length`.
fn read(stream: &mut impl Read) -> String {
    let mut text = String::new();
    let mut byte = [0];
    let mut left = usize::MAX;
    while left > 0 && stream.read(&mut byte).unwrap() == 1 {
        text.push(char::from(byte[0]));
        left = left.wrapping_sub(1);
        if left > 1 << 20 && text.ends_with("\r\n\r\n") {
            let lower = text.to_lowercase();
            let length = lower.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.lines().next());
            left = length.map_or(0, |length| length.parse().unwrap());
        }
    }
    text
}

fn http(status: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{more}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

fn instance(name: &str) -> String {
    let body = format!(
        r#"{{"status":"success","data":{{"instances":[{{"status":"success","uuid":"u","name":"{name}"}}]}}}}"#
    );
    http("200 OK", "", &body)
}

fn client(base: &str) -> Client {
    let policy = Policy {
        idle: Duration::from_secs(20),
        retries: 3,
        ..Policy::new("test")
    };
    let token = Token::of("anna", "hush-hush").unwrap();
    Client::new(Endpoint::of(base).unwrap(), token, policy).unwrap()
}

fn wanted() -> CreateInstance {
    CreateInstance {
        image: "anna/web".to_owned(),
        name: Some("web-1".to_owned()),
        ..CreateInstance::default()
    }
}

#[tokio::test]
async fn a_get_carries_its_ids_and_the_bearer() {
    let (base, seen) = serve(vec![instance("web")]);
    let request = instances::get(&[Id::new("web")]);
    let found = client(&base).send(&request).await.unwrap().one().unwrap();
    assert_eq!(found.name, "web");
    let seen = seen.lock().unwrap();
    assert!(
        seen[0].starts_with("GET /v1/instances?name=web&details=true&count=1 HTTP/1.1"),
        "{}",
        seen[0]
    );
    assert!(
        seen[0].contains("Bearer YW5uYTpodXNoLWh1c2g="),
        "{}",
        seen[0]
    );
}

#[tokio::test]
async fn an_older_platform_is_asked_in_its_form_and_remembered() {
    let unknown = || http("400 No", "", r#"{"message":"unknown parameter"}"#);
    let (base, seen) = serve(vec![unknown(), instance("web"), instance("web")]);
    let client = client(&base);
    let request = instances::get(&[Id::new("web")]);
    for _ in 0..2 {
        client.send(&request).await.unwrap().one().unwrap();
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    for text in &seen[1..] {
        assert!(text.ends_with(r#"[{"name":"web"}]"#), "{text}");
    }
    assert_eq!(client.speaks_today(), Some(false));
}

#[tokio::test]
async fn an_answer_about_another_one_is_an_error() {
    let (base, _) = serve(vec![instance("other"), instance("other")]);
    let request = instances::get(&[Id::new("web")]);
    let error = client(&base).send(&request).await.unwrap_err();
    assert!(matches!(error, Error::Mistaken { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("`other` instead of `web`"), "{said}");
}

#[tokio::test]
async fn a_get_is_asked_again_after_a_fault() {
    let fault = http("500 Oops", "", "");
    let (base, seen) = serve(vec![String::new(), fault, instance("web")]);
    client(&base).send(&instances::get(&[])).await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_server_that_is_busy_is_left_alone_for_as_long_as_it_says() {
    let busy = http("429 Too Many", "retry-after: 0\r\n", "");
    let (base, seen) = serve(vec![busy, instance("web-1")]);
    client(&base).create(&wanted()).await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 2);

    let long = http("429 Too Many", "retry-after: 9999\r\n", "");
    let (base, _) = serve(vec![long]);
    let error = client(&base).send(&instances::get(&[])).await.unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_looked_for_and_not_repeated() {
    let (base, seen) = serve(vec![String::new(), instance("web-1")]);
    let made = client(&base).create(&wanted()).await.unwrap();
    assert_eq!(made[0].name, "web-1");
    let seen = seen.lock().unwrap();
    let posts = seen.iter().filter(|text| text.starts_with("POST")).count();
    assert_eq!((posts, seen.len()), (1, 2));
}

#[tokio::test]
async fn the_token_does_not_follow_a_redirect() {
    let (other, stolen) = serve(vec![instance("web")]);
    let moved = http("307 Moved", &format!("location: {other}\r\n"), "");
    let (base, _) = serve(vec![moved]);
    let error = client(&base).send(&instances::get(&[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(stolen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn no_error_and_no_debug_text_has_the_token() {
    let (base, _) = serve(vec![http("401 No", "", r#"{"message":"who are you"}"#)]);
    let client = client(&base);
    let error = client.send(&instances::get(&[])).await.unwrap_err();
    let all = format!("{error} {error:?} {client:?}");
    assert!(all.contains("who are you"), "{all}");
    assert!(!all.contains("hush") && !all.contains("YW5uYT"), "{all}");
}

#[tokio::test]
async fn half_an_answer_is_no_answer() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"status\"".to_owned();
    let (base, seen) = serve(vec![half, instance("web")]);
    client(&base).send(&instances::get(&[])).await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 2);
}
