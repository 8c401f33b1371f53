//! `kraft cloud certificate`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::Subcommand;
use kraft_cloud::resources::Known;
use kraft_cloud::resources::certificates::{self, Certificate, CreateCertificate};

use super::choose::{self, Chosen, ids};
use super::list::{self, ListArgs};
use super::output::{self, Form, Shown, ago};
use super::service::names;
use crate::app::App;
use crate::failure::{Failure, Kind};
use crate::ui::{Cell, Column};
use kraft_deploy::{Cloud, Where};

/// A PEM file is at most this long, in bytes.
const LARGEST_PEM: u64 = 1 << 20;

/// Look after the certificates of domains
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Give a certificate to the platform, and print its name
    #[command(visible_alias = "crt")]
    Create {
        /// Give it this name instead of one by chance
        #[arg(short, long)]
        name: Option<String>,
        /// The domain that it is for
        #[arg(short, long, value_name = "DOMAIN")]
        cn: String,
        /// The certificates from its own to the authority's: a PEM file, or its text
        #[arg(short = 'C', long, value_name = "FILE")]
        chain: String,
        /// The private key: a PEM file
        #[arg(short, long, value_name = "FILE")]
        pkey: String,
    },
    /// List certificates
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Tell everything about certificates
    #[command(visible_aliases = ["status", "info"])]
    Get {
        /// Names or UUIDs
        #[arg(value_name = "CERTIFICATE", required = true)]
        certificates: Vec<String>,
        /// Print in this form
        #[arg(short, long, value_name = "FORMAT", default_value = "list")]
        output: Form,
    },
    /// Remove certificates, which no service may use any more
    #[command(visible_aliases = ["rm", "del", "delete"])]
    Remove(Chosen),
}

type Field = Column<Certificate>;

const UUID: Field = Column::new("UUID", |one| Cell::new(&one.uuid));
const NAME: Field = Column::new("NAME", |one| Cell::new(&one.name));
const STATE: Field = Column::new("STATE", |one| Cell::new(&one.state));
const ATTEMPTS: Field = Column::new("VALIDATION ATTEMPTS", |one| {
    let tried = one.validation.as_ref().map(|one| one.attempt.to_string());
    Cell::new(tried.unwrap_or_default())
});
const NEXT: Field = Column::new("NEXT ATTEMPT", |one| {
    Cell::new(one.validation.as_ref().map_or("", |one| one.next.as_str()))
});
const CN: Field = Column::new("COMMON NAME", |one| Cell::new(&one.common_name));
const SUBJECT: Field = Column::new("SUBJECT", |one| Cell::new(&one.subject));
const ISSUER: Field = Column::new("ISSUER", |one| Cell::new(&one.issuer));
const SERIAL: Field = Column::new("SERIAL NUMBER", |one| Cell::new(&one.serial_number));
const BEGINS: Field = Column::new("NOT BEFORE", |one| Cell::new(&one.not_before));
const ENDS: Field = Column::new("NOT AFTER", |one| Cell::new(&one.not_after));
const AGE: Field = Column::new("CREATED AT", |one| Cell::new(ago(&one.created_at)));
const CREATED: Field = Column::new("CREATED AT", |one| Cell::new(&one.created_at));
const SERVICES: Field = Column::new("SERVICES", |one| Cell::new(names(&one.service_groups)));

impl Shown for Certificate {
    const TABLE: &'static [Field] = &[NAME, STATE, CN, AGE];
    const LIST: &'static [Field] = &[
        UUID, NAME, STATE, ATTEMPTS, NEXT, CN, SUBJECT, ISSUER, SERIAL, BEGINS, ENDS, CREATED,
        SERVICES,
    ];
}

pub(crate) fn exec(app: &App, at: &Where, args: &Args) -> Result<(), Failure> {
    let cloud = Cloud::open(app, at)?;
    match &args.command {
        Command::Create {
            name,
            cn,
            chain,
            pkey,
        } => {
            let request = certificates::create(&CreateCertificate {
                name: name.clone(),
                cn: cn.clone(),
                chain: pem(chain, "CERTIFICATE")?,
                pkey: key(app, pkey)?,
            });
            app.ui.line(cloud.send(&request)?.one()?.title())
        }
        Command::List(args) => list::exec(app, &cloud, args, &certificates::get(&[])),
        Command::Get {
            certificates,
            output,
        } => {
            let answer = cloud.send(&certificates::get(&ids(certificates)))?;
            output::print(app, *output, answer)
        }
        Command::Remove(chosen) => {
            let ids = chosen.ids(&cloud, &certificates::get(&[]))?;
            choose::each(app, &cloud, &chosen.told, &ids, certificates::remove)
        }
    }
}

/// Returns a private key, and minds who else can read it.
fn key(app: &App, typed: &str) -> Result<String, Failure> {
    if is_pem(typed) {
        app.ui
            .warn("every user of this computer can read a key that is typed: name a file instead");
        return pem(typed, "KEY");
    }
    let open = std::fs::metadata(typed).is_ok_and(|found| found.permissions().mode() & 0o077 != 0);
    if open {
        app.ui.warn(&format!(
            "others can read the private key `{typed}`: `chmod 600 {typed}`"
        ));
    }
    pem(typed, "KEY")
}

fn is_pem(text: &str) -> bool {
    text.trim_start().starts_with("-----BEGIN")
}

/// Returns a PEM text: what was typed, or the file that was named.
fn pem(typed: &str, what: &str) -> Result<String, Failure> {
    let (text, name) = if is_pem(typed) {
        (typed.to_owned(), "what was typed".to_owned())
    } else {
        let bytes = kraft_sys::fs::read_file(Path::new(typed), LARGEST_PEM)?;
        (
            String::from_utf8_lossy(&bytes).into_owned(),
            format!("`{typed}`"),
        )
    };
    let fitting = text.lines().any(|line| {
        line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&format!("{what}-----"))
    });
    if fitting {
        Ok(text)
    } else {
        Err(Failure::new(
            Kind::Usage,
            format!("{name} has no PEM block that is a {}", what.to_lowercase()),
        ))
    }
}
