//! The checks of `kraft doctor`: everything on the host that kraft depends on.
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
use kraft_sys::command_line::redacted;
use kraft_sys::tool::{self, Tool};
use serde::Serialize;

use crate::app::App;
use crate::failure::Failure;
use kraft_config::Config;
use kraft_engine::{dockerfile, machines};

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// Well.
    Ok,
    /// Something does not work, or not as well as it could.
    Warn,
    /// Machines cannot be run.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// What it is.
    pub(crate) name: String,
    /// How it is.
    pub(crate) status: Status,
    /// What was found.
    pub(crate) detail: String,
    /// What to do about it.
    pub(crate) cure: Option<String>,
}

impl Check {
    fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            status: Status::Ok,
            detail: detail.into(),
            cure: None,
        }
    }

    fn bad(
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

/// Looks at everything.
pub(crate) fn all(app: &App) -> Vec<Check> {
    let mut checks = vec![configuration(app)];
    let here = std::env::consts::ARCH.parse().ok();
    for arch in [Arch::X86_64, Arch::Arm64] {
        checks.extend(vmm(app, Platform::Qemu, arch, here == Some(arch)));
    }
    checks.push(kvm(app));
    checks.push(runtime_dir(&app.settings.runtime_dir));
    checks.push(disk_space(&app.settings.runtime_dir));
    checks.extend(TOOLS.iter().map(toolchain));
    checks.extend(builders(app));
    checks.push(registries(&app.config));
    checks
}

/// Looks at everything that could build a Dockerfile. One builder that works is enough.
fn builders(app: &App) -> Vec<Check> {
    const NAME: &str = "Dockerfile builder";
    let states = match dockerfile::states(app) {
        Ok(states) => states,
        Err(error) => {
            let failure = Failure::from(error);
            let detail = failure.message.sentences().join("; ");
            let cure = failure.hints.join("; ");
            return vec![Check::bad(NAME, Status::Warn, detail, cure)];
        }
    };
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
                Check::ok(NAME, format!("{}{tried}", state.name))
            }
            // It is one of several: nothing is wrong if it is not here.
            Some(why) => Check::ok(NAME, format!("{}: not usable: {why}", state.name)),
        })
        .collect();
    if states.iter().all(|state| state.missing.is_some()) {
        let detail = "no builder works, so Dockerfiles with `RUN` cannot be built";
        let cure = "apt install util-linux, or apt install buildah";
        checks.push(Check::bad(NAME, Status::Warn, detail, cure));
    }
    checks
}

fn vmm(app: &App, platform: Platform, arch: Arch, needed: bool) -> Option<Check> {
    let name = format!("{} for {arch}", platform.title());
    let status = if needed { Status::Fail } else { Status::Warn };
    let check = match host::vmm(&machines::settings(app), platform, arch)? {
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
                ProgramError::NotFound { package, .. } => match app.settings.qemu {
                    Some(_) => "correct the key `qemu`: `kraft config set qemu PATH`".to_owned(),
                    None => format!("apt install {package}"),
                },
                ProgramError::TooOld { vmm, .. } => format!("install a newer {vmm}"),
                ProgramError::NoVersion { .. } | ProgramError::Unrecognized { .. } => {
                    format!("reinstall {}, or correct the key `qemu`", platform.title())
                }
            };
            Check::bad(name, status, chain(&error), cure)
        }
    };
    Some(check)
}

fn kvm(app: &App) -> Check {
    let name = "KVM";
    if app.settings.acceleration_is_off {
        let detail = "switched off by the key `acceleration`: machines run in software";
        return Check::bad(
            name,
            Status::Warn,
            detail,
            "kraft config set acceleration auto",
        );
    }
    match host::probe(&machines::settings(app), Platform::Qemu).kvm {
        Kvm::Works => Check::ok(name, "guests run with it"),
        Kvm::Disabled => Check::ok(name, "not tried"),
        Kvm::Unusable { reason, cure } => {
            let detail = format!("machines run in software: {reason}");
            let cure = cure.unwrap_or_else(|| "nothing: kraft works without it".to_owned());
            Check::bad(name, Status::Warn, detail, cure)
        }
    }
}

/// A program that building a unikernel takes.
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

/// How long a tool may take to print its version.
const PATIENCE: Duration = Duration::from_secs(5);

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
    let output = Tool::new(&path).args(["--version"]).limit(PATIENCE).run();
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
    // It is made when it is first needed; until then the directory above has to allow that.
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

fn configuration(app: &App) -> Check {
    let name = "configuration";
    let config = &app.config;
    let path = config.dirs.config_file();
    let shown = path.display();
    if let Some(fault) = &app.misconfigured {
        let detail = fault.message.sentences().join("; ");
        return Check::bad(name, Status::Fail, detail, format!("edit {shown}"));
    }
    let unknown = config.layers.unknown.len();
    if unknown > 0 {
        let detail = format!("{shown}: {unknown} unknown keys are ignored");
        return Check::bad(name, Status::Warn, detail, "see them with `kraft config`");
    }
    if config.text.is_none() {
        return Check::ok(name, format!("none, defaults apply ({shown})"));
    }
    Check::ok(name, shown.to_string())
}

fn registries(config: &Config) -> Check {
    let name = "registries";
    let mut hosts: Vec<&str> = config
        .layers
        .credentials
        .iter()
        .filter_map(|credential| credential.name.strip_prefix("auth.")?.rsplit_once('.'))
        .map(|(host, _)| host)
        .collect();
    hosts.dedup();
    let manifests = redacted(&config.manifests().join(", "));
    let credentials = if hosts.is_empty() {
        "no credentials".to_owned()
    } else {
        format!("credentials for {}", hosts.join(", "))
    };
    if manifests.is_empty() {
        let detail = format!("none; {credentials}");
        let cure = "kraft config unset unikraft.manifests";
        return Check::bad(name, Status::Warn, detail, cure);
    }
    Check::ok(name, format!("{manifests}; {credentials}"))
}
