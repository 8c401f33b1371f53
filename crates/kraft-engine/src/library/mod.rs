//! Creates a library: a directory with the files that Unikraft's build system and library users
//! expect.

pub mod find;
mod text;

use std::path::{Path, PathBuf};
use std::time::Duration;

use kraft_core::problem::Problem;
use kraft_sys::tool::{Tool, ToolError};
use kraft_sys::{environment, fs};

/// Error of creating a library.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory of the library already exists.
    #[error("`{}` already exists", .0.display())]
    Exists(PathBuf),
    /// A Git command failed, or Git is missing.
    #[error("cannot create the Git repository")]
    Git(#[source] ToolError),
    /// A file or directory cannot be read or written.
    #[error(transparent)]
    File(#[from] fs::Error),
}

/// Timeout of a Git command.
const GIT_LIMIT: Duration = Duration::from_mins(1);

/// A library to create.
///
/// ```
/// use kraft_engine::library::{Library, kname, name};
///
/// let library = Library {
///     project: "hello".to_owned(),
///     name: name("hello"),
///     kname: kname("hello"),
///     version: "1.0".to_owned(),
///     description: String::new(),
///     author: "A. Author".to_owned(),
///     email: "author@example.com".to_owned(),
///     holder: "A. Author".to_owned(),
///     branch: "staging".to_owned(),
///     origin: None,
///     main: false,
///     patches: None,
///     git: false,
///     path: ".".into(),
/// };
/// assert!(library.problems().is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Name of the project: `hello`.
    pub project: String,
    /// Name of the library and of its directory: `lib-hello`.
    pub name: String,
    /// Name of its KConfig option: `LIBHELLO`.
    pub kname: String,
    /// Version of the upstream sources.
    pub version: String,
    /// Description in one line.
    pub description: String,
    /// Name of the author.
    pub author: String,
    /// Email address of the author.
    pub email: String,
    /// Copyright holder.
    pub holder: String,
    /// Initial branch of its Git repository.
    pub branch: String,
    /// URL of the archive with the upstream sources, if the library is a port.
    pub origin: Option<String>,
    /// Whether it has an optional `main` function.
    pub main: bool,
    /// Directory of its patches to the upstream sources.
    pub patches: Option<String>,
    /// Whether to create a Git repository.
    pub git: bool,
    /// Parent directory of the library's directory.
    pub path: PathBuf,
}

impl Library {
    /// Validates the fields and returns all problems.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (what, text) in [
            ("project name", &self.project),
            ("version", &self.version),
            ("author name", &self.author),
            ("author email", &self.email),
        ] {
            if text.is_empty() {
                problems.push(Problem::error(format!("{what} cannot be empty")));
            }
        }
        let plain = |text: &str| {
            !text.starts_with(['.', '-'])
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.+".contains(&b))
        };
        for (what, text) in [
            ("project name", &self.project),
            ("library name", &self.name),
            ("version", &self.version),
            (
                "directory of patches",
                self.patches.as_ref().unwrap_or(&self.version),
            ),
        ] {
            if !plain(text) {
                let help = "expected letters, digits, `-`, `_`, `.` and `+`, beginning with a letter or a digit";
                problems.push(Problem::error(format!("`{text}` cannot be the {what}")).help(help));
            }
        }
        let option = self
            .kname
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        let begins = self
            .kname
            .strip_prefix("LIB")
            .is_some_and(|rest| !rest.is_empty());
        let named = option && begins;
        if !(named || self.project.is_empty()) {
            let problem =
                Problem::error(format!("`{}` cannot be the name of an option", self.kname));
            problems.push(problem.help("expected `LIB` and upper-case letters, digits and `_`"));
        }
        for (what, text) in [
            ("description", &self.description),
            ("author name", &self.author),
            ("author email", &self.email),
            ("copyright holder", &self.holder),
        ] {
            if text.chars().any(char::is_control) {
                problems.push(Problem::error(format!(
                    "the {what} must be one line of plain text"
                )));
            }
        }
        let awkward = |c: char| c.is_control() || c.is_whitespace() || "$#\\'\"`,()".contains(c);
        if self
            .origin
            .as_deref()
            .is_some_and(|origin| origin.is_empty() || origin.contains(awkward))
        {
            let problem = Problem::error("the origin is not valid in a makefile");
            problems.push(
                problem.help("expected the URL of an archive, without spaces, quotes, `$` and `#`"),
            );
        }
        problems
    }

    /// Returns the names and contents of the library's files.
    fn files(&self, year: i16) -> Vec<(String, String)> {
        let mut files = vec![
            ("CODING_STYLE.md", text::coding_style(self)),
            ("CONTRIBUTING.md", text::contributing(self)),
            ("COPYING.md", text::copying(self, year)),
            ("Config.uk", text::config(self)),
            ("Makefile.uk", text::makefile(self)),
            ("README.md", text::readme(self)),
        ];
        if self.main {
            files.push(("main.c", text::main(self, year)));
        }
        let mut files: Vec<(String, String)> = files
            .into_iter()
            .map(|(name, text)| (name.to_owned(), text))
            .collect();
        if let Some(dir) = &self.patches {
            files.push((format!("{dir}/README.md"), text::patches(self)));
        }
        files
    }

    /// Creates the library and returns its directory. The files are written to a temporary
    /// directory next to it, which is renamed when it is complete.
    ///
    /// # Errors
    ///
    /// If the directory exists or cannot be written, or Git fails.
    pub fn create(&self, year: i16) -> Result<PathBuf, Error> {
        let dir = self.path.join(&self.name);
        if std::fs::symlink_metadata(&dir).is_ok() {
            return Err(Error::Exists(dir));
        }
        fs::create_dir_all(&self.path, 0o755)?;
        let stage = self.path.join(format!(".{}.new", self.name));
        fs::remove_tree(&stage)?;
        let written = self.fill(&stage, year);
        if let Err(error) = written.and_then(|()| Ok(fs::rename(&stage, &dir)?)) {
            let _ = fs::remove_tree(&stage);
            return Err(error);
        }
        fs::sync_dir(&self.path)?;
        Ok(dir)
    }

    fn fill(&self, stage: &Path, year: i16) -> Result<(), Error> {
        fs::create_dir(stage, 0o755)?;
        if let Some(dir) = &self.patches {
            fs::create_dir(&stage.join(dir), 0o755)?;
        }
        for (name, text) in self.files(year) {
            fs::replace_file(&stage.join(name), text.as_bytes())?;
        }
        if self.git {
            self.init(stage).map_err(Error::Git)?;
        }
        Ok(())
    }

    /// Creates a Git repository with an initial commit.
    fn init(&self, stage: &Path) -> Result<(), ToolError> {
        let name = format!("user.name={}", self.author);
        let email = format!("user.email={}", self.email);
        let subject = format!("Start {}", self.name);
        let identity = ["-c", &name, "-c", &email, "-c", "commit.gpgSign=false"];
        let commit: Vec<&str> = identity
            .into_iter()
            .chain(["commit", "-q", "-m", &subject])
            .collect();
        for words in [
            &["init", "-q", "-b", &self.branch, "."][..],
            &["add", "-A"],
            &commit,
        ] {
            Tool::new("git")
                .package("git")
                .args(words)
                .inherit(environment::GIT)
                .current_dir(stage)
                .limit(GIT_LIMIT)
                .run()?;
        }
        Ok(())
    }
}

/// Returns a value of the user's Git configuration, if it is set.
#[must_use]
pub fn git_config(key: &str) -> Option<String> {
    let output = Tool::new("git")
        .args(["config", "--get", key])
        .inherit(environment::GIT)
        .limit(GIT_LIMIT)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// Returns the KConfig option of the library for a project: `LIBHELLO` for `hello`.
#[must_use]
pub fn kname(project: &str) -> String {
    let bare = project.strip_prefix("lib-").unwrap_or(project);
    let word: String = bare
        .chars()
        .filter(|c| *c != '-')
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    format!("LIB{word}")
}

/// Returns the name of the library for a project: `lib-hello` for `hello`.
#[must_use]
pub fn name(project: &str) -> String {
    if project.starts_with("lib-") {
        return project.to_owned();
    }
    format!("lib-{project}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_derived_from_the_project() {
        assert_eq!(
            (name("hello"), kname("hello")),
            ("lib-hello".into(), "LIBHELLO".into())
        );
        assert_eq!(
            (name("lib-a-b"), kname("lib-a-b")),
            ("lib-a-b".into(), "LIBAB".into())
        );
        assert_eq!(kname("zlib1.2"), "LIBZLIB1_2");
    }
}
