//! `kraft compose ps`, `ls`, `images` and `volumes`.

use kraft_core::machine::MachineState;
use kraft_engine::compose::state::{self, Member};
use kraft_engine::compose::volumes;
use kraft_engine::machines;
use serde::Serialize;

use super::{Project, Services};
use crate::app::App;
use crate::commands::machines::{Row, ago, state_colour};
use crate::commands::ps::filter::{self, Filter};
use crate::commands::ps::template::Template;
use crate::commands::{ps, vol::ls};
use crate::failure::Failure;
use crate::ui::{Cell, Column, Format};

/// The output format of a listing.
#[derive(Debug, clap::Args)]
#[group(skip)]
struct OutputArgs {
    /// Set the output format
    #[arg(
        short = 'o',
        long = "output",
        visible_alias = "format",
        value_name = "FORMAT",
        default_value = "table",
        id = "output"
    )]
    format: Format,
}

/// List the machines of services
///
/// List running machines, or with --all every machine.
#[derive(Debug, clap::Args)]
pub(super) struct PsArgs {
    #[command(flatten)]
    pub(super) services: Services,

    /// List all machines, not only running ones
    #[arg(short, long)]
    all: bool,

    /// Print only ids
    #[arg(short, long, conflicts_with = "output")]
    quiet: bool,

    /// Print only the names of services
    #[arg(long = "services", id = "only-services", conflicts_with_all = ["output", "quiet"])]
    names: bool,

    /// List only machines with this property, as `kraft ps`
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,

    /// List only machines in this state, as `--filter status=STATE`
    #[arg(long, value_name = "STATE")]
    status: Vec<String>,

    /// List machines of services that the file does not have
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", hide_default_value = true)]
    orphans: bool,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,

    /// Print this text for each machine, as `kraft ps`; or table, or json for one object per line
    #[arg(long, value_name = "TEMPLATE", conflicts_with_all = ["output", "quiet", "only-services"])]
    format: Option<Template>,
}

/// List projects
///
/// List projects with running machines, or with --all every project.
#[derive(Debug, clap::Args)]
pub(super) struct LsArgs {
    /// List all projects, also those whose machines do not run
    #[arg(short, long)]
    all: bool,

    /// Print only names
    #[arg(short, long, conflicts_with = "output")]
    quiet: bool,

    /// List only projects whose names contain a text
    #[arg(long, value_name = "name=TEXT", value_parser = name_filter)]
    filter: Vec<String>,

    #[command(flatten)]
    output: OutputArgs,
}

/// Parses `name=TEXT`.
fn name_filter(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("name=");
    name.map(str::to_owned)
        .ok_or_else(|| "expected name=TEXT".to_owned())
}

/// List the images of the machines of services
#[derive(Debug, clap::Args)]
pub(super) struct ImagesArgs {
    #[command(flatten)]
    pub(super) services: Services,

    /// Print only digests
    #[arg(short, long, conflicts_with = "output")]
    quiet: bool,

    #[command(flatten)]
    output: OutputArgs,
}

/// List the volumes of the project
///
/// List the volumes that were made for the project, or those that the machines of services mount.
#[derive(Debug, clap::Args)]
pub(super) struct VolumesArgs {
    #[command(flatten)]
    pub(super) services: Services,

    /// Print only names
    #[arg(short, long, conflicts_with = "output")]
    quiet: bool,

    #[command(flatten)]
    output: OutputArgs,
}

/// A machine of a service; these are the fields of `-o json`.
#[derive(Debug, Serialize)]
struct ServiceRow {
    service: String,
    number: u32,
    #[serde(flatten)]
    machine: Row,
}

impl From<Member> for ServiceRow {
    fn from(member: Member) -> Self {
        Self {
            service: member.service,
            number: member.number,
            machine: Row::from(member.machine),
        }
    }
}

const COLUMNS: &[Column<ServiceRow>] = &[
    Column::new("NAME", |row| {
        Cell::new(row.machine.name.as_deref().unwrap_or_default())
    }),
    Column::new("SERVICE", |row| Cell::new(&row.service)),
    Column::new("KERNEL", |row| {
        Cell::new(row.machine.kernel.as_deref().unwrap_or_default())
    }),
    Column::new("CREATED", |row| {
        let now = jiff::Timestamp::now();
        let created = row.machine.created_at;
        Cell::new(created.map(|at| ago(at, now)).unwrap_or_default())
    }),
    Column::new("STATUS", |row| {
        let status = match row.machine.exit_code {
            Some(code) if !row.machine.moment.is_up() => {
                format!("{} ({code})", row.machine.status())
            }
            _ => row.machine.status(),
        };
        Cell::new(status).colour(state_colour(row.machine.moment))
    }),
    Column::new("PORTS", |row| {
        let ports = row.machine.ports.iter().map(ToString::to_string);
        Cell::new(ports.collect::<Vec<_>>().join(", "))
    }),
];

pub(super) fn ps(app: &App, project: &Project, args: &PsArgs) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let mut members = project.members(&machines, &args.services.services)?;
    if args.all || !args.status.is_empty() {
        members.extend(project.one_offs(&machines, &args.services.services)?);
    }
    if let Some(definition) = project.definition.as_ref().filter(|_| !args.orphans) {
        members.retain(|member| definition.compose.service(&member.service).is_some());
    }
    let states = args.status.iter();
    let states = states.map(|state| format!("status={state}").parse::<Filter>());
    let mut filters = states
        .collect::<Result<Vec<_>, _>>()
        .map_err(Failure::usage)?;
    filters.extend(args.filter.iter().cloned());
    let all = args.all || filters.iter().any(Filter::is_about_state);
    members.retain(|member| all || is_listed(member.machine.state));
    let mut rows: Vec<ServiceRow> = members.into_iter().map(ServiceRow::from).collect();
    rows.retain(|row| filter::all_match(&filters, &row.machine));
    if args.quiet {
        return rows.iter().try_for_each(|row| app.ui.line(&row.machine.id));
    }
    if args.names {
        let mut names: Vec<&str> = rows.iter().map(|it| it.service.as_str()).collect();
        names.dedup();
        return names.iter().try_for_each(|name| app.ui.line(name));
    }
    match &args.format {
        Some(template) => ps::print(app, template, &rows, |row| &row.machine, COLUMNS),
        None => app.ui.listing(args.output, &rows, COLUMNS),
    }
}

fn is_listed(state: MachineState) -> bool {
    state.is_up() || state == MachineState::Unknown
}

/// A project; these are the fields of `-o json`.
#[derive(Debug, Serialize)]
struct ProjectRow {
    name: String,
    /// The states of its machines: `running(2), exited(1)`.
    status: String,
    config_files: String,
}

impl ProjectRow {
    fn of(name: String, members: &[Member]) -> Self {
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for member in members {
            let state = member.machine.state.name();
            match counts.iter_mut().find(|(known, _)| *known == state) {
                Some((_, count)) => *count += 1,
                None => counts.push((state, 1)),
            }
        }
        counts.sort_unstable();
        let states: Vec<String> = counts
            .iter()
            .map(|(state, count)| format!("{state}({count})"))
            .collect();
        let files = members.iter().find_map(|member| member.label(state::FILES));
        Self {
            name,
            status: states.join(", "),
            config_files: files.unwrap_or_default().to_owned(),
        }
    }
}

pub(super) fn ls(app: &App, args: &LsArgs) -> Result<(), Failure> {
    let projects = state::projects(&machines::existing(app))?;
    let is_up = |members: &[Member]| members.iter().any(|it| is_listed(it.machine.state));
    let rows: Vec<ProjectRow> = projects
        .into_iter()
        .filter(|(_, members)| args.all || is_up(members))
        .filter(|(name, _)| {
            let mut parts = args.filter.iter();
            args.filter.is_empty() || parts.any(|part| name.contains(part.as_str()))
        })
        .map(|(name, members)| ProjectRow::of(name, &members))
        .collect();
    if args.quiet {
        return rows.iter().try_for_each(|row| app.ui.line(&row.name));
    }
    let columns: &[Column<ProjectRow>] = &[
        Column::new("NAME", |row| Cell::new(&row.name)),
        Column::new("STATUS", |row| Cell::new(&row.status)),
        Column::new("CONFIG FILES", |row| Cell::new(&row.config_files)),
    ];
    app.ui.listing(args.output.format, &rows, columns)
}

/// The image of a machine; these are the fields of `-o json`.
#[derive(Debug, Serialize)]
struct ImageRow {
    machine: String,
    service: String,
    /// The image that the file names.
    image: Option<String>,
    /// The digest of that, if it was stored when the machine was created.
    digest: Option<String>,
    /// The kernel that boots: that of the image, or of the runtime.
    kernel: String,
}

pub(super) fn images(app: &App, project: &Project, args: &ImagesArgs) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let members = project.members(&machines, &args.services.services)?;
    let image = |member: &Member| {
        let definition = project.definition.as_ref()?;
        definition.compose.service(&member.service)?.image.clone()
    };
    let rows: Vec<ImageRow> = members
        .iter()
        .map(|member| ImageRow {
            machine: member.machine.name.clone(),
            service: member.service.clone(),
            image: image(member),
            digest: member.label(state::IMAGE).map(str::to_owned),
            kernel: member.machine.spec.origin.clone(),
        })
        .collect();
    if args.quiet {
        let mut digests = rows.iter().filter_map(|row| row.digest.as_deref());
        return digests.try_for_each(|digest| app.ui.line(digest));
    }
    let columns: &[Column<ImageRow>] = &[
        Column::new("MACHINE", |row| Cell::new(&row.machine)),
        Column::new("SERVICE", |row| Cell::new(&row.service)),
        Column::new("IMAGE", |row| {
            Cell::new(row.image.as_deref().unwrap_or_default())
        }),
        Column::new("KERNEL", |row| Cell::new(&row.kernel)),
    ];
    app.ui.listing(args.output.format, &rows, columns)
}

pub(super) fn volumes(app: &App, project: &Project, args: &VolumesArgs) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let services = &args.services.services;
    let mut list = volumes::list(&machines, &project.name, project.definition.as_ref())?;
    if !services.is_empty() {
        let members = project.members(&machines, services)?;
        let mounts = || members.iter().flat_map(|it| &it.machine.spec.volumes);
        list.retain(|volume| mounts().any(|it| it.name.as_ref() == Some(&volume.name)));
    }
    if args.quiet {
        return list.iter().try_for_each(|volume| app.ui.line(&volume.name));
    }
    ls::show(app, &machines, list, args.output.format, ls::SHORT)
}
