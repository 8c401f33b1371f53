//! Layers laid over each other, and tarballs that mean harm.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed, and says where"
)]

use std::io::Write as _;
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
    Ok(read(out))
}

/// Lists an archive: paths, with the contents of files and the targets of links.
fn read(out: &Path) -> Vec<String> {
    let mut reader = Reader::open(out).unwrap();
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut text = Vec::new();
        reader.copy_content(&mut text).unwrap();
        let text = entry.target.unwrap_or(text);
        let path = String::from_utf8(entry.path).unwrap();
        let text = String::from_utf8(text).unwrap();
        found.push(if text.is_empty() {
            path
        } else {
            format!("{path}={text}")
        });
    }
    found
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
    // A hard link comes after the file that it names.
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
            "contains `..`",
        ),
        (
            "climbs later",
            vec![Entry::File("a/../../outside", "x")],
            "contains `..`",
        ),
        (
            "through a circle",
            vec![Entry::Link("way", "way"), Entry::File("way/x", "x")],
            "form a loop",
        ),
        (
            "below a file",
            vec![Entry::File("way", "x"), Entry::File("way/x", "x")],
            "not a directory",
        ),
        (
            "hard link out",
            vec![Entry::Hard("a", "../outside")],
            "contains `..`",
        ),
        (
            "hard link to nothing",
            vec![Entry::Hard("a", "b")],
            "not an earlier file",
        ),
        (
            "whiteout of ..",
            vec![Entry::File("d/.wh...", "")],
            "does not name an entry",
        ),
        (
            "whiteout of .",
            vec![Entry::File(".wh..", "")],
            "does not name an entry",
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

#[test]
fn entries_below_a_link_go_where_it_leads_inside_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let outside = dir.path().join("outside");
    let outside = outside.to_str().unwrap();
    let base = |target| {
        vec![
            Entry::Dir("usr/bin"),
            Entry::File("usr/bin/a", "1"),
            Entry::Link("bin", target),
        ]
    };
    for target in [
        "usr/bin",
        "/usr/bin",
        "./usr//bin/",
        "/../usr/bin",
        "usr/bin/../../usr/bin",
    ] {
        let upper = vec![
            Entry::File("bin/b", "2"),
            Entry::Hard("c", "bin/a"),
            Entry::Hard("bin/d", "bin/b"),
        ];
        let expected = [
            "bin",
            "c=1",
            "usr",
            "usr/bin",
            "usr/bin/a=1",
            "usr/bin/b=2",
            "usr/bin/d=2",
        ];
        let layered = stacked(&out, &[tarball(&base(target)), tarball(&upper)]).unwrap();
        assert_eq!(
            layered,
            expected.map(|it| if it == "bin" {
                format!("bin={target}")
            } else {
                it.to_owned()
            })
        );
        let one = stacked(&out, &[tarball(&[base(target), upper].concat())]).unwrap();
        assert_eq!(one, layered, "{target}");
    }
    // Through links to links, and into a directory that is not there yet.
    let found = stacked(
        &out,
        &[tarball(&[
            Entry::Link("l", "m"),
            Entry::Link("m", "deep/new"),
            Entry::File("l/x/y", "1"),
        ])],
    );
    assert_eq!(
        found.unwrap(),
        [
            "deep",
            "deep/new",
            "deep/new/x",
            "deep/new/x/y=1",
            "l=m",
            "m=deep/new"
        ]
    );
    // Nothing is reached outside the root.
    for target in ["..", "../../../..", outside] {
        let found = stacked(
            &out,
            &[tarball(&[
                Entry::Link("way", target),
                Entry::File("way/f", "x"),
            ])],
        );
        let found = found.unwrap();
        assert!(found.iter().any(|it| it.ends_with("f=x")), "{found:?}");
        assert!(!Path::new(outside).exists());
    }
}

#[test]
fn what_an_entry_names_itself_is_replaced_and_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let base = tarball(&[Entry::File("usr/bin/a", "1"), Entry::Link("bin", "usr/bin")]);
    let directory = tarball(&[Entry::Dir("bin/"), Entry::File("bin/b", "2")]);
    let found = stacked(&out, &[base.clone(), directory]).unwrap();
    assert_eq!(found, ["bin", "bin/b=2", "usr", "usr/bin", "usr/bin/a=1"]);
    let file = tarball(&[Entry::File("bin", "2")]);
    let found = stacked(&out, &[base, file]).unwrap();
    assert_eq!(found, ["bin=2", "usr", "usr/bin", "usr/bin/a=1"]);
}

#[test]
fn whiteouts_are_looked_for_through_links_and_make_room_for_links() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let usr = [
        Entry::File("usr/bin/a", "1"),
        Entry::File("usr/bin/b", "1"),
        Entry::Link("bin", "usr/bin"),
    ];
    let found = stacked(
        &out,
        &[tarball(&usr), tarball(&[Entry::File("bin/.wh.a", "")])],
    )
    .unwrap();
    assert_eq!(found, ["bin=usr/bin", "usr", "usr/bin", "usr/bin/b=1"]);
    // A directory becomes a link to another, and something comes below it.
    let lower = tarball(&[Entry::File("d/f", "1"), Entry::File("e/h", "1")]);
    let upper = tarball(&[
        Entry::File(".wh.d", ""),
        Entry::Link("d", "e"),
        Entry::File("d/g", "2"),
    ]);
    let found = stacked(&out, &[lower, upper]).unwrap();
    assert_eq!(found, ["d=e", "e", "e/g=2", "e/h=1"]);
    // What is opaque is the directory that replaced the link, and not the one it led to.
    let lower = tarball(&[Entry::File("e/h", "1"), Entry::Link("d", "e")]);
    let upper = tarball(&[
        Entry::Dir("d"),
        Entry::File("d/.wh..wh..opq", ""),
        Entry::File("d/g", "2"),
    ]);
    let found = stacked(&out, &[lower, upper]).unwrap();
    assert_eq!(found, ["d", "d/g=2", "e", "e/h=1"]);
}

#[test]
fn an_opaque_directory_keeps_the_parents_of_what_its_layer_brings() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let lower = tarball(&[Entry::File("d/sub/old", "1"), Entry::File("d/gone/x", "1")]);
    for whiteouts in [
        ["d/.wh..wh..opq", "x"],
        [".wh.d", "x"],
        ["d/.wh.sub", "d/.wh.gone"],
    ] {
        let upper = tarball(&[
            Entry::File("d/sub/new", "2"),
            Entry::File(whiteouts[0], ""),
            Entry::File(whiteouts[1], ""),
        ]);
        let mut found = stacked(&out, &[lower.clone(), upper]).unwrap();
        found.retain(|it| it != "x");
        assert_eq!(found, ["d", "d/sub", "d/sub/new=2"], "{whiteouts:?}");
    }
}

#[test]
fn metadata_of_aufs_is_no_part_of_an_image_but_hard_links_may_name_it() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let layer = tarball(&[
        Entry::File("f", "f"),
        Entry::Dir(".wh..wh.plnk/"),
        Entry::File(".wh..wh.plnk/1.2", "linked"),
        Entry::Dir(".wh..wh.orph/"),
        Entry::File(".wh..wh.aufs", ""),
        Entry::File("d/.wh..wh.other", ""),
        Entry::Hard("a", ".wh..wh.plnk/1.2"),
        Entry::Hard("b", ".wh..wh.plnk/1.2"),
    ]);
    let found = stacked(&out, &[layer]).unwrap();
    assert_eq!(found, ["a=linked", "b=linked", "f=f"]);
}

/// Runs a program in a directory; `None`, and says so, if it is not installed.
fn ran(program: &str, args: &[&str], dir: &Path) -> Option<bool> {
    match std::process::Command::new(program)
        .args(args)
        .current_dir(dir)
        .output()
    {
        Ok(output) => Some(output.status.success()),
        Err(error) => {
            eprintln!("SKIPPED: {program}: {error}");
            None
        }
    }
}

/// Lists a directory as an archive of it is listed.
fn listed(root: &Path) -> Vec<String> {
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("out");
    let source = kraft_rootfs::Source::detect(root).unwrap();
    kraft_rootfs::build(&source, &out, &Options::default(), &mut |_| {}).unwrap();
    read(&out)
}

#[test]
fn tarballs_with_links_give_what_tar_and_bsdtar_unpack() {
    let cases: [&[Entry<'_>]; 5] = [
        &[
            Entry::Dir("usr/lib/"),
            Entry::Link("lib", "usr/lib"),
            Entry::File("lib/x", "x"),
        ],
        &[
            Entry::Dir("usr/lib/"),
            Entry::File("usr/lib/x", "x"),
            Entry::Link("lib", "usr/lib"),
            Entry::Hard("h", "lib/x"),
        ],
        &[
            Entry::Dir("usr/lib/"),
            Entry::Link("lib", "usr/lib"),
            Entry::Dir("lib/sub/"),
            Entry::File("lib/sub/x", "x"),
        ],
        &[
            Entry::Dir("d/"),
            Entry::Link("l", "d"),
            Entry::File("l", "x"),
        ],
        &[
            Entry::Dir("a/b/"),
            Entry::Link("l", "a"),
            Entry::Link("l/m", "b"),
            Entry::File("l/m/x", "x"),
        ],
    ];
    let dir = tempfile::tempdir().unwrap();
    for (at, entries) in cases.iter().enumerate() {
        let tar = tarball(entries);
        let file = dir.path().join(format!("{at}.tar"));
        std::fs::File::create(&file)
            .unwrap()
            .write_all(&tar)
            .unwrap();
        let ours = stacked(&dir.path().join("out"), &[tar]).unwrap();
        for (program, args) in [("tar", &["-xf"][..]), ("bsdtar", &["-xPf"])] {
            let root = dir.path().join(format!("{program}-{at}"));
            std::fs::create_dir(&root).unwrap();
            let args = [args, &[file.to_str().unwrap()]].concat();
            if let Some(ended_well) = ran(program, &args, &root) {
                assert!(ended_well, "{program} {at}");
                assert_eq!(listed(&root), ours, "{program} {at}");
            }
        }
    }
}
