//! Flows that commands share: they walk through the rooms in order and tell the screen.

mod broken;
pub(crate) mod build;
pub(crate) mod catalog;
pub(crate) mod checkup;
pub(crate) mod components;
pub(crate) mod follow;
pub(crate) mod images;
pub(crate) mod interrupt;
pub(crate) mod kconfig;
pub(crate) mod kraftfile;
pub(crate) mod machines;
pub(crate) mod network;
pub(crate) mod obtain;
pub(crate) mod package;
pub(crate) mod pins;
pub(crate) mod probe;
pub(crate) mod project;
pub(crate) mod repair;
pub(crate) mod rootfs;
pub(crate) mod run;
pub(crate) mod settings;
pub(crate) mod sources;
pub(crate) mod subject;
mod trace;
pub(crate) mod transfer;
pub(crate) mod unpacked;
pub(crate) mod workplace;
