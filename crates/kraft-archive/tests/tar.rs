//! Tarballs of every form, those of GNU tar and bsdtar among them, and those that ask for too much.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "this is test code, where a panic is how a fault is reported"
)]

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use kraft_archive::tar::{Entry, Kind, Limits, Reader, is_header};

const LIMITS: Limits = Limits::ROOT_FILESYSTEM;

fn read(tar: &[u8]) -> io::Result<Vec<(Entry, Vec<u8>)>> {
    let mut reader = Reader::new(tar, LIMITS);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut content = Vec::new();
        reader.read_to_end(&mut content)?;
        assert_eq!(content.len() as u64, entry.size);
        entries.push((entry, content));
    }
    Ok(entries)
}

fn refused(tar: &[u8]) -> String {
    read(tar).unwrap_err().to_string()
}

/// A header block with a right checksum.
fn header(name: &[u8], size: u64, kind: u8, magic: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(&numeric(size));
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = kind;
    block[257..265].copy_from_slice(magic);
    sum(&mut block);
    block
}

fn sum(block: &mut [u8]) {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn numeric(number: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if number < 1 << 33 {
        field.copy_from_slice(format!("{number:011o}\0").as_bytes());
    } else {
        field[0] = 0x80;
        field[4..].copy_from_slice(&number.to_be_bytes());
    }
    field
}

fn padded(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn end() -> Vec<u8> {
    vec![0; 1024]
}

const USTAR: &[u8] = b"ustar\x0000";
const GNU: &[u8] = b"ustar  \0";
const ODD: &[u8] = b"ustar\0\0\0";

/// An old GNU sparse file that is one hole of `size` bytes.
fn hole(name: &[u8], size: u64) -> Vec<u8> {
    let mut block = header(name, 0, b'S', GNU);
    block[386..398].copy_from_slice(&numeric(size));
    block[398..410].copy_from_slice(&numeric(0));
    block[483..495].copy_from_slice(&numeric(size));
    sum(&mut block);
    block
}

/// A PAX header with records.
fn pax(kind: u8, records: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::new();
    for (key, value) in records {
        let bare = key.len() + value.len() + 3;
        let mut length = bare + 1;
        while length != bare + length.to_string().len() {
            length += 1;
        }
        writeln!(text, "{length} {key}={value}").unwrap();
    }
    [
        header(b"pax", text.len() as u64, kind, USTAR),
        padded(text.as_bytes()),
    ]
    .concat()
}

/// Makes a tarball by a program; `None`, and says so, if the program is not installed.
fn made_by(program: &str, args: &[&str], dir: &Path) -> Option<Vec<u8>> {
    let output = match Command::new(program).args(args).current_dir(dir).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("SKIPPED: {program}: {error}");
            return None;
        }
    };
    assert!(output.status.success(), "{program}: {output:?}");
    Some(output.stdout)
}

/// Writes a file of data and holes: pairs of an offset and the text there; a last hole up to `size`.
fn sparse_file(path: &Path, parts: &[(u64, &str)], size: u64) -> Vec<u8> {
    let mut file = fs::File::create(path).unwrap();
    for (offset, text) in parts {
        file.seek(SeekFrom::Start(*offset)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
    file.set_len(size).unwrap();
    fs::read(path).unwrap()
}

#[test]
fn sparse_files_of_every_form_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let many: Vec<(u64, &str)> = (0..60).map(|at| (at << 17, "data")).collect();
    let contents = [
        (
            "ends",
            sparse_file(
                &dir.path().join("ends"),
                &[(0, "head\n"), (1 << 20, "tail\n")],
                (1 << 20) + 5,
            ),
        ),
        ("hole", sparse_file(&dir.path().join("hole"), &[], 1 << 20)),
        (
            "first",
            sparse_file(&dir.path().join("first"), &[(300_000, "x")], 300_001),
        ),
        (
            "last",
            sparse_file(&dir.path().join("last"), &[(0, "x")], 300_001),
        ),
        // More stretches than the header, and one further block, can name.
        (
            "many",
            sparse_file(&dir.path().join("many"), &many, 60 << 17),
        ),
        (
            "none",
            sparse_file(&dir.path().join("none"), &[(0, "plain")], 5),
        ),
    ];
    let names = ["ends", "hole", "first", "last", "many", "none"];
    let forms: [(&str, &[&str]); 7] = [
        ("tar", &["--sparse", "--format=gnu", "-c"]),
        ("tar", &["--sparse", "--format=oldgnu", "-c"]),
        (
            "tar",
            &["--sparse", "--format=pax", "--sparse-version=0.0", "-c"],
        ),
        (
            "tar",
            &["--sparse", "--format=pax", "--sparse-version=0.1", "-c"],
        ),
        (
            "tar",
            &["--sparse", "--format=pax", "--sparse-version=1.0", "-c"],
        ),
        ("bsdtar", &["-cf", "-"]),
        ("bsdtar", &["--format=gnutar", "-cf", "-"]),
    ];
    for (program, args) in forms {
        let Some(tar) = made_by(program, &[args, &names[..]].concat(), dir.path()) else {
            continue;
        };
        let entries = read(&tar).unwrap();
        assert_eq!(entries.len(), contents.len(), "{program} {args:?}");
        for ((entry, content), (name, expected)) in entries.iter().zip(&contents) {
            assert_eq!(entry.path, name.as_bytes(), "{program} {args:?}");
            assert_eq!(entry.kind, Kind::File);
            assert!(content == expected, "{program} {args:?}: {name} differs");
        }
        // Passing over them instead of reading them leads to the same entries.
        let mut passing = Reader::seeking(io::Cursor::new(&tar), LIMITS);
        for name in names {
            assert_eq!(passing.next_entry().unwrap().unwrap().path, name.as_bytes());
        }
        assert!(passing.next_entry().unwrap().is_none());
    }
}

#[test]
fn maps_of_sparse_files_that_lie_are_refused() {
    let file = |records: &[(&str, &str)], data: &[u8]| {
        [
            pax(b'x', records),
            header(b"f", data.len() as u64, b'0', USTAR),
            padded(data),
            end(),
        ]
        .concat()
    };
    for (size, map) in [
        ("10", "0,20"),
        ("10", "0,2,1,2"),
        ("10", "5,1,0,1"),
        ("10", "0"),
        ("10", "0,-1"),
        ("10", "0,x"),
        ("100", "0,50"),
        ("99999999999999999999", "0,1"),
        ("10", "18446744073709551615,1"),
    ] {
        let tar = file(
            &[("GNU.sparse.size", size), ("GNU.sparse.map", map)],
            b"1234",
        );
        assert!(!refused(&tar).is_empty(), "{map}");
    }
    for data in ["3\n0\n", "x\n", "1\n0\n5000\n", "99999\n"] {
        let tar = file(
            &[
                ("GNU.sparse.major", "1"),
                ("GNU.sparse.minor", "0"),
                ("GNU.sparse.realsize", "10"),
            ],
            &padded(data.as_bytes()),
        );
        assert!(!refused(&tar).is_empty(), "{data:?}");
    }
    let without_size = file(&[("GNU.sparse.map", "0,1")], b"1");
    assert!(refused(&without_size).contains("sparse"));
}

#[test]
fn holes_count_as_what_they_would_be_when_written() {
    assert!(refused(&[hole(b"a", 1 << 50), end()].concat()).contains("more than 4 GiB"));
    let many: Vec<u8> = (0..50).flat_map(|_| hole(b"a", (1 << 32) - 1)).collect();
    let mut reader = Reader::new(many.as_slice(), LIMITS);
    // Nothing of the contents has to be read for that.
    let mut entries = 0;
    let error = loop {
        match reader.next_entry() {
            Ok(Some(_)) => entries += 1,
            Ok(None) => panic!("{entries} entries"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("4 GiB and 64 times"), "{error}");
    assert_eq!(entries, 1);
    let pax = [
        pax(
            b'x',
            &[
                ("GNU.sparse.size", "1125899906842624"),
                ("GNU.sparse.map", "0,0"),
            ],
        ),
        header(b"f", 0, b'0', USTAR),
    ]
    .concat();
    assert!(refused(&pax).contains("the limit"));
    // An honest sparse file is taken.
    let honest = [hole(b"a", 1 << 30), end()].concat();
    let mut reader = Reader::new(honest.as_slice(), LIMITS);
    assert_eq!(reader.next_entry().unwrap().unwrap().size, 1 << 30);
}

#[test]
fn headers_and_totals_are_limited() {
    for kind in [b'L', b'K', b'x', b'g'] {
        let mut endless = header(b"long", 6 << 30, kind, GNU);
        endless.extend([b'a'; 4096]);
        assert!(refused(&endless).contains("more than 1 MiB, the limit"));
        // Many small ones are one large one.
        let small = [header(b"long", 512, kind, GNU), vec![0; 512]]
            .concat()
            .repeat(2000);
        assert!(refused(&small).contains("1 MiB"), "{kind}");
    }
    let small = Limits {
        entries: 2,
        bytes: 8 << 30,
    };
    let tar = header(b"d", 0, b'5', USTAR).repeat(3);
    let mut reader = Reader::new(tar.as_slice(), small);
    assert!(reader.next_entry().is_ok() && reader.next_entry().is_ok());
    assert!(
        reader
            .next_entry()
            .unwrap_err()
            .to_string()
            .contains("more than 2 entries")
    );
    let large = header(b"f", 9 << 30, b'0', USTAR);
    let error = Reader::new(large.as_slice(), small)
        .next_entry()
        .unwrap_err();
    assert!(error.to_string().contains("more than 8 GiB"), "{error}");
}

#[test]
fn a_name_that_ends_in_a_slash_is_a_directory() {
    let tar = [
        header(b"a/", 0, b'0', USTAR),
        header(b"b/", 0, 0, &[0; 8]),
        pax(b'x', &[("path", "c/")]),
        header(b"c", 0, b'0', USTAR),
        header(b"a/f", 1, 0, USTAR),
        padded(b"f"),
        end(),
    ]
    .concat();
    let kinds: Vec<Kind> = read(&tar)
        .unwrap()
        .iter()
        .map(|(entry, _)| entry.kind)
        .collect();
    assert_eq!(
        kinds,
        [
            Kind::Directory,
            Kind::Directory,
            Kind::Directory,
            Kind::File
        ]
    );
}

#[test]
fn long_names_count_whatever_the_magic_is() {
    for magic in [USTAR, GNU, ODD, &[0; 8]] {
        let name = [b'n'; 120];
        let target = [b't'; 130];
        let tar = [
            header(b"././@LongLink", 121, b'L', magic),
            padded(&[&name[..], b"\0"].concat()),
            header(b"././@LongLink", 131, b'K', magic),
            padded(&[&target[..], b"\0"].concat()),
            header(&name[..99], 0, b'2', magic),
            end(),
        ]
        .concat();
        let (entry, _) = read(&tar).unwrap().remove(0);
        assert_eq!((entry.path, entry.link), (name.to_vec(), target.to_vec()));
    }
}

#[test]
fn pax_headers_describe_what_follows_and_global_ones_are_no_entries() {
    let tar = [
        pax(b'g', &[("comment", "a commit"), ("uid", "7")]),
        header(b"a", 0, b'0', USTAR),
        pax(b'x', &[("path", "long/name"), ("size", "3"), ("uid", "9")]),
        header(b"b", 0, b'0', USTAR),
        padded(b"abc"),
        header(b"c", 0, b'0', USTAR),
        end(),
    ]
    .concat();
    let found: Vec<_> = read(&tar)
        .unwrap()
        .into_iter()
        .map(|(entry, content)| {
            (
                String::from_utf8(entry.path).unwrap(),
                entry.uid,
                content.len(),
            )
        })
        .collect();
    let expected = [
        ("a".to_owned(), 7, 0),
        ("long/name".to_owned(), 9, 3),
        ("c".to_owned(), 7, 0),
    ];
    assert_eq!(found, expected);
    for bad in [
        "x path=a\n",
        "8 path=a\n",
        "99 path=a\n",
        "path=a\n",
        "7 path\n",
    ] {
        let tar = [
            header(b"pax", bad.len() as u64, b'x', USTAR),
            padded(bad.as_bytes()),
            header(b"b", 0, b'0', USTAR),
        ]
        .concat();
        assert_eq!(refused(&tar), "a PAX header is damaged", "{bad:?}");
    }
}

#[test]
fn headers_are_known_by_their_magic_or_their_checksum() {
    for magic in [USTAR, GNU, ODD, &[0; 8]] {
        assert!(is_header(&header(b"a", 0, b'0', magic)));
    }
    let dir = tempfile::tempdir().unwrap();
    fs::File::create(dir.path().join("a")).unwrap();
    for (program, form) in [("tar", "v7"), ("tar", "ustar"), ("bsdtar", "v7")] {
        let args = [&format!("--format={form}"), "-cf", "-", "a"];
        if let Some(tar) = made_by(program, &args, dir.path()) {
            assert!(is_header(&tar[..512]), "{program} {form}");
        }
    }
    assert!(!is_header(&[0; 512]) && !is_header(&[b'x'; 512]) && !is_header(b"ustar"));
}

#[test]
fn tarballs_that_become_one_tree_share_their_limits() {
    let layer = [hole(b"a", 3 << 30), end()].concat();
    let mut first = Reader::new(layer.as_slice(), LIMITS);
    assert!(first.next_entry().unwrap().is_some());
    let mut second = Reader::new(layer.as_slice(), first.budget());
    assert!(second.next_entry().is_err());
}

#[test]
fn links_and_directories_have_no_content_whatever_their_size_says() {
    let tar = [
        header(b"d", 512, b'5', USTAR),
        header(b"l", 512, b'1', USTAR),
        header(b"f", 1, b'0', USTAR),
        padded(b"x"),
        end(),
    ]
    .concat();
    assert_eq!(read(&tar).unwrap().len(), 3);
}

#[test]
fn blank_numbers_are_zero_and_others_that_are_none_are_errors() {
    let mut blank = header(b"f", 0, b'0', USTAR);
    blank[100..136].fill(0);
    blank[108..116].fill(b' ');
    sum(&mut blank);
    let (entry, _) = read(&blank).unwrap().remove(0);
    assert_eq!((entry.mode, entry.uid, entry.gid, entry.size), (0, 0, 0, 0));
    for at in [100, 124] {
        let mut wrong = header(b"f", 0, b'0', USTAR);
        wrong[at] = b'9';
        sum(&mut wrong);
        assert!(refused(&wrong).contains("an invalid number"));
    }
}

#[test]
fn damaged_tarballs_are_errors_and_missing_ends_are_not() {
    let whole = [header(b"f", 600, b'0', USTAR), padded(&[1; 600])].concat();
    assert_eq!(read(&whole).unwrap().len(), 1);
    for length in [100, 512 + 10, 512 + 599] {
        assert_eq!(refused(&whole[..length]), "it is truncated", "{length}");
    }
    let mut wrong = whole.clone();
    wrong[0] = b'g';
    assert!(refused(&wrong).contains("checksum"));
    // Data after the end is not read.
    assert_eq!(
        read(&[whole, end(), vec![9; 700]].concat()).unwrap().len(),
        1
    );
    for length in 1..600 {
        assert!(!refused(&wrong[..length]).is_empty());
    }
}
