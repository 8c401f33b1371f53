//! Arguments that depend on the host: variables of its environment, and directories.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use kraft_config::dirs::absolute;
use kraft_config::env::Environment;
use kraft_core::mount::{Volume, VolumeArg, VolumeError};

use crate::context::Context;
use crate::{machines, volumes};

/// Why an argument is invalid.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not UTF-8: a kernel's command line supports nothing else.
    #[error("{what} is not UTF-8 text: `{}`", text.display())]
    NotText {
        /// What it is.
        what: String,
        /// The argument.
        text: OsString,
    },
    /// A variable has no name.
    #[error("`--env {0}`: missing name of the variable")]
    Nameless(String),
    /// A file of variables cannot be read.
    #[error("`--env-file {}`: cannot read the file", path.display())]
    EnvFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: kraft_sys::fs::Error,
    },
    /// A line of a file of variables is invalid.
    #[error("`--env-file {}`: line {line}: {why}", path.display())]
    EnvLine {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// The syntax of a volume is invalid.
    #[error(transparent)]
    Syntax(#[from] VolumeError),
    /// The source of a volume is not a directory.
    #[error("`--volume {typed}`: `{}` is not a directory", source_dir.display())]
    NotADirectory {
        /// The argument.
        typed: String,
        /// The file.
        source_dir: PathBuf,
    },
    /// The source of a volume does not exist.
    #[error("`--volume {typed}`: the directory `{}` does not exist", source_dir.display())]
    NoDirectory {
        /// The argument.
        typed: String,
        /// The directory, as it was typed.
        typed_dir: String,
        /// The directory.
        source_dir: PathBuf,
    },
    /// The source of a volume cannot be read.
    #[error("`--volume {typed}`: cannot read `{}`", source_dir.display())]
    Unreadable {
        /// The argument.
        typed: String,
        /// The directory.
        source_dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Returns an argument as text; `what` it is, for the error.
///
/// # Errors
///
/// If it is not UTF-8.
pub fn text(word: &OsStr, what: &str) -> Result<String, Error> {
    let text = word.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::NotText {
        what: what.to_owned(),
        text: word.to_owned(),
    })
}

/// Parses `NAME=VALUE`, and `NAME` with its value in an environment; an unset variable is omitted.
///
/// ```
/// use kraft_config::env::Environment;
/// use kraft_engine::arguments;
///
/// let own = Environment::from([("HOST", "a")]);
/// let env = arguments::env(&["A=1".into(), "HOST".into(), "MISSING".into()], &own)?;
/// assert_eq!(env.into_iter().collect::<Vec<_>>(), [
///     ("A".to_owned(), "1".to_owned()),
///     ("HOST".to_owned(), "a".to_owned()),
/// ]);
/// # Ok::<(), arguments::Error>(())
/// ```
///
/// # Errors
///
/// If a variable has no name, or is not UTF-8.
pub fn env(typed: &[OsString], own: &Environment) -> Result<BTreeMap<String, String>, Error> {
    let mut env = BTreeMap::new();
    for word in typed {
        let word = text(word, "a variable")?;
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        if name.is_empty() {
            return Err(Error::Nameless(word));
        }
        let value = match value {
            Some(value) => Some(value),
            None => own
                .raw(name)
                .map(|value| text(value, &format!("the environment variable `{name}`")))
                .transpose()?,
        };
        if let Some(value) = value {
            env.insert(name.to_owned(), value);
        }
    }
    Ok(env)
}

/// The maximal size of a file of variables in bytes.
const MOST_VARIABLES: u64 = 1 << 20;

/// Reads files of variables, as Docker does: `NAME=VALUE` or `NAME` per line, the latter with its
/// value in an environment. Empty lines and those that begin with `#` are skipped, quotes are part of
/// the value, and later files win.
///
/// # Errors
///
/// If a file cannot be read, or a name is missing or has blanks.
pub fn env_files(files: &[PathBuf], own: &Environment) -> Result<BTreeMap<String, String>, Error> {
    let mut env = BTreeMap::new();
    for path in files {
        let bytes = kraft_sys::fs::read_file(path, MOST_VARIABLES).map_err(|source| {
            let path = path.clone();
            Error::EnvFile { path, source }
        })?;
        let wrong = |line: usize, why| Error::EnvLine {
            path: path.clone(),
            line: line + 1,
            why,
        };
        for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let line = std::str::from_utf8(line).map_err(|_| wrong(number, "it is not UTF-8"))?;
            let line = line.strip_suffix('\r').unwrap_or(line);
            let line = line.strip_prefix('\u{feff}').unwrap_or(line).trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let name = line.split_once('=').map_or(line, |(name, _)| name);
            if name.is_empty() {
                return Err(wrong(number, "a variable has no name"));
            }
            if name.contains(char::is_whitespace) {
                return Err(wrong(number, "the name of a variable has a blank"));
            }
            env.extend(self::env(&[OsString::from(line)], own)?);
        }
    }
    Ok(env)
}

/// Parses a volume: a named one, which need not exist, a directory, which must, or an anonymous one,
/// which gets a random name.
///
/// # Errors
///
/// If the syntax is invalid, or there is no such directory.
pub fn volume(ctx: &Context, typed: &str) -> Result<Volume, Error> {
    let arg: VolumeArg = typed.parse()?;
    let Some(arg_source) = arg.source else {
        let volumes = machines::existing(ctx).volumes();
        return Ok(volumes.mount_anonymous(arg.destination));
    };
    let typed_dir = Path::new(&arg_source);
    if let Some(mount) = volumes::named(ctx, &arg_source, typed_dir) {
        return Ok(Volume {
            destination: arg.destination,
            read_only: arg.read_only,
            ..mount
        });
    }
    let source_dir = absolute(typed_dir);
    let typed = typed.to_owned();
    match std::fs::metadata(&source_dir) {
        Ok(metadata) if metadata.is_dir() => Ok(Volume {
            name: None,
            source: source_dir,
            destination: arg.destination,
            read_only: arg.read_only,
        }),
        Ok(_) => Err(Error::NotADirectory { typed, source_dir }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::NoDirectory {
            typed,
            typed_dir: arg_source,
            source_dir,
        }),
        Err(source) => Err(Error::Unreadable {
            typed,
            source_dir,
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, context};

    #[test]
    fn a_variable_without_a_value_is_that_of_the_host_if_set() {
        let own = Environment::from([("HOST", "h=1"), ("EMPTY", "")]);
        let typed = ["A=1", "A=2", "B=", "C=x,y", "HOST", "EMPTY", "MISSING"].map(OsString::from);
        let env = env(&typed, &own).unwrap();
        let pairs: Vec<String> = env.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(pairs, ["A=2", "B=", "C=x,y", "EMPTY=", "HOST=h=1"]);
        assert!(super::env(&["=x".into()], &own).is_err());
    }

    #[test]
    fn a_file_of_variables_is_read_as_docker_does() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("env");
        let own = Environment::from([("HOST", "h")]);
        let read = |text: &[u8]| {
            kraft_sys::fs::replace_file(&path, text).unwrap();
            env_files(std::slice::from_ref(&path), &own).map(|env| {
                let pairs = env.iter().map(|(k, v)| format!("{k}={v}"));
                pairs.collect::<Vec<_>>().join(" ")
            })
        };
        let text = b"\xef\xbb\xbf# comment\n\n  A=1 # kept\r\nB=\"x\"\nHOST\nMISSING\nA=2";
        assert_eq!(read(text).unwrap(), "A=2 B=\"x\" HOST=h");
        assert_eq!(read(b"").unwrap(), "");
        for (wrong, part) in [
            (&b"A=1\n=x"[..], "line 2: a variable has no name"),
            (b"A B=1", "line 1: the name of a variable has a blank"),
            (b"A=\xff", "line 1: it is not UTF-8"),
        ] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.ends_with(part), "{error}");
        }
        let missing = env_files(&[home.path().join("none")], &own);
        assert!(matches!(missing, Err(Error::EnvFile { .. })));
    }

    #[test]
    fn a_volume_is_named_or_an_existing_directory() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("dir")).unwrap();
        kraft_sys::fs::replace_file(&home.path().join("file"), b"").unwrap();
        let ctx = context(home.path(), &Script::silent());
        let parse =
            |name: &str| volume(&ctx, &format!("{}/{name}:/data:ro", home.path().display()));
        let found = parse("dir").unwrap();
        assert_eq!(
            (found.source, found.read_only),
            (home.path().join("dir"), true)
        );
        assert!(matches!(parse("file"), Err(Error::NotADirectory { .. })));
        assert!(matches!(parse("none"), Err(Error::NoDirectory { .. })));
        assert!(matches!(parse("file/x"), Err(Error::Unreadable { .. })));
        let named = volume(&ctx, "nothing-here:/data:ro").unwrap();
        assert_eq!(named.name.as_deref(), Some("nothing-here"));
        assert!(named.read_only && !named.source.exists());
        for path in [
            "./nothing-here",
            "../nothing-here",
            "nothing/here",
            "nothing here",
        ] {
            let error = volume(&ctx, &format!("{path}:/data")).unwrap_err();
            assert!(matches!(error, Error::NoDirectory { .. }), "{error}");
        }
        assert!(matches!(volume(&ctx, "dir"), Err(Error::Syntax(_))));
    }
}
