//! Unikraft's real `base`, which runs Linux programs, built from the clones that
//! `KRAFT_UNIKRAFT_SOURCES` names.
//!
//! Nothing there is written to. The newest clones need not fit each other: what does not is adapted
//! in private copies, where it is found.
//!
//! ```no_run
//! use kraft_e2e::harness::Bench;
//! use kraft_e2e::unikraft::{KERNEL, base, build, sources};
//!
//! if let Some(sources) = sources() {
//!     let bench = Bench::new();
//!     let project = base(&bench, &sources);
//!     let _ = build(&bench, &project);
//!     assert!(project.join(KERNEL).is_file());
//! }
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::harness::{Bench, Outcome};
use crate::source::write;

/// The kernel in a project that was built.
pub const KERNEL: &str = ".unikraft/build/elfloader_qemu-x86_64";

/// Returns the directory with the clones, if there is one.
pub fn sources() -> Option<PathBuf> {
    let given = std::env::var_os("KRAFT_UNIKRAFT_SOURCES").map(PathBuf::from);
    if given.is_none() {
        // For developers with the sources; not required on any host.
        eprintln!("SKIPPED: KRAFT_UNIKRAFT_SOURCES names no clones of Unikraft");
    }
    given
}

/// Runs a command to its end, however long that takes: a kernel is compiled.
fn patiently(mut command: Command) -> Outcome {
    let text = format!("{command:?}");
    let output = command.output().unwrap();
    Outcome {
        command: text,
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a command, which must succeed.
///
/// # Panics
/// If it fails.
pub fn succeeds(program: &str, words: &[&str]) {
    let mut command = Command::new(program);
    command.args(words);
    let _ = patiently(command).success();
}

/// Copies a clone without its history.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    succeeds("cp", &["-r", from.to_str().unwrap(), to.to_str().unwrap()]);
    let _ = std::fs::remove_dir_all(to.join(".git"));
}

/// Replaces texts in a file where they are found.
///
/// # Panics
/// If there is no such file.
pub fn adapt(file: &Path, changes: &[(&str, &str)]) {
    let mut text = std::fs::read_to_string(file).unwrap();
    for (old, new) in changes {
        text = text.replace(old, new);
    }
    std::fs::write(file, text).unwrap();
}

/// Copies the libraries and the loader, adapted to a core in which random numbers and the context
/// of system calls have other names, and with lwIP in place of its download.
fn parts(bench: &Bench, sources: &Path) -> PathBuf {
    let parts = bench.path().join("parts");
    for part in ["app-elfloader", "lib-lwip", "lib-libelf"] {
        copy(&sources.join(part), &parts.join(part));
    }
    let core = sources.join("unikraft");
    if !core.join("lib/ukswrand").exists() {
        for (file, changes) in [
            (
                "app-elfloader/Config.uk",
                &[("imply LIBUKSWRAND", "imply LIBUKRANDOM")][..],
            ),
            (
                "app-elfloader/main.c",
                &[
                    ("<uk/swrand.h>", "<uk/random.h>"),
                    ("uk_swrand_fill_buffer", "uk_random_fill_buffer"),
                ],
            ),
            (
                "lib-lwip/Config.uk",
                &[("select LIBUKSWRAND", "select LIBUKRANDOM")],
            ),
            (
                "lib-lwip/include/arch/cc.h",
                &[
                    ("<uk/swrand.h>", "<uk/random.h>"),
                    (
                        "uk_swrand_randr()",
                        "({ u32_t _r; uk_random_fill_buffer(&_r, sizeof(_r)); _r; })",
                    ),
                ],
            ),
        ] {
            adapt(&parts.join(file), changes);
        }
    }
    let shim = core.join("lib/syscall_shim/include/uk/syscall.h");
    let shim = std::fs::read_to_string(shim).unwrap();
    if !shim.contains("UK_LLSYSCALL_R_U_DEFINE") {
        let elfloader = parts.join("app-elfloader");
        adapt(
            &elfloader.join("syscalls/arch_prctl.c"),
            &[
                ("_R_U_DEFINE", "_R_E_DEFINE"),
                ("ukarch_sysregs_set_gs_base", "ukarch_sysctx_set_gsbase"),
                ("ukarch_sysregs_get_gs_base", "ukarch_sysctx_get_gsbase"),
                ("ukarch_sysregs_", "ukarch_sysctx_"),
                ("&usc->sysregs", "&execenv->sysctx"),
            ],
        );
        adapt(&elfloader.join("Makefile.uk"), &[("prctl-3u", "prctl-3e")]);
        let symbols = elfloader.join("exportsyms.uk");
        adapt(&symbols, &[("_u_arch_prctl", "_e_arch_prctl")]);
    }
    let (lwip, fork) = (parts.join("lib-lwip"), sources.join("fork-lwip"));
    let origin = lwip.join("origin/fork-lwip-UNIKRAFT-2_1_x");
    if fork.is_dir() && !origin.exists() {
        copy(&fork, &origin);
        let patches = format!(
            "cd '{}' && for p in ../../patches/*.patch; do patch -s -p1 < $p; done",
            origin.display()
        );
        succeeds("sh", &["-euc", &patches]);
        adapt(
            &lwip.join("Makefile.uk"),
            &[
                (
                    "$(eval $(call fetch,liblwip,",
                    "LIBLWIP_ORIGIN=$(LIBLWIP_BASE)/origin\n#(",
                ),
                ("$(eval $(call patch,liblwip,", "#("),
            ],
        );
    }
    parts
}

/// Makes a project of the catalog's base: its Kraftfile, with the clones for its sources and a
/// directory for its Dockerfile.
///
/// # Panics
/// If a clone is missing.
pub fn base(bench: &Bench, sources: &Path) -> PathBuf {
    let parts = parts(bench, sources);
    let project = bench.path().join("base");
    let text = std::fs::read_to_string(sources.join("catalog/library/base/Kraftfile")).unwrap();
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let remote = line
            .trim()
            .strip_prefix("source: https://github.com/unikraft/");
        if let Some(name) = remote {
            let indent = line.split("source").next().unwrap();
            let name = name.trim_end_matches(".git");
            out += &format!("{indent}source: {}\n", parts.join(name).display());
            // A directory has no version.
            lines.next_if(|line| line.trim().starts_with("version:"));
        } else if line == "unikraft:" {
            let core = sources.join("unikraft");
            out += &format!("unikraft:\n  source: {}\n", core.display());
            lines.next_if(|line| line.trim().starts_with("version:"));
        } else if line.starts_with("rootfs:") {
            out += "rootfs: ./rootfs\n";
        } else if line.trim() != "- fc/x86_64" {
            out += &format!("{line}\n");
        }
    }
    write(&project.join("Kraftfile"), &out);
    write(&project.join("rootfs/etc/base"), "from the kernel itself\n");
    project
}

/// Builds the project; returns what kraft said.
///
/// # Panics
/// If that fails.
pub fn build(bench: &Bench, project: &Path) -> Outcome {
    let began = Instant::now();
    let mut command = bench.command(["build"]);
    command.current_dir(project);
    let outcome = patiently(command).success();
    eprintln!("built in {:.1} s", began.elapsed().as_secs_f32());
    outcome
}
