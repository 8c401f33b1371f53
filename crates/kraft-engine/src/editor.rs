//! What an editor shows about a Kraftfile that is being written: diagnostics, completions, documentation.
//!
//! Nothing is fetched, built, written or run: the options of KConfig are those of sources that are in place, and the
//! versions those of the cached catalog.
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_engine::editor::{Document, Editor};
//!
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! let text = "spec: v0.6\nname: web\ntargets: [qemu/x86_64]\nunikraft: {vresion: stable}\n";
//! let document = Document::new(&context, None, text);
//! assert_eq!(document.problems()[0].message, "unknown key `vresion` in `unikraft`");
//!
//! let mut editor = Editor::default();
//! let found = editor.hover(&document, text.find("targets").unwrap()).expect("a key");
//! assert!(found.markdown.contains("The build targets"));
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kraft_build::catalog;
use kraft_build::symbols::Symbols;
use kraft_core::catalog::Entry;
use kraft_core::component::Kind as ComponentKind;
use kraft_core::kraftfile::cursor::{self, Wanted};
use kraft_core::problem::{Problem, Span};
use kraft_kconfig::SymbolInfo;
use kraft_kconfig::language::Kind as SymbolKind;

use super::components;
use super::project::Draft;
use super::sources;
use super::workplace::Workplace;
use crate::context::Context;

/// The largest number of completions at once; the typed text selects among more.
const MOST: usize = 200;
/// How long the options of the sources are kept before they are read again.
const FRESH: Duration = Duration::from_secs(30);

/// The text of a Kraftfile in an editor, with its errors and warnings.
#[derive(Debug)]
pub struct Document {
    draft: Draft,
    /// The components that were in place when the text had no errors the last time.
    components: Vec<PathBuf>,
}

impl Document {
    /// Reads the text of a Kraftfile; `file` is its path, if it has one.
    #[must_use]
    pub fn new(ctx: &Context, file: Option<&Path>, text: &str) -> Self {
        let dir = file.and_then(Path::parent).unwrap_or(Path::new("."));
        let mut document = Self {
            draft: Draft::parse(String::new(), &[], dir, &ctx.env),
            components: file.map(|_| usual_places(dir)).unwrap_or_default(),
        };
        document.draft.file = file.map(Path::to_owned);
        document.replace(ctx, text);
        document
    }

    /// Replaces the text.
    pub fn replace(&mut self, ctx: &Context, text: &str) {
        let Draft { file, dir, .. } = &self.draft;
        let name = file.as_deref().unwrap_or(Path::new("Kraftfile")).display();
        let draft = Draft::parse(name.to_string(), text.as_bytes(), dir, &ctx.env);
        let file = file.clone();
        if file.is_some()
            && let Ok((project, _)) = draft.clone().into_project()
            && let Ok(workplace) = Workplace::find(ctx, &project)
        {
            self.components = components::present(&workplace, &project.kraftfile);
        }
        self.draft = Draft { file, ..draft };
    }

    /// Returns its text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.draft.text.text
    }

    /// Returns its errors and warnings, in the order of the text.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.draft.problems
    }
}

/// Returns where components are put, for a text that never was without errors.
fn usual_places(dir: &Path) -> Vec<PathBuf> {
    let home = dir.join(".unikraft");
    let libraries = std::fs::read_dir(home.join("libs")).into_iter().flatten();
    let libraries = libraries.flatten().map(|entry| entry.path());
    std::iter::once(home.join("unikraft"))
        .chain(libraries)
        .filter(|place| place.is_dir())
        .collect()
}

/// The kind of a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key of the format.
    Key,
    /// A value.
    Value,
    /// An option of KConfig.
    Option,
    /// A component.
    Component,
}

/// A text that can be inserted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The text.
    pub text: String,
    /// Its kind.
    pub kind: Kind,
    /// A few words beside it.
    pub detail: String,
    /// Its documentation, as plain text.
    pub doc: String,
}

/// The texts that can be inserted at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completions {
    /// The range that they replace.
    pub span: Span,
    /// The texts.
    pub items: Vec<Completion>,
    /// Whether there are more, which a longer typed text selects.
    pub is_incomplete: bool,
}

/// Documentation of what is written at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hover {
    /// The range that it is about.
    pub span: Span,
    /// The documentation.
    pub markdown: String,
}

/// Answers questions about documents; keeps what it has read of their sources.
#[derive(Debug, Default)]
pub struct Editor {
    symbols: Option<Known>,
}

#[derive(Debug)]
struct Known {
    components: Vec<PathBuf>,
    read: Instant,
    symbols: Arc<Symbols>,
}

impl Editor {
    /// Returns the texts that can be inserted at a byte of a document.
    pub fn complete(&mut self, ctx: &Context, of: &Document, at: usize) -> Option<Completions> {
        let found = cursor::complete(of.text(), at)?;
        let span = inside_quotes(of.text(), found.span);
        let typed = of.text().get(span.start..at).unwrap_or_default();
        let typed = typed.to_lowercase();
        let mut items: Vec<Completion> = found
            .choices
            .into_iter()
            .map(|choice| Completion {
                text: choice.text,
                kind: if choice.is_key {
                    Kind::Key
                } else {
                    Kind::Value
                },
                detail: String::new(),
                doc: choice.doc.into_owned(),
            })
            .collect();
        let known = match &found.wanted {
            None => Vec::new(),
            Some(Wanted::Symbol { after }) => self.options(of, after, &found.present),
            Some(Wanted::SymbolValue(name)) => self.option_values(of, name),
            Some(Wanted::Library { after }) => libraries(ctx, after, &found.present),
            Some(Wanted::Version(library)) => versions(ctx, library.as_deref()),
        };
        let bare = typed.strip_prefix("config_").unwrap_or(&typed);
        items.extend(
            known
                .into_iter()
                .filter(|item| "config_".starts_with(&typed) || has(&item.text, bare)),
        );
        let is_incomplete = items.len() > MOST;
        items.truncate(MOST);
        Some(Completions {
            span,
            items,
            is_incomplete,
        })
    }

    /// Returns the documentation of what is written at a byte of a document.
    pub fn hover(&mut self, of: &Document, at: usize) -> Option<Hover> {
        let found = cursor::describe(of.text(), at)?;
        let name = match &found.wanted {
            Some(Wanted::Symbol { .. }) => Some(found.text.split('=').next().unwrap_or_default()),
            Some(Wanted::SymbolValue(name)) => Some(name.as_str()),
            Some(Wanted::Library { .. } | Wanted::Version(_)) | None => None,
        };
        let symbol = name.and_then(|name| Some(markdown(self.symbols(of).find(name)?)));
        let markdown = symbol.or_else(|| found.doc.map(ToOwned::to_owned))?;
        Some(Hover {
            span: found.span,
            markdown,
        })
    }

    fn options(&mut self, of: &Document, after: &str, present: &[String]) -> Vec<Completion> {
        let symbols = self.symbols(of);
        let items = symbols.with_prompt().map(|symbol| Completion {
            text: format!("CONFIG_{}{after}", symbol.name),
            kind: Kind::Option,
            detail: symbol.prompt.clone().unwrap_or_default(),
            doc: symbol.help.clone().unwrap_or_default(),
        });
        let name = |item: &Completion| item.text.trim_end_matches(after).to_owned();
        items
            .filter(|item| !present.contains(&name(item)))
            .collect()
    }

    fn option_values(&mut self, of: &Document, name: &str) -> Vec<Completion> {
        let symbols = self.symbols(of);
        let Some(symbol) = symbols.find(name) else {
            return Vec::new();
        };
        let values: Vec<String> = match symbol.kind {
            SymbolKind::Bool => ["y", "n"].map(ToOwned::to_owned).into(),
            SymbolKind::Tristate => ["y", "m", "n"].map(ToOwned::to_owned).into(),
            SymbolKind::Int | SymbolKind::Hex | SymbolKind::String | SymbolKind::Unknown => symbol
                .defaults
                .iter()
                .filter_map(|default| default.split(" if ").next())
                .map(ToOwned::to_owned)
                .collect(),
        };
        values
            .into_iter()
            .map(|text| Completion {
                text,
                kind: Kind::Value,
                detail: symbol.prompt.clone().unwrap_or_default(),
                doc: String::new(),
            })
            .collect()
    }

    /// Returns the options of a document's sources; reads them again if that was a while ago.
    fn symbols(&mut self, of: &Document) -> Arc<Symbols> {
        if let Some(known) = &self.symbols
            && known.components == of.components
            && known.read.elapsed() < FRESH
        {
            return Arc::clone(&known.symbols);
        }
        let symbols = Arc::new(Symbols::of(&of.components));
        self.symbols = Some(Known {
            components: of.components.clone(),
            read: Instant::now(),
            symbols: Arc::clone(&symbols),
        });
        symbols
    }
}

/// Returns the range of a text without its quotes, of which the second may be missing.
fn inside_quotes(text: &str, span: Span) -> Span {
    let word = text.get(span.start..span.end).unwrap_or_default();
    let Some(quote) = word.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        return span;
    };
    let is_closed = word.len() > 1 && word.ends_with(quote);
    Span {
        start: span.start + 1,
        end: span.end - usize::from(is_closed),
    }
}

/// Returns whether a completion contains a text, both without `CONFIG_`.
fn has(text: &str, typed: &str) -> bool {
    let text = text.to_lowercase();
    let text = text.strip_prefix("config_").unwrap_or(&text);
    text.contains(typed)
}

/// Returns the libraries of the cached catalog.
fn libraries(ctx: &Context, after: &str, present: &[String]) -> Vec<Completion> {
    let libraries = cached(ctx).into_iter();
    libraries
        .filter(|entry| entry.kind == ComponentKind::Lib && !present.contains(&entry.name))
        .map(|entry| Completion {
            text: format!("{}{after}", entry.name),
            kind: Kind::Component,
            detail: String::new(),
            doc: entry.description.unwrap_or_default(),
        })
        .collect()
}

/// Returns the versions of a library, or of the core, in the cached catalog: the channels first.
fn versions(ctx: &Context, library: Option<&str>) -> Vec<Completion> {
    let wanted = |entry: &Entry| match library {
        Some(name) => entry.kind == ComponentKind::Lib && entry.name == name,
        None => entry.kind == ComponentKind::Core,
    };
    let version = |text: String, detail: &str| Completion {
        text,
        kind: Kind::Component,
        detail: detail.to_owned(),
        doc: String::new(),
    };
    let mut found: Vec<Completion> = Vec::new();
    for entry in cached(ctx).into_iter().filter(wanted) {
        let channels = entry.channels.into_iter();
        found.extend(channels.map(|channel| version(channel.name, "channel")));
        let versions = entry.versions.into_iter().rev();
        found.extend(versions.map(|it| version(it.version, "version")));
    }
    found
}

fn cached(ctx: &Context) -> Vec<Entry> {
    catalog::load(&sources::manifests(ctx)).unwrap_or_else(|error| {
        tracing::debug!(%error, "the catalog cannot be read");
        Vec::new()
    })
}

/// Formats the definition of an option.
fn markdown(symbol: &SymbolInfo) -> String {
    let mut text = format!("**CONFIG_{}** ({})", symbol.name, symbol.kind.word());
    if let Some(prompt) = &symbol.prompt {
        text = format!("{text}: {prompt}");
    }
    if let Some(help) = &symbol.help {
        // The help is plain text: its lines and its special characters stay as they are.
        let fence = "`".repeat(3.max(longest_run(help) + 1));
        text = format!("{text}\n\n{fence}text\n{help}\n{fence}");
    }
    for (what, values) in [
        ("Default", &symbol.defaults),
        ("Range", &symbol.ranges),
        ("Depends on", &symbol.depends),
        ("Selects", &symbol.selects),
    ] {
        if !values.is_empty() {
            text = format!("{text}\n\n{what}: `{}`", values.join("`, `"));
        }
    }
    for place in &symbol.places {
        text = format!("{text}\n\nDefined in `{}:{}`", place.file, place.line);
    }
    text
}

/// Returns the length of the longest run of backticks.
fn longest_run(text: &str) -> usize {
    let runs = text.split(|c| c != '`').map(str::len);
    runs.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Script};
    use kraft_sys::fs;

    fn put(dir: &Path, name: &str, text: &str) {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::replace_file(&path, text.as_bytes()).unwrap();
    }

    const CORE: &str = "config NET\n\tbool \"Network\"\n\tdefault y\n\thelp\n\t  Sends `frames`.\n\nconfig HIDDEN\n\tbool\n\nconfig STACK\n\tint \"Stack\"\n\tdefault 8 if NET\n";

    /// Completes and describes at the `|` of a project's Kraftfile.
    struct Site {
        dir: tempfile::TempDir,
        ctx: Context,
    }

    impl Site {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let mut ctx = testing::context(dir.path(), &Script::silent());
            ctx.settings.manifests_dir = dir.path().join("manifests");
            Self { dir, ctx }
        }

        fn open(&self, marked: &str) -> (Document, usize) {
            let file = self.dir.path().join("app/Kraftfile");
            let at = marked.find('|').unwrap();
            let text = marked.replacen('|', "", 1);
            (Document::new(&self.ctx, Some(&file), &text), at)
        }

        fn complete(&self, marked: &str) -> Vec<String> {
            let (document, at) = self.open(marked);
            let found = Editor::default().complete(&self.ctx, &document, at);
            let items = found.into_iter().flat_map(|found| found.items);
            items.map(|item| item.text).collect()
        }
    }

    #[test]
    fn options_are_those_of_the_sources_in_place() {
        let site = Site::new();
        put(site.dir.path(), "app/.unikraft/unikraft/Config.uk", CORE);
        for (text, expected) in [
            (
                "unikraft:\n  kconfig:\n    |",
                "CONFIG_NET:  CONFIG_STACK: ",
            ),
            ("unikraft:\n  kconfig:\n    st|", "CONFIG_STACK: "),
            (
                "unikraft:\n  kconfig:\n    CONFIG_NET: y\n    CONF|",
                "CONFIG_STACK: ",
            ),
            ("unikraft:\n  kconfig: [CONFIG_N|]", "CONFIG_NET="),
            ("unikraft: {kconfig: {CONFIG_NET: |", "y n"),
            ("unikraft: {kconfig: {CONFIG_STACK: |", "8"),
            ("unikraft: {kconfig: {CONFIG_NONE: |", ""),
        ] {
            assert_eq!(site.complete(text).join(" "), expected, "{text}");
        }
        put(
            site.dir.path(),
            "app/Config.uk",
            "config APP\n\tbool \"App\"\n",
        );
        let sound = "spec: v0.6\nname: a\ntargets: [qemu/x86_64]\nunikraft: {kconfig: [|A=y]}\n";
        assert!(site.complete(sound).contains(&"CONFIG_APP=".to_owned()));
        let (document, at) = site.open("unikraft: {kconfig: {CONFIG_|NET: y}}");
        let hover = Editor::default().hover(&document, at).unwrap();
        assert_eq!(
            document.text().get(hover.span.start..hover.span.end),
            Some("CONFIG_NET")
        );
        for part in [
            "**CONFIG_NET** (bool): Network",
            "Sends `frames`.",
            "Default: `y`",
        ] {
            assert!(hover.markdown.contains(part), "{}", hover.markdown);
        }
    }

    #[test]
    fn versions_and_libraries_are_those_of_the_cached_catalog() {
        let site = Site::new();
        assert!(site.complete("unikraft: |").is_empty());
        let index = "manifests:\n- {name: unikraft, type: core, channels: [{name: stable}], versions: [{version: 0.18.0}, {version: 0.19.0}]}\n- {name: lwip, type: lib, description: TCP, versions: [{version: 2.2}]}\n- {name: nginx, type: app}\n";
        put(site.dir.path(), "manifests/index.yaml", index);
        for (text, expected) in [
            ("unikraft: |", "stable 0.19.0 0.18.0"),
            ("unikraft:\n  version: 0.19|", "0.19.0"),
            ("libraries:\n  |", "lwip: "),
            ("libraries:\n  lwip: |", "2.2"),
            ("libraries:\n  nginx: |", ""),
        ] {
            assert_eq!(site.complete(text).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn the_components_are_remembered_while_the_text_has_errors() {
        let site = Site::new();
        put(site.dir.path(), "core/Config.uk", CORE);
        let sound = "spec: v0.6\nname: a\ntargets: [qemu/x86_64]\nunikraft:\n  source: ../core\n  kconfig:\n    |";
        std::fs::create_dir(site.dir.path().join("app")).unwrap();
        let (mut document, at) = site.open(&sound.replace('|', "CONFIG_NET: y|"));
        assert_eq!(document.problems(), []);
        let broken = sound.replace('|', "CONFIG_S");
        document.replace(&site.ctx, &broken);
        assert!(!document.problems().is_empty());
        let mut editor = Editor::default();
        let at = at.min(document.text().len());
        let found = editor.complete(&site.ctx, &document, at).unwrap();
        assert!(found.items.iter().any(|item| item.text == "CONFIG_STACK: "));
    }
}
