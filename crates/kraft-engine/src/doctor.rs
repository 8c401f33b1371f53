//! Checks the host for everything that kraft depends on.
//!
//! A check has a status, what was found and, unless the status is ok, what to do about it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kraft_core::arch::Arch;
use kraft_core::error::chain;
use kraft_core::host::Kvm;
use kraft_core::platform::Platform;
use kraft_machine::driver::ProgramError;
use kraft_machine::host;
use kraft_sys::tool::{self, Tool};
use serde::Serialize;

use crate::context::Context;
use crate::{dockerfile, machines};

/// Status of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It works.
    Ok,
    /// Something does not work, or not as well as it could.
    Warn,
    /// Machines cannot be run.
    Fail,
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is.
    pub name: String,
    /// Its status.
    pub status: Status,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    pub cure: Option<String>,
}

impl Check {
    /// Creates a check of something that works.
    pub fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            status: Status::Ok,
            detail: detail.into(),
            cure: None,
        }
    }

    /// Creates a check of something that does not work, with what to do about it.
    pub fn bad(
        name: impl Into<String>,
        status: Status,
        detail: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            status,
            cure: Some(cure.into()),
            ..Self::ok(name, detail)
        }
    }
}

/// Checks VMMs, KVM, directories, disk space and the toolchain.
///
/// ```no_run
/// # use kraft_engine::context::Context;
/// use kraft_engine::doctor::{self, Status};
///
/// # fn example(context: &Context) {
/// for check in doctor::host(context) {
///     if check.status != Status::Ok {
///         println!("{}: {}", check.name, check.detail);
///     }
/// }
/// # }
/// ```
pub fn host(ctx: &Context) -> Vec<Check> {
    let mut checks = Vec::new();
    for arch in [Arch::X86_64, Arch::Arm64] {
        checks.extend(vmm(ctx, Platform::Qemu, arch, Arch::host() == Some(arch)));
    }
    checks.extend(firecracker(ctx));
    checks.push(kvm(ctx));
    checks.push(networks());
    checks.push(authorities(ctx));
    checks.push(runtime_dir(&ctx.settings.runtime_dir));
    checks.push(disk_space(&ctx.settings.runtime_dir));
    checks.extend(TOOLS.iter().map(toolchain));
    checks
}

/// The name of the checks of builders.
pub const BUILDER: &str = "Dockerfile builder";

/// Checks everything that could build a Dockerfile. One builder that works is enough.
///
/// # Errors
///
/// If an option of builders is invalid.
pub fn builders(ctx: &Context) -> Result<Vec<Check>, dockerfile::Error> {
    let states = dockerfile::states(ctx)?;
    let mut first = true;
    let mut checks: Vec<Check> = states
        .iter()
        .map(|state| match &state.missing {
            None => {
                let tried = if std::mem::take(&mut first) {
                    ", tried first"
                } else {
                    ""
                };
                Check::ok(BUILDER, format!("{}{tried}", state.name))
            }
            // It is one of several: nothing is wrong if it is not here.
            Some(why) => Check::ok(BUILDER, format!("{}: not usable: {why}", state.name)),
        })
        .collect();
    if states.iter().all(|state| state.missing.is_some()) {
        let detail = "no builder works, so Dockerfiles with `RUN` cannot be built";
        let cure = "apt install util-linux, or apt install buildah";
        checks.push(Check::bad(BUILDER, Status::Warn, detail, cure));
    }
    Ok(checks)
}

fn vmm(ctx: &Context, platform: Platform, arch: Arch, needed: bool) -> Option<Check> {
    let name = format!("{} for {arch}", platform.title());
    let (key, configured) = match platform {
        Platform::Qemu => ("qemu", &ctx.settings.qemu),
        Platform::Firecracker => ("firecracker", &ctx.settings.firecracker),
        Platform::Xen => return None,
    };
    let status = if needed { Status::Fail } else { Status::Warn };
    let check = match host::vmm(&machines::settings(ctx), platform, arch)? {
        Ok(found) => {
            let detail = format!("{}, {}", found.version, found.program.display());
            match found.limitation {
                Some(limited) => {
                    let detail = format!("{detail}: {}", limited.what);
                    Check::bad(name, Status::Warn, detail, limited.hint)
                }
                None => Check::ok(name, detail),
            }
        }
        Err(error) => {
            let cure = match &error {
                ProgramError::NotFound { origin, .. } => match configured {
                    Some(_) => format!("correct the key `{key}`: `kraft config set {key} PATH`"),
                    None => origin.to_string(),
                },
                ProgramError::TooOld { vmm, .. } => format!("install a newer {vmm}"),
                ProgramError::NoVersion { .. } | ProgramError::Unrecognized { .. } => {
                    format!("reinstall {}, or correct the key `{key}`", platform.title())
                }
            };
            Check::bad(name, status, chain(&error), cure)
        }
    };
    Some(check)
}

/// Checks Firecracker, which nothing needs unless it is asked for.
fn firecracker(ctx: &Context) -> Option<Check> {
    let arch = Arch::host()?;
    let found = host::vmm(&machines::settings(ctx), Platform::Firecracker, arch)?;
    match found {
        Err(ProgramError::NotFound { .. }) if ctx.settings.firecracker.is_none() => {
            let name = format!("Firecracker for {arch}");
            Some(Check::ok(name, "not installed: only `--plat fc` needs it"))
        }
        _ => vmm(ctx, Platform::Firecracker, arch, false),
    }
}

fn kvm(ctx: &Context) -> Check {
    let name = "KVM";
    if ctx.settings.acceleration_is_off {
        let detail = "switched off by the key `acceleration`: machines run in software";
        return Check::bad(
            name,
            Status::Warn,
            detail,
            "kraft config set acceleration auto",
        );
    }
    match host::probe(&machines::settings(ctx), Platform::Qemu).kvm {
        Kvm::Works => Check::ok(name, "guests run with it"),
        Kvm::Disabled => Check::ok(name, "not tried"),
        Kvm::Unusable { reason, cure } => {
            let detail = format!("machines run in software: {reason}");
            let cure = cure.unwrap_or_else(|| "nothing: kraft works without it".to_owned());
            Check::bad(name, Status::Warn, detail, cure)
        }
    }
}

/// Checks whether machines can be in networks, and what leads out of these.
fn networks() -> Check {
    let name = "networks";
    if let Some(refusal) = kraft_net::host::refusal() {
        let cure = refusal.cure.unwrap_or_else(|| {
            "nothing: machines without `--network` have a network of their own".to_owned()
        });
        return Check::bad(name, Status::Warn, refusal.why, cure);
    }
    match kraft_net::host::way_out() {
        Some(program) => Check::ok(name, format!("way out: {}", program.display())),
        None => Check::bad(
            name,
            Status::Warn,
            "machines reach each other, but neither the host nor the internet",
            "apt install slirp4netns",
        ),
    }
}

/// Checks which authorities vouch for registries and other servers.
fn authorities(ctx: &Context) -> Check {
    let name = "certificates";
    match (
        kraft_http::trust::system_has_authorities(),
        &ctx.settings.ca_file,
    ) {
        (true, None) => Check::ok(name, "authorities of this system"),
        (true, Some(file)) => {
            let detail = format!("authorities of this system and of `{}`", file.display());
            Check::ok(name, detail)
        }
        (false, _) => Check::bad(
            name,
            Status::Warn,
            "this system has no authorities: Mozilla's are used, as of the release of kraft",
            "apt install ca-certificates",
        ),
    }
}

/// A program that building a unikernel needs.
struct Needed {
    program: &'static str,
    package: &'static str,
    what_for: &'static str,
}

const TOOLS: &[Needed] = &[
    needed("make", "make", "builds Unikraft"),
    needed("gcc", "gcc", "compiles for this architecture"),
    needed(
        "aarch64-linux-gnu-gcc",
        "gcc-aarch64-linux-gnu",
        "compiles for arm64",
    ),
    needed("flex", "flex", "builds the configuration menu"),
    needed("bison", "bison", "builds the configuration menu"),
    needed("git", "git", "fetches sources"),
    needed("python3", "python3", "is used by Unikraft's build"),
];

const fn needed(program: &'static str, package: &'static str, what_for: &'static str) -> Needed {
    Needed {
        program,
        package,
        what_for,
    }
}

/// Timeout of a tool that prints its version.
const LIMIT: Duration = Duration::from_secs(5);

fn toolchain(needed: &Needed) -> Check {
    let Needed {
        program,
        package,
        what_for,
    } = needed;
    let Some(path) = tool::locate(OsStr::new(program)) else {
        let detail = format!("not found; it {what_for}");
        return Check::bad(
            *program,
            Status::Warn,
            detail,
            format!("apt install {package}"),
        );
    };
    let output = Tool::new(&path).args(["--version"]).limit(LIMIT).run();
    match output {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            let line = text.lines().next().unwrap_or_default().trim();
            Check::ok(*program, format!("{line}, {}", path.display()))
        }
        Err(error) => Check::bad(
            *program,
            Status::Warn,
            chain(&error),
            format!("apt install --reinstall {package}"),
        ),
    }
}

fn runtime_dir(dir: &Path) -> Check {
    let name = "runtime directory";
    let shown = dir.display();
    // It is created when it is first needed; until then the directory above must allow that.
    let (present, below) = nearest_existing(dir);
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    match rustix::fs::access(&present, access) {
        Ok(()) if below => Check::ok(name, format!("{shown}, will be made")),
        Ok(()) => Check::ok(name, shown.to_string()),
        Err(error) => Check::bad(
            name,
            Status::Fail,
            format!(
                "{shown}: cannot write to `{}`: {}",
                present.display(),
                std::io::Error::from(error)
            ),
            "kraft config set runtime_dir DIR, with a directory of yours",
        ),
    }
}

/// Fewer free bytes than this are worth a warning.
const LITTLE: u64 = 1 << 30;
/// With fewer free bytes than this nothing works.
const TOO_LITTLE: u64 = 16 << 20;

fn disk_space(dir: &Path) -> Check {
    let name = "disk space";
    let (present, _) = nearest_existing(dir);
    let stat = match rustix::fs::statvfs(&present) {
        Ok(stat) => stat,
        Err(error) => {
            let error = std::io::Error::from(error);
            let detail = format!("cannot read that of `{}`: {error}", present.display());
            return Check::bad(name, Status::Warn, detail, "look at it with `df`");
        }
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let detail = format!("{} MiB free for machines", free >> 20);
    let cure = "free some, or keep machines elsewhere: `kraft config set runtime_dir DIR`";
    if free < TOO_LITTLE {
        Check::bad(name, Status::Fail, detail, cure)
    } else if free < LITTLE {
        Check::bad(name, Status::Warn, detail, cure)
    } else {
        Check::ok(name, detail)
    }
}

/// Returns the path, or the nearest directory above it that exists, and whether it is one above.
fn nearest_existing(path: &Path) -> (PathBuf, bool) {
    let existing = path.ancestors().find(|path| path.exists());
    let existing = existing.unwrap_or_else(|| Path::new("/")).to_owned();
    let above = existing != path;
    (existing, above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_directory_is_checked_by_the_one_above_it() {
        let home = tempfile::tempdir().unwrap();
        let missing = home.path().join("a/b");
        assert_eq!(nearest_existing(&missing), (home.path().to_owned(), true));
        assert_eq!(
            nearest_existing(home.path()),
            (home.path().to_owned(), false)
        );
        let check = runtime_dir(&missing);
        assert_eq!((check.status, check.cure), (Status::Ok, None));
        assert!(!missing.exists());
    }

    #[test]
    fn a_missing_tool_is_a_warning_with_its_package() {
        let check = toolchain(&needed("no-such-tool", "some-package", "does something"));
        assert_eq!(check.status, Status::Warn);
        assert_eq!(check.detail, "not found; it does something");
        assert_eq!(check.cure.as_deref(), Some("apt install some-package"));
    }
}
