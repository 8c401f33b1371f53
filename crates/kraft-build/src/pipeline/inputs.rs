//! Fingerprints of a kernel's inputs, to decide whether to rebuild it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kraft_sys::{fs, tool};

use super::{Error, Job};
use crate::state::Product;
use crate::trees::Stamp;
use crate::{configure, trees};

impl Job {
    pub(super) fn inputs(&self) -> Result<Inputs, Error> {
        let mut roots: Vec<&Path> = vec![&self.core, &self.app];
        roots.extend(self.libraries.iter().map(|(_, path)| path.as_path()));
        let except: Vec<&Path> = self.places.except.iter().map(PathBuf::as_path).collect();
        let trees = trees::look(&roots, &except)?;
        let mut texts: Vec<Vec<u8>> = vec![self.name.as_bytes().to_vec()];
        texts.extend(
            self.plan()?
                .arguments()
                .iter()
                .map(|a| a.as_bytes().to_vec()),
        );
        for (name, value) in &self.options {
            texts.push(format!("{name}={value}").into_bytes());
        }
        texts.push(self.toolchain());
        let configuration = of(&texts, &trees.configuration);
        for file in &self.files {
            let product = Product::of(file).map_err(fs::Error::on("look at", file))?;
            texts.push(format!("{product:?}").into_bytes());
        }
        let all = of(&texts, &trees.all);
        Ok(Inputs {
            all: self.with_config(&all)?,
            trees: all,
            configuration,
            files: trees.files,
        })
    }

    /// Adds the current configuration to a fingerprint.
    pub(super) fn with_config(&self, trees: &str) -> Result<String, fs::Error> {
        let config = match fs::read_file(&self.places.config, configure::LARGEST) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(trees::of_texts([trees.as_bytes(), &config]))
    }

    /// Returns the identity of the compiler that would be used.
    fn toolchain(&self) -> Vec<u8> {
        let prefix = self.cross.as_deref().unwrap_or_default();
        let mut found = String::new();
        for program in ["gcc", "ld", "objcopy"] {
            let path = tool::locate(OsStr::new(&format!("{prefix}{program}")));
            let product = path.and_then(|path| Product::of(&path).ok());
            let _ = write!(found, "{product:?}");
        }
        found.into_bytes()
    }
}

/// Fingerprints of a kernel's inputs.
pub(super) struct Inputs {
    /// All inputs.
    pub(super) all: String,
    /// All inputs except for the configuration.
    pub(super) trees: String,
    /// Inputs of the configuration.
    pub(super) configuration: String,
    /// Every file of the trees.
    pub(super) files: BTreeMap<PathBuf, Stamp>,
}

fn of(texts: &[Vec<u8>], print: &str) -> String {
    trees::of_texts(
        texts
            .iter()
            .map(Vec::as_slice)
            .chain(std::iter::once(print.as_bytes())),
    )
}
