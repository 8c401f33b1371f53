//! What running machines use of the host.

use kraft_net::Traffic;
use kraft_sys::process::Identity;
use kraft_sys::usage::{self, Thread};

use crate::machines::{Error, Machine, Machines};
use crate::record::Record;

/// What a machine uses: its VMM, with the guest in it.
///
/// ```no_run
/// # fn example(machines: kraft_machine::Machines) -> Result<(), kraft_machine::Error> {
/// let machine = machines.find("web")?;
/// if let Some(usage) = machines.usage(&machine) {
///     println!("{} bytes, {:?} of processors", usage.vmm.memory, usage.vmm.cpu);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// What its VMM uses.
    pub vmm: usage::Usage,
    /// What went through its networks, together; `None` if it is in none, and for a network whose
    /// holder was killed.
    pub network: Option<Traffic>,
}

/// The threads of a machine's VMM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threads {
    /// The process.
    pub pid: u32,
    /// Its threads, by id.
    pub threads: Vec<Thread>,
}

impl Machines {
    /// Returns what a machine uses; `None` if it does not run.
    pub fn usage(&self, machine: &Machine) -> Option<Usage> {
        let vmm = usage::Usage::of(&self.vmm(machine)?)?;
        let networks = self.networks();
        let id = machine.id.to_string();
        let traffic = machine.spec.networks.iter().filter_map(|interface| {
            let found = networks.traffic(&interface.network, &id);
            found.ok().flatten()
        });
        let network = traffic.reduce(|sum, one| Traffic {
            received: sum.received.saturating_add(one.received),
            sent: sum.sent.saturating_add(one.sent),
        });
        Some(Usage { vmm, network })
    }

    /// Returns the threads of a machine's VMM.
    ///
    /// # Errors
    ///
    /// If the machine does not run.
    pub fn threads(&self, machine: &Machine) -> Result<Threads, Error> {
        let threads = self.vmm(machine).map(|vmm| Threads {
            pid: vmm.pid,
            threads: usage::threads(&vmm),
        });
        threads
            .filter(|found| !found.threads.is_empty())
            .ok_or_else(|| Error::NotRunning {
                name: machine.name.clone(),
                state: machine.state,
            })
    }

    fn vmm(&self, machine: &Machine) -> Option<Identity> {
        let record = Record::load(&self.machine_dir(machine.id)).ok()?;
        record.run?.vmm
    }
}
