//! Loads a project of several files: included, extended and merged ones.
//!
//! Positions in the files are those in all their texts one after the other, until a problem is
//! reported: it then points into its own file.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use crate::document::located::Located;
use crate::document::node::{Entry, Node, Value};
use crate::document::open::open;
use crate::document::problems::Problems;
use crate::document::{check, interpolate};
use crate::problem::{Problem, Span, Text};

use super::env::variables;
use super::merge::merge;
use super::model::Compose;
use super::paths::{join, rebase};
use super::shape::{EXTENDS, FILE, SERVICE};
use super::tags::{self, cut};
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
    /// Whether a file that another one includes or extends cannot be read.
    pub incomplete: bool,
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
    load_files(files, loading, false)
}

/// Merges the files of a project without expanding their variables: only `merged` of the result is
/// set, and what needs their values is not checked.
pub fn load_merged(files: Vec<Text>, loading: Loading<'_>) -> Loaded {
    load_files(files, loading, true)
}

fn load_files(files: Vec<Text>, loading: Loading<'_>, raw: bool) -> Loaded {
    let mut loader = Loader {
        loading,
        raw,
        env: Vec::new(),
        texts: Vec::new(),
        end: 0,
        problems: Problems::default(),
        idle: Vec::new(),
        incomplete: false,
        paths: Vec::new(),
        trees: BTreeMap::new(),
    };
    let mut whole: Option<Node> = None;
    for file in files {
        if let Some(file) = loader.file(file, "", 0) {
            whole = Some(file.over(whole));
        }
    }
    loader.finish(whole)
}

/// A file that was read.
#[derive(Clone)]
struct File {
    root: Node,
    /// The places of values that do not merge with those of files below.
    cuts: Vec<tags::Path>,
}

impl File {
    /// Merges the file over those below.
    fn over(self, below: Option<Node>) -> Node {
        let Some(mut below) = below else {
            return self.root;
        };
        for place in &self.cuts {
            cut(&mut below, place);
        }
        merge(below, self.root, "")
    }
}

struct Loader<'a> {
    loading: Loading<'a>,
    /// Whether variables stay as they are.
    raw: bool,
    /// The variables of the files that `include` names for what is being read.
    env: Vec<(String, String)>,
    texts: Vec<Text>,
    /// Where the next text begins.
    end: usize,
    problems: Problems,
    idle: Vec<String>,
    /// Whether a file that another one names cannot be read.
    incomplete: bool,
    /// The files that are being read, to notice cycles.
    paths: Vec<String>,
    /// The files that were read for others.
    trees: BTreeMap<(String, String), Rc<File>>,
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
            if self.raw {
                return None;
            }
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
            incomplete: self.incomplete,
            texts: self.texts,
        }
    }

    /// Reads one file, with what it includes and extends. `dir` is its directory, relative to that of
    /// the project.
    fn file(&mut self, file: Text, dir: &str, depth: usize) -> Option<File> {
        let start = self.end;
        let mut problems = Problems::default();
        let opened = open(&file.text, &KIND, &mut problems).map(|opened| {
            let mut root = opened.root;
            let cuts = tags::take(&mut root, &opened.tags);
            if !self.raw {
                let vars = |name: &str| self.look_up(name);
                problems.append(interpolate::interpolate(&file.text, &mut root, &vars));
                problems.append(check::check(&root, &FILE, true, KIND.name));
            }
            File { root, cuts }
        });
        self.end += file.text.len() + 1;
        self.texts.push(file);
        problems.shift(start);
        self.problems.append(problems);
        let File { mut root, cuts } = opened?;
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
        let root = self.extended(root, &cuts, dir, depth);
        let root = self.included(
            File {
                root,
                cuts: cuts.clone(),
            },
            dir,
            depth,
        );
        Some(File { root, cuts })
    }

    /// Looks up a variable, last in the files that `include` names.
    fn look_up(&self, name: &str) -> Option<String> {
        (self.loading.vars)(name).or_else(|| {
            let found = self.env.iter().rev().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone())
        })
    }

    /// Reads a file that another one names at a position; `dir` is what its paths are relative to.
    fn other(&mut self, path: &str, dir: &str, span: Span, depth: usize) -> Option<Rc<File>> {
        let key = (path.to_owned(), dir.to_owned());
        // With variables of its own, it may be different each time.
        let is_kept = self.env.is_empty();
        if let Some(tree) = self.trees.get(&key).filter(|_| is_kept) {
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
                self.incomplete = true;
                return None;
            }
        };
        let name = path.to_owned();
        self.paths.push(name.clone());
        let tree = self.file(Text { name, text }, dir, depth + 1).map(Rc::new);
        self.paths.pop();
        if let Some(tree) = tree.as_ref().filter(|_| is_kept) {
            self.trees.insert(key, Rc::clone(tree));
        }
        tree
    }

    /// Merges the files of `include` below a file.
    fn included(&mut self, mut file: File, dir: &str, depth: usize) -> Node {
        let Value::Map(entries) = &mut file.root.value else {
            return file.root;
        };
        let Some(at) = entries.iter().position(|it| it.key.value == "include") else {
            return file.root;
        };
        let include = entries.remove(at).value;
        let mut below: Option<Node> = None;
        for item in include.items() {
            let get = |name: &str| {
                let mut entries = item.entries().iter();
                let entry = entries.find(|it| it.key.value == name);
                entry.map(|entry| texts(&entry.value)).unwrap_or_default()
            };
            let paths = match item.text() {
                Some(path) => vec![path],
                None => get("path"),
            };
            let Some(first) = paths.first() else {
                let problem = Problem::error("`include` names no file").at(item.span);
                self.problems.push(problem);
                continue;
            };
            let own = match get("project_directory").first() {
                Some(own) => join(dir, own.value.trim_end_matches('/')),
                None => parent(&join(dir, &first.value)).to_owned(),
            };
            let before = self.env.len();
            self.read_env(&get("env_file"), dir, &own);
            for path in paths {
                let path = Located::new(join(dir, &path.value), path.span);
                if let Some(tree) = self.other(&path.value, &own, path.span, depth) {
                    below = Some(File::clone(&tree).over(below));
                }
            }
            self.env.truncate(before);
        }
        if let Some(below) = &mut below
            && let Value::Map(entries) = &mut below.value
        {
            // A project has the name that its own file gives it.
            entries.retain(|entry| entry.key.value != "name");
        }
        file.over(below)
    }

    /// Adds the variables of files that are read for what is included: by default those of `.env` in
    /// its directory.
    fn read_env(&mut self, files: &[Located<String>], dir: &str, own: &str) {
        let loading = self.loading;
        let read = |path: &str| (loading.read)(path);
        let mut found = Vec::new();
        if files.is_empty() && !own.is_empty() {
            let text = read(&join(own, ".env")).unwrap_or_default();
            found.extend(variables(&text, &|name| self.look_up(name)));
        }
        for file in files {
            let path = join(dir, &file.value);
            match read(&path) {
                Ok(text) => found.extend(variables(&text, &|name| self.look_up(name))),
                Err(why) => {
                    let problem = Problem::error(format!("cannot read `{path}`: {why}"));
                    self.problems.push(problem.at(file.span));
                    self.incomplete = true;
                }
            }
        }
        self.env.extend(found);
    }

    /// Merges each service with the one that it extends.
    fn extended(&mut self, mut root: Node, cuts: &[tags::Path], dir: &str, depth: usize) -> Node {
        let services = FILE.get(&root, "services").cloned();
        let Some(services) = services else {
            return root;
        };
        let resolved: Vec<Entry> = services
            .entries()
            .iter()
            .map(|entry| Entry {
                key: entry.key.clone(),
                value: self.service((&services, cuts), &entry.key, dir, depth, &mut Vec::new()),
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

    /// Returns a service, merged with the one that it extends; with the services come the places of
    /// their file that do not merge.
    fn service(
        &mut self,
        (services, cuts): (&Node, &[tags::Path]),
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
        let mut below = match (other, file) {
            (None, _) => nothing(extends.span),
            (Some(other), None) => self.service((services, cuts), &other, dir, depth, seen),
            (Some(other), Some(file)) => {
                let path = join(dir, &file.value);
                let tree = self.other(&path, parent(&path), file.span, depth);
                let services = tree.and_then(|tree| FILE.get(&tree.root, "services").cloned());
                match services {
                    // They are resolved already; one of the same name is another service.
                    Some(services) => {
                        self.service((&services, &[]), &other, dir, depth, &mut Vec::new())
                    }
                    None => nothing(extends.span),
                }
            }
        };
        for place in tags::within(cuts, &["services", &name.value]) {
            cut(&mut below, place);
        }
        let mut whole = merge(below, own, "");
        if let Value::Map(entries) = &mut whole.value {
            entries.retain(|entry| entry.key.value != "extends");
        }
        whole
    }
}

/// Returns the directory of a file.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// The strings of a list, or a single one.
fn texts(node: &Node) -> Vec<Located<String>> {
    let one = node.text().map(|text| vec![text]);
    one.unwrap_or_else(|| node.items().iter().filter_map(Node::text).collect())
}

fn nothing(span: Span) -> Node {
    Node {
        span,
        value: Value::Map(Vec::new()),
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
