//! Dockerfiles: every builder, what is cached, and what a build step can reach.

mod builders;
mod cache;
mod daemon;
mod own_builder;
mod protocol;
mod run;
mod sandbox;
mod sandbox_network;
mod terminal;
mod trees;
