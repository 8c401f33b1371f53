//! Linux programs on a kernel that loads them: finds what keeps one from starting, before the machine
//! boots.
//!
//! ```
//! use kraft_engine::binary::of_file;
//!
//! let dir = tempfile::tempdir()?;
//! let script = dir.path().join("run.sh");
//! std::fs::write(&script, "#!/bin/sh\n")?;
//! assert!(of_file(&script).is_none(), "a script is not an ELF program");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use kraft_core::arch::Arch;
use kraft_core::kernel::Guest;
use kraft_core::kernel::abilities::Abilities;
use kraft_core::machine::MachineSpec;
use kraft_core::program::Program;
use kraft_rootfs::Index;
use kraft_sys::fs;

use crate::context::Context;

/// The default directories of libraries (`ld.so(8)`, with the directories of Debian's
/// multiarch and of musl).
pub(crate) const LIBRARY_DIRS: [&str; 8] = [
    "/lib",
    "/usr/lib",
    "/lib64",
    "/usr/lib64",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
];
/// The largest number of libraries that are checked.
const MOST_LIBRARIES: usize = 512;

/// Reads a file of this host; `None` if it is not a Linux program.
#[must_use]
pub fn of_file(path: &Path) -> Option<Program> {
    Program::read(&mut fs::open_file(path).ok()?).ok()?
}

/// A problem of a program that is found before it is loaded.
#[derive(Debug, PartialEq, Eq)]
struct Diagnostic {
    /// The problem and its solution.
    sentence: String,
    /// Whether no loader can start the program.
    fatal: bool,
}

impl Diagnostic {
    fn fatal(sentence: String) -> Self {
        let fatal = true;
        Self { sentence, fatal }
    }
}

/// Warns of what keeps the program of a machine from starting; returns the program if it is certain
/// that it cannot start, because the kernel loads its programs from the root filesystem.
///
/// Only for a program that is named by its path: other arguments are for the kernel. Not for Linux,
/// which has its own init.
pub fn warn(ctx: &Context, spec: &MachineSpec, abilities: Abilities) -> Option<String> {
    let archive = spec.initrd.as_deref()?;
    let program = spec.args.first().filter(|arg| arg.starts_with('/'))?;
    tracing::debug!(archive = %archive.display(), program, "checking the program");
    // Building or booting reports an archive that cannot be read.
    let index = Index::of(archive).ok()??;
    let diagnostics = diagnostics(&index, program, spec.arch, spec.guest);
    for diagnostic in &diagnostics {
        ctx.warn(&diagnostic.sentence);
    }
    let loads = abilities.loads_from_files == Some(true) && spec.mounts_initrd;
    (loads && diagnostics.iter().any(|diagnostic| diagnostic.fatal)).then(|| program.clone())
}

/// Returns the problems of a program.
fn diagnostics(index: &Index, path: &str, arch: Arch, guest: Guest) -> Vec<Diagnostic> {
    let is_runtime = guest == Guest::Runtime;
    let Some(permissions) = index.permissions(path) else {
        return vec![Diagnostic::fatal(missing(index, path))];
    };
    if permissions & 0o111 == 0 {
        // Some loaders do not check this.
        return vec![Diagnostic {
            sentence: format!(
                "`{path}` is not executable: `chmod +x` it, or copy it with `COPY --chmod=755`"
            ),
            fatal: false,
        }];
    }
    let Some(mut file) = index.open(path) else {
        return Vec::new();
    };
    if let Some((diagnostic, fatal)) = script(index, path, &mut file) {
        // The built-in runtime starts interpreters.
        return (fatal || !is_runtime)
            .then(|| Diagnostic::fatal(diagnostic))
            .into_iter()
            .collect();
    }
    let Ok(Some(program)) = Program::read(&mut file) else {
        return Vec::new();
    };
    if program.arch != Some(arch) {
        let own = program.arch.map_or("another processor", Arch::name);
        return vec![Diagnostic::fatal(format!(
            "`{path}` is for {own} and the machine is {arch}: build the root filesystem for {arch}"
        ))];
    }
    let mut diagnostics = Vec::new();
    let static_flag = if is_runtime { "-static" } else { "-static-pie" };
    if !program.position_independent && !is_runtime {
        diagnostics.push(Diagnostic::fatal(format!(
            "`{path}` is not position-independent, which a loader of unikernels needs: link it with \
             `-static-pie` or `-pie`"
        )));
    }
    if let Some(interpreter) = &program.interpreter
        && index.permissions(interpreter).is_none()
    {
        diagnostics.push(Diagnostic::fatal(format!(
            "`{path}` is loaded by `{interpreter}`, which is not in the root filesystem: copy it \
             there with the libraries, or link with `{static_flag}`"
        )));
    }
    let lost = libraries(index, &program);
    if !lost.is_empty() {
        let lost: Vec<String> = lost.iter().map(|name| format!("`{name}`")).collect();
        // `LD_LIBRARY_PATH` may name more directories.
        diagnostics.push(Diagnostic {
            sentence: format!(
                "`{path}` needs {}, not in the root filesystem: copy what `ldd` lists, or link with \
                 `{static_flag}`",
                lost.join(", ")
            ),
            fatal: false,
        });
    }
    diagnostics
}

fn missing(index: &Index, path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    match index.named(name).as_slice() {
        [] => {
            format!("there is no `{path}` in the root filesystem: copy it there, or name another")
        }
        [one, ..] => format!("there is no `{path}` in the root filesystem: did you mean `{one}`?"),
    }
}

/// Returns the problem of a script, which needs an interpreter, and whether that is missing.
fn script(index: &Index, path: &str, file: &mut impl Read) -> Option<(String, bool)> {
    let mut start = Vec::new();
    file.take(256).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?;
    let line = String::from_utf8_lossy(line).into_owned();
    let interpreter = line.lines().next()?.split_whitespace().next()?.to_owned();
    Some(match index.permissions(&interpreter) {
        Some(_) => (
            format!(
                "`{path}` is a script: make its interpreter the command, `{interpreter} {path}`"
            ),
            false,
        ),
        None => (
            format!(
                "`{path}` is a script for `{interpreter}`, which is not in the root filesystem"
            ),
            true,
        ),
    })
}

/// Returns the libraries that are missing, including those of libraries.
fn libraries(index: &Index, program: &Program) -> BTreeSet<String> {
    let mut lost = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut waiting = vec![program.clone()];
    while let Some(next) = waiting.pop() {
        for name in &next.libraries {
            if seen.len() >= MOST_LIBRARIES || !seen.insert(name.clone()) {
                continue;
            }
            match find(index, name, &next.search) {
                Some(path) => {
                    let library = index.open(&path);
                    let read = library.and_then(|mut file| Program::read(&mut file).ok()?);
                    waiting.extend(read);
                }
                None => drop(lost.insert(name.clone())),
            }
        }
    }
    lost
}

fn find(index: &Index, name: &str, search: &[String]) -> Option<String> {
    if name.contains('/') {
        return index.permissions(name).map(|_| name.to_owned());
    }
    // `$ORIGIN` is only known when the program is loaded.
    if search.iter().any(|dir| dir.contains('$')) {
        return index.named(name).into_iter().next();
    }
    let dirs = search.iter().map(String::as_str).chain(LIBRARY_DIRS);
    dirs.map(|dir| format!("{dir}/{name}"))
        .find(|path| index.permissions(path).is_some())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use kraft_rootfs::{Options, Source};

    use super::*;

    /// An archive with the program of this test, a script and a text.
    fn index(dir: &Path) -> Index {
        let root = dir.join("root");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        let put = |name: &str, bytes: &[u8], mode: u32| {
            use std::io::Write as _;
            let path = root.join(name);
            std::fs::File::create(&path)
                .unwrap()
                .write_all(bytes)
                .unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let own = std::fs::read("/proc/self/exe").unwrap();
        put("bin/own", &own, 0o755);
        put("bin/text", &own, 0o644);
        put("bin/script", b"#!/bin/sh -e\necho\n", 0o755);
        let archive = dir.join("root.cpio");
        kraft_rootfs::build(
            &Source::Directory(root),
            &archive,
            &Options::default(),
            &mut |_| {},
        )
        .unwrap();
        Index::of(&archive).unwrap().unwrap()
    }

    #[test]
    fn problems_of_a_program_are_found_with_their_solutions() {
        let dir = tempfile::tempdir().unwrap();
        let index = index(dir.path());
        let host = match kraft_core::arch::HOST {
            "aarch64" => Arch::Arm64,
            _ => Arch::X86_64,
        };
        let other = if host == Arch::Arm64 {
            Arch::X86_64
        } else {
            Arch::Arm64
        };
        let told = |path: &str, arch| {
            let diagnostics = diagnostics(&index, path, arch, Guest::Unikraft);
            let fatal = |diagnostic: &Diagnostic| diagnostic.fatal;
            assert_eq!(diagnostics.iter().any(fatal), path != "/bin/text", "{path}");
            let sentences: Vec<String> = diagnostics.into_iter().map(|f| f.sentence).collect();
            sentences.join("\n")
        };
        assert!(told("/own", host).contains("did you mean `/bin/own`?"));
        assert!(told("/bin/text", host).contains("not executable"));
        assert!(told("/bin/script", host).contains("a script for `/bin/sh`"));
        assert!(told("/bin/own", other).contains("build the root filesystem for"));
        let own = told("/bin/own", host);
        assert!(own.contains("is loaded by `/lib"), "{own}");
        assert!(own.contains("`libc.so.6`"), "{own}");
    }
}
