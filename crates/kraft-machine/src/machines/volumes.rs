//! Machines and the named volumes that they mount.

use std::collections::BTreeMap;

use kraft_core::mount::Volume;

use crate::machines::{Error, Machines};
use crate::volumes::{ANONYMOUS, VolumeError, Volumes};

impl Machines {
    /// Returns the named volumes of the runtime directory.
    pub fn volumes(&self) -> Volumes {
        Volumes::new(&self.settings.runtime_dir)
    }

    /// Returns the names of the machines that mount each named volume, those that do not run
    /// included. Machines whose record cannot be read are left out.
    ///
    /// # Errors
    ///
    /// If the directory of the machines cannot be read.
    pub fn volume_users(&self) -> Result<BTreeMap<String, Vec<String>>, Error> {
        self.users(|_| Ok(()))
    }

    /// Removes the volume of a name or an id, and its data. If machines mount it, this is an error, or with `force`
    /// they lose it.
    ///
    /// # Errors
    ///
    /// If there is no such volume, a machine mounts it, or a machine that may do so cannot be read.
    pub fn remove_volume(&self, name: &str, force: bool) -> Result<(), Error> {
        let volumes = self.volumes();
        // A machine that is being made may have the volume already.
        let any = self.layout.machines().is_dir();
        let lock = any.then(|| self.lock_all()).transpose()?;
        let name = match volumes.get(name) {
            Ok(volume) => volume.name,
            Err(VolumeError::Damaged { .. } | VolumeError::TooNew { .. }) if force => {
                name.to_owned()
            }
            Err(error) => return Err(error.into()),
        };
        if !force && let Some(machines) = self.users(Err)?.remove(&name) {
            return Err(VolumeError::InUse { name, machines }.into());
        }
        let detached = volumes.detach(&name)?;
        drop(lock);
        Ok(detached.remove()?)
    }

    /// Removes those of the mounts of a machine that belonged to it alone. One that another machine
    /// mounts by its name stays. `going` is the name of a machine that is about to be removed itself.
    ///
    /// # Errors
    ///
    /// If one cannot be removed.
    pub fn remove_anonymous_volumes(
        &self,
        mounts: &[Volume],
        going: Option<&str>,
    ) -> Result<(), Error> {
        let volumes = self.volumes();
        for name in mounts.iter().filter_map(|mount| mount.name.as_deref()) {
            let is_anonymous = volumes
                .get(name)
                .is_ok_and(|volume| volume.labels.contains_key(ANONYMOUS));
            if !is_anonymous {
                continue;
            }
            let users = self.users(Err)?.remove(name).unwrap_or_default();
            if users.iter().any(|user| Some(user.as_str()) != going) {
                continue;
            }
            match self.remove_volume(name, going.is_some()) {
                Ok(())
                | Err(Error::Volume(VolumeError::InUse { .. } | VolumeError::NotFound { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes the named volumes of a machine that is being made, and returns its mounts with their
    /// directories. The lock of `machines/` is held.
    pub(super) fn ensure_volumes(&self, mounts: &[Volume]) -> Result<Vec<Volume>, Error> {
        let volumes = self.volumes();
        let ensure = |mount: &Volume| match &mount.name {
            None => Ok(mount.clone()),
            Some(name) => {
                volumes.ensure(name)?;
                let source = volumes.path(name)?;
                Ok(Volume {
                    source,
                    ..mount.clone()
                })
            }
        };
        mounts.iter().map(ensure).collect()
    }

    /// Returns the machines that mount each volume; `unreadable` gets the error of a machine that
    /// cannot be read.
    fn users(
        &self,
        unreadable: impl Fn(Error) -> Result<(), Error>,
    ) -> Result<BTreeMap<String, Vec<String>>, Error> {
        let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for id in self.ids()? {
            let record = match self.load(id) {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                // Something else in the place of a machine.
                Err(error) if error.is_foreign() => continue,
                Err(source) => {
                    unreadable(Error::Unreadable { id, source })?;
                    continue;
                }
            };
            for name in record
                .spec
                .get()
                .volumes
                .iter()
                .filter_map(|it| it.name.as_ref())
            {
                let machines = users.entry(name.clone()).or_default();
                if !machines.contains(&record.name) {
                    machines.push(record.name.clone());
                }
            }
        }
        for machines in users.values_mut() {
            machines.sort_unstable();
        }
        Ok(users)
    }
}
