//! The client of registries, against servers that follow a script and against a real registry.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed, and one that is skipped says so"
)]

mod authorization;
mod real;
mod scripted;
mod transfer;

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kraft_core::reference::Reference;
use kraft_http::Policy;
use kraft_oci::credentials::{self, Credential, CredentialSource, Secret};
use kraft_oci::registry::{BlobSink, BlobSource, Registry};

/// Credentials for one host, and for no other.
#[derive(Debug)]
struct Only(String, Credential);

impl CredentialSource for Only {
    fn find(&self, host: &str) -> Result<Option<Credential>, credentials::Error> {
        Ok((host == self.0).then(|| self.1.clone()))
    }
}

/// No credentials.
#[derive(Debug)]
struct Nothing;

impl CredentialSource for Nothing {
    fn find(&self, _: &str) -> Result<Option<Credential>, credentials::Error> {
        Ok(None)
    }
}

/// A policy whose delays are too short to be noticed.
fn policy() -> Policy {
    Policy {
        backoff: Duration::from_millis(2),
        ..Policy::new("kraft-test")
    }
}

fn registry(credentials: impl CredentialSource + 'static) -> Registry {
    Registry::new(policy(), Arc::new(credentials)).unwrap()
}

fn anonymous() -> Registry {
    registry(Nothing)
}

fn user_of(host: &str) -> Registry {
    let credential = Credential::Basic {
        user: "me".to_owned(),
        password: Secret::new("s3cret"),
    };
    registry(Only(host.to_owned(), credential))
}

fn name(host: &str, rest: &str) -> Reference {
    format!("{host}/{rest}").parse().unwrap()
}

/// Bytes that repeat nowhere near.
fn bytes(size: usize) -> Vec<u8> {
    (0u32..)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(size)
        .collect()
}

/// Collects data in memory, and counts restarts.
#[derive(Default)]
struct Memory {
    bytes: Vec<u8>,
    restarts: u32,
}

impl BlobSink for Memory {
    fn offset(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn restart(&mut self) -> BoxFuture<'_, io::Result<()>> {
        self.bytes.clear();
        self.restarts += 1;
        Box::pin(async { Ok(()) })
    }

    fn chunk(&mut self, bytes: Bytes) -> BoxFuture<'_, io::Result<()>> {
        self.bytes.extend(&bytes);
        Box::pin(async { Ok(()) })
    }
}

/// A blob in memory.
struct Given(Vec<u8>);

impl BlobSource for Given {
    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(io::Cursor::new(self.0.clone())))
    }
}
