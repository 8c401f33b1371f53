//! `list` and `get`, which every kind of resource has.

use std::marker::PhantomData;

use clap::Subcommand;
use kraft_cloud::request::{Id, Request};
use kraft_cloud::resources::Known;
use serde::de::DeserializeOwned;

use super::choose::ids;
use super::list::{self, ListArgs};
use super::output::{self, Form, Shown};
use crate::app::App;
use crate::failure::Failure;
use kraft_deploy::{Cloud, CloudOptions};

/// A kind of resource: what requests and help texts call it.
pub(crate) trait Resource: Shown + Known + DeserializeOwned {
    /// The placeholder of its names in help texts.
    const VALUE_NAME: &'static str;
    /// The help text of `list`.
    const LIST_HELP: &'static str;
    /// The help text of `get`.
    const GET_HELP: &'static str;

    /// Returns the request for some of them; for all without ids.
    fn get(ids: &[Id]) -> Request<Self>;
}

/// The commands that only read.
#[derive(Debug, Subcommand)]
pub(crate) enum Queries<R: Resource> {
    #[command(about = R::LIST_HELP, visible_alias = "ls")]
    List(ListArgs),
    #[command(about = R::GET_HELP, visible_aliases = ["status", "info", "gt"])]
    Get(GetArgs<R>),
}

#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs<R: Resource> {
    /// Names or UUIDs
    #[arg(value_name = R::VALUE_NAME, required = true)]
    names: Vec<String>,

    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "list")]
    output: Form,

    #[arg(skip)]
    resource: PhantomData<R>,
}

impl<R: Resource> Queries<R> {
    pub(crate) fn exec(
        &self,
        app: &App,
        options: &CloudOptions,
        cloud: &Cloud,
    ) -> Result<(), Failure> {
        match self {
            Self::List(args) if list::is_everywhere(options) => {
                list::everywhere(app, options, args, &R::get(&[]))
            }
            Self::List(args) => list::exec(app, cloud, args, &R::get(&[])),
            Self::Get(args) => {
                let answer = cloud.send(&R::get(&ids(&args.names)))?;
                output::print(app, args.output, answer)
            }
        }
    }
}
