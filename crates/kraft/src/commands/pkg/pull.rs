//! `kraft pkg pull`.

use std::path::{Path, PathBuf};

use kraft_core::arch::Arch;
use kraft_core::component::Name;
use kraft_core::reference::Reference;
use kraft_oci::choose::PlatformFilter;

use crate::app::App;
use crate::commands::tally::Tally;
use crate::commands::values::{self, PlatformArg};
use crate::failure::{Failure, Kind};
use kraft_engine::components::{self, Fetching};
use kraft_engine::transfer::{self, Extent};
use kraft_engine::{build, builtin, images, project, settings};

/// Pull images from registries, and components
///
/// Download images into the local store: of each the manifest for this host, or that selected by
/// the flags. For a project directory, download the image it runs on, or the components it is built
/// from; `lib/NAME`, `app/NAME` and `unikraft` are components of the catalog. Blobs that exist
/// locally are not downloaded again, and interrupted downloads are resumed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft pkg pull unikraft.org/nginx:latest
  kraft pkg pull --arch arm64 --plat qemu unikraft.org/base
  kraft pkg pull --all localhost:5000/hello
  kraft pkg pull lib/lwip:stable")]
pub(crate) struct Args {
    /// Images, as `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`, or project directories (default: the current
    /// directory)
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,

    #[command(flatten)]
    filter: ManifestArgs,

    /// Pull the manifests of all platforms and architectures
    #[arg(short = 'A', long)]
    all: bool,

    /// Use this Kraftfile
    #[arg(short = 'K', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    kraftfile: Option<PathBuf>,

    /// Set the format of the packages
    #[arg(short = 'M', short_alias = 'f', long = "as", hide = true, default_value = "auto",
          value_parser = ["oci", "manifest", "auto"])]
    format: String,

    /// Use the project in this directory; accepted for old scripts
    #[arg(short, long, hide = true, value_name = "DIR")]
    workdir: Option<PathBuf>,
}

/// The arguments that select a manifest.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct ManifestArgs {
    /// Select this architecture
    #[arg(short = 'm', long, value_name = "ARCH", value_parser = values::arch())]
    arch: Option<Arch>,

    /// Select this platform, or PLATFORM/ARCH
    #[arg(short, long, value_name = "PLATFORM")]
    plat: Option<String>,

    /// Select a kernel with this option, such as `CONFIG_LIBVFSCORE=y`
    #[arg(short, long, value_name = "NAME=VALUE")]
    kconfig: Vec<String>,
}

impl ManifestArgs {
    /// Parses the flags.
    pub(crate) fn filter(&self) -> Result<PlatformFilter, Failure> {
        let mut filter = PlatformFilter {
            arch: self.arch.map(|arch| arch.name().to_owned()),
            ..PlatformFilter::default()
        };
        if let Some(plat) = &self.plat {
            let (plat, arch) = match plat.split_once('/') {
                Some((plat, arch)) => (plat, Some(arch)),
                None => (plat.as_str(), None),
            };
            let plat: PlatformArg = plat
                .parse()
                .map_err(|error| Failure::usage(format!("`--plat {plat}`: {error}")))?;
            filter.os = plat.0.map(|plat| plat.name().to_owned());
            if let Some(arch) = arch {
                let arch: Arch = arch.parse().map_err(Failure::usage)?;
                filter.arch = Some(arch.name().to_owned());
            }
        }
        for option in &self.kconfig {
            if !option.contains('=') {
                return Err(Failure::usage(format!(
                    "`--kconfig {option}`: expected NAME=VALUE"
                )));
            }
            let prefix = if option.starts_with("CONFIG_") {
                ""
            } else {
                "CONFIG_"
            };
            filter.features.push(format!("{prefix}{option}"));
        }
        Ok(filter)
    }
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let filter = args.filter.filter()?;
    let extent = if args.all {
        Extent::All
    } else {
        Extent::Chosen
    };
    let store = images::open(app)?;
    let mut tally = Tally::default();
    let here = match &args.workdir {
        Some(dir) => dir.display().to_string(),
        None => ".".to_owned(),
    };
    let none = args.images.is_empty().then_some(&here);
    for word in args.images.iter().chain(none) {
        let pulled = if let Some(name) = args.component(word) {
            components::fetch(app, &name, args.workdir.as_deref()).map_err(Failure::from)
        } else {
            subject(app, args, word, &filter).and_then(|subject| match subject {
                Some((name, _)) if builtin::is_builtin(&name) => {
                    builtin::provide(&*store, &name).map_err(Failure::from)
                }
                Some((name, filter)) => {
                    transfer::pull(app, &store, &name, &filter, extent).map_err(Failure::from)
                }
                None => Ok(()),
            })
        };
        tally.count(app, pulled);
    }
    tally.outcome()
}

impl Args {
    /// Returns the component of an argument; `None` if it is an image.
    fn component(&self, word: &str) -> Option<Name> {
        if Path::new(word).is_dir() {
            return None;
        }
        // `unikraft@staging` is another form of `unikraft:staging`, but not of an image with a digest.
        let word = match word.split_once('@') {
            Some((name, version)) if !word.contains(':') => &format!("{name}:{version}"),
            _ => word,
        };
        let name: Name = word.parse().ok()?;
        (name.kind.is_some() || self.format == "manifest").then_some(name)
    }
}

/// Returns the images to pull: the argument, or the runtime of a project. Empty for a project that
/// is built from components, which are fetched.
fn subject(
    app: &App,
    args: &Args,
    word: &str,
    typed: &PlatformFilter,
) -> Result<Option<(Reference, PlatformFilter)>, Failure> {
    if !Path::new(word).is_dir() {
        return Ok(Some((builtin::reference(word)?, typed.clone())));
    }
    let project = project::open(app, Some(Path::new(word)), args.kraftfile.as_deref())?;
    let resolved = project.resolved();
    if resolved.unikraft.is_some() || resolved.template.is_some() {
        build::prepare(app, project, &Fetching::default())?;
        return Ok(None);
    }
    if resolved.runtime.is_none() {
        return Err(
            Failure::new(Kind::NotFound, "the project has no runtime image")
                .hint("set `runtime` in the Kraftfile"),
        );
    }
    let mut filter = settings::runtime_filter(&resolved);
    filter.os = typed.os.clone().or(filter.os);
    filter.arch = typed.arch.clone().or(filter.arch);
    filter.features.extend(typed.features.clone());
    let name = builtin::reference(&settings::runtime_name(&resolved)?)?;
    Ok(Some((name, filter)))
}
