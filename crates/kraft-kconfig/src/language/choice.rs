//! Determines the members of a choice.
//!
//! Not every symbol in a choice is a member: a symbol that depends on the preceding one is its
//! submenu entry, and an ordinary option. A symbol in an `if` is a member.

use std::sync::Arc;

use super::expr::{Compare, Condition, Expr, Operand, SymbolId, Tristate, both};
use super::tree::{Kind, NodeKind, Tree};

/// Makes the symbols in a choice its members.
pub(super) fn join(tree: &mut Tree, node: usize, choice: SymbolId) {
    let children = tree
        .nodes
        .get(node)
        .map(|n| n.children.clone())
        .unwrap_or_default();
    resolve_kinds(tree, &children, choice);
    let mut members = Vec::new();
    level(tree, &children, &mut members);
    let kind = tree.get(choice).map(|c| c.kind).unwrap_or_default();
    for (id, node) in members {
        let Some(symbol) = tree.symbols.get_mut(id) else {
            continue;
        };
        if symbol.group.is_some() || symbol.choice {
            continue;
        }
        symbol.group = Some(choice);
        if kind == Kind::Tristate && symbol.kind != Kind::Tristate {
            only_if_yes(tree, id, node, choice);
        }
        if let Some(choice) = tree.symbols.get_mut(choice) {
            choice.members.push(id);
        }
    }
}

/// A choice without a type gets that of its first typed member, and passes it to members without a
/// type.
fn resolve_kinds(tree: &mut Tree, children: &[usize], choice: SymbolId) {
    let ids: Vec<SymbolId> = children.iter().filter_map(|n| config(tree, *n)).collect();
    let found = ids
        .iter()
        .filter_map(|id| tree.get(*id))
        .map(|symbol| symbol.kind)
        .find(|kind| *kind != Kind::Unknown);
    let Some(symbol) = tree.symbols.get_mut(choice) else {
        return;
    };
    if symbol.kind == Kind::Unknown {
        symbol.kind = found.unwrap_or_default();
    }
    let kind = symbol.kind;
    for id in ids {
        if let Some(symbol) = tree.symbols.get_mut(id)
            && symbol.kind == Kind::Unknown
        {
            symbol.kind = kind;
        }
    }
}

/// A member that cannot be `m` is available only if the choice is `y`.
fn only_if_yes(tree: &mut Tree, id: SymbolId, node: usize, choice: SymbolId) {
    let yes = Operand::Tri(Tristate::Yes);
    let chosen: Condition = Some(Arc::new(Expr::Compare(
        Compare::Equal,
        Operand::Symbol(choice),
        yes,
    )));
    let Some(symbol) = tree.symbols.get_mut(id) else {
        return;
    };
    for prompt in symbol.prompts.iter_mut().filter(|p| p.node == node) {
        prompt.when = both(&chosen, &prompt.when);
    }
    for default in symbol.defaults.iter_mut().filter(|d| d.node == node) {
        default.when = both(&chosen, &default.when);
    }
}

fn config(tree: &Tree, node: usize) -> Option<SymbolId> {
    match tree.nodes.get(node)?.kind {
        NodeKind::Config(id) => Some(id),
        NodeKind::Menu { .. } | NodeKind::Comment { .. } | NodeKind::If | NodeKind::Choice => None,
    }
}

/// Collects the symbols of one level, including those that `if` and symbols without a prompt move
/// up to it.
fn level(tree: &Tree, nodes: &[usize], members: &mut Vec<(SymbolId, usize)>) {
    let mut at = 0;
    while let Some(node) = nodes.get(at) {
        let Some(id) = config(tree, *node) else {
            if let Some(block) = tree.nodes.get(*node) {
                level(tree, &block.children, members);
            }
            at += 1;
            continue;
        };
        members.push((id, *node));
        at = match prompt(tree, id, *node) {
            Some(_) => end(tree, nodes, at),
            None => at + 1,
        };
    }
}

/// Returns the index after all submenu entries of a node: the following nodes, while each depends
/// on it or on one of its entries.
fn end(tree: &Tree, nodes: &[usize], at: usize) -> usize {
    let symbol = |at: usize| {
        let node = *nodes.get(at)?;
        let id = config(tree, node)?;
        Some((id, prompt(tree, id, node).unwrap_or_default()))
    };
    let mut open: Vec<(SymbolId, Condition)> = symbol(at).into_iter().collect();
    let mut next = at + 1;
    while let Some((id, base)) = open.last() {
        let Some(node) = nodes.get(next) else {
            break;
        };
        let own = config(tree, *node).and_then(|other| prompt(tree, other, *node));
        let block = || tree.nodes.get(*node).and_then(|n| n.depends.clone());
        match own.unwrap_or_else(block) {
            Some(condition) if belongs(tree, *id, base, &condition) => {
                open.extend(symbol(next));
                next += 1;
            }
            _ => {
                open.pop();
            }
        }
    }
    next
}

fn prompt(tree: &Tree, id: SymbolId, node: usize) -> Option<Condition> {
    let prompts = &tree.get(id)?.prompts;
    // They are sorted by node.
    let after = prompts.partition_point(|prompt| prompt.node <= node);
    let prompt = prompts
        .get(after.checked_sub(1)?)
        .filter(|p| p.node == node)?;
    Some(prompt.when.clone())
}

/// Returns whether a condition depends on a symbol: directly, or by naming it in addition to the
/// symbol's own dependencies.
fn belongs(tree: &Tree, id: SymbolId, base: &Condition, condition: &Expr) -> bool {
    let mut named = false;
    condition.symbols(&mut |other| named |= other == id);
    if !named {
        return false;
    }
    let mut parts = Vec::new();
    condition.conjuncts(&mut |part| parts.push(plain(tree, part)));
    let outright = |part: &Expr| match part {
        Expr::Is(Operand::Symbol(other)) => *other == id,
        Expr::Compare(how, Operand::Symbol(other), Operand::Tri(value)) => {
            *other == id
                && match how {
                    Compare::Equal => *value != Tristate::No,
                    Compare::Unequal => *value == Tristate::No,
                    Compare::Less
                    | Compare::LessEqual
                    | Compare::Greater
                    | Compare::GreaterEqual => false,
                }
        }
        _ => false,
    };
    if parts.iter().any(outright) {
        return true;
    }
    let mut covered = true;
    if let Some(base) = base {
        base.conjuncts(&mut |part| covered &= parts.contains(&plain(tree, part)));
    }
    covered
}

/// Simplifies comparisons of a bool with `y` and `n` to the bool itself.
fn plain(tree: &Tree, expr: &Expr) -> Expr {
    let Expr::Compare(how, Operand::Symbol(id), Operand::Tri(value)) = expr else {
        return expr.clone();
    };
    let bool = tree
        .get(*id)
        .is_some_and(|symbol| symbol.kind == Kind::Bool);
    let itself = Expr::Is(Operand::Symbol(*id));
    match (how, value) {
        (Compare::Equal, Tristate::Yes) | (Compare::Unequal, Tristate::No) if bool => itself,
        (Compare::Equal, Tristate::No) | (Compare::Unequal, Tristate::Yes) if bool => {
            Expr::Not(Arc::new(itself))
        }
        _ => expr.clone(),
    }
}
