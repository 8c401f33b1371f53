//! The flows that several commands share: they walk through the rooms, in order.

pub(crate) mod project;
