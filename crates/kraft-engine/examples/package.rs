//! Packages a kernel and a root filesystem as an image, and pushes it.
//!
//! ```text
//! cargo run --package kraft-engine --example package -- ./kernel ./rootfs registry.example/hello:v1
//! ```

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use kraft_config::env::Environment;
use kraft_config::{Config, Flags};
use kraft_core::event::Silent;
use kraft_engine::context::{Context, NoPrompt};
use kraft_engine::pack::{self, Order};
use kraft_engine::package::{self, Package, Strategy};
use kraft_engine::{images, transfer};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kernel, rootfs, name] = &args[..] else {
        return Err("usage: package KERNEL ROOTFS IMAGE".into());
    };
    let config = Config::load(&Flags::default(), Environment::capture())?;
    let context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));

    let store = images::open(&context)?;
    let order = Order {
        rootfs: Some(rootfs.into()),
        ..Order::default()
    };
    let part = pack::of_kernel(&context, &order, Path::new(kernel))?;
    let package = Package {
        name: name
            .parse::<kraft_core::reference::Reference>()?
            .qualified(),
        strategy: Strategy::Overwrite,
        linux: false,
        engines: Vec::new(),
    };
    let index = package::assemble(&context, &*store, &package, vec![part])?;
    transfer::push(&context, &store, &package.name)?;
    println!("{}@{}", package.name, index.digest);
    Ok(())
}
