//! Runs make for a target, and copies its products to the paths that the project expects.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kraft_core::event::Event;
use kraft_sys::fs;

use super::{Job, Orders};
use crate::make::{self, Call, Line, Products};

impl Job {
    pub(super) fn make(
        &self,
        call: &Call<'_>,
        orders: &Orders<'_>,
        known: u64,
    ) -> Result<Products, make::Error> {
        let task = orders.task;
        orders.reporter.report(Event::Started {
            task,
            what: format!("building {}", self.label),
            total: None,
        });
        let first = known == 0;
        let mut done = 0;
        let made = call.all(&mut |line| match line {
            // The total is unknown for a build that makes only some of the objects.
            Line::Objects(total) if first => orders.reporter.report(Event::Sized {
                task,
                total: *total,
            }),
            Line::Step { verb, what } => {
                orders.reporter.report(Event::Doing {
                    task,
                    what: format!("{verb} {what}"),
                });
                if line.is_object() {
                    done += 1;
                    orders.reporter.report(Event::Advanced { task, done });
                }
            }
            Line::Objects(_) | Line::Image(_) | Line::Debug(_) | Line::Other => {}
        });
        orders.reporter.report(match made {
            Ok(_) => Event::Finished { task },
            Err(_) => Event::Failed { task },
        });
        made
    }

    /// Copies make's products to the paths that the project expects.
    pub(super) fn publish(&self, made: &Products) -> Result<Vec<PathBuf>, fs::Error> {
        let mut published = Vec::new();
        let mut put = |from: &Path, to: PathBuf| -> Result<(), fs::Error> {
            if from != to {
                copy(from, &to, 0o755)?;
            }
            published.push(to);
            Ok(())
        };
        let Some((kernel, variants)) = made.images.split_first() else {
            return Ok(published);
        };
        put(kernel, self.places.kernel.clone())?;
        for variant in variants {
            // `app_qemu-x86_64.gz` is copied beside the kernel with the same extension.
            let whole = variant.as_os_str().as_bytes();
            if let Some(ending) = whole.strip_prefix(kernel.as_os_str().as_bytes()) {
                let ending = OsStr::from_bytes(ending);
                put(variant, fs::beside(&self.places.kernel, ending))?;
            }
        }
        if let Some(debug) = made.debug.first() {
            put(debug, self.places.debug.clone())?;
        }
        Ok(published)
    }
}

/// Copies a file atomically.
pub(super) fn copy(from: &Path, to: &Path, mode: u32) -> Result<(), fs::Error> {
    let mut source = fs::open_file(from)?;
    let target = fs::NewFile::with_mode(to, mode)?;
    io::copy(&mut source, &mut target.file()).map_err(fs::Error::on("write", to))?;
    target.commit()
}
