//! Images of unikernels: where they are kept, what they are made of, how they travel.
//!
//! ```text
//!            registry ◄── push ── ┐
//!   (HTTP, credentials) ── pull ─►│ store (a directory, or a containerd) ─ choose ─► unpack ─► files to boot
//!                       package ─►│  blobs by digest, names
//! ```
//!
//! An image is an [index](image::Index) with one [manifest](image::Manifest) per platform,
//! architecture and set of kernel options; each of its layers is a tar with one file. Bytes that
//! were pulled are kept and pushed as they came: no document is ever written again by way of our
//! types, so no digest ever changes.

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
