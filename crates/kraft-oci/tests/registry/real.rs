//! The client against Debian's `docker-registry`: open, with a password, with a certificate.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kraft_oci::image::{Descriptor, media};
use kraft_oci::registry::{Error, ErrorKind, Fetched, Registry};

use crate::{Given, Memory, Nothing, anonymous, bytes, name, policy, user_of};

/// How long a registry may take to listen.
const PATIENCE: Duration = Duration::from_mins(5);

/// A registry of its own; it ends when it is dropped.
struct Real {
    process: Child,
    dir: tempfile::TempDir,
    address: String,
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

enum Lock {
    None,
    Password,
    Certificate,
}

#[expect(clippy::disallowed_methods, reason = "tests start what they test with")]
fn run(program: &str, args: &[&str], dir: &Path) -> Option<Vec<u8>> {
    let command = Command::new(program).args(args).current_dir(dir).output();
    match command {
        Ok(output) => {
            assert!(output.status.success(), "{program}: {output:?}");
            Some(output.stdout)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => skip(program),
        Err(error) => panic!("{program}: {error}"),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "whether a test may be skipped is a question of the environment"
)]
fn skip<T>(program: &str) -> Option<T> {
    let must = std::env::var("KRAFT_E2E").is_ok_and(|value| value == "require");
    assert!(!must, "`{program}` is missing");
    eprintln!("SKIPPED: `{program}` is missing");
    None
}

/// Prepares the files of a registry's authentication, and returns its configuration.
fn prepare(lock: &Lock, dir: &Path) -> Option<String> {
    let at = |name: &str| dir.join(name).display().to_string();
    Some(match lock {
        Lock::None => String::new(),
        Lock::Password => {
            let entry = run("htpasswd", &["-Bbn", "-C", "4", "me", "s3cret"], dir)?;
            kraft_sys::fs::replace_file(&dir.join("htpasswd"), &entry).unwrap();
            format!(
                "auth: {{htpasswd: {{realm: r, path: '{}'}}}}\n",
                at("htpasswd")
            )
        }
        Lock::Certificate => {
            let args = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 \
                 -addext subjectAltName=IP:127.0.0.1 -keyout key -out certificate";
            run(
                "openssl",
                &args
                    .split(' ')
                    .filter(|a| !a.is_empty())
                    .collect::<Vec<_>>(),
                dir,
            )?;
            format!(
                "  tls: {{certificate: '{}', key: '{}'}}\n",
                at("certificate"),
                at("key")
            )
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "tests start what they test with")]
fn start(lock: &Lock) -> Option<Real> {
    // Another process may take the port before the registry does.
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        run("docker-registry", &["--version"], dir.path())?;
        let more = prepare(lock, dir.path())?;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\n\
             http:\n  addr: {address}\n{more}",
            dir.path().join("storage").display()
        );
        let path = dir.path().join("config.yml");
        kraft_sys::fs::replace_file(&path, config.as_bytes()).unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut real = Real {
            process,
            dir,
            address,
        };
        if real.listens() {
            return Some(real);
        }
    }
    panic!("docker-registry does not start");
}

impl Real {
    fn listens(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while self.process.try_wait().unwrap().is_none() {
            if TcpStream::connect(&self.address).is_ok() {
                return self.process.try_wait().unwrap().is_none();
            }
            assert!(Instant::now() < deadline, "docker-registry never listens");
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

/// Pushes, looks, mounts, lists, pulls.
async fn round_trip(registry: &Registry, host: &str) {
    let (image, other) = (name(host, "a/b:1"), name(host, "c:1"));
    let blob = bytes(3_000_000);
    let descriptor = Descriptor::of(media::LAYER, &blob);
    assert!(!registry.has_blob(&image, &descriptor.digest).await.unwrap());
    let source = Arc::new(Given(blob.clone()));
    registry
        .push_blob(&image, &descriptor, source, &|_| {})
        .await
        .unwrap();
    assert!(registry.has_blob(&image, &descriptor.digest).await.unwrap());
    assert!(
        registry
            .mount(&other, &image, &descriptor.digest)
            .await
            .unwrap()
    );
    assert!(registry.has_blob(&other, &descriptor.digest).await.unwrap());
    let missing = kraft_oci::digest::of(b"missing");
    assert!(!registry.mount(&other, &image, &missing).await.unwrap());

    let pointer = serde_json::json!({
        "mediaType": media::LAYER, "digest": descriptor.digest.as_str(), "size": descriptor.size,
    });
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media::MANIFEST, "config": pointer, "layers": [pointer],
    });
    let manifest = bytes::Bytes::from(manifest.to_string());
    assert_eq!(registry.head(&image).await.unwrap(), None);
    for to in [&image, &other] {
        let pushed = registry.push_manifest(to, media::MANIFEST, manifest.clone());
        assert_eq!(pushed.await.unwrap(), kraft_oci::digest::of(&manifest));
    }
    assert!(registry.head(&image).await.unwrap().is_some());
    assert_eq!(registry.tags(&image).await.unwrap(), ["1"]);
    assert_eq!(registry.catalog(host).await.unwrap(), ["a/b", "c"]);

    let by_digest = image.with_digest(&kraft_oci::digest::of(&manifest));
    let Fetched::Document { bytes, etag, .. } = registry.manifest(&by_digest, None).await.unwrap()
    else {
        panic!("nothing was known");
    };
    assert_eq!(bytes, manifest);
    let again = registry.manifest(&image, etag.as_deref()).await.unwrap();
    assert_eq!(again, Fetched::NotModified);
    for offset in [0, 1_000_000] {
        let mut sink = Memory {
            bytes: blob[..offset].to_vec(),
            restarts: 0,
        };
        registry
            .fetch_blob(&other, &descriptor, &mut sink)
            .await
            .unwrap();
        assert!(sink.bytes == blob && sink.restarts == 0);
    }
    let absent = name(host, "a/b:none");
    let error = registry.manifest(&absent, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_open_registry_takes_and_gives() {
    let Some(real) = start(&Lock::None) else {
        return;
    };
    round_trip(&anonymous(), &real.address).await;
}

#[tokio::test]
async fn a_registry_with_a_password_lets_in_who_knows_it() {
    let Some(real) = start(&Lock::Password) else {
        return;
    };
    let image = name(&real.address, "a/b:1");
    let error = anonymous().manifest(&image, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    round_trip(&user_of(&real.address), &real.address).await;
}

#[tokio::test]
async fn a_certificate_is_trusted_when_the_user_says_so_and_else_never() {
    let Some(real) = start(&Lock::Certificate) else {
        return;
    };
    let error = anonymous().catalog(&real.address).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    let hint = &error.hints()[0];
    assert!(
        hint.contains("--ca-file") && hint.contains("--insecure="),
        "{hint}"
    );

    let mut trusting = policy();
    trusting.ca_file = Some(real.dir.path().join("certificate"));
    let trusting = Registry::new(trusting, Arc::new(Nothing)).unwrap();
    assert_eq!(trusting.catalog(&real.address).await.unwrap().len(), 0);

    let mut careless = policy();
    careless.insecure = vec![real.address.clone()];
    let careless = Registry::new(careless, Arc::new(Nothing)).unwrap();
    round_trip(&careless, &real.address).await;
}
