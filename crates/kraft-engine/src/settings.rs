//! What an image, a project and a command line each say about running an application, and what
//! comes of it when they are laid over each other.

use std::collections::BTreeMap;

use kraft_core::dockerfile::patterns;
use kraft_core::kraftfile::Resolved;
use kraft_core::mount::{self, Volume};
use kraft_oci::choose::Wish;
use kraft_oci::image::Config;
use kraft_rootfs::dockerfile::Settings as RootSettings;

use super::project::Project;
use crate::context::Context;
use crate::failure::{Failure, Kind};

/// What one of them says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// The arguments, a literal `--` included; `None` where it is silent.
    pub cmd: Option<Vec<String>>,
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl Given {
    /// What the configuration of an image says.
    pub fn of_image(config: &Config) -> Self {
        let run = &config.config;
        let env = run.env.iter().map(|pair| match pair.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (pair.clone(), String::new()),
        });
        Self {
            cmd: (!run.cmd.is_empty()).then(|| run.cmd.clone()),
            env: env.collect(),
            labels: run.labels.clone(),
        }
    }

    /// What the image of a root filesystem says. A command that is named relative to where it is to
    /// run is looked for there: a unikernel begins at its root.
    pub fn of_rootfs(settings: &RootSettings) -> Self {
        let mut cmd = [settings.entrypoint.clone(), settings.cmd.clone()].concat();
        if let Some(program) = cmd.first_mut()
            && (program.starts_with("./") || program.starts_with("../"))
        {
            let joined = format!("{}/{program}", settings.working_dir);
            *program = format!("/{}", patterns::clean(&joined));
        }
        let env = settings.env.iter().filter_map(|pair| pair.split_once('='));
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            cmd: (!cmd.is_empty()).then_some(cmd),
            env: env.collect(),
            labels: settings.labels.clone(),
        }
    }

    /// What a Kraftfile says. Variables without a value have that of this environment.
    pub fn of_project(ctx: &Context, resolved: &Resolved) -> Self {
        let mut env = BTreeMap::new();
        for variable in &resolved.env {
            let own = || ctx.env.raw(&variable.name);
            let value = match &variable.value {
                Some(value) => Some(value.clone()),
                None => own().map(|value| value.to_string_lossy().into_owned()),
            };
            if let Some(value) = value {
                env.insert(variable.name.clone(), value);
            }
        }
        let cmd = resolved.cmd.as_ref().map(|cmd| {
            if resolved.kernel_args.is_empty() {
                return cmd.clone();
            }
            let mut all = resolved.kernel_args.clone();
            all.push("--".to_owned());
            all.extend(cmd.iter().cloned());
            all
        });
        Self {
            cmd,
            env,
            labels: resolved.labels.clone(),
        }
    }

    /// Lays something over this: its arguments instead of ours, its variables and labels over ours
    /// of the same name.
    #[must_use]
    pub fn under(mut self, over: &Self) -> Self {
        if over.cmd.is_some() {
            self.cmd.clone_from(&over.cmd);
        }
        self.env.extend(over.env.clone());
        self.labels.extend(over.labels.clone());
        self
    }
}

/// Returns the name of the image that a project runs on.
pub fn runtime_name(resolved: &Resolved) -> Result<String, Failure> {
    let runtime = resolved.runtime.as_ref();
    let name = runtime.and_then(|runtime| runtime.name.as_ref());
    let Some(name) = name else {
        return Err(Failure::usage("the runtime of the project names no image"));
    };
    Ok(match runtime.and_then(|runtime| runtime.version.as_ref()) {
        Some(version) if version.starts_with("sha256:") => format!("{name}@{version}"),
        Some(version) => format!("{name}:{version}"),
        None => name.clone(),
    })
}

/// Returns what that image must be: for the only target, if there is one, and with the options
/// that the Kraftfile asks for.
pub fn runtime_wish(resolved: &Resolved) -> Wish {
    let mut features = Vec::new();
    let mut ask = |options: &serde_json::Map<String, serde_json::Value>| {
        for (name, value) in options {
            let value = value.as_str().unwrap_or_default();
            // Options that are off do not stand among the features of an image.
            if value != "n" {
                let prefix = if name.starts_with("CONFIG_") {
                    ""
                } else {
                    "CONFIG_"
                };
                features.push(format!("{prefix}{name}={value}"));
            }
        }
    };
    if let Some(runtime) = &resolved.runtime {
        ask(&runtime.kconfig);
    }
    let mut wish = Wish::default();
    if let [target] = resolved.targets.as_slice() {
        ask(&target.kconfig);
        wish.os = Some(target.platform.clone());
        wish.arch = Some(target.architecture.clone());
    }
    features.sort();
    features.dedup();
    wish.features = features;
    wish
}

/// Returns the volumes of a project, whose sources have to be directories; a typed one of the same
/// path replaces it.
pub fn volumes(
    project: &Project,
    resolved: &Resolved,
    typed: &[Volume],
) -> Result<Vec<Volume>, Failure> {
    let mut volumes = Vec::new();
    for volume in &resolved.volumes {
        let replaced = |own: &&Volume| mount::same_place(&own.destination, &volume.destination);
        if let Some(own) = typed.iter().find(replaced) {
            volumes.push(own.clone());
            continue;
        }
        let source = project.dir.join(&volume.source);
        if !source.is_dir() {
            return Err(Failure::new(
                Kind::NotFound,
                format!("there is no directory `{}`", source.display()),
            )
            .hint("`volumes` in the Kraftfile names it, relative to the project"));
        }
        volumes.push(Volume {
            source: kraft_config::dirs::absolute(&source),
            destination: volume.destination.clone(),
            read_only: volume.read_only,
        });
    }
    Ok(volumes)
}
