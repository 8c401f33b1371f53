//! Embeds the kernels of the built-in runtime that `make runtime` built in `runtime/build`, if the
//! feature `builtin-runtime` is on.

#![expect(
    clippy::disallowed_methods,
    reason = "a build script communicates with cargo through the environment and stdout"
)]

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

/// The architectures, as kraft names them.
const ARCHITECTURES: [&str; 2] = ["x86_64", "arm64"];

fn main() -> Result<(), Box<dyn Error>> {
    let own = std::env::var("CARGO_MANIFEST_DIR")?;
    let runtime = Path::new(&own).join("../../runtime");
    let manifest = runtime.join("Cargo.toml");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", manifest.display());
    let text = std::fs::read_to_string(&manifest)?;
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        .ok_or("runtime/Cargo.toml has no version")?;
    println!("cargo::rustc-env=KRAFT_RUNTIME_VERSION={version}");

    let mut kernels = String::from("&[");
    let mut found = 0;
    if std::env::var_os("CARGO_FEATURE_BUILTIN_RUNTIME").is_some() {
        for arch in ARCHITECTURES {
            let file = runtime.join(format!("build/kraft-runtime-{arch}.xz"));
            println!("cargo::rerun-if-changed={}", file.display());
            if file.is_file() {
                let path = file.canonicalize()?;
                let path = path
                    .to_str()
                    .ok_or("the path of the checkout is not UTF-8")?;
                write!(kernels, "({arch:?}, include_bytes!({path:?}).as_slice()),")?;
                found += 1;
            }
        }
        if found == 0 {
            println!(
                "cargo::error=the feature `builtin-runtime` embeds the kernels in runtime/build, and \
                 there are none: `make runtime` builds them"
            );
        }
    }
    kernels.push(']');
    let out = Path::new(&std::env::var("OUT_DIR")?).join("kernels.rs");
    std::fs::write(out, kernels)?;
    Ok(())
}
