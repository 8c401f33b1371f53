//! Resolves a whole configuration: its lines become user values, all values are calculated, and
//! numbers out of range are dropped.

use super::{Mode, Resolved, numbers};
use crate::DotConfig;
use crate::dotconfig::Written;
use crate::language::expr::{SymbolId, Tristate};
use crate::language::{Kind, Symbol};

/// Size of the hash table in which `conf` keeps its symbols.
const BUCKETS: u32 = 9973;

impl Resolved<'_> {
    pub(super) fn run(&mut self, config: &DotConfig, mode: Mode) {
        let mut changed = self.read(config);
        self.calc_all();
        changed |= self.drop_out_of_range();
        match mode {
            Mode::Defconfig => self.start_over(),
            Mode::Complete if !changed => self.forget(),
            // Values calculated from a dropped number are kept: `conf` does not recalculate them.
            Mode::Complete => {}
        }
        self.calc_all();
    }

    fn calc_all(&mut self) {
        for id in &self.tree.order {
            self.calc(*id);
        }
    }

    /// Resets all values except those of the user.
    fn forget(&mut self) {
        for state in &mut self.states {
            state.valid = false;
        }
        if let Some(id) = self.tree.modules {
            self.calc(id);
        }
    }

    /// Resolves all choices without a user value, from defaults only.
    fn start_over(&mut self) {
        self.forget();
        let choice = |symbol: &Symbol| symbol.choice;
        for (symbol, state) in self.tree.symbols.iter().zip(&mut self.states) {
            state.pending = symbol.group.is_some() || (choice(symbol) && !state.asked);
        }
        for (id, symbol) in self.tree.symbols.iter().enumerate() {
            if choice(symbol) && self.states.get(id).is_some_and(|state| !state.asked) {
                self.calc(id);
                self.decide_members(id);
            }
        }
    }

    /// Sets the values of a configuration; returns whether any of them is not for this tree.
    fn read(&mut self, config: &DotConfig) -> bool {
        for (symbol, state) in self.tree.symbols.iter().zip(&mut self.states) {
            state.asked = symbol.choice;
        }
        let mut odd = false;
        for (name, written) in config.written() {
            let bare = name.strip_prefix("CONFIG_").unwrap_or(name);
            match self.tree.names.get(bare) {
                Some(id) => odd |= !self.take(*id, written),
                None => odd = true,
            }
        }
        odd
    }

    fn take(&mut self, id: SymbolId, written: &Written) -> bool {
        let Some(symbol) = self.tree.get(id) else {
            return false;
        };
        let asked = match asked(symbol.kind, written) {
            Ok(asked) => asked,
            Err(Odd) => return false,
        };
        match asked {
            Asked::Nothing => {}
            Asked::Tri(tri) => self.change(id, |state| {
                state.asked = true;
                state.asked_tri = tri;
            }),
            Asked::Text(text) => self.change(id, |state| {
                state.asked = true;
                state.asked_text = text;
            }),
        }
        if let Some(choice) = symbol.group {
            let tri = self.states.get(id).map(|s| s.asked_tri).unwrap_or_default();
            return self.take_choice(choice, id, tri);
        }
        true
    }

    fn take_choice(&mut self, choice: SymbolId, member: SymbolId, tri: Tristate) -> bool {
        let mut fine = true;
        self.change(choice, |state| {
            match tri {
                Tristate::No => {}
                Tristate::Module => {
                    if state.asked_tri == Tristate::Yes {
                        state.asked = false;
                        fine = false;
                    }
                }
                Tristate::Yes => {
                    fine = state.asked_tri == Tristate::No;
                    state.asked_member = Some(member);
                }
            }
            state.asked_tri = state.asked_tri.max(tri);
        });
        fine
    }

    /// Drops numbers out of range, one after another in the order of `conf`; returns whether the
    /// result differs from the input.
    fn drop_out_of_range(&mut self) -> bool {
        let mut unsaved = self.is_unsaved();
        for id in self.table_order() {
            let Some(symbol) = self.tree.get(id) else {
                continue;
            };
            let state = self.states.get(id).cloned().unwrap_or_default();
            if !state.asked || symbol.group.is_some() {
                continue;
            }
            if state.visible == Tristate::No && !unsaved {
                self.change(id, |state| state.asked = false);
            }
            if !matches!(symbol.kind, Kind::Int | Kind::Hex) {
                continue;
            }
            let value = numbers::leading(&state.asked_text, symbol.kind);
            let range = self.range(symbol);
            if range.is_some_and(|(low, high)| value < low || value > high) {
                unsaved = true;
                self.change(id, |state| {
                    state.asked = false;
                    state.valid = false;
                });
            }
        }
        unsaved
    }

    /// Returns whether any value differs from the input, or was not in it.
    fn is_unsaved(&self) -> bool {
        let mut symbols = self.tree.symbols.iter().zip(&self.states);
        symbols.any(|(symbol, state)| {
            if symbol.choice || symbol.hidden {
                return false;
            }
            match (state.asked, state.written) {
                (true, true) if symbol.kind.is_logic() => state.tri != state.asked_tri,
                (true, true) => state.text != state.asked_text,
                (asked, written) => asked || written,
            }
        })
    }

    /// Returns the symbols in the order of `conf`'s hash table: by hash of the name, newest first
    /// within a bucket.
    fn table_order(&self) -> Vec<SymbolId> {
        let mut order: Vec<SymbolId> = (0..self.states.len()).collect();
        order.sort_by_key(|id| {
            let name = self.tree.get(*id).and_then(|symbol| symbol.name.as_deref());
            (name.map_or(0, bucket), std::cmp::Reverse(*id))
        });
        order
    }
}

/// Hashes a name: FNV-1a, 32 bits.
fn bucket(name: &str) -> u32 {
    let hash = name.bytes().fold(2_166_136_261u32, |hash, b| {
        (hash ^ u32::from(b)).wrapping_mul(0x0100_0193)
    });
    hash % BUCKETS
}

/// The value requested by a line.
pub(crate) enum Asked {
    Nothing,
    Tri(Tristate),
    Text(String),
}

/// The line has no valid value for its symbol.
pub(crate) struct Odd;

/// Parses a line for a symbol of a kind.
pub(crate) fn asked(kind: Kind, written: &Written) -> Result<Asked, Odd> {
    match (kind, written) {
        (Kind::Bool | Kind::Tristate, Written::NotSet) => Ok(Asked::Tri(Tristate::No)),
        (Kind::Bool | Kind::Tristate, Written::Bare(text)) => match text.as_bytes().first() {
            Some(b'y') => Ok(Asked::Tri(Tristate::Yes)),
            Some(b'n') => Ok(Asked::Tri(Tristate::No)),
            Some(b'm') if kind == Kind::Tristate => Ok(Asked::Tri(Tristate::Module)),
            _ => Err(Odd),
        },
        (Kind::String, Written::Quoted(text)) => Ok(Asked::Text(text.clone())),
        (Kind::String, Written::Bare(text)) if text.starts_with('"') => Err(Odd),
        (_, Written::NotSet) | (Kind::Unknown, _) | (Kind::String, Written::Bare(_)) => {
            Ok(Asked::Nothing)
        }
        (Kind::Int | Kind::Hex, Written::Bare(text)) if numbers::fits(text, kind) => {
            Ok(Asked::Text(text.clone()))
        }
        (_, Written::Bare(_) | Written::Quoted(_)) => Err(Odd),
    }
}
