//! Sizes of a kernel by section, library or symbol, and the differences of two kernels.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Measured, Share};
use crate::kernel::object::{Class, SymbolKind};

/// The name for unattributed bytes.
const UNATTRIBUTED: &str = "-";

/// What sizes are summed up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The section.
    Section,
    /// The library.
    Library,
    /// The name of the symbol.
    Symbol,
}

/// The bytes of a library, by type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LibrarySize {
    /// Its name.
    pub name: String,
    /// Code.
    pub text: u64,
    /// Constants.
    pub rodata: u64,
    /// Initialized data.
    pub data: u64,
    /// Data that is zero at the start.
    pub bss: u64,
    /// The sum.
    pub total: u64,
}

/// The bytes of a symbol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SymbolSize {
    /// Its name.
    pub name: String,
    /// Its kind; `None` for unattributed bytes.
    pub kind: Option<SymbolKind>,
    /// Its section.
    pub section: String,
    /// Its library.
    pub library: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A difference between two kernels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SizeChange {
    /// The section, library or symbol.
    pub name: String,
    /// Its size in the first kernel.
    pub before: u64,
    /// Its size in the second kernel.
    pub after: u64,
    /// The difference in bytes.
    pub change: i128,
}

impl Share {
    fn library(&self) -> &str {
        let symbol = self.symbol.as_ref();
        symbol
            .and_then(|symbol| symbol.library.as_deref())
            .unwrap_or(UNATTRIBUTED)
    }
}

impl Measured {
    /// Returns the sizes of the libraries, largest first, and their sum, which is named `total`.
    pub fn libraries(&self) -> (Vec<LibrarySize>, LibrarySize) {
        let named = |name: &str| LibrarySize {
            name: name.to_owned(),
            ..LibrarySize::default()
        };
        let mut rows: BTreeMap<&str, LibrarySize> = BTreeMap::new();
        let mut total = named("total");
        for share in &self.shares {
            let Some(section) = self.sections.get(share.section) else {
                continue;
            };
            let name = share.library();
            let row = rows.entry(name).or_insert_with(|| named(name));
            for row in [row, &mut total] {
                let part = match section.class {
                    Class::Code => &mut row.text,
                    Class::Constants => &mut row.rodata,
                    Class::Data => &mut row.data,
                    Class::Zeros => &mut row.bss,
                };
                // The sizes in a corrupt file may overflow.
                *part = part.saturating_add(share.size);
                row.total = row.total.saturating_add(share.size);
            }
        }
        let mut rows: Vec<LibrarySize> = rows.into_values().collect();
        rows.sort_by_key(|row| Reverse(row.total));
        (rows, total)
    }

    /// Returns the sizes of the symbols, largest first.
    pub fn symbols(&self) -> Vec<SymbolSize> {
        let row = |share: &Share| {
            let section = self.sections.get(share.section);
            let (name, kind) = match &share.symbol {
                Some(named) => (named.name.clone(), Some(named.kind)),
                None => (UNATTRIBUTED.to_owned(), None),
            };
            SymbolSize {
                name,
                kind,
                section: section.map_or_else(String::new, |it| it.section.clone()),
                library: share.library().to_owned(),
                size: share.size,
            }
        };
        let mut rows: Vec<SymbolSize> = self.shares.iter().map(row).collect();
        rows.sort_by(|a, b| (b.size, &a.section, &a.name).cmp(&(a.size, &b.section, &b.name)));
        rows
    }

    /// Returns the sums of the sizes; symbols with the same name are added.
    fn sums(&self, by: By) -> BTreeMap<&str, u64> {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for share in &self.shares {
            let name = match by {
                By::Section => {
                    let section = self.sections.get(share.section);
                    section.map_or(UNATTRIBUTED, |section| section.section.as_str())
                }
                By::Library => share.library(),
                By::Symbol => {
                    let symbol = share.symbol.as_ref();
                    symbol.map_or(UNATTRIBUTED, |symbol| symbol.name.as_str())
                }
            };
            let sum = sums.entry(name).or_default();
            *sum = sum.saturating_add(share.size);
        }
        sums
    }

    /// Returns the differences to another kernel, largest first.
    pub fn changes(&self, after: &Self, by: By) -> Vec<SizeChange> {
        let (before, after) = (self.sums(by), after.sums(by));
        let names: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
        let size = |sizes: &BTreeMap<&str, u64>, name| sizes.get(name).copied().unwrap_or_default();
        let mut rows: Vec<SizeChange> = names
            .into_iter()
            .map(|name| (name, size(&before, name), size(&after, name)))
            .filter(|(_, before, after)| before != after)
            .map(|(name, before, after)| SizeChange {
                name: name.to_owned(),
                before,
                after,
                change: i128::from(after) - i128::from(before),
            })
            .collect();
        rows.sort_by_key(|row| Reverse(row.change.unsigned_abs()));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::size::{Named, SectionSize};

    /// The name and the library of a symbol.
    type Symbol<'a> = (&'a str, Option<&'a str>);

    fn measured(shares: &[(usize, u64, Option<Symbol<'_>>)]) -> Measured {
        let section = |name: &str, class| SectionSize {
            section: name.to_owned(),
            class,
            address: 0,
            size: 0,
            size_in_file: 0,
        };
        Measured {
            sections: vec![
                section(".text", Class::Code),
                section(".rodata", Class::Constants),
                section(".bss", Class::Zeros),
            ],
            shares: shares
                .iter()
                .map(|&(section, size, symbol)| Share {
                    section,
                    size,
                    symbol: symbol.map(|(name, library)| Named {
                        name: name.to_owned(),
                        kind: SymbolKind::Function,
                        library: library.map(str::to_owned),
                    }),
                })
                .collect(),
        }
    }

    #[test]
    fn every_byte_is_counted_once_in_each_listing() {
        let measured = measured(&[
            (0, 10, Some(("f", Some("liba")))),
            (0, 20, Some(("g", Some("libb")))),
            (1, 5, Some(("s", Some("liba")))),
            (2, 4, Some(("z", None))),
            (1, 1, None),
        ]);
        let (rows, total) = measured.libraries();
        let sizes: Vec<(&str, u64)> = rows.iter().map(|it| (&*it.name, it.total)).collect();
        assert_eq!(sizes, [("libb", 20), ("liba", 15), ("-", 5)]);
        assert_eq!(
            (total.text, total.rodata, total.data, total.bss, total.total),
            (30, 6, 0, 4, 40)
        );
        let symbols = measured.symbols();
        let sizes: Vec<(&str, u64)> = symbols.iter().map(|it| (&*it.name, it.size)).collect();
        assert_eq!(sizes, [("g", 20), ("f", 10), ("s", 5), ("z", 4), ("-", 1)]);
        for by in [By::Section, By::Library, By::Symbol] {
            assert_eq!(measured.sums(by).values().sum::<u64>(), 40, "{by:?}");
        }
    }

    #[test]
    fn equal_parts_are_no_changes_and_the_largest_change_is_first() {
        let before = measured(&[(0, 10, Some(("f", Some("liba")))), (1, 5, None)]);
        let after = measured(&[
            (0, 7, Some(("f", Some("liba")))),
            (1, 5, None),
            (0, 100, Some(("g", Some("libb")))),
        ]);
        let changes = |by| -> Vec<(String, i128)> {
            let changes = before.changes(&after, by);
            changes.into_iter().map(|it| (it.name, it.change)).collect()
        };
        assert_eq!(changes(By::Section), [(".text".to_owned(), 97)]);
        let libraries = [("libb".to_owned(), 100), ("liba".to_owned(), -3)];
        assert_eq!(changes(By::Library), libraries);
        assert_eq!(before.changes(&before, By::Symbol), []);
    }

    #[test]
    fn sizes_of_corrupt_files_do_not_overflow() {
        let measured = measured(&[(0, u64::MAX, None), (0, u64::MAX, None)]);
        assert_eq!(measured.libraries().1.total, u64::MAX);
        assert_eq!(measured.sums(By::Symbol)["-"], u64::MAX);
    }
}
