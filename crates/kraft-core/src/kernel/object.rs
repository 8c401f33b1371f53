//! Reads sections and symbols of ELF files: kernels and object files.
//!
//! Layouts are those of the System V ABI, "Object Files", for little-endian files of both widths.
//! The content is untrusted: each read is checked, tables are bounded, and offsets outside of the
//! file are reported as errors.

use super::elf::number;
use crate::arch::Arch;

/// Maximum number of sections; more than real files have, even with one section per function.
const MOST_SECTIONS: u64 = 1 << 17;

/// Maximum number of symbols; more than the largest kernels have.
const MOST_SYMBOLS: u64 = 1 << 20;

/// Maximum length of a name, in bytes: many entries may point into one huge string.
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
    /// It does not begin with the ELF magic number.
    #[error("it is not an ELF file")]
    NotElf,
    /// It is big-endian or has an unknown width.
    #[error("it is an ELF file with an unsupported layout")]
    Layout,
    /// It has no section table.
    #[error("it is an ELF file without sections")]
    NoSections,
    /// A table exceeds the file.
    #[error("it is a damaged ELF file: {0} lies outside of it")]
    Outside(&'static str),
    /// A table exceeds the limits.
    #[error("it is a damaged ELF file: it claims {1} {0}")]
    TooMany(&'static str, u64),
}

/// The kind of memory that a section occupies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum Class {
    /// Instructions.
    #[serde(rename = "text")]
    Code,
    /// Read-only data.
    #[serde(rename = "rodata")]
    Constants,
    /// Initialised data.
    #[serde(rename = "data")]
    Data,
    /// Zero-initialised data, which occupies no space in the file.
    #[serde(rename = "bss")]
    Zeros,
}

/// One section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section<'f> {
    /// Its name; empty if it is not UTF-8.
    pub name: &'f str,
    /// Its address in memory.
    pub address: u64,
    /// Its offset in the file.
    pub offset: u64,
    /// Its size in bytes.
    pub size: u64,
    kind: u64,
    flags: u64,
    link: u64,
    entry_size: u64,
}

impl Section<'_> {
    /// Returns the kind of memory it occupies; `None` if it is not loaded.
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

    /// Returns the number of bytes it occupies in the file.
    #[must_use]
    pub fn size_in_file(&self) -> u64 {
        if self.kind == SHT_NOBITS {
            0
        } else {
            self.size
        }
    }

    /// Returns whether the linker merges equal contents in it.
    pub(super) fn is_merged(&self) -> bool {
        self.flags & SHF_MERGE != 0
    }

    /// Returns whether it is thread-local.
    pub(super) fn is_per_thread(&self) -> bool {
        self.flags & SHF_TLS != 0
    }
}

/// The type of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SymbolKind {
    /// A function.
    Function,
    /// A variable.
    Object,
    /// A thread-local variable; its value is relative to the first such section.
    ThreadLocal,
    /// A label from assembly or from the linker.
    Label,
    /// The source file of the local symbols that follow.
    File,
    /// A section, or a type that kernels do not use.
    Other,
}

/// The location of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In another file.
    Elsewhere,
    /// In the section with this index.
    Section(usize),
    /// Common: allocated by the linker.
    Common,
    /// Absolute: the value is a number.
    Nowhere,
}

/// One symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'f> {
    /// Its name; empty if it is not UTF-8.
    pub name: &'f str,
    /// Its address; in object files its offset in the section.
    pub value: u64,
    /// Its size in bytes; 0 if unknown.
    pub size: u64,
    /// Its type.
    pub kind: SymbolKind,
    /// Whether it is visible in other files.
    pub global: bool,
    /// Whether another definition may replace it.
    pub weak: bool,
    /// Its location.
    pub home: Home,
}

/// A parsed ELF file.
#[derive(Clone, Debug)]
pub struct Object<'f> {
    bytes: &'f [u8],
    wide: bool,
    machine: u64,
    sections: Vec<Section<'f>>,
}

impl<'f> Object<'f> {
    /// Parses the section table of a file.
    ///
    /// # Errors
    /// The file is not an ELF file, or its section table is outside of the file.
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
        // Counts that exceed 16 bits are in the first entry.
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
            // Until names are resolved, `name_at` is the offset of the name.
            section.section.name = text(names, section.name_at);
            object.sections.push(section.section);
        }
        Ok(object)
    }

    /// Returns its processor architecture; `None` if it is not supported.
    #[must_use]
    pub fn arch(&self) -> Option<Arch> {
        match self.machine {
            super::elf::EM_386 | super::elf::EM_X86_64 => Some(Arch::X86_64),
            super::elf::EM_AARCH64 => Some(Arch::Arm64),
            _ => None,
        }
    }

    /// Returns all sections, in the order of the table.
    #[must_use]
    pub fn sections(&self) -> &[Section<'f>] {
        &self.sections
    }

    /// Returns a section by name.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section<'f>> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Returns the content of a section; empty for zero-initialised data.
    ///
    /// # Errors
    /// They are outside of the file.
    pub fn contents(&self, section: &Section<'f>) -> Result<&'f [u8], ObjectError> {
        if section.kind == SHT_NOBITS {
            return Ok(&[]);
        }
        slice(self.bytes, section.offset, section.size).ok_or(ObjectError::Outside("a section"))
    }

    /// Returns the symbols in the order of the table; none if the file was stripped.
    ///
    /// # Errors
    /// The table is outside of the file, or exceeds the limits.
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
                // Other reserved indices; linked kernels do not have that number of sections.
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

/// A section table entry whose name is not resolved yet.
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

/// Returns the zero-terminated string at an offset, truncated to the maximum length.
fn text(names: &[u8], at: u64) -> &str {
    let rest = usize::try_from(at).ok().and_then(|at| names.get(at..));
    let rest = rest.unwrap_or_default();
    let rest = rest.get(..LONGEST_NAME).unwrap_or(rest);
    let bytes = rest.split(|&byte| byte == 0).next();
    std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
}
