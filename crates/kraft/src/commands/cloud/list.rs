//! `list` of one kind of resource, once or whenever something changes.

use std::time::Duration;

use kraft_cloud::answer::Item;
use kraft_cloud::request::Request;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::output::{self, Form, Shown};
use crate::app::App;
use crate::failure::Failure;
use kraft_deploy::Cloud;

/// Interval between two polls.
const PAUSE: Duration = Duration::from_secs(1);

/// How resources are listed.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Print the list again whenever something changes, until Ctrl-C
    #[arg(short, long)]
    watch: bool,

    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Form,
}

/// Lists the answer to a request.
pub(crate) fn exec<T>(
    app: &App,
    cloud: &Cloud,
    args: &ListArgs,
    request: &Request<T>,
) -> Result<(), Failure>
where
    T: Shown + DeserializeOwned,
{
    if !args.watch {
        return output::print(app, args.output, cloud.send(request)?);
    }
    let mut before = None;
    loop {
        let answer = cloud.send(request)?;
        let now = state(&answer.items);
        if before.as_ref() != Some(&now) {
            app.ui.wipe()?;
            output::print(app, args.output, answer)?;
            before = Some(now);
        }
        cloud.pause(PAUSE)?;
    }
}

/// Returns what is compared: everything about each resource except its uptime.
fn state<T: Shown>(items: &[Item<T>]) -> Vec<Value> {
    let done = items.iter().filter_map(|item| match item {
        Item::Done(one) => serde_json::to_value(one).ok(),
        Item::Failed(_) => None,
    });
    done.map(|mut one| {
        if let Some(members) = one.as_object_mut() {
            members.remove("uptime_ms");
        }
        one
    })
    .collect()
}
