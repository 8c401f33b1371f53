//! ELF files as tables: every section, and every symbol, of a kernel or an object file.
//!
//! Layouts are those of the System V ABI, "Object Files", for little-endian files of both widths.
//! The bytes are a stranger's: each read is checked, tables are bounded, and what lies outside the
//! file is an error that names it.

use super::elf::number;
use crate::arch::Arch;

/// More sections than any real file has, also with one per function.
const MOST_SECTIONS: u64 = 1 << 17;

/// More symbols than the largest kernels have.
const MOST_SYMBOLS: u64 = 1 << 20;

/// Names are read up to so many bytes: many entries may lead into one endless text.
const LONGEST_NAME: usize = 1024;

const SHT_SYMTAB: u64 = 2;
const SHT_NOBITS: u64 = 8;
const SHF_WRITE: u64 = 1;
const SHF_ALLOC: u64 = 1 << 1;
const SHF_EXECINSTR: u64 = 1 << 2;
const SHF_MERGE: u64 = 1 << 4;
const SHF_TLS: u64 = 1 << 10;

/// Why a file cannot be read as ELF.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// It does not begin as ELF files do.
    #[error("it is no ELF file")]
    NotElf,
    /// A big-endian file, or of an unknown width.
    #[error("it is an ELF file of a layout that no kernel here has")]
    Layout,
    /// It has no section table.
    #[error("it is an ELF file without sections")]
    NoSections,
    /// A table says that there is more than the file has.
    #[error("it is a damaged ELF file: {0} lies outside of it")]
    Outside(&'static str),
    /// A table is larger than any real one.
    #[error("it is a damaged ELF file: it claims {1} {0}")]
    TooMany(&'static str, u64),
}

/// What a section is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum Class {
    /// Instructions.
    #[serde(rename = "text")]
    Code,
    /// Data that is never written.
    #[serde(rename = "rodata")]
    Constants,
    /// Data with values of its own.
    #[serde(rename = "data")]
    Data,
    /// Data that begins as zeros and takes no room in the file.
    #[serde(rename = "bss")]
    Zeros,
}

/// One section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section<'f> {
    /// Its name; bytes that are no UTF-8 make it an empty one.
    pub name: &'f str,
    /// Where it is in memory.
    pub address: u64,
    /// Where its bytes are in the file.
    pub offset: u64,
    /// Its size in bytes.
    pub size: u64,
    kind: u64,
    flags: u64,
    link: u64,
    entry_size: u64,
}

impl Section<'_> {
    /// Returns what the section is in memory; `None` if it is in the file only.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        if self.flags & SHF_ALLOC == 0 {
            return None;
        }
        Some(if self.flags & SHF_EXECINSTR != 0 {
            Class::Code
        } else if self.kind == SHT_NOBITS {
            Class::Zeros
        } else if self.flags & SHF_WRITE != 0 {
            Class::Data
        } else {
            Class::Constants
        })
    }

    /// Returns how many bytes of the file it takes.
    #[must_use]
    pub fn size_in_file(&self) -> u64 {
        if self.kind == SHT_NOBITS {
            0
        } else {
            self.size
        }
    }

    /// Returns whether the linker folds equal contents of it into one.
    pub(super) fn is_merged(&self) -> bool {
        self.flags & SHF_MERGE != 0
    }

    /// Returns whether every thread has its own.
    pub(super) fn is_per_thread(&self) -> bool {
        self.flags & SHF_TLS != 0
    }
}

/// What a symbol names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SymbolKind {
    /// A function.
    Function,
    /// A variable.
    Object,
    /// A variable of every thread; its value counts from the first such section.
    ThreadLocal,
    /// A place: of assembly, or of the linker.
    Label,
    /// The source file of the local symbols that follow.
    File,
    /// A section, or something that no kernel has.
    Other,
}

/// Where a symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In another file.
    Elsewhere,
    /// In the section of this place in the table.
    Section(usize),
    /// Room that the linker makes.
    Common,
    /// Nowhere: the value is a number.
    Nowhere,
}

/// One symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'f> {
    /// Its name; bytes that are no UTF-8 make it an empty one.
    pub name: &'f str,
    /// Its address; in object files its place in the section.
    pub value: u64,
    /// Its size in bytes; 0 if nobody said.
    pub size: u64,
    /// What it names.
    pub kind: SymbolKind,
    /// Whether other files see it.
    pub global: bool,
    /// Whether another of its name may take its place.
    pub weak: bool,
    /// Where it is.
    pub home: Home,
}

/// An ELF file, its tables found.
#[derive(Clone, Debug)]
pub struct Object<'f> {
    bytes: &'f [u8],
    wide: bool,
    machine: u64,
    sections: Vec<Section<'f>>,
}

impl<'f> Object<'f> {
    /// Reads the section table of a whole file.
    ///
    /// # Errors
    /// The file is no ELF file, or its section table is not in it.
    pub fn parse(bytes: &'f [u8]) -> Result<Self, ObjectError> {
        if !bytes.starts_with(b"\x7fELF") {
            return Err(ObjectError::NotElf);
        }
        let wide = match (bytes.get(4), bytes.get(5)) {
            (Some(1), Some(1)) => false,
            (Some(2), Some(1)) => true,
            _ => return Err(ObjectError::Layout),
        };
        let field = |narrow, broad| {
            let (at, size) = if wide { broad } else { narrow };
            number(bytes, at, size).ok_or(ObjectError::Outside("its header"))
        };
        let mut object = Self {
            bytes,
            wide,
            machine: field((18, 2), (18, 2))?,
            sections: Vec::new(),
        };
        let table = field((0x20, 4), (0x28, 8))?;
        if table == 0 {
            return Err(ObjectError::NoSections);
        }
        // Counts that do not fit 16 bits are kept in the first entry.
        let first = object.entry(table, 0)?;
        let count = match field((0x30, 2), (0x3c, 2))? {
            0 => first.size,
            count => count,
        };
        let names = match field((0x32, 2), (0x3e, 2))? {
            0xffff => first.link,
            index => index,
        };
        if count > MOST_SECTIONS {
            return Err(ObjectError::TooMany("sections", count));
        }
        let names = object.entry(table, names)?;
        let names = object.contents(&names)?;
        for index in 0..count {
            let mut section = object.entry(table, index)?;
            // Until its name is known, an entry keeps where the name is in `name_at`.
            section.section.name = text(names, section.name_at);
            object.sections.push(section.section);
        }
        Ok(object)
    }

    /// Returns the processor it is for; `None` if kernels are not built for it.
    #[must_use]
    pub fn arch(&self) -> Option<Arch> {
        match self.machine {
            super::elf::EM_386 | super::elf::EM_X86_64 => Some(Arch::X86_64),
            super::elf::EM_AARCH64 => Some(Arch::Arm64),
            _ => None,
        }
    }

    /// Returns every section, by its place in the table.
    #[must_use]
    pub fn sections(&self) -> &[Section<'f>] {
        &self.sections
    }

    /// Returns the section of a name.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section<'f>> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Returns the bytes of a section; none for one of zeros.
    ///
    /// # Errors
    /// They are not in the file.
    pub fn contents(&self, section: &Section<'f>) -> Result<&'f [u8], ObjectError> {
        if section.kind == SHT_NOBITS {
            return Ok(&[]);
        }
        slice(self.bytes, section.offset, section.size).ok_or(ObjectError::Outside("a section"))
    }

    /// Returns the symbols in the order of the table; none if the file was stripped of them.
    ///
    /// # Errors
    /// The table is not in the file, or larger than any real one.
    pub fn symbols(&self) -> Result<Vec<Symbol<'f>>, ObjectError> {
        let Some(table) = self.sections.iter().find(|s| s.kind == SHT_SYMTAB) else {
            return Ok(Vec::new());
        };
        let size = if self.wide { 24 } else { 16 };
        if table.entry_size != size {
            return Err(ObjectError::Outside("its symbol table"));
        }
        let count = table.size / size;
        if count > MOST_SYMBOLS {
            return Err(ObjectError::TooMany("symbols", count));
        }
        let entries = self.contents(table)?;
        let names = usize::try_from(table.link)
            .ok()
            .and_then(|link| self.sections.get(link))
            .ok_or(ObjectError::Outside("the names of its symbols"))?;
        let names = self.contents(names)?;
        let entries = entries.chunks_exact(if self.wide { 24 } else { 16 });
        Ok(entries
            .filter_map(|entry| self.symbol(entry, names))
            .collect())
    }

    fn symbol(&self, entry: &[u8], names: &'f [u8]) -> Option<Symbol<'f>> {
        let [info, home, value, size] = if self.wide {
            [(4, 1), (6, 2), (8, 8), (16, 8)]
        } else {
            [(12, 1), (14, 2), (4, 4), (8, 4)]
        };
        let field = |(at, size)| number(entry, at, size);
        let info = field(info)?;
        Some(Symbol {
            name: text(names, field((0, 4))?),
            value: field(value)?,
            size: field(size)?,
            kind: match info & 0xf {
                0 => SymbolKind::Label,
                1 => SymbolKind::Object,
                2 => SymbolKind::Function,
                4 => SymbolKind::File,
                6 => SymbolKind::ThreadLocal,
                _ => SymbolKind::Other,
            },
            global: info >> 4 != 0,
            weak: info >> 4 == 2,
            home: match field(home)? {
                0 => Home::Elsewhere,
                0xfff2 => Home::Common,
                // Other reserved numbers; files with so many sections are not linked kernels.
                index if index >= 0xff00 => Home::Nowhere,
                index => Home::Section(usize::try_from(index).ok()?),
            },
        })
    }

    fn entry(&self, table: u64, index: u64) -> Result<Entry<'f>, ObjectError> {
        let size: u64 = if self.wide { 64 } else { 40 };
        let outside = ObjectError::Outside("its section table");
        let bytes = index
            .checked_mul(size)
            .and_then(|offset| offset.checked_add(table))
            .and_then(|at| slice(self.bytes, at, size))
            .ok_or(outside.clone())?;
        let field = |narrow, broad| {
            let (at, size) = if self.wide { broad } else { narrow };
            number(bytes, at, size).ok_or(outside.clone())
        };
        Ok(Entry {
            name_at: field((0, 4), (0, 4))?,
            section: Section {
                name: "",
                kind: field((4, 4), (4, 4))?,
                flags: field((8, 4), (8, 8))?,
                address: field((12, 4), (0x10, 8))?,
                offset: field((16, 4), (0x18, 8))?,
                size: field((20, 4), (0x20, 8))?,
                link: field((24, 4), (0x28, 4))?,
                entry_size: field((36, 4), (0x38, 8))?,
            },
        })
    }
}

/// An entry of the section table whose name has not been looked up yet.
struct Entry<'f> {
    name_at: u64,
    section: Section<'f>,
}

impl<'f> std::ops::Deref for Entry<'f> {
    type Target = Section<'f>;

    fn deref(&self) -> &Self::Target {
        &self.section
    }
}

fn slice(bytes: &[u8], at: u64, size: u64) -> Option<&[u8]> {
    let end = usize::try_from(at.checked_add(size)?).ok()?;
    bytes.get(usize::try_from(at).ok()?..end)
}

/// Returns the text that begins at a place and ends before a zero; of a longer one than names are,
/// its beginning.
fn text(names: &[u8], at: u64) -> &str {
    let rest = usize::try_from(at).ok().and_then(|at| names.get(at..));
    let rest = rest.unwrap_or_default();
    let rest = rest.get(..LONGEST_NAME).unwrap_or(rest);
    let bytes = rest.split(|&byte| byte == 0).next();
    std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
}
