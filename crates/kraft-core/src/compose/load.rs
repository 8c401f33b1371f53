//! Loads a project of several files: included, extended and merged ones.
//!
//! Positions in the files are those in all their texts one after the other, until a problem is
//! reported: it then points into its own file.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use crate::document::located::Located;
use crate::document::node::{Entry, Node, Scalar, Value};
use crate::document::open::open;
use crate::document::problems::Problems;
use crate::document::{check, interpolate};
use crate::problem::{Problem, Span, Text};

use super::merge::merge;
use super::model::Compose;
use super::shape::{EXTENDS, FILE, SERVICE};
use super::{KIND, Place, effect, lower, order};

/// The maximum number of files of a project.
const MOST_FILES: usize = 100;
/// The maximum depth of files that include, or services that extend, each other.
const DEEPEST: usize = 16;

/// What is needed to load a project.
#[derive(Clone, Copy)]
pub struct Loading<'a> {
    /// Where the project runs.
    pub place: Place,
    /// Looks up a variable.
    pub vars: &'a dyn Fn(&str) -> Option<String>,
    /// Reads a file that another one names: a path relative to the directory of the project, or an
    /// absolute one. The error is shown to the user.
    pub read: &'a dyn Fn(&str) -> Result<String, String>,
}

impl fmt::Debug for Loading<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loading")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// A project that was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The project; `None` if any of the problems is an error.
    pub compose: Option<Compose>,
    /// The project as JSON, with all variables expanded, as far as it could be read.
    pub merged: serde_json::Value,
    /// The text of every file.
    pub texts: Vec<Text>,
    /// The problems of every file, by its index in `texts`.
    pub problems: Vec<(usize, Problem)>,
    /// Keys that have no effect where the project runs, each once, sorted.
    pub idle: Vec<String>,
}

impl Loaded {
    /// Returns a problem of the merged project with the index of the file that it points into.
    pub fn locate(&self, problem: Problem) -> (usize, Problem) {
        locate(&self.texts, problem)
    }
}

/// Loads a project from its files, later ones over earlier ones. Relative paths in the result are
/// relative to the directory of the project, as those in the given files are.
///
/// ```
/// use kraft_core::compose::{Loading, Place, load};
/// use kraft_core::problem::Text;
///
/// let file = |name: &str, text: &str| Text { name: name.to_owned(), text: text.to_owned() };
/// let loading = Loading {
///     place: Place::Host,
///     vars: &|_| None,
///     read: &|path| Err(format!("there is no `{path}`")),
/// };
/// let loaded = load(
///     vec![
///         file("compose.yaml", "services: {web: {image: nginx, environment: [A=1]}}"),
///         file("override.yaml", "services: {web: {environment: {B: 2}}}"),
///     ],
///     loading,
/// );
/// let web = &loaded.compose.unwrap().services[0];
/// assert_eq!(web.environment.len(), 2);
/// ```
pub fn load(files: Vec<Text>, loading: Loading<'_>) -> Loaded {
    let mut loader = Loader {
        loading,
        texts: Vec::new(),
        end: 0,
        problems: Problems::default(),
        idle: Vec::new(),
        paths: Vec::new(),
        trees: BTreeMap::new(),
    };
    let mut whole: Option<Node> = None;
    for file in files {
        let Some(tree) = loader.file(file, "", 0) else {
            continue;
        };
        whole = Some(match whole {
            None => tree,
            Some(below) => merge(below, tree, ""),
        });
    }
    loader.finish(whole)
}

struct Loader<'a> {
    loading: Loading<'a>,
    texts: Vec<Text>,
    /// Where the next text begins.
    end: usize,
    problems: Problems,
    idle: Vec<String>,
    /// The files that are being read, to notice cycles.
    paths: Vec<String>,
    /// The files that were read for others.
    trees: BTreeMap<String, Rc<Node>>,
}

impl Loader<'_> {
    fn finish(mut self, whole: Option<Node>) -> Loaded {
        let mut merged = serde_json::Value::Null;
        let compose = whole.and_then(|root| {
            if FILE.get(&root, "services").is_none() {
                let problem = Problem::error(format!("{} has no `services`", KIND.name));
                self.problems.push(problem.at(root.span).help(KIND.begin));
            }
            merged = root.to_json();
            let compose = lower::lower(&root, &mut self.problems);
            order::check(&compose, &mut self.problems);
            (!self.problems.fatal()).then_some(compose)
        });
        self.idle.sort_unstable();
        self.idle.dedup();
        let problems = self.problems.into_problems().into_iter();
        let problems = problems.map(|problem| locate(&self.texts, problem));
        Loaded {
            compose,
            merged,
            problems: problems.collect(),
            idle: self.idle,
            texts: self.texts,
        }
    }

    /// Reads one file, with what it includes and extends. `dir` is its directory, relative to that of
    /// the project.
    fn file(&mut self, file: Text, dir: &str, depth: usize) -> Option<Node> {
        let start = self.end;
        let mut problems = Problems::default();
        let tree = open(&file.text, &KIND, &mut problems).map(|(mut root, _)| {
            let vars = self.loading.vars;
            problems.append(interpolate::interpolate(&file.text, &mut root, vars));
            problems.append(check::check(&root, &FILE, true, KIND.name));
            root
        });
        self.end += file.text.len() + 1;
        self.texts.push(file);
        problems.shift(start);
        self.problems.append(problems);
        let mut root = tree?;
        shift(&mut root, start);
        for idle in effect::idle(&root, self.loading.place) {
            let message = format!("`{}` has no effect", idle.key.value);
            match self.loading.place {
                Place::Cloud => {
                    let problem = Problem::warning(message).at(idle.key.span);
                    self.problems.push(problem.help(idle.help));
                }
                Place::Host => self.idle.push(idle.path),
            }
        }
        rebase(&mut root, dir);
        let root = self.extended(root, dir, depth);
        Some(self.included(root, dir, depth))
    }

    /// Reads a file that another one names at a position.
    fn other(&mut self, path: &str, span: Span, depth: usize) -> Option<Rc<Node>> {
        if let Some(tree) = self.trees.get(path) {
            return Some(Rc::clone(tree));
        }
        let mut fail = |why: &str| {
            let problem = Problem::error(format!("cannot read `{path}`: {why}"));
            self.problems.push(problem.at(span));
        };
        if depth >= DEEPEST || self.paths.iter().any(|other| other == path) {
            fail("the files include or extend each other");
            return None;
        }
        if self.texts.len() >= MOST_FILES {
            fail("a project has at most 100 files");
            return None;
        }
        let text = match (self.loading.read)(path) {
            Ok(text) => text,
            Err(why) => {
                fail(&why);
                return None;
            }
        };
        let name = path.to_owned();
        self.paths.push(name.clone());
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir).to_owned();
        let tree = self.file(Text { name, text }, &dir, depth + 1).map(Rc::new);
        self.paths.pop();
        if let Some(tree) = &tree {
            self.trees.insert(path.to_owned(), Rc::clone(tree));
        }
        tree
    }

    /// Merges the files of `include` below a file.
    fn included(&mut self, mut root: Node, dir: &str, depth: usize) -> Node {
        let Value::Map(entries) = &mut root.value else {
            return root;
        };
        let Some(at) = entries.iter().position(|it| it.key.value == "include") else {
            return root;
        };
        let include = entries.remove(at).value;
        let mut below: Option<Node> = None;
        for item in include.items() {
            let path = item.text().map(|path| vec![path]);
            let paths = path.unwrap_or_else(|| {
                let entry = item.entries().iter().find(|it| it.key.value == "path");
                let Some(entry) = entry else {
                    return Vec::new();
                };
                let one = entry.value.text().map(|path| vec![path]);
                one.unwrap_or_else(|| entry.value.items().iter().filter_map(Node::text).collect())
            });
            if paths.is_empty() {
                let problem = Problem::error("`include` names no file").at(item.span);
                self.problems.push(problem);
            }
            for path in paths {
                let Some(tree) = self.other(&join(dir, &path.value), path.span, depth) else {
                    continue;
                };
                let tree = Node::clone(&tree);
                below = Some(match below {
                    None => tree,
                    Some(below) => merge(below, tree, ""),
                });
            }
        }
        match below {
            None => root,
            Some(mut below) => {
                // A project has the name that its own file gives it.
                if let Value::Map(entries) = &mut below.value {
                    entries.retain(|entry| entry.key.value != "name");
                }
                merge(below, root, "")
            }
        }
    }

    /// Merges each service with the one that it extends.
    fn extended(&mut self, mut root: Node, dir: &str, depth: usize) -> Node {
        let services = FILE.get(&root, "services").cloned();
        let Some(services) = services else {
            return root;
        };
        let resolved: Vec<Entry> = services
            .entries()
            .iter()
            .map(|entry| Entry {
                key: entry.key.clone(),
                value: self.service(&services, &entry.key, dir, depth, &mut Vec::new()),
            })
            .collect();
        if let Value::Map(entries) = &mut root.value
            && let Some(entry) = entries.iter_mut().find(|it| it.key.value == "services")
            && matches!(entry.value.value, Value::Map(_))
        {
            entry.value.value = Value::Map(resolved);
        }
        root
    }

    /// Returns a service, merged with the one that it extends.
    fn service(
        &mut self,
        services: &Node,
        name: &Located<String>,
        dir: &str,
        depth: usize,
        seen: &mut Vec<String>,
    ) -> Node {
        let mut entries = services.entries().iter();
        let found = entries.find(|entry| entry.key.value == name.value);
        let Some(own) = found.map(|entry| entry.value.clone()) else {
            let problem = Problem::error(format!("there is no service `{}`", name.value));
            self.problems.push(problem.at(name.span));
            return nothing(name.span);
        };
        let Some(extends) = SERVICE.get(&own, "extends").cloned() else {
            return own;
        };
        if seen.contains(&name.value) || seen.len() >= DEEPEST {
            let problem = Problem::error(format!("`{}` extends itself", name.value));
            self.problems.push(problem.at(extends.span));
            return own;
        }
        seen.push(name.value.clone());
        let other = extends.text();
        let other = other.or_else(|| EXTENDS.get(&extends, "service")?.text());
        let file = EXTENDS.get(&extends, "file").and_then(Node::text);
        let below = match (other, file) {
            (None, _) => nothing(extends.span),
            (Some(other), None) => self.service(services, &other, dir, depth, seen),
            (Some(other), Some(file)) => {
                let tree = self.other(&join(dir, &file.value), file.span, depth);
                let services = tree.and_then(|tree| FILE.get(&tree, "services").cloned());
                match services {
                    // They are resolved already.
                    Some(services) => self.service(&services, &other, dir, depth, seen),
                    None => nothing(extends.span),
                }
            }
        };
        let mut whole = merge(below, own, "");
        if let Value::Map(entries) = &mut whole.value {
            entries.retain(|entry| entry.key.value != "extends");
        }
        whole
    }
}

fn nothing(span: Span) -> Node {
    Node {
        span,
        value: Value::Map(Vec::new()),
    }
}

fn scalar(text: &str, span: Span) -> Node {
    Node {
        span,
        value: Value::Scalar(Scalar {
            text: text.to_owned(),
            plain: false,
        }),
    }
}

/// Returns a path relative to a directory; an absolute one stays as it is.
fn join(dir: &str, path: &str) -> String {
    if dir.is_empty() || path.starts_with(['/', '~']) {
        return path.to_owned();
    }
    format!("{dir}/{}", path.strip_prefix("./").unwrap_or(path))
}

/// Makes the paths of a file relative to the directory of the project.
fn rebase(root: &mut Node, dir: &str) {
    if dir.is_empty() {
        return;
    }
    each(root, "services", |service| {
        with(service, "build", |build| {
            path(build, dir);
            let has_context = build.entries().iter().any(|it| it.key.value == "context");
            let span = build.span;
            match &mut build.value {
                Value::Map(entries) if !has_context => entries.push(Entry {
                    key: Located::new("context".to_owned(), span),
                    value: scalar(dir, span),
                }),
                _ => with(build, "context", |context| path(context, dir)),
            }
        });
        with(service, "env_file", |files| {
            path(files, dir);
            items(files, |file| {
                path(file, dir);
                with(file, "path", |file| path(file, dir));
            });
        });
        with(service, "volumes", |volumes| {
            items(volumes, |volume| {
                if let Value::Scalar(scalar) = &mut volume.value
                    && scalar.text.starts_with('.')
                {
                    scalar.text = join(dir, &scalar.text);
                    if !scalar.text.starts_with(['/', '.']) {
                        scalar.text.insert_str(0, "./");
                    }
                }
                let is_bind = volume.entries().iter().any(|entry| {
                    entry.key.value == "type"
                        && entry.value.text().is_some_and(|kind| kind.value == "bind")
                });
                if is_bind {
                    with(volume, "source", |source| path(source, dir));
                    with(volume, "src", |source| path(source, dir));
                }
            });
        });
    });
    for key in ["configs", "secrets"] {
        each(root, key, |source| {
            with(source, "file", |file| path(file, dir));
        });
    }
}

fn path(node: &mut Node, dir: &str) {
    if let Value::Scalar(scalar) = &mut node.value
        && !scalar.text.is_empty()
        && !scalar.text.contains("://")
    {
        scalar.text = join(dir, &scalar.text);
    }
}

fn with(node: &mut Node, key: &str, change: impl FnOnce(&mut Node)) {
    if let Value::Map(entries) = &mut node.value
        && let Some(entry) = entries.iter_mut().find(|entry| entry.key.value == key)
    {
        change(&mut entry.value);
    }
}

fn each(root: &mut Node, key: &str, mut change: impl FnMut(&mut Node)) {
    with(root, key, |node| {
        if let Value::Map(entries) = &mut node.value {
            for entry in entries {
                change(&mut entry.value);
            }
        }
    });
}

fn items(node: &mut Node, change: impl FnMut(&mut Node)) {
    if let Value::List(items) = &mut node.value {
        items.iter_mut().for_each(change);
    }
}

/// Moves all positions of a tree.
fn shift(node: &mut Node, by: usize) {
    node.span = moved(node.span, by);
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::List(items) => items.iter_mut().for_each(|item| shift(item, by)),
        Value::Map(entries) => {
            for entry in entries {
                entry.key.span = moved(entry.key.span, by);
                shift(&mut entry.value, by);
            }
        }
    }
}

fn moved(span: Span, by: usize) -> Span {
    Span {
        start: span.start.saturating_add(by),
        end: span.end.saturating_add(by),
    }
}

/// Returns a problem as one of its own file.
fn locate(texts: &[Text], mut problem: Problem) -> (usize, Problem) {
    let Some(span) = problem.span else {
        return (0, problem);
    };
    let (mut index, mut start) = (0, 0);
    for (at, text) in texts.iter().enumerate() {
        index = at;
        let end = start + text.text.len();
        if span.start <= end {
            break;
        }
        start = end + 1;
    }
    let back = |span: Span| Span {
        start: span.start.saturating_sub(start),
        end: span.end.saturating_sub(start),
    };
    problem.span = Some(back(span));
    let length = texts.get(index).map_or(0, |text| text.text.len());
    // Places in other files cannot be shown beside this one.
    problem
        .related
        .retain(|place| place.span.start >= start && place.span.start <= start + length);
    for place in &mut problem.related {
        place.span = back(place.span);
    }
    (index, problem)
}
