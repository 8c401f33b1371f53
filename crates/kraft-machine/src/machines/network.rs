//! Machines in networks: their addresses, from when they are made until they are removed.

use kraft_core::net::Interface;
use kraft_net::{Networks, Request};

use crate::id::Id;
use crate::machines::{Error, Machines, Status};
use crate::record::Record;

impl Machines {
    /// Returns the networks of the runtime directory.
    pub fn networks(&self) -> Networks {
        Networks::new(&self.settings.runtime_dir)
    }

    /// Removes a network. If machines are in it, this is an error, or with `force` they lose it.
    ///
    /// # Errors
    ///
    /// If there is no such network, or a machine is in it.
    pub fn remove_network(&self, name: &str, force: bool) -> Result<(), Error> {
        // A machine that is being made may have an address already.
        let any = self.layout.machines().is_dir();
        let _lock = any.then(|| self.lock_all()).transpose()?;
        Ok(self
            .networks()
            .remove(name, force, &|machine| self.exists(machine))?)
    }

    /// Gives a machine that is being made its addresses. The lock of `machines/` is held.
    pub(super) fn reserve_addresses(
        &self,
        id: Id,
        name: &str,
        interfaces: &[Interface],
    ) -> Result<Vec<Interface>, Error> {
        let networks = self.networks();
        let machine = id.to_string();
        let reserve = |interface| {
            let request = Request {
                machine: &machine,
                name,
                interface,
            };
            let present = |other: &str| other == machine || self.exists(other);
            networks.reserve(&request, &present).map_err(Error::from)
        };
        interfaces.iter().map(reserve).collect()
    }

    /// Takes back the addresses of a machine that does not exist any more.
    pub(super) fn release_addresses(&self, id: Id) {
        if let Err(error) = self.networks().release(&id.to_string()) {
            // They are free nevertheless: the next machine that needs one finds that this one does
            // not exist.
            tracing::debug!(machine = %id, %error, "cannot release addresses");
        }
    }

    /// Starts the holders of a running machine's networks again where they were killed.
    pub(super) fn revive_networks(&self, record: &Record, status: &Status) {
        let interfaces = &record.spec.get().networks;
        if interfaces.is_empty() || !status.is_alive() {
            return;
        }
        let networks = self.networks();
        for interface in interfaces {
            if let Err(error) = networks.revive(&interface.network) {
                tracing::debug!(network = interface.network, %error, "cannot start its holder");
            }
        }
    }

    fn exists(&self, machine: &str) -> bool {
        let id = machine.parse::<Id>();
        id.is_ok_and(|id| self.layout.machine(id).path().is_dir())
    }
}
