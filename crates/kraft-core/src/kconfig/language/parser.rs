//! Statements into nodes: menus, conditions, sources. What may stand in an entry is in
//! [`options`](super::options).

use std::collections::HashMap;
use std::sync::Arc;

use super::expr::{Compare, Condition, Expr, Operand, SymbolId, Tristate, all, both};
use super::lexer::{Lexer, Line, Spanned, Token};
use super::macros::Macros;
use super::sources::{
    DEEPEST, Fault, Faults, MOST_BYTES, MOST_FAULTS, MOST_FILES, Place, Sources, Text,
};
use super::tree::{Node, NodeKind, Symbol, Tree};
use super::{choice, cycle};
use crate::problem::{Problem, Span};

/// So deep may `(` and `!` stand in each other.
const DEEPEST_EXPR: usize = 60;

/// Reads a tree.
pub(super) fn parse(root: &str, sources: &dyn Sources) -> Result<Tree, Faults> {
    let mut parser = Parser {
        tree: Tree {
            title: "Main menu".to_owned(),
            ..Tree::default()
        },
        sources,
        macros: Macros::new(sources),
        faults: Vec::new(),
        open: Vec::new(),
        bytes: 0,
        depth: 0,
        stopped: false,
        choices: HashMap::new(),
    };
    let scope = Scope::default();
    let read = parser.read(root).map_err(|problem| Fault {
        file: root.to_owned(),
        text: String::new(),
        problem,
    });
    match read {
        Ok(file) => parser.tree.roots = parser.file(file, &scope),
        Err(fault) => parser.faults.push(fault),
    }
    if parser.faults.is_empty() {
        parser.faults = cycle::order(&mut parser.tree);
    }
    if parser.faults.is_empty() {
        Ok(parser.tree)
    } else {
        Err(Faults(parser.faults))
    }
}

/// What a statement stands in.
#[derive(Clone, Default)]
pub(super) struct Scope {
    /// What all of it depends on.
    pub(super) depends: Condition,
    /// When its prompts are shown, by `visible if`.
    pub(super) shown: Condition,
    /// It stands in a choice, in which are no menus and choices.
    pub(super) in_choice: bool,
}

/// One file being read.
pub(super) struct Reader<'t> {
    pub(super) lexer: Lexer<'t>,
    pub(super) file: usize,
    /// A statement that was read but not used yet.
    pub(super) waiting: Option<Vec<Spanned>>,
}

pub(super) struct Parser<'s> {
    pub(super) tree: Tree,
    sources: &'s dyn Sources,
    pub(super) macros: Macros<'s>,
    faults: Vec<Fault>,
    /// The files being read, outermost first.
    open: Vec<String>,
    bytes: usize,
    depth: usize,
    /// Nothing can be made of the rest.
    stopped: bool,
    /// The choices that have a name, by it.
    pub(super) choices: HashMap<String, SymbolId>,
}

impl Parser<'_> {
    fn read(&mut self, name: &str) -> Result<usize, Problem> {
        let bytes = self
            .sources
            .read(name)
            .map_err(|error| Problem::error(format!("cannot read `{name}`: {error}")))?;
        self.bytes += bytes.len();
        if self.bytes > MOST_BYTES || self.tree.texts.len() >= MOST_FILES {
            return Err(
                Problem::error("the KConfig files are too many or too large")
                    .help(format!("they may have {} MiB in all", MOST_BYTES >> 20)),
            );
        }
        self.tree.texts.push(Text {
            name: name.to_owned(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
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
            let message = format!("`{}` ends nothing that began in this file", shown(&words));
            self.fault(&reader, at(&words, message));
        }
        let warnings = std::mem::take(&mut reader.lexer.warnings);
        for problem in warnings {
            self.warn(&reader, problem);
        }
        self.open.pop();
        children
    }

    /// Tells whether reading goes on, or there are faults enough.
    fn going(&self) -> bool {
        !self.stopped && self.faults.len() < MOST_FAULTS
    }

    pub(super) fn fault(&mut self, reader: &Reader<'_>, problem: Problem) {
        if self.going() {
            let fault = self.located(reader.file, problem);
            self.faults.push(fault);
        }
    }

    pub(super) fn warn(&mut self, reader: &Reader<'_>, problem: Problem) {
        if self.tree.warnings.len() < MOST_FAULTS {
            let fault = self.located(reader.file, problem);
            self.tree.warnings.push(fault);
        }
    }

    fn located(&self, file: usize, problem: Problem) -> Fault {
        let (file, text) = self
            .tree
            .texts
            .get(file)
            .map(|text| (text.name.clone(), text.text.clone()))
            .unwrap_or_default();
        Fault {
            file,
            text,
            problem,
        }
    }

    /// Returns the next statement; faults of its words are noted and passed over.
    pub(super) fn statement(&mut self, reader: &mut Reader<'_>) -> Option<Vec<Spanned>> {
        if let Some(words) = reader.waiting.take() {
            return Some(words);
        }
        while self.going() {
            match reader.lexer.next(&mut self.macros) {
                Ok(Some(Line::Words(words))) => return Some(words),
                Ok(Some(Line::Assigned)) => {}
                Ok(None) => return None,
                Err(problem) => self.fault(reader, problem),
            }
            let said = std::mem::take(&mut self.macros.warnings);
            for message in said {
                self.warn(reader, Problem::warning(message));
            }
        }
        None
    }

    /// Reads statements until one that ends a block, which is left waiting.
    fn block(&mut self, reader: &mut Reader<'_>, scope: &Scope, children: &mut Vec<usize>) {
        while let Some(words) = self.statement(reader) {
            let word = first(&words).to_owned();
            if matches!(word.as_str(), "endmenu" | "endchoice" | "endif") {
                reader.waiting = Some(words);
                return;
            }
            self.depth += 1;
            if self.depth > DEEPEST {
                self.fault(
                    reader,
                    at(&words, "menus and files stand in each other too deep"),
                );
                self.stopped = true;
            } else if let Err(problem) = self.one(reader, scope, &word, &words, children) {
                self.fault(reader, problem);
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
    ) -> Result<(), Problem> {
        let menu_like = matches!(word, "menu" | "choice" | "mainmenu");
        if scope.in_choice && menu_like {
            return Err(at(words, format!("`{word}` cannot stand in a choice")));
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
            _ => return Err(unknown(words)),
        };
        children.push(node);
        Ok(())
    }

    fn mainmenu(&mut self, words: &[Spanned]) -> Result<(), Problem> {
        let mut cursor = Cursor::new(words);
        let title = cursor.text("a title")?;
        cursor.end()?;
        if !self.tree.nodes.is_empty() {
            return Err(at(words, "`mainmenu` must be the first statement"));
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

    /// Reads what stands in a block up to its end, and gives it to the block's node.
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
                let problem = at(words, format!("`{opened}` is never ended"))
                    .label(format!("no `{closing}` in this file"));
                self.fault(reader, problem);
            }
            None => {}
            Some(end) if first(&end) == closing => {
                if let Err(problem) = Cursor::new(&end).skip(1).end() {
                    self.fault(reader, problem);
                }
            }
            Some(end) => {
                let found = shown(&end);
                let problem = at(&end, format!("`{found}` cannot end `{opened}`"))
                    .label(format!("expected `{closing}`"))
                    .related(whole(words), "what is to be ended");
                self.fault(reader, problem);
            }
        }
    }

    fn menu(
        &mut self,
        reader: &mut Reader<'_>,
        scope: &Scope,
        words: &[Spanned],
    ) -> Result<usize, Problem> {
        let mut cursor = Cursor::new(words);
        let title = cursor.text("a title")?;
        cursor.end()?;
        let (mut own, mut visible) = (Vec::new(), Vec::new());
        while let Some(line) = self.statement(reader) {
            let mut cursor = Cursor::new(&line).skip(1);
            match first(&line) {
                "depends" => {
                    cursor.word("on")?;
                    own.push(self.condition(&mut cursor)?);
                }
                "visible" => visible.extend(self.when(&mut cursor)?),
                _ => {
                    reader.waiting = Some(line);
                    break;
                }
            }
            cursor.end()?;
        }
        let (own, visible) = (all(own), all(visible));
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
        };
        self.inside(reader, &scope, words, node);
        Ok(node)
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
    ) -> Result<usize, Problem> {
        let mut cursor = Cursor::new(words).skip(1);
        let own = self.condition(&mut cursor)?;
        cursor.end()?;
        let node = self.add(reader, NodeKind::If, words);
        let depends = both(&scope.depends, &Some(own));
        self.depend(node, depends.clone());
        let scope = Scope {
            depends,
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
    ) -> Result<usize, Problem> {
        let mut cursor = Cursor::new(words);
        let text = cursor.text("a text")?;
        cursor.end()?;
        let mut own = Vec::new();
        while let Some(line) = self.statement(reader) {
            if first(&line) != "depends" {
                reader.waiting = Some(line);
                break;
            }
            let mut cursor = Cursor::new(&line).skip(1);
            cursor.word("on")?;
            own.push(self.condition(&mut cursor)?);
            cursor.end()?;
        }
        let node = self.add(reader, NodeKind::Comment { text }, words);
        self.depend(node, both(&scope.depends, &all(own)));
        Ok(node)
    }

    fn source(
        &mut self,
        reader: &mut Reader<'_>,
        scope: &Scope,
        words: &[Spanned],
        children: &mut Vec<usize>,
    ) -> Result<(), Problem> {
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
            self.warn(reader, at(words, message).label("nothing is read here"));
        }
        for name in files {
            if self.open.contains(&name) {
                return Err(at(words, format!("`{name}` includes itself")));
            }
            let file = self.read(&name).map_err(|problem| Problem {
                span: Some(whole(words)),
                ..problem
            })?;
            let read = self.file(file, scope);
            children.extend(read);
        }
        Ok(())
    }

    /// Replaces `$NAME` in the name of a file: the older way to name the environment, by symbols
    /// with `option env`.
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

    /// Returns the symbol of a name, making it if it is new.
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

    /// Reads `if CONDITION`, which may be missing.
    pub(super) fn when(&mut self, cursor: &mut Cursor<'_>) -> Result<Condition, Problem> {
        if !cursor.take("if") {
            return Ok(None);
        }
        self.condition(cursor).map(Some)
    }

    pub(super) fn condition(&mut self, cursor: &mut Cursor<'_>) -> Result<Arc<Expr>, Problem> {
        Ok(Arc::new(self.expr(cursor, 0)?.condition()))
    }

    /// Reads a chain of `||`.
    pub(super) fn expr(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Result<Expr, Problem> {
        let mut parts = vec![Arc::new(self.all_of(cursor, depth)?)];
        while cursor.take_sign("||") {
            parts.push(Arc::new(self.all_of(cursor, depth)?));
        }
        Ok(single(parts).unwrap_or_else(Expr::Or))
    }

    fn all_of(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Result<Expr, Problem> {
        let mut parts = vec![Arc::new(self.term(cursor, depth)?)];
        while cursor.take_sign("&&") {
            parts.push(Arc::new(self.term(cursor, depth)?));
        }
        Ok(single(parts).unwrap_or_else(Expr::And))
    }

    fn term(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Result<Expr, Problem> {
        if depth > DEEPEST_EXPR {
            return Err(cursor.problem("a condition is nested too deep", "here"));
        }
        if cursor.take_sign("!") {
            return Ok(Expr::Not(Arc::new(self.term(cursor, depth + 1)?)));
        }
        if cursor.take_sign("(") {
            let inner = self.expr(cursor, depth + 1)?;
            if !cursor.take_sign(")") {
                return Err(cursor.problem("a parenthesis is not closed", "expected `)`"));
            }
            return Ok(inner);
        }
        let left = self.operand(cursor)?;
        let compares = [
            Compare::Equal,
            Compare::Unequal,
            Compare::Less,
            Compare::LessEqual,
            Compare::Greater,
            Compare::GreaterEqual,
        ];
        for how in compares {
            if cursor.take_sign(how.sign()) {
                return Ok(Expr::Compare(how, left, self.operand(cursor)?));
            }
        }
        Ok(Expr::Is(left))
    }

    pub(super) fn operand(&mut self, cursor: &mut Cursor<'_>) -> Result<Operand, Problem> {
        let (text, quoted) = match cursor.peek() {
            Some(Token::Word(text)) => (text.clone(), false),
            Some(Token::Quoted(text)) => (text.clone(), true),
            Some(Token::Sign(_)) | None => {
                return Err(cursor.problem("a symbol or value is missing", "expected here"));
            }
        };
        cursor.advance();
        Ok(match text.as_str() {
            "y" => Operand::Tri(Tristate::Yes),
            "m" => Operand::Tri(Tristate::Module),
            "n" => Operand::Tri(Tristate::No),
            _ if quoted => Operand::Text(text),
            _ => Operand::Symbol(self.symbol(&text)),
        })
    }

    fn choice(
        &mut self,
        reader: &mut Reader<'_>,
        scope: &Scope,
        words: &[Spanned],
    ) -> Result<usize, Problem> {
        let (node, id) = self.choice_entry(reader, scope, words)?;
        let scope = Scope {
            depends: Some(Arc::new(Expr::Is(Operand::Symbol(id)))),
            shown: scope.shown.clone(),
            in_choice: true,
        };
        self.inside(reader, &scope, words, node);
        choice::join(&mut self.tree, node, id);
        Ok(node)
    }
}

fn single(mut parts: Vec<Arc<Expr>>) -> Result<Expr, Vec<Arc<Expr>>> {
    match parts.len() {
        1 => parts.pop().map(Arc::unwrap_or_clone).ok_or(parts),
        _ => Err(parts),
    }
}

/// Walks over the words of a statement.
pub(super) struct Cursor<'w> {
    words: &'w [Spanned],
    at: usize,
}

impl<'w> Cursor<'w> {
    pub(super) fn new(words: &'w [Spanned]) -> Self {
        Self { words, at: 0 }
    }

    pub(super) fn skip(mut self, words: usize) -> Self {
        self.at += words;
        self
    }

    pub(super) fn peek(&self) -> Option<&'w Token> {
        self.words.get(self.at).map(|word| &word.token)
    }

    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    pub(super) fn take(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Word(text)) if text == word);
        self.at += usize::from(is);
        is
    }

    pub(super) fn take_sign(&mut self, sign: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Sign(text)) if *text == sign);
        self.at += usize::from(is);
        is
    }

    pub(super) fn word(&mut self, word: &str) -> Result<(), Problem> {
        if self.take(word) {
            return Ok(());
        }
        Err(self.problem(format!("`{word}` is missing"), "expected here"))
    }

    /// Takes the name of a symbol.
    pub(super) fn name(&mut self) -> Result<&'w str, Problem> {
        if let Some(Token::Word(text)) = self.peek() {
            self.advance();
            return Ok(text);
        }
        Err(self.problem("the name of a symbol is missing", "expected here"))
    }

    /// Takes the one text of a statement, which is its second word.
    fn text(&mut self, what: &str) -> Result<String, Problem> {
        self.at = 1;
        self.prompt()
            .ok_or_else(|| self.problem(format!("{what} is missing"), "expected here"))
    }

    /// Takes a text, if one comes.
    pub(super) fn prompt(&mut self) -> Option<String> {
        match self.peek() {
            Some(Token::Word(text) | Token::Quoted(text)) => {
                self.advance();
                Some(text.trim_start().to_owned())
            }
            Some(Token::Sign(_)) | None => None,
        }
    }

    /// Says that nothing may follow.
    pub(super) fn end(&self) -> Result<(), Problem> {
        if self.peek().is_none() {
            return Ok(());
        }
        Err(self.problem("there is more in this line than fits", "not expected"))
    }

    /// Makes a problem of the next word, or of the end of the statement.
    pub(super) fn problem(&self, message: impl Into<String>, label: &str) -> Problem {
        let span = self.words.get(self.at).map_or_else(
            || {
                let end = whole(self.words).end;
                Span { start: end, end }
            },
            |word| word.span,
        );
        Problem::error(message).at(span).label(label)
    }
}

/// Returns the first word of a statement.
pub(super) fn first(words: &[Spanned]) -> &str {
    match words.first() {
        Some(Spanned {
            token: Token::Word(text),
            ..
        }) => text,
        _ => "",
    }
}

fn shown(words: &[Spanned]) -> String {
    match words.first().map(|word| &word.token) {
        Some(Token::Word(text) | Token::Quoted(text)) => text.chars().take(60).collect(),
        Some(Token::Sign(sign)) => (*sign).to_owned(),
        None => String::new(),
    }
}

pub(super) fn whole(words: &[Spanned]) -> Span {
    let start = words.first().map_or(0, |word| word.span.start);
    let end = words.last().map_or(start, |word| word.span.end);
    Span { start, end }
}

pub(super) fn at(words: &[Spanned], message: impl Into<String>) -> Problem {
    let span = words.first().map_or_else(|| whole(words), |word| word.span);
    Problem::error(message).at(span)
}

/// Says that a statement or an option is none.
pub(super) fn unknown(words: &[Spanned]) -> Problem {
    const KNOWN: [&str; 33] = [
        "config",
        "menuconfig",
        "choice",
        "endchoice",
        "menu",
        "endmenu",
        "if",
        "endif",
        "comment",
        "mainmenu",
        "source",
        "rsource",
        "osource",
        "orsource",
        "bool",
        "tristate",
        "int",
        "hex",
        "string",
        "def_bool",
        "def_tristate",
        "prompt",
        "default",
        "depends",
        "select",
        "imply",
        "range",
        "visible",
        "option",
        "optional",
        "help",
        "modules",
        "env",
    ];
    let word = shown(words);
    let problem = at(
        words,
        format!("`{word}` is no statement of KConfig, or not one for this place"),
    );
    match crate::nearest::nearest(&word, KNOWN) {
        Some(near) if near != word => problem.help(format!("did you mean `{near}`?")),
        _ => problem,
    }
}
