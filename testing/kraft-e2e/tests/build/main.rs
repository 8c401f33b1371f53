//! Builds: from sources and Kraftfiles to kernels that boot.

mod broken;
mod cloned;
mod kconfig;
mod locked;
mod lsp;
mod projects;
mod real_unikraft;
mod sources;
mod terminal;
mod unikraft;
