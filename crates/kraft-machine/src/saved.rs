//! Saved machines on disk: the memory and the devices of a guest, and what is needed to restore it.
//!
//! ```text
//! saved.json   what was saved, and the sums of the files
//! memory       the memory of the guest; pages of zeros are holes
//! state        everything else, as the VMM has it
//! kernel       a copy of its kernel, in snapshots
//! ```
//!
//! ```no_run
//! # fn example(machines: kraft_machine::Machines) -> Result<(), kraft_machine::Error> {
//! let machine = machines.find("web")?;
//! let snapshot = machines.take_snapshot(&machine.id, "ready")?;
//! assert_eq!(snapshot.saved.memory.size, machine.spec.memory);
//! # Ok(()) }
//! ```
//!
//! The directory appears under its name when it is complete and on disk, and its files never change:
//! they may be linked into others.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kraft_core::machine::MachineSpec;
use kraft_sys::fs;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::driver::{Conditions, Saved};
use crate::id::Id;

/// The version this `kraft` writes, and the newest it reads.
const VERSION: u32 = 1;

/// The maximal size of the description in bytes.
const MAX_MANIFEST: u64 = 16 << 20;

/// The maximal size of a kernel and of a state, in bytes.
const MAX_FILE: u64 = 1 << 30;

/// The name of the description.
pub(crate) const MANIFEST: &str = "saved.json";

/// The field of the description with its own sum.
const SUM: &str = "crc32";

/// The name of the copy of the kernel.
pub(crate) const KERNEL: &str = "kernel";

/// The size of a page in bytes.
const PAGE: usize = 4096;

/// The number of bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// What was saved of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedMachine {
    version: u32,
    /// The id of the machine.
    pub machine: Id,
    /// The name that the machine had.
    pub machine_name: String,
    /// When it was saved.
    pub created_at: Timestamp,
    /// The specification of the machine.
    pub spec: MachineSpec,
    /// What a VMM has to be like to restore it.
    pub conditions: Conditions,
    /// The kernel.
    pub kernel: Sum,
    /// Everything except the memory.
    pub state: Sum,
    /// The memory.
    pub memory: MemorySum,
    /// Whether the description was changed since it was written.
    #[serde(skip)]
    is_changed: bool,
}

/// The size and the digest of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// Its size in bytes.
    pub size: u64,
    /// The SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
}

/// The size and the sum of the memory of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemorySum {
    /// Its size in bytes.
    pub size: u64,
    /// The size of the pages that are not zero, in bytes: what it needs on disk.
    pub used: u64,
    /// The CRC-32 of the pages that are not zero, each after its address (8 bytes, little endian).
    pub crc32: u32,
}

/// A saved machine cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SavedMachineError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// A file is not what it was when it was saved.
    #[error("`{path}` is damaged: {why}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A newer `kraft` wrote it.
    #[error("it was saved by a newer kraft (version {0}, this one reads {VERSION})")]
    TooNew(u64),
    /// The kernel is another one than when it was saved.
    #[error("its kernel `{path}` has changed since it was saved", path = path.display())]
    OtherKernel {
        /// The kernel.
        path: PathBuf,
    },
}

fn damaged(path: &Path, why: impl Into<String>) -> SavedMachineError {
    SavedMachineError::Damaged {
        path: path.to_owned(),
        why: why.into(),
    }
}

/// The machine that is saved.
#[derive(Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) id: Id,
    pub(crate) name: &'a str,
    pub(crate) spec: &'a MachineSpec,
    pub(crate) created_at: Timestamp,
}

impl SavedMachine {
    /// Completes a directory that has memory and state, and flushes it to disk. With `kernel`, it
    /// gets a copy of the kernel.
    pub(crate) fn finish(
        dir: &Path,
        origin: &Origin<'_>,
        conditions: Conditions,
        kernel: bool,
    ) -> Result<Self, SavedMachineError> {
        let spec = origin.spec;
        let bytes = fs::read_file(&spec.kernel, MAX_FILE)?;
        if kernel {
            write(&dir.join(KERNEL), &bytes)?;
        }
        let (state, memory) = (dir.join(Saved::STATE), dir.join(Saved::MEMORY));
        let saved = Self {
            version: VERSION,
            machine: origin.id,
            machine_name: origin.name.to_owned(),
            created_at: origin.created_at,
            spec: spec.clone(),
            conditions,
            kernel: Sum::of(&bytes),
            state: Sum::of(&fs::read_file(&state, MAX_FILE)?),
            memory: memory_sum(&memory)?,
            is_changed: false,
        };
        for path in [state, memory] {
            let sync = fs::open_file(&path)?.sync_all();
            sync.map_err(fs::Error::on("write", &path))?;
        }
        saved.store(dir)?;
        Ok(saved)
    }

    /// Checks the files of a directory that came from elsewhere, and flushes them to disk. Paths of
    /// another host mean nothing here.
    pub(crate) fn adopt(dir: &Path) -> Result<(), SavedMachineError> {
        let mut saved = Self::load(dir)?;
        saved.read_state(dir, &dir.join(KERNEL))?;
        saved.check_memory(dir)?;
        let path = dir.join(Saved::MEMORY);
        let sync = fs::open_file(&path)?.sync_all();
        sync.map_err(fs::Error::on("write", &path))?;
        if !saved.spec.volumes.is_empty() {
            return Err(damaged(&dir.join(MANIFEST), "it mounts volumes"));
        }
        saved.spec.initrd = None;
        saved.spec.kernel = PathBuf::from("/nonexistent");
        Ok(saved.store(dir)?)
    }

    /// Copies a kernel into a directory.
    pub(crate) fn copy_kernel(kernel: &Path, dir: &Path) -> Result<(), SavedMachineError> {
        let bytes = fs::read_file(kernel, MAX_FILE)?;
        Ok(write(&dir.join(KERNEL), &bytes)?)
    }

    fn store(&self, dir: &Path) -> Result<(), fs::Error> {
        // INVARIANT: no map has keys that are not strings, and no number is a float.
        let mut value = serde_json::to_value(self).unwrap_or_default();
        let sum = sum_of_description(&value);
        if let Some(fields) = value.as_object_mut() {
            fields.insert(SUM.to_owned(), sum.into());
        }
        let mut json = serde_json::to_vec_pretty(&value).unwrap_or_default();
        json.push(b'\n');
        write(&dir.join(MANIFEST), &json)
    }

    /// Reads the description in a directory, and checks that the files have their sizes.
    pub(crate) fn load(dir: &Path) -> Result<Self, SavedMachineError> {
        let path = dir.join(MANIFEST);
        let bytes = fs::read_file(&path, MAX_MANIFEST)?;
        let invalid = |e: serde_json::Error| damaged(&path, e.to_string());
        let mut value: serde_json::Value = serde_json::from_slice(&bytes).map_err(invalid)?;
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        if let Some(version) = version.filter(|version| *version > u64::from(VERSION)) {
            return Err(SavedMachineError::TooNew(version));
        }
        // Those of older versions have none.
        let sum = value.as_object_mut().and_then(|fields| fields.remove(SUM));
        let is_changed = sum.is_some_and(|sum| sum != sum_of_description(&value));
        let mut saved: Self = serde_json::from_value(value).map_err(invalid)?;
        saved.is_changed = is_changed;
        for (name, size) in [
            (Saved::STATE, saved.state.size),
            (Saved::MEMORY, saved.memory.size),
        ] {
            let path = dir.join(name);
            let file = fs::open_file(&path)?;
            let present = file.metadata().map_err(fs::Error::on("read", &path))?.len();
            if present != size {
                return Err(damaged(
                    &path,
                    format!("it has {present} bytes instead of {size}"),
                ));
            }
        }
        Ok(saved)
    }

    /// Reads and checks the state, and checks the kernel.
    pub(crate) fn read_state(
        &self,
        dir: &Path,
        kernel: &Path,
    ) -> Result<Vec<u8>, SavedMachineError> {
        if Sum::of(&fs::read_file(kernel, MAX_FILE)?) != self.kernel {
            let path = kernel.to_owned();
            return Err(SavedMachineError::OtherKernel { path });
        }
        let path = dir.join(Saved::STATE);
        let state = fs::read_file(&path, MAX_FILE)?;
        if Sum::of(&state) != self.state {
            return Err(damaged(&path, "its content has changed"));
        }
        Ok(state)
    }

    /// Checks the memory, and that the description is what was written: what it says about the VMM was
    /// compared before.
    pub(crate) fn check_memory(&self, dir: &Path) -> Result<(), SavedMachineError> {
        let changed = |name| Err(damaged(&dir.join(name), "its content has changed"));
        if memory_sum(&dir.join(Saved::MEMORY))? != self.memory {
            return changed(Saved::MEMORY);
        }
        if self.is_changed {
            return changed(MANIFEST);
        }
        Ok(())
    }

    /// Returns the size of its files on disk, in bytes, as far as it depends on the machine.
    pub fn size_on_disk(&self) -> u64 {
        self.memory.used + self.state.size + self.kernel.size
    }
}

impl Sum {
    fn of(bytes: &[u8]) -> Self {
        use std::fmt::Write as _;

        let mut sha256 = String::with_capacity(64);
        for byte in Sha256::digest(bytes) {
            // Writing to a string cannot fail.
            let _ = write!(sha256, "{byte:02x}");
        }
        Self {
            size: bytes.len() as u64,
            sha256,
        }
    }
}

/// Returns the CRC-32 of a description without its sum.
fn sum_of_description(value: &serde_json::Value) -> u32 {
    crc32fast::hash(value.to_string().as_bytes())
}

/// Writes a private file as a whole.
fn write(path: &Path, bytes: &[u8]) -> Result<(), fs::Error> {
    let mut file = fs::NewFile::with_mode(path, 0o600)?;
    io::Write::write_all(&mut file, bytes).map_err(fs::Error::on("write", path))?;
    file.commit()
}

/// Returns the sum of a file of memory, of which holes are not read.
fn memory_sum(path: &Path) -> Result<MemorySum, fs::Error> {
    let file = fs::open_file(path)?;
    sum_of(&file).map_err(fs::Error::on("read", path))
}

fn sum_of(file: &File) -> io::Result<MemorySum> {
    let size = file.metadata()?.len();
    let (mut sum, mut used) = (crc32fast::Hasher::new(), 0);
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start - start % PAGE as u64,
            // There is nothing but a hole.
            Err(Errno::NXIO) => break,
            // This file system does not show holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
            Err(e) => return Err(e.into()),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))
            .unwrap_or(size)
            .min(size);
        let end = end.next_multiple_of(PAGE as u64).clamp(start + 1, size);
        at = start;
        while at < end {
            let length = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            let chunk = buffer.get_mut(..length).unwrap_or_default();
            file.read_exact_at(chunk, at)?;
            for page in chunk.chunks(PAGE) {
                if page.iter().any(|byte| *byte != 0) {
                    sum.update(&at.to_le_bytes());
                    sum.update(page);
                    used += page.len() as u64;
                }
                at += page.len() as u64;
            }
        }
    }
    Ok(MemorySum {
        size,
        used,
        crc32: sum.finalize(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_memory_does_not_depend_on_holes() {
        let sparse = tempfile::tempfile().unwrap();
        let dense = tempfile::tempfile().unwrap();
        let size = 5 << 20;
        sparse.set_len(size).unwrap();
        dense.write_all_at(&vec![0; 5 << 20], 0).unwrap();
        for file in [&sparse, &dense] {
            file.write_all_at(b"one", 3 * 4096 + 7).unwrap();
            file.write_all_at(b"two", (2 << 20) + 4095).unwrap();
        }
        let sum = sum_of(&sparse).unwrap();
        assert_eq!(sum.used, 3 * 4096);
        assert_eq!(sum_of(&dense).unwrap(), sum);
        // The same page at another address, and another bit, have other sums.
        dense.write_all_at(b"one", 4 * 4096 + 7).unwrap();
        dense.write_all_at(&[0; 3], 3 * 4096 + 7).unwrap();
        assert_ne!(sum_of(&dense).unwrap().crc32, sum.crc32);
        sparse.write_all_at(b"onf", 3 * 4096 + 7).unwrap();
        assert_ne!(sum_of(&sparse).unwrap().crc32, sum.crc32);
        sparse.set_len(size - 4096).unwrap();
        assert_ne!(sum_of(&sparse).unwrap(), sum);
    }
}
