//! Explains why an option does not have the requested value, down to the root cause.
//!
//! ```text
//! CONFIG_LWIP_DHCP=y was dropped: needs LWIP_UDP, which is n because it needs …
//! ```
//!
//! ```
//! # use std::io;
//! # use kraft_kconfig::language::Sources;
//! # struct OneFile(&'static str);
//! # impl Sources for OneFile {
//! #     fn env(&self, _: &str) -> Option<String> { None }
//! #     fn shell(&self, _: &str) -> String { String::new() }
//! #     fn read(&self, _: &str) -> io::Result<Vec<u8>> { Ok(self.0.into()) }
//! #     fn glob(&self, pattern: &str) -> Vec<String> { vec![pattern.to_owned()] }
//! # }
//! use kraft_kconfig::DotConfig;
//! use kraft_kconfig::explain::Cause;
//! use kraft_kconfig::language::{KconfigErrors, Tree};
//!
//! let text = "config NET\n\tbool \"Network\"\nconfig DHCP\n\tbool \"DHCP\"\n\tdepends on NET\n";
//! let tree = Tree::parse("Config.uk", &OneFile(text))?;
//! let config = DotConfig::parse("CONFIG_DHCP=y\n");
//! let loss = tree.resolve(&config).explain("CONFIG_DHCP", "y").expect("it was dropped");
//! let Cause::Needs { needs } = &loss.cause else {
//!     panic!("it needs NET");
//! };
//! assert_eq!(needs[0].symbol.as_deref(), Some("NET"));
//! # Ok::<(), KconfigErrors>(())
//! ```

mod search;
mod words;

use serde::Serialize;

use self::search::Search;
use super::language::Kind;
use super::language::expr::Tristate;
use super::resolve::Resolved;

/// A requested value that did not take effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// The option, with `CONFIG_`.
    pub name: String,
    /// The requested value.
    pub wanted: String,
    /// The actual value; `None` for an undefined symbol.
    pub found: Option<String>,
    /// The cause.
    pub cause: Cause,
}

impl Loss {
    /// Returns whether the author made a mistake, rather than wrote for another release; `asks_for`
    /// returns whether the configuration also requests a symbol to be `y`.
    ///
    /// An unknown name belongs to another release, unless it is a misspelling. An option that
    /// cannot be disabled because another one selects it is a mistake only if the other one is
    /// requested.
    pub fn is_mistake(&self, asks_for: impl Fn(&str) -> bool) -> bool {
        match &self.cause {
            Cause::Unknown { typo, .. } => *typo,
            Cause::Selected { by } => !by.iter().any(|by| asks_for(by)),
            Cause::WrongType { .. }
            | Cause::NoModules
            | Cause::OutOfRange { .. }
            | Cause::Chosen { .. }
            | Cause::OnlyChoice { .. }
            | Cause::Needs { .. }
            | Cause::Promptless { .. }
            | Cause::Environment { .. }
            | Cause::NotAsked { .. } => true,
        }
    }
}

/// Why a value did not take effect. Symbols are named without `CONFIG_`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Cause {
    /// No file defines the symbol.
    Unknown {
        /// The most similar defined symbol.
        nearest: Option<String>,
        /// Whether the name is a misspelling of that symbol.
        typo: bool,
    },
    /// The value is invalid for its type.
    WrongType {
        /// The type.
        expected: Kind,
    },
    /// `m` was requested, but modules are not supported.
    NoModules,
    /// The number is out of range.
    OutOfRange {
        /// The minimum.
        low: String,
        /// The maximum.
        high: String,
    },
    /// Another member of its choice is selected.
    Chosen {
        /// The prompt of the choice.
        choice: String,
        /// The selected member.
        winner: String,
    },
    /// `n` was requested, but it is the default of its choice, as no other member is selected.
    OnlyChoice {
        /// The prompt of the choice.
        choice: String,
    },
    /// Its dependencies are not met.
    Needs {
        /// The unmet conditions; all of them are required.
        needs: Vec<Need>,
    },
    /// Other symbols select it.
    Selected {
        /// The enabled symbols that select it.
        by: Vec<String>,
    },
    /// It has no prompt, so users cannot set it.
    Promptless {
        /// The symbols that could select it.
        selected_by: Vec<String>,
    },
    /// Its value comes from an environment variable.
    Environment {
        /// The variable.
        variable: String,
    },
    /// The configuration requests another value, or not in a form that its type accepts.
    NotAsked {
        /// The value in the configuration.
        instead: Option<String>,
    },
}

/// An unmet condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The condition in KConfig syntax.
    pub condition: String,
    /// The symbol that makes it fail, if it is a single one.
    pub symbol: Option<String>,
    /// The value of that symbol.
    pub value: Option<String>,
    /// Why the symbol has that value.
    pub because: Option<Why>,
}

/// A selected symbol whose dependencies are not met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Forced {
    /// The symbol, with `CONFIG_`.
    pub name: String,
    /// The enabled symbols that select it.
    pub by: Vec<String>,
    /// The unmet conditions.
    pub needs: Vec<Need>,
}

/// Why a symbol has its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Why {
    /// No file defines it.
    Undefined,
    /// The configuration sets it.
    Configured,
    /// It is the default, and the configuration does not set it.
    Default,
    /// Nothing sets it.
    NotSet,
    /// It has no prompt, and no enabled symbol selects it.
    Unselected {
        /// The symbols that could select it.
        by: Vec<String>,
    },
    /// Other symbols select it.
    Selected {
        /// The enabled symbols that select it.
        by: Vec<String>,
    },
    /// Another member of its choice is selected.
    Chosen {
        /// The prompt of the choice.
        choice: String,
        /// The selected member.
        winner: String,
    },
    /// Its own dependencies are not met.
    Needs {
        /// The unmet conditions.
        needs: Vec<Need>,
    },
}

impl Resolved<'_> {
    /// Explains why an option does not have the requested value; `None` if it does. The name may
    /// have the prefix `CONFIG_`.
    ///
    /// For the actual cause, resolve a configuration that requests the value.
    pub fn explain(&self, name: &str, wanted: &str) -> Option<Loss> {
        let full = if name.starts_with("CONFIG_") {
            name.to_owned()
        } else {
            format!("CONFIG_{name}")
        };
        let loss = |found: Option<String>, cause| Loss {
            name: full,
            wanted: wanted.to_owned(),
            found,
            cause,
        };
        let Some(id) = self.tree.find(name) else {
            let meant = self.tree.typo_of(name);
            let nearest = meant.or_else(|| self.tree.nearest(name));
            let cause = Cause::Unknown {
                nearest: nearest.map(str::to_owned),
                typo: meant.is_some(),
            };
            return (wanted != "n").then(|| loss(None, cause));
        };
        let found = self.shown(id);
        if found == wanted {
            return None;
        }
        let (symbol, state) = (self.tree.get(id)?, self.state(id)?);
        let mut search = Search::new(self, id);
        let cause = search.cause(id, symbol, state, wanted);
        Some(loss(Some(found), cause))
    }

    /// Explains all options of a list that do not have the requested values.
    pub fn losses<'a>(&self, wanted: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Loss> {
        let wanted = wanted.into_iter();
        wanted
            .filter_map(|(name, value)| self.explain(name, value))
            .collect()
    }

    /// Returns the symbols that are selected despite unmet dependencies: the build system warns
    /// about them and continues, and the build may fail.
    pub fn forced(&self) -> Vec<Forced> {
        let mut forced = Vec::new();
        for (id, symbol) in self.tree.symbols.iter().enumerate() {
            let Some(state) = self.state(id).filter(|state| state.depends < state.floor) else {
                continue;
            };
            if symbol.choice || symbol.group.is_some() || state.tri == Tristate::No {
                continue;
            }
            let mut search = Search::new(self, id);
            forced.push(Forced {
                name: format!("CONFIG_{}", self.tree.name(id)),
                by: search.selectors(symbol),
                needs: search.depends_needs(symbol, state.floor),
            });
        }
        forced
    }
}
