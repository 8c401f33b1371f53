//! Options of builds: build arguments, secrets, ssh agents and caches, as Docker writes them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kraft_buildkit::{Cache, Secret};
use kraft_sys::fs;

use super::builders::Builder;
use super::error::Error;
use crate::context::Context;

/// Maximum size of a secret in bytes (BuildKit, `session/secrets`).
const LARGEST_SECRET: u64 = 500 * 1024;

/// Options of a build from a Dockerfile.
///
/// ```
/// use kraft_engine::dockerfile::{BuildOptions, Builder};
///
/// let options = BuildOptions {
///     arguments: vec!["VERSION=1.2".to_owned()],
///     target: Some("release".to_owned()),
///     builder: Builder::Kraft,
///     ..BuildOptions::default()
/// };
/// assert!(!options.no_cache);
/// ```
#[derive(Clone, Debug, Default)]
pub struct BuildOptions {
    /// Build arguments: `NAME=VALUE`, or `NAME` for the variable of the environment.
    pub arguments: Vec<String>,
    /// The stage to build; the last one without it.
    pub target: Option<String>,
    /// Secrets: `id=…,src=…|env=…`.
    pub secrets: Vec<String>,
    /// ssh agents: `default|ID[=SOCKET]`.
    pub agents: Vec<String>,
    /// Caches that are read and written: `type=…,…`.
    pub cache_from: Vec<String>,
    /// Caches that are written.
    pub cache_to: Vec<String>,
    /// The network of commands: `none`, `host`, or the builder's default.
    pub network: Option<String>,
    /// How long the build may take.
    pub timeout: Option<Duration>,
    /// Whether every step runs again.
    pub no_cache: bool,
    /// Whether to build even if nothing changed.
    pub fresh: bool,
    /// What builds.
    pub builder: Builder,
}

/// Error in an option of a build.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// A build argument has no name.
    #[error("`--build-arg {0}`: the name is missing")]
    Argument(String),
    /// An ssh agent is requested and none is running.
    #[error("`--build-ssh {0}`: no ssh agent is running")]
    NoAgent(String),
    /// A secret is invalid.
    #[error("`--build-secret {option}`")]
    Secret {
        /// The value of the option.
        option: String,
        /// What is wrong with it.
        source: SecretError,
    },
    /// A cache is invalid.
    #[error("`{option}` is not a valid cache")]
    Cache {
        /// The value of the option.
        option: String,
        /// What is wrong with it.
        source: CacheError,
    },
}

/// Error in `--build-secret`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// A field without a value.
    #[error("`{0}` is not KEY=VALUE")]
    Field(String),
    /// An unknown `type`.
    #[error("`{0}` is not a valid type: expected `file` or `env`")]
    Type(String),
    /// An unknown key.
    #[error("unknown key `{0}`")]
    Key(String),
    /// Neither `id` nor `src`.
    #[error("`id` is missing")]
    NoId,
    /// The environment does not have the variable.
    #[error("the environment has no variable `{0}`")]
    NoVariable(String),
}

/// Error in `--build-cache-from` and `--build-cache-to`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// A field without a value.
    #[error("`{0}` is not KEY=VALUE")]
    Field(String),
    /// No `type`.
    #[error("`type` is missing")]
    NoType,
    /// A type that is not supported.
    #[error("`type=local` is not supported")]
    Local,
}

/// Parses build arguments. A name without a value that the environment does not have is left out,
/// with a warning.
pub(super) fn arguments(
    ctx: &Context,
    options: &[String],
) -> Result<BTreeMap<String, String>, OptionError> {
    let mut arguments = BTreeMap::new();
    for option in options {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (option.as_str(), ctx.env.text(option)),
        };
        if name.is_empty() {
            return Err(OptionError::Argument(option.clone()));
        }
        match value {
            Some(value) => drop(arguments.insert(name.to_owned(), value)),
            None => ctx.warn(&format!(
                "`--build-arg {name}`: the environment has no such variable, so it is left out"
            )),
        }
    }
    Ok(arguments)
}

/// Returns the sockets of ssh agents by name; the agent of this session is always offered as
/// `default`.
pub(super) fn agents(
    ctx: &Context,
    options: &[String],
) -> Result<HashMap<String, PathBuf>, OptionError> {
    let env = &ctx.env;
    let session = env
        .path("KRAFTKIT_BUILDKIT_SSH_AGENT")
        .or_else(|| env.path("SSH_AUTH_SOCK"));
    let mut agents = HashMap::new();
    if let Some(session) = &session {
        agents.insert("default".to_owned(), session.clone());
    }
    for option in options {
        let (id, socket) = match option.split_once('=') {
            Some((id, socket)) => (id, Some(PathBuf::from(socket))),
            None => (option.as_str(), session.clone()),
        };
        let socket = socket.ok_or_else(|| OptionError::NoAgent(option.clone()))?;
        agents.insert(id.to_owned(), socket);
    }
    Ok(agents)
}

/// Where the value of a secret is.
#[derive(Debug, PartialEq, Eq)]
enum SecretSource<'a> {
    File(&'a str),
    Variable(&'a str),
}

/// Reads the secret of `id=ID[,src=FILE|,env=VARIABLE][,type=file|env]`.
pub(super) fn secret(ctx: &Context, option: &str) -> Result<Secret, Error> {
    let invalid = |source| OptionError::Secret {
        option: option.to_owned(),
        source,
    };
    let (id, source) = secret_source(option).map_err(invalid)?;
    let bytes = match source {
        SecretSource::File(path) => fs::read_file(Path::new(path), LARGEST_SECRET)?,
        SecretSource::Variable(name) => {
            let value = ctx.env.raw(name);
            let value = value.ok_or_else(|| invalid(SecretError::NoVariable(name.to_owned())))?;
            value.as_encoded_bytes().to_vec()
        }
    };
    Ok(Secret {
        id: id.to_owned(),
        bytes,
    })
}

/// Parses a secret into its name and its source. Without an `id` it is the name of the file;
/// without a source it is the variable of that name.
fn secret_source(option: &str) -> Result<(&str, SecretSource<'_>), SecretError> {
    let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
    for field in option.split(',') {
        let Some((name, value)) = field.split_once('=') else {
            return Err(SecretError::Field(field.to_owned()));
        };
        match name.trim().to_lowercase().as_str() {
            "id" => id = Some(value),
            "src" | "source" => file = Some(value),
            "env" => variable = Some(value),
            "type" if value == "file" || value == "env" => kind = Some(value),
            "type" => return Err(SecretError::Type(value.to_owned())),
            other => return Err(SecretError::Key(other.to_owned())),
        }
    }
    let id = id.or(file.and_then(|path| path.rsplit('/').next()));
    let id = id.ok_or(SecretError::NoId)?;
    if kind == Some("env") && variable.is_none() {
        variable = file.take();
    }
    let source = match (file, variable) {
        (Some(path), _) => SecretSource::File(path),
        (None, variable) => SecretSource::Variable(variable.unwrap_or(id)),
    };
    Ok((id, source))
}

/// Parses a cache: `type=KIND[,KEY=VALUE…]`, or the name of an image.
pub(super) fn cache(option: &str) -> Result<Cache, OptionError> {
    let invalid = |source| OptionError::Cache {
        option: option.to_owned(),
        source,
    };
    if !option.contains('=') {
        return Ok(Cache {
            kind: "registry".to_owned(),
            attributes: BTreeMap::from([("ref".to_owned(), option.to_owned())]),
        });
    }
    let mut attributes = BTreeMap::new();
    let mut kind = None;
    for field in option.split(',') {
        match field.split_once('=') {
            Some(("type", value)) => kind = Some(value.to_owned()),
            Some((name, value)) => drop(attributes.insert(name.to_owned(), value.to_owned())),
            None => return Err(invalid(CacheError::Field(field.to_owned()))),
        }
    }
    match kind {
        Some(kind) if kind == "local" => Err(invalid(CacheError::Local)),
        Some(kind) => Ok(Cache { kind, attributes }),
        None => Err(invalid(CacheError::NoType)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::context;
    use super::*;

    #[test]
    fn secrets_have_a_name_and_a_source() {
        use SecretSource::{File, Variable};

        for (option, expected) in [
            ("id=a,src=/x/b", ("a", File("/x/b"))),
            ("id=a,source=b", ("a", File("b"))),
            ("src=/x/b", ("b", File("/x/b"))),
            ("id=a,env=B", ("a", Variable("B"))),
            ("id=A", ("A", Variable("A"))),
            ("id=a,type=env,src=B", ("a", Variable("B"))),
            ("type=file,id=a,src=b", ("a", File("b"))),
            ("id=a,env=B,src=c", ("a", File("c"))),
            ("ID=a,Src=b", ("a", File("b"))),
        ] {
            assert_eq!(secret_source(option), Ok(expected), "{option}");
        }
    }

    #[test]
    fn invalid_secrets_are_refused_with_the_reason() {
        for (option, expected) in [
            ("", SecretError::Field(String::new())),
            ("a", SecretError::Field("a".to_owned())),
            ("id=a,b", SecretError::Field("b".to_owned())),
            ("id=a,type=socket", SecretError::Type("socket".to_owned())),
            ("id=a,mode=0400", SecretError::Key("mode".to_owned())),
            ("env=A", SecretError::NoId),
        ] {
            assert_eq!(secret_source(option), Err(expected), "{option}");
        }
    }

    #[test]
    fn a_secret_is_read_from_a_file_or_a_variable() {
        let dir = tempfile::tempdir().unwrap();
        let ctx = context(dir.path(), [("TOKEN", "t0")]);
        let file = dir.path().join("key");
        fs::replace_file(&file, b"k\n").unwrap();
        let read = |option: &str| secret(&ctx, option).map(|secret| (secret.id, secret.bytes));
        let from_file = read(&format!("id=a,src={}", file.display())).unwrap();
        assert_eq!(from_file, ("a".to_owned(), b"k\n".to_vec()));
        assert_eq!(read("id=TOKEN").unwrap().1, b"t0");
        assert_eq!(read("id=b,env=TOKEN").unwrap().1, b"t0");
        let error = read("id=b,env=NONE").unwrap_err();
        assert_eq!(error.to_string(), "`--build-secret id=b,env=NONE`");
        assert_eq!(
            std::error::Error::source(&error).unwrap().to_string(),
            "the environment has no variable `NONE`"
        );
        assert!(matches!(read("id=a,src=/nowhere"), Err(Error::File(_))));
    }

    #[test]
    fn caches_are_images_or_a_type_with_attributes() {
        for (option, kind, attributes) in [
            ("ghcr.io/a/b:c", "registry", vec![("ref", "ghcr.io/a/b:c")]),
            ("type=gha", "gha", vec![]),
            (
                "type=registry,ref=a,mode=max",
                "registry",
                vec![("ref", "a"), ("mode", "max")],
            ),
        ] {
            let attributes = attributes.into_iter();
            let expected = Cache {
                kind: kind.to_owned(),
                attributes: attributes
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
            };
            assert_eq!(cache(option), Ok(expected), "{option}");
        }
        for (option, expected) in [
            ("type=local,dest=x", CacheError::Local),
            ("ref=a", CacheError::NoType),
            ("type=gha,x", CacheError::Field("x".to_owned())),
        ] {
            let Err(OptionError::Cache { source: error, .. }) = cache(option) else {
                panic!("{option}");
            };
            assert_eq!(error, expected, "{option}");
        }
    }

    #[test]
    fn arguments_without_a_value_come_from_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let ctx = context(dir.path(), [("HERE", "env")]);
        let options = ["A=1", "A=2", "B=", "C=x=y", "HERE", "NOT_SET"].map(str::to_owned);
        let parsed = arguments(&ctx, &options).unwrap();
        let parsed: Vec<(&str, &str)> = parsed.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(
            parsed,
            [("A", "2"), ("B", ""), ("C", "x=y"), ("HERE", "env")]
        );
        assert_eq!(
            arguments(&ctx, &["=x".to_owned()]),
            Err(OptionError::Argument("=x".to_owned()))
        );
    }

    #[test]
    fn the_agent_of_the_session_is_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let with = context(dir.path(), [("SSH_AUTH_SOCK", "/agent")]);
        let without = context(dir.path(), []);
        let one = |ctx: &Context, options: &[&str], id: &str| {
            let options: Vec<String> = options.iter().map(|&it| it.to_owned()).collect();
            agents(ctx, &options).map(|mut agents| agents.remove(id))
        };
        let agent = Some(PathBuf::from("/agent"));
        assert_eq!(one(&with, &[], "default"), Ok(agent.clone()));
        assert_eq!(one(&with, &["git"], "git"), Ok(agent));
        let other = Some(PathBuf::from("/other"));
        assert_eq!(
            one(&with, &["default=/other"], "default"),
            Ok(other.clone())
        );
        assert_eq!(one(&without, &["git=/other"], "git"), Ok(other));
        assert_eq!(one(&without, &[], "default"), Ok(None));
        assert_eq!(
            one(&without, &["default"], "default"),
            Err(OptionError::NoAgent("default".to_owned()))
        );
    }
}
