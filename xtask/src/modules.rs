//! What the source files of a crate may name: modules of the binary that import each other in one
//! direction, and crates that know neither the command line nor the screen.

use std::fs;
use std::path::{Path, PathBuf};

use crate::words::lines_of_product;

/// Every module of the binary with the modules that it may import.
const MODULES: &[(&str, &[&str])] = &[
    ("failure", &[]),
    ("completion", &[]),
    ("signals", &[]),
    ("container_runtime", &["failure"]),
    ("roles", &["container_runtime"]),
    ("ui", &["failure"]),
    ("app", &["failure", "signals", "ui"]),
    (
        "commands",
        &[
            "app",
            "completion",
            "container_runtime",
            "failure",
            "ui",
            "command",
        ],
    ),
    ("cli", &["commands"]),
];

/// The sources of flows.
const FLOWS: [&str; 2] = ["crates/kraft-engine/src", "crates/kraft-deploy/src"];

/// Why flows must not name what is in [`ENGINE`].
const WHY: &str = "flows get values and report events: the command line, the screen and the \
                   environment are the binary's";

/// What the sources of flows must not name.
const ENGINE: &[&str] = &[
    "clap",
    "std::env",
    "println!",
    "print!(",
    "io::stdout",
    "io::stderr",
    "io::stdin",
];

/// Returns one sentence for every import and every name that is not allowed.
pub(crate) fn complaints(root: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    let binary = root.join("crates/kraft/src");
    for file in sources(&binary) {
        let Some(module) = module_of(&binary, &file) else {
            continue;
        };
        if let Some(text) = read(&file, &mut complaints) {
            complaints.extend(imports(&shown(root, &file), &module, &text));
        }
    }
    for dir in FLOWS {
        for file in sources(&root.join(dir)) {
            if let Some(text) = read(&file, &mut complaints) {
                complaints.extend(refused(&shown(root, &file), &text, ENGINE, WHY));
            }
        }
    }
    complaints
}

fn read(file: &Path, complaints: &mut Vec<String>) -> Option<String> {
    match fs::read_to_string(file) {
        Ok(text) => Some(text),
        Err(error) => {
            complaints.push(format!("cannot read `{}`: {error}", file.display()));
            None
        }
    }
}

fn shown(root: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(root).unwrap_or(file);
    relative.display().to_string()
}

/// Returns every Rust file below a directory.
pub(crate) fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Returns the module of the binary that a file belongs to; none for the crate's own two files.
fn module_of(binary: &Path, file: &Path) -> Option<String> {
    let first = file.strip_prefix(binary).ok()?.components().next()?;
    let name = first.as_os_str().to_string_lossy();
    let module = name.strip_suffix(".rs").unwrap_or(&name);
    (!matches!(module, "lib" | "main")).then(|| module.to_owned())
}

/// Complains about imports of a file that its module may not have.
fn imports(file: &str, module: &str, text: &str) -> Vec<String> {
    let Some((_, allowed)) = MODULES.iter().find(|(name, _)| *name == module) else {
        return vec![format!(
            "`{file}`: module `{module}` is not in the picture: draw it in xtask/src/modules.rs"
        )];
    };
    let mut complaints = Vec::new();
    for (number, line) in code(text) {
        for rest in line.split("crate::").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let name = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            // An item of the crate's root or of a group: only modules are drawn.
            let drawn = MODULES.iter().any(|(other, _)| *other == name);
            if drawn && name != module && !allowed.contains(&name) {
                complaints.push(format!(
                    "`{file}:{number}` imports `{name}`, but `{module}` may not"
                ));
            }
        }
    }
    complaints
}

/// Complains about names in a file that its crate must not know.
fn refused(file: &str, text: &str, names: &[&str], why: &str) -> Vec<String> {
    code(text)
        .flat_map(|(number, line)| {
            names
                .iter()
                .filter(move |name| line.contains(*name))
                .map(move |name| format!("`{file}:{number}` names `{name}`: {why}"))
        })
        .collect()
}

/// Returns the lines of a file that are code of the product, counted from 1: without comments, and
/// without the tests at the end.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..)
        .zip(text.lines())
        .take(lines_of_product(text))
        .map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_imports_upwards_is_named_with_its_line() {
        let text =
            "//! use crate::commands;\n\nuse crate::failure::Failure;\nuse crate::commands::run;\n";
        assert_eq!(
            imports("ui/mod.rs", "ui", text),
            ["`ui/mod.rs:4` imports `commands`, but `ui` may not"]
        );
    }

    #[test]
    fn a_module_that_is_not_drawn_is_named() {
        let complaints = imports("ops.rs", "ops", "");
        assert!(complaints[0].contains("module `ops` is not in the picture"));
    }

    #[test]
    fn an_engine_that_prints_or_reads_the_environment_is_named() {
        let text = "fn f() {\n    println!(\"x\");\n    let _ = std::env::var(\"X\");\n}\n\
                    // println!\n#[cfg(test)]\nmod tests { use clap::Parser; }\n";
        let complaints = refused("x.rs", text, ENGINE, "why");
        assert_eq!(
            complaints,
            [
                "`x.rs:2` names `println!`: why",
                "`x.rs:3` names `std::env`: why"
            ]
        );
    }

    #[test]
    fn a_test_only_file_does_not_hide_the_lines_after_it() {
        let text = "#[cfg(test)]\nmod testing;\nuse clap::Parser;\n";
        assert_eq!(
            refused("lib.rs", text, ENGINE, "why"),
            ["`lib.rs:3` names `clap`: why"]
        );
    }

    #[test]
    fn files_of_the_binary_belong_to_the_module_below_its_root() {
        let binary = Path::new("/k/src");
        let module = |file: &str| module_of(binary, Path::new(file));
        assert_eq!(module("/k/src/ui/log.rs").as_deref(), Some("ui"));
        assert_eq!(module("/k/src/app.rs").as_deref(), Some("app"));
        assert_eq!(module("/k/src/lib.rs"), None);
    }
}
