//! Markers of here-documents: `<<EOF`, `<<-EOF`, `3<<"EOF"` (BuildKit,
//! `frontend/dockerfile/parser`).

use super::expand::{self, ExpandError};

/// The marker of a here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Announced {
    /// The line that ends it.
    pub(super) name: String,
    /// Whether variables in it are expanded: only if its name is not quoted.
    pub(super) expands: bool,
    /// `<<-`: tabs at the start of its lines are removed.
    pub(super) strips: bool,
    /// The file descriptor before the marker; 0 if there is none.
    pub(super) descriptor: u32,
}

impl Announced {
    /// Returns a text without leading tabs if they are to be removed.
    pub(super) fn stripped(&self, text: &str) -> String {
        if !self.strips {
            return text.to_owned();
        }
        let lines = text.split_inclusive('\n');
        lines.map(|line| line.trim_start_matches('\t')).collect()
    }
}

/// Returns the here-documents that an instruction contains markers of, in order.
pub(super) fn of_line(line: &str) -> Result<Vec<Announced>, ExpandError> {
    // A text that cannot be split because of an open quote has no markers: it may be shell code.
    let words = expand::split(line, expand::Split::Raw).unwrap_or_default();
    let found = words.iter().filter_map(|word| announced(word).transpose());
    found.collect()
}

/// Parses an argument that may be a marker. Blanks are allowed between `<<` and the name.
pub(super) fn announced(word: &str) -> Result<Option<Announced>, ExpandError> {
    let Some((descriptor, strips, name)) = sign(word) else {
        return Ok(None);
    };
    if name.is_empty() || name.contains('<') {
        return Ok(None);
    }
    let plain = expand::split(name, expand::Split::Plain)?;
    let quoted = expand::split(name, expand::Split::Quoted)?;
    let ([plain], [quoted]) = (plain.as_slice(), quoted.as_slice()) else {
        return Ok(None);
    };
    let count = |text: &str| text.matches(['"', '\'']).count();
    Ok(Some(Announced {
        name: plain.clone(),
        expands: count(plain) == count(quoted),
        strips,
        descriptor,
    }))
}

/// Returns whether an argument is a marker without a name.
pub(super) fn is_sign(word: &str) -> bool {
    sign(word).is_some_and(|(_, strips, name)| !strips && name.is_empty())
}

/// Splits an argument into the file descriptor, whether tabs are removed, and the name.
fn sign(word: &str) -> Option<(u32, bool, &str)> {
    let (descriptor, name) = word.split_once("<<")?;
    if !descriptor.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let (strips, name) = match name.strip_prefix('-') {
        Some(name) => (true, name),
        None => (false, name),
    };
    Some((descriptor.parse().unwrap_or(0), strips, name.trim_start()))
}
