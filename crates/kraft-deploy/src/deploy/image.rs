//! The image of a deployment: packaged from a project, and pushed to the platform's registry.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use kraft_core::kraftfile::{Resolved, ResolvedTarget};
use kraft_core::reference::{Digest, Reference, ReferenceError};
use kraft_engine::build::Configure;
use kraft_engine::components::Fetching;
use kraft_engine::context::Context;
use kraft_engine::network::{self, Network};
use kraft_engine::pack::{self, Order};
use kraft_engine::package::{self, Part, Strategy};
use kraft_engine::project::Project;
use kraft_engine::{build, builtin, images, settings, transfer};
use kraft_oci::choose::is_same_arch;
use kraft_oci::image::Platform;
use kraft_oci::store::{self, Store};
use kraft_oci::{listing, pull};

use super::interruptible;
use crate::account::Account;
use crate::cloud::Cloud;

/// Why there is no image to deploy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name of the image or of the runtime is not a reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The name of the image contains a digest.
    #[error("`{0}`: the name of a new image has a tag, not a digest")]
    Digest(String),
    /// The project has no target that the platform runs.
    #[error("the project has no target {}that the cloud can run", .0.as_ref().map(|name| format!("`{name}` ")).unwrap_or_default())]
    NoTarget(Option<String>),
    /// The runtime has nothing for the target that was requested.
    #[error("`{runtime}` has nothing for `{target}` that the cloud can run")]
    NoPlatform {
        /// The image of the runtime.
        runtime: String,
        /// The target.
        target: String,
    },
    /// The image cannot be pushed.
    #[error("cannot push the image below `{account}`")]
    Push {
        /// Where the token allows images.
        account: String,
        /// Why not.
        source: Box<transfer::Error>,
    },
    /// The user interrupted the command.
    #[error(transparent)]
    Local(#[from] interruptible::Error),
    /// The project cannot be built.
    #[error(transparent)]
    Build(#[from] Box<build::Error>),
    /// What was built, or the runtime, cannot be packed.
    #[error(transparent)]
    Pack(#[from] pack::Error),
    /// The image cannot be packaged.
    #[error(transparent)]
    Package(#[from] package::Error),
    /// The runtime of the project is not an image.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// The image store cannot be opened or searched.
    #[error(transparent)]
    Images(#[from] images::Error),
    /// A document of the runtime cannot be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The client of registries cannot be created.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// The runtime cannot be looked up in its registry.
    #[error(transparent)]
    Pull(#[from] pull::PullError),
}

/// The cloud's own platform.
const OWN: &str = "kraftcloud";
/// The platforms that a cloud without its own platform may run, best first: the real one runs
/// Firecracker, an emulator may run QEMU.
const OTHERS: [&str; 2] = ["fc", "qemu"];
/// The architecture of its machines.
const ARCH: &str = "x86_64";
/// The runtime of a root filesystem without a kernel.
pub const BASE: &str = "official/base:latest";

/// Options for the image of a deployment.
#[derive(Clone, Debug)]
pub struct PackageOptions {
    /// Its name: `[ACCOUNT/]NAME[:TAG]`; by default that of the project.
    pub name: Option<String>,
    /// Options for its contents.
    pub order: Order,
    /// What happens to an existing image of that name.
    pub strategy: Strategy,
    /// Number of parallel jobs of a build.
    pub jobs: Option<NonZeroUsize>,
    /// Whether to build sequentially.
    pub sequential: bool,
    /// A file that also gets the output of the build.
    pub log: Option<PathBuf>,
    /// Whether a build is configured first.
    pub configure: Configure,
    /// How components are fetched.
    pub fetching: Fetching,
}

/// An image in the local store, under its name in the platform's registry.
#[derive(Clone, Debug)]
pub struct Packaged {
    name: Reference,
    digest: Digest,
}

impl Packaged {
    /// Returns the platform's name of exactly this image, with its digest.
    pub fn on_platform(&self) -> String {
        format!("{}@{}", self.name.repository(), self.digest)
    }

    /// Returns the name with a tag: `ACCOUNT/NAME:TAG`.
    pub fn tagged(&self) -> String {
        let tag = self.name.tag().unwrap_or("latest");
        format!("{}:{tag}", self.name.repository())
    }
}

/// Packages a project, after building what is missing; without a project, a root filesystem.
///
/// # Errors
///
/// If the project cannot be built or packaged, or the user interrupts the command.
pub fn package(
    ctx: &Context,
    cloud: &Cloud,
    project: Option<Project>,
    options: &PackageOptions,
) -> Result<Packaged, Error> {
    let (ctx, account, options) = (ctx.clone(), cloud.account().clone(), options.clone());
    interruptible::run(cloud, move || pack(&ctx, &account, project, &options))?
}

fn pack(
    ctx: &Context,
    account: &Account,
    project: Option<Project>,
    options: &PackageOptions,
) -> Result<Packaged, Error> {
    let name = image_name(account, project.as_ref(), options)?;
    let store = images::open(ctx)?;
    let strategy = package::resolve_strategy(ctx, &*store, &name, options.strategy)?;
    let parts = match project {
        Some(project) if is_built(&project) && options.order.runtime.is_none() => {
            built(ctx, project, options)?
        }
        project => on_runtime(ctx, account, &store, project.as_ref(), &options.order)?,
    };
    if parts.iter().all(|part| part.platform.os != OWN) {
        let others: Vec<String> = parts.iter().map(|part| part.platform.pair()).collect();
        ctx.info(&format!(
            "the image is for {}, not for the cloud's own platform",
            others.join(" and ")
        ));
    }
    let package = package::Package {
        name: name.clone(),
        strategy,
        linux: false,
        engines: Vec::new(),
    };
    let index = package::assemble(ctx, &*store, &package, parts)?;
    images::collect_garbage(ctx, &*store);
    Ok(Packaged {
        name,
        digest: index.digest,
    })
}

/// Pushes an image to the platform's registry.
///
/// # Errors
///
/// If the registry cannot be reached or refuses, or the user interrupts the command.
pub fn push(ctx: &Context, cloud: &Cloud, packaged: &Packaged) -> Result<(), Error> {
    let store = images::open(ctx)?;
    let network = cloud.account().network(ctx)?;
    let sent = transfer::push_by(ctx, &network, &store, &packaged.name, cloud.interrupt());
    sent.map_err(|error| Error::Push {
        account: format!("{}/{}", cloud.registry(), cloud.account().name()),
        source: Box::new(error),
    })
}

/// Returns the full name of the image.
///
/// # Errors
///
/// If the name is not a reference, or has a digest.
pub fn image_name(
    account: &Account,
    project: Option<&Project>,
    options: &PackageOptions,
) -> Result<Reference, Error> {
    let name = match (options.name.as_deref(), project) {
        (Some(name), _) => name.to_owned(),
        (None, Some(project)) => normalise(&project_name(project)),
        (None, None) => normalise(&current_dir_name()),
    };
    full_name(account, &name)
}

/// Returns the name of an image in the platform's registry: below the user's account, unless the name
/// has one.
fn full_name(account: &Account, name: &str) -> Result<Reference, Error> {
    let host = format!("{}/", account.registry);
    let path = name.strip_prefix(&host).unwrap_or(name);
    let path = path.strip_prefix("unikraft.io/").unwrap_or(path);
    let path = below_account(path);
    let full = if path.contains('/') {
        format!("{host}{path}")
    } else {
        format!("{host}{}/{path}", normalise(account.name()))
    };
    let name = full.parse::<Reference>()?.qualified();
    if name.digest().is_some() {
        return Err(Error::Digest(full));
    }
    Ok(name)
}

/// Returns the name below the account of an image of another registry: its last part.
fn below_account(path: &str) -> &str {
    match path.parse::<Reference>() {
        Ok(name) if name.registry().is_some() => path.rsplit('/').next().unwrap_or(path),
        _ => path,
    }
}

fn project_name(project: &Project) -> String {
    let name = project.resolved().name;
    if name.is_empty() {
        project.dir_name.clone()
    } else {
        name
    }
}

/// Returns the name of the current directory.
fn current_dir_name() -> String {
    let dir = std::path::absolute(".").unwrap_or_default();
    let name = dir
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "app".to_owned())
}

/// Returns a name with only the characters that names of images may have.
fn normalise(name: &str) -> String {
    let mut out = String::new();
    for c in name.to_lowercase().chars() {
        match c {
            'a'..='z' | '0'..='9' => out.push(c),
            // A separator stands alone between other characters.
            _ if out.is_empty() || out.ends_with('-') => {}
            _ => out.push('-'),
        }
    }
    let name = out.trim_end_matches('-');
    if name.is_empty() {
        "app".to_owned()
    } else {
        name.to_owned()
    }
}

/// Returns whether the kernel of a project is built from source.
fn is_built(project: &Project) -> bool {
    project.has_sources() && !project.has_runtime()
}

/// Builds the targets of a project that the cloud can run, and packs them.
fn built(ctx: &Context, project: Project, options: &PackageOptions) -> Result<Vec<Part>, Error> {
    let site = build::prepare(ctx, project, &options.fetching).map_err(Box::new)?;
    let targets = targets(&site.resolved, options.order.target.as_deref())?;
    let building = build::BuildOptions {
        jobs: options.jobs,
        slowly: options.sequential,
        log: options.log.clone(),
        configure: options.configure,
        rootfs: options.order.rootfs.clone(),
        dockerfile: options.order.building.clone(),
        ..build::BuildOptions::default()
    };
    build::build(ctx, &site, &targets, &building).map_err(Box::new)?;
    let mut parts = Vec::new();
    for target in &targets {
        let order = Order {
            target: Some(place(target)),
            ..with_cache(&options.order)
        };
        parts.extend(pack::of_build(ctx, &order, &site.project)?);
    }
    Ok(parts)
}

/// Returns an order that uses the cached root filesystem: it was just built.
fn with_cache(order: &Order) -> Order {
    let mut order = order.clone();
    order.building.fresh = false;
    order
}

/// Returns the targets that are deployed.
fn targets(resolved: &Resolved, wanted: Option<&str>) -> Result<Vec<ResolvedTarget>, Error> {
    let fitting: Vec<&ResolvedTarget> = resolved
        .targets
        .iter()
        .filter(|target| target.architecture == ARCH)
        .filter(|target| wanted.is_none_or(|name| name == target.name || name == place(target)))
        .collect();
    let find = |os: &str| fitting.iter().find(|target| target.platform == os);
    let found: Vec<ResolvedTarget> = runnable(|os| find(os).is_some())
        .into_iter()
        .filter_map(|os| find(os).map(|&target| target.clone()))
        .collect();
    if found.is_empty() {
        return Err(Error::NoTarget(wanted.map(str::to_owned)));
    }
    Ok(found)
}

/// Returns the available platforms that the cloud runs: its own if available, else all others.
fn runnable(is_available: impl Fn(&str) -> bool) -> Vec<&'static str> {
    if is_available(OWN) {
        return vec![OWN];
    }
    OTHERS.into_iter().filter(|os| is_available(os)).collect()
}

/// Returns the platform and architecture of a target: `fc/x86_64`.
fn place(target: &ResolvedTarget) -> String {
    format!("{}/{}", target.platform, target.architecture)
}

/// Packs a root filesystem on a runtime: the requested one, that of the project, or the platform's
/// own.
fn on_runtime(
    ctx: &Context,
    account: &Account,
    store: &Arc<dyn Store>,
    project: Option<&Project>,
    order: &Order,
) -> Result<Vec<Part>, Error> {
    let own = match project.filter(|project| project.file.is_some()) {
        Some(project) if order.runtime.is_none() => {
            Some(settings::runtime_name(&project.resolved())?)
        }
        _ => None,
    };
    let runtime = runtime(&account.registry, order.runtime.clone().or(own))?;
    let network = account.network(ctx)?;
    let available = platforms(ctx, &network, store, &runtime)?;
    let fits = |platform: &&Platform| {
        is_same_arch(&platform.architecture, ARCH)
            && (order.target.as_deref()).is_none_or(|name| name == platform.pair())
    };
    let found = runnable(|os| available.iter().filter(fits).any(|one| one.os == os));
    if let (Some(target), []) = (&order.target, found.as_slice()) {
        return Err(Error::NoPlatform {
            runtime: runtime.to_string(),
            target: target.clone(),
        });
    }
    let order = Order {
        runtime: Some(runtime.to_string()),
        arch: ARCH.parse().ok(),
        ..order.clone()
    };
    let part = |order: Order, os: Option<&str>| {
        let os = os.map(str::to_owned);
        pack::of_runtime(ctx, store, &Order { os, ..order }, project)
    };
    // The packager reports a runtime without any platform.
    let mut parts = vec![part(order.clone(), found.first().copied())?];
    for os in found.iter().skip(1) {
        parts.push(part(with_cache(&order), Some(os))?);
    }
    Ok(parts)
}

/// Returns the full name of the runtime that is used on the platform for the one that the command line
/// or the Kraftfile names. Without a host it is in the platform's registry; without an account it is an
/// official one. The platform has a kernel of its own in place of the built-in one.
///
/// # Errors
///
/// If the name is not a reference.
pub fn runtime(registry: &str, named: Option<String>) -> Result<Reference, ReferenceError> {
    let is_builtin =
        |named: &String| builtin::reference(named).is_ok_and(|name| builtin::is_builtin(&name));
    let named = named.filter(|named| !is_builtin(named));
    let named = named.as_deref().unwrap_or(BASE);
    let name: Reference = named.parse()?;
    if let Some(host) = name.registry() {
        let full = match host {
            "unikraft.io" => named.replacen("unikraft.io", registry, 1),
            _ => named.to_owned(),
        };
        return Ok(full.parse::<Reference>()?.qualified());
    }
    let prefix = if named.contains('/') { "" } else { "official/" };
    let full = format!("{registry}/{prefix}{named}");
    Ok(full.parse::<Reference>()?.qualified())
}

/// Returns the platforms of an image: of the local one, else of the one in its registry.
fn platforms(
    ctx: &Context,
    network: &Network,
    store: &Arc<dyn Store>,
    name: &Reference,
) -> Result<Vec<Platform>, Error> {
    let candidates = if let Some(found) = images::look_up(&**store, name)? {
        listing::candidates_of(&**store, &found.named.target)?
    } else {
        ctx.info(&format!("looking up {name}"));
        let looked_up = network.run(async {
            let remote = pull::look(&network.registry, name).await?;
            remote.candidates(&network.registry, name).await
        });
        looked_up?
    };
    Ok(candidates.into_iter().map(|one| one.platform).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account {
            token: kraft_cloud::token::Token::of("anna", "secret").unwrap(),
            registry: "index.unikraft.io".to_owned(),
            account: None,
        }
    }

    #[test]
    fn names_of_directories_become_names_of_images() {
        for (name, expected) in [
            ("My App (2)", "my-app-2"),
            ("größe", "gr-e"),
            ("???", "app"),
            ("web", "web"),
        ] {
            assert_eq!(normalise(name), expected);
        }
    }

    #[test]
    fn an_image_is_named_below_the_account_unless_its_name_has_one() {
        for (name, expected) in [
            ("web", "index.unikraft.io/anna/web:latest"),
            ("web:v1", "index.unikraft.io/anna/web:v1"),
            ("berta/web", "index.unikraft.io/berta/web:latest"),
            (
                "index.unikraft.io/berta/web:v2",
                "index.unikraft.io/berta/web:v2",
            ),
            ("unikraft.io/berta/web:v2", "index.unikraft.io/berta/web:v2"),
            ("ghcr.io/other/web:v3", "index.unikraft.io/anna/web:v3"),
        ] {
            let full = full_name(&account(), name).unwrap();
            assert_eq!(full.to_string(), expected, "{name}");
        }
        let digest = format!("web@sha256:{}", "0".repeat(64));
        assert!(matches!(
            full_name(&account(), &digest),
            Err(Error::Digest(_))
        ));
    }

    #[test]
    fn a_runtime_without_a_host_is_an_image_of_the_platform() {
        for (name, expected) in [
            ("base", "index.unikraft.io/official/base:latest"),
            ("official/base:1", "index.unikraft.io/official/base:1"),
            ("anna/base", "index.unikraft.io/anna/base:latest"),
            (
                "unikraft.io/official/base",
                "index.unikraft.io/official/base:latest",
            ),
            ("ghcr.io/other/base:v3", "ghcr.io/other/base:v3"),
        ] {
            let full = runtime("index.unikraft.io", Some(name.to_owned())).unwrap();
            assert_eq!(full.to_string(), expected, "{name}");
        }
    }

    #[test]
    fn the_base_of_the_platform_replaces_the_built_in_runtime() {
        for (named, expected) in [
            (None, "index.unikraft.io/official/base:latest"),
            (Some("builtin"), "index.unikraft.io/official/base:latest"),
            (
                Some("builtin:0.0.1"),
                "index.unikraft.io/official/base:latest",
            ),
            (
                Some("kraft.local/runtime"),
                "index.unikraft.io/official/base:latest",
            ),
            (Some("ghcr.io/other/builtin:1"), "ghcr.io/other/builtin:1"),
            (Some("kraft.local/other"), "kraft.local/other:latest"),
        ] {
            let full = runtime("index.unikraft.io", named.map(str::to_owned)).unwrap();
            assert_eq!(full.to_string(), expected, "{named:?}");
        }
        assert!(runtime("index.unikraft.io", Some("Not a name".to_owned())).is_err());
    }

    #[test]
    fn the_own_platform_of_the_cloud_is_preferred() {
        let of = |available: &[&str]| runnable(|os| available.contains(&os));
        assert_eq!(of(&["qemu", "fc", "kraftcloud"]), ["kraftcloud"]);
        assert_eq!(of(&["qemu", "xen", "fc"]), ["fc", "qemu"]);
        assert_eq!(of(&["xen"]), <[&str; 0]>::default());
    }
}
