//! `kraft cloud certificate`.

use clap::Subcommand;
use kraft_cloud::request::{Id, Request};
use kraft_cloud::resources::Known;
use kraft_cloud::resources::certificates::{self, Certificate, CreateCertificate};

use super::choose::{self, Chosen};
use super::output::{Shown, ago};
use super::resource::{Queries, Resource};
use super::service::names;
use crate::app::App;
use crate::failure::Failure;
use crate::ui::{Cell, Column};
use kraft_deploy::{Cloud, CloudOptions, pem};

/// Manage the certificates of domains
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Upload a certificate, and print its name
    #[command(visible_alias = "crt")]
    Create {
        /// Name of the certificate (default: a random one)
        #[arg(short, long)]
        name: Option<String>,
        /// Domain of the certificate
        #[arg(short, long, value_name = "DOMAIN")]
        cn: String,
        /// Certificate chain, from the certificate itself to that of the authority: a PEM file, or its
        /// text
        #[arg(short = 'C', long, value_name = "FILE")]
        chain: String,
        /// Private key: a PEM file
        #[arg(short, long, value_name = "FILE")]
        pkey: String,
    },
    /// Replace the chain and the private key of a certificate, without an interruption
    Renew {
        /// Name or UUID
        #[arg(value_name = "CERTIFICATE")]
        name: String,
        /// Certificate chain: a PEM file, or its text
        #[arg(short = 'C', long, value_name = "FILE")]
        chain: String,
        /// Private key: a PEM file
        #[arg(short, long, value_name = "FILE")]
        pkey: String,
    },
    #[command(flatten)]
    Queries(Queries<Certificate>),
    /// Remove certificates that no service uses
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

impl Resource for Certificate {
    const VALUE_NAME: &'static str = "CERTIFICATE";
    const LIST_HELP: &'static str = "List certificates";
    const GET_HELP: &'static str = "Show details of certificates";

    fn get(ids: &[Id]) -> Request<Self> {
        certificates::get(ids)
    }
}

pub(crate) fn exec(app: &App, options: &CloudOptions, args: &Args) -> Result<(), Failure> {
    let cloud = Cloud::open(app, options)?;
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
                chain: pem::certificates(chain)?,
                pkey: pem::key(app, pkey)?,
            });
            app.ui.line(cloud.one(&request)?.title())
        }
        Command::Renew { name, chain, pkey } => {
            let (chain, pkey) = (pem::certificates(chain)?, pem::key(app, pkey)?);
            let renewed = cloud.one(&certificates::renew(&Id::new(name), &chain, &pkey))?;
            app.ui.line(renewed.title())
        }
        Command::Queries(queries) => queries.exec(app, options, &cloud),
        Command::Remove(chosen) => {
            let ids = chosen.ids::<Certificate>(&cloud)?;
            choose::change(app, &cloud, &chosen.output, &ids, certificates::remove)
        }
    }
}
