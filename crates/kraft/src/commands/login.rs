//! `kraft login`.

use std::io::Read;

use kraft_core::reference::check_host;

use crate::app::App;
use crate::failure::{Failure, Kind};
use kraft_config::layers::Value;
use kraft_config::{self, keys};
use kraft_core::yaml::edit;
use kraft_engine::network;

/// Log in to a registry
///
/// Verify the credentials with the registry, and store them in the configuration file, which only
/// its owner can read. The credentials of docker and podman are used without another login.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft login ghcr.io
  echo $TOKEN | kraft login -u me --password-stdin registry.example.com")]
pub(crate) struct Args {
    /// Registry, as `HOST[:PORT]`
    #[arg(value_name = "HOST")]
    host: String,

    /// Set the user
    #[arg(
        short,
        long,
        value_name = "NAME",
        env = "KRAFTKIT_LOGIN_USER",
        hide_env_values = true
    )]
    user: Option<String>,

    /// Set the password or token; other users of the host can read it from the process list
    #[arg(
        short,
        long,
        value_name = "TOKEN",
        env = "KRAFTKIT_LOGIN_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,

    /// Read the password or token from stdin
    #[arg(long, conflicts_with = "token")]
    password_stdin: bool,
}

/// Maximum length of a password, in bytes.
const MAX_PASSWORD: u64 = 64 << 10;

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let host = host(&args.host)?;
    let (user, token) = credentials(app, args)?;
    let known = app.settings.offline;
    if known {
        app.ui
            .warn("the credentials were not verified, because of `--offline`");
    } else {
        network::check_login(app, &host, &user, &token)?;
    }
    let path = |field: &'static str| keys::Known::Auth {
        host: host.clone(),
        field,
    };
    for (field, value) in [("user", &user), ("token", &token)] {
        let value = Value::Text(value.clone());
        kraft_config::change(&app.config, &path(field).path(), |text, path| {
            edit::set(text, path, &value).map(Some)
        })?;
    }
    app.ui.info(&format!("logged in to {host}"));
    Ok(())
}

/// Parses a host; URLs are accepted.
pub(super) fn host(typed: &str) -> Result<String, Failure> {
    let host = typed
        .strip_prefix("https://")
        .or_else(|| typed.strip_prefix("http://"))
        .unwrap_or(typed)
        .trim_end_matches('/');
    let host = host
        .strip_suffix("/v2")
        .or_else(|| host.strip_suffix("/v1"))
        .unwrap_or(host);
    let host = check_host(host).map_err(Failure::usage)?;
    Ok(match host.as_str() {
        "docker.io" | "registry-1.docker.io" => "index.docker.io".to_owned(),
        _ => host,
    })
}

fn credentials(app: &App, args: &Args) -> Result<(String, String), Failure> {
    let token = if args.password_stdin {
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .take(MAX_PASSWORD)
            .read_to_string(&mut text)
            .map_err(|error| Failure::new(Kind::Failed, format!("cannot read stdin: {error}")))?;
        Some(text.trim_end_matches(['\r', '\n']).to_owned())
    } else {
        args.token.clone()
    };
    let no_terminal = || {
        Failure::usage("missing credentials, and no terminal to prompt for them")
            .hint("use `kraft login -u USER --password-stdin HOST`")
    };
    let user = match &args.user {
        Some(user) => user.clone(),
        // A token may contain its user, or need none.
        None if token.is_some() => String::new(),
        None => app.line("User: ")?.ok_or_else(no_terminal)?,
    };
    let token = match token {
        Some(token) => token,
        None => app.ui.ask_secret("Password: ")?.ok_or_else(no_terminal)?,
    };
    if token.is_empty() {
        return Err(Failure::usage("the password is empty"));
    }
    Ok((user, token))
}
