//! Catalog sources: files, directories, repositories, and all repositories of an owner.
//!
//! ```text
//! FILE.yaml, https://…/FILE.yaml      an index, or one entry
//! DIRECTORY                           a component, or a directory of components
//! https://github.com/OWNER/lib-*      every repository with such a name
//! anything else                       a Git repository
//! lib-NAME=REPOSITORY                 a repository whose own name does not contain its kind
//! ```

use std::path::Path;

use kraft_core::catalog::{Channel, Entry, Version};
use kraft_core::component::{self, Kind};
use kraft_core::event::Reporter;
use kraft_sys::command_line::redacted;
use kraft_sys::fs;
use serde::{Deserialize, Serialize};

use super::{DEEPEST, Held, LARGEST, follow, kept_at, parse, read_file, resources};
use crate::sources::{CatalogError, DownloadError, Error, Sources, each};

/// Maximum number of pages of an owner's repositories.
const MOST_PAGES: usize = 50;

/// Documents by URL: the `ETag` and text of each.
type Documents = std::collections::BTreeMap<String, (String, String)>;

/// The last answer of a source.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    place: String,
    entries: Vec<Entry>,
    /// The `ETag` and text of each document that it was read from.
    documents: Documents,
}

/// Why a source failed, and its previous answer.
pub(super) type Missed = Box<(Error, Vec<Entry>)>;

/// Queries several sources concurrently; for failed ones the previous answer is returned.
pub(super) fn ask_all(
    sources: &Sources,
    manifests: &Path,
    places: &[String],
    reporter: &dyn Reporter,
) -> Vec<Result<Vec<Entry>, Missed>> {
    let answers = each(
        places,
        reporter,
        |place| format!("asking {} what it has", redacted(place)),
        |place| ask(sources, Some(manifests), place),
    );
    answers
        .into_iter()
        .zip(places)
        .map(|(answer, place)| {
            answer.map_err(|error| Box::new((error, recall(manifests, place).entries)))
        })
        .collect()
}

/// Queries one source; with a cache directory, requests are conditional.
pub(super) fn ask(
    sources: &Sources,
    manifests: Option<&Path>,
    place: &str,
) -> Result<Vec<Entry>, Error> {
    let is_file = [".yaml", ".yml"]
        .iter()
        .any(|ending| place.ends_with(ending));
    let path = Path::new(place.strip_prefix("file://").unwrap_or(place));
    if is_file && place.starts_with("http") {
        return documents(sources, manifests, place);
    }
    let entries = if is_file {
        read_file(path, 0)?
    } else if path.is_dir() && !is_bare_repository(path) {
        // A working tree is a component with its current content, even if it has a Git history.
        match directory(path) {
            Err(_) if path.join(".git").exists() => vec![repository(sources, place)?],
            found => found?,
        }
    } else {
        match wildcard(place) {
            Some(wild) => owner(sources, &wild)?,
            None => vec![repository(sources, place)?],
        }
    };
    keep(
        manifests,
        &Kept {
            place: place.to_owned(),
            entries: entries.clone(),
            ..Kept::default()
        },
    )?;
    Ok(entries)
}

fn recall(manifests: &Path, place: &str) -> Kept {
    kept(manifests, place).unwrap_or_default()
}

fn kept(manifests: &Path, place: &str) -> Option<Kept> {
    fs::read_file(&kept_at(manifests, place), LARGEST)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok())
        .filter(|kept| kept.place == place)
}

/// Returns the previous answer of a source, if there is one.
pub(super) fn said(manifests: &Path, place: &str) -> Option<Vec<Entry>> {
    kept(manifests, place).map(|kept| kept.entries)
}

fn keep(manifests: Option<&Path>, kept: &Kept) -> Result<(), Error> {
    let Some(manifests) = manifests else {
        return Ok(());
    };
    let path = kept_at(manifests, &kept.place);
    let text =
        serde_json::to_vec(kept).map_err(|error| fs::Error::on("write", &path)(error.into()))?;
    Ok(fs::replace_file(&path, &text)?)
}

/// Reads an index over HTTP, and the files that it links to.
fn documents(
    sources: &Sources,
    manifests: Option<&Path>,
    place: &str,
) -> Result<Vec<Entry>, Error> {
    if sources.offline {
        return Err(Error::Offline {
            what: format!("what `{place}` has now"),
        });
    }
    let mut kept = manifests.map(|dir| recall(dir, place)).unwrap_or_default();
    let mut seen = std::collections::BTreeMap::new();
    let entries = document(sources, place, 0, &kept, &mut seen)?;
    kept = Kept {
        place: place.to_owned(),
        entries: entries.clone(),
        documents: seen,
    };
    keep(manifests, &kept)?;
    Ok(entries)
}

fn document(
    sources: &Sources,
    url: &str,
    depth: usize,
    kept: &Kept,
    seen: &mut Documents,
) -> Result<Vec<Entry>, Error> {
    let old = kept.documents.get(url);
    let etag = old.map(|(etag, _)| etag.as_str());
    let text = if let Some(new) = sources.http.document(url, etag)? {
        let text = String::from_utf8_lossy(&new.bytes).into_owned();
        if let Some(etag) = new.etag {
            seen.insert(url.to_owned(), (etag, text.clone()));
        }
        text
    } else {
        let Some((etag, text)) = old else {
            return Err(Error::Network {
                url: url.to_owned(),
                source: DownloadError::NotModified,
            });
        };
        seen.insert(url.to_owned(), (etag.clone(), text.clone()));
        text.clone()
    };
    let held = parse(url, text.as_bytes())?;
    let mut entries = linked(sources, url, held, depth, kept, seen)?;
    for resource in entries.iter_mut().flat_map(resources) {
        *resource = beside(url, resource)?;
    }
    Ok(entries)
}

/// Resolves a URL in a remote document, which must not refer to local files.
fn beside(url: &str, link: &str) -> Result<String, Error> {
    let git = link.contains('@') && link.contains(':') && !link.contains("://");
    if git || (link.contains("://") && !link.starts_with("file:")) {
        return Ok(link.to_owned());
    }
    let relative = !link.starts_with('/') && !link.contains("://");
    let whole = kraft_http::Url::parse(url).and_then(|url| url.join(link));
    match whole {
        Ok(whole) if relative => Ok(whole.into()),
        _ => Err(Error::catalog(
            url,
            CatalogError::LocalPath(link.to_owned()),
        )),
    }
}

fn linked(
    sources: &Sources,
    url: &str,
    held: Held,
    depth: usize,
    kept: &Kept,
    seen: &mut Documents,
) -> Result<Vec<Entry>, Error> {
    let base = url
        .rsplit_once('/')
        .map_or(url, |(base, _)| base)
        .to_owned();
    follow(held, depth, &mut |link, depth| {
        if depth > DEEPEST {
            return Ok(Vec::new());
        }
        let target = if link.contains("://") {
            link.to_owned()
        } else {
            format!("{base}/{}", link.trim_start_matches("./"))
        };
        // A link from a remote document to a local file is invalid.
        if !target.starts_with("http") {
            return Err(Error::catalog(url, CatalogError::Link(target)));
        }
        document(sources, &target, depth, kept, seen)
    })
}

/// Reads a directory: a component, a catalog, or a directory of components.
fn directory(path: &Path) -> Result<Vec<Entry>, Error> {
    for index in ["index.yaml", "index.yml"] {
        if path.join(index).is_file() {
            return read_file(&path.join(index), 0);
        }
    }
    if let Some(entry) = component_at(path) {
        return Ok(vec![entry]);
    }
    let mut entries: Vec<Entry> = std::fs::read_dir(path)
        .map_err(fs::Error::on("read", path))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .filter_map(|path| component_at(&path))
        .collect();
    if entries.is_empty() {
        return Err(Error::catalog(
            &path.display().to_string(),
            CatalogError::NoComponent,
        ));
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Returns the component in a directory, identified by its name and content.
fn component_at(path: &Path) -> Option<Entry> {
    let real = path.canonicalize().ok()?;
    let text = real.to_str()?;
    let (kind, name) = component::of_source(text);
    let has = |file: &str| {
        real.join(file)
            .metadata()
            .is_ok_and(|found| found.len() > 0)
    };
    let kind = kind
        .filter(|_| has("Config.uk") || has("Makefile.uk") || has("Kraftfile"))
        .or_else(|| {
            let kraftfiles = kraft_core::kraftfile::FILE_NAMES;
            kraftfiles.iter().any(|file| has(file)).then_some(Kind::App)
        })
        .or_else(|| {
            (has("Config.uk") && has("Makefile") && has("version.mk")).then_some(Kind::Core)
        })
        .or_else(|| has("Config.uk").then_some(Kind::Lib))?;
    Some(Entry {
        name: if kind == Kind::Core { "unikraft" } else { name }.to_owned(),
        kind,
        manifest: None,
        description: None,
        origin: Some(text.to_owned()),
        provider: Some("dir".to_owned()),
        channels: vec![Channel {
            name: "default".to_owned(),
            default: true,
            latest: None,
            resource: Some(text.to_owned()),
            sha256: None,
        }],
        versions: Vec::new(),
    })
}

fn is_bare_repository(path: &Path) -> bool {
    path.join("HEAD").is_file() && path.join("objects").is_dir()
}

/// Reads the branches and tags of a repository.
fn repository(sources: &Sources, place: &str) -> Result<Entry, Error> {
    let (given, place) = named(place);
    let (url, pinned) = crate::sources::without_query(place);
    let (kind, name) = component::of_source(given.unwrap_or(url));
    let Some(kind) = kind else {
        return Err(Error::catalog(place, CatalogError::NoKind(redacted(place))));
    };
    let refs = sources.references(url)?;
    let archives = forge(url);
    let mut channels = Vec::new();
    let mut versions = Vec::new();
    for (reference, commit) in &refs {
        if let Some(branch) = reference.strip_prefix("refs/heads/") {
            if pinned.is_none_or(|pinned| pinned == branch) {
                channels.push(Channel {
                    name: branch.to_owned(),
                    default: pinned == Some(branch),
                    latest: None,
                    resource: Some(archives.as_ref().map_or_else(
                        || url.to_owned(),
                        |base| format!("{base}/archive/refs/heads/{branch}.tar.gz"),
                    )),
                    sha256: None,
                });
            }
        } else if let Some(tag) = reference.strip_prefix("refs/tags/") {
            if tag.ends_with("^{}") {
                continue;
            }
            let release = tag.strip_prefix("RELEASE-");
            let version = if release.is_some() {
                commit.get(..7).unwrap_or(commit).to_owned()
            } else {
                tag.to_owned()
            };
            versions.push(Version {
                resource: Some(archives.as_ref().map_or_else(
                    || format!("{url}?tag={tag}"),
                    |base| format!("{base}/archive/refs/tags/{tag}.tar.gz"),
                )),
                version,
                sha256: None,
                form: Some(
                    if release.is_some() {
                        "gitsha"
                    } else {
                        "semver"
                    }
                    .to_owned(),
                ),
                unikraft: release.map(ToOwned::to_owned),
            });
        }
    }
    let named = |channels: &[Channel], name: &str| channels.iter().any(|c| c.name == name);
    if named(&channels, "stable") && named(&channels, "staging") {
        for channel in &mut channels {
            channel.default = channel.name == "stable";
        }
    }
    Ok(Entry {
        name: name.to_owned(),
        kind,
        manifest: None,
        description: None,
        origin: Some(url.to_owned()),
        provider: Some(if archives.is_some() { "github" } else { "git" }.to_owned()),
        channels,
        versions,
    })
}

/// Splits the name from a source: `lib-lwip=https://…`.
pub fn named(place: &str) -> (Option<&str>, &str) {
    let given = place.split_once('=').filter(|(name, _)| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.+".contains(&b);
        name.bytes().all(fits) && component::of_source(name).0.is_some()
    });
    match given {
        Some((name, rest)) => (Some(name), rest),
        None => (None, place),
    }
}

/// Returns the URL prefix of a repository's archives, for forges that provide them.
fn forge(url: &str) -> Option<String> {
    let rest = url.strip_prefix("https://github.com/")?;
    let rest = rest.trim_end_matches('/');
    let rest = rest.strip_suffix(".git").unwrap_or(rest);
    (rest.split('/').count() == 2).then(|| format!("https://github.com/{rest}"))
}

/// All repositories of an owner whose name matches a pattern.
#[derive(Debug)]
struct Wild {
    owner: String,
    pattern: String,
}

fn wildcard(place: &str) -> Option<Wild> {
    let rest = place.strip_prefix("https://github.com/")?;
    let (owner, pattern) = rest.split_once('/')?;
    let pattern = pattern.strip_suffix(".git").unwrap_or(pattern);
    (pattern.contains('*') && !pattern.contains('/')).then(|| Wild {
        owner: owner.to_owned(),
        pattern: pattern.to_owned(),
    })
}

#[derive(Debug, Deserialize)]
struct Repository {
    name: String,
    clone_url: String,
}

fn owner(sources: &Sources, wild: &Wild) -> Result<Vec<Entry>, Error> {
    if sources.offline {
        return Err(Error::Offline {
            what: format!("what {} has on GitHub", wild.owner),
        });
    }
    let mut found: Vec<Repository> = Vec::new();
    for page in 1..=MOST_PAGES {
        let url = |of: &str| {
            let (api, owner) = (&sources.github_api, &wild.owner);
            format!("{api}/{of}/{owner}/repos?per_page=100&page={page}")
        };
        let document = match sources.http.document(&url("orgs"), None) {
            // The owner is a user, not an organisation.
            Err(Error::NotThere { .. }) => sources.http.document(&url("users"), None)?,
            other => other?,
        };
        let Some(document) = document else {
            break;
        };
        let repositories: Vec<Repository> = serde_json::from_slice(&document.bytes)
            .map_err(|error| Error::catalog(&url("repos"), CatalogError::Json(error)))?;
        let last = repositories.is_empty();
        found.extend(
            repositories
                .into_iter()
                .filter(|repository| component::matches(&wild.pattern, &repository.name)),
        );
        let more = document
            .link
            .is_some_and(|link| link.contains("rel=\"next\""));
        if last || !more {
            break;
        }
    }
    let urls: Vec<String> = found.into_iter().map(|r| r.clone_url).collect();
    let silent = kraft_core::event::Silent;
    let asked = each(&urls, &silent, String::clone, |url| {
        repository(sources, url)
    });
    // Unreadable repositories are skipped.
    Ok(asked.into_iter().filter_map(Result::ok).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_and_repositories_are_distinguished() {
        let wild = wildcard("https://github.com/unikraft/lib-*").unwrap();
        assert_eq!(
            (wild.owner.as_str(), wild.pattern.as_str()),
            ("unikraft", "lib-*")
        );
        assert!(wildcard("https://github.com/unikraft/lib-lwip").is_none());
        assert!(wildcard("https://x.org/unikraft/lib-*").is_none());
    }

    #[test]
    fn a_repository_can_be_given_a_name() {
        for (place, name, rest) in [
            (
                "lib-lwip=https://x.org/fork.git",
                Some("lib-lwip"),
                "https://x.org/fork.git",
            ),
            (
                "unikraft=file:///src/repo?tag=v1",
                Some("unikraft"),
                "file:///src/repo?tag=v1",
            ),
            ("app-x=git@x.org:y", Some("app-x"), "git@x.org:y"),
            (
                "https://x.org/lib-x?tag=a",
                None,
                "https://x.org/lib-x?tag=a",
            ),
            ("other=https://x.org/y", None, "other=https://x.org/y"),
            ("./lib-a=b", None, "./lib-a=b"),
        ] {
            assert_eq!(named(place), (name, rest), "{place}");
        }
    }

    #[test]
    fn directories_are_identified_by_their_content() {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("lib-x/Config.uk", "config LIBX"),
            ("y/Config.uk", "config LIBY"),
            ("app-z/Kraftfile", "spec: v0.6"),
            ("unikraft/Config.uk", "menu"),
            ("empty/Config.uk", ""),
        ] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::replace_file(&path, text.as_bytes()).unwrap();
        }
        let found = directory(dir.path()).unwrap();
        let names: Vec<String> = found
            .iter()
            .map(|e| format!("{}/{}", e.kind, e.name))
            .collect();
        assert_eq!(
            names,
            ["core/unikraft", "lib/x", "lib/y", "app/z"].map(String::from)
        );
    }
}
