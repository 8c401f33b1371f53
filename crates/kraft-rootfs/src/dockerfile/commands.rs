//! `RUN` of a stage: writes the tree to disk, runs the command, and reads the changed files back.

use kraft_core::dockerfile::{self as text, Step};
use kraft_core::problem::Problem;

use super::index::Capture;
use super::layers::{Ground, Layers, NewLayer, ROOT};
use super::mounts::{self, Ready};
use super::run::{Command, Mount, MountSource, Network, Root, RunError, Runner};
use super::stage::{Executor, Stage, absolute, at, shell};
use super::{ExecuteError, Progress, disk};
use crate::Error;

/// Number of lines at the end of a command's output that are kept for its error.
const KEPT_LINES: usize = 50;
/// Directory of scripts with their own interpreter while they run, as in BuildKit.
const SCRIPTS: &str = "/dev/pipes";

/// Maximum number of layers of one mount: its options must fit in one page.
const MOST_LAYERS: usize = 64;
/// Work directory of an overlay, beside the root of a new layer.
const WORK: &str = "work";
/// Mount point of an overlay.
const MERGED: &str = "merged";

impl Executor<'_, '_> {
    pub(super) fn run(
        &mut self,
        number: usize,
        stage: &mut Stage,
        step: &Step,
        run: &text::Run,
    ) -> Result<(), ExecuteError> {
        let (Some(runner), Some(layers)) = (self.recipe.runner, self.recipe.layers) else {
            return Err(at(step.span, "a `RUN` needs a builder that runs commands"));
        };
        let mut ready = self.mounts(number, stage, step, run)?;
        let words = self.words_of(stage, step, run, &mut ready)?;
        let mut environment = stage.arguments.environment(&stage.settings, self.recipe);
        environment.extend(ready.environment);
        let command = Command {
            words,
            environment,
            directory: absolute(&stage.settings.working_dir, ""),
            user: stage.settings.user.clone(),
            network: run.network.as_deref().map(|name| match name {
                "none" => Network::None,
                "host" => Network::Host,
                _ => Network::Own,
            }),
            mounts: ready.mounts,
        };
        let ids = runner.ids();
        let new = layers.begin()?;
        disk::give_to_root(ids, &new.root())?;
        let mut lines = Vec::new();
        let mut flat = self.flat || !(1..=MOST_LAYERS).contains(&stage.ground.layers.len());
        let mut ran = Err(RunError::NoOverlay(String::new()));
        if !flat {
            let root = layered(layers, &stage.ground, &new)?;
            ran = self.run_command(runner, &root, &command, &mut lines);
            new.remove(WORK)?;
            new.remove(MERGED)?;
        }
        if let Err(RunError::NoOverlay(_)) = ran {
            self.flat |= !flat;
            flat = true;
            let root = new.root();
            disk::lay_out(&stage.tree, &root, ids)?;
            disk::preserve(&stage.tree, &root, layers.dir())?;
            ran = self.run_command(runner, &Root::Directory(root), &command, &mut lines);
        }
        match ran {
            Ok(()) => {}
            Err(fault @ RunError::Failed { .. }) => {
                let problem = Problem::error(fault.to_string()).at(step.span);
                return Err(ExecuteError::Command {
                    problem: Box::new(problem),
                    lines,
                });
            }
            Err(fault @ (RunError::Host(_) | RunError::NoOverlay(_))) => {
                let problem = Problem::error(fault.to_string()).at(step.span);
                return Err(ExecuteError::Host(Box::new(problem)));
            }
        }
        let how = Capture {
            ids,
            before: &stage.tree,
            complete: flat,
            devices: flat,
        };
        let layer = layers.finish(&new, &how)?;
        self.add_layer(stage, layer)
    }

    /// Runs a command; `lines` gets the last lines of its output.
    fn run_command(
        &mut self,
        runner: &dyn Runner,
        root: &Root,
        command: &Command,
        lines: &mut Vec<String>,
    ) -> Result<(), RunError> {
        let tell = &mut *self.tell;
        runner.run(root, command, &mut |line| {
            if lines.len() == KEPT_LINES {
                lines.remove(0);
            }
            lines.push(line.to_owned());
            tell(Progress::Line(line.to_owned()));
        })
    }

    /// Returns the arguments of a command with its here-documents. Those are for the shell, which
    /// expands variables in them; a script that names its interpreter becomes a program.
    fn words_of(
        &mut self,
        stage: &Stage,
        step: &Step,
        run: &text::Run,
        ready: &mut Ready,
    ) -> Result<Vec<String>, ExecuteError> {
        let words = match (&run.command, run.documents.as_slice()) {
            (text::Command::Shell(_), [script, ..]) if run.is_document => {
                if script.text.starts_with("#!") {
                    let dir = self.directory("script")?;
                    let source = dir.path().join("script");
                    mounts::write_small(&source, script.text.as_bytes(), 0o755)?;
                    ready.keepers.push(dir);
                    let target = format!("{SCRIPTS}/{}", mounts::file_name(&script.name));
                    ready.mounts.push(Mount {
                        source: MountSource::Path(source),
                        target: target.clone(),
                        read_only: true,
                    });
                    vec![target]
                } else {
                    shell(&stage.settings, &script.text)
                }
            }
            (text::Command::Shell(line), documents) => {
                let mut line = line.clone();
                for document in documents {
                    line.push('\n');
                    line.push_str(&document.text);
                    line.push_str(&document.name);
                }
                shell(&stage.settings, &line)
            }
            (text::Command::Exec(words), _) => words.clone(),
        };
        if words.iter().any(|word| word.contains('\0')) {
            return Err(at(step.span, "a word of the command holds a zero byte"));
        }
        Ok(words)
    }
}

/// Returns the overlay of a new layer over the layers of a stage.
fn layered(layers: &Layers, ground: &Ground, new: &NewLayer) -> Result<Root, Error> {
    new.directory(WORK)?;
    new.directory(MERGED)?;
    let name = new.name();
    let lower = ground.layers.iter().rev();
    Ok(Root::Layers {
        dir: layers.dir().to_owned(),
        lower: lower.map(|layer| format!("{}/{ROOT}", layer.id)).collect(),
        upper: format!("{name}/{ROOT}"),
        work: format!("{name}/{WORK}"),
        at: format!("{name}/{MERGED}"),
    })
}
