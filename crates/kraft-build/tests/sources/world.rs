//! A world for one test: a server with repositories and files, a cache, and projects.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kraft_build::sources::{Credential, Error, Http, Origin, Put, Sources, Wanted};
use kraft_core::component::Kind;
use kraft_core::event::Silent;
use kraft_core::lock::Pin;
use kraft_http::Policy;
use kraft_sys::tool::Tool;

use crate::server::Server;

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) server: Server,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["files", "repositories", "cache", "project"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
        }
        let server = Server::start(&dir.path().join("files"), &dir.path().join("repositories"));
        Self { dir, server }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub(crate) fn sources(&self) -> Sources {
        self.sources_as(1, Vec::new())
    }

    /// Returns sources with a number of retries and credentials.
    pub(crate) fn sources_as(
        &self,
        retries: u32,
        credentials: Vec<(String, Credential)>,
    ) -> Sources {
        let policy = Policy {
            idle: Duration::from_secs(20),
            retries,
            ..Policy::new("kraft-tests")
        };
        Sources {
            cache: self.path("cache"),
            offline: false,
            prefer_git: false,
            depth: None,
            github_api: self.server.url("files"),
            catalog: Vec::new(),
            http: Http::new(policy, credentials),
        }
    }

    /// Writes a file below the world, with the directories above it.
    pub(crate) fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        kraft_sys::fs::replace_file(&path, text.as_bytes()).unwrap();
        path
    }

    /// Makes a repository that the server has, with one commit on `main`; returns that.
    pub(crate) fn repository(&self, name: &str, files: &[(&str, &str)]) -> String {
        let tree = self.path(&format!("trees/{name}"));
        std::fs::create_dir_all(&tree).unwrap();
        git(&tree, &["init", "-q", "-b", "main"]);
        let bare = self.path(&format!("repositories/{name}.git"));
        git(
            self.dir.path(),
            &["init", "-q", "--bare", "-b", "main", bare.to_str().unwrap()],
        );
        self.commit(name, files)
    }

    /// Commits files to a repository and pushes everything.
    pub(crate) fn commit(&self, name: &str, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            self.write(&format!("trees/{name}/{path}"), text);
        }
        let tree = self.path(&format!("trees/{name}"));
        git(&tree, &["add", "-A"]);
        git(&tree, &["commit", "-q", "--allow-empty", "-m", "a change"]);
        self.push(name);
        git(&tree, &["rev-parse", "HEAD"])
    }

    /// Runs Git in the tree of a repository.
    pub(crate) fn git(&self, name: &str, args: &[&str]) -> String {
        git(&self.path(&format!("trees/{name}")), args)
    }

    /// Pushes all branches and tags.
    pub(crate) fn push(&self, name: &str) {
        let bare = self.path(&format!("repositories/{name}.git"));
        self.git(
            name,
            &["push", "-q", "--mirror", "--force", bare.to_str().unwrap()],
        );
    }

    pub(crate) fn url(&self, name: &str) -> String {
        self.server.url(&format!("git/{name}.git"))
    }

    /// Makes an archive among the files of the server, of files under one directory.
    pub(crate) fn tarball(&self, name: &str, flag: &str, files: &[(&str, &str)]) {
        let above = format!("packed/{name}");
        for (path, text) in files {
            self.write(&format!("{above}/top/{path}"), text);
        }
        let to = self.path(&format!("files/{name}"));
        Tool::new("tar")
            .args([
                "-C",
                self.path(&above).to_str().unwrap(),
                flag,
                "-cf",
                to.to_str().unwrap(),
                "top",
            ])
            .run()
            .unwrap();
    }
}

/// Runs Git with a fixed identity.
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let output = Tool::new("git")
        .args([
            "-c",
            "user.name=A",
            "-c",
            "user.email=a@h.example",
            "-c",
            "protocol.file.allow=always",
        ])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .current_dir(dir)
        .run()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(crate) fn wanted(source: &str, version: Option<&str>) -> Wanted {
    Wanted {
        kind: Kind::Lib,
        name: "x".to_owned(),
        source: Some(source.to_owned()),
        version: version.map(str::to_owned),
    }
}

pub(crate) fn resolve(sources: &Sources, wanted: &Wanted) -> Result<Pin, Error> {
    let found = sources.resolve(std::slice::from_ref(wanted), &Silent);
    let pin = match found.into_iter().next().unwrap()? {
        Origin::Pinned(pin) => Some(pin),
        Origin::Directory(_) => None,
    };
    Ok(pin.unwrap())
}

pub(crate) fn obtain(sources: &Sources, pin: &Pin) -> Result<(), Error> {
    sources
        .obtain(&[("x".to_owned(), pin.clone())], &Silent)
        .pop()
        .unwrap()
}

/// Resolves, fetches and places; returns the commit or sum.
pub(crate) fn get(sources: &Sources, wanted: &Wanted, to: &Path) -> Result<String, Error> {
    let pin = resolve(sources, wanted)?;
    obtain(sources, &pin)?;
    let put = sources.materialise("x", &Origin::Pinned(pin.clone()), to)?;
    assert_ne!(put, Put::Foreign);
    Ok(match pin {
        Pin::Git { commit, .. } => commit,
        Pin::Archive { sha256, .. } => sha256,
    })
}

pub(crate) fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
