//! Parses menus, conditions and sourced files. Options of entries are parsed in
//! [`options`](super::options).

use std::collections::HashMap;
use std::sync::Arc;

use super::expr::{Condition, Expr, Operand, SymbolId, all, both};
use super::lexer::{Lexer, Line, Spanned};
use super::macros::Macros;
use super::sources::{
    DEEPEST, Diagnostic, KconfigErrors, LARGE, MOST_BYTES, MOST_ERRORS, MOST_FILES, Place, Sources,
    Text,
};
use super::statement::{Cursor, Outcome, at, first, shown, unknown, whole};
use super::tree::{Node, NodeKind, Symbol, Tree};
use super::{choice, cycle};
use kraft_core::problem::Problem;

/// Parses a tree.
pub(super) fn parse(root: &str, sources: &dyn Sources) -> Result<Tree, KconfigErrors> {
    let mut parser = Parser {
        tree: Tree {
            title: "Main menu".to_owned(),
            ..Tree::default()
        },
        sources,
        macros: Macros::new(sources),
        errors: Vec::new(),
        open: Vec::new(),
        bytes: 0,
        depth: 0,
        stopped: false,
        operands: 0,
        work: 0,
        choices: HashMap::new(),
    };
    let scope = Scope::default();
    let read = parser.read(root).map_err(|problem| Diagnostic {
        file: root.to_owned(),
        text: String::new(),
        problem: *problem,
    });
    match read {
        Ok(file) => parser.tree.roots = parser.file(file, &scope),
        Err(fault) => parser.errors.push(fault),
    }
    if parser.errors.is_empty() {
        parser.errors = cycle::order(&mut parser.tree);
    }
    if parser.errors.is_empty() {
        Ok(parser.tree)
    } else {
        Err(KconfigErrors(parser.errors))
    }
}

/// The enclosing block of a statement.
#[derive(Clone, Default)]
pub(super) struct Scope {
    /// Dependencies of the block.
    pub(super) depends: Condition,
    /// Visibility of its prompts, by `visible if`.
    pub(super) shown: Condition,
    /// Whether it is in a choice, which cannot contain menus and choices.
    pub(super) in_choice: bool,
    /// Number of operands in the dependencies of the block.
    pub(super) weight: usize,
}

/// A file that is being parsed.
pub(super) struct Reader<'t> {
    pub(super) lexer: Lexer<'t>,
    pub(super) file: usize,
    /// A statement that was read but not processed yet.
    pub(super) waiting: Option<Vec<Spanned>>,
}

pub(super) struct Parser<'s> {
    pub(super) tree: Tree,
    sources: &'s dyn Sources,
    pub(super) macros: Macros<'s>,
    errors: Vec<Diagnostic>,
    /// The files being parsed, outermost first.
    open: Vec<String>,
    bytes: usize,
    depth: usize,
    /// Whether parsing stopped because of too many errors.
    pub(super) stopped: bool,
    /// Number of operands parsed so far.
    pub(super) operands: usize,
    /// Number of operands in all conditions.
    pub(super) work: usize,
    /// Named choices.
    pub(super) choices: HashMap<String, SymbolId>,
}

impl Parser<'_> {
    fn read(&mut self, name: &str) -> Outcome<usize> {
        let bytes = self
            .sources
            .read(name)
            .map_err(|error| Problem::error(format!("cannot read `{name}`: {error}")))?;
        self.bytes += bytes.len();
        if self.bytes > MOST_BYTES || self.tree.texts.len() >= MOST_FILES {
            return Err(Box::new(
                Problem::error("the KConfig files are too many or too large")
                    .help(format!("the limit is {} MiB in total", MOST_BYTES >> 20)),
            ));
        }
        self.tree.texts.push(Text {
            name: name.to_owned(),
            text: String::from_utf8_lossy(&bytes).into(),
        });
        Ok(self.tree.texts.len() - 1)
    }

    fn file(&mut self, file: usize, scope: &Scope) -> Vec<usize> {
        let Some(text) = self.tree.texts.get(file).cloned() else {
            return Vec::new();
        };
        self.open.push(text.name.clone());
        let mut reader = Reader {
            lexer: Lexer::new(&text.name, &text.text),
            file,
            waiting: None,
        };
        let mut children = Vec::new();
        while self.going() {
            self.block(&mut reader, scope, &mut children);
            let Some(words) = self.statement(&mut reader) else {
                break;
            };
            let message = format!("`{}` has no matching start in this file", shown(&words));
            self.report(&reader, at(&words, message));
        }
        let warnings = std::mem::take(&mut reader.lexer.warnings);
        for problem in warnings {
            self.warn(&reader, problem);
        }
        self.open.pop();
        children
    }

    /// Returns whether parsing continues, since there are not too many errors.
    fn going(&self) -> bool {
        !self.stopped && self.errors.len() < MOST_ERRORS
    }

    pub(super) fn report(&mut self, reader: &Reader<'_>, problem: impl Into<Box<Problem>>) {
        if self.going() {
            let fault = self.located(reader.file, *problem.into());
            self.stopped |= fault.text.len() > LARGE;
            self.errors.push(fault);
        }
    }

    pub(super) fn warn(&mut self, reader: &Reader<'_>, problem: Problem) {
        let text = self.tree.texts.get(reader.file);
        let large = text.is_some_and(|text| text.text.len() > LARGE);
        let most = if large { 1 } else { MOST_ERRORS };
        if self.tree.warnings.len() < most {
            let fault = self.located(reader.file, problem);
            self.tree.warnings.push(fault);
        }
    }

    fn located(&self, file: usize, problem: Problem) -> Diagnostic {
        let (file, text) = self
            .tree
            .texts
            .get(file)
            .map(|text| (text.name.clone(), text.text.to_string()))
            .unwrap_or_default();
        Diagnostic {
            file,
            text,
            problem,
        }
    }

    /// Returns the next statement; statements with lexical errors are recorded and skipped.
    pub(super) fn statement(&mut self, reader: &mut Reader<'_>) -> Option<Vec<Spanned>> {
        if let Some(words) = reader.waiting.take() {
            return Some(words);
        }
        while self.going() {
            match reader.lexer.next(&mut self.macros) {
                Ok(Some(Line::Words(words))) => return Some(words),
                Ok(Some(Line::Assigned)) => {}
                Ok(None) => return None,
                Err(problem) => self.report(reader, problem),
            }
            let said = std::mem::take(&mut self.macros.warnings);
            for message in said {
                self.warn(reader, Problem::warning(message));
            }
        }
        None
    }

    /// Parses statements until one that ends a block, which is kept for the caller.
    fn block(&mut self, reader: &mut Reader<'_>, scope: &Scope, children: &mut Vec<usize>) {
        while let Some(words) = self.statement(reader) {
            let word = first(&words).to_owned();
            if matches!(word.as_str(), "endmenu" | "endchoice" | "endif") {
                reader.waiting = Some(words);
                return;
            }
            self.depth += 1;
            if self.depth > DEEPEST {
                self.report(reader, at(&words, "menus and files are nested too deeply"));
                self.stopped = true;
            } else if let Err(problem) = self.one(reader, scope, &word, &words, children) {
                self.report(reader, problem);
            }
            self.depth -= 1;
        }
    }

    fn one(
        &mut self,
        reader: &mut Reader<'_>,
        scope: &Scope,
        word: &str,
        words: &[Spanned],
        children: &mut Vec<usize>,
    ) -> Outcome<()> {
        let menu_like = matches!(word, "menu" | "choice" | "mainmenu");
        if scope.in_choice && menu_like {
            return Err(Box::new(at(
                words,
                format!("`{word}` is not allowed in a choice"),
            )));
        }
        let node = match word {
            "config" | "menuconfig" => self.config(reader, scope, words)?,
            "choice" => self.choice(reader, scope, words)?,
            "menu" => self.menu(reader, scope, words)?,
            "if" => self.if_block(reader, scope, words)?,
            "comment" => self.comment(reader, scope, words)?,
            "mainmenu" => return self.mainmenu(words),
            "source" | "rsource" | "osource" | "orsource" => {
                return self.source(reader, scope, words, children);
            }
            _ => return Err(Box::new(unknown(words))),
        };
        children.push(node);
        Ok(())
    }

    fn mainmenu(&mut self, words: &[Spanned]) -> Outcome<()> {
        let mut cursor = Cursor::new(words);
        let title = cursor.text("a title")?;
        cursor.end()?;
        if !self.tree.nodes.is_empty() {
            return Err(Box::new(at(
                words,
                "`mainmenu` must be the first statement",
            )));
        }
        self.tree.title = title;
        Ok(())
    }

    pub(super) fn add(&mut self, reader: &Reader<'_>, kind: NodeKind, words: &[Spanned]) -> usize {
        let place = Place {
            file: reader.file,
            span: whole(words),
        };
        self.tree.nodes.push(Node {
            kind,
            depends: None,
            children: Vec::new(),
            place,
        });
        self.tree.nodes.len() - 1
    }

    /// Parses the content of a block up to its end, and adds it to the block's node.
    pub(super) fn inside(
        &mut self,
        reader: &mut Reader<'_>,
        scope: &Scope,
        words: &[Spanned],
        node: usize,
    ) {
        let mut children = Vec::new();
        self.block(reader, scope, &mut children);
        if let Some(place) = self.tree.nodes.get_mut(node) {
            place.children = children;
        }
        let opened = first(words);
        let closing = format!("end{opened}");
        let end = self.statement(reader);
        match end {
            None if self.going() => {
                let problem = at(words, format!("`{opened}` is not closed"))
                    .label(format!("no `{closing}` in this file"));
                self.report(reader, problem);
            }
            None => {}
            Some(end) if first(&end) == closing => {
                if let Err(problem) = Cursor::new(&end).skip(1).end() {
                    self.report(reader, problem);
                }
            }
            Some(end) => {
                let found = shown(&end);
                let problem = at(&end, format!("`{found}` cannot end `{opened}`"))
                    .label(format!("expected `{closing}`"))
                    .related(whole(words), "the open block");
                self.report(reader, problem);
            }
        }
    }

    fn menu(
        &mut self,
        reader: &mut Reader<'_>,
        scope: &Scope,
        words: &[Spanned],
    ) -> Outcome<usize> {
        let mut cursor = Cursor::new(words);
        let title = cursor.text("a title")?;
        cursor.end()?;
        let before = self.operands;
        let (own, visible) = self.conditions(reader, true)?;
        let depends = both(&scope.depends, &own);
        let kind = NodeKind::Menu {
            title,
            visible: visible.clone(),
        };
        let node = self.add(reader, kind, words);
        self.depend(node, depends.clone());
        let scope = Scope {
            depends,
            shown: both(&scope.shown, &visible),
            in_choice: false,
            weight: scope.weight + self.operands - before,
        };
        self.inside(reader, &scope, words, node);
        Ok(node)
    }

    /// Parses the dependencies of a menu or comment and, for a menu, its visibility: the lines
    /// after its title, up to another statement.
    fn conditions(
        &mut self,
        reader: &mut Reader<'_>,
        of_menu: bool,
    ) -> Outcome<(Condition, Condition)> {
        let (mut own, mut visible) = (Vec::new(), Vec::new());
        while let Some(line) = self.statement(reader) {
            let mut cursor = Cursor::new(&line).skip(1);
            match first(&line) {
                "depends" => {
                    cursor.word("on")?;
                    own.push(self.condition(&mut cursor)?);
                }
                "visible" if of_menu => visible.extend(self.when(&mut cursor)?),
                _ => {
                    reader.waiting = Some(line);
                    break;
                }
            }
            cursor.end()?;
        }
        Ok((all(own), all(visible)))
    }

    pub(super) fn depend(&mut self, node: usize, depends: Condition) {
        if let Some(node) = self.tree.nodes.get_mut(node) {
            node.depends = depends;
        }
    }

    fn if_block(
        &mut self,
        reader: &mut Reader<'_>,
        scope: &Scope,
        words: &[Spanned],
    ) -> Outcome<usize> {
        let before = self.operands;
        let mut cursor = Cursor::new(words).skip(1);
        let own = self.condition(&mut cursor)?;
        cursor.end()?;
        let node = self.add(reader, NodeKind::If, words);
        let depends = both(&scope.depends, &Some(own));
        self.depend(node, depends.clone());
        let scope = Scope {
            depends,
            weight: scope.weight + self.operands - before,
            ..scope.clone()
        };
        self.inside(reader, &scope, words, node);
        Ok(node)
    }

    fn comment(
        &mut self,
        reader: &mut Reader<'_>,
        scope: &Scope,
        words: &[Spanned],
    ) -> Outcome<usize> {
        let mut cursor = Cursor::new(words);
        let text = cursor.text("a text")?;
        cursor.end()?;
        let (own, _) = self.conditions(reader, false)?;
        let node = self.add(reader, NodeKind::Comment { text }, words);
        self.depend(node, both(&scope.depends, &own));
        Ok(node)
    }

    fn source(
        &mut self,
        reader: &mut Reader<'_>,
        scope: &Scope,
        words: &[Spanned],
        children: &mut Vec<usize>,
    ) -> Outcome<()> {
        let mut cursor = Cursor::new(words);
        let pattern = cursor.text("the name of a file")?;
        cursor.end()?;
        let keyword = first(words);
        let mut pattern = self.with_variables(&pattern);
        if keyword.ends_with("rsource")
            && let Some((folder, _)) = self.open.last().and_then(|file| file.rsplit_once('/'))
        {
            pattern = format!("{folder}/{pattern}");
        }
        let files = self.sources.glob(&pattern);
        if files.is_empty() && !keyword.starts_with('o') {
            let message = format!("no file is named `{pattern}`");
            self.warn(reader, at(words, message).label("nothing is included"));
        }
        for name in files {
            if self.open.contains(&name) {
                return Err(Box::new(at(words, format!("`{name}` includes itself"))));
            }
            let file = self.read(&name).map_err(|problem| Problem {
                span: Some(whole(words)),
                ..*problem
            })?;
            let read = self.file(file, scope);
            children.extend(read);
        }
        Ok(())
    }

    /// Expands `$NAME` in a file name: the older syntax for environment variables, defined by
    /// symbols with `option env`.
    fn with_variables(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let end = after
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(after.len());
            let (name, after) = after.split_at_checked(end).unwrap_or((after, ""));
            let symbol = self.tree.find(name).and_then(|id| self.tree.get(id));
            let variable = symbol.and_then(|symbol| symbol.variable.as_deref());
            out.push_str(&self.env(variable.unwrap_or(name)).unwrap_or_default());
            rest = after;
        }
        out.push_str(rest);
        out
    }

    pub(super) fn env(&self, name: &str) -> Option<String> {
        self.sources.env(name)
    }

    /// Returns the symbol with a name, created if necessary.
    pub(super) fn symbol(&mut self, name: &str) -> SymbolId {
        if let Some(id) = self.tree.names.get(name) {
            return *id;
        }
        let id = self.unnamed(Symbol {
            name: Some(name.to_owned()),
            ..Symbol::default()
        });
        self.tree.names.insert(name.to_owned(), id);
        id
    }

    pub(super) fn unnamed(&mut self, symbol: Symbol) -> SymbolId {
        self.tree.symbols.push(symbol);
        self.tree.symbols.len() - 1
    }

    fn choice(
        &mut self,
        reader: &mut Reader<'_>,
        scope: &Scope,
        words: &[Spanned],
    ) -> Outcome<usize> {
        let (node, id) = self.choice_entry(reader, scope, words)?;
        let scope = Scope {
            depends: Some(Arc::new(Expr::Is(Operand::Symbol(id)))),
            shown: scope.shown.clone(),
            in_choice: true,
            weight: 1,
        };
        self.inside(reader, &scope, words, node);
        choice::join(&mut self.tree, node, id);
        Ok(node)
    }
}
