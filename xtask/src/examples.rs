//! Checks that every crate shows how it is used: its documentation has an example, and so has every
//! public module.
//!
//! A module that is private, but whose items are exported at the crate's root, needs an example of
//! its own unless the one of the crate names such an item. `cargo test --doc` compiles and runs the
//! examples; this check only looks for them.

use std::fs;
use std::path::Path;

use crate::modules::sources;
use crate::{Outcome, complain};

/// Directories of crates.
const TREES: [&str; 2] = ["crates", "testing"];

/// Crates of which only the crate's documentation needs an example: the others call nothing in
/// them.
const ROOT_ONLY: &[&str] = &["kraft-e2e"];

/// Modules without an example, and why.
const EXEMPT: &[(&str, &str, &str)] = &[(
    "kraft-machine",
    "layout",
    "drivers get its type from the crate: their examples use it",
)];

/// A module that a crate shows to others.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    name: String,
    /// The items that are exported at the root, if the module is private.
    items: Vec<String>,
}

/// Looks for the examples of all crates of the workspace in `root`.
pub(crate) fn exec(root: &Path) -> Outcome {
    let mut complaints = Vec::new();
    let mut crates = 0;
    for tree in TREES {
        let tree = root.join(tree);
        let entries = fs::read_dir(&tree).map_err(|error| complain("read", &tree, &error))?;
        let mut dirs: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        dirs.sort();
        for dir in dirs {
            let source = dir.join("src");
            let Ok(lib) = fs::read_to_string(source.join("lib.rs")) else {
                continue;
            };
            let name = dir.file_name().unwrap_or_default().to_string_lossy();
            crates += 1;
            complaints.extend(of_crate(&name, &lib, &|module| texts(&source, module)));
        }
    }
    if complaints.is_empty() {
        Ok(format!("examples: {crates} crates show how they are used"))
    } else {
        Err(complaints)
    }
}

/// Returns the texts of the files of a module.
fn texts(source: &Path, module: &str) -> Vec<String> {
    let mut files = sources(&source.join(module));
    files.push(source.join(format!("{module}.rs")));
    let texts = files.iter().map(fs::read_to_string);
    texts.filter_map(Result::ok).collect()
}

/// Returns one sentence for the crate and for each module without an example; `texts` returns the
/// texts of a module.
fn of_crate(name: &str, lib: &str, texts: &dyn Fn(&str) -> Vec<String>) -> Vec<String> {
    let root = example(lib);
    let mut complaints = Vec::new();
    if root.is_empty() {
        complaints.push(format!(
            "`{name}` has no example in the documentation of the crate"
        ));
    }
    if ROOT_ONLY.contains(&name) {
        return complaints;
    }
    for module in shown(lib) {
        let exempt = EXEMPT
            .iter()
            .any(|(owner, exempt, _)| *owner == name && *exempt == module.name);
        let named = module
            .items
            .iter()
            .any(|item| words(&root).any(|word| word == item));
        if !exempt
            && !named
            && texts(&module.name)
                .iter()
                .all(|text| example(text).is_empty())
        {
            complaints.push(format!(
                "`{name}::{}` has no example: begin it with \"```\" in a doc comment",
                module.name
            ));
        }
    }
    complaints
}

/// Returns the modules that a crate shows, from its `lib.rs`.
fn shown(lib: &str) -> Vec<Shown> {
    let declared = |keyword: &str| -> Vec<&str> {
        let names = lib.lines().filter_map(|line| line.strip_prefix(keyword));
        names.filter_map(|rest| rest.strip_suffix(';')).collect()
    };
    let exports = lib.split("\npub use ").skip(1).filter_map(|rest| {
        let path = rest.split(';').next()?;
        let path = path.strip_prefix("crate::").unwrap_or(path);
        path.strip_prefix("self::").unwrap_or(path).split_once("::")
    });
    let exports: Vec<(&str, &str)> = exports.collect();
    let of = |module: &str| -> Vec<String> {
        let items = exports.iter().filter(|(name, _)| *name == module);
        items
            .flat_map(|(_, items)| words(items))
            .map(str::to_owned)
            .collect()
    };
    let public = declared("pub mod ").into_iter().map(|name| Shown {
        name: name.to_owned(),
        items: Vec::new(),
    });
    let private = declared("mod ").into_iter().map(|name| Shown {
        name: name.to_owned(),
        items: of(name),
    });
    public
        .chain(private.filter(|module| !module.items.is_empty()))
        .collect()
}

/// Returns the lines of all examples in the doc comments of a file that are compiled as Rust.
fn example(text: &str) -> String {
    let mut lines = String::new();
    // Whether the lines are inside a block, and of Rust.
    let mut block = None;
    for line in text.lines() {
        let line = line.trim_start();
        let Some(line) = line
            .strip_prefix("//!")
            .or_else(|| line.strip_prefix("///"))
        else {
            continue;
        };
        match (line.trim().strip_prefix("```"), block) {
            (Some(tag), None) => block = Some(is_rust(tag)),
            (Some(_), Some(_)) => block = None,
            (None, Some(true)) => {
                lines.push_str(line);
                lines.push('\n');
            }
            (None, _) => {}
        }
    }
    lines
}

/// Returns whether rustdoc compiles a block with this tag.
fn is_rust(tag: &str) -> bool {
    tag.split(',')
        .all(|word| matches!(word.trim(), "" | "rust" | "no_run" | "should_panic"))
}

/// Returns the identifiers of a text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "//! A crate.\n//!\n//! ```\n//! let door = demo::open();\n//! ```\n\n\
                       pub mod house;\nmod door;\nmod window;\nmod inner;\n\n\
                       pub use door::open;\npub use self::window::{\n    Pane,\n    Window,\n};\n\
                       pub use elsewhere::Thing;\n";

    fn complaints(lib: &str, module: &'static str) -> Vec<String> {
        of_crate("demo", lib, &|_| vec![module.to_owned()])
    }

    #[test]
    fn a_module_without_an_example_is_named() {
        assert_eq!(
            complaints(LIB, "//! A module.\npub fn build() {}\n"),
            [
                "`demo::house` has no example: begin it with \"```\" in a doc comment",
                "`demo::window` has no example: begin it with \"```\" in a doc comment",
            ],
            "`door` is shown by the example of the crate, `inner` is not exported"
        );
    }

    #[test]
    fn a_crate_without_an_example_is_named() {
        let lib = "//! A crate.\n//!\n//! ```text\n//! a ─► b\n//! ```\n";
        assert_eq!(
            complaints(lib, ""),
            ["`demo` has no example in the documentation of the crate"]
        );
    }

    #[test]
    fn an_example_of_a_module_or_of_an_item_counts() {
        for text in [
            "//! ```\n//! build();\n//! ```\n",
            "impl House {\n    /// ```no_run\n    /// build();\n    /// ```\n}\n",
            "//! ```text\n//! a\n//! ```\n/// ```rust,no_run\n/// build();\n/// ```\n",
        ] {
            assert_eq!(complaints(LIB, text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn pictures_ignored_and_empty_blocks_are_no_examples() {
        for text in [
            "//! ```text\n//! build();\n//! ```\n",
            "//! ```ignore\n//! build();\n//! ```\n",
            "//! ```\n//! ```\n",
            "// ```\n// build();\n// ```\n",
            "let text = \"```\";\n",
        ] {
            assert_eq!(complaints(LIB, text).len(), 2, "{text}");
        }
    }
}
