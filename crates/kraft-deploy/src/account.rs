//! Whose cloud it is: the token, and the registry that goes with it.

use std::collections::BTreeMap;

use kraft_cloud::token::Token;
use kraft_core::reference::check_host;

use super::{Cloud, Where, first};
use kraft_engine::context::Context;
use kraft_engine::failure::{Failure, Kind};
use kraft_engine::network::{self, Network};

/// The variables that name the token, the first that is set counts.
const TOKENS: &[&str] = &[
    "UKC_TOKEN",
    "UNIKRAFTCLOUD_TOKEN",
    "KRAFTCLOUD_TOKEN",
    "KC_TOKEN",
];
/// The variable that names another registry.
const REGISTRY: &str = "UKC_REGISTRY";
/// The platform's registry, whose login also counts where no variable has a token.
pub const INDEX: &str = "index.unikraft.io";
/// The domains whose registries take the platform's token.
const PLATFORM: [&str; 2] = [".unikraft.io", ".unikraft.cloud"];

/// Returns the token: of the environment, or of a login.
pub(super) fn token(ctx: &Context, at: &Where) -> Result<Token, Failure> {
    let bad = |error| {
        Failure::new(Kind::Authentication, error)
            .hint("set `UKC_TOKEN` to the token as the platform shows it")
    };
    if let Some(text) = &at.token {
        ctx.warn(
            "every user of this computer can read what follows `--token`: set `UKC_TOKEN` instead",
        );
        return Token::parse(text).map_err(bad);
    }
    if let Some(text) = first(ctx, TOKENS) {
        return Token::parse(&text).map_err(bad);
    }
    let own = network::own_credentials(ctx);
    let Some((user, secret)) = own.get(INDEX) else {
        return Err(Failure::new(
            Kind::Authentication,
            format!("no token is set: set `UKC_TOKEN`, or log in with `kraft login {INDEX}`"),
        ));
    };
    Token::of(user, secret).map_err(|error| Failure::new(Kind::Authentication, error))
}

/// Returns the host that images are pushed to.
pub(super) fn registry(ctx: &Context, at: &Where) -> Result<String, Failure> {
    let named = at.registry.clone().or_else(|| ctx.env.text(REGISTRY));
    match named {
        Some(host) => check_host(&host).map_err(Failure::from),
        None => Ok(INDEX.to_owned()),
    }
}

/// Makes a client of registries that shows the platform's own registry the token. To no other one
/// the token is shown: those have logins of their own.
pub fn network(ctx: &Context, cloud: &Cloud) -> Result<Network, Failure> {
    let mut own = network::own_credentials(ctx);
    let host = cloud.registry();
    if PLATFORM.iter().any(|domain| host.ends_with(domain)) {
        let token = cloud.token();
        let pair = (token.user().to_owned(), token.secret().to_owned());
        own.extend(BTreeMap::from([(host.to_owned(), pair)]));
    }
    Ok(Network::with(ctx, own)?)
}
