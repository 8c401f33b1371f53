//! `RUN` of a stage: the tree becomes files, a command changes them, and they become the tree.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use kraft_core::dockerfile::{self as text, MountKind, Step};
use kraft_core::problem::{Problem, Span};
use kraft_sys::fs::Error as FileError;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::index::Capture;
use super::layers::{Ground, Layers, NewLayer, ROOT};
use super::run::{Command, Mount, Network, Root, RunFault, Runner};
use super::stage::{Kitchen, Stage, absolute, at, shell};
use super::{Fault, Told, disk, lookup};
use crate::tree::{Node, Tree};
use crate::{Error, shown};

/// So many lines of a command are kept for the case that it fails.
const KEPT_LINES: usize = 50;
/// Where scripts with an interpreter of their own stand while they run (as BuildKit has them).
const SCRIPTS: &str = "/dev/pipes";

/// More layers are not put over each other: their names have to fit one page.
const MOST_LAYERS: usize = 64;
/// What an overlay needs, beside the root of a new layer.
const WORK: &str = "work";
/// Where it appears.
const MERGED: &str = "merged";
/// The name of what is mounted, in a directory of its own.
const BOUND: &str = "bound";

/// What a command has besides its root.
#[derive(Debug, Default)]
struct Ready {
    mounts: Vec<Mount>,
    /// Secrets that are variables. Never printed: [`Command`] holds them, and nobody shows one.
    environment: Vec<(String, String)>,
    /// The sources of the mounts, for as long as the command runs.
    keepers: Vec<TempDir>,
}

impl Kitchen<'_, '_> {
    pub(super) fn run(
        &mut self,
        number: usize,
        stage: &mut Stage,
        step: &Step,
        run: &text::Run,
    ) -> Result<(), Fault> {
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
            network: match run.network.as_deref() {
                Some("none") => Network::None,
                _ => Network::Host,
            },
            mounts: ready.mounts,
        };
        let new = layers.begin()?;
        let mut lines = Vec::new();
        let mut flat = self.flat || !(1..=MOST_LAYERS).contains(&stage.ground.layers.len());
        let mut ran = Err(RunFault::NoOverlay(String::new()));
        if !flat {
            let root = layered(layers, &stage.ground, &new)?;
            ran = self.run_command(runner, &root, &command, &mut lines);
            new.remove(WORK)?;
            new.remove(MERGED)?;
        }
        if let Err(RunFault::NoOverlay(_)) = ran {
            self.flat |= !flat;
            flat = true;
            let root = new.root();
            disk::lay_out(&stage.tree, &root, runner.keeps_owners())?;
            disk::preserve(&stage.tree, &root, layers.dir())?;
            ran = self.run_command(runner, &Root::Directory(root), &command, &mut lines);
        }
        match ran {
            Ok(()) => {}
            Err(fault @ RunFault::Failed { .. }) => {
                let problem = Problem::error(fault.to_string()).at(step.span);
                return Err(Fault::Command {
                    problem: Box::new(problem),
                    lines,
                });
            }
            Err(fault @ (RunFault::Host(_) | RunFault::NoOverlay(_))) => {
                let problem = Problem::error(fault.to_string()).at(step.span);
                return Err(Fault::Host(Box::new(problem)));
            }
        }
        let how = Capture {
            owners: runner.keeps_owners(),
            before: &stage.tree,
            complete: flat,
            devices: flat,
        };
        let layer = layers.finish(&new, &how)?;
        let mut ground = std::mem::take(&mut stage.ground);
        if flat {
            ground = Ground::default();
        }
        layer.put_over(&mut ground.tree, &mut self.numbers, &mut self.warnings)?;
        ground.layers.push(Rc::new(layer));
        stage.tree = ground.tree.clone();
        stage.ground = ground;
        Ok(())
    }

    /// Runs a command; `lines` are the last that it wrote.
    fn run_command(
        &mut self,
        runner: &dyn Runner,
        root: &Root,
        command: &Command,
        lines: &mut Vec<String>,
    ) -> Result<(), RunFault> {
        let tell = &mut *self.tell;
        runner.run(root, command, &mut |line| {
            if lines.len() == KEPT_LINES {
                lines.remove(0);
            }
            lines.push(line.to_owned());
            tell(Told::Line(line.to_owned()));
        })
    }

    /// Returns the words of a command with its here-documents. Those are for the shell, which
    /// expands variables in them; a script that names its interpreter becomes a program.
    fn words_of(
        &mut self,
        stage: &Stage,
        step: &Step,
        run: &text::Run,
        ready: &mut Ready,
    ) -> Result<Vec<String>, Fault> {
        let words = match (&run.command, run.documents.as_slice()) {
            (text::Command::Shell(line), [script]) if is_only_document(line) => {
                if script.text.starts_with("#!") {
                    let dir = self.directory("script")?;
                    let source = dir.path().join("script");
                    small_file(&source, script.text.as_bytes(), 0o755)?;
                    ready.keepers.push(dir);
                    let target = format!("{SCRIPTS}/{}", tame(&script.name));
                    ready.mounts.push(Mount {
                        source,
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

    /// Gets everything ready that is mounted while a command runs.
    fn mounts(
        &mut self,
        number: usize,
        stage: &Stage,
        step: &Step,
        run: &text::Run,
    ) -> Result<Ready, Fault> {
        let mut ready = Ready::default();
        for mount in &run.mounts {
            let target = mount.target.as_deref().unwrap_or_default();
            let target = self.word(stage, target, step.span)?;
            let target_path = absolute(&stage.settings.working_dir, &target);
            match mount.kind {
                MountKind::Secret => {
                    let id = mount
                        .id
                        .as_deref()
                        .or(target.rsplit('/').next().filter(|name| !name.is_empty()))
                        .or(mount.env.as_deref())
                        .unwrap_or_default();
                    let Some(bytes) = self.recipe.secrets.get(id) else {
                        if mount.required {
                            return Err(at(step.span, format!("the secret `{id}` is not given")));
                        }
                        continue;
                    };
                    if let Some(name) = &mount.env {
                        let value = String::from_utf8(bytes.clone());
                        let value = value.ok().filter(|value| !value.contains('\0'));
                        let Some(value) = value else {
                            let what = format!("the secret `{id}` is no text for a variable");
                            return Err(at(step.span, what));
                        };
                        ready.environment.push((name.clone(), value));
                        if mount.target.is_none() {
                            continue;
                        }
                    }
                    let dir = self.directory("secret")?;
                    let file = dir.path().join("secret");
                    small_file(&file, bytes, mount.mode.unwrap_or(0o400))?;
                    ready.keepers.push(dir);
                    ready.mounts.push(Mount {
                        source: file,
                        target: if target.is_empty() {
                            format!("/run/secrets/{id}")
                        } else {
                            target_path
                        },
                        read_only: true,
                    });
                }
                MountKind::Cache => {
                    let id = mount.id.clone().unwrap_or_else(|| target_path.clone());
                    let source = self.recipe.caches.join(tame(&id));
                    kraft_sys::fs::create_dir_all(&source, 0o755).map_err(Error::from)?;
                    ready.mounts.push(Mount {
                        source,
                        target: target_path,
                        read_only: mount.read_only.unwrap_or(false),
                    });
                }
                MountKind::Tmpfs => {
                    let dir = self.directory("tmpfs")?;
                    ready.mounts.push(Mount {
                        source: dir.path().to_owned(),
                        target: target_path,
                        read_only: false,
                    });
                    ready.keepers.push(dir);
                }
                MountKind::Bind => {
                    let tree = match &mount.from {
                        None => self.context()?,
                        Some(name) => Rc::new(self.origin(number, stage, name, step.span)?.tree),
                    };
                    let dir = self.directory("bind")?;
                    let source = mount.source.as_deref().unwrap_or_default();
                    let source = self.word(stage, source, step.span)?;
                    ready.mounts.push(Mount {
                        source: bound(&tree, &source, dir.path(), step.span)?,
                        target: target_path,
                        read_only: mount.read_only.unwrap_or(true),
                    });
                    ready.keepers.push(dir);
                }
                MountKind::Ssh => {
                    return Err(at(step.span, "`RUN --mount=type=ssh` needs a daemon"));
                }
            }
        }
        Ok(ready)
    }
}

/// Returns the layers of a stage below a new one.
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

/// Lays out what a path of a tree leads to, and nothing else, in an empty directory; returns where
/// it is. Links are followed inside the tree: on this host they would lead somewhere else.
fn bound(tree: &Tree, source: &str, dir: &Path, span: Span) -> Result<PathBuf, Fault> {
    disk::lay_out(&part(tree, source, span)?, dir, false)?;
    Ok(dir.join(BOUND))
}

/// Returns what a path of a tree leads to, under a name of its own.
pub(super) fn part(tree: &Tree, source: &str, span: Span) -> Result<Tree, Fault> {
    let path = lookup::resolve(tree, source.as_bytes(), true).map_err(|_| {
        at(
            span,
            format!("links on the way to `{source}` lead in a circle"),
        )
    })?;
    let node = match tree.get(&path) {
        Some(node) => node.clone(),
        None if path.is_empty() => Node::implied_directory(),
        None => return Err(at(span, format!("there is no `{source}` to mount"))),
    };
    let mut part = Tree::default();
    let mut put = |path: &[u8], node: Node| {
        let put = part.insert(path, node);
        put.map_err(|fault| at(span, format!("cannot mount `{}`: {fault}", shown(path))))
    };
    put(BOUND.as_bytes(), node)?;
    let skip = if path.is_empty() { 0 } else { path.len() + 1 };
    for (full, node) in tree.below(&path) {
        put(
            &lookup::join(BOUND.as_bytes(), full.get(skip..).unwrap_or_default()),
            node.clone(),
        )?;
    }
    Ok(part)
}

fn small_file(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let file = kraft_sys::fs::NewFile::with_mode(path, mode & 0o777)?;
    file.file()
        .write_all_at(bytes, 0)
        .map_err(FileError::on("write", path))?;
    Ok(file.commit()?)
}

/// Returns whether a line is nothing but the announcement of a here-document.
fn is_only_document(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("<<") && !line.contains(char::is_whitespace)
}

/// Returns a text as one name of a file, not the same for any two texts.
fn tame(id: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let shown: String = id.chars().filter(|c| plain(*c)).take(64).collect();
    if shown == id {
        return shown;
    }
    // Half of it is enough to keep names apart.
    let digest = Sha256::digest(id.as_bytes());
    let (half, _) = digest.split_first_chunk().unwrap_or((&[0; 16], &[]));
    let digest = u128::from_be_bytes(*half);
    format!("{shown}.{digest:032x}")
}
