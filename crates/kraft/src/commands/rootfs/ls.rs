//! `kraft rootfs ls`.

use std::path::{Path, PathBuf};

use kraft_rootfs::archive::{Entry, Kind, Reader};
use serde::Serialize;

use super::archive_error;
use crate::app::App;
use crate::failure::Failure;
use crate::ui::{Cell, Column, Format};

/// List the files of a root filesystem
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Archive, compressed or not
    file: PathBuf,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// One row; these are the fields of `-o json`.
#[derive(Debug, Serialize)]
struct Row {
    /// Path below the root; bytes that are not UTF-8 are replaced.
    path: String,
    /// `file`, `directory`, `symlink`, `char_device`, `block_device`, `fifo` or `socket`.
    kind: &'static str,
    /// Permissions in octal, as text: `0755`.
    mode: String,
    uid: u32,
    gid: u32,
    size: u32,
    mtime: u32,
    ino: u32,
    nlink: u32,
    /// The target of a symbolic link.
    target: Option<String>,
    /// Major and minor number of a device.
    device: Option<(u32, u32)>,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    list(app, &args.file, args.output)
}

/// Lists the entries of an archive.
pub(crate) fn list(app: &App, file: &Path, output: Format) -> Result<(), Failure> {
    let mut reader = Reader::open(file)?;
    let error = archive_error(file);
    let mut rows = Vec::new();
    while let Some(entry) = reader.next_entry().map_err(&error)? {
        rows.push(row(&entry));
    }
    reader.finish().map_err(&error)?;
    let columns = [
        Column {
            title: "MODE",
            cell: |row: &Row| Cell::new(&row.mode),
        },
        Column {
            title: "OWNER",
            cell: |row: &Row| Cell::new(format!("{}:{}", row.uid, row.gid)),
        },
        Column {
            title: "SIZE",
            cell: |row: &Row| Cell::new(row.size.to_string()),
        },
        Column {
            title: "KIND",
            cell: |row: &Row| Cell::new(row.kind),
        },
        Column {
            title: "PATH",
            cell: |row: &Row| Cell::new(shown(row)),
        },
    ];
    app.ui.listing(output, &rows, &columns)
}

/// Returns the name of a kind of entry.
pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Directory => "directory",
        Kind::File => "file",
        Kind::Symlink => "symlink",
        Kind::CharDevice => "char_device",
        Kind::BlockDevice => "block_device",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
    }
}

fn row(entry: &Entry) -> Row {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let is_device = matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice);
    Row {
        path: if entry.path.is_empty() {
            ".".to_owned()
        } else {
            text(&entry.path)
        },
        kind: kind_name(entry.kind),
        mode: format!("{:04o}", entry.permissions),
        uid: entry.uid,
        gid: entry.gid,
        size: entry.size,
        mtime: entry.mtime,
        ino: entry.ino,
        nlink: entry.nlink,
        target: entry.target.as_deref().map(text),
        device: is_device.then_some(entry.device),
    }
}

/// Returns a path for a terminal: control characters escaped, links with their target.
fn shown(row: &Row) -> String {
    let text = match &row.target {
        Some(target) => format!("{} -> {target}", row.path),
        None => row.path.clone(),
    };
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
