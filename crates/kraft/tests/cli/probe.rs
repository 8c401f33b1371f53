//! Library records of kernels, read from generated files.

use crate::support::Home;

/// A section of a made-up kernel: its name, its flags (2 loaded, 4 code, 1 written) and its bytes.
pub(crate) type TestSection<'a> = (&'a str, u64, &'a [u8]);

/// A symbol: name, place in its section, size, binding and kind, number of the section.
pub(crate) type TestSymbol<'a> = (&'a str, u64, u64, u8, u16);

/// Writes a 64-bit ELF file; its sections follow one another in memory from 1 MiB on.
pub(crate) fn elf(sections: &[TestSection<'_>], symbols: &[TestSymbol<'_>]) -> Vec<u8> {
    const BASE: u64 = 0x10_0000;
    let mut file = vec![0; 64];
    file.splice(0..6, *b"\x7fELF\x02\x01");
    file.splice(16..20, [2, 0, 62, 0]);
    let mut names = vec![0];
    let mut table = vec![[0_u64; 8]];
    let mut address = BASE;
    // The names of symbols are in the section after that of the symbols.
    let strings_at = sections.len() as u64 + 2;
    let mut add = |file: &mut Vec<u8>, names: &mut Vec<u8>, name: &str, kind: u64, bytes: &[u8]| {
        let (kind, flags) = (kind & 0xff, kind >> 8);
        let [link, each] = if kind == 2 { [strings_at, 24] } else { [0, 0] };
        let at = names.len() as u64;
        names.extend(name.as_bytes());
        names.push(0);
        let loaded = if flags & 2 == 0 { 0 } else { address };
        let (offset, size) = (file.len() as u64, bytes.len() as u64);
        table.push([at | kind << 32, flags, loaded, offset, size, link, 0, each]);
        file.extend(bytes);
        address += size;
    };
    for (name, flags, bytes) in sections {
        add(&mut file, &mut names, name, 1 | flags << 8, bytes);
    }
    let mut strings = vec![0];
    let mut entries = vec![0; 24];
    for (name, value, size, info, section) in symbols {
        entries.extend(u32::try_from(strings.len()).unwrap().to_le_bytes());
        strings.extend(name.as_bytes());
        strings.push(0);
        let within = sections.iter().take(usize::from(*section) - 1);
        let start = BASE + within.map(|(_, _, bytes)| bytes.len() as u64).sum::<u64>();
        entries.extend([*info, 0]);
        entries.extend(section.to_le_bytes());
        entries.extend((start + value).to_le_bytes());
        entries.extend(size.to_le_bytes());
    }
    add(&mut file, &mut names, ".symtab", 2, &entries);
    add(&mut file, &mut names, ".strtab", 3, &strings);
    let at = names.len() as u64;
    names.extend(b".shstrtab\0");
    let (offset, size) = (file.len() as u64, names.len() as u64);
    table.push([at | 3 << 32, 0, 0, offset, size, 0, 0, 0]);
    file.extend(&names);
    let start = file.len() as u64;
    file.splice(0x28..0x30, start.to_le_bytes());
    let count = u8::try_from(table.len()).unwrap();
    file.splice(0x3c..0x40, [count, 0, count - 1, 0]);
    for row in &table {
        file.extend(row.iter().flat_map(|word| word.to_le_bytes()));
    }
    file
}

fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend(u32::try_from(data.len() + 6).unwrap().to_le_bytes());
    bytes.extend(data);
    bytes
}

fn block(records: &[Vec<u8>]) -> Vec<u8> {
    let records = records.concat();
    let mut bytes = u32::try_from(records.len() + 6)
        .unwrap()
        .to_le_bytes()
        .to_vec();
    bytes.extend([1, 0]);
    bytes.extend(records);
    bytes
}

/// A kernel with a core, its own library, a foreign one, and what else is given.
fn kernel(more: &[Vec<u8>]) -> Vec<u8> {
    let mut core = vec![
        record(7, b"0.17.0~eaf6fda1\0"),
        record(0xb, b"GCC 12.2.0\0"),
        record(0xc, b"2024-01-01T00:00:00+00:00\0"),
        record(0xd, b"ann@host\0"),
    ];
    core.extend_from_slice(more);
    let info = [
        block(&core),
        block(&[
            record(1, b"libukboot\0"),
            record(6, b"0.17.0\0"),
            record(15, &[3, 0, 0, 0]),
        ]),
        block(&[
            record(1, b"liblwip\0"),
            record(3, b"2.1.2\0"),
            record(4, b"BSD-3-Clause\0"),
        ]),
    ];
    let info = info.concat();
    elf(
        &[
            (".text", 6, b"code"),
            (".uk_inittab", 2, b"-"),
            (".uk_libinfo", 2, &info),
        ],
        &[],
    )
}

#[test]
fn the_records_are_shown_as_two_tables() {
    let home = Home::new();
    home.write("app_fc-x86_64", kernel(&[]));
    insta::assert_snapshot!(home.ok(&["x", "probe", "app_fc-x86_64"]), @r"
    CORE      VERSION          LICENSE  COMPILER    COMPILE DATE               COMPILED BY  COMPILED BY ASSOC
    unikraft  0.17.0~eaf6fda1  -        GCC 12.2.0  2024-01-01T00:00:00+00:00  ann@host     -

    LIBRARY    VERSION  LICENSE       COMPILER  COMPILE DATE  COMPILED BY  COMPILED BY ASSOC  COMPILE FLAGS
    libukboot  0.17.0   -             -         -             -            -                  PIE DCE
    liblwip    2.1.2    BSD-3-Clause  -         -             -            -
    ");
}

#[test]
fn the_records_are_one_json_object() {
    let home = Home::new();
    home.write("app_fc-x86_64", kernel(&[]));
    let probed = home.json(&["x", "probe", "app_fc-x86_64", "-o", "json"]);
    assert_eq!(probed["core"]["version"], "0.17.0~eaf6fda1");
    assert_eq!(
        probed["libraries"][0]["compile_flags"],
        serde_json::json!(["PIE", "DCE"])
    );
    assert_eq!(probed["libraries"][1]["license"], "BSD-3-Clause");
    assert!(
        home.ok(&["x", "probe", "app_fc-x86_64", "-o", "yaml"])
            .contains("name: liblwip")
    );
}

#[test]
fn a_generated_kraftfile_is_valid() {
    let home = Home::new();
    home.write("app_fc-x86_64", kernel(&[]));
    let outcome = home
        .kraft(&["x", "probe", "app_fc-x86_64", "-K=Kraftfile"])
        .exits(0);
    assert_eq!(outcome.stdout, "");
    assert!(
        outcome
            .stderr
            .contains("does not contain its configuration"),
        "{}",
        outcome.stderr
    );
    let resolved = home.json(&["check", "-o", "json"]);
    assert_eq!(resolved["name"], "app");
    assert_eq!(resolved["targets"][0]["platform"], "fc");
    let libraries = resolved["libraries"].to_string();
    assert!(
        libraries.contains("lwip") && !libraries.contains("ukboot"),
        "{libraries}"
    );
}

#[test]
fn an_embedded_configuration_is_printed_unchanged() {
    let home = Home::new();
    let config = "#\n# a remark\n#\nCONFIG_LIBLWIP=y\n# CONFIG_X is not set\nCONFIG_A=\"b\"\n";
    home.write("k", kernel(&[record(9, config.as_bytes())]));
    assert_eq!(home.ok(&["x", "probe", "k", "-c"]), config);
    assert!(
        home.ok(&["x", "probe", "k", "-K"])
            .contains("CONFIG_A: \"b\"\n")
    );
}

#[test]
fn a_debug_image_completes_its_kernel_and_one_of_another_build_is_an_error() {
    let home = Home::new();
    home.kernel();
    let alone = home.kraft(&["x", "probe", "./kernel"]).exits(1);
    assert!(alone.stderr.contains("kernel.dbg"), "{}", alone.stderr);
    home.write("kernel.dbg", kernel(&[]));
    let outcome = home.kraft(&["x", "probe", "./kernel"]).exits(0);
    assert!(outcome.stdout.contains("liblwip"), "{}", outcome.stdout);
    assert!(outcome.stderr.contains("kernel.dbg"), "{}", outcome.stderr);

    home.write(
        "other",
        elf(
            &[(".text", 6, b"other code"), (".uk_inittab", 2, b"-")],
            &[],
        ),
    );
    home.write("other.dbg", kernel(&[]));
    let outcome = home.kraft(&["x", "probe", "other"]).exits(1);
    assert!(
        outcome.stderr.contains("of another build"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn missing_and_invalid_records_are_errors() {
    let home = Home::new();
    for (bytes, code, said) in [
        (b"#!/bin/sh\n".to_vec(), 1, "not an ELF file"),
        (
            elf(&[(".text", 6, b"code")], &[]),
            3,
            "contains no library records",
        ),
        (
            elf(&[(".uk_libinfo", 2, &[255; 40])], &[]),
            1,
            "damaged at byte 0",
        ),
        (kernel(&[])[..200].to_vec(), 1, "damaged ELF file"),
    ] {
        home.write("k", bytes);
        let outcome = home.kraft(&["x", "probe", "k"]).exits(code);
        assert!(outcome.stderr.contains(said), "{said}: {}", outcome.stderr);
    }
    home.write("bomb", kernel(&[record(10, b"\x1f\x8b but no gzip")]));
    let outcome = home.kraft(&["x", "probe", "bomb", "-c"]).exits(1);
    assert!(
        outcome
            .stderr
            .contains("the configuration in `bomb` is damaged"),
        "{}",
        outcome.stderr
    );
    let _ = home.kraft(&["x", "probe", "./nothing"]).exits(3);
}
