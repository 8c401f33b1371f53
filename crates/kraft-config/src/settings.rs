//! The configuration as typed values, without their origins.

use std::path::PathBuf;
use std::time::Duration;

use kraft_core::quantity;
use kraft_machine::{DEFAULT_CONSOLE_LIMIT, MIN_CONSOLE_LIMIT};

use crate::forms::seconds;
use crate::layers::Value;
use crate::{Config, dirs};

/// The maximum number of retries of a request.
const MOST_RETRIES: u32 = 100;

/// The settings that flows use. Every value was validated when it was read.
///
/// ```
/// use kraft_config::env::Environment;
/// use kraft_config::{Config, Flags};
///
/// let env = Environment::from([("HOME", "/nonexistent")]);
/// let settings = Config::load(&Flags::default(), env)?.settings();
/// assert!(!settings.offline);
/// assert!(settings.runtime_dir.starts_with("/nonexistent"));
/// # Ok::<(), kraft_config::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether no connection may be opened.
    pub offline: bool,
    /// Whether jobs run one at a time.
    pub no_parallel: bool,
    /// Whether machines never use KVM.
    pub acceleration_is_off: bool,
    /// The image that applications run on which name no runtime.
    pub default_runtime: String,
    /// The QEMU binary to use instead of the default.
    pub qemu: Option<String>,
    /// The program of Firecracker; `None` for that on the `PATH`.
    pub firecracker: Option<String>,
    /// Holds machines and images; absolute.
    pub runtime_dir: PathBuf,
    /// The maximum size of a console on disk, in bytes.
    pub console_limit: u64,
    /// Registries whose certificates are not verified, as `HOST[:PORT]`.
    pub insecure: Vec<String>,
    /// A PEM file with further trusted CA certificates.
    pub ca_file: Option<PathBuf>,
    /// Timeout of an idle connection.
    pub http_timeout: Duration,
    /// Number of retries of a failed request.
    pub http_retries: u32,
    /// Package indexes and registries.
    pub manifests: Vec<String>,
    /// Holds the package index.
    pub manifests_dir: PathBuf,
    /// Holds downloaded sources.
    pub sources_dir: PathBuf,
    /// The address of a BuildKit.
    pub buildkit_host: Option<String>,
    /// The socket of the containerd that stores images.
    pub containerd_addr: Option<String>,
    /// Values below `auth`: host and field with the text, in the order of the file.
    pub credentials: Vec<(String, String, String)>,
}

impl Config {
    /// Returns the typed values.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let text = |name| self.text(name).map(str::to_owned);
        let path = |name| PathBuf::from(self.text(name).unwrap_or_default());
        let console_limit = self.text("console_limit");
        let retries = self.text("http_retries");
        Settings {
            offline: self.switch("offline"),
            no_parallel: self.switch("no_parallel"),
            acceleration_is_off: self.text("acceleration") == Some("off"),
            default_runtime: text("default_runtime").unwrap_or_else(|| "builtin".to_owned()),
            qemu: text("qemu"),
            firecracker: text("firecracker"),
            runtime_dir: match self.text("runtime_dir") {
                Some(path) => dirs::absolute(path.as_ref()),
                None => self.dirs.data.join("runtime"),
            },
            console_limit: console_limit
                .and_then(|limit| quantity::parse(limit).ok())
                .unwrap_or(DEFAULT_CONSOLE_LIMIT)
                .max(MIN_CONSOLE_LIMIT),
            insecure: self.list("insecure").to_vec(),
            ca_file: self.text("ca_file").map(PathBuf::from),
            http_timeout: self
                .text("http_timeout")
                .and_then(seconds)
                .unwrap_or(Duration::from_secs(30)),
            http_retries: retries
                .and_then(|retries| retries.parse().ok())
                .unwrap_or(5)
                .min(MOST_RETRIES),
            manifests: self.manifests().to_vec(),
            manifests_dir: path("paths.manifests"),
            sources_dir: path("paths.sources"),
            buildkit_host: text("buildkit_host"),
            containerd_addr: text("containerd_addr"),
            credentials: self.credentials(),
        }
    }

    /// Returns the credentials as host, field and text.
    fn credentials(&self) -> Vec<(String, String, String)> {
        let texts = self.layers.credentials.iter().filter_map(|credential| {
            let (host, field) = credential.name.strip_prefix("auth.")?.rsplit_once('.')?;
            match &credential.value {
                Value::Text(text) => Some((host.to_owned(), field.to_owned(), text.clone())),
                Value::Switch(_) | Value::List(_) => None,
            }
        });
        texts.collect()
    }
}
