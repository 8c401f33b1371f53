//! Machines on this host: their records, their life cycle and the VMMs that run them.
//!
//! ```text
//!  kraft ──► Machines ──► record.json              the request, what runs, how it ended
//!               │ start
//!               ▼
//!           monitor ──► Driver ──► the VMM ──► events.out    events that the VMM reports
//!               ▲  ▲                  │   └──► console/pipe  the guest's console
//!               │  └── copied to segments ───────────┘
//!               └──── its end (waitpid) ───┘
//! ```
//!
//! The `kraft` that a user runs never owns a VMM: a [`monitor`] does, one per machine. The state of
//! a machine is determined from three things, each of which survives the others: the record, the
//! identity of the VMM's process, and the [event log](EventLog) of the VMM. Every access to a
//! machine whose record is outdated reconciles it.
//!
//! Named [`Volumes`] are directories that machines mount, and that outlive them.
//!
//! Everything that is specific to one kind of VMM is a [`Driver`](driver::Driver).
//!
//! This crate has nothing to do with Kraftfiles or the contents of archives, and prints nothing.
//! It reports what it does by `tracing` events: command lines of VMMs, probes and waits for locks
//! at `debug`, commands to VMMs and their answers at `trace`. Values of environment variables of
//! guests may be secrets and are never reported.
//!
//! ```no_run
//! use kraft_core::machine::{EndReason, MachineSpec};
//! use kraft_machine::driver::Drivers;
//! use kraft_machine::{DEFAULT_CONSOLE_LIMIT, Ending, Machines, Settings};
//!
//! # fn example(spec: MachineSpec) -> Result<(), kraft_machine::Error> {
//! let machines = Machines::open(Settings {
//!     runtime_dir: "/var/lib/machines".into(),
//!     monitor: vec!["/proc/self/exe".into(), "__monitor".into()],
//!     drivers: Drivers::default(),
//!     console_limit: DEFAULT_CONSOLE_LIMIT,
//! })?;
//! let machine = machines.create(&spec)?;
//! let ending: Ending = machines.start(&machine.id)?.wait()?;
//! assert_eq!(ending.reason, EndReason::PoweredOff);
//! machines.remove(&machine.id, false)?;
//! # Ok(())
//! # }
//! ```

mod compact;
mod console;
pub mod direct;
pub mod driver;
mod event_log;
mod events;
#[cfg(target_os = "linux")]
mod file_watch;
#[cfg(not(target_os = "linux"))]
#[path = "no_file_watch.rs"]
mod file_watch;
mod health;
pub mod host;
mod id;
mod launcher;
mod layout;
mod logs;
mod machines;
pub mod monitor;
mod names;
pub mod port;
mod record;
mod restart;
mod saved;
#[cfg(test)]
mod testing;
mod usage;
mod volumes;
mod watch;

pub use console::ConsoleInput;
pub use console::{DEFAULT_LIMIT as DEFAULT_CONSOLE_LIMIT, MIN_LIMIT as MIN_CONSOLE_LIMIT};
pub use event_log::file::Compaction;
pub use event_log::{EventLog, StateChange, TimedChange, VmmEvent};
pub use events::{EventKind, EventStream, MachineEvent};
pub use health::try_probe;
pub use id::Id;
pub use layout::MachineDir;
pub use logs::{Arrival, Chunk, Logs, LogsOptions};
pub use machines::{
    BootStart, Error, ForkSource, KillSignal, Listed, Machine, Machines, Settings, Snapshot,
    StartError, StartOptions, StopOptions, Unreadable, UnreadableSnapshot, Update,
};
pub use record::{Ending, RecordError};
pub use saved::{MemorySum, SavedMachine, SavedMachineError, Sum};
pub use usage::{Threads, Usage};
pub use volumes::{ANONYMOUS, VolumeError, VolumeRecord, Volumes};
pub use watch::{BootTimes, Watch};
