//! Components from archives.

use kraft_core::error::chain;
use std::os::unix::fs::{PermissionsExt, symlink};

use kraft_build::sources::{Credential, Error, Origin};
use kraft_core::lock::Pin;
use kraft_sys::tool::Tool;

use crate::server::Server;
use crate::world::{World, get, obtain, resolve, text, wanted};

const FILES: &[(&str, &str)] = &[("Config.uk", "one"), ("a/b/deep", "inside")];

fn sum(world: &World, name: &str) -> String {
    let path = world.path(&format!("files/{name}"));
    let output = Tool::new("sha256sum").args([path]).run().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

#[test]
fn archives_of_every_kind_are_unpacked_without_their_leading_directory() {
    let world = World::new();
    for (name, flag) in [
        ("x.tar", "--format=pax"),
        ("x.tar.gz", "-z"),
        ("x.tgz", "-z"),
        ("x.tar.zst", "--zstd"),
        ("x.tar.xz", "-J"),
        ("x.tar.bz2", "-j"),
    ] {
        world.tarball(name, flag, FILES);
        let to = world.path(&format!("project/{name}"));
        let url = world.server.url(&format!("files/{name}"));
        assert_eq!(
            get(&world.sources(), &wanted(&url, None), &to).unwrap(),
            sum(&world, name)
        );
        assert_eq!(text(&to.join("a/b/deep")), "inside", "{name}");
    }
    let packed = world.path("packed/x.tar");
    let zip = world.path("files/x.zip");
    Tool::new("zip")
        .args(["-qry", zip.to_str().unwrap(), "top"])
        .current_dir(packed)
        .run()
        .unwrap();
    for source in [
        world.server.url("files/x.zip"),
        zip.display().to_string(),
        format!("file://{}", zip.display()),
    ] {
        let to = world.path("project/zip");
        get(&world.sources(), &wanted(&source, None), &to).unwrap();
        assert_eq!(text(&to.join("a/b/deep")), "inside", "{source}");
    }
}

#[test]
fn modes_links_and_second_names_are_kept() {
    let world = World::new();
    let run = world.write("packed/x.tar.gz/top/run", "#!/bin/sh");
    std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o755)).unwrap();
    symlink("a/b/deep", run.with_file_name("link")).unwrap();
    std::fs::hard_link(&run, run.with_file_name("same")).unwrap();
    world.tarball("x.tar.gz", "-z", FILES);
    let to = world.path("project/x");
    get(
        &world.sources(),
        &wanted(&world.server.url("files/x.tar.gz"), None),
        &to,
    )
    .unwrap();
    assert_eq!(text(&to.join("link")), "inside");
    for name in ["run", "same"] {
        assert_eq!(
            std::fs::metadata(to.join(name))
                .unwrap()
                .permissions()
                .mode()
                & 0o111,
            0o111
        );
    }
}

#[test]
fn a_second_project_transfers_nothing() {
    let world = World::new();
    world.tarball("x.tar.gz", "-z", FILES);
    let (sources, url) = (world.sources(), world.server.url("files/x.tar.gz"));
    get(&sources, &wanted(&url, None), &world.path("project/a")).unwrap();
    assert_eq!(world.server.asked(), ["GET /files/x.tar.gz 200"]);
    get(&sources, &wanted(&url, None), &world.path("project/b")).unwrap();
    assert_eq!(world.server.asked(), ["GET /files/x.tar.gz 304"]);
    let pinned = Pin::Archive {
        archive: url,
        sha256: sum(&world, "x.tar.gz"),
    };
    obtain(&sources, &pinned).unwrap();
    sources
        .materialise("x", &Origin::Pinned(pinned), &world.path("project/c"))
        .unwrap();
    assert_eq!(world.server.asked(), Vec::<String>::new());
}

#[test]
fn offline_an_archive_is_what_it_was_last() {
    let world = World::new();
    world.tarball("x.tar.gz", "-z", FILES);
    let (mut sources, url) = (world.sources(), world.server.url("files/x.tar.gz"));
    sources.offline = true;
    let error = resolve(&sources, &wanted(&url, None)).unwrap_err();
    assert!(matches!(error, Error::Offline { .. }), "{error}");
    sources.offline = false;
    get(&sources, &wanted(&url, None), &world.path("project/a")).unwrap();
    world.server.asked();
    sources.offline = true;
    get(&sources, &wanted(&url, None), &world.path("project/b")).unwrap();
    assert_eq!(world.server.asked(), Vec::<String>::new());
}

#[test]
fn a_download_that_breaks_off_is_resumed_and_a_busy_server_asked_again() {
    let world = World::new();
    let big = "x".repeat(3 << 20);
    world.tarball("x.tar", "--format=pax", &[("big", &big)]);
    let to = world.path("project/x");
    let url = world.server.url("cut/x.tar");
    get(&world.sources(), &wanted(&url, None), &to).unwrap();
    assert_eq!(text(&to.join("big")), big);
    assert_eq!(
        world.server.asked(),
        ["GET /cut/x.tar 200", "GET /cut/x.tar 206"]
    );
    let url = world.server.url("busy/x.tar");
    get(&world.sources(), &wanted(&url, None), &to).unwrap();
    assert_eq!(
        world.server.asked(),
        ["GET /busy/x.tar 503", "GET /busy/x.tar 200"]
    );
}

#[test]
fn a_wrong_sum_is_told_with_both_and_kept_nowhere() {
    let world = World::new();
    world.tarball("x.tar.gz", "-z", FILES);
    let (url, found) = (world.server.url("files/x.tar.gz"), sum(&world, "x.tar.gz"));
    let wrong = Pin::Archive {
        archive: url,
        sha256: "0".repeat(64),
    };
    let error = obtain(&world.sources(), &wrong).unwrap_err();
    let told = chain(&error);
    assert!(
        told.contains(&found) && told.contains(&"0".repeat(64)),
        "{told}"
    );
    assert!(!world.path("cache/archives").join(found).exists());
}

#[test]
fn refusals_and_dead_servers_are_told_apart() {
    let world = World::new();
    let sources = world.sources();
    let url = world.server.url("files/none.tar.gz?key=secret");
    let error = resolve(&sources, &wanted(&url, None)).unwrap_err();
    assert!(
        matches!(error, Error::NotThere { status: 404, .. }),
        "{error}"
    );
    assert!(!chain(&error).contains("secret"), "{error}");
    let error = resolve(&sources, &wanted("http://127.0.0.1:9/x.tar", None)).unwrap_err();
    assert!(chain(&error).contains("refused"), "{error}");
    assert!(matches!(error, Error::Network { .. }), "{error}");
}

#[test]
fn credentials_go_to_their_host_and_no_further() {
    let world = World::new();
    world.tarball("x.tar.gz", "-z", FILES);
    let other = Server::start(&world.path("files"), &world.path("repositories"));
    let me = Credential {
        user: "me".to_owned(),
        token: "only-for-me".to_owned(),
    };
    let sources = world.sources_as(0, vec![(world.server.host.clone(), me)]);
    assert!(!format!("{sources:?}").contains("only-for-me"));
    let url = world
        .server
        .url(&format!("away/{}/files/x.tar.gz", other.host));
    resolve(&sources, &wanted(&url, None)).unwrap();
    assert!(world.server.asked()[0].ends_with("302 Basic bWU6b25seS1mb3ItbWU="));
    assert_eq!(other.asked(), ["GET /files/x.tar.gz 200"]);
}

#[test]
fn what_would_do_harm_or_is_broken_is_refused_and_nothing_is_left() {
    let world = World::new();
    let outside = world.write("packed/up/secret", "x");
    for (name, args) in [
        (
            "up.tar",
            &["-P", "-C", "packed/up/../up", "../up/secret"][..],
        ),
        ("absolute.tar", &["-P", outside.to_str().unwrap()]),
    ] {
        let to = world.path(&format!("files/{name}"));
        Tool::new("tar")
            .args(["-cf", to.to_str().unwrap()])
            .args(args)
            .current_dir(world.dir.path())
            .run()
            .unwrap();
    }
    symlink(
        "/etc/passwd",
        world
            .write("packed/link.tar/top/x", "")
            .with_file_name("bad"),
    )
    .unwrap();
    world.tarball("link.tar", "--format=pax", &[]);
    let sly = world.write("packed/sly.tar/top/x", "");
    symlink(".", sly.with_file_name("up")).unwrap();
    symlink("up/../secret", sly.with_file_name("bad")).unwrap();
    world.tarball("sly.tar", "--format=pax", &[]);
    Tool::new("mkfifo")
        .args([world
            .write("packed/fifo.tar/top/x", "")
            .with_file_name("pipe")])
        .run()
        .unwrap();
    world.tarball("fifo.tar", "--format=pax", &[]);
    world.tarball("short.tar.gz", "-z", &[("big", &"abc".repeat(100_000))]);
    let short = world.path("files/short.tar.gz");
    let bytes = std::fs::read(&short).unwrap();
    kraft_sys::fs::replace_file(&short, &bytes[..bytes.len() - 9]).unwrap();
    world.write("files/text.tar.gz", "<html>not here</html>");
    world.write("files/nothing.tar", "");
    for (name, words) in [
        ("up.tar", "leads out of it"),
        ("absolute.tar", "leads out of it"),
        ("link.tar", "the link `top/bad` leads out of it"),
        ("sly.tar", "`bad` is a link that leads outside"),
        ("fifo.tar", "neither a file, a directory nor a link"),
        ("short.tar.gz", "cannot unpack"),
        ("text.tar.gz", "cannot unpack"),
        ("nothing.tar", "it is empty"),
    ] {
        let url = world.server.url(&format!("files/{name}"));
        let error = get(
            &world.sources(),
            &wanted(&url, None),
            &world.path("project/x"),
        )
        .unwrap_err();
        assert!(chain(&error).contains(words), "{name}: {error}");
        assert_eq!(
            std::fs::read_dir(world.path("project")).unwrap().count(),
            0,
            "{name}"
        );
    }
}

#[test]
fn sparse_files_are_whole_and_count_as_what_is_written() {
    let world = World::new();
    let file = world.write("packed/x.tar/top/holes", "");
    let data = |size: u64| {
        let file = std::fs::File::options().write(true).open(&file).unwrap();
        file.set_len(size).unwrap();
    };
    let fetched = |form: &str| {
        world.tarball("x.tar", form, FILES);
        let to = world.path(&format!("project/{form}"));
        get(
            &world.sources(),
            &wanted(&world.path("files/x.tar").display().to_string(), None),
            &to,
        )
        .map(|_| std::fs::metadata(to.join("holes")).unwrap().len())
    };
    let forms = ["-Sp", "-SHpax", "-SHgnu"];
    for form in forms {
        data(3 << 20);
        assert_eq!(fetched(form).unwrap(), 3 << 20, "{form}");
        // Some kilobytes that would fill the disk.
        data(10 << 30);
        let error = chain(&fetched(form).unwrap_err());
        assert!(error.contains("more than 4 GiB and 64 times"), "{error}");
        assert_eq!(
            text(&world.path(&format!("project/{form}/Config.uk"))),
            "one"
        );
    }
}

#[test]
fn an_archive_that_is_no_regular_file_is_refused_and_not_waited_for() {
    let world = World::new();
    let fifo = world.path("x.tar");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o644.into()).unwrap();
    std::fs::create_dir(world.path("y.tar")).unwrap();
    for (name, what) in [("x.tar", "FIFO"), ("y.tar", "directory")] {
        let source = world.path(name).display().to_string();
        let to = world.path("project/x");
        let error = get(&world.sources(), &wanted(&source, None), &to).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let text = format!("{error}: {}", cause.unwrap_or_default());
        assert!(text.contains(what), "{text}");
        assert!(!to.exists());
    }
}

#[test]
fn a_damaged_or_foreign_compression_is_an_error() {
    let world = World::new();
    for (name, flag) in [("x.tar.gz", "-z"), ("x.tar.xz", "-J"), ("x.tar.bz2", "-j")] {
        world.tarball(name, flag, FILES);
        let path = world.path(&format!("files/{name}"));
        let whole = std::fs::read(&path).unwrap();
        let garbage = [&whole[..], b"garbage"].concat();
        for bytes in [&whole[..whole.len() - 4], &garbage] {
            kraft_sys::fs::replace_file(&path, bytes).unwrap();
            let source = path.display().to_string();
            let to = world.path("project/x");
            assert!(get(&world.sources(), &wanted(&source, None), &to).is_err());
            assert!(!to.exists(), "{name}");
        }
    }
}
