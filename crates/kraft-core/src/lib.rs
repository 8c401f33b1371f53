//! What the things of a unikernel are, and what follows from them.
//!
//! Everything here is a value or a pure function: no file, no clock, no
//! environment, no printing. A reader who knows this crate knows the product.
//!
//! ```text
//! text of a Kraftfile ──► kraftfile ──► Kraftfile        (or Problems with spans)
//! bytes of a kernel   ──► kernel    ──► KernelImage
//! what the user asked ┐
//! what will boot      ├─► plan ──► MachineSpec ──► cmdline ──► the boot line
//! what this host can  ┘           (or Problems)
//! ```

pub mod arch;
pub mod catalog;
pub mod cmdline;
pub mod component;
pub mod compose;
pub mod connection;
pub mod dockerfile;
mod document;
pub mod event;
pub mod host;
pub mod kernel;
pub mod kraftfile;
pub mod lock;
pub mod machine;
pub mod mount;
pub mod nearest;
pub mod plan;
pub mod platform;
pub mod port;
pub mod problem;
pub mod program;
pub mod quantity;
pub mod readable;
pub mod reference;
pub mod tame;
pub mod words;
pub mod yaml;
