//! Things of the platform as commands are told of them: by names and UUIDs, or all.

use kraft_cloud::request::{Id, Request};
use kraft_cloud::resources::{self, Known, Named};
use serde::de::DeserializeOwned;

use super::output::{self, Form, Shown};
use crate::app::App;
use crate::failure::Failure;
use crate::ui::{Cell, Column};
use kraft_deploy::Cloud;

/// Which things a command is about.
#[derive(Debug, clap::Args)]
pub(crate) struct Chosen {
    /// Names or UUIDs
    #[arg(
        value_name = "NAME",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    pub(crate) names: Vec<String>,

    /// Every one
    #[arg(short, long)]
    pub(crate) all: bool,

    #[command(flatten)]
    pub(crate) told: Told,
}

/// How a command tells what it did.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Told {
    /// Print what was done in this form instead of the names alone
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Form>,
}

impl Chosen {
    /// Returns what the things are called by in requests; `every` asks about all of them.
    pub(crate) fn ids<T>(&self, cloud: &Cloud, every: &Request<T>) -> Result<Vec<Id>, Failure>
    where
        T: Known + DeserializeOwned,
    {
        if !self.all {
            return Ok(ids(&self.names));
        }
        Ok(resources::ids(&cloud.send(every)?.all()?))
    }
}

const DONE: &[Column<Named>] = &[
    Column::new("UUID", |one| Cell::new(&one.uuid)),
    Column::new("NAME", |one| Cell::new(&one.name)),
    Column::new("STATE", |one| {
        Cell::new(one.state.as_deref().unwrap_or_default())
    }),
    Column::new("PREVIOUS STATE", |one| {
        Cell::new(one.previous_state.as_deref().unwrap_or_default())
    }),
];

impl Shown for Named {
    const TABLE: &'static [Column<Self>] = DONE;
    const LIST: &'static [Column<Self>] = DONE;
}

/// Understands names and UUIDs.
pub(crate) fn ids(words: &[String]) -> Vec<Id> {
    words.iter().map(|word| Id::new(word)).collect()
}

/// Does something to things, and tells it; nothing is sent if there are none.
pub(crate) fn each(
    app: &App,
    cloud: &Cloud,
    told: &Told,
    ids: &[Id],
    request: impl FnOnce(&[Id]) -> Request<Named>,
) -> Result<(), Failure> {
    match (told.output, ids) {
        (None, []) => Ok(()),
        (None, _) => output::names(app, cloud.send(&request(ids))?),
        (Some(form), []) => output::rows::<Named>(app, form, &[]),
        (Some(form), _) => output::print(app, form, cloud.send(&request(ids))?),
    }
}
