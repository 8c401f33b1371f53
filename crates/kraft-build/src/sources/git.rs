//! Git repositories, accessed by the user's `git` with its credentials, SSH and proxy settings.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kraft_core::connection::Cause;
use kraft_core::nearest::nearest;
use kraft_sys::command_line::redacted;
use kraft_sys::environment;
use kraft_sys::fs;
use kraft_sys::lock::Lock;
use kraft_sys::tool::{Output, Tool};

use super::Sources;
use super::error::{ArchiveError, Error, GitSort};
use crate::trees;

/// Time limit for listing references.
const ANSWERS_WITHIN: Duration = Duration::from_mins(1);

/// Maximum size of a reference listing, in bytes.
const LARGEST_LISTING: u64 = 64 << 20;

/// A bare mirror of one repository.
#[derive(Debug)]
pub(super) struct Mirror {
    url: String,
    name: String,
    /// Its directory.
    pub(super) dir: PathBuf,
}

/// Returns whether a source is the URL of a remote repository.
pub(super) fn is_remote(source: &str) -> bool {
    source.contains("://") || (source.contains('@') && source.contains(':'))
}

/// Converts a URL to a form that `git` accepts, including KraftKit's short forms.
pub(super) fn normal(url: &str) -> String {
    for (theirs, usual) in [
        ("git+ssh://", "ssh://"),
        ("ssh+git://", "ssh://"),
        ("git+https://", "https://"),
    ] {
        if let Some(rest) = url.strip_prefix(theirs) {
            return format!("{usual}{rest}");
        }
    }
    // `github.com/unikraft/unikraft`, without a scheme.
    let host = url.split('/').next().unwrap_or_default();
    if !is_remote(url) && host.contains('.') && !url.starts_with('.') && url.contains('/') {
        return format!("https://{url}");
    }
    url.to_owned()
}

/// Returns whether the user's git configuration redirects a URL (`url.….insteadOf`).
pub(super) fn is_redirected(url: &str) -> bool {
    let said = tool(["ls-remote", "--get-url", "--", url]).output();
    said.is_ok_and(|output| {
        output.status.success() && first_line(&output).is_some_and(|line| line != url)
    })
}

/// Returns whether a version may be a full or abbreviated commit.
pub(super) fn may_be_commit(version: &str) -> bool {
    (4..=40).contains(&version.len()) && version.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_whole_commit(version: &str) -> bool {
    version.len() == 40 && may_be_commit(version)
}

impl Mirror {
    /// Returns the mirror of a repository without creating it.
    pub(super) fn new(cache: &Path, url: &str, name: &str) -> Self {
        let mut print = trees::of_texts([url.as_bytes()]);
        print.truncate(16);
        let readable: String = super::name_of(url)
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
            .take(40)
            .collect();
        Self {
            url: url.to_owned(),
            name: name.to_owned(),
            dir: cache.join("git").join(format!("{readable}-{print}.git")),
        }
    }

    /// Returns its URL.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Returns the name of its component.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Resolves a version to a commit, using the current state of the repository.
    pub(super) fn resolve(
        &self,
        version: Option<&str>,
        sources: &Sources,
    ) -> Result<String, Error> {
        if let Some(commit) = version.filter(|version| is_whole_commit(version)) {
            return Ok(commit.to_lowercase());
        }
        let refs = self.refs(version, sources)?;
        if let Some(commit) = pick(&refs, version) {
            return Ok(commit);
        }
        let version = version.unwrap_or("HEAD");
        if may_be_commit(version) {
            // An abbreviated commit can only be resolved with the history.
            self.fetch_all(sources)?;
            let found = self.git([
                "rev-parse",
                "--verify",
                "--quiet",
                &format!("{version}^{{commit}}"),
            ])?;
            if let Some(commit) = first_line(&found).filter(|line| is_whole_commit(line)) {
                return Ok(commit);
            }
        }
        let names = refs.iter().map(|(name, _)| {
            name.strip_prefix("refs/heads/")
                .or_else(|| name.strip_prefix("refs/tags/"))
                .unwrap_or(name)
        });
        Err(Error::NoVersion {
            url: redacted(&self.url),
            version: version.to_owned(),
            nearest: nearest(version, names).map(ToOwned::to_owned),
        })
    }

    /// Lists the references of the repository with their commits.
    pub(super) fn refs(
        &self,
        version: Option<&str>,
        sources: &Sources,
    ) -> Result<Vec<(String, String)>, Error> {
        let kept = self.dir.with_extension("refs");
        let listed = if sources.offline && !is_local(&self.url) {
            // Offline, the last known references are used.
            fs::read_file(&kept, LARGEST_LISTING).map_err(|_| Error::Offline {
                what: format!(
                    "what `{}` is at in `{}`",
                    version.unwrap_or("HEAD"),
                    redacted(&self.url)
                ),
            })?
        } else {
            // The old protocol needs one round trip, the new one two.
            let words = ["-c", "protocol.version=0", "ls-remote", "--", &self.url];
            let output = tool(words).limit(ANSWERS_WITHIN).output()?;
            let listed = self.good(output)?.stdout;
            if let Some(above) = kept.parent() {
                fs::create_dir_all(above, 0o755)?;
            }
            fs::replace_file(&kept, &listed)?;
            listed
        };
        let text = String::from_utf8_lossy(&listed).into_owned();
        Ok(text
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .filter(|(commit, _)| is_whole_commit(commit))
            .map(|(commit, name)| (name.to_owned(), commit.to_owned()))
            .collect())
    }

    /// Fetches a commit if it is missing.
    pub(super) fn has(&self, commit: &str, sources: &Sources) -> Result<(), Error> {
        if self.knows(commit) {
            return Ok(());
        }
        let _lock = self.enter()?;
        if self.knows(commit) {
            return Ok(());
        }
        if sources.offline && !is_local(&self.url) {
            return Err(Error::Offline {
                what: format!("commit {} of `{}`", short(commit), redacted(&self.url)),
            });
        }
        // Most servers allow fetching a commit by its hash, which transfers least.
        let depth = match sources.depth {
            Some(0) => None,
            // Checking out a tree needs no history.
            depth => Some(format!("--depth={}", depth.unwrap_or(1))),
        };
        let mut words = vec!["fetch", "--no-tags", "--quiet"];
        words.extend(depth.as_deref());
        words.extend(["--", &self.url, commit]);
        let direct = self.tool(words).output()?;
        if !(direct.status.success() && self.knows(commit)) {
            let failed = self.good(direct).err();
            if let Some(
                error @ Error::Git {
                    sort: GitSort::Denied | GitSort::Network,
                    ..
                },
            ) = failed
            {
                return Err(error);
            }
            self.fetch_refs()?;
        }
        if self.knows(commit) {
            return Ok(());
        }
        Err(Error::NoVersion {
            url: redacted(&self.url),
            version: commit.to_owned(),
            nearest: None,
        })
    }

    fn fetch_all(&self, sources: &Sources) -> Result<(), Error> {
        if sources.offline && !is_local(&self.url) {
            return Err(Error::Offline {
                what: format!("the history of `{}`", redacted(&self.url)),
            });
        }
        let _lock = self.enter()?;
        self.fetch_refs()
    }

    fn fetch_refs(&self) -> Result<(), Error> {
        let shallow = self.dir.join("shallow").exists();
        let mut words = vec!["fetch", "--quiet", "--prune", "--force"];
        if shallow {
            words.push("--unshallow");
        }
        let refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        words.extend(["--", &self.url]);
        words.extend(refs);
        let output = self.tool(words).output()?;
        self.good(output).map(drop)
    }

    fn knows(&self, commit: &str) -> bool {
        let object = format!("{commit}^{{tree}}");
        self.dir.join("HEAD").exists()
            && self
                .tool(["cat-file", "-e", &object])
                .output()
                .is_ok_and(|output| output.status.success())
    }

    /// Creates the mirror if it does not exist, and locks it.
    fn enter(&self) -> Result<Lock, Error> {
        fs::create_dir_all(&self.dir, 0o755)?;
        let lock = Lock::exclusive(&self.dir)?;
        // Lock files of a killed git: the holder of kraft's lock is alone.
        for left in [
            "shallow.lock",
            "packed-refs.lock",
            "config.lock",
            "HEAD.lock",
        ] {
            fs::remove_file(&self.dir.join(left))?;
        }
        let whole = ["HEAD", "objects", "refs", "config"];
        if !whole.iter().all(|part| self.dir.join(part).exists()) {
            tool(["init", "--quiet", "--bare", "--"])
                .args([&self.dir])
                .run()?;
        }
        Ok(lock)
    }

    /// Checks out the tree of a commit into an empty directory.
    pub(super) fn check_out(&self, commit: &str, to: &Path) -> Result<(), Error> {
        let index = to.with_extension("index");
        let output = self
            .tool(["checkout", "--quiet", "--force", commit, "--", "."])
            .env("GIT_WORK_TREE", to)
            .env("GIT_INDEX_FILE", &index)
            .output()?;
        fs::remove_tree(&index)?;
        // An empty commit has nothing to check out.
        let empty = self
            .git(["ls-tree", "--name-only", commit])?
            .stdout
            .is_empty();
        if empty {
            return Ok(());
        }
        self.good(output).map(drop)
    }

    /// Lists the submodules of a commit: path, URL, commit.
    pub(super) fn submodules(&self, commit: &str) -> Result<Vec<Submodule>, Error> {
        let blob = format!("{commit}:.gitmodules");
        let listed = self.git(["config", "--blob", &blob, "--list"])?;
        if !listed.status.success() {
            return Ok(Vec::new());
        }
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        let mut found = Vec::new();
        for line in text.lines() {
            let Some((key, path)) = line.split_once('=') else {
                continue;
            };
            let Some(key) = key.strip_suffix(".path") else {
                continue;
            };
            let url_key = format!("{key}.url=");
            let Some(url) = text
                .lines()
                .find_map(|line| line.strip_prefix(url_key.as_str()))
            else {
                continue;
            };
            let entry = self.git(["ls-tree", commit, "--", path])?;
            let entry = String::from_utf8_lossy(&entry.stdout).into_owned();
            // `160000 commit HASH\tPATH`
            let mut words = entry.split_whitespace();
            let (Some("160000"), Some("commit"), Some(pinned)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let url = beside(&self.url, url);
            // A remote repository must not make kraft read local files.
            if is_local(&url) && !is_local(&self.url) {
                return Err(Error::Archive {
                    name: self.name.clone(),
                    url: redacted(&self.url),
                    source: Box::new(ArchiveError::Entry {
                        kind: "submodule",
                        path: path.into(),
                        why: "refers to a local repository",
                    }),
                });
            }
            found.push(Submodule {
                path: PathBuf::from(path),
                url,
                commit: pinned.to_owned(),
            });
        }
        Ok(found)
    }

    fn git<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<Output, Error> {
        Ok(self.tool(words).output()?)
    }

    fn tool<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Tool {
        tool(words).env("GIT_DIR", &self.dir)
    }

    /// Returns an error for a failed command.
    fn good(&self, output: Output) -> Result<Output, Error> {
        if output.status.success() {
            return Ok(output);
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let (why, sort) = reason(&said);
        Err(Error::Git {
            url: redacted(&self.url),
            why: if why.is_empty() {
                format!("it failed for {} ({})", self.name, output.status)
            } else {
                redacted(&why)
            },
            sort,
        })
    }
}

/// A submodule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Submodule {
    /// Its path, relative to the outer tree.
    pub(super) path: PathBuf,
    /// Its URL.
    pub(super) url: String,
    /// The commit referenced by the outer repository.
    pub(super) commit: String,
}

fn tool<'a>(words: impl IntoIterator<Item = &'a str>) -> Tool {
    Tool::new("git")
        .with_us()
        .package("git")
        .args([
            "-c",
            "gc.auto=0",
            // Packs appear atomically; loose objects are written one by one, so after a kill a
            // commit could exist without its files.
            "-c",
            "fetch.unpackLimit=1",
            // Transports that run programs named in a URL are disabled.
            "-c",
            "protocol.ext.allow=never",
            "-c",
            "advice.detachedHead=false",
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "core.autocrlf=false",
            // A mirror may be owned by another user when kraft runs as root.
            "-c",
            "safe.directory=*",
        ])
        .args(words)
        .inherit(environment::GIT)
        // Prompts are disabled: credential helpers and agents answer.
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("SSH_ASKPASS", "false")
        .env("SSH_ASKPASS_REQUIRE", "force")
        .env("GIT_LFS_SKIP_SMUDGE", "1")
        .env("LC_ALL", "C")
}

fn first_line(output: &Output) -> Option<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(|line| line.trim().to_owned())
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

fn is_local(url: &str) -> bool {
    url.starts_with("file://") || !is_remote(url)
}

/// Selects a reference: a branch, a tag, the tag of a release; without a version, `HEAD`.
fn pick(refs: &[(String, String)], version: Option<&str>) -> Option<String> {
    let find = |name: String| {
        refs.iter()
            .find(|(found, _)| *found == name)
            .map(|(_, commit)| commit.clone())
    };
    let Some(version) = version else {
        return find("HEAD".to_owned());
    };
    find(format!("refs/heads/{version}"))
        // The commit of an annotated tag, not the tag object.
        .or_else(|| find(format!("refs/tags/{version}^{{}}")))
        .or_else(|| find(format!("refs/tags/{version}")))
        .or_else(|| find(format!("refs/tags/RELEASE-{version}^{{}}")))
        .or_else(|| find(format!("refs/tags/RELEASE-{version}")))
        .or_else(|| find(format!("refs/tags/v{version}^{{}}")))
        .or_else(|| find(format!("refs/tags/v{version}")))
}

/// Finds the line with the reason in git's output.
fn reason(said: &str) -> (String, GitSort) {
    let line = said
        .lines()
        .map(str::trim)
        .find(|line| {
            ["fatal:", "error:", "ERROR:", "remote: Repository not found"]
                .iter()
                .any(|start| line.starts_with(start))
                || line.contains("Permission denied")
                || line.contains("Host key verification failed")
                || line.starts_with("ssh: ")
                || line.contains("Could not resolve host")
        })
        .or_else(|| said.lines().map(str::trim).rfind(|line| !line.is_empty()))
        .unwrap_or_default();
    let why = ["fatal: ", "error: ", "ERROR: "]
        .iter()
        .find_map(|start| line.strip_prefix(start))
        .unwrap_or(line)
        .to_owned();
    let any = |texts: &[&str]| texts.iter().any(|text| said.contains(text));
    let sort = if any(&[
        "Permission denied",
        "Authentication failed",
        "could not read Username",
        "could not read Password",
        "terminal prompts disabled",
        "Host key verification failed",
        "requested URL returned error: 401",
        "requested URL returned error: 403",
    ]) {
        GitSort::Denied
    } else if Cause::of(&why).is_some()
        || any(&["unable to connect", "Failed to connect", "Couldn't connect"])
    {
        GitSort::Network
    } else if any(&[
        "not found",
        "does not appear to be a git repository",
        "does not exist",
        "requested URL returned error: 404",
    ]) {
        GitSort::NotThere
    } else {
        GitSort::Other
    };
    (why, sort)
}

/// Resolves the URL of a submodule: `../other.git` is relative to the outer repository.
fn beside(outer: &str, url: &str) -> String {
    if !url.starts_with("./") && !url.starts_with("../") {
        return url.to_owned();
    }
    let mut base = outer.trim_end_matches('/').to_owned();
    let mut rest = url;
    loop {
        if let Some(next) = rest.strip_prefix("../") {
            rest = next;
            let cut = base.rfind(['/', ':']).unwrap_or(0);
            base.truncate(cut);
        } else if let Some(next) = rest.strip_prefix("./") {
            rest = next;
        } else {
            return format!("{base}/{rest}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refs() -> Vec<(String, String)> {
        [
            ("HEAD", 'a'),
            ("refs/heads/stable", 'b'),
            ("refs/tags/RELEASE-0.17.0", 'c'),
            ("refs/tags/RELEASE-0.17.0^{}", 'd'),
            ("refs/tags/stable", 'e'),
            ("refs/tags/v1", 'f'),
        ]
        .map(|(name, c)| (name.to_owned(), c.to_string().repeat(40)))
        .to_vec()
    }

    #[test]
    fn versions_are_branches_then_tags_then_releases() {
        let picked =
            |version| pick(&refs(), version).and_then(|commit| commit.get(..1).map(str::to_owned));
        assert_eq!(picked(None).as_deref(), Some("a"));
        assert_eq!(picked(Some("stable")).as_deref(), Some("b"));
        assert_eq!(picked(Some("RELEASE-0.17.0")).as_deref(), Some("d"));
        assert_eq!(picked(Some("0.17.0")).as_deref(), Some("d"));
        assert_eq!(picked(Some("1")).as_deref(), Some("f"));
        assert_eq!(picked(Some("nope")), None);
    }

    #[test]
    fn errors_of_git_are_classified() {
        let (why, sort) = reason(
            "Warning: Permanently added 'h'\ngit@h: Permission denied (publickey).\nfatal: Could not read from remote repository.\n",
        );
        assert_eq!(why, "git@h: Permission denied (publickey).");
        assert_eq!(sort, GitSort::Denied);
        assert_eq!(
            reason("fatal: unable to access 'https://x/': Could not resolve host: x\n").1,
            GitSort::Network
        );
        assert_eq!(
            reason("fatal: repository 'https://x/' not found\n"),
            (
                "repository 'https://x/' not found".into(),
                GitSort::NotThere
            )
        );
    }

    #[test]
    fn urls_are_shown_without_passwords_and_spelled_as_git_takes_them() {
        assert_eq!(
            redacted("cannot read 'https://me:pass@h/x' and https://h/y"),
            "cannot read 'https://h/x' and https://h/y"
        );
        assert_eq!(normal("git+ssh://git@h/x"), "ssh://git@h/x");
        assert_eq!(
            normal("github.com/unikraft/unikraft"),
            "https://github.com/unikraft/unikraft"
        );
        assert_eq!(normal("git@h:x/y"), "git@h:x/y");
        assert_eq!(normal("./x/y"), "./x/y");
        assert_eq!(beside("https://h/a/b.git", "../c.git"), "https://h/a/c.git");
        assert_eq!(beside("git@h:a/b.git", "../c.git"), "git@h:a/c.git");
    }
}
