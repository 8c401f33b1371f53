//! Machines: from a kernel to a guest that runs, and the state that kraft reports of it.

mod attach;
mod boot;
mod compose;
mod compose_forms;
mod console;
mod demo;
mod firecracker;
mod first_steps;
mod helpers;
mod kvm;
mod lifecycle;
mod limits;
mod linux;
mod network;
mod network_forms;
mod network_kills;
mod recovery;
mod restart;
mod runtime;
mod runu;
mod secrets;
mod snapshots;
mod stats;
mod terminal;
mod volumes;
