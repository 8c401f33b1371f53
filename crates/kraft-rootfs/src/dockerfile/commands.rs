//! `RUN` of a stage: the tree becomes files, a command changes them, and they become the tree.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use kraft_core::dockerfile::{self as text, MountKind, Step};
use kraft_core::problem::Problem;
use kraft_sys::fs::Error as FileError;
use tempfile::TempDir;

use super::run::{Command, Mount, Network, RunFault};
use super::stage::{Kitchen, Stage, absolute, at, shell};
use super::{Fault, Told, disk};
use crate::Error;

/// So many lines of a command are kept for the case that it fails.
const KEPT_LINES: usize = 50;
/// Where scripts with an interpreter of their own stand while they run (as BuildKit has them).
const SCRIPTS: &str = "/dev/pipes";

impl Kitchen<'_, '_> {
    pub(super) fn run(
        &mut self,
        number: usize,
        stage: &mut Stage,
        step: &Step,
        run: &text::Run,
    ) -> Result<(), Fault> {
        let Some(runner) = self.recipe.runner else {
            return Err(at(step.span, "a `RUN` needs a builder that runs commands"));
        };
        let root = if let Some(root) = stage.disk.take() {
            root
        } else {
            let root = self.directory("root")?;
            disk::lay_out(&stage.tree, root.path(), runner.keeps_owners())?;
            Rc::new(root)
        };
        let mut keepers = Vec::new();
        let mut mounts = self.mounts(number, stage, step, run, &mut keepers)?;
        let words = self.words_of(stage, step, run, &mut mounts, &mut keepers)?;
        let command = Command {
            words,
            environment: stage.arguments.environment(&stage.settings, self.recipe),
            directory: absolute(&stage.settings.working_dir, ""),
            user: stage.settings.user.clone(),
            network: match run.network.as_deref() {
                Some("none") => Network::None,
                _ => Network::Host,
            },
            mounts,
        };
        let mut lines: Vec<String> = Vec::new();
        let tell = &mut *self.tell;
        let ran = runner.run(root.path(), &command, &mut |line| {
            if lines.len() == KEPT_LINES {
                lines.remove(0);
            }
            lines.push(line.to_owned());
            tell(Told::Line(line.to_owned()));
        });
        match ran {
            Ok(()) => {}
            Err(fault @ RunFault::Failed { .. }) => {
                let problem = Problem::error(fault.to_string()).at(step.span);
                return Err(Fault::Command {
                    problem: Box::new(problem),
                    lines,
                });
            }
            Err(fault @ RunFault::Host(_)) => return Err(at(step.span, fault)),
        }
        let before = std::mem::take(&mut stage.tree);
        stage.tree = disk::take_back(
            root.path(),
            &before,
            runner.keeps_owners(),
            &mut self.warnings,
        )?;
        self.kept.push(Rc::clone(&root));
        stage.disk = Some(root);
        Ok(())
    }

    /// Returns the words of a command with its here-documents. Those are for the shell, which
    /// expands variables in them; a script that names its interpreter becomes a program.
    fn words_of(
        &mut self,
        stage: &Stage,
        step: &Step,
        run: &text::Run,
        mounts: &mut Vec<Mount>,
        keepers: &mut Vec<TempDir>,
    ) -> Result<Vec<String>, Fault> {
        let words = match (&run.command, run.documents.as_slice()) {
            (text::Command::Shell(line), [script]) if is_only_document(line) => {
                if script.text.starts_with("#!") {
                    let dir = self.directory("script")?;
                    let source = dir.path().join("script");
                    small_file(&source, script.text.as_bytes(), 0o755)?;
                    keepers.push(dir);
                    let target = format!("{SCRIPTS}/{}", tame(&script.name));
                    mounts.push(Mount {
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
        keepers: &mut Vec<TempDir>,
    ) -> Result<Vec<Mount>, Fault> {
        let mut mounts = Vec::new();
        for mount in &run.mounts {
            let target = mount.target.as_deref().unwrap_or_default();
            let target = self.word(stage, target, step.span)?;
            let target_path = absolute(&stage.settings.working_dir, &target);
            match mount.kind {
                MountKind::Secret => {
                    let id = mount
                        .id
                        .as_deref()
                        .unwrap_or_else(|| target.rsplit('/').next().unwrap_or_default());
                    let Some(bytes) = self.recipe.secrets.get(id) else {
                        if mount.required {
                            return Err(at(step.span, format!("the secret `{id}` is not given")));
                        }
                        continue;
                    };
                    let dir = self.directory("secret")?;
                    let file = dir.path().join("secret");
                    small_file(&file, bytes, mount.mode.unwrap_or(0o400))?;
                    keepers.push(dir);
                    mounts.push(Mount {
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
                    mounts.push(Mount {
                        source,
                        target: target_path,
                        read_only: mount.read_only.unwrap_or(false),
                    });
                }
                MountKind::Tmpfs => {
                    let dir = self.directory("tmpfs")?;
                    mounts.push(Mount {
                        source: dir.path().to_owned(),
                        target: target_path,
                        read_only: false,
                    });
                    keepers.push(dir);
                }
                MountKind::Bind => {
                    let tree = match &mount.from {
                        None => self.context()?,
                        Some(name) => Rc::new(self.origin(number, stage, name, step.span)?.tree),
                    };
                    let dir = self.directory("bind")?;
                    disk::lay_out(&tree, dir.path(), false)?;
                    let below = text::patterns::clean(mount.source.as_deref().unwrap_or_default());
                    mounts.push(Mount {
                        source: dir.path().join(below),
                        target: target_path,
                        read_only: mount.read_only.unwrap_or(true),
                    });
                    keepers.push(dir);
                }
                MountKind::Ssh => {
                    return Err(at(step.span, "`RUN --mount=type=ssh` needs a daemon"));
                }
            }
        }
        Ok(mounts)
    }
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

/// Returns a text as one name of a file.
fn tame(id: &str) -> String {
    let tame = |c: char| {
        if c.is_ascii_alphanumeric() || "-_".contains(c) {
            c
        } else {
            '_'
        }
    };
    id.chars().map(tame).take(200).collect()
}
