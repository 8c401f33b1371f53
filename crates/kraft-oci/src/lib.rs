//! Images of unikernels: storage, documents, and transfers.
//!
//! ```text
//!            registry ◄── push ── ┐
//!   (HTTP, credentials) ── pull ─►│ store (a directory, or a containerd) ─ choose ─► unpack ─► files to boot
//!                       package ─►│  blobs by digest, names
//! ```
//!
//! An image is an [index](image::Index) with one [manifest](image::Manifest) per platform,
//! architecture and set of kernel options; each of its layers is a tar with one file. Pulled bytes
//! are stored and pushed unchanged: documents are not re-encoded, so digests do not change.

pub mod archive;
pub mod catalog;
pub mod choose;
pub mod copy;
pub mod credentials;
pub mod digest;
pub mod image;
mod json;
pub mod kraftkit;
pub mod layer;
pub mod listing;
pub mod package;
pub mod pull;
pub mod push;
pub mod registry;
pub mod store;
mod unique;
pub mod unpack;
