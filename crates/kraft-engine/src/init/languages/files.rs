//! The files of a project, read with limits.

use std::path::{Path, PathBuf};

use kraft_sys::fs;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// The largest number of entries of a directory that are looked at.
const MOST_ENTRIES: usize = 1000;

/// A directory with the files of a project. What cannot be read is not there.
#[derive(Debug)]
pub(in crate::init) struct Files {
    dir: PathBuf,
    /// Files that will be written there, with their texts.
    new: &'static [(&'static str, &'static str)],
}

impl Files {
    pub(in crate::init) fn new(dir: &Path, new: &'static [(&'static str, &'static str)]) -> Self {
        let dir = dir.to_owned();
        Self { dir, new }
    }

    fn new_text(&self, name: &str) -> Option<&'static str> {
        let found = self.new.iter().find(|(new, _)| *new == name);
        found.map(|(_, text)| *text)
    }

    /// Returns whether there is a file with this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.dir.join(name).is_file() || self.new_text(name).is_some()
    }

    /// Returns whether there is a directory with this name.
    pub(super) fn has_dir(&self, name: &str) -> bool {
        self.dir.join(name).is_dir()
    }

    /// Returns the first of these files that exists.
    pub(super) fn first<'n>(&self, names: &[&'n str]) -> Option<&'n str> {
        names.iter().copied().find(|name| self.has(name))
    }

    /// Returns the text of a file; empty if there is none.
    pub(super) fn text(&self, name: &str) -> String {
        let path = self.dir.join(name);
        if let Some(text) = self.new_text(name).filter(|_| !path.exists()) {
            return text.to_owned();
        }
        // A link could lead to a file outside of the project.
        let inside = fs::check_inside(&self.dir, &path).is_ok();
        let read = inside.then(|| fs::read_file(&path, LARGEST).ok()).flatten();
        read.map_or_else(String::new, |bytes| {
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }

    /// Returns a JSON document; null if it is not one.
    pub(super) fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_str(&self.text(name)).unwrap_or_default()
    }

    /// Returns the names in a directory, sorted.
    pub(super) fn names(&self, dir: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.join(dir));
        let entries = entries.into_iter().flatten().take(MOST_ENTRIES);
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let new = self.new.iter().filter_map(|(name, _)| {
            let name = match dir {
                "." => name,
                dir => name.strip_prefix(dir)?.strip_prefix('/')?,
            };
            (!name.contains('/')).then(|| name.to_owned())
        });
        let mut names: Vec<String> = names
            .chain(new)
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Returns the version in a file such as `.python-version`, with its first `parts`: `3.12`.
    pub(super) fn version(&self, names: &[&str], parts: usize) -> Option<String> {
        let text = self.text(self.first(names)?);
        version(&text, parts)
    }
}

/// Returns the first number with dots of a text, with its first `parts`.
pub(super) fn version(text: &str, parts: usize) -> Option<String> {
    let text = text.lines().find(|line| !line.trim().is_empty())?;
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let number = text.get(start..)?;
    let end = number.find(|c: char| !c.is_ascii_digit() && c != '.');
    let number = number.get(..end.unwrap_or(number.len()))?;
    let given: Vec<&str> = number
        .split('.')
        .filter(|part| !part.is_empty())
        .take(parts)
        .collect();
    let short = given.iter().all(|part| part.len() < 5);
    short.then(|| given.join("."))
}

/// Returns the value of a key in a TOML table, if it is a string on the line of the key.
pub(super) fn toml_text(text: &str, table: &str, key: &str) -> Option<String> {
    toml_lines(text, table).find_map(|line| {
        let (name, value) = line.split_once('=')?;
        let value = value.trim().strip_prefix('"')?;
        let (value, _) = value.split_once('"')?;
        (name.trim().trim_matches('"') == key).then(|| value.to_owned())
    })
}

/// Returns the lines of a TOML table, without those of tables below it.
pub(super) fn toml_lines<'t>(text: &'t str, table: &str) -> impl Iterator<Item = &'t str> {
    let header = format!("[{table}]");
    let list = format!("[[{table}]]");
    let mut inside = false;
    text.lines().map(str::trim).filter(move |line| {
        if line.starts_with('[') {
            inside = *line == header || *line == list;
            return false;
        }
        inside
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_cut_to_their_first_parts() {
        assert_eq!(version("3.12.4\n", 2).as_deref(), Some("3.12"));
        assert_eq!(version("v22", 2).as_deref(), Some("22"));
        assert_eq!(version("\n>=20.1 <23", 1).as_deref(), Some("20"));
        assert_eq!(version("lts/*", 1), None);
        assert_eq!(version("123456", 1), None);
    }

    #[test]
    fn a_key_is_searched_in_its_table_only() {
        let text = "name = \"no\"\n[package]\nname = \"web\" # x\n[dependencies]\nname = \"no\"\n";
        assert_eq!(toml_text(text, "package", "name").as_deref(), Some("web"));
        assert_eq!(toml_text(text, "bin", "name"), None);
    }

    #[test]
    fn a_link_out_of_the_project_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("x")).unwrap();
        assert_eq!(Files::new(dir.path(), &[]).text("x"), "");
        assert_eq!(Files::new(dir.path(), &[]).text("absent"), "");
    }
}
