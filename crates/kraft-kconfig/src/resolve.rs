//! Resolves a configuration by the rules of a tree.
//!
//! ```text
//! DotConfig ─ read ─► user values ─ calc, each symbol after its dependencies ─► values
//! ```
//!
//! The rules are those of the build system's `conf` program, including its quirks, so that the
//! output is identical. A symbol is *visible* up to the visibility of its prompts. A visible symbol
//! takes the user's value, limited by its visibility; otherwise the first default whose condition
//! holds, or the value implied by other symbols. Selection by other symbols always applies. A
//! user's number out of range is dropped when it is read, and a default out of range is moved to
//! the nearest limit.
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
//! use kraft_kconfig::language::{KconfigErrors, Tree};
//!
//! let text = "config NET\n\tbool \"Network\"\n\
//!             config MTU\n\tint \"MTU\"\n\tdefault 1500\n\tdepends on NET\n";
//! let tree = Tree::parse("Config.uk", &OneFile(text))?;
//! let resolved = tree.resolve(&DotConfig::parse("CONFIG_NET=y\n"));
//! assert_eq!(resolved.value("MTU").as_deref(), Some("1500"));
//! let resolved = tree.resolve(&DotConfig::default());
//! assert_eq!(resolved.config().value("CONFIG_MTU"), None);
//! # Ok::<(), KconfigErrors>(())
//! ```

mod calc;
mod numbers;
mod read;
mod write;

use super::DotConfig;
use super::language::expr::{SymbolId, Tristate};
use super::language::{Kind, Tree};
pub(crate) use numbers::{fits, leading};

/// How a configuration is interpreted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As a complete configuration: missing options get their defaults (`conf --olddefconfig`).
    #[default]
    Complete,
    /// As differences from the defaults (`conf --defconfig`).
    Defconfig,
}

/// The state of one symbol.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// Whether the user set it to a value valid for its type.
    pub(crate) asked: bool,
    pub(crate) asked_tri: Tristate,
    pub(crate) asked_text: String,
    /// The member of a choice that the user selected.
    pub(crate) asked_member: Option<SymbolId>,
    pub(crate) tri: Tristate,
    pub(crate) text: String,
    /// The selected member of a choice.
    pub(crate) member: Option<SymbolId>,
    /// Visibility of its prompts.
    pub(crate) visible: Tristate,
    /// Value of its dependencies.
    pub(crate) depends: Tristate,
    /// Minimum value, by `select`.
    pub(crate) floor: Tristate,
    /// Value by `imply`, unless the user sets another one.
    pub(crate) implied: Tristate,
    /// Whether it is written to the output.
    pub(crate) written: bool,
    /// Whether the fields above are up to date.
    valid: bool,
    /// Whether its choice must be resolved before it, once.
    pending: bool,
}

/// A resolved configuration, in which every symbol has a value.
#[derive(Clone, Debug)]
pub struct Resolved<'t> {
    pub(crate) tree: &'t Tree,
    pub(crate) states: Vec<State>,
    pub(crate) modules: Tristate,
}

impl Tree {
    /// Resolves a configuration, as `conf --olddefconfig` does.
    pub fn resolve(&self, config: &DotConfig) -> Resolved<'_> {
        self.resolve_as(config, Mode::Complete)
    }

    /// Resolves a configuration. Options that no file defines are ignored, as are values invalid
    /// for the type of their option.
    pub fn resolve_as(&self, config: &DotConfig, mode: Mode) -> Resolved<'_> {
        let mut resolved = Resolved {
            tree: self,
            states: vec![State::default(); self.symbols.len()],
            modules: Tristate::No,
        };
        resolved.run(config, mode);
        resolved
    }

    /// Formats options as the text of a configuration according to their types: strings are always
    /// quoted. Options that no file defines are formatted by their form.
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

impl Resolved<'_> {
    /// Returns a symbol's value by its name, with or without `CONFIG_`: `n` if it is not set,
    /// `None` for a symbol that no file defines.
    pub fn value(&self, name: &str) -> Option<String> {
        self.tree.find(name).map(|id| self.shown(id))
    }

    /// Returns the set options of the output, by name, with `CONFIG_`.
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

    /// Returns a symbol's value as written to the output.
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
