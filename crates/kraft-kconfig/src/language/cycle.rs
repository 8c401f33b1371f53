//! Sorts symbols by dependency, and reports cycles as errors.
//!
//! The traversal uses an explicit stack: the length of a dependency chain is not limited by the
//! machine stack.

use super::expr::{Operand, SymbolId};
use super::sources::Diagnostic;
use super::tree::Tree;
use kraft_core::problem::Problem;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    Open,
    Done,
}

/// Sorts the symbols by dependency; returns the cycle if there is one.
pub(super) fn order(tree: &mut Tree) -> Vec<Diagnostic> {
    let mut marks = vec![Mark::New; tree.symbols.len()];
    let mut order = Vec::with_capacity(tree.symbols.len());
    let first = tree.modules.into_iter();
    for root in first.chain(0..tree.symbols.len()) {
        if let Err(circle) = visit(tree, head(tree, root), &mut marks, &mut order) {
            return vec![error(tree, &circle)];
        }
    }
    tree.order = order;
    Vec::new()
}

/// Members of a choice are represented by their choice: they are resolved together.
fn head(tree: &Tree, id: SymbolId) -> SymbolId {
    tree.get(id).and_then(|symbol| symbol.group).unwrap_or(id)
}

fn visit(
    tree: &Tree,
    root: SymbolId,
    marks: &mut [Mark],
    order: &mut Vec<SymbolId>,
) -> Result<(), Vec<SymbolId>> {
    let mut stack: Vec<(SymbolId, Vec<SymbolId>)> = Vec::new();
    let enter = |id: SymbolId, marks: &mut [Mark], stack: &mut Vec<_>| {
        if let Some(mark) = marks.get_mut(id) {
            *mark = Mark::Open;
        }
        stack.push((id, needs(tree, id)));
    };
    if marks.get(root) == Some(&Mark::New) {
        enter(root, marks, &mut stack);
    }
    while let Some((id, needs)) = stack.last_mut() {
        let id = *id;
        let Some(next) = needs.pop() else {
            if let Some(mark) = marks.get_mut(id) {
                *mark = Mark::Done;
            }
            order.push(id);
            order.extend(tree.get(id).map(|s| s.members.clone()).unwrap_or_default());
            stack.pop();
            continue;
        };
        match marks.get(next) {
            Some(Mark::New) => enter(next, marks, &mut stack),
            Some(Mark::Open) => {
                let path = stack.iter().map(|(id, _)| *id);
                return Err(path.skip_while(|id| *id != next).collect());
            }
            Some(Mark::Done) | None => {}
        }
    }
    Ok(())
}

/// Returns the symbols that a value depends on, representatives only, without itself if it is a
/// choice.
fn needs(tree: &Tree, id: SymbolId) -> Vec<SymbolId> {
    let mut found = Vec::new();
    let members = tree
        .get(id)
        .map(|s| s.members.as_slice())
        .unwrap_or_default();
    for one in members.iter().chain([&id]) {
        direct(tree, *one, &mut found);
    }
    let choice = tree.get(id).is_some_and(|symbol| symbol.choice);
    let mut needs: Vec<SymbolId> = found.into_iter().map(|other| head(tree, other)).collect();
    needs.sort_unstable();
    needs.dedup();
    needs.retain(|other| !(choice && *other == id));
    needs
}

fn direct(tree: &Tree, id: SymbolId, found: &mut Vec<SymbolId>) {
    let Some(symbol) = tree.get(id) else {
        return;
    };
    let links = || symbol.selected_by.iter().chain(&symbol.implied_by);
    let conditions = symbol
        .depends
        .iter()
        .chain(&symbol.floors)
        .chain(links().map(|link| &link.when))
        .chain(symbol.prompts.iter().map(|prompt| &prompt.when))
        .chain(symbol.ranges.iter().map(|range| &range.when))
        .chain(symbol.defaults.iter().map(|default| &default.when));
    let values = symbol.defaults.iter().map(|default| &default.value);
    // The default of a choice is one of its members, of which only the visibility matters.
    let values = values.filter(|_| !symbol.choice);
    for expr in conditions.filter_map(|c| c.as_deref()).chain(values) {
        expr.symbols(&mut |other| found.push(other));
    }
    found.extend(links().map(|link| link.other));
    for range in &symbol.ranges {
        for side in [&range.low, &range.high] {
            if let Operand::Symbol(other) = side {
                found.push(*other);
            }
        }
    }
}

fn error(tree: &Tree, circle: &[SymbolId]) -> Diagnostic {
    let names: Vec<String> = circle
        .iter()
        .chain(circle.first())
        .take(20)
        .map(|id| tree.name(*id))
        .collect();
    let place = circle
        .first()
        .and_then(|id| tree.get(*id)?.nodes.first())
        .and_then(|node| tree.nodes.get(*node))
        .map(|node| node.place);
    let text = place.and_then(|place| tree.texts.get(place.file));
    let problem = Problem::error(format!("circular dependency: {}", names.join(" → ")));
    Diagnostic {
        file: text.map(|t| t.name.clone()).unwrap_or_default(),
        text: text.map(|t| t.text.to_string()).unwrap_or_default(),
        problem: match place {
            Some(place) => problem.at(place.span),
            None => problem,
        }
        .help("a symbol must not depend on a symbol that depends on it or is selected by it"),
    }
}
