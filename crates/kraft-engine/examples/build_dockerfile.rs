//! Builds a Dockerfile into an archive that a kernel can mount.
//!
//! ```text
//! cargo run --package kraft-engine --example build_dockerfile -- ./Dockerfile root.cpio
//! ```

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use kraft_config::env::Environment;
use kraft_config::{Config, Flags};
use kraft_core::event::Silent;
use kraft_engine::context::{Context, NoPrompt};
use kraft_engine::dockerfile::{self, BuildOptions, BuildRequest};
use kraft_engine::{images, rootfs};
use kraft_rootfs::sandbox;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let first = args.next();
    // kraft's own builder starts this program again for each `RUN`.
    if first.as_deref() == Some(sandbox::ARGUMENT) {
        return Ok(ExitCode::from(u8::try_from(sandbox::enter())?));
    }
    let (Some(file), Some(out)) = (first, args.next()) else {
        return Err("usage: build_dockerfile DOCKERFILE ARCHIVE".into());
    };
    let config = Config::load(&Flags::default(), Environment::capture())?;
    let context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));

    let file = Path::new(&file);
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let options = BuildOptions::default();
    let arch = images::host_preference().arch;
    let request = BuildRequest::new(&context, file, directory, &arch, &options)?;
    let built = dockerfile::of_dockerfile(&context, &request)?;
    let size = rootfs::copy(&built.archive, Path::new(&out))?;
    println!("wrote {out}, {size} bytes");
    Ok(ExitCode::SUCCESS)
}
