//! Builds root filesystems, for `kraft rootfs build` and for `kraft run --rootfs` alike.
//!
//! That of a machine lives where it is found as long as the machine does:
//!
//! ```text
//! RUNTIME_DIR/rootfs/         its lock is shared by who builds, and exclusive for who sweeps
//!                    ID.cpio  one per machine
//! ```
//!
//! An archive that no machine uses any more is swept away by the next `kraft run` or `kraft rm`:
//! so it goes too when its machine removed itself, or when the `kraft` that built it was killed.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use kraft_core::event::{Event, Reporter};
use kraft_machine::{Id, Listed, Machines};
use kraft_rootfs::{Built, Options, Source};
use kraft_sys::fs;
use kraft_sys::lock::Lock;

use crate::app::App;
use crate::failure::Failure;

/// Builds an archive from a source at `out`, and says what had to be left out.
pub(crate) fn build(
    app: &App,
    source: &Source,
    out: &Path,
    keep_owners: bool,
) -> Result<Built, Failure> {
    let options = Options {
        epoch: epoch(app)?,
        keep_owners,
    };
    let progress = app.ui.progress();
    let task = 1;
    progress.report(Event::Started {
        task,
        what: "building the root filesystem".to_owned(),
        total: None,
    });
    let built = kraft_rootfs::build(source, out, &options, &mut |done| {
        progress.report(Event::Advanced { task, done });
    });
    progress.report(match built {
        Ok(_) => Event::Finished { task },
        Err(_) => Event::Failed { task },
    });
    let built = built?;
    for warning in &built.warnings {
        app.ui.warn(warning);
    }
    Ok(built)
}

/// Reads `SOURCE_DATE_EPOCH` (reproducible-builds.org): seconds since 1970.
fn epoch(app: &App) -> Result<Option<u32>, Failure> {
    let Some(text) = app.config.env.text("SOURCE_DATE_EPOCH") else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        Failure::usage(format!(
            "the variable `SOURCE_DATE_EPOCH` is `{text}`, not a number of seconds since 1970 \
             that an archive can hold"
        ))
    })
}

/// The root filesystem of a machine that is about to be made.
#[derive(Debug)]
pub(crate) struct Root {
    /// The archive.
    pub(crate) archive: PathBuf,
    /// Keeps sweepers out until the machine that uses the archive is on record.
    _building: Lock,
}

/// Builds the root filesystem of a machine that is about to be made.
pub(crate) fn for_machine(app: &App, machines: &Machines, source: &Path) -> Result<Root, Failure> {
    sweep(app, machines);
    let dir = dir(app);
    fs::create_dir_all(&dir, 0o700)?;
    let lock = Lock::shared(&dir)?;
    let archive = dir.join(format!("{}.cpio", Id::new()));
    build(app, &Source::detect(source)?, &archive, false)?;
    Ok(Root {
        archive,
        _building: lock,
    })
}

/// Removes archives that no machine uses. Nobody waits for this and nothing depends on it: what
/// cannot be removed now is removed by the next.
pub(crate) fn sweep(app: &App, machines: &Machines) {
    let dir = dir(app);
    let Ok(entries) = std::fs::read_dir(&dir) else {
        return;
    };
    let Ok(Some(_lock)) = Lock::try_exclusive(&dir) else {
        return;
    };
    let Ok(listed) = machines.list() else {
        return;
    };
    let mut used = HashSet::new();
    for entry in listed {
        match entry {
            Listed::Machine(machine) => used.extend(machine.spec.initrd),
            // Who knows what it uses.
            Listed::Unreadable(_) => return,
        }
    }
    for entry in entries.flatten() {
        let path = entry.path();
        if !used.contains(&path) {
            let _ = fs::remove_file(&path);
        }
    }
}

fn dir(app: &App) -> PathBuf {
    app.config.runtime_dir().join("rootfs")
}
