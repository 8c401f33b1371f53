//! Search for a root cause: from a lost option along its prompts, choices and selects to an option
//! that users can set.

use std::collections::BTreeSet;

use super::{Cause, Need, Why};
use crate::language::expr::{Compare, Condition, Expr, Operand, SymbolId, Tristate};
use crate::language::{Kind, Symbol, Tree};
use crate::resolve::{Resolved, State, fits, leading};

/// Maximum number of symbols followed in a chain.
const DEEPEST: usize = 10;
/// Maximum number of unmet conditions examined.
const MOST_LACKING: usize = 50;
/// Maximum number of unmet conditions reported at each step.
const MOST: usize = 4;

fn tristate(text: &str) -> Option<Tristate> {
    match text {
        "y" => Some(Tristate::Yes),
        "m" => Some(Tristate::Module),
        "n" => Some(Tristate::No),
        _ => None,
    }
}

/// Returns whether a condition is unmet only because of symbols that are already reported.
fn follows(need: &Need, told: &[String]) -> bool {
    let Some(Why::Needs { needs }) = &need.because else {
        return false;
    };
    let known = |need: &Need| {
        need.symbol
            .as_ref()
            .is_some_and(|symbol| told.contains(symbol))
    };
    needs.iter().all(known)
}

/// The search state.
pub(super) struct Search<'t> {
    tree: &'t Tree,
    at: Resolved<'t>,
    /// Symbols already followed.
    seen: BTreeSet<SymbolId>,
}

impl<'t> Search<'t> {
    /// Starts at a symbol. Conditions are evaluated on a copy: all values are already calculated.
    pub(super) fn new(resolved: &Resolved<'t>, id: SymbolId) -> Self {
        Self {
            tree: resolved.tree,
            at: resolved.clone(),
            seen: BTreeSet::from([id]),
        }
    }

    /// Returns why a symbol does not have a value.
    pub(super) fn cause(
        &mut self,
        id: SymbolId,
        symbol: &'t Symbol,
        state: &State,
        wanted: &str,
    ) -> Cause {
        let tri = tristate(wanted).filter(|_| symbol.kind.is_logic());
        let fit = match symbol.kind {
            Kind::Bool => tri.is_some_and(|tri| tri != Tristate::Module),
            Kind::Tristate => tri.is_some(),
            kind => fits(wanted, kind),
        };
        if !fit {
            let expected = symbol.kind;
            return Cause::WrongType { expected };
        }
        if symbol.prompts.is_empty() {
            return self.promptless(symbol, state, tri);
        }
        if tri.is_some_and(|tri| tri < state.floor && tri < state.tri) {
            let by = self.selectors(symbol);
            return Cause::Selected { by };
        }
        let needed = tri.unwrap_or(Tristate::Yes).max(Tristate::Module);
        if state.visible == Tristate::No || (tri.is_some() && state.visible < needed) {
            let needs = self.prompt_needs(symbol, needed);
            if !needs.is_empty() {
                return Cause::Needs { needs };
            }
        }
        if let Some(choice) = symbol.group
            && let Some(winner) = self.at.state(choice).and_then(|choice| choice.member)
        {
            let choice = self.title(choice);
            return if winner == id {
                Cause::OnlyChoice { choice }
            } else {
                Cause::Chosen {
                    choice,
                    winner: self.tree.name(winner),
                }
            };
        }
        if tri == Some(Tristate::Module) && self.at.kind(id) == Kind::Bool {
            return Cause::NoModules;
        }
        if let Some((low, high)) = self.at.range(symbol) {
            let value = leading(wanted, symbol.kind);
            if value < low || value > high {
                let edge = |edge: i64| match symbol.kind {
                    Kind::Hex => format!("{edge:#x}"),
                    _ => edge.to_string(),
                };
                let (low, high) = (edge(low), edge(high));
                return Cause::OutOfRange { low, high };
            }
        }
        let instead = if symbol.kind.is_logic() {
            state.asked_tri.letter().to_owned()
        } else {
            state.asked_text.clone()
        };
        Cause::NotAsked {
            instead: state.asked.then_some(instead),
        }
    }

    fn promptless(&mut self, symbol: &'t Symbol, state: &State, tri: Option<Tristate>) -> Cause {
        if tri.is_some_and(|tri| tri < state.floor) {
            let by = self.selectors(symbol);
            return Cause::Selected { by };
        }
        let mut defaults = symbol.defaults.iter();
        let active = defaults.find(|default| self.at.holds(&default.when) != Tristate::No);
        if let Some(variable) = active.and_then(|default| default.variable.clone()) {
            return Cause::Environment { variable };
        }
        let selected_by = self.possible_selectors(symbol);
        Cause::Promptless { selected_by }
    }

    fn title(&self, choice: SymbolId) -> String {
        let prompts = self
            .tree
            .get(choice)
            .map(|choice| choice.prompts.as_slice());
        let prompt = prompts.and_then(<[_]>::first);
        prompt.map_or_else(|| self.tree.name(choice), |prompt| prompt.text.clone())
    }

    /// Returns the enabled symbols that select a symbol.
    pub(super) fn selectors(&mut self, symbol: &'t Symbol) -> Vec<String> {
        let mut names = Vec::new();
        for link in &symbol.selected_by {
            let on = self
                .at
                .state(link.other)
                .is_some_and(|s| s.tri != Tristate::No);
            if on && self.at.holds(&link.when) != Tristate::No {
                names.push(self.tree.name(link.other));
            }
        }
        names.dedup();
        names
    }

    fn possible_selectors(&self, symbol: &Symbol) -> Vec<String> {
        let links = symbol.selected_by.iter();
        let mut names: Vec<String> = links.map(|link| self.tree.name(link.other)).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Returns the conditions that keep the prompts of a symbol from being visible. For a symbol
    /// with several prompts, the one with the fewest unmet conditions is used.
    fn prompt_needs(&mut self, symbol: &'t Symbol, needed: Tristate) -> Vec<Need> {
        let mut least: Option<&Condition> = None;
        let mut fewest = usize::MAX;
        for prompt in &symbol.prompts {
            let lacking = self.lacking(&prompt.when, needed).len();
            if lacking < fewest {
                (least, fewest) = (Some(&prompt.when), lacking);
            }
        }
        least
            .map(|when| self.needs(when, needed))
            .unwrap_or_default()
    }

    /// Returns the unmet parts of a condition.
    fn lacking<'e>(&mut self, condition: &'e Condition, needed: Tristate) -> Vec<&'e Expr> {
        let mut parts = Vec::new();
        if let Some(condition) = condition {
            condition.conjuncts(&mut |part| parts.push(part));
        }
        let mut lacking: Vec<&Expr> = Vec::new();
        for part in parts {
            if lacking.len() < MOST_LACKING
                && self.at.eval(part) < needed
                && !lacking.contains(&part)
            {
                lacking.push(part);
            }
        }
        lacking
    }

    /// Returns the unmet dependencies of the definition with the fewest unmet conditions.
    pub(super) fn depends_needs(&mut self, symbol: &'t Symbol, needed: Tristate) -> Vec<Need> {
        let places = symbol.depends.iter();
        let lacking = places.map(|when| (self.lacking(when, needed).len(), when));
        let least = lacking.min_by_key(|(count, _)| *count);
        least
            .map(|(_, when)| self.needs(when, needed))
            .unwrap_or_default()
    }

    fn needs(&mut self, condition: &Condition, needed: Tristate) -> Vec<Need> {
        let lacking = self.lacking(condition, needed);
        let mut needs: Vec<Need> = Vec::new();
        for part in lacking {
            for need in self.need(part, needed) {
                if !needs.iter().any(|other| other.condition == need.condition) {
                    needs.push(need);
                }
            }
        }
        // A condition that follows from another one is not reported.
        let told: Vec<String> = needs
            .iter()
            .filter_map(|need| need.symbol.clone())
            .collect();
        let mut needs: Vec<Need> = needs
            .into_iter()
            .filter(|need| !follows(need, &told))
            .collect();
        needs.truncate(MOST);
        needs
    }

    /// Explains why one part of a condition is not met.
    fn need(&mut self, part: &Expr, needed: Tristate) -> Vec<Need> {
        let condition = self.tree.words(part);
        let plain = |condition: String| {
            vec![Need {
                condition,
                symbol: None,
                value: None,
                because: None,
            }]
        };
        match part {
            Expr::Is(Operand::Symbol(id)) => match self.tree.get(*id) {
                // A choice that is not available is explained by its prompt.
                Some(choice) if choice.choice => {
                    if self.seen.insert(*id) {
                        self.prompt_needs(choice, needed)
                    } else {
                        Vec::new()
                    }
                }
                _ => vec![self.about(*id, condition, Some(needed))],
            },
            Expr::Not(inner) => match **inner {
                Expr::Is(Operand::Symbol(id)) => vec![self.about(id, condition, None)],
                _ => plain(condition),
            },
            Expr::Compare(how, Operand::Symbol(id), right) => {
                let on = matches!(
                    (how, right),
                    (Compare::Equal, Operand::Tri(Tristate::Yes))
                        | (Compare::Unequal, Operand::Tri(Tristate::No))
                );
                vec![self.about(*id, condition, on.then_some(Tristate::Yes))]
            }
            Expr::IfModules => plain("modules".to_owned()),
            Expr::Is(_) | Expr::Compare(..) | Expr::And(_) | Expr::Or(_) => plain(condition),
        }
    }

    /// Explains the value of a symbol: why it is below `needed`, or what it is.
    fn about(&mut self, id: SymbolId, condition: String, needed: Option<Tristate>) -> Need {
        let because = if self.seen.len() <= DEEPEST && self.seen.insert(id) {
            self.why(id, needed)
        } else {
            None
        };
        let defined = self.tree.get(id).is_some_and(Symbol::is_defined);
        Need {
            condition,
            symbol: Some(self.tree.name(id)),
            value: defined.then(|| self.at.shown(id)),
            because,
        }
    }

    fn why(&mut self, id: SymbolId, needed: Option<Tristate>) -> Option<Why> {
        let symbol = self.tree.get(id)?;
        let state = self.at.state(id)?.clone();
        if !symbol.is_defined() {
            return Some(Why::Undefined);
        }
        if let Some(needed) = needed.filter(|_| symbol.kind.is_logic()) {
            return Some(self.why_off(symbol, &state, needed));
        }
        if state.floor != Tristate::No {
            let by = self.selectors(symbol);
            return Some(Why::Selected { by });
        }
        let configured = state.asked && state.visible != Tristate::No;
        Some(if configured {
            Why::Configured
        } else {
            Why::Default
        })
    }

    fn why_off(&mut self, symbol: &'t Symbol, state: &State, needed: Tristate) -> Why {
        if symbol.prompts.is_empty() {
            let by = self.possible_selectors(symbol);
            // If nothing could select it, only its dependencies can be reported.
            let depends = symbol.depends.first();
            let needs = match depends.filter(|_| by.is_empty()) {
                Some(depends) => self.needs(depends, needed),
                None => Vec::new(),
            };
            return if needs.is_empty() {
                Why::Unselected { by }
            } else {
                Why::Needs { needs }
            };
        }
        if state.visible < needed {
            let needs = self.prompt_needs(symbol, needed);
            if !needs.is_empty() {
                return Why::Needs { needs };
            }
        }
        if let Some(choice) = symbol.group
            && let Some(winner) = self.at.state(choice).and_then(|choice| choice.member)
        {
            return Why::Chosen {
                choice: self.title(choice),
                winner: self.tree.name(winner),
            };
        }
        if state.asked {
            Why::Configured
        } else {
            Why::NotSet
        }
    }
}
