//! The commands that exist for machines as well, for the machines of services.

use std::collections::BTreeSet;
use std::ffi::OsString;

use kraft_engine::compose::state;
use kraft_engine::compose::up as flow;
use kraft_engine::copy::Side;
use kraft_engine::machines;
use kraft_machine::{Id, MachineEvent};

use super::{OneService, Project, Services};
use crate::app::App;
use crate::commands::{attach, cp, events, port, stats, top, version, wait};
use crate::failure::{Failure, Kind};
use crate::ui::Format;

/// Print the address on the host of a port of a service
#[derive(Debug, clap::Args)]
pub(super) struct PortArgs {
    #[command(flatten)]
    pub(super) service: OneService,

    /// The port of the service
    #[arg(value_name = "PORT[/PROTOCOL]", value_parser = port::port)]
    port: Option<port::Port>,

    /// Set the protocol of the port: tcp or udp
    #[arg(long, value_name = "PROTOCOL", requires = "port", value_parser = port::protocol)]
    protocol: Option<kraft_core::port::Protocol>,
}

pub(super) fn port(app: &App, project: &Project, args: &PortArgs) -> Result<(), Failure> {
    let member = project.member(&machines::existing(app), &args.service)?;
    let protocol = |port: port::Port| port::Port {
        protocol: args.protocol.unwrap_or(port.protocol),
        ..port
    };
    port::print(app, &member.machine, args.port.map(protocol), Format::Table)
}

/// Connect to the console of a service
///
/// See `kraft attach`.
#[derive(Debug, clap::Args)]
pub(super) struct AttachArgs {
    #[command(flatten)]
    pub(super) service: OneService,

    #[command(flatten)]
    connection: attach::ConnectionArgs,
}

pub(super) fn attach(app: &App, project: &Project, args: AttachArgs) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let member = project.member(&machines, &args.service)?;
    attach::connect(app, &machines, member.machine, args.connection)
}

/// Copy files into and out of the volumes of a service
///
/// See `kraft cp`.
#[derive(Debug, clap::Args)]
pub(super) struct CopyArgs {
    /// What to copy
    #[arg(value_name = "[SERVICE:]SOURCE", value_hint = clap::ValueHint::AnyPath)]
    from: OsString,

    /// Where to copy it
    #[arg(value_name = "[SERVICE:]DESTINATION", value_hint = clap::ValueHint::AnyPath)]
    to: OsString,

    #[command(flatten)]
    options: cp::Options,

    /// Select this machine of the service, by its number
    #[arg(long, value_name = "NUMBER")]
    index: Option<u32>,
}

pub(super) fn copy(app: &App, project: &Project, args: &CopyArgs) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let id = |side: Side<'_>| match side {
        Side::Machine { name, .. } => {
            let member = project.member_of(&machines, name, args.index)?;
            Ok::<_, Failure>(member.machine.id.to_string())
        }
        Side::Local(_) | Side::Stream => Ok(String::new()),
    };
    let (from, to) = (Side::parse(&args.from), Side::parse(&args.to));
    let (source, target) = (id(from)?, id(to)?);
    cp::copy(
        app,
        from.of_machine(&source),
        to.of_machine(&target),
        args.options,
    )
}

/// List the threads of the VMMs of services
///
/// See `kraft top`.
#[derive(Debug, clap::Args)]
pub(super) struct TopArgs {
    #[command(flatten)]
    pub(super) services: Services,
}

pub(super) fn top(app: &App, project: &Project, args: &TopArgs) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let members = project.members(&machines, &args.services.services)?;
    for member in members.iter().filter(|one| one.machine.pid.is_some()) {
        app.ui.line(&member.machine.name)?;
        top::print(app, &machines, &member.machine, Format::Table)?;
    }
    Ok(())
}

/// Show what the machines of services use
///
/// See `kraft stats`.
#[derive(Debug, clap::Args)]
pub(super) struct StatsArgs {
    #[command(flatten)]
    pub(super) services: Services,

    #[command(flatten)]
    options: stats::Options,
}

pub(super) fn stats(app: &App, project: &Project, args: &StatsArgs) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let members = || {
        let members = project.members(&machines, &args.services.services)?;
        Ok(members.into_iter().map(|member| member.machine).collect())
    };
    stats::show(app, &machines, &args.options, args.options.all, members)
}

/// Print events of the machines of services as they happen
///
/// See `kraft events`.
#[derive(Debug, clap::Args)]
pub(super) struct EventsArgs {
    #[command(flatten)]
    pub(super) services: Services,

    /// Print JSON objects, one per line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    period: events::Period,
}

pub(super) fn events(app: &App, project: &Project, args: &EventsArgs) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let services = &args.services.services;
    let members = project.members(&machines, services)?;
    let mut known: BTreeSet<Id> = members.iter().map(|member| member.machine.id).collect();
    let is_ours = |event: &MachineEvent| {
        if !known.contains(&event.id)
            && let Ok(machine) = machines.get(event.id)
        {
            let label = |name: &str| machine.spec.labels.get(name);
            let service = label(state::SERVICE);
            let is_named = services.is_empty() || service.is_some_and(|it| services.contains(it));
            if label(state::PROJECT) == Some(&project.name) && is_named {
                known.insert(event.id);
            }
        }
        known.contains(&event.id)
    };
    events::follow(app, args.period, events::Output::of(args.json), is_ours)
}

/// Wait for the machines of services to end
///
/// Print the exit code of each; see `kraft wait`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Exit code: that of the first machine that did not end with 0.")]
pub(super) struct WaitArgs {
    #[command(flatten)]
    pub(super) services: Services,

    /// Remove the machines and networks of the project when the first machine has ended
    #[arg(long)]
    down_project: bool,
}

pub(super) fn wait(app: &App, project: &Project, args: &WaitArgs) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let members = project.members(&machines, &args.services.services)?;
    let mut code = 0;
    if args.down_project {
        let interrupt = app.interrupt.listen();
        let options = flow::AbortOptions::default();
        let first = flow::stop_after_first_end(&machines, &members, &interrupt, options)?;
        let Some(first) = first else {
            return Err(Failure::reported(Kind::Interrupted));
        };
        code = flow::exit_code(&first.machine).unwrap_or(0);
        app.ui.line(&code.to_string())?;
        let definition = project.definition.as_ref();
        flow::down(app, &project.name, definition, flow::DownOptions::default())?;
    } else {
        for member in &members {
            let ended = wait::one(app, &machines, member.machine.id)?;
            code = if code == 0 { ended } else { code };
        }
    }
    match u8::try_from(code) {
        Ok(0) => Ok(()),
        Ok(code) => Err(Failure::reported(Kind::Guest(code))),
        Err(_) => Err(Failure::reported(Kind::Crashed)),
    }
}

/// Show kraft version information
#[derive(Debug, clap::Args)]
pub(super) struct VersionArgs {
    /// Print only the number
    #[arg(long)]
    short: bool,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "pretty", value_parser = ["pretty", "json"])]
    format: String,
}

pub(super) fn version(app: &App, args: &VersionArgs) -> Result<(), Failure> {
    version::print(app, args.short, args.format == "json")
}

/// A command that a machine cannot do.
#[derive(Debug, clap::Args)]
pub(super) struct RefusedArgs {
    /// Service
    #[arg(value_name = "SERVICE")]
    service: String,

    /// Everything else
    #[arg(
        value_name = "ARGS",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        hide = true
    )]
    rest: Vec<OsString>,
}

pub(super) fn refuse(app: &App, project: &Project, args: &RefusedArgs) -> Result<(), Failure> {
    let services = std::slice::from_ref(&args.service);
    project.members(&machines::existing(app), services)?;
    Err(Failure::new(
        Kind::Host,
        format!(
            "cannot read the files of the service `{}`: they are in the memory of its machine",
            args.service
        ),
    )
    .hint("`kraft compose cp` copies the files of volumes, `kraft compose build` makes the image"))
}
