//! Layers laid over each other, and tarballs that mean harm.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and says where"
)]

use std::path::{Path, PathBuf};

use kraft_rootfs::archive::Reader;
use kraft_rootfs::{Error, Layer, Options, build_layers, build_tar};
use tar::{Builder, EntryType, Header};

/// One entry of a tarball.
#[derive(Clone, Copy)]
enum Entry<'a> {
    File(&'a str, &'a str),
    Dir(&'a str),
    Link(&'a str, &'a str),
    Hard(&'a str, &'a str),
    Device(&'a str),
}

fn tarball(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for entry in entries {
        let mut header = Header::new_gnu();
        header.set_mode(0o755);
        let (name, kind, target, text) = match *entry {
            Entry::File(name, text) => (name, EntryType::Regular, "", text),
            Entry::Dir(name) => (name, EntryType::Directory, "", ""),
            Entry::Link(name, target) => (name, EntryType::Symlink, target, ""),
            Entry::Hard(name, target) => (name, EntryType::Link, target, ""),
            Entry::Device(name) => (name, EntryType::Char, "", ""),
        };
        header.set_entry_type(kind);
        header.set_size(text.len() as u64);
        // Past the checks of who writes: names as an attacker would put them.
        let field = &mut header.as_old_mut().name;
        for (to, from) in field.iter_mut().zip(name.as_bytes()) {
            *to = *from;
        }
        let field = &mut header.as_old_mut().linkname;
        for (to, from) in field.iter_mut().zip(target.as_bytes()) {
            *to = *from;
        }
        header.set_device_major(0).unwrap();
        header.set_device_minor(0).unwrap();
        header.set_cksum();
        builder.append(&header, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn stacked(out: &Path, layers: &[Vec<u8>]) -> Result<Vec<String>, Error> {
    let mut waiting = layers.iter();
    let mut next = || {
        let layer = waiting.next()?;
        Some(Layer {
            name: PathBuf::from("a layer"),
            tar: Box::new(layer.as_slice()),
        })
    };
    build_layers(&mut next, out, &Options::default(), &mut |_| {})?;
    let mut reader = Reader::open(out).unwrap();
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut text = Vec::new();
        reader.copy_content(&mut text).unwrap();
        let path = String::from_utf8(entry.path).unwrap();
        let text = String::from_utf8(text).unwrap();
        found.push(if text.is_empty() {
            path
        } else {
            format!("{path}={text}")
        });
    }
    Ok(found)
}

#[test]
fn later_layers_add_replace_and_take_away() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let layers = [
        tarball(&[
            Entry::Dir("etc/"),
            Entry::File("etc/a", "1"),
            Entry::File("etc/b", "1"),
            Entry::File("var/old/x", "1"),
            Entry::File("opaque/below", "1"),
            Entry::Dir("becomes-file"),
            Entry::File("becomes-file/in", "1"),
        ]),
        tarball(&[
            Entry::File("etc/.wh.a", ""),
            Entry::File("etc/b", "2"),
            Entry::File("opaque/mine", "2"),
            Entry::File("opaque/.wh..wh..opq", ""),
            Entry::File(".wh.var", ""),
            Entry::File("becomes-file", "2"),
            Entry::File(".wh..wh.aufs", ""),
        ]),
        tarball(&[Entry::File("etc/a", "3"), Entry::File("var/new", "3")]),
    ];
    let found = stacked(&out, &layers).unwrap();
    assert_eq!(
        found,
        [
            "becomes-file=2",
            "etc",
            "etc/a=3",
            "etc/b=2",
            "opaque",
            "opaque/mine=2",
            "var",
            "var/new=3"
        ]
    );
}

#[test]
fn a_layer_does_not_take_away_what_it_brings_itself() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let layers = [
        tarball(&[Entry::File("d/old", "1")]),
        tarball(&[
            Entry::File("d/new", "2"),
            Entry::File("d/.wh.new", ""),
            Entry::File("d/.wh..wh..opq", ""),
        ]),
    ];
    assert_eq!(stacked(&out, &layers).unwrap(), ["d", "d/new=2"]);
}

#[test]
fn a_tarball_in_order_and_one_in_disorder_give_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let entries = [
        Entry::Dir("a"),
        Entry::File("a/x", "text"),
        Entry::Hard("a/y", "a/x"),
        Entry::Dir("b"),
        Entry::Link("b/l", "../a"),
        Entry::File("z", "last"),
    ];
    // A hard link stands behind what it names.
    let mixed = [5, 1, 2, 4, 3, 0].map(|at| entries.get(at).copied().unwrap());
    let build = |name: &str, entries: &[Entry<'_>]| {
        let out = dir.path().join(name);
        let tar = tarball(entries);
        let name = Path::new(name);
        build_tar(
            name,
            &mut tar.as_slice(),
            &out,
            &Options::default(),
            &mut |_| {},
        )
        .unwrap();
        std::fs::read(out).unwrap()
    };
    let sorted = build("sorted", &entries);
    assert_eq!(build("mixed", &mixed), sorted);
    // Both names of the file know that there are two.
    let mut reader = Reader::new(sorted.as_slice());
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        if entry.path.starts_with(b"a/") {
            names.push((entry.ino, entry.nlink, entry.size));
        }
    }
    assert_eq!(names, [(2, 2, 4), (2, 2, 4)]);
}

#[test]
fn what_means_harm_is_an_error_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("inside/out");
    std::fs::create_dir(dir.path().join("inside")).unwrap();
    let outside = dir.path().join("outside");
    let outside = outside.to_str().unwrap();
    let attacks: [(&str, Vec<Entry<'_>>, &str); 8] = [
        (
            "climbs",
            vec![Entry::File("../outside", "x")],
            "leads out of the root",
        ),
        (
            "climbs later",
            vec![Entry::File("a/../../outside", "x")],
            "leads out of the root",
        ),
        (
            "through a link",
            vec![Entry::Link("way", ".."), Entry::File("way/outside", "x")],
            "is a symbolic link",
        ),
        (
            "through an absolute link",
            vec![Entry::Link("way", outside), Entry::File("way/x", "x")],
            "is a symbolic link",
        ),
        (
            "hard link out",
            vec![Entry::Hard("a", "../outside")],
            "leads out of the root",
        ),
        (
            "hard link to nothing",
            vec![Entry::Hard("a", "b")],
            "no file before it",
        ),
        (
            "whiteout of ..",
            vec![Entry::File("d/.wh...", "")],
            "takes away no entry",
        ),
        (
            "whiteout of .",
            vec![Entry::File(".wh..", "")],
            "takes away no entry",
        ),
    ];
    for (name, entries, expected) in attacks {
        let error = stacked(&out, &[tarball(&entries)]).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let text = format!("{error}: {}", source.unwrap_or_default());
        assert!(text.contains(expected), "{name}: {text}");
        assert!(!out.exists(), "{name}");
        assert!(!Path::new(outside).exists(), "{name}");
    }
    let left: Vec<_> = std::fs::read_dir(dir.path().join("inside"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn devices_are_entries_of_the_archive_only() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let found = stacked(&out, &[tarball(&[Entry::Device("dev/null")])]).unwrap();
    assert_eq!(found, ["dev", "dev/null"]);
}
