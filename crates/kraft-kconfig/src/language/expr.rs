//! Conditions of `depends on`, `if` and `default`.

use std::fmt;
use std::sync::Arc;

/// A tristate value: no, module or yes, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tristate {
    /// `n`.
    #[default]
    No,
    /// `m`.
    Module,
    /// `y`.
    Yes,
}

impl Tristate {
    /// Returns the letter.
    pub fn letter(self) -> &'static str {
        match self {
            Self::No => "n",
            Self::Module => "m",
            Self::Yes => "y",
        }
    }

    pub(crate) fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Module => Self::Module,
            Self::Yes => Self::No,
        }
    }
}

impl fmt::Display for Tristate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.letter())
    }
}

/// Index of a symbol in its tree.
pub(crate) type SymbolId = usize;

/// An operand of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    /// `y`, `m` or `n`.
    Tri(Tristate),
    /// A name, or a bare number, which is an undefined symbol.
    Symbol(SymbolId),
    /// A quoted string.
    Text(String),
}

/// A comparison operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Equal,
    Unequal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Compare {
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Unequal => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
        }
    }
}

/// A condition. Parts are shared: the dependencies of a menu are part of everything in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expr {
    Is(Operand),
    /// `m` in a condition: the value of the modules symbol.
    IfModules,
    Compare(Compare, Operand, Operand),
    Not(Arc<Expr>),
    And(Vec<Arc<Expr>>),
    Or(Vec<Arc<Expr>>),
}

/// An optional condition; a missing one is `y`.
pub(crate) type Condition = Option<Arc<Expr>>;

/// Returns the conjunction of two conditions.
pub(crate) fn both(first: &Condition, second: &Condition) -> Condition {
    match (first, second) {
        (None, one) | (one, None) => one.clone(),
        (Some(first), Some(second)) => {
            Some(Arc::new(Expr::And(vec![first.clone(), second.clone()])))
        }
    }
}

/// Returns the conjunction of any number of conditions.
pub(crate) fn all(mut parts: Vec<Arc<Expr>>) -> Condition {
    match parts.len() {
        0 | 1 => parts.pop(),
        _ => Some(Arc::new(Expr::And(parts))),
    }
}

impl Expr {
    /// Converts a bare operand to a condition: `m` requires modules.
    pub(crate) fn condition(self) -> Self {
        match self {
            Self::Is(Operand::Tri(Tristate::Module)) => Self::IfModules,
            Self::Not(inner) => Self::Not(Arc::new(Arc::unwrap_or_clone(inner).condition())),
            Self::And(parts) => Self::And(conditions(parts)),
            Self::Or(parts) => Self::Or(conditions(parts)),
            other @ (Self::Is(_) | Self::IfModules | Self::Compare(..)) => other,
        }
    }

    /// Calls `found` for every symbol in it.
    pub(crate) fn symbols(&self, found: &mut dyn FnMut(SymbolId)) {
        match self {
            Self::Is(Operand::Symbol(id)) => found(*id),
            Self::Is(_) | Self::IfModules => {}
            Self::Compare(_, left, right) => {
                for side in [left, right] {
                    if let Operand::Symbol(id) = side {
                        found(*id);
                    }
                }
            }
            Self::Not(inner) => inner.symbols(found),
            Self::And(parts) | Self::Or(parts) => {
                for part in parts {
                    part.symbols(found);
                }
            }
        }
    }

    /// Calls `found` for the parts of a chain of `&&`.
    pub(crate) fn conjuncts<'e>(&'e self, found: &mut dyn FnMut(&'e Expr)) {
        match self {
            Self::And(parts) => {
                for part in parts {
                    part.conjuncts(found);
                }
            }
            one => found(one),
        }
    }
}

fn conditions(parts: Vec<Arc<Expr>>) -> Vec<Arc<Expr>> {
    parts
        .into_iter()
        .map(|part| Arc::new(Arc::unwrap_or_clone(part).condition()))
        .collect()
}
