//! What unit tests of flows need: a context whose directories are temporary, which answers questions
//! from a list and records what is reported.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use kraft_config::env::Environment;
use kraft_config::{Config, Flags};
use kraft_core::event::{Event, Reporter};
use kraft_oci::image::{Descriptor, Platform, RunConfig};
use kraft_oci::store::Store;

use crate::context::{Ask, AskError, Context};
use crate::package::{self, Package, Part, Strategy};

/// Answers questions from a list, and records what is reported.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// The answers to `select`, first one first; no terminal where there are none.
    answers: Mutex<Vec<usize>>,
    /// What is piped in.
    stdin: Vec<u8>,
    /// Notes and warnings.
    reported: Mutex<Vec<String>>,
}

impl Script {
    /// Makes one without a terminal.
    pub(crate) fn silent() -> Arc<Self> {
        Arc::default()
    }

    /// Makes one that chooses these lines.
    pub(crate) fn choosing(answers: &[usize]) -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::new(answers.to_vec()),
            ..Self::default()
        })
    }

    /// Makes one that pipes a text in.
    pub(crate) fn piping(stdin: &str) -> Arc<Self> {
        Arc::new(Self {
            stdin: stdin.as_bytes().to_vec(),
            ..Self::default()
        })
    }

    /// Returns the notes and warnings so far.
    pub(crate) fn reported(&self) -> Vec<String> {
        let reported = self.reported.lock();
        reported.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Ask for Script {
    fn select(&self, _question: &str, lines: &[String]) -> Result<Option<usize>, AskError> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.is_empty() {
            return Ok(None);
        }
        let at = answers.remove(0);
        assert!(at < lines.len(), "{at} of {lines:?}");
        Ok(Some(at))
    }

    fn line(&self, _question: &str) -> Result<Option<String>, AskError> {
        Ok(None)
    }

    fn stdin(&self, _limit: u64) -> std::io::Result<Vec<u8>> {
        Ok(self.stdin.clone())
    }
}

impl Reporter for Script {
    fn report(&self, event: Event) {
        let texts = match event {
            Event::Note(text) | Event::Warning(text) => vec![text],
            Event::Problems { problems, .. } => problems
                .into_iter()
                .map(|problem| problem.message)
                .collect(),
            _ => Vec::new(),
        };
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        reported.extend(texts);
    }
}

/// Makes a context whose directories are below `home`.
pub(crate) fn context(home: &Path, script: &Arc<Script>) -> Context {
    let home = home.to_string_lossy();
    let data = format!("{home}/data");
    let config = format!("{home}/config");
    let env = Environment::from([
        ("HOME", home.as_ref()),
        ("XDG_DATA_HOME", &data),
        ("XDG_CONFIG_HOME", &config),
    ]);
    let config = Config::without_file(&Flags::default(), env);
    let (reporter, ask) = (Arc::clone(script), Arc::clone(script));
    Context::new(&config, reporter, ask)
}

/// Stores an image without layers, with a manifest for each platform, such as `qemu/x86_64`.
pub(crate) fn image(ctx: &Context, store: &dyn Store, name: &str, pairs: &[&str]) -> Descriptor {
    let part = |pair: &&str| {
        let (os, architecture) = pair.split_once('/').unwrap();
        Part {
            platform: Platform {
                os: os.to_owned(),
                architecture: architecture.to_owned(),
                ..Platform::default()
            },
            layers: Vec::new(),
            run: RunConfig {
                // Two images are not the same document.
                cmd: vec![name.to_owned()],
                ..RunConfig::default()
            },
            made: None,
        }
    };
    let package = Package {
        name: name.parse().unwrap(),
        strategy: Strategy::Overwrite,
        linux: false,
        engines: Vec::new(),
    };
    package::assemble(ctx, store, &package, pairs.iter().map(part).collect()).unwrap()
}
