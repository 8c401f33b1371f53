//! What Linux unpacks as an initramfs becomes one archive that every kernel unpacks: archives behind
//! each other, each compressed or not, zeros between them, entries below symbolic links.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and says where"
)]

use std::fs;
use std::io::Write;
use std::path::Path;

use kraft_rootfs::archive::Reader;
use kraft_rootfs::{Options, Source, build};

const FILE: u32 = 0o100_644;
const DIRECTORY: u32 = 0o040_755;
const LINK: u32 = 0o120_777;

/// An entry: name, mode, number, count of names, content.
type Entry<'a> = (&'a str, u32, u32, u32, &'a str);

fn newc(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &(name, mode, ino, nlink, content) in entries.iter().chain([&("TRAILER!!!", 0, 0, 1, "")]) {
        let fields = [
            ino,
            mode,
            0,
            0,
            nlink,
            0,
            u32::try_from(content.len()).unwrap(),
        ];
        bytes.extend(b"070701");
        for field in fields {
            write!(bytes, "{field:08X}").unwrap();
        }
        write!(bytes, "{:032X}{:08X}{:08X}{name}\0", 0, name.len() + 1, 0).unwrap();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(content.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

fn one() -> Vec<u8> {
    newc(&[("a", FILE, 1, 1, "one"), ("d", DIRECTORY, 2, 2, "")])
}

fn two() -> Vec<u8> {
    newc(&[("a", FILE, 1, 1, "two"), ("d/b", FILE, 2, 1, "b")])
}

type Packer = fn(&[u8]) -> Vec<u8>;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut out = liblzma::write::XzEncoder::new(Vec::new(), 1);
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn zeros(count: usize) -> Vec<u8> {
    vec![0; count]
}

/// Builds from the bytes; returns the archive, or why not.
fn built(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let dir = tempfile::tempdir().unwrap();
    let (path, out) = (dir.path().join("in"), dir.path().join("out"));
    fs::write(&path, bytes).unwrap();
    let outcome = Source::detect(&path)
        .and_then(|source| build(&source, &out, &Options::default(), &mut |_| {}));
    match outcome {
        Ok(built) => {
            let bytes = fs::read(&out).unwrap();
            assert_eq!(built.size, bytes.len() as u64);
            kraft_rootfs::verify(&out).unwrap();
            Ok(bytes)
        }
        Err(error) => {
            assert!(!out.exists());
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            Err(format!("{error}: {}", cause.unwrap_or_default()))
        }
    }
}

/// Lists the one archive that the bytes are.
fn listed(bytes: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(bytes);
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut content = Vec::new();
        reader.copy_content(&mut content).unwrap();
        let content = String::from_utf8(entry.target.unwrap_or(content)).unwrap();
        let path = String::from_utf8(entry.path).unwrap();
        found.push(format!("{path}={content}"));
    }
    found
}

#[test]
fn archives_behind_each_other_become_one_and_the_last_entry_wins() {
    let expected = ["a=two", "d=", "d/b=b"];
    for (case, bytes) in [
        ("plain", [one(), two()].concat()),
        ("zeros between", [one(), zeros(512), two()].concat()),
        ("zeros behind", [one(), two(), zeros(1000)].concat()),
        (
            "many zeros",
            [one(), zeros(300_000), two(), zeros(8)].concat(),
        ),
        (
            "inside one member",
            gzip(&[one(), zeros(100_000), two()].concat()),
        ),
        ("gzip and gzip", [gzip(&one()), gzip(&two())].concat()),
        ("plain and gzip", [one(), gzip(&two())].concat()),
        (
            "plain, zeros and xz",
            [one(), zeros(40), xz(&two())].concat(),
        ),
        ("gzip and plain", [gzip(&one()), two()].concat()),
        (
            "gzip, zeros and plain",
            [gzip(&one()), zeros(7), two()].concat(),
        ),
        ("zstd and bzip2", [zstd(&one()), bzip2(&two())].concat()),
        (
            "xz and zstd",
            [xz(&one()), zeros(4), zstd(&two()), zeros(4)].concat(),
        ),
        (
            "an empty one before",
            [newc(&[]), one(), newc(&[]), two()].concat(),
        ),
    ] {
        let bytes = built(&bytes).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(listed(&bytes), expected, "{case}");
    }
}

#[test]
fn one_archive_is_passed_on_as_it_is_out_of_any_compression() {
    let plain = [one(), zeros(16)].concat();
    for bytes in [
        plain.clone(),
        gzip(&plain),
        bzip2(&plain),
        xz(&plain),
        zstd(&plain),
    ] {
        assert_eq!(built(&bytes).unwrap(), plain);
        assert_eq!(
            built(&[bytes, zeros(12)].concat())
                .unwrap()
                .get(..plain.len()),
            Some(&plain[..])
        );
    }
    // A member may end anywhere in the archive.
    let (start, end) = plain.split_at(101);
    assert_eq!(built(&[gzip(start), gzip(end)].concat()).unwrap(), plain);
}

#[test]
fn what_follows_an_archive_and_is_none_is_refused() {
    for (case, bytes) in [
        ("garbage", [one(), b"garbage".to_vec()].concat()),
        (
            "garbage in gzip",
            gzip(&[one(), b"garbage".to_vec()].concat()),
        ),
        (
            "garbage behind gzip",
            [gzip(&one()), b"garbage".to_vec()].concat(),
        ),
        ("half a header", [one(), b"070701".to_vec()].concat()),
        ("a tarball", [one(), gzip(&[b'x'; 1024])].concat()),
    ] {
        let error = built(&bytes).unwrap_err();
        assert!(error.contains("data after the end"), "{case}: {error}");
    }
    let mut cut = gzip(&two());
    cut.truncate(cut.len() - 9);
    for bytes in [[one(), cut.clone()].concat(), cut] {
        assert!(built(&bytes).is_err());
    }
}

#[test]
fn entries_below_a_link_are_put_where_it_leads() {
    let links = |target| {
        newc(&[
            ("usr", DIRECTORY, 1, 2, ""),
            ("usr/lib", DIRECTORY, 2, 2, ""),
            ("lib", LINK, 3, 1, target),
            ("lib/x", FILE, 4, 1, "x"),
        ])
    };
    for target in ["usr/lib", "/usr/lib", "../usr/lib"] {
        let found = listed(&built(&links(target)).unwrap());
        assert_eq!(
            found,
            [&format!("lib={target}"), "usr=", "usr/lib=", "usr/lib/x=x"]
        );
    }
    // The link may be in an earlier archive.
    let (link, below) = (
        newc(&[("lib", LINK, 1, 1, "usr/lib")]),
        newc(&[("lib/x", FILE, 1, 1, "x")]),
    );
    let found = listed(&built(&[link.clone(), gzip(&below)].concat()).unwrap());
    assert_eq!(found, ["lib=usr/lib", "usr=", "usr/lib=", "usr/lib/x=x"]);
    // A directory of its name takes its place.
    let directory = newc(&[("lib", DIRECTORY, 1, 2, ""), ("lib/x", FILE, 2, 1, "x")]);
    let found = listed(&built(&[link, directory].concat()).unwrap());
    assert_eq!(found, ["lib=", "lib/x=x"]);
}

#[test]
fn hard_links_are_those_of_their_archive_whichever_carries_the_content() {
    let names = |first, second| newc(&[("a", FILE, 7, 2, first), ("b", FILE, 7, 2, second)]);
    // The same number in another archive is another file.
    let other = newc(&[("c", FILE, 7, 2, "other")]);
    for (first, second) in [("text", ""), ("", "text"), ("text", "text")] {
        let bytes = built(&[names(first, second), other.clone()].concat()).unwrap();
        assert_eq!(
            listed(&bytes),
            ["a=text", "b=text", "c=other"],
            "{first:?} {second:?}"
        );
        let mut reader = Reader::new(bytes.as_slice());
        let mut numbers = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            numbers.push(entry.ino);
        }
        assert!(
            matches!(numbers[..], [a, b, c] if a == b && b != c),
            "{numbers:?}"
        );
    }
}

#[test]
fn tarballs_are_looked_through_every_compression() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    builder.append_data(&mut header, "f", &b"abc"[..]).unwrap();
    let tar = builder.into_inner().unwrap();
    for pack in [gzip as Packer, bzip2, xz, zstd] {
        assert_eq!(listed(&built(&pack(&tar)).unwrap()), ["f=abc"]);
        assert_eq!(
            listed(&built(&[pack(&tar), zeros(100)].concat()).unwrap()),
            ["f=abc"]
        );
        let (start, end) = tar.split_at(700);
        assert_eq!(
            listed(&built(&[pack(start), pack(end)].concat()).unwrap()),
            ["f=abc"]
        );
        let garbage = built(&[pack(&tar), b"garbage".to_vec()].concat());
        assert!(garbage.unwrap_err().contains("data after its end"));
        let mut cut = pack(&tar);
        cut.truncate(cut.len() - 5);
        assert!(built(&cut).is_err());
    }
}

#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o644.into()).unwrap();
    for path in [fifo.as_path(), Path::new("/dev/zero")] {
        assert!(Source::detect(path).is_err());
        assert!(Reader::open(path).is_err());
        assert!(kraft_rootfs::verify(path).is_err());
        assert!(kraft_rootfs::Index::of(path).is_err());
        let out = dir.path().join("out");
        for source in [Source::Tar(path.to_owned()), Source::Cpio(path.to_owned())] {
            assert!(build(&source, &out, &Options::default(), &mut |_| {}).is_err());
        }
    }
    assert!(Reader::open(dir.path()).is_err());
}
