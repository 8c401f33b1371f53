//! The account on the platform: its token, and the registry that accepts it.
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::{Config, Flags, env::Environment};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_deploy::CloudOptions;
//! use kraft_deploy::account::{Account, Error};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! let options = CloudOptions {
//!     // base64 of `anna:secret`
//!     token: Some("YW5uYTpzZWNyZXQ=".to_owned()),
//!     ..CloudOptions::default()
//! };
//! assert_eq!(Account::resolve(&context, &options)?.name(), "anna");
//! let account = Account::resolve(&context, &CloudOptions::default());
//! assert!(matches!(account, Err(Error::Missing)));
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;

use kraft_cloud::token::{Token, TokenError};
use kraft_core::reference::{ReferenceError, check_host};
use kraft_engine::context::Context;
use kraft_engine::network::{self, Network};

use crate::cloud::{CloudOptions, first_set};
use crate::profiles;

/// The variables that hold the token, in order of precedence.
const TOKENS: &[&str] = &[
    "UKC_TOKEN",
    "UNIKRAFTCLOUD_TOKEN",
    "KRAFTCLOUD_TOKEN",
    "KC_TOKEN",
];
/// The variable that names another registry.
const REGISTRY: &str = "UKC_REGISTRY";
/// The platform's registry, whose login is used where no variable holds a token.
pub const INDEX: &str = "index.unikraft.io";
/// The domains whose registries accept the platform's token.
const PLATFORM: [&str; 2] = [".unikraft.io", ".unikraft.cloud"];

/// Why there is no account.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A token was given and cannot be parsed.
    #[error(transparent)]
    Token(TokenError),
    /// The stored login is not a token.
    #[error(transparent)]
    Login(TokenError),
    /// There is neither a token nor a login.
    #[error("no token is set: log in with `kraft cloud login`, or set `UKC_TOKEN`")]
    Missing,
    /// The profile cannot be used.
    #[error(transparent)]
    Profile(#[from] profiles::Error),
    /// The registry is not a host.
    #[error(transparent)]
    Registry(#[from] ReferenceError),
}

/// A token, and the host of the registry that images are pushed to.
#[derive(Clone, Debug)]
pub struct Account {
    /// The token.
    pub token: Token,
    /// The host of the registry.
    pub registry: String,
    /// The name of the account of an opaque token.
    pub account: Option<String>,
}

impl Account {
    /// Resolves the account: options first, then variables, then the stored login.
    ///
    /// # Errors
    ///
    /// If there is no token, or it or the registry is invalid.
    pub fn resolve(ctx: &Context, options: &CloudOptions) -> Result<Self, Error> {
        let (token, profile) = token(ctx, options)?;
        let profile = profile.unwrap_or_default();
        Ok(Self {
            token,
            registry: registry(ctx, options, profile.registry)?,
            account: profile.account,
        })
    }

    /// Returns the name of the account; empty if the token is opaque and the account is not known.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.account {
            Some(name) if self.token.is_opaque() => name,
            _ => self.token.account(),
        }
    }

    /// Makes a registry client that sends the token to the platform's own registry. Other
    /// registries have logins of their own and never get it.
    ///
    /// # Errors
    ///
    /// If the client cannot be made.
    pub fn network(&self, ctx: &Context) -> Result<Network, network::Error> {
        let mut own = network::own_credentials(ctx);
        if PLATFORM
            .iter()
            .any(|domain| self.registry.ends_with(domain))
        {
            let user = if self.token.is_opaque() {
                self.name()
            } else {
                self.token.user()
            };
            let pair = (user.to_owned(), self.token.secret().to_owned());
            own.extend(BTreeMap::from([(self.registry.clone(), pair)]));
        }
        Network::with(ctx, own)
    }
}

/// Returns the token: of the options, a selected profile, the environment, the default profile, or
/// a login to the registry; with the profile that it is from.
fn token(
    ctx: &Context,
    options: &CloudOptions,
) -> Result<(Token, Option<profiles::Profile>), Error> {
    if let Some(text) = &options.token {
        ctx.warn(
            "every user of this host can read the value of `--token`: set `UKC_TOKEN` instead",
        );
        return Ok((Token::parse(text).map_err(Error::Token)?, None));
    }
    let profile = profiles::selected(ctx, options)?;
    let variable = first_set(ctx, TOKENS).filter(|_| !profiles::is_named(ctx, options));
    if let Some(text) = variable {
        return Ok((Token::parse(&text).map_err(Error::Token)?, None));
    }
    if let Some(profile) = profile {
        let text = profiles::token(ctx, &profile)?;
        let token = Token::parse(&text).map_err(Error::Login)?;
        return Ok((token, Some(profile)));
    }
    let own = network::own_credentials(ctx);
    let (user, secret) = own.get(INDEX).ok_or(Error::Missing)?;
    Ok((Token::of(user, secret).map_err(Error::Login)?, None))
}

/// Returns the host that images are pushed to.
fn registry(
    ctx: &Context,
    options: &CloudOptions,
    of_profile: Option<String>,
) -> Result<String, Error> {
    let named = options.registry.clone().or_else(|| ctx.env.text(REGISTRY));
    let named = named.or(of_profile);
    match named {
        Some(host) => Ok(check_host(&host)?),
        None => Ok(INDEX.to_owned()),
    }
}
