//! Dockerfiles: every builder, what is cached, and what a build step can reach.

mod alone;
mod builders;
mod cache;
mod daemon;
mod protocol;
mod run;
mod sandbox;
mod sandbox_network;
mod trees;
