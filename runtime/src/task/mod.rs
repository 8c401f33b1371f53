//! Processes and threads: how they begin, wait, take signals and end.

pub mod clone;
pub mod elf;
pub mod exec;
pub mod exit;
pub mod futex;
mod process;
mod schedule;
pub mod signals;
pub mod symbols;
mod thread;
mod wait;

pub use process::{
    Credentials, Ending, Limit, Paths, Process, all_processes, can_write_mapped, find_process,
    forget_file, is_running, is_written, last_id,
};
#[cfg(test)]
pub use schedule::run_only;
pub use schedule::{
    arm, current, current_process, pause, set_first, start_first, tick, timer_rang, try_current,
    yield_now,
};
pub use thread::{Thread, all_threads, find_thread};
pub use wait::{WaitQueue, Wake, sleep_until, wait};
