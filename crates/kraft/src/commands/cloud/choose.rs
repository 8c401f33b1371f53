//! Select resources: by names and UUIDs, or all.

use kraft_cloud::request::{Id, Request};
use kraft_cloud::resources::{self, Named};

use super::output::{self, Form, Shown};
use super::resource::Resource;
use crate::app::App;
use crate::failure::Failure;
use crate::ui::{Cell, Column};
use kraft_deploy::Cloud;

/// The resources that a command changes.
#[derive(Debug, clap::Args)]
pub(crate) struct Chosen {
    /// Names or UUIDs
    #[arg(
        value_name = "NAME",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    pub(crate) names: Vec<String>,

    /// Select all
    #[arg(short, long)]
    pub(crate) all: bool,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// How a command prints what it changed.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct OutputArgs {
    /// Print the changed resources in this format instead of only their names
    #[arg(short = 'o', long = "output", value_name = "FORMAT")]
    form: Option<Form>,
}

impl Chosen {
    /// Returns the ids of the selected resources; `--all` looks them up.
    pub(crate) fn ids<R: Resource>(&self, cloud: &Cloud) -> Result<Vec<Id>, Failure> {
        if !self.all {
            return Ok(ids(&self.names));
        }
        Ok(resources::ids(&cloud.all(&R::get(&[]))?))
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

/// Parses names and UUIDs.
pub(crate) fn ids(names: &[String]) -> Vec<Id> {
    names.iter().map(|name| Id::new(name)).collect()
}

/// Sends a request that changes resources, and prints them; without ids, sends nothing.
pub(crate) fn change(
    app: &App,
    cloud: &Cloud,
    args: &OutputArgs,
    ids: &[Id],
    request: impl FnOnce(&[Id]) -> Request<Named>,
) -> Result<(), Failure> {
    match (args.form, ids) {
        (None, []) => Ok(()),
        (None, _) => output::names(app, cloud.send(&request(ids))?),
        (Some(form), []) => output::rows::<Named>(app, form, &[]),
        (Some(form), _) => output::print(app, form, cloud.send(&request(ids))?),
    }
}
