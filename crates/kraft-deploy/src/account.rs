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
    #[error("no token is set: set `UKC_TOKEN`, or log in with `kraft login {INDEX}`")]
    Missing,
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
}

impl Account {
    /// Resolves the account: options first, then variables, then the stored login.
    ///
    /// # Errors
    ///
    /// If there is no token, or it or the registry is invalid.
    pub fn resolve(ctx: &Context, options: &CloudOptions) -> Result<Self, Error> {
        Ok(Self {
            token: token(ctx, options)?,
            registry: registry(ctx, options)?,
        })
    }

    /// Returns the name of the account.
    #[must_use]
    pub fn name(&self) -> &str {
        self.token.account()
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
            let pair = (self.token.user().to_owned(), self.token.secret().to_owned());
            own.extend(BTreeMap::from([(self.registry.clone(), pair)]));
        }
        Network::with(ctx, own)
    }
}

/// Returns the token: of the options, the environment, or a login.
fn token(ctx: &Context, options: &CloudOptions) -> Result<Token, Error> {
    if let Some(text) = &options.token {
        ctx.warn(
            "every user of this host can read the value of `--token`: set `UKC_TOKEN` instead",
        );
        return Token::parse(text).map_err(Error::Token);
    }
    if let Some(text) = first_set(ctx, TOKENS) {
        return Token::parse(&text).map_err(Error::Token);
    }
    let own = network::own_credentials(ctx);
    let (user, secret) = own.get(INDEX).ok_or(Error::Missing)?;
    Token::of(user, secret).map_err(Error::Login)
}

/// Returns the host that images are pushed to.
fn registry(ctx: &Context, options: &CloudOptions) -> Result<String, Error> {
    let named = options.registry.clone().or_else(|| ctx.env.text(REGISTRY));
    match named {
        Some(host) => Ok(check_host(&host)?),
        None => Ok(INDEX.to_owned()),
    }
}
