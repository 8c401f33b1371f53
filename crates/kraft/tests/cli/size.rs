//! Sizes of kernels: every listing adds up.

use serde_json::Value;

use crate::probe::elf;
use crate::support::Home;

const GLOBAL_FUNCTION: u8 = 0x12;
const GLOBAL_OBJECT: u8 = 0x11;

/// Writes a kernel, its debug image and the objects of two libraries into a home directory; `first`
/// is the size of the first function.
fn build(home: &Home, dir: &str, first: usize) {
    let code = vec![0x90; first + 40];
    let sections: [(&str, u64, &[u8]); 2] = [(".text", 6, &code), (".data", 3, &[7; 12])];
    let size = first as u64;
    let symbols = [
        ("first", 0, size, GLOBAL_FUNCTION, 1),
        ("second", size, 30, GLOBAL_FUNCTION, 1),
        ("table", 0, 12, GLOBAL_OBJECT, 2),
    ];
    home.write(&format!("{dir}/app_qemu-x86_64"), elf(&sections, &[]));
    home.write(
        &format!("{dir}/app_qemu-x86_64.dbg"),
        elf(&sections, &symbols),
    );
    home.write(&format!("{dir}/libone.o"), elf(&sections, &symbols[..1]));
    home.write(&format!("{dir}/libtwo.o"), elf(&sections, &symbols[1..]));
    home.write(&format!("{dir}/libtwo.ld.o"), "not looked at");
}

/// Returns the sum of the sizes of a listing.
fn total(rows: &Value) -> u64 {
    let size = |row: &Value| {
        row.get("total")
            .or(row.get("size"))
            .unwrap()
            .as_u64()
            .unwrap()
    };
    rows.as_array().unwrap().iter().map(size).sum()
}

#[test]
fn every_listing_adds_up_to_the_sections() {
    let home = Home::new();
    build(&home, "o", 100);
    for by in [&[][..], &["--libs"], &["--symbols"], &["--sections"]] {
        let rows = home.json(&[&["size", "o/app_qemu-x86_64", "-o", "json"], by].concat());
        assert_eq!(total(&rows), 152, "{by:?} {rows}");
    }
    insta::assert_snapshot!(home.ok(&["size", "o/app_qemu-x86_64", "--sections"]), @r"
    SECTION  SIZE  IN FILE  ADDRESS
    .text    140   140      0x100000
    .data    12    12       0x10008c
    ");
    insta::assert_snapshot!(home.ok(&["size", "o/app_qemu-x86_64"]), @r"
    LIBRARY  TEXT  RODATA  DATA  BSS  TOTAL
    libone   100   0       0     0    100
    libtwo   30    0       12    0    42
    -        10    0       0     0    10
    total    140   0       12    0    152
    ");
    insta::assert_snapshot!(home.ok(&["size", "o/app_qemu-x86_64", "--symbols"]), @r"
    SIZE  SECTION  LIBRARY  SYMBOL
    100   .text    libone   first
    30    .text    libtwo   second
    12    .data    libtwo   table
    10    .text    -        -
    ");
}

#[test]
fn two_kernels_are_compared() {
    let home = Home::new();
    build(&home, "old", 100);
    build(&home, "new", 64);
    let (old, new) = ("old/app_qemu-x86_64", "new/app_qemu-x86_64");
    insta::assert_snapshot!(home.ok(&["size", "--libs", old, new]), @r"
    NAME    BEFORE  AFTER  CHANGE
    libone  100     64     -36
    ");
    let same = home.json(&["size", "--symbols", old, old, "-o", "json"]);
    assert_eq!(same, serde_json::json!([]));
}

#[test]
fn errors_name_the_missing_files() {
    let home = Home::new();
    build(&home, "o", 100);
    std::fs::create_dir(home.path().join("bare")).unwrap();
    for file in ["app_qemu-x86_64", "app_qemu-x86_64.dbg"] {
        std::fs::copy(
            home.path().join("o").join(file),
            home.path().join("bare").join(file),
        )
        .unwrap();
    }
    let outcome = home
        .kraft(&["size", "bare/app_qemu-x86_64", "--libs"])
        .exits(3);
    assert!(outcome.stderr.contains("--objects"), "{}", outcome.stderr);
    let rows = home.json(&[
        "size",
        "bare/app_qemu-x86_64",
        "--libs",
        "--objects",
        "o",
        "-o",
        "json",
    ]);
    assert_eq!(total(&rows), 152);

    std::fs::remove_file(home.path().join("bare/app_qemu-x86_64.dbg")).unwrap();
    let outcome = home
        .kraft(&["size", "bare/app_qemu-x86_64", "--symbols"])
        .exits(3);
    assert!(
        outcome.stderr.contains("has no symbols"),
        "{}",
        outcome.stderr
    );
    assert_eq!(
        total(&home.json(&["size", "bare/app_qemu-x86_64", "-o", "json"])),
        152
    );
    let outcome = home.kraft(&["size", "bare/app_qemu-x86_64"]).exits(0);
    assert!(
        outcome.stderr.contains("sizes of sections"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn an_overflowing_size_is_not_a_panic() {
    let home = Home::new();
    build(&home, "o", 100);
    let mut kernel = std::fs::read(home.path().join("o/app_qemu-x86_64.dbg")).unwrap();
    // The section table is at the end: five entries of 64 bytes after the empty one. Both sections
    // of memory become zeros of half of the address space.
    let table = kernel.len() - 6 * 64;
    for entry in [table + 64, table + 128] {
        kernel.splice(entry + 4..entry + 8, 8_u32.to_le_bytes());
        kernel.splice(entry + 32..entry + 40, (u64::MAX / 2 + 2).to_le_bytes());
    }
    home.write("o/huge", &kernel);
    for by in ["--libs", "--symbols", "--sections"] {
        let _ = home.kraft(&["size", "o/huge", by]).exits(0);
        let _ = home
            .kraft(&["size", "o/huge", "o/app_qemu-x86_64", by])
            .exits(0);
    }
}
