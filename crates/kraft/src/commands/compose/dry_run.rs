//! `kraft compose --dry-run`: what a command would do, a line for each machine, image, network or volume.

use kraft_core::machine::MachineState;
use kraft_engine::compose::state::Member;
use kraft_engine::compose::{networks, volumes};
use kraft_engine::machines;

use super::{Command, Project};
use crate::app::App;
use crate::failure::Failure;

/// Prints what a command that changes something would do.
pub(super) fn print(app: &App, project: &Project, command: &Command) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let state = |member: &Member| member.machine.state;
    let is_up = |member: &Member| state(member).is_up();
    // The machines of services that something is done to.
    let each = |verb: &str, services: &[String], is_meant: &dyn Fn(&Member) -> bool| {
        let members = project.members(&machines, services)?.into_iter();
        let meant = members.filter(|member| is_meant(member));
        let lines = meant.map(|member| format!("{verb} {}", member.machine.name));
        Ok::<_, Failure>(lines.collect::<Vec<String>>())
    };
    let images = |verb: &str, services: &[String], built: bool| {
        let definition = project.definition.as_ref().into_iter();
        let mut lines = Vec::new();
        for definition in definition {
            for service in definition.only(services)? {
                if service.build.is_some() == built {
                    let image = service.image.as_ref().unwrap_or(&service.name);
                    lines.push(format!("{verb} {image}"));
                }
            }
        }
        lines.dedup();
        Ok::<_, Failure>(lines)
    };
    let lines = match command {
        Command::Up(args) => match project.definition.clone() {
            Some(mut definition) => args.preview(app, &mut definition)?,
            None => Vec::new(),
        },
        Command::Create(args) => match project.definition.clone() {
            Some(mut definition) => args.preview(app, &mut definition)?,
            None => Vec::new(),
        },
        Command::Down(args) => {
            let services = &args.services.services;
            let mut lines = each("remove", services, &|_| true)?;
            lines.reverse();
            let definition = project.definition.as_ref();
            if services.is_empty() {
                let members = project.members(&machines, &[])?;
                let all = machines.networks();
                let names = networks::own(&project.name, &members, definition).into_iter();
                let there = names.filter(|name| all.get(name).is_ok());
                lines.extend(there.map(|name| format!("remove network {name}")));
            }
            if args.volumes {
                let all = volumes::list(&machines, &project.name, definition)?;
                lines.extend(all.iter().map(|it| format!("remove volume {}", it.name)));
            }
            lines
        }
        Command::Start(args) => each("start", &args.services.services, &|it| !is_up(it))?,
        Command::Stop(args) => each("stop", &args.services.services, &is_up)?,
        Command::Restart(args) => each("restart", &args.services.services, &|_| true)?,
        Command::Kill(args) => each("kill", &args.services.services, &is_up)?,
        Command::Pause(args) => each("pause", &args.services.services, &|it| {
            state(it) == MachineState::Running
        })?,
        Command::Unpause(args) => each("unpause", &args.services.services, &|it| {
            state(it) == MachineState::Paused
        })?,
        Command::Rm(args) => each("remove", &args.services, &|it| args.stop || !is_up(it))?,
        Command::Build(args) => images("build", &args.services.services, true)?,
        Command::Push(args) => images("push", &args.services.services, true)?,
        Command::Pull(args) => images("pull", &args.services.services, false)?,
        Command::Run(_)
        | Command::Scale(_)
        | Command::Watch(_)
        | Command::Ps(_)
        | Command::Ls(_)
        | Command::Logs(_)
        | Command::Images(_)
        | Command::Volumes(_)
        | Command::Config(_)
        | Command::Port(_)
        | Command::Top(_)
        | Command::Stats(_)
        | Command::Events(_)
        | Command::Wait(_)
        | Command::Attach(_)
        | Command::Cp(_)
        | Command::Version(_)
        | Command::Exec(_)
        | Command::Export(_)
        | Command::Commit(_) => {
            return Err(
                Failure::usage("this command cannot be tried with `--dry-run`")
                    .hint("`up`, `create`, `down`, `start`, `stop` and similar ones can"),
            );
        }
    };
    lines.iter().try_for_each(|line| app.ui.line(line))
}
