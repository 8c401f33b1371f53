//! What becomes of a configuration under the rules of a tree.
//!
//! ```text
//! DotConfig ─ read ─► user values ─ calc, each symbol after those it needs ─► values
//! ```
//!
//! The rules are those of the program `conf` of the build system, its oddities included: the same
//! text comes out. A symbol is *visible* as far as one of its prompts is; a visible one takes the
//! user's value, no further than it is visible; else its first default whose condition holds, or
//! what implies it. What selects it holds in any case. A number outside of its range is dropped
//! when it is read, and a default outside of it is moved to its edge.

mod calc;
mod numbers;
mod read;
mod write;

use super::DotConfig;
use super::language::expr::{SymbolId, Tristate};
use super::language::{Kind, Tree};
pub(crate) use numbers::{fits, leading};

/// How a configuration is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As a whole one, whose gaps are filled: `conf --olddefconfig`.
    #[default]
    Complete,
    /// As what differs from the defaults: `conf --defconfig`.
    Defconfig,
}

/// One symbol's state.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// The user gave it a value that its type can have.
    pub(crate) asked: bool,
    pub(crate) asked_tri: Tristate,
    pub(crate) asked_text: String,
    /// The member of a choice that the user chose.
    pub(crate) asked_member: Option<SymbolId>,
    pub(crate) tri: Tristate,
    pub(crate) text: String,
    /// The chosen member of a choice.
    pub(crate) member: Option<SymbolId>,
    /// How far its prompts are shown.
    pub(crate) visible: Tristate,
    /// How far what it depends on holds.
    pub(crate) depends: Tristate,
    /// What it is at least, by `select`.
    pub(crate) floor: Tristate,
    /// What it is by `imply`, unless the user says otherwise.
    pub(crate) implied: Tristate,
    /// It is written out.
    pub(crate) written: bool,
    /// All of the above is up to date.
    valid: bool,
    /// Its choice has to be settled before it, once.
    pending: bool,
}

/// A configuration in which every symbol has its value.
#[derive(Clone, Debug)]
pub struct Settled<'t> {
    pub(crate) tree: &'t Tree,
    pub(crate) states: Vec<State>,
    pub(crate) modules: Tristate,
}

impl Tree {
    /// Completes a configuration, as `conf --olddefconfig` does.
    pub fn settle(&self, config: &DotConfig) -> Settled<'_> {
        self.settle_as(config, Mode::Complete)
    }

    /// Completes a configuration. Options that no file defines are passed over, and so are values
    /// that the type of their option cannot have.
    pub fn settle_as(&self, config: &DotConfig, mode: Mode) -> Settled<'_> {
        let mut settled = Settled {
            tree: self,
            states: vec![State::default(); self.symbols.len()],
            modules: Tristate::No,
        };
        settled.run(config, mode);
        settled
    }

    /// Writes options as the text of a configuration, each as its type wants it: a string in
    /// quotes whatever it looks like. Options that no file defines are written by their looks.
    pub fn defconfig_text<'a>(
        &self,
        options: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> String {
        let mut config = DotConfig::default();
        for (name, value) in options {
            let id = self.find(name).and_then(|id| self.get(id));
            match id.map(|symbol| symbol.kind) {
                Some(Kind::String) => {
                    let written = super::dotconfig::Written::Quoted(value.to_owned());
                    config.write(name.to_owned(), written);
                }
                _ => config.set(name, value),
            }
        }
        config.text()
    }
}

impl Settled<'_> {
    /// Returns a symbol's value by its name, with or without `CONFIG_`: `n` for what is not set,
    /// nothing for a symbol that no file defines.
    pub fn value(&self, name: &str) -> Option<String> {
        self.tree.find(name).map(|id| self.shown(id))
    }

    /// Returns the options that are written out and set, by name, with `CONFIG_`.
    pub fn config(&self) -> DotConfig {
        let mut config = DotConfig::default();
        for id in 0..self.states.len() {
            if let (Some(symbol), Some(state)) = (self.tree.get(id), self.states.get(id))
                && state.written
                && let Some(name) = &symbol.name
            {
                let value = self.shown(id);
                config.write(format!("CONFIG_{name}"), write::written(symbol.kind, value));
            }
        }
        config
    }

    pub(crate) fn state(&self, id: SymbolId) -> Option<&State> {
        self.states.get(id)
    }

    /// Returns a symbol's value as it is written out.
    pub(crate) fn shown(&self, id: SymbolId) -> String {
        let (Some(symbol), Some(state)) = (self.tree.get(id), self.states.get(id)) else {
            return String::new();
        };
        if !symbol.kind.is_logic() {
            return state.text.clone();
        }
        let shown = match state.tri {
            Tristate::Module if self.modules == Tristate::No => Tristate::No,
            tri => tri,
        };
        shown.letter().to_owned()
    }
}
