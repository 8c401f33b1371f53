//! How large a kernel is, and why: its sections, its symbols, its libraries.
//!
//! Only what is loaded counts: the sections with an address. Every byte of a section belongs to
//! one symbol, or to none, so the sums are those of the file.

use std::collections::{BTreeMap, HashMap};

use object::{
    Object, ObjectSection, ObjectSymbol, SectionFlags, SectionIndex, SectionKind, SymbolKind,
};
use serde::Serialize;

/// Who has what belongs to nobody: padding between symbols, tables of the linker.
pub const NOBODY: &str = "-";
/// A file may have so many symbols.
const MOST_SYMBOLS: usize = 4_000_000;

/// What a section is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// Code.
    Text,
    /// Data that does not change.
    Rodata,
    /// Data.
    Data,
    /// Zeros, which take no room in the file.
    Bss,
}

/// A section that is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub r#use: Use,
    /// Its size in bytes.
    pub size: u64,
}

/// The bytes that a symbol has for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Symbol {
    /// Its name; [`NOBODY`] for what belongs to none.
    pub name: String,
    /// Its section.
    pub section: String,
    /// What the section is for.
    pub r#use: Use,
    /// Its size in bytes, without what another symbol has already.
    pub size: u64,
    /// The source file, if the file says.
    pub file: Option<String>,
    /// The library it is from, or [`NOBODY`].
    pub library: String,
}

/// The bytes of a library.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Library {
    /// Its name; [`NOBODY`] for what belongs to none.
    pub name: String,
    /// Code, in bytes.
    pub text: u64,
    /// Data that does not change, in bytes.
    pub rodata: u64,
    /// Data, in bytes.
    pub data: u64,
    /// Zeros, in bytes.
    pub bss: u64,
    /// All of it, in bytes.
    pub total: u64,
}

/// All of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// Its sections, in the order of the file.
    pub sections: Vec<Section>,
    /// Its symbols, largest first.
    pub symbols: Vec<Symbol>,
    /// Its libraries, largest first.
    pub libraries: Vec<Library>,
}

/// A file that cannot be measured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no ELF file that can be read: {0}")]
pub struct Unreadable(String);

/// Which library has which symbols: made from the objects that a build left.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    /// Libraries by a symbol's name and size.
    by_symbol: HashMap<(String, u64), Vec<String>>,
}

impl Owners {
    /// Adds the object of a library; what cannot be read owns nothing.
    pub fn add(&mut self, library: &str, object: &[u8]) {
        let Ok(file) = object::File::parse(object) else {
            return;
        };
        for symbol in file.symbols().take(MOST_SYMBOLS) {
            if symbol.size() == 0 || !symbol.is_definition() {
                continue;
            }
            let Ok(name) = symbol.name() else { continue };
            let owners = self
                .by_symbol
                .entry((name.to_owned(), symbol.size()))
                .or_default();
            if !owners.iter().any(|owner| owner == library) {
                owners.push(library.to_owned());
            }
        }
    }

    /// Returns the library of a symbol, if only one has it.
    fn of(&self, name: &str, size: u64) -> &str {
        match self
            .by_symbol
            .get(&(name.to_owned(), size))
            .map(Vec::as_slice)
        {
            Some([only]) => only,
            _ => NOBODY,
        }
    }
}

/// Measures a kernel, from the bytes of its file. One with symbols tells most.
pub fn measure(file: &[u8], owners: &Owners) -> Result<Sizes, Unreadable> {
    let file = object::File::parse(file).map_err(|error| Unreadable(error.to_string()))?;
    let mut sizes = Sizes::default();
    let mut by_section: BTreeMap<usize, Vec<Stretch>> = BTreeMap::new();
    for stretch in stretches(&file, owners) {
        by_section
            .entry(stretch.section.0)
            .or_default()
            .push(stretch);
    }
    for section in file.sections() {
        let Some(r#use) = use_of(&section) else {
            continue;
        };
        let name = section.name().unwrap_or(NOBODY).to_owned();
        let stretches = by_section.remove(&section.index().0).unwrap_or_default();
        let range = (section.address(), section.size());
        sizes
            .symbols
            .extend(share(range, stretches).into_iter().map(|shared| Symbol {
                name: shared.name,
                section: name.clone(),
                r#use,
                size: shared.size,
                file: shared.file,
                library: shared.library,
            }));
        sizes.sections.push(Section {
            name,
            r#use,
            size: section.size(),
        });
    }
    sizes.libraries = by_library(&sizes.symbols);
    sizes
        .symbols
        .sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.name.cmp(&b.name)));
    Ok(sizes)
}

/// Returns what a section is for; `None` if it is not loaded.
fn use_of<'d>(section: &impl ObjectSection<'d>) -> Option<Use> {
    let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
        return None;
    };
    let has = |flag: object::elf::SectionFlags| sh_flags.0 & flag.0 != 0;
    if !has(object::elf::SHF_ALLOC) || section.size() == 0 {
        return None;
    }
    Some(
        if matches!(
            section.kind(),
            SectionKind::UninitializedData | SectionKind::UninitializedTls
        ) {
            Use::Bss
        } else if has(object::elf::SHF_EXECINSTR) {
            Use::Text
        } else if has(object::elf::SHF_WRITE) {
            Use::Data
        } else {
            Use::Rodata
        },
    )
}

/// What a symbol claims.
#[derive(Clone, Debug)]
struct Stretch {
    section: SectionIndex,
    start: u64,
    size: u64,
    name: String,
    file: Option<String>,
    library: String,
}

fn stretches(file: &object::File<'_>, owners: &Owners) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let mut source: Option<String> = None;
    for symbol in file.symbols().take(MOST_SYMBOLS) {
        let name = symbol.name().unwrap_or_default();
        if symbol.kind() == SymbolKind::File {
            // The local symbols behind it are of this file.
            source = Some(name.to_owned()).filter(|name| !name.is_empty());
            continue;
        }
        let Some(section) = symbol.section_index() else {
            continue;
        };
        if symbol.size() == 0 || name.is_empty() {
            continue;
        }
        stretches.push(Stretch {
            section,
            start: symbol.address(),
            size: symbol.size(),
            name: name.to_owned(),
            file: source.clone().filter(|_| symbol.is_local()),
            library: owners.of(name, symbol.size()).to_owned(),
        });
    }
    stretches
}

#[derive(Debug)]
struct Shared {
    name: String,
    size: u64,
    file: Option<String>,
    library: String,
}

/// Gives every byte of a section to one symbol, or to nobody.
fn share((address, size): (u64, u64), mut stretches: Vec<Stretch>) -> Vec<Shared> {
    stretches.sort_by(|a, b| a.start.cmp(&b.start).then(b.size.cmp(&a.size)));
    let end = address.saturating_add(size);
    let mut at = address;
    let mut shared = Vec::new();
    let mut nobody = 0;
    for stretch in stretches {
        let stop = stretch.start.saturating_add(stretch.size).min(end);
        let start = stretch.start.max(at);
        if stop <= start {
            continue;
        }
        nobody += start - at;
        at = stop;
        shared.push(Shared {
            name: stretch.name,
            size: stop - start,
            file: stretch.file,
            library: stretch.library,
        });
    }
    nobody += end.saturating_sub(at);
    if nobody > 0 {
        shared.push(Shared {
            name: NOBODY.to_owned(),
            size: nobody,
            file: None,
            library: NOBODY.to_owned(),
        });
    }
    shared
}

fn by_library(symbols: &[Symbol]) -> Vec<Library> {
    let mut libraries: BTreeMap<&str, Library> = BTreeMap::new();
    for symbol in symbols {
        let library = libraries.entry(&symbol.library).or_default();
        *match symbol.r#use {
            Use::Text => &mut library.text,
            Use::Rodata => &mut library.rodata,
            Use::Data => &mut library.data,
            Use::Bss => &mut library.bss,
        } += symbol.size;
        library.total += symbol.size;
    }
    let mut libraries: Vec<Library> = libraries
        .into_iter()
        .map(|(name, library)| Library {
            name: name.to_owned(),
            ..library
        })
        .collect();
    libraries.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.name.cmp(&b.name)));
    libraries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(start: u64, size: u64, name: &str) -> Stretch {
        Stretch {
            section: SectionIndex(1),
            start,
            size,
            name: name.to_owned(),
            file: None,
            library: NOBODY.to_owned(),
        }
    }

    #[test]
    fn every_byte_belongs_to_one_symbol_or_to_nobody() {
        let shared = share(
            (100, 50),
            vec![
                stretch(100, 10, "a"),
                stretch(100, 10, "alias"),
                stretch(105, 10, "overlaps"),
                stretch(120, 1000, "too long"),
                stretch(10, 5, "elsewhere"),
            ],
        );
        let all: Vec<(&str, u64)> = shared.iter().map(|s| (s.name.as_str(), s.size)).collect();
        assert_eq!(
            all,
            [("a", 10), ("overlaps", 5), ("too long", 30), (NOBODY, 5)]
        );
        assert_eq!(shared.iter().map(|s| s.size).sum::<u64>(), 50);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(measure(b"\x7fELF nonsense", &Owners::default()).is_err());
    }
}
