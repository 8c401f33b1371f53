//! Collects what `kraft version` prints: the commit, its time and the compiler. Leaves the tables for
//! unwinding out of a release, and has nothing relocated in a build for tests.
//!
//! The output is reproducible: the time is `SOURCE_DATE_EPOCH` or that of the commit, never that of
//! the build. Outside a checkout of this repository the commit is `unknown`, unless `KRAFT_COMMIT`
//! is set.

#![expect(
    clippy::disallowed_methods,
    reason = "a build script communicates with cargo through the environment and stdout"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    for variable in ["SOURCE_DATE_EPOCH", "KRAFT_COMMIT"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    let checkout = own_checkout();
    if let Some(root) = &checkout {
        watch_commits(root);
    }
    let git = |arguments: &[&str]| checkout.as_deref().and_then(|root| git(root, arguments));

    let commit = variable("KRAFT_COMMIT")
        .or_else(|| git(&["rev-parse", "--short=12", "HEAD"]))
        .unwrap_or_else(|| "unknown".to_owned());
    let epoch = variable("SOURCE_DATE_EPOCH")
        .or_else(|| git(&["log", "-1", "--format=%ct"]))
        .unwrap_or_else(|| "0".to_owned());
    let compiler = variable("RUSTC").and_then(|rustc| output(Command::new(rustc).arg("-V")));
    let compiler = compiler
        .as_deref()
        .and_then(|line| line.split_whitespace().nth(1))
        .unwrap_or("unknown");

    if is_small() {
        leave_out_unwind_tables();
        pack_relocations();
    } else if is_for_tests() {
        // Tests start it ten thousand times: the linker relocates its 260,000 addresses once.
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
    println!("cargo::rustc-env=KRAFT_COMMIT={commit}");
    println!("cargo::rustc-env=KRAFT_BUILD_EPOCH={epoch}");
    println!("cargo::rustc-env=KRAFT_RUSTC=rustc-{compiler}");
}

/// Returns whether the linker may save space: in a release for Linux. Not if the user chose a linker: some read
/// no scripts.
fn is_small() -> bool {
    let linux = variable("CARGO_CFG_TARGET_OS").as_deref() == Some("linux");
    is_release() && linux && !has_own_linker()
}

/// Returns whether this build is for tests on this host. Not if the user chose a linker.
fn is_for_tests() -> bool {
    let gnu = variable("CARGO_CFG_TARGET_ENV").as_deref() == Some("gnu");
    !is_release() && gnu && is_for_this_host() && !has_own_linker()
}

fn is_release() -> bool {
    variable("PROFILE").as_deref() == Some("release")
}

fn is_for_this_host() -> bool {
    variable("HOST") == variable("TARGET")
}

fn has_own_linker() -> bool {
    variable("CARGO_ENCODED_RUSTFLAGS").is_some_and(|flags| flags.contains("link"))
}

/// Leaves out the tables for unwinding: a release never unwinds, a panic aborts it, and they are an eighth of it.
///
/// The compiler has a flag for that, but none that a profile of cargo can set.
fn leave_out_unwind_tables() {
    println!("cargo::rerun-if-changed=without-unwind-tables.ld");
    if let Some(directory) = variable("CARGO_MANIFEST_DIR") {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{directory}/without-unwind-tables.ld");
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
    }
}

/// Packs the table of addresses that depend on where the program is loaded. glibc reads that since 2.36: only if the
/// program is built for the glibc of this host, and that is new enough. The musl in a static program is Rust's own,
/// which reads it; linkers for other processors may not write it.
fn pack_relocations() {
    let reads = match variable("CARGO_CFG_TARGET_ENV").as_deref() {
        Some("gnu") => is_for_this_host() && has_glibc_2_36(),
        Some("musl") => {
            let arch = variable("CARGO_CFG_TARGET_ARCH");
            variable("HOST").is_some_and(|host| host.split('-').next() == arch.as_deref())
        }
        _ => false,
    };
    if reads {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

fn has_glibc_2_36() -> bool {
    let version = output(Command::new("getconf").arg("GNU_LIBC_VERSION"));
    let minor = version
        .as_deref()
        .and_then(|text| text.strip_prefix("glibc 2."))
        .and_then(|minor| minor.parse::<u32>().ok());
    minor.is_some_and(|minor| minor >= 36)
}

/// Returns the root of this repository's checkout; `None` for sources that were unpacked inside
/// another repository.
fn own_checkout() -> Option<PathBuf> {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let root = manifest.ancestors().nth(2)?.canonicalize().ok()?;
    let top = git(&root, &["rev-parse", "--show-toplevel"])?;
    (Path::new(&top).canonicalize().ok()? == root).then_some(root)
}

/// Asks cargo to run this again when `HEAD` moves.
fn watch_commits(root: &Path) {
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(root, &["rev-parse", "--git-path", name]) {
            let path = root.join(path);
            if path.exists() {
                println!("cargo::rerun-if-changed={}", path.display());
            }
        }
    }
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    output(Command::new("git").arg("-C").arg(root).args(arguments))
}

/// Returns what a command says, trimmed, if it succeeds and says something.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
