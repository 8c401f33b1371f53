//! Who is shown what: challenges, tokens, redirects.

use std::sync::Arc;

use kraft_oci::credentials::{Credential, Secret};
use kraft_oci::image::Descriptor;
use kraft_oci::registry::{Error, ErrorKind, Fetched, Registry};

use crate::scripted::{Answer, Request, Server};
use crate::{Given, Memory, Only, anonymous, bytes, name, policy, registry, user_of};

/// Base64 of `me:s3cret`.
const BASIC: &str = "Basic bWU6czNjcmV0";
const MANIFEST: &str = r#"{"schemaVersion":2}"#;

fn challenge(request: &Request) -> Answer {
    let host = request.header("host").unwrap();
    let value = format!(r#"Bearer realm="http://{host}/token",service="the registry""#);
    Answer::status(401).header("WWW-Authenticate", value)
}

/// A registry with a token server of its own that gives `t0`, `t1` and so on; `good` says which.
fn with_tokens(good: impl Fn(&str) -> bool + Send + Sync + 'static) -> Server {
    let given = std::sync::atomic::AtomicUsize::new(0);
    Server::start(move |request| {
        if request.line.contains(" /token") {
            let number = given.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            return Answer::status(200)
                .body(format!(r#"{{"token":"t{number}","expires_in":300}}"#));
        }
        match request.header("authorization") {
            Some(header) if good(header) => Answer::status(200).body(MANIFEST),
            _ => challenge(request),
        }
    })
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used_again() {
    let server = with_tokens(|header| header == "Bearer t0");
    let registry = user_of(&server.address);
    let image = name(&server.address, "a/b:1");
    for _ in 0..3 {
        registry.manifest(&image, None).await.unwrap();
    }
    let asked = server.asked("GET", "/token");
    assert_eq!(asked.len(), 1);
    assert!(asked[0].line.contains("service=the+registry"), "{asked:?}");
    assert!(asked[0].line.contains("scope=repository%3Aa%2Fb%3Apull"));
    assert_eq!(asked[0].header("authorization"), Some(BASIC));
    // The first question is asked without anything; the password goes to the token server only.
    let manifests = server.asked("GET", "/manifests/");
    let shown: Vec<_> = manifests
        .iter()
        .map(|r| r.header("authorization"))
        .collect();
    let token = Some("Bearer t0");
    assert_eq!(shown, [None, token, token, token]);
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_by_another() {
    let server = with_tokens(|header| header == "Bearer t1");
    let image = name(&server.address, "a/b:1");
    let registry = user_of(&server.address);
    registry.manifest(&image, None).await.unwrap();
    assert_eq!(server.asked("GET", "/token").len(), 2);
}

#[tokio::test]
async fn tokens_that_are_never_good_are_not_fetched_for_ever() {
    let server = with_tokens(|_| false);
    let image = name(&server.address, "a/b:1");
    let registry = user_of(&server.address);
    let error = registry.manifest(&image, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
    assert!(server.asked("GET", "/token").len() <= 3);
}

#[tokio::test]
async fn many_who_are_refused_together_share_one_new_token() {
    let expired = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_over = Arc::clone(&expired);
    let server = with_tokens(move |header| {
        let over = is_over.load(std::sync::atomic::Ordering::SeqCst);
        header == "Bearer t0" && !over || header == "Bearer t1" && over
    });
    let registry = user_of(&server.address);
    let image = name(&server.address, "a/b:1");
    registry.manifest(&image, None).await.unwrap();
    expired.store(true, std::sync::atomic::Ordering::SeqCst);
    let all = (0..8).map(|_| registry.manifest(&image, None));
    for outcome in futures_util::future::join_all(all).await {
        outcome.unwrap();
    }
    assert_eq!(server.asked("GET", "/token").len(), 2);
}

#[tokio::test]
async fn an_identity_token_is_exchanged_and_never_shown_to_the_registry() {
    let server = Server::start(|request| {
        if request.line == "POST /token" {
            return Answer::status(200).body(r#"{"access_token":"fresh"}"#);
        }
        match request.header("authorization") {
            Some("Bearer fresh") => Answer::status(200).body(MANIFEST),
            _ => challenge(request),
        }
    });
    let credential = Credential::IdentityToken(Secret::new("1dent&ty"));
    let registry = registry(Only(server.address.clone(), credential));
    registry
        .manifest(&name(&server.address, "a/b:1"), None)
        .await
        .unwrap();
    let asked = server.asked("POST", "/token");
    let form = String::from_utf8(asked[0].body.clone()).unwrap();
    assert!(form.contains("grant_type=refresh_token"), "{form}");
    assert!(form.contains("refresh_token=1dent%26ty"), "{form}");
    for request in server.asked("GET", "") {
        assert!(!format!("{request:?}").contains("1dent"), "{request:?}");
    }
}

#[tokio::test]
async fn a_token_server_that_stumbles_is_asked_again() {
    let server = Server::start(|request| {
        if request.line.contains(" /token") {
            return match request.before {
                0 => Answer::status(503),
                _ => Answer::status(200).body(r#"{"token":"t"}"#),
            };
        }
        match request.header("authorization") {
            Some("Bearer t") => Answer::status(200).body(MANIFEST),
            _ => challenge(request),
        }
    });
    let image = name(&server.address, "a/b:1");
    anonymous().manifest(&image, None).await.unwrap();
}

#[tokio::test]
async fn a_redirect_to_another_host_carries_no_authorization() {
    let blob = bytes(1000);
    let body = blob.clone();
    let cdn = Server::start(move |_| Answer::status(200).body(body.clone()));
    let elsewhere = format!("http://{}/blob", cdn.address);
    let server = Server::start(move |request| match request.header("authorization") {
        Some(BASIC) => Answer::status(307).header("Location", elsewhere.clone()),
        _ => Answer::status(401).header("WWW-Authenticate", "Basic realm=r"),
    });
    let mut sink = Memory::default();
    user_of(&server.address)
        .fetch_blob(
            &name(&server.address, "a/b:1"),
            &Descriptor::of("x", &blob),
            &mut sink,
        )
        .await
        .unwrap();
    assert_eq!(sink.bytes, blob);
    assert_eq!(cdn.seen().len(), 1);
    assert_eq!(cdn.seen()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_host_we_were_led_to_cannot_ask_for_the_credentials_of_the_registry() {
    let thief = Server::start(|request| {
        if request.line.contains(" /token") {
            Answer::status(200).body(r#"{"token":"t"}"#)
        } else {
            challenge(request)
        }
    });
    let elsewhere = format!("http://{}/blob", thief.address);
    let server = Server::start(move |_| Answer::status(307).header("Location", elsewhere.clone()));
    let error = user_of(&server.address)
        .manifest(&name(&server.address, "a/b:1"), None)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    for request in thief.seen() {
        assert_eq!(request.header("authorization"), None, "{request:?}");
    }
    assert_eq!(thief.asked("GET", "/token").len(), 0);
}

#[tokio::test]
async fn an_upload_that_leads_to_another_host_carries_no_authorization() {
    let storage = Server::start(|_| Answer::status(201));
    let elsewhere = format!("http://{}/upload?state=1", storage.address);
    let server = Server::start(move |request| match request.header("authorization") {
        Some(BASIC) => Answer::status(202).header("Location", elsewhere.clone()),
        _ => Answer::status(401).header("WWW-Authenticate", "Basic realm=r"),
    });
    let blob = bytes(5000);
    let descriptor = Descriptor::of("x", &blob);
    user_of(&server.address)
        .push_blob(
            &name(&server.address, "a/b:1"),
            &descriptor,
            Arc::new(Given(blob.clone())),
            &|_| {},
        )
        .await
        .unwrap();
    let seen = storage.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("authorization"), None);
    assert_eq!(seen[0].body, blob);
    let target = format!("digest=sha256%3A{}", descriptor.digest.hex());
    assert!(seen[0].line.contains("state=1") && seen[0].line.contains(&target));
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let server = Server::start(|request| {
        Answer::status(302).header("Location", format!("/x{}", request.line.len()))
    });
    let error = anonymous()
        .manifest(&name(&server.address, "a/b:1"), None)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    assert!(server.seen().len() <= 11, "{}", server.seen().len());
}

#[tokio::test]
async fn who_has_no_credentials_is_told_how_to_log_in() {
    let server = Server::start(|_| Answer::status(401).header("WWW-Authenticate", "Basic realm=r"));
    let error = anonymous()
        .manifest(&name(&server.address, "a/b:1"), None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    let advice = format!("kraft login {}", server.address);
    assert!(error.hints()[0].contains(&advice), "{:?}", error.hints());
}

#[tokio::test]
async fn offline_opens_no_connection() {
    let server = Server::start(|_| Answer::status(200).body(MANIFEST));
    let mut policy = policy();
    policy.offline = true;
    let registry = Registry::new(policy, Arc::new(crate::Nothing)).unwrap();
    let image = name(&server.address, "a/b:1");
    let digest = kraft_oci::digest::of(b"x");
    for error in [
        registry.manifest(&image, None).await.map(drop).unwrap_err(),
        registry.head(&image).await.map(drop).unwrap_err(),
        registry
            .has_blob(&image, &digest)
            .await
            .map(drop)
            .unwrap_err(),
        registry.tags(&image).await.map(drop).unwrap_err(),
        registry
            .catalog(&server.address)
            .await
            .map(drop)
            .unwrap_err(),
        registry.log_in(&server.address).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Offline { .. }), "{error:?}");
    }
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn what_did_not_change_is_not_sent_again() {
    let server = Server::start(|request| match request.header("if-none-match") {
        Some("\"e\"") => Answer::status(304),
        _ => Answer::status(200).header("ETag", "\"e\"").body(MANIFEST),
    });
    let image = name(&server.address, "a/b:1");
    let registry = anonymous();
    let Fetched::Document { etag, digest, .. } = registry.manifest(&image, None).await.unwrap()
    else {
        panic!("nothing was known");
    };
    assert_eq!(digest, kraft_oci::digest::of(MANIFEST.as_bytes()));
    let again = registry.manifest(&image, etag.as_deref()).await.unwrap();
    assert_eq!(again, Fetched::NotModified);
}
