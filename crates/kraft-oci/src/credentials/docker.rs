//! Reads credential files of docker and podman: `config.json` and `auth.json`
//! (containers-auth.json(5)).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Credential, Error, Secret, helper, host_of_key};
use crate::image::{nullable, without_null_values};

/// The user name with which docker marks an identity token.
pub(super) const TOKEN_USER: &str = "<token>";
/// Docker Hub.
const HUB: &str = "index.docker.io";
/// The name that `docker login` uses for it with helpers.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// Maximum size of a file, in bytes.
const LARGEST: u64 = 4 << 20;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    #[serde(deserialize_with = "without_null_values")]
    auths: BTreeMap<String, Auth>,
    #[serde(deserialize_with = "without_null_values")]
    cred_helpers: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    creds_store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    #[serde(rename = "auth")]
    pair: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// Looks up a registry in a file; a missing file is empty.
///
/// The helper of the registry takes precedence over the helper for all registries, and that over
/// stored credentials. Failing helpers are added to `failed`, and stored credentials are used.
pub(super) fn find(
    path: &Path,
    host: &str,
    failed: &mut Vec<Error>,
) -> Result<Option<Credential>, Error> {
    let bytes = match kraft_sys::fs::read_file(path, LARGEST) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let broken = |why: String| Error::Broken {
        path: path.display().to_string(),
        why,
    };
    // Only the position is reported: the text around it may be a secret.
    let file: Option<File> = serde_json::from_slice(&bytes).map_err(|error| {
        broken(format!(
            "line {}, column {} is not what it should be",
            error.line(),
            error.column()
        ))
    })?;
    let file = file.unwrap_or_default();
    let is_meant = |key: &&String| host_of_key(key) == host;
    let own = file.cred_helpers.iter().find(|(key, _)| is_meant(key));
    let program = match own {
        Some((_, program)) => Some(program.as_str()),
        None => Some(file.creds_store.as_str()).filter(|program| !program.is_empty()),
    };
    // Keys in the file are those that helpers were given.
    let key = file.auths.keys().find(is_meant);
    if let Some(program) = program {
        let known = key.map_or(host, String::as_str);
        for server in names(known, host) {
            match helper::get(program, server, path) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                // By another name it would fail in the same way.
                Err(error) => {
                    failed.push(error);
                    break;
                }
            }
        }
    }
    match key.and_then(|key| file.auths.get(key)) {
        Some(auth) => credential(auth).map_err(broken),
        None => Ok(None),
    }
}

/// Returns the names by which a helper may know a registry, without duplicates: the key in the
/// file, the host, and for Docker Hub the name that `docker login` uses.
pub(super) fn names<'a>(known: &'a str, host: &'a str) -> Vec<&'a str> {
    let mut names = vec![known, host];
    if host == HUB {
        names.push(HUB_KEY);
    }
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(*name));
    names
}

fn credential(auth: &Auth) -> Result<Option<Credential>, String> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(token) = given(&auth.registrytoken) {
        return Ok(Some(Credential::Bearer(Secret::new(token))));
    }
    if let Some(token) = given(&auth.identitytoken) {
        return Ok(Some(Credential::IdentityToken(Secret::new(token))));
    }
    if let Some(pair) = given(&auth.pair) {
        let (user, password) = decode_pair(&pair)
            .ok_or_else(|| "an `auth` is not base64 of `user:password`".to_owned())?;
        return Ok(Some(if user == TOKEN_USER {
            Credential::IdentityToken(password)
        } else {
            Credential::Basic { user, password }
        }));
    }
    Ok(match (given(&auth.username), given(&auth.password)) {
        (Some(user), Some(password)) => Some(Credential::Basic {
            user,
            password: Secret::new(password),
        }),
        _ => None,
    })
}

/// Decodes base64 of `user:password`.
pub(super) fn decode_pair(text: &str) -> Option<(String, Secret)> {
    let bytes = STANDARD.decode(text.trim()).ok()?;
    let pair = String::from_utf8(bytes).ok()?;
    // Old docker versions padded passwords with zeros.
    let (user, password) = pair.trim_end_matches('\0').split_once(':')?;
    (!user.is_empty()).then(|| (user.to_owned(), Secret::new(password)))
}
