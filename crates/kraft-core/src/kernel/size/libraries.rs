//! Maps symbols of a kernel to libraries, using the object files that the kernel was linked from.
//!
//! Unikraft links each library into one object (`libukboot.o`) and these into the kernel. A global
//! symbol has one definition. Local names repeat, but the linker keeps their order: those of a
//! source file follow the symbol with its name, and those of a library are adjacent. So the local
//! symbols of one file are looked up together, and where several libraries match, the neighbours
//! decide. Ambiguous symbols are assigned to no library.

use std::collections::{BTreeMap, BTreeSet};

use super::super::object::{Home, Object, ObjectError, Symbol, SymbolKind};

/// The symbols defined by libraries.
#[derive(Clone, Debug, Default)]
pub struct Libraries {
    names: Vec<String>,
    globals: BTreeMap<String, Vec<Definition>>,
    /// Local symbols by source file and name.
    locals: BTreeMap<(String, String), Vec<Definition>>,
}

#[derive(Clone, Copy, Debug)]
struct Definition {
    library: usize,
    /// Size in bytes; for assembly labels, up to the next symbol.
    size: u64,
    /// Whether the symbol itself has a size.
    sized: bool,
    weak: bool,
}

/// The origin of a symbol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'l> {
    pub(super) library: &'l str,
    /// Size in the library, in bytes.
    pub(super) size: u64,
}

impl Libraries {
    /// Adds the object file of a library.
    ///
    /// # Errors
    /// Its symbols cannot be read.
    pub fn add(&mut self, name: &str, object: &Object<'_>) -> Result<(), ObjectError> {
        let symbols = object.symbols()?;
        let extents = Extents::of(object, &symbols);
        let library = self.names.len();
        self.names.push(name.to_owned());
        let mut file = "";
        for symbol in &symbols {
            if symbol.kind == SymbolKind::File {
                file = symbol.name;
            }
            if !names_something(symbol) || symbol.home == Home::Elsewhere {
                continue;
            }
            let definition = Definition {
                library,
                size: extents.size(symbol),
                sized: symbol.size > 0,
                weak: symbol.weak,
            };
            if symbol.global {
                let same = self.globals.entry(symbol.name.to_owned()).or_default();
                same.push(definition);
            } else {
                let key = (file.to_owned(), symbol.name.to_owned());
                self.locals.entry(key).or_default().push(definition);
            }
        }
        Ok(())
    }

    /// Returns whether no library was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns the origin of each symbol of a kernel.
    pub(super) fn origins(&self, symbols: &[Symbol<'_>]) -> Vec<Option<Origin<'_>>> {
        let runs = self.runs(symbols);
        let mut origins = Vec::with_capacity(symbols.len());
        for run in runs {
            for symbol in run.symbols {
                origins.push(self.origin(symbol, run.file, run.library));
            }
        }
        origins
    }

    fn origin(
        &self,
        symbol: &Symbol<'_>,
        file: &str,
        library: Option<usize>,
    ) -> Option<Origin<'_>> {
        if !names_something(symbol) {
            return None;
        }
        let definition = if symbol.global {
            self.global(symbol)?
        } else {
            let key = (file.to_owned(), symbol.name.to_owned());
            let mut of_library = self.locals.get(&key)?.iter().filter(|definition| {
                Some(definition.library) == library && definition.fits(symbol)
            });
            let first = *of_library.next()?;
            // Labels with the same name and different sizes: the size is ambiguous.
            let size = if of_library.all(|other| other.size == first.size) {
                first.size
            } else {
                symbol.size
            };
            Definition { size, ..first }
        };
        Some(Origin {
            library: self.names.get(definition.library)?,
            size: definition.size,
        })
    }

    /// Returns the only definition of a global symbol, or the only one that is not weak.
    fn global(&self, symbol: &Symbol<'_>) -> Option<Definition> {
        let all = self.globals.get(symbol.name)?;
        let strong: Vec<&Definition> = all.iter().filter(|definition| !definition.weak).collect();
        match (strong.as_slice(), all.as_slice()) {
            ([one], _) => Some(**one),
            ([], [one]) => Some(*one),
            _ => None,
        }
    }

    /// Splits the symbols of a kernel at source file names, and finds the library of each run.
    fn runs<'s, 'f>(&self, symbols: &'s [Symbol<'f>]) -> Vec<Run<'s, 'f>> {
        let mut runs: Vec<Run<'s, 'f>> = symbols
            .chunk_by(|_, next| next.kind != SymbolKind::File)
            .map(|symbols| {
                let file = symbols
                    .first()
                    .filter(|first| first.kind == SymbolKind::File);
                Run {
                    file: file.map_or("", |file| file.name),
                    symbols,
                    library: None,
                }
            })
            .collect();
        let candidates: Vec<BTreeSet<usize>> =
            runs.iter().map(|run| self.candidates(run)).collect();
        for (run, candidates) in runs.iter_mut().zip(&candidates) {
            run.library = only(candidates);
        }
        let sure: Vec<Option<usize>> = runs.iter().map(|run| run.library).collect();
        for (at, candidates) in candidates.iter().enumerate() {
            if candidates.len() < 2 {
                continue;
            }
            let (before, after) = sure.split_at(at);
            let before = before.iter().rev().find_map(|library| *library);
            let after = after.iter().find_map(|library| *library);
            let neighbours: BTreeSet<usize> = [before, after].into_iter().flatten().collect();
            let near = candidates.intersection(&neighbours).copied().collect();
            if let Some(run) = runs.get_mut(at) {
                run.library = only(&near);
            }
        }
        runs
    }

    /// Returns the libraries that contain all local symbols of a run.
    fn candidates(&self, run: &Run<'_, '_>) -> BTreeSet<usize> {
        let mut fitting: Option<BTreeSet<usize>> = None;
        for symbol in run.symbols {
            if symbol.global || !names_something(symbol) {
                continue;
            }
            let key = (run.file.to_owned(), symbol.name.to_owned());
            let definitions = self.locals.get(&key).map(Vec::as_slice).unwrap_or_default();
            let here: BTreeSet<usize> = definitions
                .iter()
                .filter(|definition| definition.fits(symbol))
                .map(|definition| definition.library)
                .collect();
            // Symbols generated by the linker are in no library, and do not exclude candidates.
            if here.is_empty() {
                continue;
            }
            fitting = Some(match fitting {
                Some(others) => others.intersection(&here).copied().collect(),
                None => here,
            });
        }
        fitting.unwrap_or_default()
    }
}

impl Definition {
    /// Returns whether this definition matches: a symbol with a size has the same size in the
    /// kernel.
    fn fits(&self, symbol: &Symbol<'_>) -> bool {
        self.sized == (symbol.size > 0) && (!self.sized || self.size == symbol.size)
    }
}

/// Symbols of a kernel after the name of a source file.
struct Run<'s, 'f> {
    file: &'f str,
    symbols: &'s [Symbol<'f>],
    library: Option<usize>,
}

fn only(set: &BTreeSet<usize>) -> Option<usize> {
    let mut members = set.iter();
    let one = members.next();
    one.filter(|_| members.next().is_none()).copied()
}

fn names_something(symbol: &Symbol<'_>) -> bool {
    !matches!(symbol.kind, SymbolKind::File | SymbolKind::Other) && !symbol.name.is_empty()
}

/// Sizes of symbols without a size, as is usual in assembly.
///
/// Such a symbol extends to the next one of its section in the same library, or to the end of the
/// section, so it never includes bytes of another library.
struct Extents<'o, 'f> {
    object: &'o Object<'f>,
    /// Offsets of symbols, by section.
    places: BTreeMap<usize, BTreeSet<u64>>,
}

impl<'o, 'f> Extents<'o, 'f> {
    fn of(object: &'o Object<'f>, symbols: &[Symbol<'f>]) -> Self {
        let mut places: BTreeMap<usize, BTreeSet<u64>> = BTreeMap::new();
        for symbol in symbols {
            if let Home::Section(section) = symbol.home
                && names_something(symbol)
            {
                places.entry(section).or_default().insert(symbol.value);
            }
        }
        Self { object, places }
    }

    fn size(&self, symbol: &Symbol<'_>) -> u64 {
        let Home::Section(place) = symbol.home else {
            return symbol.size;
        };
        let Some(section) = self.object.sections().get(place) else {
            return symbol.size;
        };
        // The linker moves the contents of merged sections.
        if symbol.size > 0 || section.is_merged() {
            return symbol.size;
        }
        let after = symbol.value.saturating_add(1);
        let next = self
            .places
            .get(&place)
            .and_then(|places| places.range(after..).next());
        let end = next.copied().unwrap_or(section.size);
        end.saturating_sub(symbol.value)
    }
}
