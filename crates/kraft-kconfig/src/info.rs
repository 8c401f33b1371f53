//! Information about symbols for users, and a search for symbols.

use serde::Serialize;

use super::language::expr::{Condition, SymbolId};
use super::language::{Kind, Tree};

/// The definition of a symbol.
///
/// ```
/// # use std::io;
/// # use kraft_kconfig::language::Sources;
/// # struct OneFile(&'static str);
/// # impl Sources for OneFile {
/// #     fn env(&self, _: &str) -> Option<String> { None }
/// #     fn shell(&self, _: &str) -> String { String::new() }
/// #     fn read(&self, _: &str) -> io::Result<Vec<u8>> { Ok(self.0.into()) }
/// #     fn glob(&self, pattern: &str) -> Vec<String> { vec![pattern.to_owned()] }
/// # }
/// use kraft_kconfig::language::{KconfigErrors, Tree};
///
/// let text = "config NET\n\tbool \"Network\"\n\thelp\n\t  Adds the TCP stack.\n";
/// let tree = Tree::parse("Config.uk", &OneFile(text))?;
/// let found = tree.search("tcp");
/// assert_eq!(found[0].name, "NET");
/// assert_eq!(found[0].places[0].line, 1);
/// # Ok::<(), KconfigErrors>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SymbolInfo {
    /// Its name, without `CONFIG_`.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// Its prompt; a symbol without a prompt cannot be set.
    pub prompt: Option<String>,
    /// Its help text.
    pub help: Option<String>,
    /// Its definitions: files and lines.
    pub places: Vec<DefinedAt>,
    /// Its defaults, in order: `VALUE` or `VALUE if CONDITION`.
    pub defaults: Vec<String>,
    /// The limits of a number: `LOW..HIGH`, possibly with a condition.
    pub ranges: Vec<String>,
    /// Its dependencies, including those of its menus; one for each definition.
    pub depends: Vec<String>,
    /// Symbols that select it.
    pub selected_by: Vec<String>,
    /// Symbols that imply it: `y` unless the user disables it.
    pub implied_by: Vec<String>,
    /// Symbols that it selects.
    pub selects: Vec<String>,
    /// Symbols that it implies.
    pub implies: Vec<String>,
    /// The prompt of its choice, if it is a member of one.
    pub choice: Option<String>,
}

/// A position in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DefinedAt {
    /// The name of the file.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
}

impl Tree {
    /// Returns the names of all symbols that files define, sorted, without `CONFIG_`.
    pub fn names(&self) -> Vec<&str> {
        let defined = self.symbols.iter().filter(|symbol| symbol.is_defined());
        let mut names: Vec<&str> = defined.filter_map(|s| s.name.as_deref()).collect();
        names.sort_unstable();
        names
    }

    /// Returns the definition of a symbol, by its name with or without `CONFIG_`.
    pub fn symbol(&self, name: &str) -> Option<SymbolInfo> {
        self.find(name).and_then(|id| self.info(id))
    }

    /// Returns the defined symbol most similar to an unknown name.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        let bare = name.strip_prefix("CONFIG_").unwrap_or(name);
        kraft_core::nearest::nearest(bare, self.names())
    }

    /// Returns the symbol that an unknown name is a misspelling of.
    pub fn typo_of(&self, name: &str) -> Option<&str> {
        let bare = name.strip_prefix("CONFIG_").unwrap_or(name);
        kraft_core::nearest::typo_of(bare, self.names())
    }

    /// Finds the symbols that contain all search terms of `pattern` in their name, prompt or help,
    /// ignoring case: matches in the name come first, then in the prompt. An empty pattern finds
    /// nothing.
    pub fn search(&self, pattern: &str) -> Vec<SymbolInfo> {
        let words: Vec<String> = pattern.split_whitespace().map(str::to_lowercase).collect();
        if words.is_empty() {
            return Vec::new();
        }
        let has_all = |text: &str| {
            let text = text.to_lowercase();
            words.iter().all(|word| {
                let bare = word.strip_prefix("config_").unwrap_or(word);
                text.contains(bare)
            })
        };
        let mut found = Vec::new();
        for (id, symbol) in self.symbols.iter().enumerate() {
            let Some(name) = symbol.name.as_ref().filter(|_| symbol.is_defined()) else {
                continue;
            };
            let prompts: Vec<&str> = symbol.prompts.iter().map(|p| p.text.as_str()).collect();
            let shown = format!("{name} {}", prompts.join(" "));
            let all = format!("{shown} {}", symbol.help.as_deref().unwrap_or_default());
            let rank = match () {
                () if has_all(name) => 0,
                () if has_all(&shown) => 1,
                () if has_all(&all) => 2,
                () => continue,
            };
            found.push((rank, name, id));
        }
        found.sort_unstable();
        found
            .into_iter()
            .filter_map(|(_, _, id)| self.info(id))
            .collect()
    }

    fn info(&self, id: SymbolId) -> Option<SymbolInfo> {
        let symbol = self.get(id)?;
        let with = |text: String, when: &Condition| match when {
            Some(when) => format!("{text} if {}", self.words(when)),
            None => text,
        };
        let places = symbol.nodes.iter().filter_map(|node| {
            let (file, line) = self.position(self.nodes.get(*node)?.place);
            Some(DefinedAt { file, line })
        });
        let links = |links: &[super::language::Link]| {
            let mut names: Vec<String> = links.iter().map(|l| self.name(l.other)).collect();
            names.dedup();
            names
        };
        let ranges = symbol.ranges.iter().map(|range| {
            let (low, high) = (self.operand(&range.low), self.operand(&range.high));
            with(format!("{low}..{high}"), &range.when)
        });
        let defaults = symbol.defaults.iter();
        let depends = symbol.depends.iter().flatten();
        Some(SymbolInfo {
            name: symbol.name.clone()?,
            kind: symbol.kind,
            prompt: symbol.prompts.first().map(|prompt| prompt.text.clone()),
            help: symbol.help.clone(),
            places: places.collect(),
            defaults: defaults
                .map(|d| with(self.words(&d.value), &d.when))
                .collect(),
            ranges: ranges.collect(),
            depends: depends.map(|when| self.words(when)).collect(),
            selected_by: links(&symbol.selected_by),
            implied_by: links(&symbol.implied_by),
            selects: links(&symbol.selects),
            implies: links(&symbol.implies),
            choice: symbol.group.map(|choice| {
                let prompts = self.get(choice).map(|choice| choice.prompts.as_slice());
                let prompt = prompts.and_then(<[_]>::first);
                prompt.map_or_else(|| self.name(choice), |prompt| prompt.text.clone())
            }),
        })
    }
}
