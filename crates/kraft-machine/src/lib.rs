//! Machines on this host: what is known about each, and everything that can be done to one.
//!
//! ```text
//!  kraft ──► Machines ──► record.json              what was asked, what runs, how it ended
//!               │ start
//!               ▼
//!           monitor ──► driver::qemu ──► the VMM ──► diary.out     what the VMM says of itself
//!               ▲  ▲                       │   └───► console/pipe  what the guest prints
//!               │  └── copied to segments ─┼─────────────────┘
//!               └──── its end (waitpid) ───┘
//! ```
//!
//! No `kraft` that a user typed owns a VMM: a [`monitor`] does, one per machine. The truth about a
//! machine is put together from three things, each of which survives the others: the record, the
//! identity of the VMM's process, and the VMM's own [`diary`]. Whoever looks at a machine and finds
//! the record behind the truth mends it.
//!
//! This room knows nothing of Kraftfiles or of what is inside an archive, and prints nothing.

mod console;
pub mod diary;
pub mod driver;
mod events;
mod grown;
pub mod host;
mod id;
mod layout;
mod logs;
mod machines;
pub mod monitor;
mod names;
pub mod port;
mod probe;
pub mod qmp;
mod record;
mod upkeep;
mod watch;

pub use console::{DEFAULT_LIMIT as DEFAULT_CONSOLE_LIMIT, LEAST_LIMIT as LEAST_CONSOLE_LIMIT};
pub use events::{EventStream, MachineEvent, What};
pub use id::Id;
pub use logs::{Arrival, Chunk, Logs, LogsOptions};
pub use machines::{
    Error, Listed, Machine, Machines, Settings, StartError, StopOptions, Unreadable,
};
pub use record::Ending;
pub use watch::Watch;
