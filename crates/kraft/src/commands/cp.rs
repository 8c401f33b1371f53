//! `kraft cp`.

use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal};
use std::time::Instant;

use crate::app::App;
use crate::failure::Failure;
use kraft_engine::copy::{self, Side};
use kraft_engine::copy_archive;

/// The size of the buffer of an archive that is written, in bytes.
const BUFFER: usize = 64 << 10;

/// Copy files into and out of the volumes of a machine
///
/// Copy a file or a directory between this host and a path of a machine, which may run or not. The path
/// must be in a volume or a directory that the machine mounts: everything else is in its memory.
///
/// An existing directory gets the source by its name; of SOURCE/. it gets the contents. Links are copied
/// as links, without --follow-link. Files are replaced as a whole, with their permissions and times.
///
/// `-` in the place of a path of this host is a tar archive: written to stdout, or read from stdin
/// (compressed or not) and extracted into a directory that exists.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft cp web:/var/log/access.log .
  kraft cp ./html/. web:/srv/html
  kraft cp database:/var/lib/db ./backup
  kraft cp database:/var/lib/db - | gzip > backup.tar.gz
  kraft cp - database:/var/lib < backup.tar.gz")]
pub(crate) struct Args {
    /// What to copy
    #[arg(value_name = "[MACHINE:]SOURCE", value_hint = clap::ValueHint::AnyPath)]
    from: OsString,

    /// Where to copy it
    #[arg(value_name = "[MACHINE:]DESTINATION", value_hint = clap::ValueHint::AnyPath)]
    to: OsString,

    #[command(flatten)]
    options: Options,
}

/// How files are copied.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Options {
    /// Copy what SOURCE leads to if it is a link
    #[arg(short = 'L', long)]
    follow_link: bool,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    copy(
        app,
        Side::parse(&args.from),
        Side::parse(&args.to),
        args.options,
    )
}

/// Copies, and reports what was copied.
pub(crate) fn copy(
    app: &App,
    from: Side<'_>,
    to: Side<'_>,
    options: Options,
) -> Result<(), Failure> {
    let began = Instant::now();
    let copied = match (from, to) {
        (Side::Machine { name, path }, Side::Stream) => {
            if io::stdout().is_terminal() {
                return Err(Failure::usage("an archive is not written to a terminal")
                    .hint("redirect stdout, or pipe it into `tar`"));
            }
            let out = BufWriter::with_capacity(BUFFER, app.ui.output());
            copy_archive::write(app, (name, path), options.follow_link, out)?
        }
        (Side::Stream, Side::Machine { name, path }) => {
            copy_archive::extract(app, io::stdin().lock(), (name, path))?
        }
        (from, to) => copy::copy(app, from, to, options.follow_link)?,
    };
    for path in &copied.skipped {
        app.ui.warn(&format!(
            "skipped `{}`: it is not a file, a directory or a link",
            path.display()
        ));
    }
    let what = match copied.files {
        1 => "copied 1 file".to_owned(),
        files => format!("copied {files} files"),
    };
    app.close(&what, copied.bytes, began);
    Ok(())
}
