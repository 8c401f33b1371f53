//! `COPY` and `ADD` of a stage: the sources and options of a copy.

use std::collections::HashMap;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use kraft_archive::{compression, tar};
use kraft_core::dockerfile::expand;
use kraft_core::dockerfile::patterns::Patterns;
use kraft_core::dockerfile::{self as text, Document, Source, Step};
use kraft_core::problem::{Problem, Span};
use kraft_sys::fs::Error as FileError;

use super::copy::{Copier, CopyError, CopyOptions, chosen};
use super::mode::Mode;
use super::stage::{Executor, Stage, absolute, at};
use super::{ExecuteError, lookup, plan};
use crate::tree::{Content, Kind, Node, Place, Tree};
use crate::{Error, shown};

/// Number of bytes at the start of a file that decide whether it is an archive: a tar header.
const START: u64 = 512;

impl Executor<'_, '_> {
    pub(super) fn copy(
        &mut self,
        number: usize,
        stage: &mut Stage,
        step: &Step,
        copy: &text::Copy,
        adds: bool,
    ) -> Result<(), ExecuteError> {
        let mut from_elsewhere = false;
        let from = match &copy.from {
            None => self.context()?,
            Some(name) => {
                from_elsewhere = true;
                let name = self.word(stage, name, step.span)?;
                Rc::new(self.origin(number, stage, &name, step.span)?.tree)
            }
        };
        let mut destination = self.word(stage, &copy.destination, step.span)?;
        if destination.is_empty() {
            destination.push('.');
        }
        let to = absolute(&stage.settings.working_dir, &destination);
        let terms = self.terms(stage, step, copy, from_elsewhere)?;
        // A file has the name of the destination, so nothing else can follow.
        let mut is_taken = false;
        let several = |span| {
            let problem = Problem::error(format!(
                "several files are copied to `{destination}`, which is not a directory"
            ));
            let problem = problem.label("each would replace the one before");
            let problem = problem.help(format!("write `{destination}/` for a directory"));
            ExecuteError::Text(Box::new(problem.at(span)))
        };
        let mut documents = Vec::new();
        for source in &copy.sources {
            let (word, span) = match source {
                Source::Document(document) => {
                    documents.push(document);
                    continue;
                }
                Source::Path { word, span } => (self.word(stage, word, *span)?, *span),
            };
            if adds && plan::is_remote(&word) {
                return Err(at(span, "`ADD` of an address needs a builder"));
            }
            let wrong = |error: CopyError| cannot_copy(&error, &word, span);
            let chosen = chosen(&from, &word, copy.parents, &terms.exclude).map_err(wrong)?;
            for path in &chosen.paths {
                let unpacks = adds && copy.unpack != Some(false);
                if unpacks && self.add_archive(stage, &from, path, &to, &terms, span)? {
                    continue;
                }
                if is_taken {
                    return Err(several(span));
                }
                let mut copier = self.copier(stage, &terms);
                is_taken = copier
                    .one(&from, path, &to, chosen.include.as_ref())
                    .map_err(wrong)?;
            }
        }
        for document in documents {
            if is_taken {
                return Err(several(step.span));
            }
            is_taken = self.document(stage, document, &to, &terms, step.span)?;
        }
        Ok(())
    }

    fn copier<'c>(&'c mut self, stage: &'c mut Stage, terms: &'c CopyOptions) -> Copier<'c> {
        Copier {
            into: &mut stage.tree,
            terms,
            numbers: &mut self.numbers,
            known: HashMap::new(),
        }
    }

    fn terms(
        &mut self,
        stage: &Stage,
        step: &Step,
        copy: &text::Copy,
        keeps: bool,
    ) -> Result<CopyOptions, ExecuteError> {
        let owner = match &copy.chown {
            Some(owner) => {
                let owner = self.word(stage, owner, step.span)?;
                let mut names = owner.split(':');
                if copy.link && !names.all(|name| name.parse::<u32>().is_ok()) {
                    let what = format!(
                        "`--chown={owner}` together with `--link` needs numbers: what the stage \
                         holds does not count"
                    );
                    return Err(at(step.span, what));
                }
                Some(owner_of(stage, &owner, step.span)?)
            }
            None if keeps => None,
            None => Some((0, 0)),
        };
        let mode = match &copy.chmod {
            Some(mode) => {
                let mode = self.word(stage, mode, step.span)?;
                let read = Mode::read(&mode);
                Some(read.ok_or_else(|| {
                    at(step.span, format!("`--chmod={mode}` is not a valid mode"))
                })?)
            }
            None => None,
        };
        // No variables are expanded in patterns, as in BuildKit.
        let exclude = Patterns::new(copy.exclude.iter().map(String::as_str));
        Ok(CopyOptions {
            owner,
            gives_owner: copy.chown.is_some(),
            mode,
            exclude: exclude.map_err(|error| at(step.span, format!("`--exclude`: {error}")))?,
            through_links: !copy.link,
        })
    }

    /// Copies a here-document as a file of its name. Returns whether it got the name of the
    /// destination.
    fn document(
        &mut self,
        stage: &mut Stage,
        document: &Document,
        to: &str,
        terms: &CopyOptions,
        span: Span,
    ) -> Result<bool, ExecuteError> {
        let text = self.document_text(stage, document, span)?;
        let content = self.spooled(text.as_bytes())?;
        let node = Node {
            kind: Kind::File(content),
            permissions: 0o644,
            uid: 0,
            gid: 0,
        };
        let mut one = Tree::default();
        one.insert(document.name.as_bytes(), node)
            .map_err(|fault| at(span, fault))?;
        let mut copier = self.copier(stage, terms);
        copier
            .one(&one, document.name.as_bytes(), to, None)
            .map_err(|fault| cannot_copy(&fault, &document.name, span))
    }

    pub(super) fn document_text(
        &self,
        stage: &Stage,
        document: &Document,
        span: Span,
    ) -> Result<String, ExecuteError> {
        if !document.expands {
            return Ok(document.text.clone());
        }
        let look = |name: &str| stage.arguments.value(name, &stage.settings);
        expand::document(&document.text, self.recipe.dockerfile.escape, &look)
            .map_err(|error| at(span, error))
    }

    /// Writes bytes to the file from which contents are read later.
    fn spooled(&mut self, bytes: &[u8]) -> Result<Content, ExecuteError> {
        let (file, end) = match self.spool.take() {
            Some(spool) => spool,
            None => (Rc::new(self.unnamed()?), 0),
        };
        file.write_all_at(bytes, end)
            .map_err(FileError::on("write", self.recipe.scratch))
            .map_err(Error::from)?;
        let size = bytes.len() as u64;
        self.spool = Some((Rc::clone(&file), end + size));
        self.numbers += 1;
        Ok(Content {
            size,
            identity: self.numbers,
            at: Place::Within { file, offset: end },
        })
    }

    /// Unpacks a source of an `ADD` if it is an archive; `false` if it is not.
    fn add_archive(
        &mut self,
        stage: &mut Stage,
        from: &Tree,
        named: &[u8],
        to: &str,
        terms: &CopyOptions,
        span: Span,
    ) -> Result<bool, ExecuteError> {
        let real = lookup::resolve(from, named, true).unwrap_or_default();
        let Some(Kind::File(content)) = from.get(&real).map(|node| &node.kind) else {
            return Ok(false);
        };
        let opened = content.open()?;
        let full = opened.name.clone();
        // A file with another compression, or a damaged one, is copied.
        let Ok(mut reader) = compression::decompress(opened) else {
            return Ok(false);
        };
        let mut plain = Vec::new();
        let readable = (&mut reader).take(START).read_to_end(&mut plain).is_ok();
        if !readable || !tar::is_header(&plain) {
            return Ok(false);
        }
        let into = self.add_directory(stage, to, terms, span)?;
        let owner = terms.owner.filter(|_| terms.gives_owner);
        let mut reader = plain.as_slice().chain(reader);
        let tree = std::mem::take(&mut stage.tree);
        let (tree, numbers) = self.unpacked(|unpacker, numbers| {
            unpacker.unpack_into(tree, &into, numbers, owner);
            unpacker.tarball(&full, &mut reader)
        })?;
        (stage.tree, self.numbers) = (tree, numbers);
        Ok(true)
    }

    /// Returns the directory that an archive is unpacked into, and creates it if it is missing. Entries
    /// of the archive have their own owners and permissions (BuildKit, `file/backend.go`).
    fn add_directory(
        &mut self,
        stage: &mut Stage,
        to: &str,
        terms: &CopyOptions,
        span: Span,
    ) -> Result<Vec<u8>, ExecuteError> {
        let empty = Tree::default();
        let terms = CopyOptions {
            mode: None,
            ..terms.clone()
        };
        let wrong = |error: CopyError| cannot_copy(&error, to, span);
        let mut copier = self.copier(stage, &terms);
        copier.one(&empty, b"", to, None).map_err(wrong)?;
        copier.place(to.as_bytes()).map_err(wrong)
    }
}

/// Resolves `USER[:GROUP]`; names are looked up in the files of the stage.
fn owner_of(stage: &Stage, owner: &str, span: Span) -> Result<(u32, u32), ExecuteError> {
    let (user, group) = match owner.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (owner, None),
    };
    let number = |file: &[u8], name: &str, field: usize| -> Result<u32, ExecuteError> {
        if let Ok(number) = name.parse::<u32>() {
            return Ok(number);
        }
        let text = small_file(&stage.tree, file).unwrap_or_default();
        let line = text
            .lines()
            .find(|line| line.split(':').next() == Some(name));
        let number = line.and_then(|line| line.split(':').nth(field)?.parse().ok());
        number.ok_or_else(|| at(span, format!("`/{}` has no entry `{name}`", shown(file))))
    };
    let uid = number(b"etc/passwd", user, 2)?;
    let gid = match group {
        Some(group) => number(b"etc/group", group, 2)?,
        // A name implies its group, a number is used for both.
        None => number(b"etc/passwd", user, 3)?,
    };
    Ok((uid, gid))
}

/// Reads a small text file of a tree.
fn small_file(tree: &Tree, path: &[u8]) -> Option<String> {
    const LARGEST: u64 = 1 << 20;
    let real = lookup::resolve(tree, path, true).ok()?;
    let Kind::File(content) = &tree.get(&real)?.kind else {
        return None;
    };
    let mut bytes = Vec::new();
    content
        .open()
        .ok()?
        .take(LARGEST)
        .read_to_end(&mut bytes)
        .ok()?;
    String::from_utf8(bytes).ok()
}

fn cannot_copy(error: &CopyError, word: &str, span: Span) -> ExecuteError {
    let problem = match error {
        CopyError::Missing => Problem::error(format!("there is no `{word}` to copy"))
            .label("not in the build context, or left out by `.dockerignore`"),
        CopyError::Circle => Problem::error(format!("links on the way to `{word}` form a loop")),
        CopyError::Entry(entry, error) => {
            Problem::error(format!("cannot copy to `{entry}`: {error}"))
        }
        CopyError::NotADirectory(entry) => Problem::error(format!(
            "cannot copy a directory to `{entry}`: it is not a directory"
        )),
        CopyError::IsADirectory(entry) => Problem::error(format!(
            "cannot copy a file to `{entry}`: it is a directory"
        )),
        CopyError::Pattern(error) => Problem::error(error.to_string()),
    };
    ExecuteError::Text(Box::new(problem.at(span)))
}
