//! How an application is run: what images, the project and the command line say, and which of them
//! wins.
//!
//! ```text
//! runtime image < image of the root filesystem < Kraftfile < command line       (later wins)
//! ```
//!
//! Arguments are replaced as a whole; environment variables and labels by name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kraft_config::env::Environment;
use kraft_core::dockerfile::patterns;
use kraft_core::kraftfile::Resolved;
use kraft_core::mount::{self, Volume};
use kraft_oci::choose::PlatformFilter;
use kraft_oci::image::Config;
use kraft_rootfs::dockerfile::Settings as RootSettings;

use super::project::Project;
use crate::context::Context;
use crate::volumes;

/// Why the settings of a project cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An image is needed, and the project's runtime is none.
    #[error("the runtime of the project is not an image")]
    NoRuntimeImage,
    /// The source of a volume is missing, or not a directory.
    #[error("the source of the volume `{destination}` is not a directory: `{}`", source_dir.display())]
    VolumeSource {
        /// The source.
        source_dir: PathBuf,
        /// The directory of the machine.
        destination: String,
    },
    /// No VMM or kernel shares a volume that way.
    #[error(
        "the volume `{destination}` has the driver `{driver}`, and volumes are shared by 9pfs only"
    )]
    VolumeDriver {
        /// The driver.
        driver: String,
        /// The directory of the machine.
        destination: String,
    },
}

/// How an application is run, as one source says.
///
/// ```
/// use kraft_engine::settings::AppConfig;
///
/// let args = |line: &str| Some(line.split(' ').map(str::to_owned).collect());
/// let image = AppConfig { cmd: args("/nginx -c /etc/nginx.conf"), ..AppConfig::default() };
/// let flags = AppConfig { cmd: args("/nginx -v"), ..AppConfig::default() };
/// assert_eq!(image.clone().overridden_by(&flags).cmd, flags.cmd);
/// assert_eq!(image.clone().overridden_by(&AppConfig::default()), image);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppConfig {
    /// The arguments, including a literal `--` after those of the kernel; `None` if the source does
    /// not say.
    pub cmd: Option<Vec<String>>,
    /// The directory that the program starts in; `None` if the source does not say.
    pub workdir: Option<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl AppConfig {
    /// Reads the configuration of an image.
    #[must_use]
    pub fn of_image(config: &Config) -> Self {
        let run = &config.config;
        let env = run.env.iter().map(|pair| match pair.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (pair.clone(), String::new()),
        });
        Self {
            cmd: (!run.cmd.is_empty()).then(|| run.cmd.clone()),
            workdir: named(&run.working_dir),
            env: env.collect(),
            labels: run.labels.clone(),
        }
    }

    /// Reads the configuration of an image that a root filesystem is made from. A relative path of
    /// the program is resolved against the working directory: Unikraft starts it in `/`.
    #[must_use]
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
            workdir: named(&settings.working_dir),
            env: env.collect(),
            labels: settings.labels.clone(),
        }
    }

    /// Reads a Kraftfile. Variables without a value get it from `host`, or are left out.
    #[must_use]
    pub fn of_project(host: &Environment, resolved: &Resolved) -> Self {
        let mut env = BTreeMap::new();
        for variable in &resolved.env {
            let own = || host.raw(&variable.name);
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
            workdir: None,
            env,
            labels: resolved.labels.clone(),
        }
    }

    /// Overrides this with `over`: its arguments as a whole, its variables and labels by name.
    #[must_use]
    pub fn overridden_by(mut self, over: &Self) -> Self {
        if over.cmd.is_some() {
            self.cmd.clone_from(&over.cmd);
        }
        if over.workdir.is_some() {
            self.workdir.clone_from(&over.workdir);
        }
        self.env.extend(over.env.clone());
        self.labels.extend(over.labels.clone());
        self
    }
}

/// Returns the working directory of an image, unless it is the root.
fn named(dir: &str) -> Option<String> {
    let dir = format!("/{}", patterns::clean(dir));
    (dir != "/").then_some(dir)
}

/// Returns the name of the image that a project runs on.
///
/// # Errors
///
/// If the project has no runtime, or it is a kernel file.
pub fn runtime_name(resolved: &Resolved) -> Result<String, Error> {
    let runtime = resolved.runtime.as_ref();
    let name = runtime.and_then(|runtime| runtime.name.as_ref());
    let Some(name) = name else {
        return Err(Error::NoRuntimeImage);
    };
    Ok(match runtime.and_then(|runtime| runtime.version.as_ref()) {
        Some(version) if version.starts_with("sha256:") => format!("{name}@{version}"),
        Some(version) => format!("{name}:{version}"),
        None => name.clone(),
    })
}

/// Returns the requirements of a Kraftfile for that image: the platform and architecture of the only
/// target, if there is one, and the options of `kconfig`.
#[must_use]
pub fn runtime_filter(resolved: &Resolved) -> PlatformFilter {
    let mut features = Vec::new();
    let mut ask = |options: &serde_json::Map<String, serde_json::Value>| {
        for (name, value) in options {
            let value = value.as_str().unwrap_or_default();
            // The features of an image list only options that are on.
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
    let mut filter = PlatformFilter::default();
    if let [target] = resolved.targets.as_slice() {
        ask(&target.kconfig);
        filter.os = Some(target.platform.clone());
        filter.arch = Some(target.architecture.clone());
    }
    features.sort();
    features.dedup();
    filter.features = features;
    filter
}

/// Returns the volumes of a project; one of `flags` with the same destination replaces it.
///
/// # Errors
///
/// If the source of a volume is neither a directory nor a name, or its driver is unknown.
pub fn volumes(
    ctx: &Context,
    project: &Project,
    resolved: &Resolved,
    flags: &[Volume],
) -> Result<Vec<Volume>, Error> {
    let mut volumes = Vec::new();
    for volume in &resolved.volumes {
        let replaced = |own: &&Volume| mount::same_place(&own.destination, &volume.destination);
        if let Some(own) = flags.iter().find(replaced) {
            volumes.push(own.clone());
            continue;
        }
        if volume.driver != mount::DRIVER {
            return Err(Error::VolumeDriver {
                driver: volume.driver.clone(),
                destination: volume.destination.clone(),
            });
        }
        let source = project.dir.join(&volume.source);
        if let Some(mount) = volumes::named(ctx, &volume.source, &source) {
            volumes.push(Volume {
                destination: volume.destination.clone(),
                read_only: volume.read_only,
                ..mount
            });
            continue;
        }
        if !source.is_dir() {
            return Err(Error::VolumeSource {
                source_dir: source,
                destination: volume.destination.clone(),
            });
        }
        volumes.push(Volume {
            name: None,
            source: kraft_config::dirs::absolute(&source),
            destination: volume.destination.clone(),
            read_only: volume.read_only,
        });
    }
    Ok(volumes)
}

#[cfg(test)]
mod tests {
    use kraft_core::kraftfile;

    use super::*;
    use crate::testing::{Script, context};

    fn resolved(text: &str) -> Resolved {
        let parsed = kraftfile::parse(text, &|_| None);
        parsed
            .kraftfile
            .unwrap_or_else(|| panic!("{text}: {:?}", parsed.problems))
            .resolve("dir")
    }

    fn words(line: &str) -> Option<Vec<String>> {
        (!line.is_empty()).then(|| line.split(' ').map(ToOwned::to_owned).collect())
    }

    fn map(pairs: &str) -> BTreeMap<String, String> {
        let pairs = pairs
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn config(cmd: &str, env: &str, labels: &str) -> AppConfig {
        AppConfig {
            workdir: None,
            cmd: words(cmd),
            env: map(env),
            labels: map(labels),
        }
    }

    #[test]
    fn the_command_line_wins_over_the_kraftfile_and_that_over_images() {
        // Each row: runtime image, image of the root filesystem, Kraftfile, command line, result.
        let silent = || config("", "", "");
        for (layers, expected) in [
            ([silent(), silent(), silent(), silent()], silent()),
            (
                [
                    config("/a 1", "A=1 B=1", "l=1"),
                    silent(),
                    silent(),
                    silent(),
                ],
                config("/a 1", "A=1 B=1", "l=1"),
            ),
            (
                [
                    config("/a 1", "A=1 B=1", "l=1"),
                    config("/b", "B=2", ""),
                    silent(),
                    silent(),
                ],
                config("/b", "A=1 B=2", "l=1"),
            ),
            (
                [
                    config("/a 1", "A=1", "l=1 m=1"),
                    config("/b", "A=2", ""),
                    config("/c x", "A=3", "l=3"),
                    silent(),
                ],
                config("/c x", "A=3", "l=3 m=1"),
            ),
            (
                [
                    config("/a", "A=1", ""),
                    silent(),
                    config("/c", "B=3", ""),
                    config("/d", "A=4 C=4", "n=4"),
                ],
                config("/d", "A=4 B=3 C=4", "n=4"),
            ),
            (
                // An empty list of arguments is one, too.
                [
                    config("/a", "", ""),
                    silent(),
                    silent(),
                    AppConfig {
                        cmd: Some(Vec::new()),
                        ..silent()
                    },
                ],
                AppConfig {
                    cmd: Some(Vec::new()),
                    ..silent()
                },
            ),
        ] {
            let merged = layers.iter().fold(AppConfig::default(), |below, over| {
                below.overridden_by(over)
            });
            assert_eq!(merged, expected, "{layers:?}");
        }
    }

    #[test]
    fn a_kraftfile_gives_arguments_variables_and_labels() {
        let host = Environment::from([("FROM_HOST", "h"), ("EMPTY", ""), ("SET", "host")]);
        for (text, expected) in [
            ("spec: v0.6\n", config("", "", "")),
            ("spec: v0.6\ncmd: [\"/a\", \"b\"]\n", config("/a b", "", "")),
            // What is before `--` is for the kernel.
            (
                "spec: v0.6\ncmd: [\"mem=1\", \"--\", \"/a\"]\n",
                config("mem=1 -- /a", "", ""),
            ),
            (
                "spec: v0.6\nenv:\n- SET=own\n- FROM_HOST\n- EMPTY\n- UNSET\n",
                config("", "SET=own FROM_HOST=h EMPTY=", ""),
            ),
            ("spec: v0.6\nlabels: {a: b}\n", config("", "", "a=b")),
        ] {
            assert_eq!(
                AppConfig::of_project(&host, &resolved(text)),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn a_relative_program_is_resolved_in_the_working_directory() {
        for (entrypoint, cmd, dir, expected) in [
            ("./app", "x", "/srv", "/srv/app x"),
            ("../app", "", "/srv/a", "/srv/app"),
            ("./app", "", "", "/app"),
            ("app", "./x", "/srv", "app ./x"),
            ("/app", "", "/srv", "/app"),
            ("", "./app", "/srv/", "/srv/app"),
            ("", "", "/srv", ""),
        ] {
            let settings = RootSettings {
                entrypoint: words(entrypoint).unwrap_or_default(),
                cmd: words(cmd).unwrap_or_default(),
                working_dir: dir.to_owned(),
                ..RootSettings::default()
            };
            assert_eq!(
                AppConfig::of_rootfs(&settings).cmd,
                words(expected),
                "{entrypoint} {cmd}"
            );
        }
    }

    #[test]
    fn the_working_directory_is_that_of_the_uppermost_image_that_has_one() {
        let of = |dir: &str| {
            AppConfig::of_rootfs(&RootSettings {
                working_dir: dir.to_owned(),
                ..RootSettings::default()
            })
        };
        for (dir, expected) in [
            ("/srv/../app/", "/app"),
            ("app", "/app"),
            ("/", ""),
            ("", ""),
        ] {
            let expected = (!expected.is_empty()).then(|| expected.to_owned());
            assert_eq!(of(dir).workdir, expected, "{dir}");
        }
        let merged = of("/below")
            .overridden_by(&of("/above"))
            .overridden_by(&of(""));
        assert_eq!(merged.workdir.as_deref(), Some("/above"));
    }

    #[test]
    fn a_runtime_is_named_by_tag_or_digest_and_must_be_an_image() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, expected) in [
            ("runtime: base\n".to_owned(), Some("base".to_owned())),
            (
                "runtime: r.io/base:1\n".to_owned(),
                Some("r.io/base:1".to_owned()),
            ),
            (
                format!("runtime: base@{digest}\n"),
                Some(format!("base@{digest}")),
            ),
            ("runtime: kernel://./k\n".to_owned(), None),
            (String::new(), None),
        ] {
            let name = runtime_name(&resolved(&format!("spec: v0.6\n{text}")));
            assert_eq!(name.ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_runtime_has_the_options_and_the_only_target_of_the_kraftfile() {
        let filter = |text: &str| runtime_filter(&resolved(text));
        let one = filter(
            "spec: v0.6\nruntime: {source: base, kconfig: {CONFIG_B: \"y\", A: \"1\", CONFIG_C: \"n\"}}\ntargets:\n- platform: kvm\n  architecture: arm64\n  kconfig: {CONFIG_B: \"y\", CONFIG_D: \"m\"}\n",
        );
        assert_eq!(one.os.as_deref(), Some("qemu"));
        assert_eq!(one.arch.as_deref(), Some("arm64"));
        assert_eq!(one.features, ["CONFIG_A=1", "CONFIG_B=y", "CONFIG_D=m"]);
        // Of several targets, the image may be for any.
        let several = filter("spec: v0.6\nruntime: base\ntargets: [qemu/x86_64, fc/x86_64]\n");
        assert_eq!(several, PlatformFilter::default());
    }

    #[test]
    fn a_volume_of_the_command_line_replaces_that_of_the_project() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        let text = "spec: v0.6\nruntime: base\nvolumes:\n- ./data:/data\n- ./gone:/gone\n";
        let project = super::super::project::Draft::parse(
            "Kraftfile".into(),
            text.as_bytes(),
            dir.path(),
            &Environment::default(),
        );
        let project = project.into_project().unwrap().0;
        let resolved = project.resolved();
        let own = |destination: &str| Volume {
            name: None,
            source: "/elsewhere".into(),
            destination: destination.to_owned(),
            read_only: true,
        };
        let ctx = context(dir.path(), &Script::silent());
        let error = super::volumes(&ctx, &project, &resolved, &[]).unwrap_err();
        let gone = dir.path().join("./gone");
        assert!(
            matches!(&error, Error::VolumeSource { source_dir, destination } if *source_dir == gone && destination == "/gone"),
            "{error}"
        );
        let typed = [own("/gone/"), own("/more")];
        let found = super::volumes(&ctx, &project, &resolved, &typed).unwrap();
        let pairs: Vec<(String, bool)> = found
            .into_iter()
            .map(|volume| (volume.source.display().to_string(), volume.read_only))
            .collect();
        let data = dir.path().join("data").display().to_string();
        assert_eq!(pairs, [(data, false), ("/elsewhere".to_owned(), true)]);
    }

    #[test]
    fn a_volume_of_a_project_may_have_a_name_and_no_other_driver() {
        let dir = tempfile::tempdir().unwrap();
        let ctx = context(dir.path(), &Script::silent());
        let of = |volume: &str| {
            let text = format!("spec: v0.6\nruntime: base\nvolumes:\n- {volume}\n");
            let project = super::super::project::Draft::parse(
                "Kraftfile".into(),
                text.as_bytes(),
                dir.path(),
                &Environment::default(),
            );
            let project = project.into_project().unwrap().0;
            super::volumes(&ctx, &project, &project.resolved(), &[])
        };
        let found = of("database:/var/lib/db:ro").unwrap();
        let [volume] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(volume.name.as_deref(), Some("database"));
        assert_eq!(
            (volume.destination.as_str(), volume.read_only),
            ("/var/lib/db", true)
        );
        assert!(!volume.source.exists());
        let error = of("{source: database, destination: /db, driver: ext4}").unwrap_err();
        assert!(matches!(error, Error::VolumeDriver { .. }), "{error}");
    }
}
