//! Components by name, from sources of every kind.

use kraft_build::catalog::Query;
use kraft_build::fetch::{Error, Origin, Wanted};
use kraft_core::component::ComponentKind;
use kraft_core::event::Silent;

use crate::world::{Warnings, World, get, resolve, text};

fn named(name: &str, version: Option<&str>) -> Wanted {
    Wanted {
        kind: ComponentKind::Library,
        name: name.to_owned(),
        source: None,
        version: version.map(str::to_owned),
    }
}

fn names(world: &World) -> Vec<String> {
    let found = world.sources().find(&Query::default(), &Silent).unwrap();
    found
        .iter()
        .map(|m| format!("{}/{}", m.kind, m.name))
        .collect()
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
    world.write("many/lib-a/Config.uk", "one");
    world.write("many/b/Kraftfile", "spec: v0.6");
    world.write("many/readme/README", "no component");
    world.write(
        "manifest.yaml",
        "{name: alone, type: plat, channels: [{name: main, resource: ./single/lib-dir}]}",
    );
    let mut sources = world.sources();
    sources.sources = vec![
        index(&world),
        world.url("lib-git"),
        world.url("unikraft"),
        "single/lib-dir".to_owned(),
        world.path("many").display().to_string(),
        "manifest.yaml".to_owned(),
    ];
    let updated = sources.update(&Silent).unwrap();
    assert_eq!((updated.components, updated.failed.len()), (7, 0));
    assert_eq!(
        names(&world),
        [
            "lib/a",
            "plat/alone",
            "app/b",
            "lib/dir",
            "lib/git",
            "core/unikraft",
            "lib/x"
        ]
    );
    for file in [
        "index.yaml",
        "unikraft.yaml",
        "libs/x.yaml",
        "apps/b.yaml",
        "plats/alone.yaml",
    ] {
        let path = world.path(&format!("manifests/{file}"));
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(path).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let saved = text(&world.path("manifests/index.yaml"));
    assert!(
        saved.contains("last_updated:") && saved.contains("./libs/x.yaml"),
        "{saved}"
    );
}

#[test]
fn an_index_that_did_not_change_is_not_sent_again() {
    let world = World::new();
    let mut sources = world.sources();
    sources.sources = vec![index(&world)];
    sources.update(&Silent).unwrap();
    world.server.asked();
    sources.update(&Silent).unwrap();
    assert_eq!(
        world.server.asked(),
        ["GET /files/index.yaml 304", "GET /files/libs/x.yaml 304"]
    );
    assert_eq!(names(&world), ["lib/x"]);
}

#[test]
fn a_component_is_found_by_name_without_an_update_before() {
    let world = World::new();
    let mut sources = world.sources();
    sources.sources = vec![index(&world)];
    let to = world.path("project/x");
    get(&sources, &named("x", None), &to).unwrap();
    assert_eq!(text(&to.join("Config.uk")), "one");
    get(&sources, &named("X", Some("stable")), &to).unwrap();
    let error = resolve(&sources, &named("y", None)).unwrap_err();
    assert!(
        error.to_string().starts_with("no source knows `lib/y`"),
        "{error}"
    );
    let error = resolve(&sources, &named("x", Some("stabel"))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`lib/x` has no version `stabel`: did you mean `stable`?"
    );
    let error = resolve(&sources, &named("x", Some("0.17.0"))).unwrap_err();
    assert!(matches!(error, Error::Refused { code: 404, .. }), "{error}");
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
            &format!("{{name: x, type: lib, provider: git, origin: '{url}', channels: [{{name: main, default: true, resource: '{resource}'}}]}}"),
        );
    };
    let mut sources = world.sources();
    sources.sources = vec!["x.yaml".to_owned()];
    manifest("x.tar.gz");
    sources.update(&Silent).unwrap();
    assert!(matches!(
        resolve(&sources, &named("x", None)).unwrap(),
        Origin::Archive { .. }
    ));
    sources.prefer_git = true;
    let expected = Origin::Git {
        url: url.clone(),
        asked: Some("main".to_owned()),
        commit: commit.clone(),
    };
    assert_eq!(resolve(&sources, &named("x", None)).unwrap(), expected);
    sources.prefer_git = false;
    manifest("none.tar.gz");
    sources.update(&Silent).unwrap();
    assert_eq!(resolve(&sources, &named("x", None)).unwrap(), expected);
    // What the manifest does not list is asked of the repository.
    let origin = resolve(&sources, &named("x", Some(&commit[..10]))).unwrap();
    assert!(matches!(origin, Origin::Git { commit: found, .. } if found == commit));
}

#[test]
fn a_failing_source_is_a_warning_and_what_was_known_stays() {
    let world = World::new();
    world.repository("lib-git", &[("Config.uk", "one")]);
    let mut sources = world.sources();
    sources.http.retries = 0;
    sources.sources = vec![index(&world), world.url("lib-git")];
    sources.update(&Silent).unwrap();
    std::fs::remove_file(world.path("files/index.yaml")).unwrap();
    let warnings = Warnings::default();
    let updated = sources.update(&warnings).unwrap();
    assert_eq!((updated.components, updated.failed.len()), (2, 1));
    assert!(warnings.0.lock().unwrap()[0].contains("files/index.yaml: 127.0.0.1"));
    assert_eq!(names(&world), ["lib/git", "lib/x"]);
    // Without the failing source, what only that knew is gone.
    sources.sources.remove(0);
    sources.update(&Silent).unwrap();
    assert_eq!(names(&world), ["lib/git"]);
    sources.sources = vec![world.server.url("files/none.yaml")];
    assert!(sources.update(&Silent).is_err());
    assert_eq!(names(&world), ["lib/git"]);
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
    sources.http.github_api = world.server.url("files");
    sources.sources = vec!["https://github.com/somebody/lib-*".to_owned()];
    assert_eq!(sources.update(&Silent).unwrap().components, 2);
    assert_eq!(names(&world), ["lib/one", "lib/two"]);
    assert!(matches!(
        resolve(&sources, &named("one", Some("main"))).unwrap(),
        Origin::Git { .. }
    ));
}

#[test]
fn releases_of_a_repository_are_versions_for_a_core() {
    let world = World::new();
    let commit = world.repository("lib-x", &[("Config.uk", "one")]);
    world.git("lib-x", &["tag", "-m", "a release", "RELEASE-0.17.0"]);
    world.git("lib-x", &["branch", "stable"]);
    world.git("lib-x", &["branch", "staging"]);
    world.push("lib-x");
    let sources = world.sources();
    let found = sources.ask(&world.url("lib-x"), &Silent).unwrap();
    let version = &found[0].versions[0];
    assert_eq!(version.unikraft.as_deref(), Some("0.17.0"));
    assert_eq!(version.version.len(), 7);
    assert_eq!(found[0].default_channel().unwrap().name, "stable");
    let mut sources = sources;
    sources.sources = vec![world.url("lib-x")];
    for version in [None, Some("0.17.0"), Some(&version.version[..])] {
        let origin = resolve(&sources, &named("x", version)).unwrap();
        assert!(
            matches!(origin, Origin::Git { commit: c, .. } if c == commit),
            "{version:?}"
        );
    }
}

#[test]
fn a_document_from_elsewhere_cannot_lead_to_this_computer() {
    let world = World::new();
    world.write("lib-x/Config.uk", "one");
    for resource in ["file:///etc", "file:///etc/x.tar.gz"] {
        world.write(
            "files/x.yaml",
            &format!("{{name: x, type: lib, channels: [{{name: a, resource: '{resource}'}}]}}"),
        );
        let error = world
            .sources()
            .ask(&world.server.url("files/x.yaml"), &Silent)
            .unwrap_err();
        assert!(
            error.to_string().contains("leads where it has no say"),
            "{error}"
        );
    }
    let warnings = Warnings::default();
    world.write(
        "files/index.yaml",
        "manifests:\n- {name: x, type: lib, manifest: 'file:///etc/x.yaml'}",
    );
    let found = world
        .sources()
        .ask(&world.server.url("files/index.yaml"), &warnings)
        .unwrap();
    assert!(found.is_empty());
    assert_eq!(warnings.0.lock().unwrap().len(), 1);
}

#[test]
fn what_is_no_source_is_told_why() {
    let world = World::new();
    world.write("bad.yaml", "manifests: {");
    world.write("nameless.yaml", "type: lib");
    world.write("empty/README", "");
    world.repository("something", &[("a", "b")]);
    for (source, words) in [
        (
            "bad.yaml".to_owned(),
            "no manifest or index that can be read",
        ),
        ("nameless.yaml".to_owned(), "name"),
        ("empty".to_owned(), "holds no component"),
        ("nothing".to_owned(), "no such file or directory"),
        (world.url("something"), "begins with `lib-`"),
        (
            "https://h.example/x.tar.gz".to_owned(),
            "lists no components",
        ),
    ] {
        let error = world.sources().ask(&source, &Silent).unwrap_err();
        assert!(error.to_string().contains(words), "{source}: {error}");
    }
}

#[test]
fn queries_filter_by_kind_name_and_version() {
    let world = World::new();
    world.write("many/lib-a/Config.uk", "one");
    world.write("many/lib-ab/Config.uk", "one");
    world.write("many/app-a/Kraftfile", "spec: v0.6");
    let mut sources = world.sources();
    sources.sources = vec!["many".to_owned()];
    let count = |query: &Query| sources.find(query, &Silent).unwrap().len();
    assert_eq!(count(&Query::default()), 0);
    let remote = Query {
        remote: true,
        ..Query::default()
    };
    assert_eq!(count(&remote), 3);
    let libraries = Query {
        kind: Some(ComponentKind::Library),
        ..Query::default()
    };
    assert_eq!(count(&libraries), 2);
    let name = Query {
        name: Some("A*".to_owned()),
        ..libraries.clone()
    };
    assert_eq!(count(&name), 2);
    let version = |text: &str| Query {
        version: Some(text.to_owned()),
        ..name.clone()
    };
    assert_eq!((count(&version("default")), count(&version("1.0"))), (2, 0));
    let source = Query {
        source: Some("many/lib-a".to_owned()),
        ..Query::default()
    };
    assert_eq!(count(&source), 1);
}
