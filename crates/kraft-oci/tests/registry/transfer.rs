//! Blobs on their way: ranges, broken connections, mounts, uploads.

use std::sync::Arc;
use std::time::Duration;

use kraft_oci::image::Descriptor;
use kraft_oci::registry::{Error, ErrorKind};

use crate::scripted::{Answer, Server};
use crate::{Given, Memory, anonymous, bytes, name};

/// More than a connection has to bring to count as one that brought something.
const SIZE: usize = 300_000;

/// Fetches a blob of `a/b:1` from a server without credentials.
async fn fetch(server: &Server, blob: &[u8], sink: &mut Memory) -> Result<(), Error> {
    let image = name(&server.address, "a/b:1");
    anonymous()
        .fetch_blob(&image, &Descriptor::of("x", blob), sink)
        .await
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke() {
    let blob = bytes(SIZE);
    let whole = blob.clone();
    let server = Server::start(move |request| match request.header("range") {
        None => Answer::status(200).body(whole.clone()).cut(100_000),
        Some(range) => {
            let from: usize = range
                .strip_prefix("bytes=")
                .and_then(|rest| rest.strip_suffix('-'))
                .unwrap()
                .parse()
                .unwrap();
            let told = format!("bytes {from}-{}/{}", whole.len() - 1, whole.len());
            let rest = whole[from..].to_vec();
            let cut = rest.len().min(100_000);
            let answer = Answer::status(206).header("Content-Range", told);
            answer.body(rest).cut(cut)
        }
    });
    let mut sink = Memory::default();
    fetch(&server, &blob, &mut sink).await.unwrap();
    assert!(sink.bytes == blob);
    assert_eq!(sink.restarts, 0);
    let asked = server.asked("GET", "/blobs/");
    let ranges: Vec<_> = asked.iter().map(|r| r.header("range")).collect();
    assert_eq!(ranges[0], None);
    assert!(ranges[1..].iter().all(Option::is_some), "{ranges:?}");
}

#[tokio::test]
async fn a_server_without_ranges_is_begun_with_anew() {
    let blob = bytes(SIZE);
    let whole = blob.clone();
    let server = Server::start(move |_| Answer::status(200).body(whole.clone()));
    let mut sink = Memory {
        bytes: vec![0; 1000],
        restarts: 0,
    };
    fetch(&server, &blob, &mut sink).await.unwrap();
    assert!(sink.bytes == blob);
    assert_eq!(sink.restarts, 1);
    let asked = server.asked("GET", "/blobs/");
    assert_eq!(asked[0].header("range"), Some("bytes=1000-"));
}

#[tokio::test]
async fn a_part_that_is_longer_than_the_blob_is_begun_with_anew() {
    let blob = bytes(1000);
    let whole = blob.clone();
    let server = Server::start(move |request| match request.header("range") {
        // An invalid reply to a client that already has too much data.
        Some(_) => Answer::status(206)
            .header("Content-Range", "bytes 2000-2000/2001")
            .body("x"),
        None => Answer::status(200).body(whole.clone()),
    });
    let mut sink = Memory {
        bytes: vec![0; 2000],
        restarts: 0,
    };
    fetch(&server, &blob, &mut sink).await.unwrap();
    assert!(sink.bytes == blob);
}

#[tokio::test]
async fn a_download_that_brings_nothing_is_given_up() {
    let blob = bytes(SIZE);
    let whole = blob.clone();
    let server = Server::start(move |_| Answer::status(200).body(whole.clone()).cut(10));
    let mut sink = Memory::default();
    let error = fetch(&server, &blob, &mut sink).await.unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error:?}");
    assert!(error.to_string().contains("a/b:1"), "{error}");
    assert!(server.seen().len() <= 7, "{}", server.seen().len());
}

#[tokio::test]
async fn no_more_bytes_are_taken_than_were_promised() {
    let server = Server::start(|_| Answer::status(200).body(bytes(2000)));
    let mut sink = Memory::default();
    let error = fetch(&server, &bytes(1000), &mut sink).await.unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    assert!(sink.bytes.len() <= 1000);
}

#[tokio::test]
async fn a_registry_that_is_busy_is_asked_again_when_it_says_so() {
    let server = Server::start(|request| match request.before {
        0 => Answer::status(429).header("Retry-After", "0"),
        1 => Answer::status(503),
        _ => Answer::status(200).body("{}"),
    });
    let image = name(&server.address, "a/b:1");
    anonymous().manifest(&image, None).await.unwrap();
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_storm_of_refusals_ends_with_the_words_of_the_registry() {
    let server = Server::start(|_| {
        Answer::status(429)
            .body(r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow\ndown"}]}"#)
    });
    let image = name(&server.address, "a/b:1");
    let error = anonymous().manifest(&image, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    let text = error.to_string();
    assert!(
        text.contains(&server.address) && text.contains("429"),
        "{text}"
    );
    assert!(text.ends_with("slow down"), "{text}");
    assert_eq!(server.seen().len(), 6);
}

#[tokio::test]
async fn a_pause_that_is_too_long_is_told_instead_of_taken() {
    let server = Server::start(|_| Answer::status(429).header("Retry-After", "100000"));
    let image = name(&server.address, "a/b:1");
    let error = anonymous().manifest(&image, None).await.unwrap_err();
    let Error::Busy { pause, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(pause, Duration::from_secs(100_000));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_mount_names_both_repositories_and_saves_the_upload() {
    let server = Server::start(|_| Answer::status(201));
    let digest = kraft_oci::digest::of(b"x");
    let (to, from) = (
        name(&server.address, "to:1"),
        name(&server.address, "a/from:1"),
    );
    assert!(anonymous().mount(&to, &from, &digest).await.unwrap());
    let line = &server.seen()[0].line;
    assert_eq!(
        *line,
        format!("POST /v2/to/blobs/uploads/?mount={digest}&from=a/from")
    );
}

#[tokio::test]
async fn an_upload_that_a_mount_began_instead_is_cancelled() {
    let server = Server::start(|request| {
        if request.is("POST", "") {
            Answer::status(202).header("Location", "/v2/to/blobs/uploads/7")
        } else {
            Answer::status(204)
        }
    });
    let digest = kraft_oci::digest::of(b"x");
    let (to, from) = (
        name(&server.address, "to:1"),
        name(&server.address, "from:1"),
    );
    assert!(!anonymous().mount(&to, &from, &digest).await.unwrap());
    assert_eq!(server.asked("DELETE", "/v2/to/blobs/uploads/7").len(), 1);
}

#[tokio::test]
async fn a_registry_that_knows_no_mounts_is_no_failure() {
    for status in [400, 401, 403, 404, 405] {
        let server = Server::start(move |_| Answer::status(status));
        let digest = kraft_oci::digest::of(b"x");
        let (to, from) = (
            name(&server.address, "to:1"),
            name(&server.address, "from:1"),
        );
        let mounted = anonymous().mount(&to, &from, &digest).await;
        assert!(matches!(mounted, Ok(false)), "{status}: {mounted:?}");
    }
}

#[tokio::test]
async fn an_upload_that_broke_is_begun_anew_and_not_gone_on_with() {
    // The first upload fails, and would not take a second body: it holds a part of the first.
    for failure in [500, 416, 404] {
        let server = Server::start(move |request| {
            if request.is("POST", "") {
                let upload = format!("/v2/a/b/blobs/uploads/{}", request.before);
                return Answer::status(202).header("Location", upload);
            }
            match request.is("PUT", "/uploads/0") {
                true if request.before == 0 => Answer::status(failure),
                true => Answer::status(416),
                false => Answer::status(201),
            }
        });
        let blob = bytes(SIZE);
        let image = name(&server.address, "a/b:1");
        anonymous()
            .push_blob(
                &image,
                &Descriptor::of("x", &blob),
                Arc::new(Given(blob.clone())),
                &|_| {},
            )
            .await
            .unwrap();
        assert_eq!(server.asked("PUT", "/uploads/0").len(), 1, "{failure}");
        let second = server.asked("PUT", "/uploads/1");
        assert_eq!(second.len(), 1, "{failure}");
        assert!(second[0].body == blob);
    }
}

#[tokio::test]
async fn an_upload_that_is_never_taken_is_a_failure() {
    for status in [304, 416, 500] {
        let server = Server::start(move |request| {
            if request.is("POST", "") {
                Answer::status(202).header("Location", "/v2/a/b/blobs/uploads/1")
            } else {
                Answer::status(status)
            }
        });
        let blob = bytes(10);
        let image = name(&server.address, "a/b:1");
        let pushed = anonymous()
            .push_blob(
                &image,
                &Descriptor::of("x", &blob),
                Arc::new(Given(blob.clone())),
                &|_| {},
            )
            .await;
        assert!(pushed.is_err(), "{status}");
        assert!(server.asked("PUT", "").len() <= 6, "{status}");
    }
}

#[tokio::test]
async fn answers_that_fit_no_question_are_no_success() {
    for status in [304, 416] {
        let server = Server::start(move |_| Answer::status(status));
        let image = name(&server.address, "a/b:1");
        let registry = anonymous();
        let digest = kraft_oci::digest::of(b"x");
        assert!(
            registry.has_blob(&image, &digest).await.is_err(),
            "{status}"
        );
        assert!(registry.head(&image).await.is_err(), "{status}");
        assert!(registry.manifest(&image, None).await.is_err(), "{status}");
        let pushed = registry.push_manifest(&image, "x", "{}".into()).await;
        assert!(pushed.is_err(), "{status}");
    }
}

#[tokio::test]
async fn a_list_is_read_over_its_pages_and_ends_where_they_lead_in_a_circle() {
    let server = Server::start(|request| {
        let answer = Answer::status(200);
        match request.line.as_str() {
            "GET /v2/_catalog?n=1000" => answer
                .header("Link", r#"</v2/_catalog?last=b>; rel="next""#)
                .body(r#"{"repositories":["a","b"]}"#),
            "GET /v2/_catalog?last=b" => answer.body(r#"{"repositories":["c"]}"#),
            _ => answer
                .header("Link", r#"</v2/a/b/tags/list?last=x>; rel="next""#)
                .body(r#"{"tags":["x"]}"#),
        }
    });
    let registry = anonymous();
    let found = registry.catalog(&server.address).await.unwrap();
    assert_eq!(found, ["a", "b", "c"]);
    let image = name(&server.address, "a/b:1");
    let error = registry.tags(&image).await.unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    let pages = server.asked("GET", "/tags/list").len();
    assert!(pages <= 1000, "{pages}");
}

#[tokio::test]
async fn a_document_must_be_what_its_digest_says() {
    let server = Server::start(|request| {
        let other = kraft_oci::digest::of(b"other");
        let answer = Answer::status(200).body("{}");
        if request.is("GET", "/manifests/sha256") {
            answer
        } else {
            answer.header("Docker-Content-Digest", other.to_string())
        }
    });
    let image = name(&server.address, "a/b:1");
    let other = image.with_digest(&kraft_oci::digest::of(b"other"));
    for name in [&image, &other] {
        let error = anonymous().manifest(name, None).await.unwrap_err();
        assert!(matches!(error, Error::WrongDigest { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_document_without_end_is_not_read_to_it() {
    let server = Server::start(|_| Answer::status(200).body(vec![b' '; 5 << 20]));
    let image = name(&server.address, "a/b:1");
    let error = anonymous().manifest(&image, None).await.unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
}
