//! `kraft cloud login`, `logout`, `whoami`, `profile` and `health`.

use std::io::Read as _;

use clap::Subcommand;
use kraft_cloud::resources::control::{self, Health, Organization};
use kraft_cloud::token::Token;
use serde::Serialize;

use super::output::{self, Form, Shown};
use crate::app::App;
use crate::failure::{Failure, Kind};
use crate::ui::{Cell, Column};
use kraft_deploy::profiles::{self, Place, Profile};
use kraft_deploy::{Cloud, CloudOptions, control as plane};

/// Maximum length of a token, in bytes.
const MAX_TOKEN: u64 = 8 << 10;

/// Log in, and save the login as a profile
///
/// Prints an address; the login is confirmed there, in a browser on any computer. The token is
/// saved in the keyring of the desktop if there is one, else in a file that only its owner can read.
/// The metro of `--metro` is saved with it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft cloud login
  kraft cloud login --profile work --metro fra
  echo $TOKEN | kraft cloud login --profile ci --token-stdin")]
pub(super) struct LoginArgs {
    /// Read the token from stdin
    #[arg(long)]
    token_stdin: bool,

    /// Name of the login, for several accounts
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,

    /// Save the token in a file, and not in the keyring
    #[arg(long)]
    no_keyring: bool,
}

/// The name of a profile that has none.
const DEFAULT: &str = "default";

pub(super) fn login(app: &App, options: &CloudOptions, args: &LoginArgs) -> Result<(), Failure> {
    let name = args.profile.clone().or_else(|| options.profile.clone());
    let name = name.unwrap_or_else(|| DEFAULT.to_owned());
    if name.is_empty() || name.chars().any(|c| c.is_control() || c == '/') {
        return Err(Failure::usage("the name of the profile is not valid"));
    }
    // The profile does not exist yet, or is replaced.
    let bare = &CloudOptions {
        profile: None,
        ..options.clone()
    };
    let (token, found) = if args.token_stdin {
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .take(MAX_TOKEN)
            .read_to_string(&mut text)
            .map_err(|error| Failure::new(Kind::Failed, format!("cannot read stdin: {error}")))?;
        let token = Token::parse(&text)
            .map_err(|error| Failure::from(kraft_deploy::account::Error::Token(error)))?;
        (token.clone(), plane::account_of(app, bare, &token))
    } else {
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy().into_owned();
        let signin = plane::sign_in(app, bare, &host)?;
        app.ui.info(&format!(
            "confirm the login at {}",
            signin.authorization_url
        ));
        let found = plane::finish(app, bare, &signin)?;
        let text = found.token.clone().unwrap_or_default();
        let token = Token::parse(&text)
            .map_err(|error| Failure::from(kraft_deploy::account::Error::Token(error)))?;
        (token, Ok(found))
    };
    let found = match found {
        Ok(found) => found,
        // A private platform without a control plane cannot confirm a token.
        Err(plane::Error::Private(_)) => Organization::default(),
        Err(error) => return Err(error.into()),
    };
    let some = |text: String| (!text.is_empty()).then_some(text);
    let profile = Profile {
        token: token.text(),
        metro: options.metro(app)?,
        registry: options.registry.clone().or(some(found.registry)),
        account: some(found.organization_name),
        control_plane: app.env.text("UKC_CONTROL_PLANE"),
        ..Profile::default()
    };
    let account = profile.account.clone();
    let place = profiles::save(app, &name, profile, !args.no_keyring)?;
    let account = account.unwrap_or_else(|| token.account().to_owned());
    app.ui
        .info(&format!("logged in as {account}: profile {name}"));
    app.ui.info(&match place {
        Place::Keyring => "the token is in the keyring".to_owned(),
        Place::File(path) => format!(
            "the token is in {}, which only its owner can read",
            path.display()
        ),
    });
    Ok(())
}

pub(super) fn logout(
    app: &App,
    options: &CloudOptions,
    named: Option<&str>,
) -> Result<(), Failure> {
    let name = match named.or(options.profile.as_deref()) {
        Some(name) => name.to_owned(),
        None => profiles::load(app)?.default,
    };
    profiles::remove(app, &name)?;
    app.ui.line(&name)
}

type Field = Column<Organization>;

const WHO: &[Field] = &[
    Column::new("ACCOUNT", |one| Cell::new(&one.organization_name)),
    Column::new("NAME", |one| Cell::new(&one.organization_display_name)),
    Column::new("UUID", |one| Cell::new(&one.organization_uuid)),
    Column::new("REGISTRY", |one| Cell::new(&one.registry)),
];

/// Print the account of the token
#[derive(Debug, clap::Args)]
pub(super) struct WhoamiArgs {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "list")]
    output: Form,
}

pub(super) fn whoami(app: &App, options: &CloudOptions, args: &WhoamiArgs) -> Result<(), Failure> {
    let found = plane::whoami(app, options)?;
    output::columns(app, args.output, &[found], WHO)
}

/// Manage profiles: saved logins
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(super) struct ProfileArgs {
    #[command(subcommand)]
    command: ProfileCommand,
}

#[derive(Debug, Subcommand)]
enum ProfileCommand {
    /// List the profiles
    #[command(visible_alias = "ls")]
    List {
        /// Output format
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Form,
    },
    /// Use a profile unless another one is selected
    Use {
        /// Name of the profile
        name: String,
    },
}

/// A profile without its token.
#[derive(Serialize)]
struct Row {
    name: String,
    default: bool,
    account: String,
    metro: String,
    registry: String,
}

const ROW: &[Column<Row>] = &[
    Column::new("NAME", |row| Cell::new(&row.name)),
    Column::new("DEFAULT", |row| {
        Cell::new(if row.default { "yes" } else { "no" })
    }),
    Column::new("ACCOUNT", |row| Cell::new(&row.account)),
    Column::new("METRO", |row| Cell::new(&row.metro)),
    Column::new("REGISTRY", |row| Cell::new(&row.registry)),
];

pub(super) fn profile(app: &App, args: &ProfileArgs) -> Result<(), Failure> {
    match &args.command {
        ProfileCommand::List { output } => {
            let all = profiles::load(app)?;
            let rows: Vec<Row> = all
                .profiles
                .into_iter()
                .map(|(name, one)| Row {
                    default: name == all.default,
                    name,
                    account: one.account.unwrap_or_default(),
                    metro: one.metro.unwrap_or_default(),
                    registry: one.registry.unwrap_or_default(),
                })
                .collect();
            output::columns(app, *output, &rows, ROW)
        }
        ProfileCommand::Use { name } => {
            profiles::select(app, name)?;
            app.ui.line(name)
        }
    }
}

/// Print the health of the platform in the metro
#[derive(Debug, clap::Args)]
pub(super) struct HealthArgs {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "list")]
    output: Form,
}

const HEALTH: &[Column<Health>] = &[
    Column::new("CHECKS", |one| Cell::new(pairs(&one.checks))),
    Column::new("VERSIONS", |one| Cell::new(pairs(&one.versions))),
];

impl Shown for Health {
    const TABLE: &'static [Column<Self>] = HEALTH;
    const LIST: &'static [Column<Self>] = HEALTH;
}

fn pairs(map: &std::collections::BTreeMap<String, String>) -> String {
    let all: Vec<String> = map
        .iter()
        .map(|(key, value)| format!("{key}: {value}"))
        .collect();
    all.join(", ")
}

pub(super) fn health(app: &App, cloud: &Cloud, args: &HealthArgs) -> Result<(), Failure> {
    output::print(app, args.output, cloud.send(&control::health())?)
}
