//! Calculates the value of a symbol from its dependencies.

use std::cmp::Ordering;

use super::{Resolved, numbers};
use crate::language::expr::{Compare, Condition, Expr, Operand, SymbolId, Tristate};
use crate::language::{Kind, Range, Symbol};

impl<'t> Resolved<'t> {
    /// Updates a symbol.
    pub(super) fn calc(&mut self, id: SymbolId) {
        let Some(symbol) = self.tree.get(id) else {
            return;
        };
        let Some(state) = self.states.get_mut(id).filter(|state| !state.valid) else {
            return;
        };
        if let Some(choice) = symbol.group
            && std::mem::take(&mut state.pending)
        {
            self.calc(choice);
        }
        self.change(id, |state| state.valid = true);
        if symbol.kind == Kind::Unknown {
            let text = symbol.name.clone().unwrap_or_default();
            self.change(id, |state| state.text = text);
            return;
        }
        self.see(id, symbol);
        self.change(id, |state| {
            state.written = state.visible != Tristate::No;
            state.tri = Tristate::No;
            state.text.clear();
            state.member = None;
        });
        if symbol.kind.is_logic() {
            let tri = self.logic(id, symbol);
            self.change(id, |state| state.tri = tri);
        } else {
            self.text_value(id, symbol);
        }
        if symbol.choice {
            self.choose(id, symbol);
        }
        if self.tree.modules == Some(id) {
            self.modules = self.tri(id);
        }
        if symbol.hidden {
            self.change(id, |state| state.written = false);
        }
        if symbol.choice && self.states.get(id).is_some_and(|state| state.pending) {
            self.decide_members(id);
        }
    }

    pub(super) fn change(&mut self, id: SymbolId, act: impl FnOnce(&mut super::State)) {
        if let Some(state) = self.states.get_mut(id) {
            act(state);
        }
    }

    fn tri(&self, id: SymbolId) -> Tristate {
        self.states
            .get(id)
            .map(|state| state.tri)
            .unwrap_or_default()
    }

    /// Returns the effective type of a symbol: without modules a tristate is a bool.
    pub(crate) fn kind(&self, id: SymbolId) -> Kind {
        let Some(symbol) = self.tree.get(id) else {
            return Kind::Unknown;
        };
        let visible = self.states.get(id).map(|state| state.visible);
        let chosen_whole = symbol.group.is_some() && visible == Some(Tristate::Yes);
        if symbol.kind == Kind::Tristate && (chosen_whole || self.modules == Tristate::No) {
            return Kind::Bool;
        }
        symbol.kind
    }

    /// Calculates visibility, dependencies and selection of a symbol.
    fn see(&mut self, id: SymbolId, symbol: &'t Symbol) {
        let mut visible = Tristate::No;
        for prompt in &symbol.prompts {
            let mut shown = self.holds(&prompt.when);
            let choice = symbol.group.map(|choice| self.tri(choice));
            if symbol.kind == Kind::Tristate
                && shown == Tristate::Module
                && choice == Some(Tristate::Yes)
            {
                shown = Tristate::No;
            }
            visible = visible.max(shown);
        }
        let logic = symbol.kind == Kind::Tristate && self.modules != Tristate::No;
        if visible == Tristate::Module && !logic {
            visible = Tristate::Yes;
        }
        self.change(id, |state| state.visible = visible);
        if symbol.group.is_some() {
            return;
        }
        let mut depends = Tristate::Yes;
        if !symbol.depends.is_empty() {
            depends = Tristate::No;
            for condition in &symbol.depends {
                depends = depends.max(self.holds(condition));
            }
        }
        let mut floor = Tristate::No;
        for link in &symbol.selected_by {
            floor = floor.max(self.link(link.other, &link.when));
        }
        if symbol.choice && !symbol.optional {
            for condition in &symbol.floors {
                floor = floor.max(self.holds(condition).min(Tristate::Module));
            }
        }
        let mut implied = Tristate::No;
        if depends != Tristate::No {
            for link in &symbol.implied_by {
                implied = implied.max(self.link(link.other, &link.when));
            }
        }
        let bool = self.kind(id) == Kind::Bool;
        let whole = |tri| match tri {
            Tristate::Module if bool => Tristate::Yes,
            tri => tri,
        };
        self.change(id, |state| {
            state.depends = whole(depends);
            state.floor = whole(floor);
            state.implied = whole(implied);
        });
    }

    fn link(&mut self, other: SymbolId, when: &Condition) -> Tristate {
        self.calc(other);
        self.tri(other).min(self.holds(when))
    }

    fn logic(&mut self, id: SymbolId, symbol: &'t Symbol) -> Tristate {
        let state = self.states.get(id).cloned().unwrap_or_default();
        let mut tri = Tristate::No;
        let chosen_whole = symbol.group.filter(|_| state.visible == Tristate::Yes);
        if let Some(choice) = chosen_whole {
            let member = self.states.get(choice).and_then(|choice| choice.member);
            if member == Some(id) {
                tri = Tristate::Yes;
            }
        } else {
            if state.visible != Tristate::No && state.asked {
                tri = state.asked_tri.min(state.visible);
            } else {
                let mut written = state.written || state.floor != Tristate::No;
                if !symbol.choice {
                    tri = self.logic_default(symbol);
                    tri = tri.max(state.implied);
                    written |= tri != Tristate::No;
                }
                self.change(id, |state| state.written = written);
            }
            tri = tri.max(state.floor);
        }
        let whole = self.kind(id) == Kind::Bool || state.implied == Tristate::Yes;
        match tri {
            Tristate::Module if whole => Tristate::Yes,
            tri => tri,
        }
    }

    fn logic_default(&mut self, symbol: &'t Symbol) -> Tristate {
        for default in &symbol.defaults {
            let when = self.holds(&default.when);
            if when != Tristate::No {
                return self.eval(&default.value).min(when);
            }
        }
        Tristate::No
    }

    fn text_value(&mut self, id: SymbolId, symbol: &'t Symbol) {
        let state = self.states.get(id).cloned().unwrap_or_default();
        if state.visible != Tristate::No && state.asked {
            self.change(id, |state| state.text.clone_from(&state.asked_text));
        } else {
            for default in &symbol.defaults {
                if self.holds(&default.when) == Tristate::No {
                    continue;
                }
                if let Expr::Is(operand) = &default.value {
                    let text = self.raw(operand);
                    self.change(id, |state| {
                        state.written = true;
                        state.text = text;
                    });
                }
                break;
            }
        }
        self.move_into_range(id, symbol);
    }

    /// Returns the string value of an operand for a number or string symbol: `n` for any bool.
    fn raw(&mut self, operand: &Operand) -> String {
        match operand {
            Operand::Tri(tri) => tri.letter().to_owned(),
            Operand::Text(text) => text.clone(),
            Operand::Symbol(id) => {
                self.calc(*id);
                let kind = self.tree.get(*id).map(|s| s.kind).unwrap_or_default();
                match self.states.get(*id) {
                    Some(state) if !kind.is_logic() => state.text.clone(),
                    _ => "n".to_owned(),
                }
            }
        }
    }

    /// Returns the effective limits of a number.
    pub(crate) fn range(&mut self, symbol: &'t Symbol) -> Option<(i64, i64)> {
        let range = self.active_range(symbol)?;
        let low = self.raw(&range.low);
        let high = self.raw(&range.high);
        Some((
            numbers::leading(&low, symbol.kind),
            numbers::leading(&high, symbol.kind),
        ))
    }

    fn active_range(&mut self, symbol: &'t Symbol) -> Option<&'t Range> {
        if !matches!(symbol.kind, Kind::Int | Kind::Hex) {
            return None;
        }
        symbol
            .ranges
            .iter()
            .find(|range| self.holds(&range.when) != Tristate::No)
    }

    fn move_into_range(&mut self, id: SymbolId, symbol: &'t Symbol) {
        let Some((low, high)) = self.range(symbol) else {
            return;
        };
        self.change(id, |state| {
            let value = numbers::leading(&state.text, symbol.kind);
            let edge = match () {
                () if value < low => low,
                () if value > high => high,
                () => return,
            };
            state.text = match symbol.kind {
                Kind::Hex => format!("{edge:#x}"),
                _ => edge.to_string(),
            };
        });
    }

    /// Selects the member of a choice, and determines its visible members.
    fn choose(&mut self, id: SymbolId, symbol: &'t Symbol) {
        if self.tri(id) == Tristate::Yes {
            let mut all_asked = true;
            for member in &symbol.members {
                if let Some(symbol) = self.tree.get(*member) {
                    self.see(*member, symbol);
                }
                let state = self.states.get(*member);
                all_asked &= state.is_none_or(|s| s.visible == Tristate::No || s.asked);
            }
            self.change(id, |state| state.asked &= all_asked);
            let wanted = self.states.get(id).and_then(|state| state.asked_member);
            let member = match wanted.filter(|member| self.is_visible(*member)) {
                Some(member) => Some(member),
                None => self.choice_default(symbol),
            };
            self.change(id, |state| {
                state.member = member;
                if member.is_none() {
                    state.tri = Tristate::No;
                }
            });
        }
        if self.states.get(id).is_some_and(|state| state.written) {
            for member in &symbol.members {
                if self.is_visible(*member) {
                    self.change(*member, |state| state.written = true);
                }
            }
        }
    }

    pub(crate) fn is_visible(&self, id: SymbolId) -> bool {
        self.states
            .get(id)
            .is_some_and(|s| s.visible != Tristate::No)
    }

    fn choice_default(&mut self, symbol: &'t Symbol) -> Option<SymbolId> {
        for default in &symbol.defaults {
            if self.holds(&default.when) == Tristate::No {
                continue;
            }
            if let Expr::Is(Operand::Symbol(member)) = default.value
                && self.is_visible(member)
            {
                return Some(member);
            }
        }
        let mut members = symbol.members.iter().copied();
        members.find(|member| self.is_visible(*member))
    }

    /// Sets the members of a choice without a user value to `n`.
    pub(super) fn decide_members(&mut self, id: SymbolId) {
        let members = self.tree.get(id).map(|symbol| symbol.members.as_slice());
        for member in members.unwrap_or_default() {
            self.change(*member, |state| {
                if !state.asked {
                    state.asked_tri = Tristate::No;
                }
            });
        }
        self.change(id, |state| {
            state.asked = true;
            state.valid = false;
            state.pending = false;
        });
    }

    pub(crate) fn holds(&mut self, condition: &Condition) -> Tristate {
        condition
            .as_ref()
            .map_or(Tristate::Yes, |condition| self.eval(condition))
    }

    pub(crate) fn eval(&mut self, expr: &Expr) -> Tristate {
        match expr {
            Expr::Is(Operand::Tri(tri)) => *tri,
            Expr::Is(Operand::Symbol(id)) => {
                self.calc(*id);
                self.tri(*id)
            }
            Expr::Is(Operand::Text(_)) => Tristate::No,
            Expr::IfModules => match self.tree.modules {
                Some(id) => {
                    self.calc(id);
                    self.tri(id).min(Tristate::Module)
                }
                None => Tristate::No,
            },
            Expr::Not(inner) => self.eval(inner).not(),
            Expr::And(parts) => {
                let parts = parts.iter().map(|part| self.eval(part));
                parts.fold(Tristate::Yes, Tristate::min)
            }
            Expr::Or(parts) => {
                let parts = parts.iter().map(|part| self.eval(part));
                parts.fold(Tristate::No, Tristate::max)
            }
            Expr::Compare(how, left, right) => self.compare(*how, left, right),
        }
    }

    fn compare(&mut self, how: Compare, left: &Operand, right: &Operand) -> Tristate {
        let (left, left_kind) = self.compared(left);
        let (right, right_kind) = self.compared(right);
        let mut order = left.as_bytes().cmp(right.as_bytes());
        if left_kind != Kind::String || right_kind != Kind::String {
            use numbers::Number::{Signed, Text, Unsigned};
            let left = numbers::compared(&left, left_kind);
            let right = numbers::compared(&right, right_kind);
            order = match (left, right) {
                (Text, _) | (_, Text) => order,
                (Signed(l), Signed(r)) => l.cmp(&r),
                (Unsigned(l), Unsigned(r)) => l.cmp(&r),
                (Signed(l), Unsigned(r)) => l.cast_unsigned().cmp(&r),
                (Unsigned(l), Signed(r)) => l.cmp(&r.cast_unsigned()),
            };
        }
        let holds = match how {
            Compare::Equal => order == Ordering::Equal,
            Compare::Unequal => order != Ordering::Equal,
            Compare::Less => order == Ordering::Less,
            Compare::LessEqual => order != Ordering::Greater,
            Compare::Greater => order == Ordering::Greater,
            Compare::GreaterEqual => order != Ordering::Less,
        };
        if holds { Tristate::Yes } else { Tristate::No }
    }

    fn compared(&mut self, operand: &Operand) -> (String, Kind) {
        match operand {
            Operand::Tri(tri) => (tri.letter().to_owned(), Kind::Unknown),
            Operand::Text(text) => (text.clone(), Kind::Unknown),
            Operand::Symbol(id) => {
                self.calc(*id);
                let kind = self.tree.get(*id).map(|s| s.kind).unwrap_or_default();
                (self.shown(*id), kind)
            }
        }
    }
}
