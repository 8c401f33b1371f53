//! Manifests, indexes, and lists of tags and repositories.

use std::str::FromStr;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LINK};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use kraft_core::reference::{Digest, Reference};
use kraft_http::{BodyError, Response, Url, read_body};
use serde::Deserialize;

use super::call::{Call, Content, Target};
use super::error::Error;
use super::header::next_link;
use super::{Fetched, Head, Registry};
use crate::image::{LARGEST_DOCUMENT, media, nullable};

/// Accepted media types.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";
/// Maximum total size of the pages of a list, in bytes.
const LARGEST_LIST: usize = 16 << 20;
/// Maximum number of pages of a list.
const MOST_PAGES: usize = 1000;
/// The header with the digest of a document.
const DIGEST: &str = "docker-content-digest";

impl Registry {
    /// Fetches the document of a name; with an `ETag`, only if it has changed.
    ///
    /// Errors: also, the content does not match the digest in the name.
    pub async fn manifest(&self, name: &Reference, etag: Option<&str>) -> Result<Fetched, Error> {
        let mut call = self.about(name, Method::GET, format!("fetch `{name}`"));
        if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            call.headers.insert(IF_NONE_MATCH, etag);
        }
        let path = path_of(name);
        call.to = Target::Path(&path);
        let answer = self.call(&call).await?;
        if answer.status() == StatusCode::NOT_MODIFIED {
            return Ok(Fetched::NotModified);
        }
        let header = |name: &str| {
            let value = answer.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let told = header(DIGEST);
        let etag = header(ETAG.as_str());
        let media_type = header(CONTENT_TYPE.as_str())
            .map(|text| text.split(';').next().unwrap_or_default().trim().to_owned())
            .unwrap_or_default();
        let limit = usize::try_from(LARGEST_DOCUMENT).unwrap_or(usize::MAX);
        let bytes = self.body(&call, answer, limit).await?;
        let digest = crate::digest::of(&bytes);
        let wrong = |found: &Digest| Error::WrongDigest {
            host: name.host().to_owned(),
            name: Box::new(name.clone()),
            found: found.clone(),
        };
        if name.digest().is_some_and(|expected| *expected != digest) {
            return Err(wrong(&digest));
        }
        if let Some(told) = told.and_then(|told| Digest::from_str(&told).ok())
            && told != digest
        {
            return Err(wrong(&digest));
        }
        Ok(Fetched::Document {
            media_type: media_type_of(&media_type, &bytes),
            bytes,
            digest,
            etag,
        })
    }

    /// Returns whether a document with a name exists.
    pub async fn head(&self, name: &Reference) -> Result<Option<Head>, Error> {
        let mut call = self.about(name, Method::HEAD, format!("look for `{name}`"));
        let path = path_of(name);
        call.to = Target::Path(&path);
        match self.call(&call).await {
            Ok(answer) => {
                let digest = answer.headers().get(DIGEST).and_then(|v| v.to_str().ok());
                Ok(Some(Head {
                    digest: digest.and_then(|text| text.parse().ok()),
                }))
            }
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Uploads a document under a name, and returns its digest.
    pub async fn push_manifest(
        &self,
        name: &Reference,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Digest, Error> {
        let digest = crate::digest::of(&bytes);
        let mut call = self.about(name, Method::PUT, format!("push `{name}`"));
        call.scopes = vec![scope(name, "pull,push")];
        let content_type = HeaderValue::from_str(media_type)
            .map_err(|_| call.at().protocol("the media type of the image is none"))?;
        call.headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type)]);
        call.content = Content::Bytes(bytes);
        let path = path_of(name);
        call.to = Target::Path(&path);
        let answer = self.call(&call).await?;
        let told = answer.headers().get(DIGEST).and_then(|v| v.to_str().ok());
        match told.and_then(|text| Digest::from_str(text).ok()) {
            Some(told) if told != digest => Err(Error::WrongDigest {
                host: name.host().to_owned(),
                name: Box::new(name.clone()),
                found: told,
            }),
            _ => Ok(digest),
        }
    }

    /// Removes a document by digest, and all tags that refer to it.
    pub async fn delete_manifest(&self, name: &Reference) -> Result<(), Error> {
        let mut call = self.about(name, Method::DELETE, format!("remove `{name}`"));
        call.scopes = vec![scope(name, "pull,delete")];
        call.headers.clear();
        let path = path_of(name);
        call.to = Target::Path(&path);
        self.call(&call).await.map(drop)
    }

    /// Returns the tags of a repository.
    pub async fn tags(&self, name: &Reference) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let doing = format!("list the tags of `{}`", name.path());
        let mut call = self.about(name, Method::GET, doing);
        call.headers.clear();
        call.what = format!("repository `{}`", name.repository());
        let path = format!("/v2/{}/tags/list", name.repository());
        self.list(call, path, |bytes| {
            let page: Page = serde_json::from_slice(bytes)?;
            Ok(page.tags.unwrap_or_default())
        })
        .await
    }

    /// Returns the repositories of a registry.
    pub async fn catalog(&self, host: &str) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            repositories: Option<Vec<String>>,
        }
        let mut call = self.at_large(host, "list what it has");
        call.scopes = vec!["registry:catalog:*".to_owned()];
        "a list of what it has".clone_into(&mut call.what);
        self.list(call, "/v2/_catalog?n=1000".to_owned(), |bytes| {
            let page: Page = serde_json::from_slice(bytes)?;
            Ok(page.repositories.unwrap_or_default())
        })
        .await
    }

    /// Checks that a host is a registry.
    pub async fn ping(&self, host: &str) -> Result<(), Error> {
        let mut call = self.at_large(host, "identify itself as a registry");
        call.to = Target::Path("/v2/");
        match self.call(&call).await {
            // A registry may require credentials.
            Ok(_) | Err(Error::Unauthorized { .. } | Error::Forbidden { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Checks credentials.
    pub async fn log_in(&self, host: &str) -> Result<(), Error> {
        let mut call = self.at_large(host, "log in");
        call.to = Target::Path("/v2/");
        self.call(&call).await.map(drop)
    }

    /// Reads a list, page by page.
    async fn list(
        &self,
        mut call: Call<'_>,
        path: String,
        read: impl Fn(&[u8]) -> Result<Vec<String>, serde_json::Error>,
    ) -> Result<Vec<String>, Error> {
        let mut entries = Vec::new();
        let (mut next, mut room) = (path, LARGEST_LIST);
        for _ in 0..MOST_PAGES {
            let path = std::mem::take(&mut next);
            let page = Call {
                host: std::sync::Arc::clone(&call.host),
                method: call.method.clone(),
                to: Target::Path(&path),
                scopes: call.scopes.clone(),
                headers: call.headers.clone(),
                content: Content::None,
                doing: std::mem::take(&mut call.doing),
                what: call.what.clone(),
            };
            let answer = self.call(&page).await?;
            let from = answer.url().clone();
            let link = answer
                .headers()
                .get(LINK)
                .and_then(|value| value.to_str().ok())
                .and_then(|text| next_link(text))
                .map(str::to_owned);
            let bytes = self.body(&page, answer, room).await?;
            room = room.saturating_sub(bytes.len());
            let found = read(&bytes)
                .map_err(|error| page.at().protocol(&format!("its list is invalid: {error}")))?;
            let more = !found.is_empty();
            entries.extend(found);
            let doing = page.doing;
            match link.and_then(|link| from.join(&link).ok()) {
                Some(url) if more => next = path_and_query(&url),
                _ => return Ok(entries),
            }
            call.doing = doing;
        }
        Err(call.at().protocol("its list does not end"))
    }

    /// Returns a request about an image.
    pub(super) fn about(&self, name: &Reference, method: Method, doing: String) -> Call<'static> {
        Call {
            host: self.host(name.host()),
            method,
            to: Target::Path("/"),
            scopes: vec![scope(name, "pull")],
            headers: HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(ACCEPTED))]),
            content: Content::None,
            doing,
            what: format!("image `{name}`"),
        }
    }

    /// Returns a request about a registry as a whole.
    fn at_large(&self, host: &str, doing: &str) -> Call<'static> {
        Call {
            host: self.host(host),
            method: Method::GET,
            to: Target::Path("/"),
            scopes: Vec::new(),
            headers: HeaderMap::new(),
            content: Content::None,
            doing: doing.to_owned(),
            what: "registry at `/v2/`".to_owned(),
        }
    }

    /// Reads the body of a response.
    pub(super) async fn body(
        &self,
        call: &Call<'_>,
        answer: Response,
        limit: usize,
    ) -> Result<Bytes, Error> {
        match read_body(answer, limit, self.policy().idle).await {
            Ok(bytes) => Ok(bytes.into()),
            Err(error @ BodyError::TooLong(_)) => Err(call.at().protocol(&error.to_string())),
            Err(BodyError::Transfer(source)) => Err(Error::Broken {
                host: call.host.name.clone(),
                doing: call.doing.clone(),
                source,
            }),
        }
    }
}

/// Returns the scope of an action on a repository.
pub(super) fn scope(name: &Reference, actions: &str) -> String {
    format!("repository:{}:{actions}", name.repository())
}

fn path_of(name: &Reference) -> String {
    format!("/v2/{}/manifests/{}", name.repository(), name.version())
}

fn path_and_query(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// Returns the media type of a document: its own, otherwise that of the response.
fn media_type_of(told: &str, bytes: &[u8]) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Glance {
        #[serde(default, deserialize_with = "nullable")]
        media_type: String,
    }
    let own = serde_json::from_slice::<Glance>(bytes).map(|glance| glance.media_type);
    match own {
        Ok(own) if media::is_index(&own) || media::is_manifest(&own) => own,
        _ => told.to_owned(),
    }
}
