//! Executes the noted instructions of a stage when its files are needed, beginning at the last
//! state that is cached.

use std::collections::BTreeSet;
use std::rc::Rc;

use kraft_core::dockerfile::{self as text, Instruction, MountKind, Source, Step, patterns};
use kraft_core::problem::Span;

use super::layers::{Ground, Layer, Layers};
use super::plan::{self, Origin};
use super::settings::Settings;
use super::stage::{Executor, Stage, absolute, at};
use super::variables::Arguments;
use super::{ExecuteError, Progress, Runner, difference, lookup, mounts};
use crate::cache_key::{self, Digest, Key};
use crate::ids::IdMap;
use crate::tree::Tree;

/// An instruction that changes files, with the settings and arguments it sees.
#[derive(Debug)]
pub(super) struct Op {
    /// The number of its stage.
    pub(super) number: usize,
    /// The text shown as progress.
    pub(super) label: String,
    pub(super) step: Step,
    pub(super) settings: Settings,
    pub(super) arguments: Arguments,
}

/// What the first stage of a chain of `FROM` is built on.
#[derive(Clone, Debug, Default)]
pub(super) enum Base {
    /// Nothing.
    #[default]
    Scratch,
    /// An image.
    Image {
        name: String,
        architecture: String,
        span: Span,
    },
}

impl Op {
    fn runs(&self) -> bool {
        matches!(self.step.instruction, Instruction::Run(_))
    }
}

impl Executor<'_, '_> {
    /// Executes the instructions of a stage that were not executed yet.
    pub(super) fn make(&mut self, stage: &mut Stage) -> Result<(), ExecuteError> {
        self.find_kept(stage)?;
        let first = match stage.made {
            Some(made) => made,
            None => self.make_base(stage)?,
        };
        for number in first..stage.ops.len() {
            let Some(op) = stage.ops.get(number).map(Rc::clone) else {
                break;
            };
            if op.runs() && self.ground(stage)? {
                self.keep(stage, number)?;
            }
            self.execute(stage, &op)?;
            if op.runs() {
                self.keep(stage, number + 1)?;
            }
            stage.made = Some(number + 1);
        }
        Ok(())
    }

    /// Loads the last cached state of a stage, if there is one.
    fn find_kept(&mut self, stage: &mut Stage) -> Result<(), ExecuteError> {
        let first = stage.made.unwrap_or_default();
        let last = stage.ops.iter().rposition(|op| op.runs());
        let (Some(last), Some(layers), true) = (last, self.recipe.layers, self.recipe.reuse) else {
            return Ok(());
        };
        for done in (first + 1..=last + 1).rev() {
            let after = stage.ops.get(done - 1).is_some_and(|op| op.runs());
            let before = stage.ops.get(done).is_some_and(|op| op.runs());
            if !after && !before {
                continue;
            }
            let key = self.key(stage, done)?;
            let Some(ground) = layers.find(&key, &mut self.numbers, &mut self.warnings) else {
                continue;
            };
            for op in stage.ops.iter().take(done).skip(first) {
                (self.tell)(Progress::Step(format!("CACHED {}", op.label)));
            }
            stage.stand_on(ground, done);
            break;
        }
        Ok(())
    }

    /// Loads the base of a stage; returns 0, the number of executed instructions.
    fn make_base(&mut self, stage: &mut Stage) -> Result<usize, ExecuteError> {
        let runs = stage.ops.iter().any(|op| op.runs());
        if let Base::Image {
            name,
            architecture,
            span,
        } = &stage.base
        {
            let (tree, ground) = self.image_files(name, architecture, *span)?;
            (stage.tree, stage.ground) = (tree, ground);
            // A layer of its own, so that no later build has to unpack the image again.
            if runs && self.ground(stage)? {
                self.keep(stage, 0)?;
            }
        }
        stage.made = Some(0);
        Ok(0)
    }

    fn execute(&mut self, stage: &mut Stage, op: &Op) -> Result<(), ExecuteError> {
        (self.tell)(Progress::Step(op.label.clone()));
        let settings = std::mem::replace(&mut stage.settings, op.settings.clone());
        let arguments = std::mem::replace(&mut stage.arguments, op.arguments.clone());
        let step = &op.step;
        match &step.instruction {
            Instruction::Add(copy) => self.copy(op.number, stage, step, copy, true)?,
            Instruction::Copy(copy) => self.copy(op.number, stage, step, copy, false)?,
            Instruction::Run(run) => self.run(op.number, stage, step, run)?,
            Instruction::Workdir(_) => stage.make_working_dir(step.span)?,
            _ => {}
        }
        (stage.settings, stage.arguments) = (settings, arguments);
        Ok(())
    }

    /// Writes the files of a stage that are in no layer to a new one; returns whether there were any.
    fn ground(&mut self, stage: &mut Stage) -> Result<bool, ExecuteError> {
        let (Some(layers), Some(runner)) = (self.recipe.layers, self.recipe.runner) else {
            return Ok(false);
        };
        let ids = runner.ids();
        let Some(layer) = difference::layer(layers, &stage.ground, &stage.tree, ids)? else {
            return Ok(false);
        };
        self.add_layer(stage, layer)?;
        Ok(true)
    }

    /// Adds a layer to a stage, over those that it has; a complete one replaces them.
    pub(super) fn add_layer(
        &mut self,
        stage: &mut Stage,
        layer: Layer,
    ) -> Result<(), ExecuteError> {
        let mut ground = std::mem::take(&mut stage.ground);
        if layer.index.complete {
            ground = Ground::default();
        }
        layer.put_over(&mut ground.tree, &mut self.numbers, &mut self.warnings)?;
        ground.layers.push(Rc::new(layer));
        stage.tree = ground.tree.clone();
        stage.ground = ground;
        Ok(())
    }

    /// Records the layers of a stage as the state after `done` instructions.
    fn keep(&mut self, stage: &mut Stage, done: usize) -> Result<(), ExecuteError> {
        if let Some(layers) = self.recipe.layers {
            let key = self.key(stage, done)?;
            layers.keep(&key, &stage.ground);
        }
        Ok(())
    }

    /// Returns the files of an image, and their layers if they are cached.
    pub(super) fn image_files(
        &mut self,
        name: &str,
        architecture: &str,
        span: Span,
    ) -> Result<(Tree, Ground), ExecuteError> {
        let image = self.image(name, architecture, span)?;
        let key = self.image_key(&image.id);
        let find = |layers: &Layers, numbers: &mut u64| layers.find(&key, numbers, &mut Vec::new());
        if let Some(layers) = self.recipe.layers
            && let Some(ground) = find(layers, &mut self.numbers)
        {
            return Ok((ground.tree.clone(), ground));
        }
        Ok((
            self.unpacked_image(&image, name, architecture, span)?,
            Ground::default(),
        ))
    }

    /// Returns the key of the state after `done` instructions.
    fn key(&mut self, stage: &mut Stage, done: usize) -> Result<Digest, ExecuteError> {
        while stage.keys.len() <= done {
            let op = stage.keys.len().checked_sub(1);
            let op = op.and_then(|number| stage.ops.get(number));
            let key = match (stage.keys.last(), op) {
                (Some(below), Some(op)) => {
                    let (below, op) = (*below, Rc::clone(op));
                    self.op_key(below, &op)?
                }
                _ => match &stage.base {
                    Base::Scratch => self.image_key("scratch"),
                    Base::Image {
                        name,
                        architecture,
                        span,
                    } => {
                        let image = self.image(name, architecture, *span)?;
                        self.image_key(&image.id)
                    }
                },
            };
            stage.keys.push(key);
        }
        Ok(stage.keys.get(done).copied().unwrap_or_default())
    }

    fn image_key(&self, id: &str) -> Digest {
        let runner = self.recipe.runner;
        // Files of layers have these ids.
        let root = runner.and_then(Runner::ids).map(IdMap::root);
        let network = runner.map(Runner::network);
        let key = Key::new("base").and(format!("{root:?} {network:?}"));
        key.and(self.recipe.architecture).and(id).digest()
    }

    fn op_key(&mut self, below: Digest, op: &Op) -> Result<Digest, ExecuteError> {
        let key = match &op.step.instruction {
            Instruction::Add(copy) => self.copy_key(Key::new("add").and(below), op, copy, true)?,
            Instruction::Copy(copy) => {
                self.copy_key(Key::new("copy").and(below), op, copy, false)?
            }
            Instruction::Run(run) => self.run_key(Key::new("run").and(below), op, run)?,
            _ => Key::new("workdir").and(below).and(&op.settings.working_dir),
        };
        Ok(key.digest())
    }

    /// Adds what a `COPY` or `ADD` reads. Its files are copied into an empty tree to find them.
    fn copy_key(
        &mut self,
        mut key: Key,
        op: &Op,
        copy: &text::Copy,
        adds: bool,
    ) -> Result<Key, ExecuteError> {
        let sees = Stage::seeing(op);
        let span = op.step.span;
        let to = self.word(&sees, &copy.destination, span)?;
        key.add(absolute(&op.settings.working_dir, &to));
        for word in [&copy.chown, &copy.chmod].into_iter().flatten() {
            key.add(self.word(&sees, word, span)?);
        }
        key.add(format!(
            "{} {} {} {:?}",
            copy.chown.is_some(),
            copy.link,
            copy.parents,
            copy.unpack
        ));
        let image = match &copy.from {
            Some(name) => {
                let name = self.word(&sees, name, span)?;
                self.id_of(op.number, &name, span)?
            }
            None => None,
        };
        for pattern in &copy.exclude {
            key.add(pattern);
        }
        for (number, source) in copy.sources.iter().enumerate() {
            if let Source::Path { word, span } = source {
                key.add(self.word(&sees, word, *span)?);
            }
            match (&image, source) {
                (Some(id), Source::Path { .. }) => key.add(id),
                (_, Source::Path { .. } | Source::Document(_)) => {
                    let one = text::Copy {
                        chown: None,
                        unpack: Some(false),
                        sources: vec![source.clone()],
                        destination: format!("/{number}/"),
                        ..copy.clone()
                    };
                    let mut taken = Stage::seeing(op);
                    self.copy(op.number, &mut taken, &op.step, &one, adds)?;
                    key.add(cache_key::of_tree(&taken.tree)?);
                }
            }
        }
        Ok(key)
    }

    /// Adds what a `RUN` reads: its text, variables and mounts. Secrets count by id.
    fn run_key(&mut self, mut key: Key, op: &Op, run: &text::Run) -> Result<Key, ExecuteError> {
        key.add(format!("{:?} {:?}", run.command, run.documents));
        key.add(format!("{:?} {:?}", run.network, run.security));
        key.add(format!("{:?}", op.settings.shell));
        key.add(format!("{:?}", op.arguments.seen(&op.settings)));
        key.add(&op.settings.working_dir);
        key.add(&op.settings.user);
        let sees = Stage::seeing(op);
        let span = op.step.span;
        for mount in &run.mounts {
            let options = self.mount_options(&sees, mount)?;
            key.add(format!("{:?} {options:?}", mount.from));
            let sees_files = match options.kind {
                MountKind::Bind => true,
                MountKind::Cache => mount.from.is_some(),
                MountKind::Secret | MountKind::Ssh | MountKind::Tmpfs => false,
            };
            if !sees_files {
                continue;
            }
            let tree = match &mount.from {
                None => self.context()?,
                Some(name) => {
                    if let Some(id) = self.id_of(op.number, name, span)? {
                        key.add(id);
                        continue;
                    }
                    Rc::new(self.origin(op.number, &sees, name, span)?.tree)
                }
            };
            key.add(cache_key::of_tree(&mounts::part(
                &tree,
                &options.source,
                span,
            )?)?);
        }
        Ok(key)
    }

    /// Returns the id of the image that a `from=` names; `None` for a stage.
    fn id_of(
        &mut self,
        number: usize,
        name: &str,
        span: Span,
    ) -> Result<Option<String>, ExecuteError> {
        let Origin::Image(name) = plan::origin(self.recipe.dockerfile, number, name) else {
            return Ok(None);
        };
        let architecture = self.recipe.architecture.to_owned();
        Ok(Some(self.image(&name, &architecture, span)?.id.clone()))
    }

    /// Records which paths of the context an instruction reads.
    pub(super) fn note_taken(&mut self, stage: &Stage, step: &Step) -> Result<(), ExecuteError> {
        let mut taken = BTreeSet::new();
        match &step.instruction {
            Instruction::Add(copy) | Instruction::Copy(copy) if copy.from.is_none() => {
                for source in &copy.sources {
                    if let Source::Path { word, span } = source {
                        let word = self.word(stage, word, *span)?;
                        taken.insert(if copy.parents { way(&word) } else { word });
                    }
                }
            }
            Instruction::Run(run) => {
                for mount in &run.mounts {
                    let options = self.mount_options(stage, mount)?;
                    if options.kind == MountKind::Bind && mount.from.is_none() {
                        taken.insert(options.source);
                    }
                }
            }
            _ => {}
        }
        self.taken.extend(taken);
        Ok(())
    }
}

/// Returns the first directory of a source of `--parents`: it includes the directories below.
fn way(source: &str) -> String {
    let (root, pattern) = source.split_once("/./").unwrap_or(("", source));
    let pattern = patterns::clean(pattern);
    let first = pattern.split('/').next().unwrap_or_default();
    if patterns::has_wildcards(first) {
        return format!("{root}/");
    }
    format!("{root}/{first}")
}

impl Stage {
    /// Returns an empty stage with the settings and arguments that an instruction sees.
    fn seeing(op: &Op) -> Self {
        Self {
            settings: op.settings.clone(),
            arguments: op.arguments.clone(),
            ..Self::default()
        }
    }

    /// Sets the files of a stage to a cached state after `done` instructions.
    pub(super) fn stand_on(&mut self, ground: Ground, done: usize) {
        self.tree = ground.tree.clone();
        self.ground = ground;
        self.made = Some(done);
    }

    fn make_working_dir(&mut self, span: Span) -> Result<(), ExecuteError> {
        use crate::shown;
        use crate::tree::Node;
        let path = lookup::resolve(&self.tree, self.settings.working_dir.as_bytes(), true)
            .map_err(|_| at(span, "links form a loop"))?;
        if !path.is_empty() && !self.tree.get(&path).is_some_and(Node::is_directory) {
            self.tree
                .insert(&path, Node::implied_directory())
                .map_err(|error| at(span, format!("cannot create `{}`: {error}", shown(&path))))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_take_all_from_their_first_directory_on() {
        for (source, first) in [
            ("a/b/c", "/a"),
            ("./a/b", "/a"),
            ("/a", "/a"),
            ("**/x", "/"),
            ("*/x", "/"),
            ("a/b/./c/d", "a/b/c"),
            ("a/./*/x", "a/"),
            ("a*/./b/c", "a*/b"),
        ] {
            assert_eq!(way(source), first, "{source}");
        }
    }
}
