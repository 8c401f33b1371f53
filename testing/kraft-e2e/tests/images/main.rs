//! Images: packages, registries, the local store and what other engines make of them.

mod attacks;
mod catalog;
mod containerd;
mod diagnostics;
mod engines;
mod examples;
mod foreign;
mod hostile;
mod offline;
mod packages;
mod registry;
mod torture;
