//! Components by name, from sources of every kind.

use kraft_core::error::chain;
use std::os::unix::fs::PermissionsExt;

use kraft_build::catalog::{self, Updated};
use kraft_build::sources::{Error, Origin, Sources, Wanted};
use kraft_core::catalog::Entry;
use kraft_core::component::Kind;
use kraft_core::event::Silent;
use kraft_core::lock::Pin;

use crate::world::{World, get, resolve, text};

fn named(name: &str, version: Option<&str>) -> Wanted {
    Wanted {
        kind: Kind::Lib,
        name: name.to_owned(),
        source: None,
        version: version.map(str::to_owned),
    }
}

fn update(world: &World, sources: &mut Sources, places: &[&str]) -> Result<Updated, Error> {
    let places: Vec<String> = places.iter().map(|place| (*place).to_owned()).collect();
    let updated = catalog::update(sources, &world.path("manifests"), &places, &Silent)?;
    sources.catalog.clone_from(&updated.entries);
    Ok(updated)
}

fn names(entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .map(|e| format!("{}/{}", e.kind, e.name))
        .collect()
}

fn saved(world: &World) -> Vec<String> {
    names(&catalog::load(&world.path("manifests")).unwrap())
}

/// An index with one archive, as a web server has it.
fn index(world: &World) -> String {
    world.tarball("lib-x.tar.gz", "-z", &[("Config.uk", "one")]);
    world.write(
        "files/index.yaml",
        "name: test\nmanifests:\n- {name: x, type: lib, manifest: ./libs/x.yaml}\n",
    );
    world.write(
        "files/libs/x.yaml",
        "{name: x, type: lib, description: 'a library', channels: [{name: stable, default: true, resource: ../lib-x.tar.gz}],\n versions: [{version: '1.0', unikraft: 0.17.0, resource: ../none.tar.gz}]}\n",
    );
    world.server.url("files/index.yaml")
}

#[test]
fn every_kind_of_source_is_read_and_saved_as_files() {
    let world = World::new();
    world.repository("lib-git", &[("Config.uk", "one")]);
    world.repository("unikraft", &[("Config.uk", "core")]);
    world.write("single/lib-dir/Config.uk", "one");
    world.write("single/lib-dir/.git/HEAD", "of somebody who works here");
    world.write("many/lib-a/Config.uk", "one");
    world.write("many/b/Kraftfile", "spec: v0.6");
    world.write("many/readme/README", "no component");
    let alone = world.write(
        "manifest.yaml",
        "{name: alone, type: plat, channels: [{name: main, resource: ./single/lib-dir}]}",
    );
    let places = [
        index(&world),
        world.url("lib-git"),
        world.url("unikraft"),
        world.path("single/lib-dir").display().to_string(),
        world.path("many").display().to_string(),
        alone.display().to_string(),
    ];
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    let updated = update(&world, &mut world.sources(), &places).unwrap();
    assert!(updated.failed.is_empty(), "{:?}", updated.failed);
    let mut expected = names(&updated.entries);
    assert_eq!(expected.len(), 7, "{expected:?}");
    let mut found = saved(&world);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    for file in [
        "index.yaml",
        "unikraft.yaml",
        "libs/x.yaml",
        "apps/b.yaml",
        "plats/alone.yaml",
    ] {
        let path = world.path(&format!("manifests/{file}"));
        let permissions = std::fs::metadata(path).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, 0o600, "{file}");
    }
    let saved = text(&world.path("manifests/index.yaml"));
    assert!(
        saved.contains("last_updated:") && saved.contains("./libs/x.yaml"),
        "{saved}"
    );
    let dir = updated.entries.iter().find(|e| e.name == "dir").unwrap();
    assert_eq!(dir.provider.as_deref(), Some("dir"));
    let alone = updated.entries.iter().find(|e| e.name == "alone").unwrap();
    assert!(std::path::Path::new(alone.channels[0].resource.as_ref().unwrap()).is_dir());
}

#[test]
fn an_index_that_did_not_change_is_not_sent_again() {
    let world = World::new();
    let (mut sources, index) = (world.sources(), index(&world));
    update(&world, &mut sources, &[&index]).unwrap();
    world.server.asked();
    update(&world, &mut sources, &[&index]).unwrap();
    assert_eq!(
        world.server.asked(),
        ["GET /files/index.yaml 304", "GET /files/libs/x.yaml 304"]
    );
    assert_eq!(saved(&world), ["lib/x"]);
}

#[test]
fn a_component_is_found_by_name_and_version() {
    let world = World::new();
    let (mut sources, index) = (world.sources(), index(&world));
    update(&world, &mut sources, &[&index]).unwrap();
    let to = world.path("project/x");
    get(&sources, &named("x", None), &to).unwrap();
    assert_eq!(text(&to.join("Config.uk")), "one");
    get(&sources, &named("x", Some("stable")), &to).unwrap();
    let error = resolve(&sources, &named("y", None)).unwrap_err();
    assert!(
        chain(&error).starts_with("the catalog has no lib/y"),
        "{error}"
    );
    let error = resolve(&sources, &named("x", Some("stabel"))).unwrap_err();
    let Error::NoRelease { source, .. } = &error else {
        panic!("{error}")
    };
    assert!(
        source.to_string().contains("did you mean `stable`?"),
        "{source}"
    );
    let error = resolve(&sources, &named("x", Some("0.17.0"))).unwrap_err();
    assert!(
        matches!(error, Error::NotThere { status: 404, .. }),
        "{error}"
    );
}

#[test]
fn an_archive_that_is_gone_is_cloned_instead_and_git_may_be_preferred() {
    let world = World::new();
    let commit = world.repository("lib-x", &[("Config.uk", "from git")]);
    let url = world.url("lib-x");
    world.tarball("x.tar.gz", "-z", &[("Config.uk", "from an archive")]);
    let manifest = |archive: &str| {
        let resource = world.server.url(&format!("files/{archive}"));
        world.write(
            "x.yaml",
            &format!("name: x\ntype: lib\nprovider: git\norigin: {url}\nchannels:\n- {{name: main, default: true, resource: '{resource}'}}\n"),
        )
    };
    let mut sources = world.sources();
    let file = manifest("x.tar.gz");
    let place = file.to_str().unwrap();
    update(&world, &mut sources, &[place]).unwrap();
    let found = resolve(&sources, &named("x", None)).unwrap();
    assert!(matches!(found, Pin::Archive { .. }));
    sources.prefer_git = true;
    let expected = Pin::Git {
        git: url.clone(),
        commit: commit.clone(),
    };
    assert_eq!(resolve(&sources, &named("x", None)).unwrap(), expected);
    sources.prefer_git = false;
    manifest("none.tar.gz");
    update(&world, &mut sources, &[place]).unwrap();
    assert_eq!(resolve(&sources, &named("x", None)).unwrap(), expected);
    // What the catalog does not list is asked of the repository.
    let found = resolve(&sources, &named("x", Some(&commit[..10]))).unwrap();
    assert_eq!(found, expected);
}

#[test]
fn a_failing_source_is_named_and_what_was_known_stays() {
    let world = World::new();
    world.repository("lib-git", &[("Config.uk", "one")]);
    let mut sources = world.sources_as(0, Vec::new());
    let (index, git) = (index(&world), world.url("lib-git"));
    update(&world, &mut sources, &[&index, &git]).unwrap();
    std::fs::remove_file(world.path("files/index.yaml")).unwrap();
    let updated = update(&world, &mut sources, &[&index, &git]).unwrap();
    assert_eq!(updated.failed.len(), 1);
    assert_eq!(updated.failed[0].0, index);
    assert_eq!(saved(&world), ["lib/git", "lib/x"]);
    // Without the failing source, what only that knew is gone.
    update(&world, &mut sources, &[&git]).unwrap();
    assert_eq!(saved(&world), ["lib/git"]);
}

#[test]
fn repositories_of_an_owner_on_github_are_found_by_a_wildcard() {
    let world = World::new();
    world.repository("lib-one", &[("Config.uk", "one")]);
    world.repository("lib-two", &[("Config.uk", "two")]);
    let listed: Vec<String> = ["lib-one", "lib-two", "app-three"]
        .iter()
        .map(|name| {
            format!(
                "{{\"name\": \"{name}\", \"clone_url\": \"{}\", \"other\": 1}}",
                world.url(name)
            )
        })
        .collect();
    world.write(
        "files/users/somebody/repos",
        &format!("[{}]", listed.join(",")),
    );
    let mut sources = world.sources();
    update(&world, &mut sources, &["https://github.com/somebody/lib-*"]).unwrap();
    assert_eq!(saved(&world), ["lib/one", "lib/two"]);
    let found = resolve(&sources, &named("one", Some("main"))).unwrap();
    assert!(matches!(found, Pin::Git { .. }));
}

#[test]
fn releases_of_a_repository_are_versions_for_a_core() {
    let world = World::new();
    let commit = world.repository("lib-x", &[("Config.uk", "one")]);
    world.git("lib-x", &["tag", "-m", "a release", "RELEASE-0.17.0"]);
    world.git("lib-x", &["branch", "stable"]);
    world.git("lib-x", &["branch", "staging"]);
    world.push("lib-x");
    let mut sources = world.sources();
    let url = world.url("lib-x");
    update(&world, &mut sources, &[&url]).unwrap();
    let entry = sources.catalog[0].clone();
    assert_eq!(entry.versions[0].unikraft.as_deref(), Some("0.17.0"));
    assert_eq!(entry.default_channel().unwrap().name, "stable");
    for version in [
        None,
        Some("0.17.0"),
        Some(entry.versions[0].version.as_str()),
    ] {
        let found = resolve(&sources, &named("x", version)).unwrap();
        assert!(
            matches!(found, Pin::Git { commit: c, .. } if c == commit),
            "{version:?}"
        );
    }
}

#[test]
fn a_directory_of_the_catalog_is_used_in_place() {
    let world = World::new();
    let file = world.write("lib-x/Config.uk", "one");
    let mut sources = world.sources();
    let dir = file.parent().unwrap().canonicalize().unwrap();
    update(&world, &mut sources, &[dir.to_str().unwrap()]).unwrap();
    let found = sources.resolve(&[named("x", None)], &Silent).pop().unwrap();
    assert_eq!(found.unwrap(), Origin::Directory(dir));
}

#[test]
fn a_document_from_elsewhere_cannot_lead_to_this_computer() {
    let world = World::new();
    for resource in ["file:///etc", "/etc", "file:///etc/x.tar.gz"] {
        world.write(
            "files/x.yaml",
            &format!("{{name: x, type: lib, channels: [{{name: a, resource: '{resource}'}}]}}"),
        );
        let url = world.server.url("files/x.yaml");
        let error = catalog::probe(&world.sources(), &url).unwrap_err();
        assert!(chain(&error).contains("local path"), "{error}");
    }
    world.write(
        "files/index.yaml",
        "manifests:\n- {name: x, type: lib, manifest: 'file:///etc/x.yaml'}",
    );
    let url = world.server.url("files/index.yaml");
    assert!(catalog::probe(&world.sources(), &url).is_err());
}

#[test]
fn what_is_no_source_is_told_why() {
    let world = World::new();
    world.write("bad.yaml", "manifests: {");
    world.write("nameless.yaml", "type: lib");
    world.write("empty/README", "");
    world.repository("something", &[("a", "b")]);
    let path = |path: &str| world.path(path).display().to_string();
    for (source, words) in [
        (path("bad.yaml"), "is not a catalog"),
        (path("nameless.yaml"), "name"),
        (path("empty"), "no component"),
        (world.url("something"), "does not contain its kind"),
    ] {
        let error = catalog::probe(&world.sources(), &source).unwrap_err();
        assert!(chain(&error).contains(words), "{source}: {error}");
    }
}
