//! The volumes of a project: named ones, and directories of this host.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kraft_core::compose::{Mount, MountKind, Service};
use kraft_core::mount::{Volume, same_place};
use kraft_core::problem::Problem;
use kraft_machine::{ANONYMOUS, Machines, VolumeError, VolumeRecord};
use kraft_sys::fs;

use super::definition::Definition;
use super::{Error, state};
use crate::context::Context;
use crate::machines;

impl Definition {
    /// Returns the name of a volume: its declared one, else that of the project and its key.
    pub fn volume(&self, key: &str) -> String {
        let declared = self.compose.volumes.iter().find(|one| one.key == key);
        match declared {
            Some(volume) if volume.name.is_some() || volume.external => {
                volume.name.clone().unwrap_or_else(|| volume.key.clone())
            }
            _ => format!("{}_{key}", self.project),
        }
    }

    /// Returns the names of the volumes that belong to the project.
    pub fn own_volumes(&self) -> Vec<String> {
        let own = self.compose.volumes.iter().filter(|one| !one.external);
        own.map(|one| self.volume(&one.key)).collect()
    }

    /// Returns what the machine of a service with this number mounts; nothing is made.
    ///
    /// # Errors
    ///
    /// If a volume is not declared, or something is not a directory.
    pub fn mounts(
        &self,
        ctx: &Context,
        service: &Service,
        number: u32,
    ) -> Result<Vec<Volume>, Error> {
        let volumes = machines::existing(ctx).volumes();
        let named = |name: &str, mount: &Mount| {
            let mounted = volumes.mount(name, mount.target.clone(), mount.read_only);
            mounted.map_err(kraft_machine::Error::from)
        };
        let mut mounts = Vec::new();
        for mount in &service.volumes {
            if self.is_file(ctx, mount) {
                // It is copied into the machine.
                continue;
            }
            let (destination, read_only) = (mount.target.clone(), mount.read_only);
            mounts.push(match mount.kind {
                MountKind::Bind => Volume {
                    name: None,
                    source: self.directory(ctx, mount)?,
                    destination,
                    read_only,
                },
                MountKind::Volume => {
                    self.check_volume(ctx, mount)?;
                    named(&self.volume(&mount.source), mount)?
                }
                MountKind::Anonymous => named(&self.anonymous(service, number, mount), mount)?,
                // The whole root filesystem is memory.
                MountKind::Memory => continue,
            });
        }
        // Each is mounted over the former.
        mounts.sort_by_key(|mount| mount.destination.matches('/').count());
        Ok(mounts)
    }

    /// Returns the name of a volume that has none in the files: the same one each time, so that a
    /// machine that is created again finds its data.
    fn anonymous(&self, service: &Service, number: u32, mount: &Mount) -> String {
        let digest = kraft_oci::digest::of(mount.target.as_bytes());
        let digest = digest.hex().get(..12).unwrap_or_default();
        match number {
            1 => format!("{}_{}_{digest}", self.project, service.name),
            _ => format!("{}_{}-{number}_{digest}", self.project, service.name),
        }
    }

    /// Returns a directory of this host.
    fn directory(&self, ctx: &Context, mount: &Mount) -> Result<PathBuf, Error> {
        let path = self.path(ctx, &mount.source);
        if path.exists() && !path.is_dir() {
            let message = format!("`{}` is not a directory", mount.source);
            let problem = Problem::error(message).at(mount.span);
            return Err(self.unsupported(problem.help("a machine gets directories and files")));
        }
        Ok(path)
    }

    fn check_volume(&self, ctx: &Context, mount: &Mount) -> Result<(), Error> {
        let mut declared = self.compose.volumes.iter();
        match declared.find(|one| one.key == mount.source) {
            None => {
                let message = format!("the volume `{}` is not declared", mount.source);
                let problem = Problem::error(message).at(mount.span);
                Err(self.unsupported(problem.help(format!(
                    "declare it at the end of the file: `volumes: {{{}: }}`; a directory begins with `./`",
                    mount.source
                ))))
            }
            Some(volume) if volume.external => {
                let name = self.volume(&volume.key);
                match machines::existing(ctx).volumes().get(&name) {
                    Ok(_) => Ok(()),
                    Err(VolumeError::NotFound { .. }) => {
                        let kind = "volume";
                        Err(Error::External { kind, name })
                    }
                    Err(error) => Err(kraft_machine::Error::from(error).into()),
                }
            }
            Some(_) => Ok(()),
        }
    }

    /// Returns the error that a part of the files cannot run on this host.
    pub(super) fn unsupported(&self, problem: Problem) -> Error {
        let (text, problem) = self.locate(problem);
        Error::Unsupported {
            text,
            problem: Box::new(problem),
        }
    }
}

/// Makes the volumes of a machine of a service that do not exist yet, and the directories, as Docker
/// does.
///
/// # Errors
///
/// If one cannot be made.
pub fn make(
    machines: &Machines,
    project: &str,
    service: &Service,
    mounts: &[Volume],
) -> Result<(), Error> {
    for mount in mounts {
        let Some(name) = &mount.name else {
            if !mount.source.is_dir() {
                fs::create_dir_all(&mount.source, 0o755)?;
            }
            continue;
        };
        let mut labels = BTreeMap::from([(state::PROJECT.to_owned(), project.to_owned())]);
        let is_anonymous = |it: &Mount| {
            it.kind == MountKind::Anonymous && same_place(&it.target, &mount.destination)
        };
        if service.volumes.iter().any(is_anonymous) {
            labels.insert(ANONYMOUS.to_owned(), String::new());
        }
        match machines.volumes().create(name, &labels) {
            Ok(_) | Err(VolumeError::Exists { .. }) => {}
            Err(error) => return Err(kraft_machine::Error::from(error).into()),
        }
    }
    Ok(())
}

/// Returns the volumes of a project that exist: those that its files declare, and those that were made
/// for it.
///
/// # Errors
///
/// If a volume cannot be read.
pub fn list(
    machines: &Machines,
    project: &str,
    definition: Option<&Definition>,
) -> Result<Vec<VolumeRecord>, Error> {
    let declared = definition.map(Definition::own_volumes).unwrap_or_default();
    let mut all = machines
        .volumes()
        .list()
        .map_err(kraft_machine::Error::from)?;
    all.retain(|volume| {
        let made_for = volume.labels.get(state::PROJECT);
        declared.contains(&volume.name) || made_for.is_some_and(|name| name == project)
    });
    Ok(all)
}

/// Removes the volumes of a project: those that its files declare, and those that were made for it.
/// Returns their names.
///
/// # Errors
///
/// If a machine of another project mounts one, or one cannot be removed.
pub fn remove(
    machines: &Machines,
    project: &str,
    definition: Option<&Definition>,
) -> Result<Vec<String>, Error> {
    let mut removed = Vec::new();
    for VolumeRecord { name, .. } in list(machines, project, definition)? {
        match machines.remove_volume(&name, false) {
            Ok(()) => removed.push(name),
            Err(kraft_machine::Error::Volume(VolumeError::NotFound { .. })) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(removed)
}
