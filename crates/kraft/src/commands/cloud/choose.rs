//! Things of the platform as commands are told of them: by names and UUIDs, or all.

use kraft_cloud::request::{Id, Request};
use kraft_cloud::resources::Named;

use super::output;
use crate::app::App;
use crate::failure::Failure;
use crate::ops::cloud::Cloud;

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
}

/// Understands names and UUIDs.
pub(crate) fn ids(words: &[String]) -> Vec<Id> {
    words.iter().map(|word| Id::new(word)).collect()
}

/// Does something to things, and prints the name of each; nothing is sent if there are none.
pub(crate) fn each(
    app: &App,
    cloud: &Cloud,
    ids: &[Id],
    request: impl FnOnce(&[Id]) -> Request<Named>,
) -> Result<(), Failure> {
    if ids.is_empty() {
        return Ok(());
    }
    output::names(app, cloud.send(&request(ids))?)
}
