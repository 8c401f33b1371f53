//! Files of a project: Kraftfile, Compose file, Dockerfile, `.dockerignore`, KConfig, `kraft.lock`.

use std::collections::BTreeMap;
use std::io;

use kraft_core::dockerfile::{self, expand, patterns::Glob, patterns::Patterns};
use kraft_core::lock::Lock;
use kraft_core::problem::render;
use kraft_kconfig::DotConfig;
use kraft_kconfig::language::{Sources, Tree};

use crate::texts;

/// Parses a Kraftfile, resolves it and renders its errors.
pub fn kraftfile(bytes: &[u8]) {
    let (parsed, text) = kraft_core::kraftfile::parse_bytes(bytes, &marked);
    if let Some(kraftfile) = &parsed.kraftfile {
        kraftfile.resolve("directory");
    }
    render("Kraftfile", &text, &parsed.problems, true);
}

/// Parses a Compose file, orders its services and renders its errors; parses the same text as an
/// `.env` file.
pub fn compose(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let parsed = kraft_core::compose::parse(&text, &marked);
    if let Some(compose) = &parsed.compose {
        compose.order(&[]);
    }
    render("compose.yaml", &text, &parsed.problems, true);
    kraft_core::compose::variables(&text, &marked);
    kraft_core::compose::plain_variables(&text, &marked);
}

fn marked(name: &str) -> Option<String> {
    Some(format!("<{name}>"))
}

/// Parses a Dockerfile, expands the variables of its steps and renders its errors.
pub fn dockerfile(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let problems = match dockerfile::parse(&text) {
        Ok(file) => {
            for (number, stage) in file.stages.iter().enumerate() {
                expand(&stage.from.image, file.escape);
                for step in &stage.steps {
                    expand(&step.text, file.escape);
                }
                for name in stage.froms() {
                    file.named_before(number, name);
                }
            }
            file.warnings
        }
        Err(problems) => problems,
    };
    render("Dockerfile", &text, &problems, true);
}

fn expand(text: &str, escape: char) {
    let variables = |name: &str| {
        name.len()
            .is_multiple_of(2)
            .then(|| format!("${name} \\ \" '"))
    };
    let _ = expand::word(text, escape, &variables);
    let _ = expand::document(text, escape, &variables);
}

/// Matches paths with the patterns of a `.dockerignore` and of `COPY`: the first text is the
/// patterns, the others are the paths.
pub fn ignore(bytes: &[u8]) {
    let mut texts = texts(bytes);
    let file = texts.next().unwrap_or_default();
    let patterns = Patterns::of_ignore_file(&file).unwrap_or_default();
    let single: Vec<Glob> = file.lines().take(8).map(Glob::path).collect();
    for path in texts.take(16) {
        let path = dockerfile::patterns::clean(&path);
        patterns.matches(&path);
        patterns.may_match_below(&path);
        patterns.may_except_below(&path);
        for pattern in &single {
            pattern.matches(&path);
        }
    }
}

/// Reads a KConfig tree, completes a configuration by it and explains the result: the first text
/// is the `.config`, the others are the files `Config.uk`, `1`, `2`, and so on.
pub fn kconfig(bytes: &[u8]) {
    let mut texts = texts(bytes);
    let config = DotConfig::parse(&texts.next().unwrap_or_default());
    let mut files = Files::default();
    for (number, text) in texts.enumerate() {
        let name = match number {
            0 => "Config.uk".to_owned(),
            _ => number.to_string(),
        };
        files.0.insert(name, text.into_owned());
    }
    let tree = match Tree::parse("Config.uk", &files) {
        Ok(tree) => tree,
        Err(faults) => return drop(faults.to_string()),
    };
    let resolved = tree.resolve(&config);
    resolved.text();
    resolved.config();
    resolved.forced();
    for loss in resolved.losses(config.iter()) {
        loss.reason();
        loss.advice();
    }
    for name in tree.names().iter().take(20) {
        tree.symbol(name);
        resolved.explain(name, "y");
    }
    tree.search("a");
}

/// The files of a tree, held in memory; commands echo.
#[derive(Default)]
struct Files(BTreeMap<String, String>);

impl Sources for Files {
    fn env(&self, name: &str) -> Option<String> {
        marked(name)
    }

    fn shell(&self, command: &str) -> String {
        command.to_owned()
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let text = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(text.as_bytes().to_vec())
    }

    fn glob(&self, pattern: &str) -> Vec<String> {
        let pattern = Glob::path(pattern);
        let names = self.0.keys().filter(|name| pattern.matches(name));
        names.cloned().collect()
    }
}

/// Parses a `.config`; what is written back reads the same, apart from characters that no value can
/// have.
pub fn dotconfig(bytes: &[u8]) {
    let config = DotConfig::parse(&String::from_utf8_lossy(bytes));
    config.features();
    let text = config.text();
    assert_eq!(DotConfig::parse(&text).text(), text);
}

/// Parses a `kraft.lock`; what is written back reads the same.
pub fn lock(bytes: &[u8]) {
    let Ok(lock) = Lock::parse(&String::from_utf8_lossy(bytes)) else {
        return;
    };
    let text = lock.text().expect("a lock can be written");
    let again = Lock::parse(&text).expect("a lock that was written can be read");
    assert_eq!(again, lock);
}
