//! Builds archives from every kind of source: their bytes, and what is refused.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "this is test code, where a panic is how a fault is reported"
)]

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kraft_rootfs::archive::{Entry, Kind, Reader};
use kraft_rootfs::{Options, Source, build};

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn build_with(source: &Path, options: &Options) -> Result<Vec<u8>, String> {
    let dir = scratch();
    let out = dir.path().join("out.cpio");
    let built = Source::detect(source)
        .and_then(|source| build(&source, &out, options, &mut |_| {}))
        .map_err(|error| explain(&error));
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().collect();
    match built {
        Ok(built) => {
            let bytes = fs::read(&out).unwrap();
            assert_eq!(built.size, bytes.len() as u64);
            assert_eq!(left.len(), 1);
            Ok(bytes)
        }
        Err(error) => {
            assert!(left.is_empty(), "a failed build left {left:?}");
            Err(error)
        }
    }
}

fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn archive_of(source: &Path) -> Vec<u8> {
    build_with(source, &Options::default()).unwrap()
}

fn refused(source: &Path) -> String {
    build_with(source, &Options::default()).unwrap_err()
}

fn entries(bytes: &[u8]) -> Vec<(Entry, Vec<u8>)> {
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut content = Vec::new();
        if entry.kind == Kind::File {
            reader.copy_content(&mut content).unwrap();
        }
        entries.push((entry, content));
    }
    reader.finish().unwrap();
    entries
}

fn listing(bytes: &[u8]) -> Vec<String> {
    let name = |(entry, _): &(Entry, Vec<u8>)| String::from_utf8_lossy(&entry.path).into_owned();
    entries(bytes).iter().map(name).collect()
}

/// Runs a tool with the archive as its input; `None`, and said so, if it is not installed.
fn listed_by(tool: &str, args: &[&str], bytes: &[u8]) -> Option<Vec<String>> {
    let child = Command::new(tool)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("SKIPPED: {tool} is not installed");
        return None;
    };
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{tool} refuses the archive");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(
        text.lines()
            .map(|line| line.trim_start_matches("./").to_owned())
            .collect(),
    )
}

/// A tree with one of everything that an ordinary user can make.
fn sample(root: &Path) {
    fs::create_dir_all(root.join("bin/deep")).unwrap();
    fs::write(root.join("bin/tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("bin/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::write(root.join("bin-side"), vec![b'x'; 70_001]).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::hard_link(root.join("bin-side"), root.join("bin/deep/same")).unwrap();
    symlink("../bin/tool", root.join("link")).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"n\xffme")), "bytes").unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), 0o644.into()).unwrap();
    for dir in ["bin", "bin/deep"] {
        fs::set_permissions(root.join(dir), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for file in ["bin-side", "empty", "pipe"] {
        fs::set_permissions(root.join(file), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let odd = root.join(OsStr::from_bytes(b"n\xffme"));
    fs::set_permissions(odd, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn the_bytes_are_those_of_the_published_vector() {
    let dir = scratch();
    fs::create_dir(dir.path().join("a")).unwrap();
    fs::set_permissions(dir.path().join("a"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.path().join("a/hello"), "hi\n").unwrap();
    fs::set_permissions(
        dir.path().join("a/hello"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    symlink("hello", dir.path().join("a/link")).unwrap();
    let bytes = archive_of(dir.path());
    assert_eq!(bytes.len(), 492);
    let file = dir.path().join("sum-me");
    fs::write(&file, &bytes).unwrap();
    let sum = Command::new("sha256sum")
        .arg(&file)
        .output()
        .unwrap()
        .stdout;
    let sum = String::from_utf8(sum).unwrap();
    assert_eq!(
        sum.split(' ').next().unwrap(),
        "b8e5ceac72357d1375aca748bab546565c3924130eca5b6f48c5d1835582c768"
    );
}

#[test]
fn the_same_content_gives_the_same_bytes_wherever_and_whenever() {
    let (one, two) = (scratch(), scratch());
    let elsewhere = two.path().join("another/place");
    fs::create_dir_all(&elsewhere).unwrap();
    sample(one.path());
    // Made in another order, an hour later by the clock of its files.
    fs::write(elsewhere.join("later"), "").unwrap();
    sample(&elsewhere);
    fs::remove_file(elsewhere.join("later")).unwrap();
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_hours(1);
    fs::File::open(elsewhere.join("bin/tool"))
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    assert_eq!(archive_of(one.path()), archive_of(one.path()));
    assert_eq!(archive_of(one.path()), archive_of(&elsewhere));
}

#[test]
fn every_kind_of_entry_is_kept_as_it_is() {
    let dir = scratch();
    sample(dir.path());
    let bytes = archive_of(dir.path());
    assert_eq!(
        listing(&bytes),
        [
            "bin",
            "bin/deep",
            "bin/deep/same",
            "bin/tool",
            "bin-side",
            "empty",
            "link",
            "n\u{fffd}me",
            "pipe"
        ]
    );
    let all = entries(&bytes);
    let at = |path: &[u8]| all.iter().find(|(entry, _)| entry.path == path).unwrap();
    let (same, data) = at(b"bin/deep/same");
    let (side, side_data) = at(b"bin-side");
    assert_eq!((same.ino, same.nlink), (side.ino, 2));
    assert_eq!(
        (data.len(), side_data.len()),
        (70_001, 70_001),
        "a name of a hard link is empty"
    );
    assert_eq!(at(b"bin/tool").0.permissions, 0o4755);
    assert_eq!(at(b"link").0.target.as_deref(), Some(&b"../bin/tool"[..]));
    assert_eq!(at(b"n\xffme").1, b"bytes");
    assert_eq!(at(b"pipe").0.kind, Kind::Fifo);
    assert!(
        all.iter()
            .all(|(entry, _)| (entry.uid, entry.gid, entry.mtime) == (0, 0, 0))
    );
}

#[test]
fn the_given_time_is_that_of_every_entry() {
    let dir = scratch();
    sample(dir.path());
    let options = Options {
        epoch: Some(1_700_000_000),
        ..Options::default()
    };
    let bytes = build_with(dir.path(), &options).unwrap();
    assert!(
        entries(&bytes)
            .iter()
            .all(|(entry, _)| entry.mtime == 1_700_000_000)
    );
}

#[test]
fn other_readers_see_the_same_names() {
    let dir = scratch();
    sample(dir.path());
    fs::remove_file(dir.path().join(OsStr::from_bytes(b"n\xffme"))).unwrap();
    let bytes = archive_of(dir.path());
    for (tool, args) in [("cpio", &["-it", "--quiet"][..]), ("bsdtar", &["-tf", "-"])] {
        if let Some(names) = listed_by(tool, args, &bytes) {
            let names: Vec<&str> = names
                .iter()
                .map(|name| name.trim_end_matches('/'))
                .collect();
            assert_eq!(names, listing(&bytes), "{tool}");
        }
    }
}

#[test]
fn other_readers_unpack_hard_links_whole() {
    let dir = scratch();
    sample(dir.path());
    let bytes = archive_of(dir.path());
    for (tool, args) in [("cpio", &["-id", "--quiet"][..]), ("bsdtar", &["-xf", "-"])] {
        let into = scratch();
        let child = Command::new(tool)
            .args(args)
            .current_dir(into.path())
            .stdin(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("SKIPPED: {tool} is not installed");
            continue;
        };
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        assert!(child.wait().unwrap().success(), "{tool}");
        for name in ["bin-side", "bin/deep/same"] {
            assert_eq!(
                fs::read(into.path().join(name)).unwrap().len(),
                70_001,
                "{tool}: {name}"
            );
        }
    }
}

#[test]
fn an_archive_is_passed_on_byte_for_byte_also_out_of_its_compression() {
    let dir = scratch();
    sample(dir.path());
    let mut bytes = archive_of(dir.path());
    bytes.extend([0; 20]);
    let holder = scratch();
    let plain = holder.path().join("misnamed.tar");
    fs::write(&plain, &bytes).unwrap();
    assert_eq!(archive_of(&plain), bytes);
    let gzipped = holder.path().join("gz");
    let mut encoder = flate2::write::GzEncoder::new(
        fs::File::create(&gzipped).unwrap(),
        flate2::Compression::fast(),
    );
    encoder.write_all(&bytes).unwrap();
    encoder.finish().unwrap();
    assert_eq!(archive_of(&gzipped), bytes);
    let zstd = holder.path().join("zst");
    fs::write(&zstd, zstd::encode_all(&bytes[..], 1).unwrap()).unwrap();
    assert_eq!(archive_of(&zstd), bytes);
}

#[test]
fn a_tarball_gives_the_archive_of_its_directory() {
    let dir = scratch();
    sample(dir.path());
    let expected = archive_of(dir.path());
    let holder = scratch();
    for (flag, name) in [("-c", "a"), ("-cz", "b")] {
        for format in ["ustar", "gnu", "pax"] {
            let tarball = holder.path().join(format!("{name}-{format}"));
            let status = Command::new("tar")
                .args([flag, "-f"])
                .arg(&tarball)
                .arg(format!("--format={format}"))
                .arg("-C")
                .arg(dir.path())
                .arg(".")
                .status()
                .unwrap();
            assert!(status.success());
            assert_eq!(archive_of(&tarball), expected, "{flag} {format}");
        }
    }
}

#[test]
fn a_file_of_four_gibibytes_is_refused_by_its_path() {
    let dir = scratch();
    fs::create_dir(dir.path().join("var")).unwrap();
    let big = fs::File::create(dir.path().join("var/big")).unwrap();
    big.set_len(1 << 32).unwrap();
    let error = refused(dir.path());
    assert!(
        error.contains("var/big") && error.contains("4 GiB"),
        "{error}"
    );
}

#[test]
fn an_archive_built_into_its_own_source_does_not_hold_itself() {
    let dir = scratch();
    fs::write(dir.path().join("file"), "content").unwrap();
    let out = dir.path().join("out.cpio");
    let mut results = Vec::new();
    for _ in 0..2 {
        let source = Source::detect(dir.path()).unwrap();
        build(&source, &out, &Options::default(), &mut |_| {}).unwrap();
        results.push(fs::read(&out).unwrap());
    }
    assert_eq!(listing(&results[0]), ["file"]);
    assert_eq!(results[0], results[1]);
}

#[test]
fn sockets_are_left_out_and_said_so() {
    let dir = scratch();
    let _listener = std::os::unix::net::UnixListener::bind(dir.path().join("sock")).unwrap();
    let out = scratch();
    let source = Source::detect(dir.path()).unwrap();
    let built = build(
        &source,
        &out.path().join("o"),
        &Options::default(),
        &mut |_| {},
    )
    .unwrap();
    assert_eq!(built.entries, 0);
    assert!(built.warnings[0].contains("sock"), "{:?}", built.warnings);
}

fn tarball(dir: &Path, fill: impl FnOnce(&mut tar::Builder<fs::File>)) -> PathBuf {
    let path = dir.join("x");
    let mut builder = tar::Builder::new(fs::File::create(&path).unwrap());
    fill(&mut builder);
    builder.finish().unwrap();
    path
}

fn header(name: &[u8], kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

#[test]
fn a_tarball_cannot_lead_out_of_the_root() {
    use tar::EntryType::{Directory, Link, Regular, Symlink};
    let dir = scratch();
    let link = |name: &[u8], kind, target: &str| {
        let mut header = header(name, kind, 0);
        header.set_link_name_literal(target).unwrap();
        header.set_cksum();
        header
    };
    let cases: [(&str, Vec<tar::Header>, &str); 7] = [
        ("dots", vec![header(b"../x", Regular, 0)], "contains `..`"),
        (
            "dots within",
            vec![header(b"a/../../x", Regular, 0)],
            "contains `..`",
        ),
        (
            "through a circle of links",
            vec![
                link(b"a", Symlink, "b"),
                link(b"b", Symlink, "a"),
                header(b"a/x", Regular, 0),
            ],
            "form a loop",
        ),
        (
            "below a file",
            vec![header(b"a", Regular, 0), header(b"a/x", Regular, 0)],
            "not a directory",
        ),
        (
            "hard link out",
            vec![link(b"a", Link, "../../etc/passwd")],
            "contains `..`",
        ),
        (
            "hard link to nothing",
            vec![link(b"a", Link, "/etc/passwd")],
            "hard link",
        ),
        (
            "directory lost",
            vec![
                header(b"a", Directory, 0),
                header(b"a/x", Regular, 0),
                header(b"a", Regular, 0),
            ],
            "directory that has entries",
        ),
    ];
    for (case, headers, reason) in cases {
        let path = tarball(dir.path(), |builder| {
            for header in &headers {
                builder.append(header, &[][..]).unwrap();
            }
        });
        let error = refused(&path);
        assert!(error.contains(reason), "{case}: {error}");
    }
    // An absolute name begins at the root of the archive, as tar has it.
    let path = tarball(dir.path(), |builder| {
        builder
            .append(&header(b"/etc/x", Regular, 0), &[][..])
            .unwrap();
    });
    assert_eq!(listing(&archive_of(&path)), ["etc", "etc/x"]);
}

#[test]
fn a_tarball_that_ends_early_is_refused() {
    let dir = scratch();
    let path = tarball(dir.path(), |builder| {
        builder
            .append(&header(b"a", tar::EntryType::Regular, 2000), &[7; 2000][..])
            .unwrap();
    });
    let whole = fs::read(&path).unwrap();
    for length in [100, 511, 600, 1500] {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(
            build_with(&path, &Options::default()).is_err(),
            "{length} bytes are taken"
        );
    }
}

#[test]
fn an_archive_cut_anywhere_is_refused_with_the_place() {
    let dir = scratch();
    fs::write(dir.path().join("file"), "content").unwrap();
    symlink("file", dir.path().join("link")).unwrap();
    let whole = archive_of(dir.path());
    let holder = scratch();
    let cut = holder.path().join("cut");
    for length in 6..whole.len() {
        fs::write(&cut, &whole[..length]).unwrap();
        let error = refused(&cut);
        assert!(error.contains("at byte"), "{length}: {error}");
    }
}

/// An archive with one entry made by hand.
fn newc(name: &str, mode: u32, size: u32, data: &str) -> Vec<u8> {
    let mut bytes = format!(
        "070701{:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{size:08x}{:032x}{:08x}{:08x}{name}\0",
        1,
        0,
        0,
        1,
        0,
        0,
        name.len() + 1,
        0
    )
    .into_bytes();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(data.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[test]
fn a_hostile_archive_is_refused() {
    let trailer = newc("TRAILER!!!", 0, 0, "");
    let with = |parts: &[Vec<u8>]| [parts.concat(), trailer.clone()].concat();
    let cases = [
        (with(&[newc("../x", 0o100_644, 0, "")]), "contains `..`"),
        (
            with(&[
                newc("a", 0o120_777, 4, "/b/c"),
                newc("b", 0o120_777, 1, "a"),
                newc("a/x", 0o100_644, 0, ""),
            ]),
            "form a loop",
        ),
        (with(&[newc("a", 0o120_777, 0, "")]), "link target"),
        (with(&[newc("a", 0o100_644, u32::MAX, "x")]), "ends at byte"),
        (with(&[newc("a", 0o150_000, 0, "")]), "mode"),
        (
            with(&[newc(&"x".repeat(5000), 0o100_644, 0, "")]),
            "longer than",
        ),
        (
            [with(&[]), b"garbage".to_vec()].concat(),
            "data after the end",
        ),
    ];
    let dir = scratch();
    for (bytes, reason) in cases {
        let path = dir.path().join("x");
        fs::write(&path, bytes).unwrap();
        let error = refused(&path);
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

#[test]
fn what_is_no_source_is_named() {
    let dir = scratch();
    for (bytes, what) in [
        (&b""[..], "empty"),
        (b"hello", "not a directory, a cpio archive or a tarball"),
        (b"\x04\x22\x4d\x18...", "compressed with lz4"),
        (b"070707000", "old portable"),
        (b"PK\x03\x04", "zip"),
        (b"\x7fELF\x02", "program"),
    ] {
        let path = dir.path().join("x.cpio");
        fs::write(&path, bytes).unwrap();
        let error = refused(&path);
        assert!(error.contains(what), "{error}");
    }
    let missing = refused(&dir.path().join("missing"));
    assert!(missing.contains("missing"), "{missing}");
}

/// Reads bytes as a newc archive as far as they are one: no path leads out of the root.
fn exercise(bytes: &[u8]) {
    let mut reader = kraft_rootfs::archive::Reader::new(bytes);
    while let Ok(Some(entry)) = reader.next_entry() {
        let mut parts = entry.path.split(|&byte| byte == b'/');
        assert!(
            entry.path.is_empty() || parts.all(|part| !matches!(part, b"" | b"." | b"..")),
            "{entry:?}"
        );
        if reader.copy_content(&mut std::io::sink()).is_err() {
            return;
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600)) {
        exercise(&bytes);
        let mut framed = b"070701".to_vec();
        framed.extend(&bytes);
        exercise(&framed);
    }

    #[test]
    fn no_damage_to_an_archive_makes_the_reader_panic(at in 0usize..492, byte: u8) {
        let mut bytes = [newc("a", 0o040_755, 0, ""), newc("a/b", 0o100_644, 3, "hi\n"),
            newc("a/l", 0o120_777, 1, "b"), newc("TRAILER!!!", 0, 0, "")].concat();
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        exercise(&bytes);
    }
}
