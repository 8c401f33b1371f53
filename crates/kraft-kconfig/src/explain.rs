//! Why an option does not have the value that was asked for, down to the cause.
//!
//! ```text
//! CONFIG_LWIP_DHCP=y was dropped: needs LWIP_UDP, which is n because it needs …
//! ```

mod search;
mod words;

use serde::Serialize;

use self::search::Search;
use super::language::Kind;
use super::language::expr::Tristate;
use super::settle::Settled;

/// A value that was asked for and did not come about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// The option, with `CONFIG_`.
    pub name: String,
    /// What was asked for.
    pub wanted: String,
    /// What it is; nothing for a symbol that no file defines.
    pub found: Option<String>,
    /// Why.
    pub cause: Cause,
}

impl Loss {
    /// Returns whether the author of the value made a mistake, rather than wrote for another
    /// release; `asks_for` tells whether a symbol is asked for to be `y` as well.
    ///
    /// A name that no component knows belongs to another release, unless it is a typing error.
    /// And an option that another one selects is only left on where that other one is wanted.
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

/// Why a value is lost. Symbols are named without `CONFIG_`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Cause {
    /// No file defines the symbol.
    Unknown {
        /// The known symbol that is nearest.
        nearest: Option<String>,
        /// Whether the name is a typing error of that one.
        typo: bool,
    },
    /// Its type cannot have the value.
    WrongType {
        /// The type.
        expected: Kind,
    },
    /// It was to be `m`, and there are no modules.
    NoModules,
    /// The number is out of its range.
    OutOfRange {
        /// The smallest it may be.
        low: String,
        /// The largest.
        high: String,
    },
    /// Another member of its choice is chosen.
    Chosen {
        /// The prompt of the choice.
        choice: String,
        /// The member that is chosen.
        winner: String,
    },
    /// It was to be `n`, but it is what the choice falls to, as no other member is chosen.
    OnlyChoice {
        /// The prompt of the choice.
        choice: String,
    },
    /// It cannot be set as long as these do not hold.
    Needs {
        /// What does not hold; all of it is needed.
        needs: Vec<Need>,
    },
    /// Others force it on.
    Selected {
        /// Those that are on and select it.
        by: Vec<String>,
    },
    /// It has no prompt, so nobody can set it.
    Promptless {
        /// Those that could select it.
        selected_by: Vec<String>,
    },
    /// Its value comes from the environment.
    Environment {
        /// The variable.
        variable: String,
    },
    /// The configuration asks for something else, or does not ask in a way its type takes.
    NotAsked {
        /// What it asks for.
        instead: Option<String>,
    },
}

/// A condition that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The condition, in the words of the language.
    pub condition: String,
    /// The symbol that it fails by, if it is one.
    pub symbol: Option<String>,
    /// The value of that symbol.
    pub value: Option<String>,
    /// Why it has that value.
    pub because: Option<Why>,
}

/// A symbol that is forced on although something that it needs does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Forced {
    /// The symbol, with `CONFIG_`.
    pub name: String,
    /// Those that are on and select it.
    pub by: Vec<String>,
    /// What does not hold.
    pub needs: Vec<Need>,
}

/// Why a symbol has its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Why {
    /// No file defines it.
    Undefined,
    /// The configuration says so.
    Configured,
    /// It is its default, and the configuration says nothing.
    Default,
    /// Nothing sets it.
    NotSet,
    /// It has no prompt, and none of these is on to select it.
    Unselected {
        /// Those that could select it.
        by: Vec<String>,
    },
    /// These force it on.
    Selected {
        /// Those that are on and select it.
        by: Vec<String>,
    },
    /// Another member of its choice is chosen.
    Chosen {
        /// The prompt of the choice.
        choice: String,
        /// The member that is chosen.
        winner: String,
    },
    /// Something it needs does not hold either.
    Needs {
        /// What does not hold.
        needs: Vec<Need>,
    },
}

impl Settled<'_> {
    /// Tells why an option does not have the value that was asked for; `None` if it has. The name
    /// is with `CONFIG_` or without.
    ///
    /// To be told the cause, settle a configuration that asks for the value.
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

    /// Tells about all options of a list that do not have the values asked for.
    pub fn losses<'a>(&self, wanted: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Loss> {
        let wanted = wanted.into_iter();
        wanted
            .filter_map(|(name, value)| self.explain(name, value))
            .collect()
    }

    /// Returns the symbols that `select` turns on against what they depend on: the build system
    /// warns of them and goes on, and the build may fail by them.
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
