//! Plain words: fails on the phrases of `words.txt` in help texts, messages, pages and comments.
//!
//! Quotations of other programs are allowed in `allowed.txt`.

mod passages;
mod phrases;
#[cfg(test)]
mod tests;

pub(crate) use self::passages::lines_of_product;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use self::passages::{Kind, Passage};
use self::phrases::{Hit, Phrase, Quotation};
use crate::{Outcome, complain};

/// Directories whose files are checked.
const TREES: &[&str] = &[
    "crates", "docs", "fuzz", "runtime", "scripts", "testing", "xtask",
];

/// A file by its path from the root of the workspace.
struct File {
    path: String,
    text: String,
}

/// A line of a file with a banned phrase.
struct Finding {
    path: String,
    kind: Kind,
    line: usize,
    phrase: String,
    better: String,
}

/// Checks the files below the root, or only those below `only`. With `count`, prints per crate how
/// many lines of doc comments have a banned phrase.
pub(crate) fn exec(root: &Path, only: &[PathBuf], count: bool) -> Outcome {
    let phrases = phrases::phrases(include_str!("words.txt"))?;
    let quotations = phrases::quotations(include_str!("allowed.txt"))?;
    let mut files = files(root)?;
    files.retain(|file| {
        only.is_empty()
            || only
                .iter()
                .any(|below| Path::new(&file.path).starts_with(below))
    });
    if count {
        return Ok(shares(&files, &phrases, &quotations));
    }
    let mut complaints: Vec<String> = findings(&files, &phrases, &quotations)
        .iter()
        .map(|found| {
            let Finding {
                path,
                line,
                phrase,
                better,
                ..
            } = found;
            format!("{path}:{line}: {phrase} → {better}")
        })
        .collect();
    if only.is_empty() {
        complaints.extend(quotations.iter().filter_map(Quotation::unused));
    }
    if complaints.is_empty() {
        Ok(format!("words: {} files use plain words", files.len()))
    } else {
        complaints.push(format!("{} banned phrases", complaints.len()));
        Err(complaints)
    }
}

/// Returns every banned phrase of the files that is not a quotation.
fn findings(files: &[File], phrases: &[Phrase], quotations: &[Quotation]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        for passage in passages_of(file) {
            for Hit { span, better } in phrases::hits(&file.path, &passage, phrases, quotations) {
                findings.push(Finding {
                    path: file.path.clone(),
                    kind: passage.kind,
                    line: passage.line_of(span.start),
                    phrase: passage.text.get(span).unwrap_or_default().to_owned(),
                    better,
                });
            }
        }
    }
    findings
}

/// Returns a table: lines of doc comments, and how many of them have a banned phrase, per crate.
fn shares(files: &[File], phrases: &[Phrase], quotations: &[Quotation]) -> String {
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for file in files {
        let passages = passages_of(file);
        let docs = passages.iter().filter(|passage| passage.kind == Kind::Doc);
        *lines.entry(area(&file.path)).or_default() += docs.map(Passage::len).sum::<usize>();
    }
    let mut marked: BTreeMap<String, BTreeSet<(String, usize)>> = BTreeMap::new();
    let mut others: BTreeMap<String, usize> = BTreeMap::new();
    for found in findings(files, phrases, quotations) {
        let area = area(&found.path);
        if found.kind == Kind::Doc {
            marked
                .entry(area)
                .or_default()
                .insert((found.path, found.line));
        } else {
            *others.entry(area).or_default() += 1;
        }
    }
    let mut table = format!(
        "{:<28}{:>10}{:>10}{:>8}{:>10}",
        "crate", "doc lines", "phrases", "share", "elsewhere"
    );
    let (mut all, mut all_marked, mut all_others) = (0, 0, 0);
    for (area, count) in &lines {
        let marked = marked.get(area).map_or(0, BTreeSet::len);
        let others = others.get(area).copied().unwrap_or(0);
        table.push_str(&row(area, *count, marked, others));
        (all, all_marked, all_others) = (all + count, all_marked + marked, all_others + others);
    }
    table.push_str(&row("all", all, all_marked, all_others));
    table
}

fn row(area: &str, lines: usize, marked: usize, others: usize) -> String {
    let permille = (marked * 1000).checked_div(lines).unwrap_or(0);
    let mut row = String::new();
    let share = format!("{}.{} %", permille / 10, permille % 10);
    // Writing to a string does not fail.
    let _ = write!(
        row,
        "\n{area:<28}{lines:>10}{marked:>10}{share:>8}{others:>10}"
    );
    row
}

/// Returns the crate or the directory that a file belongs to.
fn area(path: &str) -> String {
    let mut parts = path.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("crates" | "testing"), Some(name), Some(_)) => name.to_owned(),
        (Some(directory), Some(_), _) => directory.to_owned(),
        _ => "root".to_owned(),
    }
}

fn passages_of(file: &File) -> Vec<Passage> {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "rs" => {
            let test = ["/tests/", "/benches/", "/tests.rs"]
                .iter()
                .any(|part| file.path.contains(part));
            passages::of_rust(&file.text, test)
        }
        "md" if name == "CHANGELOG.md" => passages::of_markdown(passages::unreleased(&file.text)),
        "md" => passages::of_markdown(&file.text),
        _ => passages::of_script(&file.text),
    }
}

/// Reads the files with prose, sorted by path.
fn files(root: &Path) -> Result<Vec<File>, Vec<String>> {
    let mut paths = Vec::new();
    list(root, false, &mut paths)?;
    for tree in TREES {
        list(&root.join(tree), true, &mut paths)?;
    }
    paths.sort();
    paths
        .into_iter()
        .filter(|path| has_prose(root, path))
        .map(|path| {
            let text =
                std::fs::read_to_string(&path).map_err(|error| complain("read", &path, &error))?;
            let path = path
                .strip_prefix(root)
                .unwrap_or(&path)
                .display()
                .to_string();
            Ok(File { path, text })
        })
        .collect()
}

fn has_prose(root: &Path, path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension {
        Some("rs" | "toml" | "sh") => true,
        // Pages of users, not the inputs of tests.
        Some("md") => path.parent() == Some(root) || path.starts_with(root.join("docs")),
        _ => path.file_name().is_some_and(|name| name == "Makefile"),
    }
}

fn list(directory: &Path, deep: bool, paths: &mut Vec<PathBuf>) -> Result<(), Vec<String>> {
    let failed = |error| complain("list", directory, &error);
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        let name = entry.file_name();
        if kind.is_file() {
            paths.push(entry.path());
        } else if deep && kind.is_dir() && name != "target" && name != "corpus" {
            list(&entry.path(), deep, paths)?;
        }
    }
    Ok(())
}
