//! Checks the links of the documentation, and that the website has every page.
//!
//! A relative link must lead to a file and, if it names one, to a heading of it. `docs/SUMMARY.md` is the
//! table of contents of the website, which mdBook builds from `docs/`: each page is in it once, and no page
//! links to a file outside `docs/`, which the website does not have.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use crate::{Outcome, complain};

/// The pages of the website, from the root of the workspace.
const DOCS: &str = "docs";
/// Its table of contents.
const CONTENTS: &str = "docs/SUMMARY.md";

/// `[text](target)`, and the name of a file in `target` without a scheme.
#[expect(clippy::expect_used, reason = "INVARIANT: the expression is valid")]
static LINK: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\[[^\]]*\]\(([^)\s]+)\)").expect("a valid expression"));

/// Markdown files by their path from the root of the workspace.
type Pages = BTreeMap<PathBuf, String>;

/// Checks the Markdown files at `root` and below `docs/`.
pub(crate) fn exec(root: &Path) -> Outcome {
    let mut pages = Pages::new();
    read(root, Path::new(""), &mut pages)?;
    read(root, Path::new(DOCS), &mut pages)?;
    read(root, &Path::new(DOCS).join("design"), &mut pages)?;
    let exists = |path: &Path| root.join(path).exists();
    let mut complaints = broken(&pages, &exists);
    complaints.extend(not_listed(&pages));
    if complaints.is_empty() {
        Ok(format!(
            "links: those of {} pages lead somewhere",
            pages.len()
        ))
    } else {
        Err(complaints)
    }
}

/// Adds the Markdown files of a directory.
fn read(root: &Path, directory: &Path, pages: &mut Pages) -> Result<(), Vec<String>> {
    let full = root.join(directory);
    let entries = fs::read_dir(&full).map_err(|error| complain("read", &full, &error))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|it| it == "md") {
            let text =
                fs::read_to_string(&path).map_err(|error| complain("read", &path, &error))?;
            pages.insert(directory.join(entry.file_name()), text);
        }
    }
    Ok(())
}

/// Returns a complaint for each link that leads nowhere.
fn broken(pages: &Pages, exists: &impl Fn(&Path) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for (page, text) in pages {
        for target in links(text) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let directory = page.parent().unwrap_or(Path::new(""));
            let Some(path) = (if file.is_empty() {
                Some(page.clone())
            } else {
                resolve(directory, file)
            }) else {
                complaints.push(format!(
                    "{}: `{target}` leads out of the repository",
                    page.display()
                ));
                continue;
            };
            let reason = if !exists(&path) {
                "there is no such file"
            } else if page.starts_with(DOCS) && !path.starts_with(DOCS) {
                "the website has only files of `docs/`"
            } else if !heading.is_empty()
                && pages
                    .get(&path)
                    .is_some_and(|text| !headings(text).contains(&heading.to_owned()))
            {
                "there is no such heading"
            } else {
                continue;
            };
            complaints.push(format!("{}: `{target}`: {reason}", page.display()));
        }
    }
    complaints
}

/// Returns a complaint for each page that the table of contents lacks, or has more than once.
fn not_listed(pages: &Pages) -> Vec<String> {
    let contents = pages.get(Path::new(CONTENTS)).map(String::as_str);
    let listed: Vec<PathBuf> = links(contents.unwrap_or_default())
        .filter_map(|target| resolve(Path::new(DOCS), target))
        .collect();
    let docs = pages.keys().filter(|page| page.starts_with(DOCS));
    docs.filter(|page| *page != Path::new(CONTENTS))
        .filter_map(
            |page| match listed.iter().filter(|it| *it == page).count() {
                1 => None,
                0 => Some(format!("{CONTENTS} lacks `{}`", page.display())),
                n => Some(format!("{CONTENTS} has `{}` {n} times", page.display())),
            },
        )
        .collect()
}

/// Returns the targets of relative links, outside of blocks of code.
fn links(text: &str) -> impl Iterator<Item = &str> {
    outside_code(text)
        .flat_map(|line| LINK.captures_iter(line))
        .filter_map(|captures| captures.get(1).map(|target| target.as_str()))
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
}

/// Returns the anchors of the headings, as GitHub and mdBook make them.
fn headings(text: &str) -> Vec<String> {
    let titles = outside_code(text)
        .filter_map(|line| Some(line.strip_prefix('#')?.trim_start_matches('#').trim()));
    titles
        .map(|title| {
            let kept = title
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| {
                if c == ' ' {
                    '-'
                } else {
                    c.to_ascii_lowercase()
                }
            })
            .collect()
        })
        .collect()
}

fn outside_code(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// Joins a directory and a relative path; `None` if that leads out of the repository.
fn resolve(directory: &Path, relative: &str) -> Option<PathBuf> {
    let mut path = directory.to_owned();
    for component in Path::new(relative).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                if !path.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(files: &[(&str, &str)]) -> Pages {
        let of = |(path, text): &(&str, &str)| (PathBuf::from(path), (*text).to_owned());
        files.iter().map(of).collect()
    }

    fn complaints(files: &[(&str, &str)]) -> Vec<String> {
        let pages = pages(files);
        let exists = |path: &Path| pages.contains_key(path);
        let mut all = broken(&pages, &exists);
        all.extend(not_listed(&pages));
        all
    }

    #[test]
    fn links_that_lead_somewhere_are_accepted() {
        let files = [
            (
                "README.md",
                "[docs](docs/a.md), [web](https://example.com/x.md)",
            ),
            ("docs/SUMMARY.md", "- [A](a.md)\n- [B](design/b.md)"),
            (
                "docs/a.md",
                "# A title, with `code`\n[b](design/b.md) [up](#a-title-with-code)\n",
            ),
            (
                "docs/design/b.md",
                "```\n[not a link](nowhere.md)\n```\n[a](../a.md#a-title-with-code)",
            ),
        ];
        assert_eq!(complaints(&files), [""; 0]);
    }

    #[test]
    fn each_broken_link_and_missing_page_is_named() {
        let files = [
            ("README.md", "[gone](docs/gone.md) [out](../../x)"),
            ("docs/SUMMARY.md", "- [A](a.md)\n- [Again](a.md)"),
            ("docs/a.md", "[b](b.md#nothing) [readme](../README.md)"),
            ("docs/b.md", "# B"),
        ];
        assert_eq!(
            complaints(&files),
            [
                "README.md: `docs/gone.md`: there is no such file",
                "README.md: `../../x` leads out of the repository",
                "docs/a.md: `b.md#nothing`: there is no such heading",
                "docs/a.md: `../README.md`: the website has only files of `docs/`",
                "docs/SUMMARY.md has `docs/a.md` 2 times",
                "docs/SUMMARY.md lacks `docs/b.md`",
            ]
        );
    }
}
