//! Formats a resolved configuration: lines in the order and with the comments of `conf`.

use std::fmt::Write as _;

use super::Resolved;
use crate::dotconfig::{Written, in_quotes};
use crate::language::expr::{SymbolId, Tristate};
use crate::language::{Kind, NodeKind};

/// Maximum length of the comment at the start of a file, in bytes.
const LONGEST_HEAD: usize = 255;

/// Returns how a value of a kind is written.
pub(super) fn written(kind: Kind, value: String) -> Written {
    match kind {
        Kind::Bool | Kind::Tristate if value == "n" => Written::NotSet,
        Kind::String => Written::Quoted(value),
        Kind::Bool | Kind::Tristate | Kind::Int | Kind::Hex | Kind::Unknown => Written::Bare(value),
    }
}

struct Writer {
    text: String,
    /// Whether a menu has just ended: an empty line precedes the next symbol.
    gap: bool,
    done: Vec<bool>,
}

impl Resolved<'_> {
    /// Returns the text of the `.config` file, identical to that of `conf`.
    pub fn text(&self) -> String {
        let mut title = format!(
            "Automatically generated file; DO NOT EDIT.\n{}",
            self.tree.title
        );
        let mut end = title.len().min(LONGEST_HEAD - 2);
        while !title.is_char_boundary(end) {
            end -= 1;
        }
        title.truncate(end);
        let mut writer = Writer {
            text: format!("#\n# {}\n#\n", title.replace('\n', "\n# ")),
            gap: false,
            done: vec![false; self.states.len()],
        };
        // Conditions are evaluated on a copy: all values are already calculated.
        let mut at = self.clone();
        at.nodes(&self.tree.roots, &mut writer);
        writer.text
    }

    /// Writes nodes and their children. The parser limits the nesting.
    fn nodes(&mut self, nodes: &[usize], writer: &mut Writer) {
        let tree = self.tree;
        for node in nodes.iter().filter_map(|id| tree.nodes.get(*id)) {
            let heading = match &node.kind {
                NodeKind::Menu { title, visible } => {
                    let shown = self.holds(visible).min(self.holds(&node.depends));
                    (shown != Tristate::No).then_some(title)
                }
                NodeKind::Comment { text } => {
                    (self.holds(&node.depends) != Tristate::No).then_some(text)
                }
                NodeKind::Config(id) => {
                    self.symbol(*id, writer);
                    None
                }
                NodeKind::Choice | NodeKind::If => None,
            };
            if let Some(heading) = heading {
                let _ = write!(writer.text, "\n#\n# {heading}\n#\n");
                writer.gap = false;
            }
            self.nodes(&node.children, writer);
            if let Some(title) = heading.filter(|_| !node.children.is_empty()) {
                let _ = writeln!(writer.text, "# end of {title}");
                writer.gap = true;
            }
        }
    }

    fn symbol(&self, id: SymbolId, writer: &mut Writer) {
        let (Some(symbol), Some(state)) = (self.tree.get(id), self.state(id)) else {
            return;
        };
        let Some(name) = symbol.name.as_ref().filter(|_| state.written) else {
            return;
        };
        match writer.done.get_mut(id) {
            Some(done) if !*done => *done = true,
            _ => return,
        }
        if std::mem::take(&mut writer.gap) {
            writer.text.push('\n');
        }
        let value = self.shown(id);
        let line = match (symbol.kind, value.as_str()) {
            (Kind::Bool | Kind::Tristate, "n") => format!("# CONFIG_{name} is not set\n"),
            (Kind::String, _) => format!("CONFIG_{name}={}\n", in_quotes(&value)),
            (Kind::Unknown, _) => return,
            _ => format!("CONFIG_{name}={value}\n"),
        };
        writer.text.push_str(&line);
    }
}
