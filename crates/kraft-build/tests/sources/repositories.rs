//! Components from Git repositories.

use kraft_core::error::chain;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use kraft_build::sources::{Error, GitSort, Origin, Put, is_in_place};
use kraft_core::lock::Pin;
use kraft_sys::tool::Tool;

use crate::world::{World, get, git, obtain, resolve, text, wanted};

#[test]
fn branches_tags_releases_and_commits_are_found_and_placed() {
    let world = World::new();
    let first = world.repository("lib-x", &[("Config.uk", "one")]);
    world.git("lib-x", &["tag", "-m", "a release", "RELEASE-0.17.0"]);
    world.git("lib-x", &["branch", "old/stable"]);
    let second = world.commit("lib-x", &[("Config.uk", "two")]);
    let third = world.commit("lib-x", &[("Config.uk", "three")]);
    let sources = world.sources();
    let url = world.url("lib-x");
    for (version, commit, content) in [
        (None, &third, "three"),
        (Some("main"), &third, "three"),
        (Some("old/stable"), &first, "one"),
        (Some("RELEASE-0.17.0"), &first, "one"),
        (Some("0.17.0"), &first, "one"),
        (Some(&second[..]), &second, "two"),
        (Some(&second[..9]), &second, "two"),
    ] {
        let to = world.path("project/.unikraft/libs/x");
        let found = get(&sources, &wanted(&url, version), &to).unwrap();
        assert_eq!(&found, commit, "{version:?}");
        assert_eq!(text(&to.join("Config.uk")), content, "{version:?}");
    }
    let to = world.path("project/other");
    let query = format!("{url}?tag=RELEASE-0.17.0");
    assert_eq!(get(&sources, &wanted(&query, None), &to).unwrap(), first);
}

#[test]
fn a_second_project_transfers_nothing_and_a_known_commit_asks_nothing() {
    let world = World::new();
    let commit = world.repository("lib-x", &[("Config.uk", "one")]);
    let (sources, url) = (world.sources(), world.url("lib-x"));
    get(
        &sources,
        &wanted(&url, Some("main")),
        &world.path("project/a"),
    )
    .unwrap();
    let fetches = |log: &[String]| log.iter().filter(|line| line.contains("POST")).count();
    assert!(fetches(&world.server.asked()) >= 1);
    // Once for what the branch is now, as a listing; no objects.
    get(
        &sources,
        &wanted(&url, Some("main")),
        &world.path("project/b"),
    )
    .unwrap();
    assert_eq!(fetches(&world.server.asked()), 0);
    get(
        &sources,
        &wanted(&url, Some(&commit)),
        &world.path("project/c"),
    )
    .unwrap();
    assert_eq!(world.server.asked(), Vec::<String>::new());
}

#[test]
fn offline_what_is_here_is_used_and_what_is_not_is_named() {
    let world = World::new();
    let commit = world.repository("lib-x", &[("Config.uk", "one")]);
    let (mut sources, url) = (world.sources(), world.url("lib-x"));
    sources.offline = true;
    let error = resolve(&sources, &wanted(&url, Some("main"))).unwrap_err();
    assert!(matches!(error, Error::Offline { .. }), "{error}");
    let pinned = Pin::Git {
        git: url.clone(),
        commit: commit.clone(),
    };
    let error = obtain(&sources, &pinned).unwrap_err();
    assert!(chain(&error).contains(&commit[..12]), "{error}");
    sources.offline = false;
    get(
        &sources,
        &wanted(&url, Some("main")),
        &world.path("project/a"),
    )
    .unwrap();
    world.server.asked();
    sources.offline = true;
    get(
        &sources,
        &wanted(&url, Some("main")),
        &world.path("project/b"),
    )
    .unwrap();
    assert_eq!(world.server.asked(), Vec::<String>::new());
}

#[test]
fn modes_and_links_are_kept_and_git_tells_the_commit_in_the_tree() {
    let world = World::new();
    world.repository("lib-x", &[("run.sh", "#!/bin/sh"), ("a/file", "text")]);
    let tree = world.path("trees/lib-x");
    std::fs::set_permissions(tree.join("run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    symlink("a/file", tree.join("link")).unwrap();
    let commit = world.commit("lib-x", &[]);
    // The project around it is a repository of its own.
    git(&world.path("project"), &["init", "-q"]);
    let to = world.path("project/.unikraft/unikraft");
    get(&world.sources(), &wanted(&world.url("lib-x"), None), &to).unwrap();
    assert_eq!(
        std::fs::metadata(to.join("run.sh"))
            .unwrap()
            .permissions()
            .mode()
            & 0o111,
        0o111
    );
    assert_eq!(
        std::fs::read_link(to.join("link")).unwrap().to_str(),
        Some("a/file")
    );
    let short = git(&to, &["rev-parse", "--short", "HEAD"]);
    assert_eq!(short, commit[..8]);
    kraft_sys::fs::replace_file(&to.join("run.sh"), b"changed").unwrap();
    assert_eq!(git(&to, &["ls-files", "-m"]), "");
}

/// Adds the repository `inner` to a tree, by its local path.
fn add_submodule(world: &World, tree: &Path, at: &str) {
    let inner = world.path("repositories/inner.git");
    let inner = inner.to_str().unwrap();
    git(tree, &["submodule", "--quiet", "add", inner, at]);
}

#[test]
fn submodules_come_along_also_by_relative_urls() {
    let world = World::new();
    world.repository("inner", &[("deep", "inside")]);
    world.repository("lib-x", &[("Config.uk", "one")]);
    let tree = world.path("trees/lib-x");
    add_submodule(&world, &tree, "sub/inner");
    git(
        &tree,
        &[
            "config",
            "-f",
            ".gitmodules",
            "submodule.sub/inner.url",
            "../inner.git",
        ],
    );
    world.commit("lib-x", &[]);
    let to = world.path("project/x");
    let mut sources = world.sources();
    get(&sources, &wanted(&world.url("lib-x"), None), &to).unwrap();
    assert_eq!(text(&to.join("sub/inner/deep")), "inside");
    sources.offline = true;
    get(
        &sources,
        &wanted(&world.url("lib-x"), None),
        &world.path("project/y"),
    )
    .unwrap();
}

#[test]
fn a_submodule_has_no_say_in_what_is_read_from_this_computer() {
    let world = World::new();
    world.repository("inner", &[("deep", "inside")]);
    world.repository("lib-x", &[("Config.uk", "one")]);
    add_submodule(&world, &world.path("trees/lib-x"), "inner");
    world.commit("lib-x", &[]);
    let error = get(
        &world.sources(),
        &wanted(&world.url("lib-x"), None),
        &world.path("p/x"),
    )
    .unwrap_err();
    assert!(
        chain(&error).contains("refers to a local repository"),
        "{error}"
    );
}

#[test]
fn a_link_that_leads_outside_is_refused_and_nothing_is_left() {
    let world = World::new();
    world.repository("lib-x", &[("Config.uk", "one")]);
    symlink("../../secret", world.path("trees/lib-x/bad")).unwrap();
    world.commit("lib-x", &[]);
    let to = world.path("project/libs/x");
    let error = get(&world.sources(), &wanted(&world.url("lib-x"), None), &to).unwrap_err();
    assert!(
        chain(&error).contains("`bad` is a link that leads outside"),
        "{error}"
    );
    assert!(!world.path("project/libs").exists());
    assert!(
        std::fs::read_dir(world.path("cache/trees"))
            .unwrap()
            .flatten()
            .all(|entry| {
                entry
                    .path()
                    .extension()
                    .is_some_and(|ending| ending == "lock")
            })
    );
}

#[test]
fn wrong_names_and_commits_are_answered_with_what_there_is() {
    let world = World::new();
    world.repository("lib-x", &[("Config.uk", "one")]);
    world.git("lib-x", &["branch", "staging"]);
    world.push("lib-x");
    let (sources, url) = (world.sources(), world.url("lib-x"));
    let error = resolve(&sources, &wanted(&url, Some("stagin"))).unwrap_err();
    assert!(
        chain(&error).ends_with("(did you mean `staging`?)"),
        "{error}"
    );
    let missing = "0123456789".repeat(4);
    let error = get(&sources, &wanted(&url, Some(&missing)), &world.path("p/x")).unwrap_err();
    assert!(
        matches!(&error, Error::NoVersion { version, .. } if *version == missing),
        "{error}"
    );
    let error = get(&sources, &wanted(&url, Some("0123456")), &world.path("p/x")).unwrap_err();
    assert!(matches!(error, Error::NoVersion { .. }), "{error}");
}

#[test]
fn trouble_with_a_server_is_told_by_its_kind() {
    let world = World::new();
    let sources = world.sources();
    let trouble = |url: &str| match resolve(&sources, &wanted(url, None)).unwrap_err() {
        Error::Git { sort, why, url } => (sort, why, url),
        other => panic!("{other}"),
    };
    let (kind, ..) = trouble(&world.url("nothing"));
    assert_eq!(kind, GitSort::NotThere);
    let (kind, _, shown) = trouble("http://user:secret@127.0.0.1:9/x.git");
    assert_eq!(kind, GitSort::Network);
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn a_placed_tree_is_recognised_replaced_or_kept_if_it_is_the_users() {
    let world = World::new();
    let first = world.repository("lib-x", &[("Config.uk", "one"), ("gone", "x")]);
    world.git("lib-x", &["rm", "-q", "gone"]);
    let second = world.commit("lib-x", &[("Config.uk", "two")]);
    let (sources, url) = (world.sources(), world.url("lib-x"));
    let to = world.path("project/x");
    get(&sources, &wanted(&url, Some(&first)), &to).unwrap();
    let at = |commit: &str| Pin::Git {
        git: url.clone(),
        commit: commit.to_owned(),
    };
    assert!(is_in_place(&at(&first), &to));
    assert_eq!(
        sources
            .materialise("x", &Origin::Pinned(at(&first)), &to)
            .unwrap(),
        Put::Kept
    );
    assert!(!is_in_place(&at(&second), &to));
    get(&sources, &wanted(&url, Some(&second)), &to).unwrap();
    assert!(!to.join("gone").exists());
    let own = world.write("project/own/file", "mine");
    let to = own.parent().unwrap();
    assert_eq!(
        sources
            .materialise("x", &Origin::Pinned(at(&first)), to)
            .unwrap(),
        Put::Foreign
    );
    assert_eq!(text(&own), "mine");
}

#[test]
fn a_directory_becomes_a_link_and_is_never_touched() {
    let world = World::new();
    let inside = world.write("lib-x/Config.uk", "one");
    let dir = inside.parent().unwrap().to_owned();
    let to = world.path("project/x");
    let sources = world.sources();
    sources
        .materialise("x", &Origin::Directory(dir.clone()), &to)
        .unwrap();
    assert_eq!(std::fs::read_link(&to).unwrap(), dir);
    world.repository("lib-y", &[("Config.uk", "two")]);
    get(&sources, &wanted(&world.url("lib-y"), None), &to).unwrap();
    assert_eq!(text(&inside), "one");
    assert_eq!(text(&to.join("Config.uk")), "two");
}

#[test]
fn what_a_killed_run_left_behind_is_in_nobodys_way() {
    let world = World::new();
    let commit = world.repository("lib-x", &[("Config.uk", "one")]);
    let second = world.commit("lib-x", &[("Config.uk", "two")]);
    let (sources, url) = (world.sources(), world.url("lib-x"));
    let to = world.path("project/x");
    get(&sources, &wanted(&url, Some(&commit)), &to).unwrap();
    let mirror = std::fs::read_dir(world.path("cache/git"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    std::fs::File::create(mirror.join("shallow.lock")).unwrap();
    world.write("project/.new-x/Config.uk", "half");
    get(&sources, &wanted(&url, Some(&second)), &to).unwrap();
    assert_eq!(text(&to.join("Config.uk")), "two");
    assert!(!world.path("project/.new-x").exists());
}

#[test]
fn many_at_once_share_one_mirror_and_one_place() {
    let world = World::new();
    world.repository("lib-x", &[("Config.uk", "one")]);
    let (sources, url) = (world.sources(), world.url("lib-x"));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| get(&sources, &wanted(&url, None), &world.path("project/x")).unwrap());
        }
    });
    assert_eq!(text(&world.path("project/x/Config.uk")), "one");
}

#[test]
fn an_own_server_that_gives_out_no_commits_by_hash_is_asked_for_the_branch() {
    let world = World::new();
    let first = world.repository("lib-x", &[("Config.uk", "one")]);
    world.commit("lib-x", &[("Config.uk", "two")]);
    // A dumb HTTP server: static files, without support for shallow fetches.
    let bare = world.path("repositories/lib-x.git");
    Tool::new("cp")
        .args([
            "-r",
            bare.to_str().unwrap(),
            world.path("files/lib-x.git").to_str().unwrap(),
        ])
        .run()
        .unwrap();
    git(&world.path("files/lib-x.git"), &["update-server-info"]);
    let url = world.server.url("files/lib-x.git");
    let to = world.path("project/x");
    assert_eq!(
        get(&world.sources(), &wanted(&url, Some(&first)), &to).unwrap(),
        first
    );
}
