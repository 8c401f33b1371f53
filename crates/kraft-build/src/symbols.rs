//! The KConfig options that components define, read from their files alone.
//!
//! [`crate::menu`] reads the options of a target as make does: it runs commands of the sources, and needs a target
//! that was configured. Here no command runs and nothing has to be configured, so that a project can be looked at
//! that is not trusted yet: every `Config.uk` is read by itself, and one with errors is left out.
//!
//! ```
//! use kraft_build::symbols::Symbols;
//!
//! let dir = tempfile::tempdir()?;
//! let text = "config NET\n\tbool \"Network $(shell,touch /tmp/x)\"\n\thelp\n\t  Enables it.\n";
//! std::fs::write(dir.path().join("Config.uk"), text)?;
//! let symbols = Symbols::of(&[dir.path().to_owned()]);
//! let net = symbols.find("CONFIG_NET").expect("an option");
//! assert_eq!(net.prompt.as_deref(), Some("Network "));
//! assert_eq!(net.help.as_deref(), Some("Enables it."));
//! # Ok::<(), std::io::Error>(())
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use kraft_kconfig::SymbolInfo;
use kraft_kconfig::language::{Sources, Tree};
use kraft_sys::fs;

/// The name of an options file.
const FILE: &str = "Config.uk";
/// Maximum size of an options file, in bytes.
const LARGEST: u64 = 1 << 20;
/// Maximum number of options files of all components.
const MOST_FILES: usize = 2000;
/// Maximum number of directories that are searched for them.
const MOST_DIRS: usize = 20_000;
/// Maximum depth of such a directory; in the core it is 3.
const DEEPEST: usize = 5;

/// The options of some components, by their name without `CONFIG_`.
#[derive(Clone, Debug, Default)]
pub struct Symbols(BTreeMap<String, SymbolInfo>);

impl Symbols {
    /// Reads the options of components; each directory has one. What cannot be read is left out.
    #[must_use]
    pub fn of(components: &[PathBuf]) -> Self {
        let mut symbols = BTreeMap::new();
        let mut files = 0;
        for component in components {
            for file in options_files(component, MOST_FILES - files) {
                files += 1;
                let source = OneFile {
                    dir: component,
                    file: &file,
                };
                let Ok(tree) = Tree::parse(&file, &source) else {
                    tracing::debug!(file, "an options file has errors");
                    continue;
                };
                for name in tree.names() {
                    let Some(symbol) = tree.symbol(name) else {
                        continue;
                    };
                    let known: &mut SymbolInfo = symbols
                        .entry(name.to_owned())
                        .or_insert_with(|| symbol.clone());
                    // The definition that users can set is the one that explains it.
                    if known.prompt.is_none() && symbol.prompt.is_some() {
                        *known = symbol;
                    }
                }
            }
        }
        Self(symbols)
    }

    /// Returns an option, by its name with or without `CONFIG_`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&SymbolInfo> {
        self.0.get(name.strip_prefix("CONFIG_").unwrap_or(name))
    }

    /// Returns every option that can be set, by its name.
    pub fn with_prompt(&self) -> impl Iterator<Item = &SymbolInfo> {
        self.0.values().filter(|symbol| symbol.prompt.is_some())
    }
}

/// Returns the options files of a component, as paths in its directory, sorted. Links are not followed.
fn options_files(component: &Path, most: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![(String::new(), 0)];
    let mut read = 0;
    while let Some((dir, depth)) = waiting.pop() {
        read += 1;
        let Ok(entries) = std::fs::read_dir(component.join(&dir)) else {
            continue;
        };
        for entry in entries.flatten() {
            let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else {
                continue;
            };
            let path = if dir.is_empty() {
                name.clone()
            } else {
                format!("{dir}/{name}")
            };
            if kind.is_file() && name == FILE && found.len() < most {
                found.push(path);
            } else if kind.is_dir()
                && !name.starts_with('.')
                && depth < DEEPEST
                && read + waiting.len() < MOST_DIRS
            {
                waiting.push((path, depth + 1));
            }
        }
    }
    found.sort_unstable();
    found
}

/// An options file without the world around it: no environment, no commands, no other file.
struct OneFile<'d> {
    dir: &'d Path,
    file: &'d str,
}

impl Sources for OneFile<'_> {
    fn env(&self, name: &str) -> Option<String> {
        (name == "CONFIG_").then(|| "CONFIG_".to_owned())
    }

    fn shell(&self, _: &str) -> String {
        String::new()
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        // Files that this one refers to are read by themselves.
        if path != self.file {
            return Ok(Vec::new());
        }
        let bytes = fs::read_file(&self.dir.join(path), LARGEST);
        bytes.map_err(|error| error.source)
    }

    fn glob(&self, _: &str) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dir: &Path, name: &str, text: &str) {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::replace_file(&path, text.as_bytes()).unwrap();
    }

    #[test]
    fn every_file_is_read_by_itself_and_one_with_errors_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let (core, outside) = (dir.path().join("core"), dir.path().join("outside"));
        put(
            &core,
            "Config.uk",
            "source \"$(KCONFIG_DIR)/libs.uk\"\nsource \"lib/*/Config.uk\"\nconfig TOP\n\tint \"Top\"\n",
        );
        put(&core, "lib/a/Config.uk", "config A\n\tbool\n");
        put(
            &core,
            "lib/b/Config.uk",
            "config A\n\tbool \"It\"\nconfig B\n\tbool\n",
        );
        put(&core, "lib/c/Config.uk", "config C\n\tnonsense\n");
        put(&core, ".git/Config.uk", "config D\n\tbool\n");
        put(&outside, "Config.uk", "config E\n\tbool\n");
        fs::replace_link(&core.join("lib/link"), &outside).unwrap();
        let symbols = Symbols::of(&[core, dir.path().join("absent")]);
        let names: Vec<&str> = symbols.0.keys().map(String::as_str).collect();
        assert_eq!(names, ["A", "B", "TOP"]);
        let set: Vec<&str> = symbols.with_prompt().map(|it| it.name.as_str()).collect();
        assert_eq!(set, ["A", "TOP"]);
        assert_eq!(symbols.find("A").unwrap().places[0].file, "lib/b/Config.uk");
    }
}
