//! Git repositories, by the user's own `git`: its credentials, its ssh, its proxies.

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
use super::error::{Error, GitSort};
use crate::trees;

/// How long a server may take to list what it has.
const ANSWERS_WITHIN: Duration = Duration::from_mins(1);

/// What a repository lists is at most this long, in bytes.
const LARGEST_LISTING: u64 = 64 << 20;

/// A bare mirror of one repository.
#[derive(Debug)]
pub(super) struct Mirror {
    url: String,
    name: String,
    /// Where it is.
    pub(super) dir: PathBuf,
}

/// Returns whether a source is spelled as a repository elsewhere.
pub(super) fn is_remote(source: &str) -> bool {
    source.contains("://") || (source.contains('@') && source.contains(':'))
}

/// Returns a URL as `git` takes it: the spellings of KraftKit become usual ones.
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
    // `github.com/unikraft/unikraft`, as people write it.
    let host = url.split('/').next().unwrap_or_default();
    if !is_remote(url) && host.contains('.') && !url.starts_with('.') && url.contains('/') {
        return format!("https://{url}");
    }
    url.to_owned()
}

/// Returns whether the user's git goes elsewhere for a URL (`url.….insteadOf`).
pub(super) fn is_redirected(url: &str) -> bool {
    let said = tool(["ls-remote", "--get-url", "--", url]).output();
    said.is_ok_and(|output| {
        output.status.success() && first_line(&output).is_some_and(|line| line != url)
    })
}

/// Returns whether a version may be a commit, whole or the beginning of one.
pub(super) fn may_be_commit(version: &str) -> bool {
    (4..=40).contains(&version.len()) && version.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_whole_commit(version: &str) -> bool {
    version.len() == 40 && may_be_commit(version)
}

impl Mirror {
    /// Names the mirror of a repository; nothing is made.
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

    /// Returns the name of the component that it is for.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Finds the commit that a version is at, as the repository has it now.
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
            // The beginning of a commit says nothing without the history.
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

    /// Lists what the repository has: names of references with their commits.
    pub(super) fn refs(
        &self,
        version: Option<&str>,
        sources: &Sources,
    ) -> Result<Vec<(String, String)>, Error> {
        let kept = self.dir.with_extension("refs");
        let listed = if sources.offline && !is_local(&self.url) {
            // What they were when we could ask is the best that is known here.
            fs::read_file(&kept, LARGEST_LISTING).map_err(|_| Error::Offline {
                what: format!(
                    "what `{}` is at in `{}`",
                    version.unwrap_or("HEAD"),
                    redacted(&self.url)
                ),
            })?
        } else {
            // The old protocol answers at once; the new one asks twice for the same.
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

    /// Makes sure that a commit is here.
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
        // Most servers hand out a commit by its name; that is the least to fetch.
        let depth = match sources.depth {
            Some(0) => None,
            // A tree needs no history.
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

    /// Makes the mirror if there is none, and keeps others out of it.
    fn enter(&self) -> Result<Lock, Error> {
        fs::create_dir_all(&self.dir, 0o755)?;
        let lock = Lock::exclusive(&self.dir)?;
        // Locks of a Git that was killed: whoever holds ours is alone here.
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

    /// Writes the tree of a commit into a directory that is empty.
    pub(super) fn check_out(&self, commit: &str, to: &Path) -> Result<(), Error> {
        let index = to.with_extension("index");
        let output = self
            .tool(["checkout", "--quiet", "--force", commit, "--", "."])
            .env("GIT_WORK_TREE", to)
            .env("GIT_INDEX_FILE", &index)
            .output()?;
        fs::remove_tree(&index)?;
        // A commit without a single file has nothing to check out.
        let empty = self
            .git(["ls-tree", "--name-only", commit])?
            .stdout
            .is_empty();
        if empty {
            return Ok(());
        }
        self.good(output).map(drop)
    }

    /// Lists the submodules of a commit: where each is put, its URL, its commit.
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
            // What comes from elsewhere has no say in what is read from this computer.
            if is_local(&url) && !is_local(&self.url) {
                return Err(Error::Archive {
                    name: self.name.clone(),
                    url: redacted(&self.url),
                    why: format!("the submodule `{path}` leads to this computer"),
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

    /// Insists on success.
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

/// A repository inside another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Submodule {
    /// Where it is put, relative to the outer tree.
    pub(super) path: PathBuf,
    /// Its URL.
    pub(super) url: String,
    /// The commit that the outer one names.
    pub(super) commit: String,
}

fn tool<'a>(words: impl IntoIterator<Item = &'a str>) -> Tool {
    Tool::new("git")
        .with_us()
        .package("git")
        .args([
            "-c",
            "gc.auto=0",
            // A pack appears whole or not at all; loose objects one by one, so that a commit could
            // be here without its files after a kill.
            "-c",
            "fetch.unpackLimit=1",
            // Neither has a program to be started by a URL.
            "-c",
            "protocol.ext.allow=never",
            "-c",
            "advice.detachedHead=false",
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "core.autocrlf=false",
            // A mirror may belong to another user of this computer's root.
            "-c",
            "safe.directory=*",
        ])
        .args(words)
        .inherit(environment::GIT)
        // Nobody answers questions here: credential helpers and agents do.
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

/// Chooses among references: a branch, a tag, the tag of a release; without a version, `HEAD`.
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
        // The commit that an annotated tag is about, not the tag itself.
        .or_else(|| find(format!("refs/tags/{version}^{{}}")))
        .or_else(|| find(format!("refs/tags/{version}")))
        .or_else(|| find(format!("refs/tags/RELEASE-{version}^{{}}")))
        .or_else(|| find(format!("refs/tags/RELEASE-{version}")))
        .or_else(|| find(format!("refs/tags/v{version}^{{}}")))
        .or_else(|| find(format!("refs/tags/v{version}")))
}

/// Finds the line that tells why, among what git says.
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

/// Reads the URL of a submodule: `../other.git` is beside the outer repository.
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
    fn a_version_is_a_branch_then_a_tag_then_a_release() {
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
    fn what_git_says_becomes_one_line_and_a_sort() {
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
