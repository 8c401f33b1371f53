use super::*;

/// A section of a generated file: name, address, size, and whether it is writable.
type TestSection = (&'static str, u64, u64, bool);

/// A symbol: name, value, size, info (binding and type), section.
type TestSymbol = (&'static str, u64, u64, u8, u16);

const LOCAL_LABEL: u8 = 0;
const LOCAL_OBJECT: u8 = 1;
const LOCAL_FUNCTION: u8 = 2;
const FILE: u8 = 4;
const GLOBAL_LABEL: u8 = 0x10;
const GLOBAL_FUNCTION: u8 = 0x12;
const WEAK_FUNCTION: u8 = 0x22;
const ABSOLUTE: u16 = 0xfff1;

/// Returns a 64-bit ELF file with these sections (numbered from 1), filled with zeros, and symbols.
fn elf(sections: &[TestSection], symbols: &[TestSymbol]) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes.splice(0..6, *b"\x7fELF\x02\x01");
    bytes[18] = 62;
    let mut names = vec![0];
    let mut name = |text: &str| {
        let at = u32::try_from(names.len()).unwrap();
        names.extend(text.as_bytes());
        names.push(0);
        at
    };
    let mut table = vec![0; 64];
    let mut entry = |name: u32,
                     kind: u32,
                     flags: u64,
                     address: u64,
                     offset: u64,
                     size: u64,
                     link: u32,
                     each: u64| {
        table.extend(name.to_le_bytes());
        table.extend(kind.to_le_bytes());
        for word in [flags, address, offset, size] {
            table.extend(word.to_le_bytes());
        }
        table.extend(link.to_le_bytes());
        table.extend([0; 12]);
        table.extend(each.to_le_bytes());
    };
    for (title, address, size, written) in sections {
        let flags = if *written { 3 } else { 6 };
        entry(name(title), 8, flags, *address, 64, *size, 0, 0);
    }
    let mut symtab = vec![0; 24];
    for (title, value, size, info, section) in symbols {
        symtab.extend(name(title).to_le_bytes());
        symtab.extend([*info, 0]);
        symtab.extend(section.to_le_bytes());
        symtab.extend(value.to_le_bytes());
        symtab.extend(size.to_le_bytes());
    }
    let strings = u8::try_from(sections.len()).unwrap() + 2;
    let symtab_name = name(".symtab");
    let names_name = name(".strtab");
    entry(
        symtab_name,
        2,
        0,
        0,
        64,
        symtab.len() as u64,
        strings.into(),
        24,
    );
    entry(
        names_name,
        3,
        0,
        0,
        64 + symtab.len() as u64,
        names.len() as u64,
        0,
        0,
    );
    bytes.extend(symtab);
    bytes.extend(names);
    let at = bytes.len() as u64;
    bytes.splice(0x28..0x30, at.to_le_bytes());
    bytes.splice(0x3c..0x40, [strings + 1, 0, strings, 0]);
    bytes.extend(table);
    bytes
}

fn shares_of(bytes: &[u8], libraries: &Libraries) -> Vec<(String, u64, String)> {
    let object = Object::parse(bytes).unwrap();
    let measured = measure(&object, libraries).unwrap();
    for (at, section) in measured.sections.iter().enumerate() {
        let own = measured.shares.iter().filter(|share| share.section == at);
        assert_eq!(own.map(|share| share.size).sum::<u64>(), section.size);
    }
    let shares = measured.shares.into_iter().map(|share| {
        let (name, library) = match share.symbol {
            Some(symbol) => (symbol.name, symbol.library.unwrap_or_default()),
            None => ("-".to_owned(), String::new()),
        };
        (name, share.size, library)
    });
    shares.collect()
}

fn share(name: &str, size: u64, library: &str) -> (String, u64, String) {
    (name.to_owned(), size, library.to_owned())
}

fn library(
    libraries: &mut Libraries,
    name: &str,
    sections: &[TestSection],
    symbols: &[TestSymbol],
) {
    let bytes = elf(sections, symbols);
    libraries
        .add(name, &Object::parse(&bytes).unwrap())
        .unwrap();
}

#[test]
fn every_byte_is_counted_once_and_gaps_have_no_symbol() {
    let kernel = elf(
        &[(".text", 0x1000, 100, false), (".data", 0x2000, 8, true)],
        &[
            ("alias", 0x1010, 16, WEAK_FUNCTION, 1),
            ("first", 0x1010, 16, GLOBAL_FUNCTION, 1),
            ("inside", 0x1014, 4, LOCAL_FUNCTION, 1),
            ("overlapping", 0x1018, 16, LOCAL_FUNCTION, 1),
            ("beyond", 0x1060, 4096, GLOBAL_FUNCTION, 1),
            ("before", 0x10, 4096, GLOBAL_FUNCTION, 1),
            ("nowhere", 0x1000, 10, GLOBAL_FUNCTION, ABSOLUTE),
            ("no such section", 0x1000, 10, GLOBAL_FUNCTION, 77),
            ("endless", 0x2004, u64::MAX, LOCAL_OBJECT, 2),
        ],
    );
    assert_eq!(
        shares_of(&kernel, &Libraries::default()),
        [
            share("first", 16, ""),
            share("overlapping", 8, ""),
            share("beyond", 4, ""),
            share("-", 72, ""),
            share("endless", 4, ""),
            share("-", 4, ""),
        ]
    );
}

#[test]
fn global_symbols_are_of_the_library_that_defines_them() {
    let mut libraries = Libraries::default();
    let text = [(".text", 0, 64, false)];
    library(
        &mut libraries,
        "liba",
        &text,
        &[
            ("go", 0, 8, GLOBAL_FUNCTION, 1),
            ("hook", 8, 8, WEAK_FUNCTION, 1),
        ],
    );
    library(
        &mut libraries,
        "libb",
        &text,
        &[
            ("hook", 0, 12, GLOBAL_FUNCTION, 1),
            ("go", 0, 0, GLOBAL_LABEL, 0),
        ],
    );
    let kernel = elf(
        &[(".text", 0x1000, 32, false)],
        &[
            ("go", 0x1000, 8, GLOBAL_FUNCTION, 1),
            ("hook", 0x1008, 12, GLOBAL_FUNCTION, 1),
            ("_end", 0x1014, 0, GLOBAL_LABEL, 1),
        ],
    );
    assert_eq!(
        shares_of(&kernel, &libraries),
        [
            share("go", 8, "liba"),
            share("hook", 12, "libb"),
            share("-", 12, "")
        ]
    );
}

#[test]
fn local_symbols_are_mapped_by_files_and_neighbours() {
    let mut libraries = Libraries::default();
    let text = [(".text", 0, 64, false)];
    let util = [
        ("util.c", 0, 0, FILE, ABSOLUTE),
        ("help", 0, 8, LOCAL_FUNCTION, 1),
    ];
    let with = |last: TestSymbol| [util[0], util[1], ("own.c", 0, 0, FILE, ABSOLUTE), last];
    library(
        &mut libraries,
        "liba",
        &text,
        &with(("of_a", 8, 8, LOCAL_FUNCTION, 1)),
    );
    library(
        &mut libraries,
        "libb",
        &text,
        &with(("of_b", 8, 8, LOCAL_FUNCTION, 1)),
    );
    let kernel = |symbols: &[TestSymbol]| elf(&[(".text", 0x1000, 32, false)], symbols);
    let file = |name| (name, 0, 0, FILE, ABSOLUTE);
    let function = |name, at: u64| (name, 0x1000 + at, 8, LOCAL_FUNCTION, 1);

    // Between two symbols of the same library it is that library's.
    let clear = kernel(&[
        file("own.c"),
        function("of_a", 0),
        file("util.c"),
        function("help", 8),
        file("own.c"),
        function("of_a", 16),
    ]);
    assert_eq!(shares_of(&clear, &libraries)[1], share("help", 8, "liba"));

    // Between two different libraries it is ambiguous.
    let open = kernel(&[
        file("own.c"),
        function("of_a", 0),
        file("util.c"),
        function("help", 8),
        file("own.c"),
        function("of_b", 16),
    ]);
    assert_eq!(shares_of(&open, &libraries)[1], share("help", 8, ""));

    // With another size it belongs to neither.
    let other = kernel(&[file("util.c"), ("help", 0x1000, 9, LOCAL_FUNCTION, 1)]);
    assert_eq!(shares_of(&other, &libraries)[0], share("help", 9, ""));
}

#[test]
fn labels_extend_to_the_next_symbol_of_their_library() {
    let mut libraries = Libraries::default();
    library(
        &mut libraries,
        "liba",
        &[(".text", 0, 24, false)],
        &[
            ("boot.S", 0, 0, FILE, ABSOLUTE),
            ("gate", 0, 0, LOCAL_LABEL, 1),
            ("table", 16, 0, LOCAL_LABEL, 1),
            ("after", 16, 0, GLOBAL_LABEL, 1),
        ],
    );
    let kernel = elf(
        &[(".text", 0x1000, 64, false)],
        &[
            ("boot.S", 0, 0, FILE, ABSOLUTE),
            ("gate", 0x1000, 0, LOCAL_LABEL, 1),
            ("table", 0x1010, 0, LOCAL_LABEL, 1),
            ("stranger", 0x1030, 0, LOCAL_LABEL, 1),
        ],
    );
    assert_eq!(
        shares_of(&kernel, &libraries),
        [
            share("gate", 16, "liba"),
            share("table", 8, "liba"),
            share("-", 40, "")
        ]
    );
}

#[test]
fn layouts_are_compared_by_loaded_sections() {
    let kernel = elf(&[(".text", 0x1000, 64, false)], &[]);
    let debug = elf(
        &[(".text", 0x1000, 64, false)],
        &[("go", 0x1000, 8, GLOBAL_FUNCTION, 1)],
    );
    let other = elf(&[(".text", 0x1000, 65, false)], &[]);
    let parse = |bytes| Object::parse(bytes).unwrap();
    assert!(have_same_layout(&parse(&kernel), &parse(&debug)));
    assert!(!have_same_layout(&parse(&kernel), &parse(&other)));
}

#[test]
fn damaged_files_are_rejected() {
    let good = elf(
        &[(".text", 0x1000, 64, false)],
        &[("go", 0x1000, 8, GLOBAL_FUNCTION, 1)],
    );
    for length in 0..good.len() {
        if let Ok(object) = Object::parse(&good[..length]) {
            let _ = measure(&object, &Libraries::default());
        }
    }
    for at in 0..good.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut bad = good.clone();
            bad[at] = value;
            if let Ok(object) = Object::parse(&bad)
                && let Ok(measured) = measure(&object, &Libraries::default())
            {
                let total: u128 = measured.sections.iter().map(|s| u128::from(s.size)).sum();
                let shared: u128 = measured.shares.iter().map(|s| u128::from(s.size)).sum();
                assert_eq!(total, shared, "byte {at} is {value}");
            }
        }
    }
}
