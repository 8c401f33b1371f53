//! Memory usage of a kernel by section, symbol and library.
//!
//! Only memory counts: sections that are loaded or zero-initialised. Every byte of them is
//! attributed to one symbol or to none, so the shares of a section add up to its size. Where
//! symbols overlap, the first one gets the bytes; aliases count once. Bytes without a symbol
//! (string literals, unwind tables, padding) are a share without a symbol.

mod breakdown;
mod libraries;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::libraries::Libraries;
use super::object::{Class, Home, Object, ObjectError, Symbol, SymbolKind};
pub use breakdown::{By, LibrarySize, SizeChange, SymbolSize};

/// A loaded section of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SectionSize {
    /// Its name: `.text`.
    pub section: String,
    /// Its kind of memory.
    pub class: Class,
    /// Its address.
    pub address: u64,
    /// Its size in memory, in bytes.
    pub size: u64,
    /// Its size in the file, in bytes.
    pub size_in_file: u64,
}

/// Bytes of a section with the same owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Index of the section in [`Measured::sections`].
    pub section: usize,
    /// Number of bytes.
    pub size: u64,
    /// The symbol; `None` for bytes without one.
    pub symbol: Option<Named>,
}

/// The symbol of a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: SymbolKind,
    /// Its library, if known for sure.
    pub library: Option<String>,
}

/// Sizes of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// The loaded sections, in the order of the file.
    pub sections: Vec<SectionSize>,
    /// Shares of the sections; those of a section add up to its size.
    pub shares: Vec<Share>,
}

/// Returns whether two files have the same sections at the same addresses, as a kernel and its
/// debug image have.
#[must_use]
pub fn have_same_layout(one: &Object<'_>, other: &Object<'_>) -> bool {
    sections(one)
        .map(|(_, section)| section)
        .eq(sections(other).map(|(_, section)| section))
}

/// Returns the loaded sections, each with its index in the file.
fn sections<'o>(object: &'o Object<'_>) -> impl Iterator<Item = (usize, SectionSize)> + 'o {
    let all = object.sections().iter().enumerate();
    all.filter_map(|(place, section)| {
        let class = section.class()?;
        let size = SectionSize {
            section: section.name.to_owned(),
            class,
            address: section.address,
            size: section.size,
            size_in_file: section.size_in_file(),
        };
        Some((place, size))
    })
}

/// Measures a kernel by its own symbols; `libraries` maps them to libraries.
///
/// # Errors
/// The symbols cannot be read.
pub fn measure(object: &Object<'_>, libraries: &Libraries) -> Result<Measured, ObjectError> {
    let symbols = object.symbols()?;
    let origins = libraries.origins(&symbols);
    let per_thread = object.sections().iter().filter(|s| s.is_per_thread());
    let thread_base = per_thread.map(|s| s.address).min().unwrap_or_default();
    let mut claims: BTreeMap<usize, Vec<Claim<'_>>> = BTreeMap::new();
    for (symbol, origin) in symbols.iter().zip(origins) {
        let Home::Section(place) = symbol.home else {
            continue;
        };
        let Some(section) = object.sections().get(place) else {
            continue;
        };
        let address = match symbol.kind {
            SymbolKind::ThreadLocal => symbol.value.saturating_add(thread_base),
            SymbolKind::File | SymbolKind::Other => continue,
            SymbolKind::Function | SymbolKind::Object | SymbolKind::Label => symbol.value,
        };
        let size = match &origin {
            Some(origin) if symbol.size == 0 => origin.size,
            _ => symbol.size,
        };
        let Some(start) = address.checked_sub(section.address) else {
            continue;
        };
        claims.entry(place).or_default().push(Claim {
            start,
            end: start.saturating_add(size).min(section.size),
            symbol,
            library: origin.map(|origin| origin.library),
        });
    }
    let mut measured = Measured::default();
    for (place, section) in sections(object) {
        let claims = claims.remove(&place).unwrap_or_default();
        let at = measured.sections.len();
        measured.shares.extend(shares(at, section.size, claims));
        measured.sections.push(section);
    }
    Ok(measured)
}

/// The bytes that a symbol covers.
struct Claim<'f> {
    start: u64,
    end: u64,
    symbol: &'f Symbol<'f>,
    library: Option<&'f str>,
}

/// Attributes every byte of a section to one symbol, or to none.
fn shares(section: usize, size: u64, mut claims: Vec<Claim<'_>>) -> Vec<Share> {
    // Among aliases prefer a global symbol, then one with a size, then any, deterministically.
    claims.sort_by_key(|claim| {
        let symbol = claim.symbol;
        let silent = symbol.size == 0;
        (
            claim.start,
            silent,
            !symbol.global,
            symbol.weak,
            symbol.name,
        )
    });
    let mut shares = Vec::new();
    let mut reached = 0;
    let mut nobodys = 0;
    for claim in claims {
        let start = claim.start.max(reached);
        if claim.end <= start {
            continue;
        }
        nobodys += start - reached;
        reached = claim.end;
        shares.push(Share {
            section,
            size: claim.end - start,
            symbol: Some(Named {
                name: claim.symbol.name.to_owned(),
                kind: claim.symbol.kind,
                library: claim.library.map(ToOwned::to_owned),
            }),
        });
    }
    nobodys += size - reached;
    if nobodys > 0 {
        shares.push(Share {
            section,
            size: nobodys,
            symbol: None,
        });
    }
    shares
}

#[cfg(test)]
mod tests;
