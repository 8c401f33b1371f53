//! Flows that commands share: they walk through the rooms in order and tell the screen.

pub(crate) mod checkup;
pub(crate) mod follow;
pub(crate) mod interrupt;
pub(crate) mod machines;
pub(crate) mod project;
pub(crate) mod rootfs;
pub(crate) mod run;
