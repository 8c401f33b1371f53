//! One stage: evaluates its instructions in order. Those that change files are noted and executed
//! by `make` when the files are needed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::rc::Rc;

use kraft_core::dockerfile::{self as text, Instruction, Pair, Step, expand};
use kraft_core::error::chain;
use kraft_core::problem::{Problem, Span};
use kraft_sys::fs::Error as FileError;
use tempfile::TempDir;

use super::execute::{Base, Op};
use super::layers::Ground;
use super::plan::{self, Origin};
use super::settings::Settings;
use super::variables::{self, Arguments};
use super::{ExecuteError, Image, Progress, Recipe};
use crate::cache_key::Digest;
use crate::format::cpio;
use crate::source::directory;
use crate::source::tar::Unpacker;
use crate::tree::Tree;
use crate::{Error, Options};

/// Default `PATH` of commands (BuildKit, `util/system/path.go`).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// First identity of copied files, above those of tarballs.
const FIRST_NUMBER: u64 = 1 << 40;
/// All stages of a build.
pub(super) struct Executor<'a, 't> {
    pub(super) recipe: &'a Recipe<'a>,
    pub(super) tell: &'t mut dyn FnMut(Progress),
    pub(super) global: BTreeMap<String, String>,
    pub(super) stages: BTreeMap<usize, Stage>,
    pub(super) last: usize,
    pub(super) images: BTreeMap<String, Rc<BaseImage>>,
    /// The stages whose files are needed as a whole ([`plan::needed_whole`]).
    whole: BTreeSet<usize>,
    /// Paths and patterns that are read from the context.
    pub(super) taken: BTreeSet<String>,
    /// Whether commands run in a plain directory because overlays cannot be mounted.
    pub(super) flat: bool,
    /// The context, read when it is first needed.
    pub(super) context: Option<Rc<Tree>>,
    /// Contents that are in no file: here-documents.
    pub(super) spool: Option<(Rc<File>, u64)>,
    pub(super) numbers: u64,
    pub(super) warnings: Vec<String>,
}

/// State of a stage.
#[derive(Clone, Debug, Default)]
pub(super) struct Stage {
    pub(super) tree: Tree,
    pub(super) settings: Settings,
    pub(super) arguments: Arguments,
    /// Whether this stage has a `CMD` itself.
    pub(super) own_cmd: bool,
    pub(super) base: Base,
    /// The instructions that change files.
    pub(super) ops: Vec<Rc<Op>>,
    /// Number of executed ones; `None` if the base is not loaded yet.
    pub(super) made: Option<usize>,
    /// The keys of the states after 0, 1, 2 … instructions, as far as computed.
    pub(super) keys: Vec<Digest>,
    /// The part of the tree that is in layers.
    pub(super) ground: Ground,
}

/// An image to build on.
#[derive(Debug)]
pub(super) struct BaseImage {
    pub(super) id: String,
    settings: Settings,
    /// Its files, after they were unpacked.
    tree: RefCell<Option<Tree>>,
}

/// Result of the last stage.
pub(super) struct Last {
    pub(super) tree: Tree,
    pub(super) settings: Settings,
    pub(super) warnings: Vec<String>,
    pub(super) taken: Vec<String>,
}

impl<'a, 't> Executor<'a, 't> {
    pub(super) fn new(
        recipe: &'a Recipe<'a>,
        whole: BTreeSet<usize>,
        tell: &'t mut dyn FnMut(Progress),
    ) -> Self {
        Self {
            recipe,
            tell,
            global: BTreeMap::new(),
            stages: BTreeMap::new(),
            last: 0,
            images: BTreeMap::new(),
            whole,
            taken: BTreeSet::new(),
            flat: false,
            context: None,
            spool: None,
            numbers: FIRST_NUMBER,
            warnings: Vec::new(),
        }
    }

    /// Executes a stage; those it needs were executed before.
    pub(super) fn stage(&mut self, number: usize) -> Result<(), ExecuteError> {
        let Some(planned) = self.recipe.dockerfile.stages.get(number) else {
            return Ok(());
        };
        if self.global.is_empty() {
            self.global =
                variables::global(self.recipe).map_err(|error| at(planned.span, error))?;
        }
        let mut stage = self.begin(number, planned)?;
        let name = planned
            .from
            .name
            .clone()
            .unwrap_or_else(|| format!("stage-{number}"));
        let triggers = std::mem::take(&mut stage.settings.on_build);
        for trigger in triggers {
            let instruction = Instruction::read(&trigger).map_err(|problem| {
                at(
                    planned.span,
                    format!("`ONBUILD {trigger}`: {}", problem.message),
                )
            })?;
            let step = Step {
                span: planned.span,
                text: trigger,
                instruction,
            };
            let label = format!("[{name}] ONBUILD {}", step.text);
            self.step(number, &mut stage, &step, label)?;
        }
        let count = planned.steps.len();
        for (at, step) in planned.steps.iter().enumerate() {
            let label = format!("[{name} {}/{count}] {}", at + 1, step.text);
            self.step(number, &mut stage, step, label)?;
        }
        if self.whole.contains(&number) {
            self.make(&mut stage)?;
        }
        self.stages.insert(number, stage);
        self.last = number;
        Ok(())
    }

    /// Returns the result of the last stage.
    pub(super) fn into_last(mut self) -> Last {
        let stage = self.stages.remove(&self.last).unwrap_or_default();
        Last {
            tree: stage.tree,
            settings: stage.settings,
            warnings: self.warnings,
            taken: self.taken.into_iter().collect(),
        }
    }

    fn begin(&mut self, number: usize, planned: &text::Stage) -> Result<Stage, ExecuteError> {
        let name = variables::expanded(self.recipe.dockerfile, &planned.from.image, &self.global)
            .map_err(|error| at(planned.from.span, error))?;
        if name.is_empty() {
            return Err(at(planned.from.span, "the name of the image is empty"));
        }
        let mut stage = match plan::base(self.recipe.dockerfile, number, &name) {
            Origin::Scratch => Stage::default(),
            Origin::Stage(before) => self.base_stage(before)?,
            Origin::Image(image) => {
                let platform = planned.from.platform.as_deref().map(|platform| {
                    variables::expanded(self.recipe.dockerfile, platform, &self.global)
                });
                let platform = platform
                    .transpose()
                    .map_err(|error| at(planned.span, error))?;
                let platform = platform.as_deref().and_then(|it| it.strip_prefix("linux/"));
                let architecture = platform.unwrap_or(self.recipe.architecture).to_owned();
                let span = planned.from.span;
                Stage {
                    settings: self.image(&image, &architecture, span)?.settings.clone(),
                    base: Base::Image {
                        name: image,
                        architecture,
                        span,
                    },
                    ..Stage::default()
                }
            }
        };
        // Arguments of an earlier stage are inherited; an image has none.
        stage.own_cmd = false;
        if stage.settings.variable("PATH").is_none() {
            stage.settings.set_variable("PATH", DEFAULT_PATH);
        }
        Ok(stage)
    }

    /// Returns the stage that a `FROM` names. One that is used only there is moved, not cloned.
    fn base_stage(&mut self, number: usize) -> Result<Stage, ExecuteError> {
        if !self.stages.contains_key(&number) {
            self.stage(number)?;
        }
        let stage = if self.whole.contains(&number) {
            self.stages.get(&number).cloned()
        } else {
            self.stages.remove(&number)
        };
        Ok(stage.unwrap_or_default())
    }

    /// Returns an image; requests each only once.
    pub(super) fn image(
        &mut self,
        name: &str,
        architecture: &str,
        span: Span,
    ) -> Result<Rc<BaseImage>, ExecuteError> {
        let key = format!("{architecture} {name}");
        if let Some(known) = self.images.get(&key) {
            return Ok(Rc::clone(known));
        }
        let image = self.asked(name, architecture, span)?;
        let settings = Settings::of_image(&image.config).map_err(|error| {
            at(
                span,
                format!("the image `{name}` has no readable configuration: {error}"),
            )
        })?;
        let image = Rc::new(BaseImage {
            id: image.id,
            settings,
            tree: RefCell::default(),
        });
        self.images.insert(key, Rc::clone(&image));
        Ok(image)
    }

    fn asked(&self, name: &str, architecture: &str, span: Span) -> Result<Image<'a>, ExecuteError> {
        let image = self.recipe.images.image(name, architecture);
        image.map_err(|error| {
            let what = format!("cannot use the image `{name}`: {}", chain(&*error));
            at(span, what)
        })
    }

    /// Returns the files of an image; reads each only once.
    pub(super) fn unpacked_image(
        &mut self,
        known: &BaseImage,
        name: &str,
        architecture: &str,
        span: Span,
    ) -> Result<Tree, ExecuteError> {
        if let Some(tree) = &*known.tree.borrow() {
            return Ok(tree.clone());
        }
        (self.tell)(Progress::Step(format!("reading the image {name}")));
        let mut image = self.asked(name, architecture, span)?;
        let (tree, _) = self.unpacked(|unpacker, _| {
            while let Some(mut layer) = (image.layers)() {
                unpacker.layer(&layer.name, &mut layer.tar)?;
            }
            Ok(())
        })?;
        *known.tree.borrow_mut() = Some(tree.clone());
        Ok(tree)
    }

    /// Reads tarballs into a tree whose contents are in an unnamed file. `work` gets the number of the
    /// last file; the number of the last one that it added is returned.
    pub(super) fn unpacked(
        &mut self,
        work: impl FnOnce(&mut Unpacker<'_>, u64) -> Result<(), Error>,
    ) -> Result<(Tree, u64), ExecuteError> {
        let file = self.unnamed()?;
        let reading = file
            .try_clone()
            .map_err(FileError::on("open", self.recipe.scratch))
            .map_err(Error::from)?;
        let options = Options::default();
        let mut silent = |_| {};
        let stream = cpio::Stream::new(&file, &options);
        let mut unpacker = Unpacker::new(stream, Rc::new(reading), &mut self.warnings, &mut silent);
        work(&mut unpacker, self.numbers)?;
        unpacker
            .into_tree()
            .map_err(|error| crate::build::of_writing(self.recipe.scratch, error).into())
    }

    pub(super) fn unnamed(&self) -> Result<File, ExecuteError> {
        let scratch = self.recipe.scratch;
        tempfile::tempfile_in(scratch)
            .map_err(|error| Error::from(FileError::on("write", scratch)(error)).into())
    }

    /// Evaluates an instruction; one that changes files is noted.
    fn step(
        &mut self,
        number: usize,
        stage: &mut Stage,
        step: &Step,
        label: String,
    ) -> Result<(), ExecuteError> {
        match &step.instruction {
            Instruction::Add(_) | Instruction::Copy(_) | Instruction::Run(_) => {
                self.note_taken(stage, step)?;
                stage.note(number, step, label);
                Ok(())
            }
            Instruction::Arg(pairs) => {
                for pair in pairs {
                    let default = pair.value.as_ref();
                    let default = default
                        .map(|word| self.word(stage, word, pair.span))
                        .transpose()?;
                    stage
                        .arguments
                        .declare(pair, default, self.recipe, &self.global);
                }
                Ok(())
            }
            Instruction::Env(pairs) => {
                // All of them see the variables from before the instruction.
                let set = self.pairs(stage, pairs)?;
                for (name, value) in set {
                    stage.settings.set_variable(&name, &value);
                }
                Ok(())
            }
            Instruction::Label(pairs) => {
                let set = self.pairs(stage, pairs)?;
                stage.settings.labels.extend(set);
                Ok(())
            }
            Instruction::Cmd(command) => {
                stage.settings.cmd = self.words(stage, command);
                stage.own_cmd = true;
                Ok(())
            }
            Instruction::Entrypoint(command) => {
                stage.settings.entrypoint = self.words(stage, command);
                // The arguments of another entry point are not this one's.
                if !stage.own_cmd {
                    stage.settings.cmd.clear();
                }
                Ok(())
            }
            Instruction::Shell(words) => {
                stage.settings.shell.clone_from(words);
                Ok(())
            }
            Instruction::User(word) => {
                stage.settings.user = self.word(stage, word, step.span)?;
                Ok(())
            }
            Instruction::Workdir(word) => {
                let word = self.word(stage, word, step.span)?;
                let directory = absolute(&stage.settings.working_dir, &word);
                let bare = directory.trim_end_matches('/');
                let bare = if bare.is_empty() { "/" } else { bare };
                bare.clone_into(&mut stage.settings.working_dir);
                stage.note(number, step, label);
                Ok(())
            }
            Instruction::Onbuild(text) => {
                stage.settings.on_build.push(text.clone());
                Ok(())
            }
            Instruction::Expose(_)
            | Instruction::Healthcheck(_)
            | Instruction::Maintainer(_)
            | Instruction::StopSignal(_)
            | Instruction::Volume(_) => Ok(()),
        }
    }

    pub(super) fn word(
        &self,
        stage: &Stage,
        word: &str,
        span: Span,
    ) -> Result<String, ExecuteError> {
        let look = |name: &str| stage.arguments.value(name, &stage.settings);
        expand::word(word, self.recipe.dockerfile.escape, &look).map_err(|error| at(span, error))
    }

    fn pairs(&self, stage: &Stage, pairs: &[Pair]) -> Result<Vec<(String, String)>, ExecuteError> {
        let mut set = Vec::new();
        for pair in pairs {
            let name = self.word(stage, &pair.name, pair.span)?;
            let value = self.word(stage, pair.value.as_deref().unwrap_or_default(), pair.span)?;
            set.push((name, value));
        }
        Ok(set)
    }

    #[expect(clippy::unused_self, reason = "beside its brothers")]
    fn words(&self, stage: &Stage, command: &text::Command) -> Vec<String> {
        match command {
            text::Command::Exec(words) => words.clone(),
            text::Command::Shell(line) => shell(&stage.settings, line),
        }
    }

    /// Returns the files of the stage or image that a `from=` names.
    pub(super) fn origin(
        &mut self,
        number: usize,
        _: &Stage,
        name: &str,
        span: Span,
    ) -> Result<Stage, ExecuteError> {
        match plan::origin(self.recipe.dockerfile, number, name) {
            Origin::Scratch => Ok(Stage::default()),
            Origin::Stage(before) => {
                // The plan does not contain those that only a trigger or a variable names.
                if !self.stages.contains_key(&before) {
                    self.stage(before)?;
                }
                let mut stage = self.stages.remove(&before).unwrap_or_default();
                self.make(&mut stage)?;
                let tree = stage.tree.clone();
                self.stages.insert(before, stage);
                Ok(Stage {
                    tree,
                    ..Stage::default()
                })
            }
            Origin::Image(image) => {
                let architecture = self.recipe.architecture.to_owned();
                let (tree, _) = self.image_files(&image, &architecture, span)?;
                Ok(Stage {
                    tree,
                    ..Stage::default()
                })
            }
        }
    }

    pub(super) fn context(&mut self) -> Result<Rc<Tree>, ExecuteError> {
        if let Some(context) = &self.context {
            return Ok(Rc::clone(context));
        }
        let tree = directory::kept(self.recipe.context, self.recipe.ignore, &|_, _| {})?;
        let tree = Rc::new(tree);
        self.context = Some(Rc::clone(&tree));
        Ok(tree)
    }

    pub(super) fn directory(&self, prefix: &str) -> Result<TempDir, ExecuteError> {
        let scratch = self.recipe.scratch;
        tempfile::Builder::new()
            .prefix(prefix)
            .tempdir_in(scratch)
            .map_err(|error| Error::from(FileError::on("write", scratch)(error)).into())
    }
}

impl Stage {
    /// Notes an instruction that changes files, with its settings and arguments.
    fn note(&mut self, number: usize, step: &Step, label: String) {
        self.ops.push(Rc::new(Op {
            number,
            label,
            step: step.clone(),
            settings: self.settings.clone(),
            arguments: self.arguments.clone(),
        }));
    }
}

/// Returns the arguments that run a line with the shell.
pub(super) fn shell(settings: &Settings, line: &str) -> Vec<String> {
    let mut words = settings.shell.clone();
    if words.is_empty() {
        words = vec!["/bin/sh".to_owned(), "-c".to_owned()];
    }
    words.push(line.to_owned());
    words
}

/// Returns the absolute path of a path relative to a directory: cleaned, with its final slash.
pub(super) fn absolute(directory: &str, path: &str) -> String {
    let joined = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{directory}/{path}")
    };
    let clean = text::patterns::clean(&joined);
    let marked = path.len() > 1 && (path.ends_with('/') || path.ends_with("/."));
    let marked = marked || path == "." || path == "./";
    match clean.as_str() {
        "" => "/".to_owned(),
        clean if marked => format!("/{clean}/"),
        clean => format!("/{clean}"),
    }
}

pub(super) fn at(span: Span, what: impl std::fmt::Display) -> ExecuteError {
    ExecuteError::Text(Box::new(Problem::error(what.to_string()).at(span)))
}
