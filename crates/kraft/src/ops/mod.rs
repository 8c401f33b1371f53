//! The flows that several commands share: they walk through the rooms, in order.

pub(crate) mod project;
pub(crate) mod rootfs;
