//! What programs get of the secrets in the user's environment: nothing, or what they need.
//!
//! Stand-ins write down their environment and then do what the real ones do.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use kraft_e2e::harness::{Bench, Outcome};
use kraft_e2e::program;
use kraft_e2e::registry::Registry;
use kraft_e2e::source::{git, make_repository, replace, skipped, workshop, write};

/// Secrets that are of use to none of the programs below.
const SECRETS: [&str; 6] = [
    "UKC_TOKEN",
    "KRAFTKIT_TOKEN",
    "KRAFTCLOUD_TOKEN",
    "NPM_TOKEN",
    "DB_PASSWORD",
    "CLIENT_SECRET",
];
const VALUE: &str = "not-for-others";

/// Programs that write down their environment in a directory of their own.
struct Stubs {
    bin: PathBuf,
    dumps: PathBuf,
}

impl Stubs {
    /// Makes stand-ins for programs: each with its name and what it does afterwards, `""` being
    /// what the real one does.
    fn new(bench: &Bench, programs: &[(&str, &str)]) -> Self {
        let (bin, dumps) = (bench.path().join("stubs"), bench.path().join("dumps"));
        fs::create_dir_all(&dumps).unwrap();
        fs::create_dir_all(&bin).unwrap();
        for (name, then) in programs {
            let then = match *then {
                "" => format!("exec {} \"$@\"", real(name)),
                then => then.to_owned(),
            };
            let dump = format!("{}/{name}.$$", dumps.display());
            program::script(&bin.join(name), &format!("env > {dump}\n{then}\n"));
        }
        Self { bin, dumps }
    }

    /// Puts the stand-ins first in the search path, and secrets into the environment.
    fn before(&self, command: &mut Command) {
        let search = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{search}", self.bin.display()));
        command.envs(SECRETS.map(|name| (name, VALUE)));
        command.env("AWS_SECRET_ACCESS_KEY", "of-amazon");
    }

    /// Returns what all runs of a program had in their environment.
    fn seen(&self, program: &str) -> String {
        let mut all = String::new();
        for entry in fs::read_dir(&self.dumps).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&format!("{program}.")) {
                all += &fs::read_to_string(entry.path()).unwrap();
            }
        }
        assert!(all.contains("PATH="), "{program} was not started");
        all
    }
}

/// Returns where a program is.
fn real(name: &str) -> String {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {name}")])
        .output()
        .unwrap();
    String::from_utf8(found.stdout).unwrap().trim().to_owned()
}

#[test]
fn make_and_its_children_get_no_secrets_and_git_what_it_needs_for_remotes() {
    if skipped() {
        return;
    }
    let bench = Bench::new();
    let place = workshop(&bench);
    make_repository(&place.join("core"));
    let commit = git(&place.join("core"), ["rev-parse", "HEAD"]);
    let app = place.join("apps/app-two-libs");
    let core = place.join("core");
    replace(
        &app.join("Kraftfile"),
        "source: ../../core",
        &format!("source: file://{}\n  version: {commit}", core.display()),
    );
    let stubs = Stubs::new(
        &bench,
        &[("git", ""), ("make", ""), ("gcc", ""), ("kconfig-conf", "")],
    );
    let mut build = bench.command(["build"]);
    stubs.before(&mut build);
    build
        .current_dir(&app)
        .env("GH_TOKEN", "for-git")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "http.extraHeader")
        .env("GIT_CONFIG_VALUE_0", "header-for-git")
        .env("MY_SETTING", "no secret");
    let _ = Outcome::of(&mut build).success();
    for program in ["git", "make", "gcc", "kconfig-conf"] {
        let seen = stubs.seen(program);
        for secret in [VALUE, "of-amazon"] {
            assert!(!seen.contains(secret), "{program}: {seen}");
        }
        assert!(seen.contains("MY_SETTING=no secret"), "{program}: {seen}");
        let for_git = seen.contains("GH_TOKEN=for-git")
            && seen.contains("GIT_CONFIG_COUNT=1")
            && seen.contains("GIT_CONFIG_VALUE_0=header-for-git");
        assert_eq!(for_git, program == "git", "{program}: {seen}");
    }
}

#[test]
fn a_credential_helper_gets_the_users_variables_and_none_of_kraft() {
    let Some(registry) = Registry::with_password("me", "open sesame") else {
        return;
    };
    let bench = Bench::new();
    let answer = r#"echo '{"Username": "me", "Secret": "open sesame"}'"#;
    let stubs = Stubs::new(&bench, &[("docker-credential-stub", answer)]);
    write(
        &bench.path().join(".docker/config.json"),
        &format!(r#"{{"credHelpers": {{"{}": "stub"}}}}"#, registry.address()),
    );
    let mut pull = bench.command(["pkg", "pull", &registry.name("nothing:here")]);
    stubs.before(&mut pull);
    // The helper opens the door, and there is nothing behind it.
    let _ = Outcome::of(&mut pull).exits(3);
    let seen = stubs.seen("docker-credential-stub");
    assert!(seen.contains("AWS_SECRET_ACCESS_KEY=of-amazon"), "{seen}");
    for ours in ["UKC_TOKEN", "KRAFTKIT_TOKEN", "KRAFTCLOUD_TOKEN"] {
        assert!(!seen.contains(ours), "{ours}: {seen}");
    }
}

#[test]
fn an_engine_gets_what_its_helpers_need_and_nothing_of_kraft() {
    let bench = Bench::new();
    let stubs = Stubs::new(
        &bench,
        &[
            ("buildah", "exit 1"),
            ("podman", "exit 1"),
            ("docker", "exit 1"),
        ],
    );
    write(
        &bench.path().join("Dockerfile"),
        "FROM scratch\nCOPY Dockerfile /\n",
    );
    for engine in ["buildah", "podman"] {
        let mut build = bench.command([
            "rootfs",
            "build",
            "--builder",
            engine,
            "Dockerfile",
            "-o",
            "out.cpio",
        ]);
        stubs.before(&mut build);
        assert_ne!(Outcome::of(&mut build).code, Some(0));
        let seen = stubs.seen(engine);
        assert!(seen.contains("AWS_SECRET_ACCESS_KEY=of-amazon"), "{seen}");
        for ours in ["UKC_TOKEN", "KRAFTKIT_TOKEN", "KRAFTCLOUD_TOKEN"] {
            assert!(!seen.contains(ours), "{engine}: {ours}: {seen}");
        }
    }
}
