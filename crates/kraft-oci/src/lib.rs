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
//!
//! ```
//! use jiff::Timestamp;
//! use kraft_oci::image::{Platform, RunConfig, media};
//! use kraft_oci::layer::{self, Role};
//! use kraft_oci::listing;
//! use kraft_oci::package::Cover;
//! use kraft_oci::store::{Expect, Store, layout::Layout, put};
//!
//! let dir = tempfile::tempdir()?;
//! let store = Layout::open(dir.path())?;
//! let lease = store.lease()?;
//!
//! let kernel = b"the kernel";
//! let size = kernel.len() as u64;
//! let layer = layer::pack(&*lease, Role::Kernel, true, &mut &kernel[..], size, &mut |_| {})?;
//! let cover = Cover {
//!     name: "example.com/web:1.0".parse()?,
//!     writer: "example".to_owned(),
//!     created: Timestamp::UNIX_EPOCH,
//! };
//! let platform = Platform {
//!     os: "qemu".to_owned(),
//!     architecture: "x86_64".to_owned(),
//!     ..Platform::default()
//! };
//! let packed = cover.pack(platform, RunConfig::default(), vec![layer]);
//! put(&*lease, media::CONFIG, &packed.config.bytes, None)?;
//! put(&*lease, media::MANIFEST, &packed.manifest.bytes, None)?;
//! let index = cover.index(&[serde_json::to_value(&packed.manifest.descriptor)?]);
//! let target = put(&*lease, media::INDEX, &index.bytes, None)?;
//! store.tag(&cover.name, &target, &Expect::Nothing)?;
//!
//! let rows = listing::list(&store, &|_, _| true)?.rows;
//! assert_eq!(rows[0].name, cover.name);
//! assert_eq!(rows[0].platform.pair(), "qemu/x86_64");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
pub mod linux;
pub mod listing;
pub mod package;
pub mod pull;
pub mod push;
pub mod registry;
pub mod store;
mod unique;
pub mod unpack;
