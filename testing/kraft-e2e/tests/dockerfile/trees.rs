//! The same Dockerfiles by every builder: the trees that come out are the same.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use kraft_e2e::dockerfiles::{
    Bridge, base_tar, build, containers_conf, context, has_builder, push_base, text, tree,
};
use kraft_e2e::engines::Docker;
use kraft_e2e::harness::Bench;
use kraft_e2e::registry::Registry;
use serde_json::Value;

/// What only has to be copied.
const COPIES: &str = "\
ARG DIR=srv\n\
FROM scratch AS first\n\
COPY src/ /made/\n\
COPY --chown=7:8 src/a /owned/\n\
FROM scratch\n\
ARG DIR\n\
ENV WHERE=/opt/${DIR:-none} PLAIN='a b'\n\
WORKDIR $WHERE\n\
COPY src/a .\n\
COPY src/a renamed\n\
COPY src/?.txt src/[b-c]* texts/\n\
COPY [\"with blank\", \"/quoted blank\"]\n\
COPY --from=first /made/sub /from-sub\n\
COPY --from=0 /owned /owned\n\
COPY src/link /followed\n\
COPY src/links /links\n\
COPY hard /hard/\n\
ADD archive.tar.gz /unpacked/\n\
ADD src/a /added\n\
WORKDIR relative/deep\n\
COPY src/sub ./\n\
CMD [\"x\"]\n";

/// Additional steps to run; the base image precedes them.
const RUNS: &str = "\
RUN mkdir -p /a/b && echo one > /a/b/c && ln /a/b/c /a/hard && ln -s b/c /a/soft \
    && chmod 4755 /a/b/c\n\
RUN touch /a/\"with blank\" && cp /bin/busybox /a/copy\n\
ENV NAME=value\n\
RUN echo \"$NAME in $PWD\" > /a/name && id -u > /a/id\n\
USER web\n\
RUN id -u > /tmp/web\n\
FROM scratch\n\
COPY --from=0 /a /a\n\
COPY --from=0 /tmp/web /web\n\
COPY --from=0 /etc/passwd /lib/\n";

fn lay_out(bench: &Bench, dockerfile: &str) {
    context(
        bench,
        &[
            ("Dockerfile", dockerfile),
            ("src/a", "a"),
            ("src/b.txt", "b"),
            ("src/c.txt", "c"),
            ("src/sub/deep/d", "d"),
            ("src/links/target", "t"),
            ("with blank/inside", "i"),
            ("hard/one", "h"),
            ("ignored/not/this", "x"),
            ("ignored/this", "x"),
            (".dockerignore", "ignored\n!ignored/this\n**/*.tmp\n"),
            ("src/gone.tmp", "x"),
        ],
    );
    let dir = bench.path().join("context");
    fs::set_permissions(dir.join("src/a"), fs::Permissions::from_mode(0o751)).unwrap();
    fs::set_permissions(dir.join("src/sub"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink("a", dir.join("src/link")).unwrap();
    symlink("target", dir.join("src/links/soft")).unwrap();
    symlink("/nowhere", dir.join("src/links/broken")).unwrap();
    fs::hard_link(dir.join("hard/one"), dir.join("hard/two")).unwrap();
    let packed = Command::new("tar")
        .args(["--owner=3", "--group=4", "--numeric-owner", "-C"])
        .args([dir.join("src"), "-czf".into(), dir.join("archive.tar.gz")])
        .args(["sub", "a"])
        .status();
    assert!(packed.unwrap().success());
}

/// Returns what the builders must agree on; buildah leaves out parents that it made itself.
fn built(bench: &Bench, flags: &[&str]) -> Vec<Value> {
    drop(build(bench, flags).success());
    tree(bench)
}

/// Entries in one line each, with numbers of files only where they have several names.
fn lines(tree: &[Value]) -> Vec<String> {
    let shared = |entry: &Value| entry["kind"] == "file" && entry["nlink"].as_u64() > Some(1);
    let first = |entry: &Value| {
        let mut all = tree
            .iter()
            .filter(|other| shared(other) && other["ino"] == entry["ino"]);
        all.next().map(|first| first["path"].to_string())
    };
    let line = |entry: &Value| {
        let link = if shared(entry) { first(entry) } else { None };
        let fields = ["path", "kind", "mode", "uid", "gid", "target"];
        let fields = fields.map(|field| entry[field].to_string());
        format!("{} {} {link:?}", fields.join(" "), entry["size"])
    };
    tree.iter().map(line).collect()
}

fn assert_same(name: &str, expected: &[Value], found: &[Value]) {
    let (expected, found) = (lines(expected), lines(found));
    let without = |some: &[String], others: &[String]| -> Vec<String> {
        some.iter()
            .filter(|line| !others.contains(line))
            .cloned()
            .collect()
    };
    let (missing, extra) = (without(&expected, &found), without(&found, &expected));
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{name}\nmissing: {missing:#?}\nextra: {extra:#?}"
    );
}

#[test]
fn every_builder_copies_the_same_tree() {
    let Some(docker) = Docker::start() else {
        return;
    };
    let bridge = Bridge::to(docker.socket());
    let bench = Bench::new().env(
        "DOCKER_HOST",
        &format!("unix://{}", docker.socket().display()),
    );
    let conf = containers_conf(bench.path());
    let bench = bench.env("CONTAINERS_CONF", &conf);
    lay_out(&bench, COPIES);
    let expected = built(&bench, &["--builder", "docker"]);
    assert!(expected.len() > 20, "{expected:#?}");
    for address in bridge.addresses() {
        let flags = [
            "--buildkit-host",
            address.as_str(),
            "--builder",
            "buildkit",
            "--no-rootfs-cache",
        ];
        assert_same(&address, &expected, &built(&bench, &flags));
    }
    for builder in ["kraft", "buildah", "podman"] {
        if builder == "kraft" || has_builder(&bench, builder) {
            assert_same(builder, &expected, &built(&bench, &["--builder", builder]));
        }
    }
}

#[test]
fn every_builder_runs_the_same_commands() {
    let (Some(docker), Some(registry)) = (Docker::start(), Registry::plain()) else {
        return;
    };
    let bench = Bench::new().env(
        "DOCKER_HOST",
        &format!("unix://{}", docker.socket().display()),
    );
    let conf = containers_conf(bench.path());
    let bench = bench.env("CONTAINERS_CONF", &conf);
    let Some(base) = base_tar(bench.path()) else {
        return;
    };
    let name = registry.name("base:1");
    push_base(&registry, &base, &name);
    docker.import(&base, &name);
    lay_out(&bench, &format!("FROM {name}\nENV PATH=/bin\n{RUNS}"));
    let expected = built(&bench, &["--builder", "docker", "--build-network", "none"]);
    assert_eq!(text(&bench, "a/name"), "value in /\n");
    assert_eq!(text(&bench, "web"), "33\n");
    for builder in ["kraft", "buildah", "podman"] {
        if builder == "kraft" || has_builder(&bench, builder) {
            let flags = ["--builder", builder, "--build-network", "host"];
            assert_same(builder, &expected, &built(&bench, &flags));
            assert_eq!(text(&bench, "a/name"), "value in /\n");
            assert_eq!(text(&bench, "web"), "33\n");
        }
    }
}

/// Corners of copying, each in a directory of its own. The daemon may be old: older ones
/// make every directory that is not copied 0755.
const CORNERS: &str = "\
FROM scratch AS parent\n\
ARG KIND=inherited\n\
COPY src/sub /old/sub/\n\
COPY src/sub /again/sub/\n\
COPY src/links /old/links/\n\
FROM parent AS child\n\
COPY src/a /$KIND/\n\
COPY merge/ /old/\n\
COPY merge/ /again/\n\
COPY merge /fresh/\n\
COPY src/a /old/links/soft\n\
COPY merge/soft /into/links/\n\
COPY none* src/a /some/\n\
COPY none* /nothing/\n\
ADD archive.tar.gz /old/\n\
ADD dotted.tar /dotted/\n\
ADD *.tar.gz /several/\n\
WORKDIR /trailing/\n\
COPY src/a ./x/../y/\n\
COPY --chmod=755 src/sub /modes\n\
COPY --chown=3 src/sub /owners\n";

#[test]
fn edge_cases_give_the_same_result_as_the_daemon() {
    let Some(docker) = Docker::start() else {
        return;
    };
    let bench = Bench::new().env(
        "DOCKER_HOST",
        &format!("unix://{}", docker.socket().display()),
    );
    lay_out(&bench, CORNERS);
    let dir = bench.path().join("context");
    context(&bench, &[("merge/sub/new", "n"), ("merge/soft", "s")]);
    context(&bench, &[("dot/inside", "d")]);
    for (path, mode) in [("merge/sub", 0o711), ("merge", 0o750), ("dot", 0o700)] {
        fs::set_permissions(dir.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::copy(dir.join("archive.tar.gz"), dir.join("second.tar.gz")).unwrap();
    let packed = Command::new("tar")
        .args(["--owner=0", "--group=0", "-C"])
        .args([
            &dir.join("dot"),
            std::path::Path::new("-cf"),
            &dir.join("dotted.tar"),
        ])
        .arg(".")
        .status();
    assert!(packed.unwrap().success());
    let expected = built(&bench, &["--builder", "docker"]);
    // Buildah has its own mind about patterns that match nothing, so it is not asked.
    assert_same("kraft", &expected, &built(&bench, &["--builder", "kraft"]));
}
