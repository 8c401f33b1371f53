//! What can be written at a position of a Kraftfile, and what is written there: for editors.
//!
//! The text may be incomplete, as it is while it is typed. The table of shapes decides; values that depend on the
//! project, such as the options of its sources, are only named, for the caller to look up.
//!
//! ```
//! use kraft_core::kraftfile::cursor::{complete, describe};
//!
//! let text = "spec: v0.6\ntargets:\n- platform: qe\n";
//! let found = complete(text, text.len() - 1).expect("a place in the file");
//! assert_eq!(&text[found.span.start..found.span.end], "qe");
//! assert!(found.choices.iter().any(|choice| choice.text == "qemu"));
//!
//! let key = describe(text, 2).expect("a key");
//! assert!(key.doc.expect("its documentation").contains("v0.6"));
//! ```

mod outline;

use std::borrow::Cow;

use super::model::Spec;
use super::shape::{Field, PROJECT, Record, Shape};
use crate::arch::Arch;
use crate::platform::Platform;
use crate::problem::Span;
use outline::{Kind, Node, Outline, Slot};

/// Maximum size of a text that is completed, in bytes.
pub const LARGEST: usize = 256 << 10;

/// One text that can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The text; a key has its colon, an item of a list its dash.
    pub text: String,
    /// Whether it is a key.
    pub is_key: bool,
    /// Its documentation.
    pub doc: Cow<'static, str>,
}

/// What the project decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// An option of KConfig.
    Symbol {
        /// What is written after its name.
        after: &'static str,
    },
    /// The value of an option of KConfig.
    SymbolValue(String),
    /// The name of a library.
    Library {
        /// What is written after its name.
        after: &'static str,
    },
    /// A version of a library; without a name, of the core.
    Version(Option<String>),
}

/// What can be written at a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The text that is replaced.
    pub span: Span,
    /// The texts that the format allows.
    pub choices: Vec<Choice>,
    /// What the project decides in addition.
    pub wanted: Option<Wanted>,
    /// Keys that the mapping has already.
    pub present: Vec<String>,
}

/// What is written at a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its position.
    pub span: Span,
    /// Its text, without quotes.
    pub text: String,
    /// The documentation of the key: of this one, or of that whose value it is.
    pub doc: Option<&'static str>,
    /// What the project knows about it.
    pub wanted: Option<Wanted>,
}

/// Returns what can be written at a byte of a text; `None` in a comment and in a text block.
#[must_use]
pub fn complete(text: &str, at: usize) -> Option<Completion> {
    let (outline, slot) = read(text, at)?;
    let above = outline.above(slot.parent);
    let shapes = shapes(&above);
    let node = slot.node.and_then(|node| outline.nodes.get(node));
    let is_key = matches!(node, Some(node) if matches!(node.kind, Kind::Key(_)));
    let present: Vec<String> = outline
        .keys_below(slot.parent)
        .filter(|(key, _)| Some(*key) != slot.node)
        .map(|(_, name)| name.to_owned())
        .collect();
    let in_item = above.last().is_some_and(|node| node.kind == Kind::Item);
    let mut choices = Vec::new();
    for shape in &shapes {
        match shape {
            Shape::Record(record) if !slot.inline => {
                choices.extend(keys(record, &present, is_key));
            }
            Shape::Bool if !is_key => choices.extend(["true", "false"].map(|it| value(it, ""))),
            Shape::Word(words) if !is_key => {
                choices.extend(words.iter().map(|word| value(word, "")));
            }
            _ => {}
        }
    }
    if above.is_empty() {
        choices.extend(keys(&PROJECT, &present, is_key));
    }
    let path = path(&above);
    let begins_list = !slot.inline && !in_item && node.is_none();
    if !is_key {
        let dash = if begins_list { "- " } else { "" };
        choices.extend(values(&path, dash));
    }
    let wanted = wanted(&path, &above, &slot, is_key);
    let span = node.map_or(Span { start: at, end: at }, |node| node.span);
    let nothing = choices.is_empty() && wanted.is_none();
    (!nothing).then_some(Completion {
        span,
        choices,
        wanted,
        present,
    })
}

/// Returns what is written at a byte of a text; `None` between texts.
#[must_use]
pub fn describe(text: &str, at: usize) -> Option<Description> {
    let (outline, slot) = read(text, at)?;
    let node = outline.nodes.get(slot.node?)?;
    let above = outline.above(slot.parent);
    let path = path(&above);
    let (name, is_key) = match &node.kind {
        Kind::Key(name) => (name, true),
        Kind::Word(word) => (word, false),
        Kind::Item => return None,
    };
    let wanted = wanted(&path, &above, &slot, is_key);
    let doc = if is_key {
        field(&above, name).map(|field| field.doc)
    } else {
        let key = above
            .iter()
            .rposition(|node| matches!(node.kind, Kind::Key(_)))?;
        let (before, rest) = above.split_at(key);
        rest.first().and_then(|node| match &node.kind {
            Kind::Key(name) => field(before, name).map(|field| field.doc),
            Kind::Item | Kind::Word(_) => None,
        })
    };
    Some(Description {
        span: node.span,
        text: name.clone(),
        doc,
        wanted,
    })
}

fn read(text: &str, at: usize) -> Option<(Outline, Slot)> {
    if text.len() > LARGEST || !text.is_char_boundary(at) {
        return None;
    }
    let outline = Outline::read(text, at);
    let slot = outline.slot?;
    Some((outline, slot))
}

/// Returns the keys above a place.
fn path<'n>(above: &[&'n Node]) -> Vec<&'n str> {
    let names = above.iter().filter_map(|node| match &node.kind {
        Kind::Key(name) => Some(name.as_str()),
        Kind::Item | Kind::Word(_) => None,
    });
    names.collect()
}

/// Returns the shapes of the value below some nodes; none for the whole file.
fn shapes(above: &[&Node]) -> Vec<&'static Shape> {
    let mut shapes: Vec<&'static Shape> = Vec::new();
    for (depth, node) in above.iter().enumerate() {
        let below: Vec<&'static Shape> = match &node.kind {
            Kind::Key(name) if depth == 0 => PROJECT
                .field(name)
                .map(|it| &it.shape)
                .into_iter()
                .collect(),
            Kind::Key(name) => shapes
                .iter()
                .filter_map(|shape| match shape {
                    Shape::Record(record) => record.field(name).map(|field| &field.shape),
                    Shape::Map(values) => Some(*values),
                    _ => None,
                })
                .collect(),
            Kind::Item => shapes
                .iter()
                .filter_map(|shape| match shape {
                    Shape::List(item) => Some(*item),
                    _ => None,
                })
                .collect(),
            Kind::Word(_) => Vec::new(),
        };
        shapes = below.into_iter().flat_map(alternatives).collect();
    }
    shapes
}

/// Returns the alternatives of a shape; they are not nested deeper than one level.
fn alternatives(shape: &'static Shape) -> Vec<&'static Shape> {
    match shape {
        Shape::Either(shapes) => shapes.iter().collect(),
        _ => vec![shape],
    }
}

fn field(above: &[&Node], name: &str) -> Option<&'static Field> {
    if above.is_empty() {
        return PROJECT.field(name);
    }
    shapes(above).iter().find_map(|shape| match shape {
        Shape::Record(record) => record.field(name),
        _ => None,
    })
}

/// Returns the keys of a mapping that are not in it yet. Deprecated names are left out.
fn keys(record: &'static Record, present: &[String], has_colon: bool) -> Vec<Choice> {
    let missing = |field: &&Field| {
        !field
            .names()
            .any(|name| present.iter().any(|it| it == name))
    };
    let fields = record.fields.iter().filter(missing);
    fields
        .filter(|field| !matches!(field.shape, Shape::Any))
        .map(|field| {
            let colon = match (&field.shape, has_colon) {
                (_, true) => "",
                (Shape::List(_) | Shape::Map(_), false) => ":",
                (_, false) => ": ",
            };
            Choice {
                text: format!("{}{colon}", field.name),
                is_key: true,
                doc: field.doc.into(),
            }
        })
        .collect()
}

fn value(text: &str, doc: impl Into<Cow<'static, str>>) -> Choice {
    Choice {
        text: text.to_owned(),
        is_key: false,
        doc: doc.into(),
    }
}

/// Returns the values of keys that have known ones; `dash` is written before an item of a list.
fn values(path: &[&str], dash: &str) -> Vec<Choice> {
    let platforms = || Platform::ALL.map(|it| value(it.name(), it.title()));
    let architectures = || Arch::ALL.map(|it| value(it.name(), ""));
    match path {
        ["spec" | "specification"] => [Spec::V05, Spec::V06, Spec::V07]
            .map(|it| value(it.name(), ""))
            .into(),
        ["targets"] => {
            let pairs = Platform::ALL
                .iter()
                .flat_map(|platform| Arch::ALL.map(|arch| (platform, arch)));
            pairs
                .map(|(platform, arch)| {
                    let doc = format!("A kernel for {} on {arch}.", platform.title());
                    value(&format!("{dash}{platform}/{arch}"), doc)
                })
                .collect()
        }
        ["targets", "platform" | "plat"] => platforms().into(),
        ["targets", "architecture" | "arch"] => architectures().into(),
        _ => Vec::new(),
    }
}

/// Returns what the project decides about a place.
fn wanted(path: &[&str], above: &[&Node], slot: &Slot, is_key: bool) -> Option<Wanted> {
    let in_item = above.last().is_some_and(|node| node.kind == Kind::Item);
    let after = if is_key { "" } else { ": " };
    match path {
        [.., "kconfig"] if in_item => Some(Wanted::Symbol { after: "=" }),
        [.., "kconfig"] if !slot.inline => Some(Wanted::Symbol { after }),
        [.., "kconfig", name] => Some(Wanted::SymbolValue((*name).to_owned())),
        ["libraries"] if !slot.inline => Some(Wanted::Library { after }),
        ["libraries", name] | ["libraries", name, "version"] if !is_key => {
            Some(Wanted::Version(Some((*name).to_owned())))
        }
        ["unikraft"] | ["unikraft", "version"] if !is_key => Some(Wanted::Version(None)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Completes at the `|` of a text; returns the texts, and what the project decides.
    fn at(marked: &str) -> (Vec<String>, Option<Wanted>) {
        let at = marked.find('|').unwrap();
        let text = marked.replacen('|', "", 1);
        match complete(&text, at) {
            Some(found) => (
                found.choices.into_iter().map(|it| it.text).collect(),
                found.wanted,
            ),
            None => (Vec::new(), None),
        }
    }

    fn described(marked: &str) -> Option<Description> {
        let at = marked.find('|').unwrap();
        describe(&marked.replacen('|', "", 1), at)
    }

    #[test]
    fn keys_are_those_of_the_mapping_that_it_does_not_have() {
        for (text, has, has_not) in [
            ("|", "spec: ", "kconfig: "),
            ("spec: v0.6\n|", "targets:", "spec: "),
            ("spec: v0.6\nta|", "targets:", "spec: "),
            ("sp|ec: v0.6\n", "spec", "spec: "),
            ("unikraft:\n  |", "kconfig: ", "targets:"),
            ("unikraft:\n  version: 1\n  |", "source: ", "version: "),
            ("unikraft:\n  |\n  version: 1\n", "source: ", "version: "),
            ("unikraft: {|}", "source: ", "targets:"),
            ("unikraft: {version: 1, |", "source: ", "version: "),
            ("unikraft: {version: 1,\n  s|", "source: ", "version: "),
            ("targets:\n- |", "platform: ", "targets:"),
            ("targets:\n- qemu/arm64\n- |", "platform: ", "targets:"),
            (
                "targets:\n- plat: qemu\n  |",
                "architecture: ",
                "platform: ",
            ),
            ("targets: [{plat: qemu, |}]", "architecture: ", "platform: "),
            ("targets:\n  - plat: qemu\n|", "unikraft: ", "platform: "),
            ("libraries:\n  lwip:\n    |", "version: ", "targets:"),
            ("rootfs:\n  source:\n    |", "dockerfile: ", "format: "),
            ("volumes:\n- source: a\n  |", "destination: ", "source: "),
            ("a: |\n  b\n   c: d\n", "", "spec: "),
        ] {
            let (found, _) = at(text);
            assert!(
                has.is_empty() || found.iter().any(|it| it == has),
                "{text}: {found:?}"
            );
            assert!(!found.iter().any(|it| it == has_not), "{text}: {found:?}");
        }
    }

    #[test]
    fn values_are_those_of_the_key() {
        for (text, expected) in [
            ("spec: |", "v0.6"),
            ("spec: v|", "v0.7"),
            ("spec: \"v|\"", "v0.7"),
            ("targets: [|", "qemu/x86_64"),
            ("targets: [qemu/x86_64, |]", "fc/arm64"),
            ("targets:\n- qe|", "qemu/arm64"),
            ("targets:\n- qemu/|x86_64\n", "qemu/arm64"),
            ("targets:\n  |", "- xen/x86_64"),
            ("targets:\n- platform: |\n", "fc"),
            ("targets:\n- platform: qemu\n  arch: |\n", "arm64"),
            ("targets: [{arch: |", "arm64"),
            ("rootfs:\n  format: |", "erofs"),
            ("volumes:\n- readonly: |", "true"),
            ("volumes: {readonly: f|", "false"),
        ] {
            let (found, _) = at(text);
            assert!(found.iter().any(|it| it == expected), "{text}: {found:?}");
        }
    }

    #[test]
    fn the_project_decides_about_options_libraries_and_versions() {
        let symbol = |after| Some(Wanted::Symbol { after });
        let version = |name: Option<&str>| Some(Wanted::Version(name.map(ToOwned::to_owned)));
        for (text, expected) in [
            (
                "unikraft:\n  kconfig:\n    CONFIG_A: y\n    |",
                symbol(": "),
            ),
            ("unikraft:\n  kconfig:\n    CONF|: y\n", symbol("")),
            ("unikraft:\n  kconfig:\n  - CON|", symbol("=")),
            ("unikraft: {kconfig: {C|}}", symbol(": ")),
            ("libraries:\n  x:\n    kconfig: [|]", symbol("=")),
            (
                "unikraft:\n  kconfig:\n    CONFIG_A: |",
                Some(Wanted::SymbolValue("CONFIG_A".into())),
            ),
            ("unikraft: |", version(None)),
            ("unikraft:\n  version: |", version(None)),
            ("unikraft:\n  source: |", None),
            ("libraries:\n  |", Some(Wanted::Library { after: ": " })),
            ("libraries:\n  lwip: |", version(Some("lwip"))),
            ("libraries: {lwip: {version: s|", version(Some("lwip"))),
            ("name: |", None),
            ("# unikraft: |", None),
            ("unikraft: stable # |", None),
            ("labels:\n  a: >\n    unikraft: |\n", None),
        ] {
            assert_eq!(at(text).1, expected, "{text}");
        }
    }

    #[test]
    fn keys_and_their_values_have_the_documentation_of_the_key() {
        for (text, word, doc) in [
            ("na|me: a", "name", "name of the project"),
            ("name: a|b", "ab", "name of the project"),
            ("unikraft: {ver|sion: stable}", "version", "A channel"),
            ("targets:\n- \"qemu/|arm64\"", "qemu/arm64", "build targets"),
            ("targets:\n- plat: q|emu", "qemu", "virtual machine monitor"),
            ("initr|d: a", "initrd", "root filesystem"),
        ] {
            let found = described(text).expect(text);
            assert_eq!(found.text, word, "{text}");
            assert!(found.doc.unwrap().contains(doc), "{text}: {:?}", found.doc);
        }
        for text in [
            "name: a\n|\n",
            "# na|me: a",
            "a: >\n  na|me\n",
            "x-own: a|b",
        ] {
            let found = described(text).filter(|it| it.doc.is_some());
            assert_eq!(found, None, "{text}");
        }
    }

    #[test]
    fn any_text_is_read_at_any_position() {
        let long = "- ".repeat(8_000) + &"[".repeat(8_000) + &"\"".repeat(8_000);
        let texts = [
            "targets: [{\"é\": 'ü', x: \"\\\"é",
            "- - - a: {b: [c, {d",
            "é: ñ\r\n\r\n  ö: [\r\n",
            "\"a\\",
            "a: &x !t 'b''c' # d\n? e\n: f\n---\ng: h\n",
            ":\n-\n- :\n{",
            long.as_str(),
        ];
        for text in texts {
            let step = (text.len() / 20).max(1);
            for at in (0..=text.len() + 1).step_by(step) {
                let _ = (complete(text, at), describe(text, at));
            }
        }
    }
}
