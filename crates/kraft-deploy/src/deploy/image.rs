//! The image that is deployed: packaged from a project, and pushed to the platform's registry.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use kraft_core::kraftfile::{Resolved, ResolvedTarget};
use kraft_core::reference::{Digest, Reference};
use kraft_engine::build::Configure;
use kraft_oci::choose::is_same_arch;
use kraft_oci::image::Platform;
use kraft_oci::store::Store;
use kraft_oci::{listing, pull};

use super::super::account;
use super::super::trail::Trail;
use super::Cloud;
use super::local::local;
use kraft_engine::components::Fetching;
use kraft_engine::context::Context;
use kraft_engine::failure::{Failure, Kind};
use kraft_engine::network::Network;
use kraft_engine::pack::{self, Order};
use kraft_engine::package::{self, Part, Strategy};
use kraft_engine::project::Project;
use kraft_engine::{build, images, settings, transfer};

/// The cloud's own platform.
const OWN: &str = "kraftcloud";
/// What a cloud that runs nothing of its own runs, best first: the machines of the real one are
/// Firecracker's, those of an emulation need not be.
const OTHERS: [&str; 2] = ["fc", "qemu"];
/// What its machines run on.
const ARCH: &str = "x86_64";
/// What runs a root filesystem that has no kernel of its own.
pub const BASE: &str = "official/base:latest";

/// How an image is packaged.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its name: `[ACCOUNT/]NAME[:TAG]`; that of the project if it is missing.
    pub name: Option<String>,
    /// What was typed about its contents.
    pub order: Order,
    /// What to do about an image that has the name already.
    pub strategy: Strategy,
    /// How many things may be built at once.
    pub jobs: Option<NonZeroUsize>,
    /// Whether to build one thing after the other.
    pub slowly: bool,
    /// A file that gets the output of the build, too.
    pub log: Option<PathBuf>,
    /// Whether what is built is configured first.
    pub configure: Configure,
    /// How components are fetched.
    pub fetching: Fetching,
}

/// An image that is in the store under the platform's name for it.
#[derive(Clone, Debug)]
pub struct Packaged {
    name: Reference,
    digest: Digest,
}

impl Packaged {
    /// Returns the name that the platform has for exactly this image.
    pub fn on_platform(&self) -> String {
        format!("{}@{}", self.name.repository(), self.digest)
    }

    /// Returns the name that users type: `ACCOUNT/NAME:TAG`.
    pub fn shown(&self) -> String {
        let tag = self.name.tag().unwrap_or("latest");
        format!("{}:{tag}", self.name.repository())
    }
}

/// Packages a project, after building what is missing; without a project, a root filesystem. An
/// interrupt ends it, and what was made before is told.
pub fn package(
    ctx: &Context,
    cloud: &Cloud,
    project: Option<Project>,
    (wish, trail): (&Package, &Trail),
) -> Result<Packaged, Failure> {
    local(ctx, cloud.interrupt(), trail, || {
        pack(ctx, cloud, project, wish)
    })
}

fn pack(
    ctx: &Context,
    cloud: &Cloud,
    project: Option<Project>,
    wish: &Package,
) -> Result<Packaged, Failure> {
    let name = name(cloud, project.as_ref(), wish)?;
    let store = images::open(ctx)?;
    let strategy = package::settle(ctx, &*store, &name, wish.strategy)?;
    let parts = match project {
        Some(project) if is_built(&project) && wish.order.runtime.is_none() => {
            built(ctx, project, wish)?
        }
        project => on_runtime(ctx, cloud, &store, project.as_ref(), &wish.order)?,
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
    };
    let index = package::assemble(ctx, &*store, &package, parts)?;
    images::collect_garbage(ctx, &*store);
    Ok(Packaged {
        name,
        digest: index.digest,
    })
}

/// Pushes an image to the platform's registry; an interrupt ends it.
pub fn push(ctx: &Context, cloud: &Cloud, packaged: &Packaged) -> Result<(), Failure> {
    let store = images::open(ctx)?;
    let network = account::network(ctx, cloud)?;
    let sent = transfer::push_by(ctx, &network, &store, &packaged.name, cloud.interrupt());
    sent.map_err(Failure::from)
        .map_err(|failure| match failure.kind {
            Kind::Authentication => failure.hint(format!(
                "the token is for images below `{}/{}`",
                cloud.registry(),
                cloud.token().account()
            )),
            _ => failure,
        })
}

/// Returns the full name of the image.
pub fn name(
    cloud: &Cloud,
    project: Option<&Project>,
    wish: &Package,
) -> Result<Reference, Failure> {
    let name = match (wish.name.as_deref(), project) {
        (Some(name), _) => name.to_owned(),
        (None, Some(project)) => tame(&project_name(project)),
        (None, None) => tame(&here()),
    };
    let host = format!("{}/", cloud.registry());
    let path = name.strip_prefix(&host).unwrap_or(&name);
    let path = path.strip_prefix("unikraft.io/").unwrap_or(path);
    let path = below_account(path);
    let full = if path.contains('/') {
        format!("{host}{path}")
    } else {
        format!("{host}{}/{path}", tame(cloud.token().account()))
    };
    let name = full.parse::<Reference>()?.qualified();
    if name.digest().is_some() {
        return Err(Failure::usage(format!(
            "`{full}`: an image is given a tag, its digest is what it is"
        )));
    }
    Ok(name)
}

/// Returns the name that an image of another registry has below the account: the last part of it.
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
fn here() -> String {
    let dir = std::path::absolute(".").unwrap_or_default();
    let name = dir
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "app".to_owned())
}

/// Returns a name in the letters that the names of images have.
fn tame(name: &str) -> String {
    let mut out = String::new();
    for c in name.to_lowercase().chars() {
        match c {
            'a'..='z' | '0'..='9' => out.push(c),
            // Separators stand between letters, and alone.
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
fn built(ctx: &Context, project: Project, wish: &Package) -> Result<Vec<Part>, Failure> {
    let site = build::site(ctx, project, &wish.fetching)?;
    let targets = targets(&site.resolved, wish.order.target.as_deref())?;
    let building = build::Wish {
        jobs: wish.jobs,
        slowly: wish.slowly,
        log: wish.log.clone(),
        configure: wish.configure,
        rootfs: wish.order.rootfs.clone(),
        dockerfile: wish.order.building.clone(),
        ..build::Wish::default()
    };
    build::build(ctx, &site, &targets, &building)?;
    let mut parts = Vec::new();
    for target in &targets {
        let order = Order {
            target: Some(place(target)),
            ..made(&wish.order)
        };
        parts.extend(pack::of_build(ctx, &order, &site.project)?);
    }
    Ok(parts)
}

/// Returns an order whose root filesystem was made a moment ago, however anew that was to be.
fn made(order: &Order) -> Order {
    let mut order = order.clone();
    order.building.fresh = false;
    order
}

/// Returns the targets that are deployed.
fn targets(resolved: &Resolved, typed: Option<&str>) -> Result<Vec<ResolvedTarget>, Failure> {
    let fitting: Vec<&ResolvedTarget> = resolved
        .targets
        .iter()
        .filter(|target| target.architecture == ARCH)
        .filter(|target| typed.is_none_or(|typed| typed == target.name || typed == place(target)))
        .collect();
    let find = |os: &str| fitting.iter().find(|target| target.platform == os);
    let found: Vec<ResolvedTarget> = runnable(|os| find(os).is_some())
        .into_iter()
        .filter_map(|os| find(os).map(|&target| target.clone()))
        .collect();
    if found.is_empty() {
        return Err(match typed {
            Some(typed) => Failure::usage(format!(
                "the project has no target `{typed}` that the cloud can run"
            )),
            None => Failure::usage("the project has no target that the cloud can run"),
        }
        .hint(format!("add one to the Kraftfile: `targets: [fc/{ARCH}]`")));
    }
    Ok(found)
}

/// Returns which platforms of those that there are the cloud can run: its own, or else all that
/// some cloud can.
fn runnable(is_there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    if is_there(OWN) {
        return vec![OWN];
    }
    OTHERS.into_iter().filter(|os| is_there(os)).collect()
}

/// Returns what a target is for, as it is typed.
fn place(target: &ResolvedTarget) -> String {
    format!("{}/{}", target.platform, target.architecture)
}

/// Packs a root filesystem on top of the runtime that was typed, that of the project, or the
/// platform's own.
fn on_runtime(
    ctx: &Context,
    cloud: &Cloud,
    store: &Arc<dyn Store>,
    project: Option<&Project>,
    order: &Order,
) -> Result<Vec<Part>, Failure> {
    let named = match (&order.runtime, project) {
        (Some(typed), _) => typed.clone(),
        (None, Some(project)) if project.file.is_some() => {
            settings::runtime_name(&project.resolved())?
        }
        (None, _) => BASE.to_owned(),
    };
    let runtime = runtime(cloud, &named)?;
    let network = account::network(ctx, cloud)?;
    let there = platforms(ctx, &network, store, &runtime)?;
    let fits = |platform: &&Platform| {
        is_same_arch(&platform.architecture, ARCH)
            && (order.target.as_deref()).is_none_or(|typed| typed == platform.pair())
    };
    let found = runnable(|os| there.iter().filter(fits).any(|one| one.os == os));
    if let (Some(typed), []) = (&order.target, found.as_slice()) {
        return Err(Failure::usage(format!(
            "`{runtime}` has nothing for `{typed}` that the cloud can run"
        )));
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
    // If there is none, it is told by whoever takes it.
    let mut parts = vec![part(order.clone(), found.first().copied())?];
    for os in found.iter().skip(1) {
        parts.push(part(made(&order), Some(os))?);
    }
    Ok(parts)
}

/// Returns the whole name of a runtime: one without a host is the platform's, and one without an
/// account belongs to all.
fn runtime(cloud: &Cloud, named: &str) -> Result<Reference, Failure> {
    let typed: Reference = named.parse()?;
    if let Some(host) = typed.registry() {
        let full = match host {
            "unikraft.io" => named.replacen("unikraft.io", cloud.registry(), 1),
            _ => named.to_owned(),
        };
        return Ok(full.parse::<Reference>()?.qualified());
    }
    let account = if named.contains('/') { "" } else { "official/" };
    let full = format!("{}/{account}{named}", cloud.registry());
    Ok(full.parse::<Reference>()?.qualified())
}

/// Returns what an image runs on: as it is known here, else as its registry says.
fn platforms(
    ctx: &Context,
    network: &Network,
    store: &Arc<dyn Store>,
    name: &Reference,
) -> Result<Vec<Platform>, Failure> {
    let candidates = if let Some(found) = images::look_up(&**store, name)? {
        listing::candidates_of(&**store, &found.named.target)?
    } else {
        ctx.info(&format!("looking at {name}"));
        network.run(async {
            let remote = pull::look(&network.registry, name).await?;
            remote.candidates(&network.registry, name).await
        })?
    };
    Ok(candidates.into_iter().map(|one| one.platform).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_directories_become_names_of_images() {
        assert_eq!(tame("My App (2)"), "my-app-2");
        assert_eq!(tame("größe"), "gr-e");
        assert_eq!(tame("???"), "app");
        assert_eq!(tame("web"), "web");
    }

    #[test]
    fn the_clouds_own_platform_is_enough() {
        let of = |there: &[&str]| runnable(|os| there.contains(&os));
        assert_eq!(of(&["qemu", "fc", "kraftcloud"]), ["kraftcloud"]);
        assert_eq!(of(&["qemu", "xen", "fc"]), ["fc", "qemu"]);
        assert_eq!(of(&["xen"]), <[&str; 0]>::default());
    }
}
