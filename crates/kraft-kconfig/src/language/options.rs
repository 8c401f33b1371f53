//! Parses the options of `config`, `menuconfig` and `choice`.

use std::sync::Arc;

use super::expr::{Condition, Expr, Operand, SymbolId, all, both};
use super::lexer::Spanned;
use super::parser::{Parser, Reader, Scope};
use super::sources::{MOST_OPERANDS, MOST_WORK};
use super::statement::{Cursor, Outcome, at, first};
use super::tree::{Default, Kind, Link, NodeKind, Prompt, Range, Symbol};

/// The options of an entry, before all its dependencies are known.
#[derive(std::default::Default)]
struct Entry {
    depends: Vec<Arc<Expr>>,
    kind: Option<Kind>,
    optional: bool,
    prompts: Vec<(String, Condition)>,
    defaults: Vec<(Expr, Condition, Option<String>)>,
    ranges: Vec<(Operand, Operand, Condition)>,
    selects: Vec<(SymbolId, Condition)>,
    implies: Vec<(SymbolId, Condition)>,
    help: Option<String>,
    variable: Option<String>,
    modules: bool,
    hidden: bool,
    /// Number of operands in its conditions and values.
    weight: usize,
}

impl Parser<'_> {
    /// Parses `config NAME` and its options.
    pub(super) fn config(
        &mut self,
        reader: &mut Reader<'_>,
        scope: &Scope,
        words: &[Spanned],
    ) -> Outcome<usize> {
        let mut cursor = Cursor::new(words).skip(1);
        let id = match self.operand(&mut cursor)? {
            Operand::Symbol(id) => id,
            Operand::Tri(_) | Operand::Text(_) => {
                return Err(Box::new(at(words, "this is not a valid symbol name")));
            }
        };
        cursor.end()?;
        let entry = self.entry(reader, id, false);
        if first(words) == "menuconfig" && entry.prompts.is_empty() {
            self.warn(
                reader,
                at(words, "a `menuconfig` needs a prompt to be a menu"),
            );
        }
        let node = self.add(reader, NodeKind::Config(id), words);
        let modules = entry.modules;
        self.store(reader, scope, (node, id), entry, words);
        if modules {
            match self.tree.modules {
                Some(other) if other != id => {
                    return Err(Box::new(at(words, "two symbols have `option modules`")));
                }
                _ => self.tree.modules = Some(id),
            }
        }
        Ok(node)
    }

    /// Parses the head of a choice.
    pub(super) fn choice_entry(
        &mut self,
        reader: &mut Reader<'_>,
        scope: &Scope,
        words: &[Spanned],
    ) -> Outcome<(usize, SymbolId)> {
        let mut cursor = Cursor::new(words).skip(1);
        let named = cursor.prompt();
        cursor.end()?;
        // Parts of the same choice are matched by its name, which is not a symbol.
        let known = named
            .as_ref()
            .and_then(|name| self.choices.get(name))
            .copied();
        let id = known.unwrap_or_else(|| {
            self.unnamed(Symbol {
                choice: true,
                hidden: true,
                ..Symbol::default()
            })
        });
        if let Some(name) = named {
            self.choices.insert(name, id);
        }
        let entry = self.entry(reader, id, true);
        let node = self.add(reader, NodeKind::Choice, words);
        self.store(reader, scope, (node, id), entry, words);
        Ok((node, id))
    }

    fn entry(&mut self, reader: &mut Reader<'_>, id: SymbolId, choice: bool) -> Entry {
        let mut entry = Entry::default();
        let before = self.operands;
        while let Some(words) = self.statement(reader) {
            match self.option(reader, &mut entry, choice, &words) {
                Ok(true) => {}
                Ok(false) => {
                    reader.waiting = Some(words);
                    break;
                }
                Err(problem) => self.report(reader, problem),
            }
        }
        if let Some(kind) = entry.kind
            && let Some(symbol) = self.tree.symbols.get_mut(id)
            && symbol.kind == Kind::Unknown
        {
            symbol.kind = kind;
        }
        entry.weight = self.operands - before;
        entry
    }

    /// Parses one option; returns whether the statement was an option.
    fn option(
        &mut self,
        reader: &mut Reader<'_>,
        entry: &mut Entry,
        choice: bool,
        words: &[Spanned],
    ) -> Outcome<bool> {
        let word = first(words);
        let mut cursor = Cursor::new(words).skip(1);
        let cursor = &mut cursor;
        let kind = match word {
            "bool" | "def_bool" => Some(Kind::Bool),
            "tristate" | "def_tristate" => Some(Kind::Tristate),
            "int" if !choice => Some(Kind::Int),
            "hex" if !choice => Some(Kind::Hex),
            "string" if !choice => Some(Kind::String),
            _ => None,
        };
        if let Some(kind) = kind {
            entry.kind = entry.kind.or(Some(kind));
        }
        match word {
            "bool" | "tristate" | "int" | "hex" | "string" if kind.is_some() => {
                if let Some(text) = cursor.prompt() {
                    let when = self.when(cursor)?;
                    entry.prompts.push((text, when));
                }
            }
            "prompt" => {
                let text = cursor.prompt().ok_or_else(|| {
                    cursor.problem("a string is missing", "expected in this place")
                })?;
                let when = self.when(cursor)?;
                entry.prompts.push((text, when));
            }
            "default" | "def_bool" | "def_tristate" if word == "default" || !choice => {
                let value = self.expr(cursor, 0)?;
                let when = self.when(cursor)?;
                let variable = words
                    .get(1)
                    .and_then(|word| reader.lexer.variable(word.span));
                entry.defaults.push((value, when, variable));
            }
            "depends" => {
                cursor.word("on")?;
                entry.depends.push(self.condition(cursor)?);
            }
            "select" | "imply" if !choice => {
                let name = cursor.name()?;
                let other = self.symbol(name);
                let when = self.when(cursor)?;
                match word {
                    "select" => entry.selects.push((other, when)),
                    _ => entry.implies.push((other, when)),
                }
            }
            "range" if !choice => {
                let low = self.operand(cursor)?;
                let high = self.operand(cursor)?;
                let when = self.when(cursor)?;
                entry.ranges.push((low, high, when));
            }
            "optional" if choice => entry.optional = true,
            "modules" if !choice => entry.modules = true,
            "option" if !choice => self.special(entry, cursor)?,
            "help" | "---help---" => {
                cursor.end()?;
                entry.help = Some(reader.lexer.help());
            }
            _ => return Ok(false),
        }
        cursor.end()?;
        Ok(true)
    }

    fn special(&mut self, entry: &mut Entry, cursor: &mut Cursor<'_>) -> Outcome<()> {
        if cursor.take("modules") {
            entry.modules = true;
        } else if cursor.take("allnoconfig_y") {
            // Only relevant to targets of `conf` that are not implemented.
        } else if cursor.take("defconfig_list") {
            entry.hidden = true;
        } else if cursor.take("env") {
            if !cursor.take_sign("=") {
                return Err(Box::new(
                    cursor.problem("`=` is missing", "expected in this place"),
                ));
            }
            let name = cursor.prompt().ok_or_else(|| {
                cursor.problem(
                    "the name of a variable is missing",
                    "expected in this place",
                )
            })?;
            if let Some(value) = self.env(&name) {
                entry
                    .defaults
                    .push((Expr::Is(Operand::Text(value)), None, Some(name.clone())));
            }
            entry.hidden = true;
            entry.variable = Some(name);
        } else {
            return Err(Box::new(cursor.problem("unknown option", "unknown").help(
                "expected `modules`, `env=`, `defconfig_list` or `allnoconfig_y`",
            )));
        }
        Ok(())
    }

    /// Rejects trees whose conditions are too expensive to evaluate.
    fn weigh(&mut self, reader: &Reader<'_>, scope: &Scope, entry: &Entry, words: &[Spanned]) {
        let conditions = 1
            + entry.prompts.len()
            + entry.defaults.len()
            + entry.ranges.len()
            + entry.selects.len()
            + entry.implies.len();
        self.work += (scope.weight + entry.weight + 1) * conditions;
        if entry.weight > MOST_OPERANDS || self.work > MOST_WORK {
            self.report(reader, at(words, "there are too many conditions"));
            self.stopped = true;
        }
    }

    /// Stores the options of an entry in its symbol, when all its dependencies are known.
    fn store(
        &mut self,
        reader: &Reader<'_>,
        scope: &Scope,
        (node, id): (usize, SymbolId),
        entry: Entry,
        words: &[Spanned],
    ) {
        self.weigh(reader, scope, &entry, words);
        let depends = both(&scope.depends, &all(entry.depends));
        self.depend(node, depends.clone());
        let under = |when: &Condition| both(&depends, when);
        let mut links = Vec::new();
        let Some(symbol) = self.tree.symbols.get_mut(id) else {
            return;
        };
        symbol.nodes.push(node);
        symbol.optional |= entry.optional;
        symbol.hidden |= entry.hidden;
        let changed = entry.kind.is_some_and(|kind| kind != symbol.kind);
        for (text, when) in entry.prompts {
            let when = under(&both(&when, &scope.shown));
            symbol.prompts.push(Prompt { text, when, node });
        }
        for (value, when, variable) in entry.defaults {
            let when = under(&when);
            symbol.defaults.push(Default {
                value,
                when,
                variable,
                node,
            });
        }
        for (low, high, when) in entry.ranges {
            let when = under(&when);
            symbol.ranges.push(Range { low, high, when });
        }
        for (other, when) in entry.selects {
            let when = under(&when);
            links.push((true, other, when.clone()));
            symbol.selects.push(Link { other, when });
        }
        for (other, when) in entry.implies {
            let when = under(&when);
            links.push((false, other, when.clone()));
            symbol.implies.push(Link { other, when });
        }
        if symbol.choice {
            if let Some(prompt) = symbol.prompts.iter().rev().find(|p| p.node == node) {
                symbol.floors.push(prompt.when.clone());
            }
        } else if depends.is_some() {
            symbol.depends.push(depends.clone());
        }
        symbol.help = entry.help.or(symbol.help.take());
        symbol.variable = entry.variable.or(symbol.variable.take());
        for (select, other, when) in links {
            if let Some(other) = self.tree.symbols.get_mut(other) {
                let link = Link { other: id, when };
                if select {
                    other.selected_by.push(link);
                } else {
                    other.implied_by.push(link);
                }
            }
        }
        if changed {
            self.warn(
                reader,
                at(
                    words,
                    "this symbol already has another type, which it keeps",
                ),
            );
        }
    }
}
