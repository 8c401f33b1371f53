//! What a kernel's sources offer: symbols, and the menus they stand in.

use std::collections::HashMap;
use std::fmt;

use super::expr::{Condition, Expr, Operand, SymbolId};
use super::parser;
use super::sources::{Fault, Faults, Place, Sources, Text, line_of};

/// The type of a symbol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `y` or `n`.
    Bool,
    /// `y`, `m` or `n`.
    Tristate,
    /// A decimal number.
    Int,
    /// A hexadecimal number.
    Hex,
    /// A text.
    String,
    /// Nothing says.
    #[default]
    Unknown,
}

impl Kind {
    /// Returns its keyword.
    pub fn word(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Tristate => "tristate",
            Self::Int => "int",
            Self::Hex => "hex",
            Self::String => "string",
            Self::Unknown => "unknown",
        }
    }

    pub(crate) fn is_logic(self) -> bool {
        matches!(self, Self::Bool | Self::Tristate)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A question to the user.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    pub(crate) text: String,
    pub(crate) when: Condition,
    pub(crate) node: usize,
}

/// A value that a symbol has by itself.
#[derive(Clone, Debug)]
pub(crate) struct Default {
    pub(crate) value: Expr,
    pub(crate) when: Condition,
    /// The variable of the environment that the value is.
    pub(crate) variable: Option<String>,
    pub(crate) node: usize,
}

/// The limits of a number.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    pub(crate) low: Operand,
    pub(crate) high: Operand,
    pub(crate) when: Condition,
}

/// A `select` or `imply`, seen from either end.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) other: SymbolId,
    pub(crate) when: Condition,
}

/// A symbol: one that the user may set, a choice, or a bare word in a condition.
#[derive(Clone, Debug, std::default::Default)]
pub(crate) struct Symbol {
    /// A choice may have none.
    pub(crate) name: Option<String>,
    pub(crate) kind: Kind,
    /// It is a choice.
    pub(crate) choice: bool,
    /// It is a choice of which nothing may be chosen.
    pub(crate) optional: bool,
    /// The choice it is a member of.
    pub(crate) group: Option<SymbolId>,
    /// The members of a choice.
    pub(crate) members: Vec<SymbolId>,
    pub(crate) prompts: Vec<Prompt>,
    pub(crate) defaults: Vec<Default>,
    pub(crate) ranges: Vec<Range>,
    pub(crate) selects: Vec<Link>,
    pub(crate) implies: Vec<Link>,
    pub(crate) selected_by: Vec<Link>,
    pub(crate) implied_by: Vec<Link>,
    /// What it depends on, at each place where it is defined and depends on anything.
    pub(crate) depends: Vec<Condition>,
    /// Where a choice is asked for: it cannot be `n` there.
    pub(crate) floors: Vec<Condition>,
    /// It is not written out.
    pub(crate) hidden: bool,
    /// The variable of the environment that gives its value.
    pub(crate) variable: Option<String>,
    /// Where it is defined.
    pub(crate) nodes: Vec<usize>,
    pub(crate) help: Option<String>,
}

impl Symbol {
    /// Tells whether any file defines it.
    pub(crate) fn is_defined(&self) -> bool {
        !self.nodes.is_empty()
    }
}

/// What stands at a place of the tree.
#[derive(Clone, Debug)]
pub(crate) enum NodeKind {
    Menu { title: String, visible: Condition },
    Comment { text: String },
    If,
    Config(SymbolId),
    Choice,
}

/// A place of the tree.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    /// All it depends on, with what it stands in.
    pub(crate) depends: Condition,
    pub(crate) children: Vec<usize>,
    pub(crate) place: Place,
}

/// A kernel's KConfig files, read.
#[derive(Clone, Debug, std::default::Default)]
pub struct Tree {
    pub(crate) texts: Vec<Text>,
    pub(crate) symbols: Vec<Symbol>,
    pub(crate) names: HashMap<String, SymbolId>,
    pub(crate) nodes: Vec<Node>,
    /// The nodes that stand in nothing.
    pub(crate) roots: Vec<usize>,
    /// What `mainmenu` says.
    pub(crate) title: String,
    /// The symbol with `option modules`.
    pub(crate) modules: Option<SymbolId>,
    /// The symbols, each after those its value depends on.
    pub(crate) order: Vec<SymbolId>,
    pub(crate) warnings: Vec<Fault>,
}

impl Tree {
    /// Reads the file `root` and all that it sources.
    pub fn parse(root: &str, sources: &dyn Sources) -> Result<Self, Faults> {
        parser::parse(root, sources)
    }

    /// Returns what is odd in the files, though a kernel can be configured with them.
    pub fn warnings(&self) -> &[Fault] {
        &self.warnings
    }

    /// Returns the files that were read, in the order of reading. A file sourced twice is there
    /// twice.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(|text| text.name.as_str())
    }

    /// Finds a symbol that some file defines, by its name with or without `CONFIG_`.
    pub(crate) fn find(&self, name: &str) -> Option<SymbolId> {
        let known = |name: &str| {
            let id = *self.names.get(name)?;
            self.get(id)
                .filter(|symbol| symbol.is_defined())
                .map(|_| id)
        };
        name.strip_prefix("CONFIG_")
            .and_then(known)
            .or_else(|| known(name))
    }

    pub(crate) fn get(&self, id: SymbolId) -> Option<&Symbol> {
        self.symbols.get(id)
    }

    /// Returns a symbol's name; a choice without one goes by its prompt.
    pub(crate) fn name(&self, id: SymbolId) -> String {
        let Some(symbol) = self.get(id) else {
            return String::new();
        };
        match (&symbol.name, symbol.prompts.first()) {
            (Some(name), _) => name.clone(),
            (None, Some(prompt)) => format!("choice `{}`", prompt.text),
            (None, None) => "choice".to_owned(),
        }
    }

    /// Returns the file and the line of a place.
    pub(crate) fn position(&self, place: Place) -> (String, usize) {
        self.texts.get(place.file).map_or_else(
            || (String::new(), 1),
            |text| (text.name.clone(), line_of(&text.text, place.span.start)),
        )
    }

    /// Returns a condition in the words of the language.
    pub(crate) fn words(&self, expr: &Expr) -> String {
        let join = |parts: &[std::sync::Arc<Expr>], sign: &str| {
            let parts: Vec<String> = parts
                .iter()
                .map(|part| match **part {
                    Expr::And(_) | Expr::Or(_) => format!("({})", self.words(part)),
                    _ => self.words(part),
                })
                .collect();
            parts.join(sign)
        };
        match expr {
            Expr::Is(operand) => self.operand(operand),
            Expr::IfModules => "m".to_owned(),
            Expr::Compare(how, left, right) => format!(
                "{}{}{}",
                self.operand(left),
                how.sign(),
                self.operand(right)
            ),
            Expr::Not(inner) => match **inner {
                Expr::Is(_) => format!("!{}", self.words(inner)),
                _ => format!("!({})", self.words(inner)),
            },
            Expr::And(parts) => join(parts, " && "),
            Expr::Or(parts) => join(parts, " || "),
        }
    }

    pub(crate) fn operand(&self, operand: &Operand) -> String {
        match operand {
            Operand::Tri(value) => value.letter().to_owned(),
            Operand::Symbol(id) => self.name(*id),
            Operand::Text(text) => format!("\"{text}\""),
        }
    }
}
