//! The definitions in a kernel's sources: symbols, and their menus.

use std::collections::HashMap;
use std::fmt;

use super::expr::{Condition, Expr, Operand, SymbolId};
use super::parser;
use super::sources::{Diagnostic, KconfigErrors, Place, Sources, Text, line_of};

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
    /// A string.
    String,
    /// Not specified.
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

/// A prompt.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    pub(crate) text: String,
    pub(crate) when: Condition,
    pub(crate) node: usize,
}

/// A default value of a symbol.
#[derive(Clone, Debug)]
pub(crate) struct Default {
    pub(crate) value: Expr,
    pub(crate) when: Condition,
    /// The environment variable with the value.
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

/// A `select` or `imply`, from either end.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) other: SymbolId,
    pub(crate) when: Condition,
}

/// A symbol: an option, a choice, or an undefined name in a condition.
#[derive(Clone, Debug, std::default::Default)]
pub(crate) struct Symbol {
    /// Its name; optional for a choice.
    pub(crate) name: Option<String>,
    pub(crate) kind: Kind,
    /// Whether it is a choice.
    pub(crate) choice: bool,
    /// Whether it is a choice without a mandatory selection.
    pub(crate) optional: bool,
    /// The choice that it is a member of.
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
    /// Its dependencies, for each definition that has any.
    pub(crate) depends: Vec<Condition>,
    /// Conditions under which a choice cannot be `n`.
    pub(crate) floors: Vec<Condition>,
    /// Whether it is excluded from the output.
    pub(crate) hidden: bool,
    /// The environment variable with its value.
    pub(crate) variable: Option<String>,
    /// Its definitions.
    pub(crate) nodes: Vec<usize>,
    pub(crate) help: Option<String>,
}

impl Symbol {
    /// Returns whether any file defines it.
    pub(crate) fn is_defined(&self) -> bool {
        !self.nodes.is_empty()
    }
}

/// The kind of a node.
#[derive(Clone, Debug)]
pub(crate) enum NodeKind {
    Menu { title: String, visible: Condition },
    Comment { text: String },
    If,
    Config(SymbolId),
    Choice,
}

/// A node of the tree.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    /// Its dependencies, including those of its parents.
    pub(crate) depends: Condition,
    pub(crate) children: Vec<usize>,
    pub(crate) place: Place,
}

/// The parsed KConfig files of a kernel.
#[derive(Clone, Debug, std::default::Default)]
pub struct Tree {
    pub(crate) texts: Vec<Text>,
    pub(crate) symbols: Vec<Symbol>,
    pub(crate) names: HashMap<String, SymbolId>,
    pub(crate) nodes: Vec<Node>,
    /// The top-level nodes.
    pub(crate) roots: Vec<usize>,
    /// The argument of `mainmenu`.
    pub(crate) title: String,
    /// The symbol with `option modules`.
    pub(crate) modules: Option<SymbolId>,
    /// The symbols, each after its dependencies.
    pub(crate) order: Vec<SymbolId>,
    pub(crate) warnings: Vec<Diagnostic>,
}

impl Tree {
    /// Parses the file `root` and all files that it sources.
    pub fn parse(root: &str, sources: &dyn Sources) -> Result<Self, KconfigErrors> {
        parser::parse(root, sources)
    }

    /// Returns warnings about the files.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// Returns the parsed files, in order. A file sourced twice is listed twice.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(|text| text.name.as_str())
    }

    /// Returns a defined symbol, by its name with or without `CONFIG_`.
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

    /// Returns a symbol's name; for a choice without a name its prompt.
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

    /// Returns file and line of a position.
    pub(crate) fn position(&self, place: Place) -> (String, usize) {
        self.texts.get(place.file).map_or_else(
            || (String::new(), 1),
            |text| (text.name.clone(), line_of(&text.text, place.span.start)),
        )
    }

    /// Formats a condition in KConfig syntax.
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
