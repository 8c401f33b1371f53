//! The way of a whole configuration: its lines become user values, the values follow, and what
//! turns out to be out of range is dropped.

use super::{Mode, Settled, numbers};
use crate::DotConfig;
use crate::dotconfig::Written;
use crate::language::expr::{SymbolId, Tristate};
use crate::language::{Kind, Symbol};

/// The size of the table in which `conf` keeps its symbols.
const BUCKETS: u32 = 9973;

impl Settled<'_> {
    pub(super) fn run(&mut self, config: &DotConfig, mode: Mode) {
        let mut changed = self.read(config);
        self.calc_all();
        changed |= self.drop_out_of_range();
        match mode {
            Mode::Defconfig => self.start_over(),
            Mode::Complete if !changed => self.forget(),
            // What followed from a dropped number stays as it is: `conf` does not look again.
            Mode::Complete => {}
        }
        self.calc_all();
    }

    fn calc_all(&mut self) {
        for id in &self.tree.order {
            self.calc(*id);
        }
    }

    /// Forgets all values but those of the user.
    fn forget(&mut self) {
        for state in &mut self.states {
            state.valid = false;
        }
        if let Some(id) = self.tree.modules {
            self.calc(id);
        }
    }

    /// Settles all choices that the user left open, from defaults only.
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

    /// Takes the values of a configuration; returns whether any is not for this tree.
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

    /// Drops numbers outside of their range, one after the other in the order `conf` finds them;
    /// returns whether the configuration is any different from what was read.
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

    /// Tells whether any value is other than the one read, or was not read.
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

    /// Returns the symbols in the order of the table of `conf`: by a hash of the name, the newest
    /// first where they meet.
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

/// What a line asks for.
pub(crate) enum Asked {
    Nothing,
    Tri(Tristate),
    Text(String),
}

/// A line that says nothing its symbol understands.
pub(crate) struct Odd;

/// Reads a line as one about a symbol of a kind.
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
