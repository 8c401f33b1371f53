//! Builds root filesystems, for `kraft rootfs build` and for `kraft run --rootfs` alike.

use std::path::Path;

use kraft_rootfs::{Built, Options, Source};

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
    let built = kraft_rootfs::build(source, out, &options, &mut |_bytes| {})?;
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
