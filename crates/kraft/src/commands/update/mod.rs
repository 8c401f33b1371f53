//! `kraft update`: the pins of a project, or the settings of machines.

mod machine;

use kraft_core::lock::Pin;
use kraft_core::reference::Reference;
use serde::Serialize;

use crate::app::App;
use crate::commands::project::ProjectOptions;
use crate::failure::{Failure, Kind};
use crate::ui::{Cell, Column, Format};
use kraft_engine::components::{self, PinChange};
use kraft_engine::pins::{self, Moved};
use kraft_engine::project::Project;
use kraft_engine::workplace::Workplace;
use kraft_engine::{builtin, settings};

/// Update the versions pinned in kraft.lock, or the settings of machines
///
/// kraft.lock pins the commit or archive of each component, and builds use exactly these. This
/// command resolves the versions of all or of the given components again, and prints the old and
/// new pins. With `--check`, nothing is written, and the command fails if a pin is out of date.
///
/// With an option for machines, such as `--restart`, the names are those of machines, whose settings
/// change.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft update
  kraft update lwip
  kraft update --check
  kraft update --restart unless-stopped web
  kraft update --label tier=web --memory 128Mi web")]
pub(crate) struct Args {
    /// Components, by name or as `lib/NAME` (default: all), or machines
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// Write nothing; fail if a pin is out of date
    #[arg(long, visible_alias = "dry-run")]
    check: bool,

    #[command(flatten)]
    project: ProjectOptions,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,

    #[command(flatten)]
    machine: machine::MachineArgs,
}

/// One row; these are the fields of `-o json`.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    version: Option<String>,
    from: Option<String>,
    to: String,
}

impl From<&PinChange> for Row {
    fn from(it: &PinChange) -> Self {
        let whole = |pin: &Pin| match pin {
            Pin::Git { commit, .. } => commit.clone(),
            Pin::Archive { sha256, .. } => format!("sha256:{sha256}"),
        };
        Self {
            name: it.name.clone(),
            version: it.asked.version.clone(),
            from: it.from.as_ref().map(whole),
            to: whole(&it.to),
        }
    }
}

impl From<Moved> for Row {
    fn from(it: Moved) -> Self {
        Self {
            name: it.name.path(),
            version: Some(it.name.version().to_owned()),
            from: it.from.map(|digest| digest.to_string()),
            to: it.to.to_string(),
        }
    }
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    if args.machine.is_meant() {
        return machine::exec(app, &args.names, &args.machine);
    }
    let project = args.project.open(app)?;
    let workplace = Workplace::open(app, &project)?;
    let mut rows: Vec<Row> = Vec::new();
    if let Some(name) = image(&project, &args.names)? {
        let moved = pins::update(app, &project, &name, !args.check)?;
        rows.extend(moved.map(Row::from));
    } else {
        let moved = components::update(app, &project, &workplace, &args.names, !args.check)?;
        rows.extend(moved.iter().map(Row::from));
    }
    if rows.is_empty() && args.output == Format::Table {
        app.ui.info("kraft.lock is up to date");
        return Ok(());
    }
    app.ui.listing(args.output, &rows, COLUMNS)?;
    if args.check && !rows.is_empty() {
        let names: Vec<&str> = rows.iter().map(|it| it.name.as_str()).collect();
        return Err(Failure::new(
            Kind::Failed,
            format!("kraft.lock is out of date: {}", names.join(", ")),
        )
        .hint("`kraft update` updates it"));
    }
    Ok(())
}

/// Returns the runtime image of a project that is not built from components.
fn image(project: &Project, names: &[String]) -> Result<Option<Reference>, Failure> {
    let resolved = project.resolved();
    let by_name = resolved
        .runtime
        .as_ref()
        .is_some_and(|runtime| runtime.name.is_some());
    if !by_name || resolved.unikraft.is_some() || resolved.template.is_some() {
        return Ok(None);
    }
    let text = settings::runtime_name(&resolved)?;
    let name = builtin::reference(&text)?;
    let meant = names.is_empty() || names.iter().any(|n| *n == text || *n == name.path());
    if !meant {
        return Err(Failure::new(
            Kind::NotFound,
            format!("the project has no component `{}`", names.join(", ")),
        )
        .hint(format!("it runs on `{text}`")));
    }
    Ok(Some(name))
}

const COLUMNS: &[Column<Row>] = &[
    Column {
        title: "NAME",
        cell: |row| Cell::new(&row.name),
    },
    Column {
        title: "VERSION",
        cell: |row| Cell::new(row.version.as_deref().unwrap_or("-")),
    },
    Column {
        title: "FROM",
        cell: |row| Cell::new(row.from.as_deref().map_or("-", short)),
    },
    Column {
        title: "TO",
        cell: |row| Cell::new(short(&row.to)),
    },
];

/// Returns a shortened commit or checksum.
fn short(text: &str) -> &str {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    digits.get(..12).unwrap_or(digits)
}
