//! The control plane: metros, the account of a token, and the login in a browser.
//!
//! A private platform, whose metro is a URL, has no control plane unless `UKC_CONTROL_PLANE` or the
//! profile names one: its token is never sent to the public platform.
//!
//! ```no_run
//! use kraft_deploy::{CloudOptions, control};
//! # fn example(context: &kraft_engine::context::Context) -> Result<(), control::Error> {
//! let account = control::whoami(context, &CloudOptions::default())?;
//! println!("{}", account.organization_name);
//! # Ok(()) }
//! ```

use std::time::Duration;

use kraft_cloud::client::Client;
use kraft_cloud::endpoint::{BUILDS, CONTROL_PLANE, Endpoint, EndpointError, METROS};
use kraft_cloud::request::Request;
use kraft_cloud::resources::builds::{self, Build};
use kraft_cloud::resources::control::{self, Metro, Organization, Signin};
use kraft_cloud::token::Token;
use kraft_engine::context::{Context, RuntimeError};
use kraft_engine::network;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::account::{self, Account};
use crate::cloud::CloudOptions;
use crate::profiles;

/// The variable that names another control plane.
const VARIABLE: &str = "UKC_CONTROL_PLANE";
/// The variable that names another build service.
const BUILD_VARIABLE: &str = "UKC_BUILD_SERVER";

/// Why the control plane was not asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The metro is that of a private platform.
    #[error("the platform of `{0}` has no known control plane: set `{VARIABLE}` to its URL")]
    Private(String),
    /// The URL is invalid.
    #[error(transparent)]
    Url(#[from] EndpointError),
    /// There is no token, or it is invalid.
    #[error(transparent)]
    Account(#[from] account::Error),
    /// The profile cannot be used.
    #[error(transparent)]
    Profile(#[from] profiles::Error),
    /// The request failed.
    #[error(transparent)]
    Request(#[from] kraft_cloud::Error),
    /// The answer is empty.
    #[error("`{0}` answers with nothing to {1}")]
    Empty(String, String),
    /// The answer is about another build.
    #[error("the build service answers with the build `{found}` instead of `{asked}`")]
    OtherBuild {
        /// ID of the requested build.
        asked: String,
        /// ID of the other one.
        found: String,
    },
    /// The runtime cannot be started.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// Returns the URL with the version of the API at its end.
fn versioned(url: &str) -> String {
    let url = url.trim_end_matches('/');
    if url.ends_with("/v1") {
        url.to_owned()
    } else {
        format!("{url}/v1")
    }
}

/// Returns the URL of the control plane.
fn url(ctx: &Context, options: &CloudOptions) -> Result<String, Error> {
    if let Some(url) = ctx.env.text(VARIABLE) {
        return Ok(versioned(&url));
    }
    let profile = profiles::selected(ctx, options)?;
    if let Some(url) = profile.and_then(|profile| profile.control_plane) {
        return Ok(versioned(&url));
    }
    match options.metro(ctx)?.filter(|metro| metro.contains("://")) {
        Some(metro) => Err(Error::Private(metro)),
        None => Ok(CONTROL_PLANE.to_owned()),
    }
}

fn send<T: DeserializeOwned>(
    ctx: &Context,
    url: &str,
    token: Token,
    request: &Request<T>,
) -> Result<Vec<T>, Error> {
    let client = Client::new(Endpoint::of(url)?, token, network::policy(ctx))?;
    let answer = ctx.runtime()?.block_on(client.send(request))?;
    Ok(answer.all()?)
}

/// Sends a request whose answer is one item to the control plane. Without one, a missing token does not
/// matter.
fn ask<T: DeserializeOwned>(
    ctx: &Context,
    options: &CloudOptions,
    token: Result<Token, Error>,
    request: &Request<T>,
) -> Result<T, Error> {
    let url = url(ctx, options)?;
    let found = send(ctx, &url, token?, request)?;
    found
        .into_iter()
        .next()
        .ok_or_else(|| Error::Empty(url, request.doing.clone()))
}

/// Returns the token, also where the metro is not known yet.
fn token(ctx: &Context, options: &CloudOptions) -> Result<Token, Error> {
    Ok(Account::resolve(ctx, options)?.token)
}

/// Lists the metros.
///
/// # Errors
///
/// If the platform has no control plane, there is no token, or the request fails.
pub fn metros(ctx: &Context, options: &CloudOptions) -> Result<Vec<Metro>, Error> {
    let url = url(ctx, options)?;
    send(ctx, &url, token(ctx, options)?, &control::metros())
}

/// Lists the metros, or those that this version knows if the control plane cannot be asked.
#[must_use]
pub fn metros_or_known(ctx: &Context, options: &CloudOptions) -> Vec<Metro> {
    match metros(ctx, options) {
        Ok(metros) if !metros.is_empty() => metros,
        outcome => {
            if let Err(error) = outcome {
                let error = kraft_core::error::chain(&error);
                tracing::debug!(error, "cannot ask the control plane for the metros");
            }
            METROS
                .iter()
                .map(|metro| Metro {
                    name: metro.code.to_owned(),
                    ..Metro::default()
                })
                .collect()
        }
    }
}

/// Gets the account of the token.
///
/// # Errors
///
/// If the platform has no control plane, there is no token, or the request fails.
pub fn whoami(ctx: &Context, options: &CloudOptions) -> Result<Organization, Error> {
    ask(ctx, options, token(ctx, options), &control::whoami())
}

/// Gets the account of a token that is not saved yet.
///
/// # Errors
///
/// As [`whoami`].
pub fn account_of(
    ctx: &Context,
    options: &CloudOptions,
    token: &Token,
) -> Result<Organization, Error> {
    ask(ctx, options, Ok(token.clone()), &control::whoami())
}

/// Begins a login, which the user confirms at the returned address.
///
/// # Errors
///
/// If the platform has no control plane, or the request fails.
pub fn sign_in(ctx: &Context, options: &CloudOptions, host: &str) -> Result<Signin, Error> {
    ask(ctx, options, no_account(), &control::signin(host))
}

/// Waits until a login is confirmed, and returns the account with its token.
///
/// # Errors
///
/// If the login is not confirmed in time, or the request fails.
pub fn finish(
    ctx: &Context,
    options: &CloudOptions,
    signin: &Signin,
) -> Result<Organization, Error> {
    ask(ctx, options, no_account(), &control::confirmed(signin))
}

/// Returns a token that authenticates no account: a login begins without one.
fn no_account() -> Result<Token, Error> {
    Token::parse("none").map_err(|error| Error::Account(account::Error::Token(error)))
}

/// Interval between two looks at a build.
const PAUSE: Duration = Duration::from_secs(1);

/// Sends a request to the build service.
///
/// # Errors
///
/// If the platform has no known build service, there is no token, or the request fails.
pub fn build(
    ctx: &Context,
    options: &CloudOptions,
    request: &Request<Build>,
) -> Result<Vec<Build>, Error> {
    send(
        ctx,
        &build_service(ctx, options)?,
        token(ctx, options)?,
        request,
    )
}

/// Creates a build.
///
/// # Errors
///
/// As [`build`], and if the answer is not one build.
pub fn create_build(ctx: &Context, options: &CloudOptions, wanted: Value) -> Result<Build, Error> {
    let request = builds::create(wanted);
    let made = build(ctx, options, &request)?.into_iter().next();
    made.filter(|made| !made.id.is_empty())
        .ok_or_else(|| Error::Empty("the build service".to_owned(), request.doing))
}

/// Sends a request about one build to the build service. Its answer is that build, or nothing.
///
/// # Errors
///
/// As [`build`], and if the answer is about another build.
pub fn of_build(
    ctx: &Context,
    options: &CloudOptions,
    id: &str,
    request: &Request<Build>,
) -> Result<Option<Build>, Error> {
    let found = build(ctx, options, request)?.into_iter().next();
    match found {
        Some(other) if other.id != id => Err(Error::OtherBuild {
            asked: id.to_owned(),
            found: other.id,
        }),
        found => Ok(found),
    }
}

/// Sends a request whose answer is a build.
fn one_build(
    ctx: &Context,
    options: &CloudOptions,
    id: &str,
    request: &Request<Build>,
) -> Result<Build, Error> {
    let found = of_build(ctx, options, id, request)?;
    found.ok_or_else(|| Error::Empty("the build service".to_owned(), request.doing.clone()))
}

/// Cancels a build, and returns it as it is then.
///
/// # Errors
///
/// As [`of_build`], and if the answer is empty.
pub fn cancel_build(ctx: &Context, options: &CloudOptions, id: &str) -> Result<Build, Error> {
    one_build(ctx, options, id, &builds::cancel(id))
}

/// Waits until a build ends.
///
/// # Errors
///
/// As [`build`].
pub fn wait_for_build(ctx: &Context, options: &CloudOptions, id: &str) -> Result<Build, Error> {
    loop {
        let found = one_build(ctx, options, id, &builds::get(id))?;
        if found.has_ended() {
            return Ok(found);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Returns the host of the account's registry.
///
/// # Errors
///
/// If there is no token, or the registry is not a host.
pub fn registry(ctx: &Context, options: &CloudOptions) -> Result<String, Error> {
    Ok(Account::resolve(ctx, options)?.registry)
}

/// Returns the URL of the build service.
fn build_service(ctx: &Context, options: &CloudOptions) -> Result<String, Error> {
    if let Some(url) = ctx.env.text(BUILD_VARIABLE) {
        return Ok(versioned(&url));
    }
    match options.metro(ctx)?.filter(|metro| metro.contains("://")) {
        Some(metro) => Err(Error::Private(metro)),
        None => Ok(BUILDS.to_owned()),
    }
}
