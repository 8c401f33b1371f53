//! What `$NAME` stands for at a place of a Dockerfile.

use std::collections::BTreeMap;

use kraft_core::dockerfile::expand::{self, ExpandError};
use kraft_core::dockerfile::{Dockerfile, Pair};

use super::Recipe;
use super::settings::Settings;

/// Arguments that may be given without being declared, and that no image keeps.
const UNDECLARED: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The arguments before the first `FROM`, with those that every build has.
pub(super) fn global(recipe: &Recipe<'_>) -> Result<BTreeMap<String, String>, ExpandError> {
    let mut known = BTreeMap::new();
    for (prefix, architecture) in [("TARGET", recipe.architecture), ("BUILD", recipe.host)] {
        let (plain, variant) = match architecture.split_once('/') {
            Some((plain, variant)) => (plain, variant),
            None => (architecture, ""),
        };
        known.insert(format!("{prefix}PLATFORM"), format!("linux/{architecture}"));
        known.insert(format!("{prefix}OS"), "linux".to_owned());
        known.insert(format!("{prefix}ARCH"), plain.to_owned());
        known.insert(format!("{prefix}VARIANT"), variant.to_owned());
    }
    for pair in &recipe.dockerfile.arguments {
        let value = match (recipe.arguments.get(&pair.name), &pair.value) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(default)) => Some(expanded(recipe.dockerfile, default, &known)?),
            (None, None) => None,
        };
        if let Some(value) = value {
            known.insert(pair.name.clone(), value);
        }
    }
    Ok(known)
}

/// Expands a word where only global arguments are known.
pub(super) fn expanded(
    dockerfile: &Dockerfile,
    word: &str,
    known: &BTreeMap<String, String>,
) -> Result<String, ExpandError> {
    let look = |name: &str| known.get(name).cloned();
    expand::word(word, dockerfile.escape, &look)
}

/// The arguments that a stage has declared.
#[derive(Clone, Debug, Default)]
pub(super) struct Arguments {
    declared: BTreeMap<String, String>,
}

impl Arguments {
    /// Declares an argument. Its default was expanded already.
    pub(super) fn declare(
        &mut self,
        pair: &Pair,
        default: Option<String>,
        recipe: &Recipe<'_>,
        global: &BTreeMap<String, String>,
    ) {
        let given = recipe.arguments.get(&pair.name).cloned();
        let value = given
            .or(default)
            .or_else(|| global.get(&pair.name).cloned());
        if let Some(value) = value {
            self.declared.insert(pair.name.clone(), value);
        }
    }

    /// Returns what a name stands for: a variable of the image before an argument.
    pub(super) fn value(&self, name: &str, settings: &Settings) -> Option<String> {
        let variable = settings.variable(name).map(str::to_owned);
        variable.or_else(|| self.declared.get(name).cloned())
    }

    /// Returns the variables that a command sees.
    pub(super) fn environment(
        &self,
        settings: &Settings,
        recipe: &Recipe<'_>,
    ) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for name in UNDECLARED {
            if let Some(value) = recipe.arguments.get(name) {
                all.insert(name.to_owned(), value.clone());
            }
        }
        all.extend(self.seen(settings));
        all
    }

    /// Returns the variables that are part of the key of a command: all but undeclared proxies.
    pub(super) fn seen(&self, settings: &Settings) -> BTreeMap<String, String> {
        let mut all = self.declared.clone();
        let pairs = settings.env.iter().filter_map(|pair| pair.split_once('='));
        all.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        all
    }
}
