//! `list` of one kind of resource, once or whenever something changes.

use std::time::Duration;

use kraft_cloud::answer::Item;
use kraft_cloud::request::Request;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::output::{self, Form, Shown};
use crate::app::App;
use crate::commands::tally::Tally;
use crate::failure::Failure;
use crate::ui::Cell;
use kraft_deploy::{Cloud, CloudOptions, metros};

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

/// Returns whether all metros are selected.
pub(crate) fn is_everywhere(options: &CloudOptions) -> bool {
    options.metro.as_deref() == Some(metros::ALL)
}

/// A resource and the metro that it is in.
struct Placed<T> {
    metro: String,
    one: T,
}

impl<T: Serialize> Serialize for Placed<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value = serde_json::to_value(&self.one).map_err(serde::ser::Error::custom)?;
        if let Some(members) = value.as_object_mut() {
            members.insert("metro".to_owned(), Value::String(self.metro.clone()));
        }
        value.serialize(serializer)
    }
}

/// Lists the resources of all metros, each with its metro. A metro that cannot be asked is reported
/// after the others are listed.
pub(crate) fn everywhere<T>(
    app: &App,
    options: &CloudOptions,
    args: &ListArgs,
    request: &Request<T>,
) -> Result<(), Failure>
where
    T: Shown + DeserializeOwned,
{
    if args.watch {
        return Err(Failure::usage("`--watch` needs a single metro"));
    }
    let metros = metros::each(app, options);
    let mut rows = Vec::new();
    let mut tally = Tally::default();
    for (metro, options) in metros {
        let found = Cloud::open(app, &options)
            .map_err(Failure::from)
            .and_then(|cloud| Ok(cloud.all(request)?));
        let found = found.map_err(|failure| failure.hint(format!("this is the metro {metro}")));
        if let Some(found) = tally.count(app, found) {
            rows.extend(found.into_iter().map(|one| Placed {
                metro: metro.clone(),
                one,
            }));
        }
    }
    let columns = match args.output {
        Form::Table => T::TABLE,
        _ => T::LIST,
    };
    let titles = std::iter::once("METRO").chain(columns.iter().map(|column| column.title));
    let titles: Vec<&str> = titles.collect();
    let cells = rows.iter().map(|row| {
        let cells = columns.iter().map(|column| (column.cell)(&row.one));
        std::iter::once(Cell::new(&row.metro))
            .chain(cells)
            .collect()
    });
    let cells: Vec<Vec<Cell>> = cells.collect();
    output::cells(app, args.output, &rows, &titles, &cells)?;
    tally.outcome()
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
