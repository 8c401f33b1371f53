//! Pulls an image and lists the platforms it is for.
//!
//! ```text
//! cargo run --package kraft-engine --example list_platforms -- unikraft.org/nginx:latest
//! ```

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::sync::Arc;

use kraft_config::env::Environment;
use kraft_config::{Config, Flags};
use kraft_core::event::Silent;
use kraft_engine::context::{Context, NoPrompt};
use kraft_engine::images;
use kraft_engine::transfer::{self, Extent};
use kraft_oci::choose::PlatformFilter;

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args()
        .nth(1)
        .ok_or("usage: list_platforms IMAGE")?;
    let config = Config::load(&Flags::default(), Environment::capture())?;
    let context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));

    let store = images::open(&context)?;
    transfer::pull(
        &context,
        &store,
        &name.parse()?,
        &PlatformFilter::default(),
        Extent::All,
    )?;
    let image = images::find(&context, &*store, &name)?;
    for manifest in images::local_manifests(&*store, &image)? {
        println!("{}", manifest.platform.pair());
    }
    Ok(())
}
