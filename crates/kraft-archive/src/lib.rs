//! Reads untrusted archives within limits: compressed streams and tarballs.
//!
//! Every reader of archives uses these modules: root filesystems, image layers, `ADD`, component
//! archives and `pkg load`. They work on byte streams and open no files.
//!
//! ```
//! use std::io::Read;
//!
//! use kraft_archive::compression::{Compression, decompress};
//! use kraft_archive::tar::{Kind, Limits, Reader};
//!
//! // A tarball with one empty directory, as any program may write it.
//! let mut tarball = vec![0; 512 * 3];
//! tarball[..4].copy_from_slice(b"etc/");
//! tarball[100..107].copy_from_slice(b"0000755");
//! tarball[156] = b'5';
//! let sum = tarball.iter().map(|&byte| u32::from(byte)).sum::<u32>() + 8 * u32::from(b' ');
//! tarball[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
//! tarball[155] = b' ';
//!
//! let plain = decompress(&tarball[..])?;
//! assert_eq!(plain.compression(), Compression::None);
//! let mut reader = Reader::new(plain, Limits::ROOT_FILESYSTEM);
//! let entry = reader.next_entry()?.expect("one entry");
//! assert_eq!((entry.path.as_slice(), entry.kind), (&b"etc/"[..], Kind::Directory));
//! assert!(reader.next_entry()?.is_none());
//! # Ok::<(), std::io::Error>(())
//! ```

pub mod compression;
pub mod limits;
mod sparse;
pub mod tar;
