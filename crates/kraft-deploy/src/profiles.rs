//! Profiles: saved logins, each with a name, in a file that only its owner can read. Their tokens are
//! in the keyring of the desktop if there is one, else in the file as well.
//!
//! ```text
//! cloud.json  {"version": 1, "default": "work",
//!              "profiles": {"work": {"token": "…", "metro": "fra", "account": "anna"}}}
//! ```
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::{Config, Flags, env::Environment};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_deploy::profiles::{self, Profile};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let home = std::env::temp_dir().join(format!("profiles-{}", std::process::id()));
//! # let mut config = Config::without_file(&Flags::default(), Environment::default());
//! # config.dirs.config = home.clone();
//! # let context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! let work = Profile { token: "YW5uYTpzZWNyZXQ=".to_owned(), ..Profile::default() };
//! profiles::save(&context, "work", work, false)?;
//! assert_eq!(profiles::load(&context)?.default, "work");
//! # std::fs::remove_dir_all(home)?;
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use kraft_engine::context::Context;
use kraft_sys::fs;
use kraft_sys::lock::Lock;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cloud::CloudOptions;
use crate::keyring;

/// Version of the file.
const VERSION: u32 = 1;
/// The variable that selects a profile.
const VARIABLE: &str = "UKC_PROFILE";
/// Maximum size of the file, in bytes.
const LARGEST: u64 = 1 << 20;

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// Other users can read the file, which holds tokens.
    #[error("`{0}` holds tokens, and other users can read it: run `chmod 600 {0}`")]
    Readable(PathBuf),
    /// The file is not valid.
    #[error("`{path}` cannot be parsed")]
    Parse {
        /// Path of the file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// The file is from a newer version.
    #[error("`{0}` is from a newer version of kraft")]
    Version(PathBuf),
    /// The keyring cannot be asked for the token.
    #[error(transparent)]
    Keyring(#[from] keyring::Error),
    /// There is no profile.
    #[error("there is no profile: `kraft cloud login` makes one")]
    None,
    /// There is no profile of that name.
    #[error("there is no profile `{0}`: log in with `kraft cloud login --profile {0}`")]
    Missing(String),
}

/// A saved login.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// Name of the profile, if it is selected.
    #[serde(skip)]
    pub name: String,
    /// Token, as the platform issued it; empty if it is in the keyring.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// Whether the token is in the keyring.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keyring: bool,
    /// Metro that is used unless another one is selected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metro: Option<String>,
    /// Host of the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// Name of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// URL of the control plane, if it is not that of the public platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<String>,
    /// Fields of other versions.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Profile({:?}, {:?})", self.account, self.metro)
    }
}

/// All profiles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profiles {
    version: u32,
    /// Name of the profile that is used unless another one is selected; empty for none.
    pub default: String,
    /// The profiles, by name.
    pub profiles: BTreeMap<String, Profile>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

fn path(ctx: &Context) -> PathBuf {
    ctx.dirs.config.join("cloud.json")
}

/// Reads the profiles; none if there is no file.
///
/// # Errors
///
/// If the file cannot be read, is not valid, or can be read by other users.
pub fn load(ctx: &Context) -> Result<Profiles, Error> {
    use std::os::unix::fs::PermissionsExt as _;

    let path = path(ctx);
    let bytes = match fs::read_file(&path, LARGEST) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Profiles::default()),
        Err(error) => return Err(error.into()),
    };
    let metadata = path.metadata().map_err(fs::Error::on("read", &path))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(Error::Readable(path));
    }
    let profiles: Profiles = match serde_json::from_slice(&bytes) {
        Ok(profiles) => profiles,
        Err(source) => return Err(Error::Parse { path, source }),
    };
    if profiles.version > VERSION {
        return Err(Error::Version(path));
    }
    Ok(profiles)
}

fn change(ctx: &Context, edit: impl FnOnce(&mut Profiles)) -> Result<(), Error> {
    let path = path(ctx);
    fs::create_dir_all(&ctx.dirs.config, 0o700)?;
    // The lock keeps concurrent logins from being lost.
    let _lock = Lock::exclusive(&ctx.dirs.config)?;
    let mut profiles = load(ctx)?;
    edit(&mut profiles);
    profiles.version = VERSION;
    let text = serde_json::to_string_pretty(&profiles).unwrap_or_default();
    let mut file = fs::NewFile::with_mode(&path, 0o600)?;
    file.write_all(text.as_bytes())
        .map_err(fs::Error::on("write", &path))?;
    file.commit()?;
    Ok(())
}

/// Where a token is saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the keyring of the desktop.
    Keyring,
    /// In this file, which only its owner can read.
    File(PathBuf),
}

/// Saves a profile, and selects it. With `keyring`, the token goes into the keyring if this host has
/// one that works.
///
/// # Errors
///
/// If the file cannot be read or written.
pub fn save(
    ctx: &Context,
    name: &str,
    mut profile: Profile,
    keyring: bool,
) -> Result<Place, Error> {
    let stored = keyring.then(|| keyring::store(ctx, name, &profile.token));
    match stored {
        Some(Ok(())) => {
            profile.token.clear();
            profile.keyring = true;
        }
        Some(Err(error @ keyring::Error::Failed(_))) => {
            ctx.warn(&format!("the keyring is not used: {error}"));
        }
        Some(Err(_)) | None => {}
    }
    let place = if profile.keyring {
        Place::Keyring
    } else {
        Place::File(path(ctx))
    };
    let mut former = None;
    change(ctx, |all| {
        former = all.profiles.insert(name.to_owned(), profile);
        name.clone_into(&mut all.default);
    })?;
    if place != Place::Keyring {
        forget(ctx, name, former);
    }
    Ok(place)
}

/// Removes the token of a profile from the keyring, if it is there.
fn forget(ctx: &Context, name: &str, former: Option<Profile>) {
    if former.is_some_and(|profile| profile.keyring)
        && let Err(error) = keyring::clear(ctx, name)
    {
        ctx.warn(&format!(
            "the token of `{name}` is still in the keyring: {error}"
        ));
    }
}

/// Returns the token of a selected profile.
///
/// # Errors
///
/// If it is in the keyring, and the keyring cannot be asked for it or does not have it.
pub(crate) fn token(ctx: &Context, profile: &Profile) -> Result<String, Error> {
    if profile.keyring {
        return Ok(keyring::find(ctx, &profile.name)?);
    }
    Ok(profile.token.clone())
}

/// Removes a profile.
///
/// # Errors
///
/// If it does not exist, or the file cannot be read or written.
pub fn remove(ctx: &Context, name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::None);
    }
    if !load(ctx)?.profiles.contains_key(name) {
        return Err(Error::Missing(name.to_owned()));
    }
    let mut former = None;
    change(ctx, |all| {
        former = all.profiles.remove(name);
        if all.default == name {
            all.default = all.profiles.keys().next().cloned().unwrap_or_default();
        }
    })?;
    forget(ctx, name, former);
    Ok(())
}

/// Makes a profile the default.
///
/// # Errors
///
/// If it does not exist, or the file cannot be read or written.
pub fn select(ctx: &Context, name: &str) -> Result<(), Error> {
    if !load(ctx)?.profiles.contains_key(name) {
        return Err(Error::Missing(name.to_owned()));
    }
    change(ctx, |all| name.clone_into(&mut all.default))
}

/// Returns whether a profile is selected by its name, which precedes variables.
pub(crate) fn is_named(ctx: &Context, options: &CloudOptions) -> bool {
    options.profile.is_some() || ctx.env.text(VARIABLE).is_some()
}

/// Returns the selected profile, else the default one.
///
/// # Errors
///
/// If the profiles cannot be read, or the selected one does not exist.
pub fn selected(ctx: &Context, options: &CloudOptions) -> Result<Option<Profile>, Error> {
    let named = options.profile.clone().or_else(|| ctx.env.text(VARIABLE));
    let mut all = load(ctx)?;
    let name = named.clone().unwrap_or_else(|| all.default.clone());
    match (all.profiles.remove(&name), named) {
        (Some(profile), _) => Ok(Some(Profile { name, ..profile })),
        (None, Some(name)) => Err(Error::Missing(name)),
        (None, None) => Ok(None),
    }
}
