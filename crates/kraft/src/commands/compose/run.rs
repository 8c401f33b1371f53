//! `kraft compose run`.

use std::ffi::OsString;
use std::path::PathBuf;

use kraft_core::port;
use kraft_core::shell_words;
use kraft_engine::arguments;
use kraft_engine::attach::DetachKeys;
use kraft_engine::compose::definition::Definition;
use kraft_engine::compose::images::ImageOptions;
use kraft_engine::compose::one_off::{self, OneOff};
use kraft_engine::compose::up::{self as flow, CreateOptions};
use kraft_engine::machines;
use kraft_engine::obtain::Pull;
use kraft_machine::LogsOptions;
use kraft_sys::terminal;

use crate::app::App;
use crate::commands::choices;
use crate::commands::foreground::{self, Connection, Started};
use crate::commands::lifecycle::label;
use crate::failure::Failure;

/// Run one command in a new machine of a service
///
/// The machine has the image, variables, volumes and networks of the service. Services that it needs
/// are started first. Its ports are not published, unless --service-ports is given.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit code: that of the machine, as for `kraft run`.

Examples:
  kraft compose run --rm web /bin/check
  kraft compose run -e MODE=slow --entrypoint /bin/sh web -c 'ls /data'")]
pub(super) struct Args {
    /// Service
    #[arg(value_name = "SERVICE")]
    service: String,

    /// The arguments of its program, instead of those of the service
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<String>,

    /// Use this Compose file, as before the command
    #[arg(short = 'f', long = "file", hide = true, value_name = "FILE",
          value_hint = clap::ValueHint::FilePath)]
    pub(super) files: Vec<PathBuf>,

    /// Run in the background and print the name of the machine
    #[arg(short, long)]
    detach: bool,

    /// Remove the machine when it ends
    #[arg(long)]
    rm: bool,

    /// Set an environment variable; without a value, use that of the host
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,

    /// Read environment variables from this file
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    env_from_file: Vec<PathBuf>,

    /// Use this program instead of that of the service
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,

    /// Start the program in this directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,

    /// Remove machines of services that the file does not have
    #[arg(long)]
    remove_orphans: bool,

    /// Set a label of the machine
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = label)]
    label: Vec<(String, String)>,

    /// Set the name of the machine
    #[arg(long)]
    name: Option<String>,

    /// Do not start services that the service needs
    #[arg(long)]
    no_deps: bool,

    /// Publish the ports of the service
    #[arg(short = 'P', long)]
    service_ports: bool,

    /// Publish a port of the machine; also -p
    #[arg(long, value_name = "[[IP:]PORT:]PORT[/udp]")]
    pub(super) publish: Vec<String>,

    /// Give the machine the names of the service in its networks
    #[arg(long)]
    use_aliases: bool,

    /// Mount a volume or a directory of the host
    #[arg(short, long, value_name = "NAME|DIR:PATH[:ro]")]
    volume: Vec<String>,

    /// Do not use the console as a terminal, even if stdin is one
    #[arg(short = 'T', long)]
    no_tty: bool,

    /// Accepted for compatibility with Docker: stdin is forwarded anyway
    #[arg(short, long, hide = true)]
    interactive: bool,

    /// Accepted for compatibility with Docker: a terminal is used anyway
    #[arg(short, long, hide = true)]
    tty: bool,

    /// Build the service again
    #[arg(long)]
    build: bool,

    /// Set when to pull images, instead of the policy of the file
    #[arg(long, value_name = "WHEN", value_parser = choices::PULL)]
    pull: Option<Pull>,
}

impl Args {
    fn one_off(&self, app: &App) -> Result<OneOff, Failure> {
        let mut ports = Vec::new();
        for text in &self.publish {
            ports.extend(port::parse(text).map_err(Failure::usage)?);
        }
        let volumes = self.volume.iter().map(|text| arguments::volume(app, text));
        let mut env = arguments::env_files(&self.env_from_file, &app.env)?;
        env.extend(arguments::env(&self.env, &app.env)?);
        let split = |text: &String| {
            let words = shell_words::split(text);
            words.map_err(|quote| Failure::usage(format!("the quote {quote} is never closed")))
        };
        Ok(OneOff {
            name: self.name.clone(),
            command: (!self.command.is_empty()).then(|| self.command.clone()),
            entrypoint: self.entrypoint.as_ref().map(split).transpose()?,
            working_dir: self.workdir.clone(),
            env,
            labels: self.label.iter().cloned().collect(),
            ports,
            service_ports: self.service_ports,
            use_aliases: self.use_aliases,
            volumes: volumes.collect::<Result<_, _>>()?,
            remove: self.rm,
            stdin: !self.detach,
            tty: !self.detach && !self.no_tty && terminal::stdin_is_terminal(),
        })
    }
}

pub(super) fn exec(app: &App, definition: &Definition, args: &Args) -> Result<(), Failure> {
    let names = std::slice::from_ref(&args.service);
    let services = definition.services(names)?;
    let Some(service) = definition.compose.service(&args.service) else {
        return Ok(());
    };
    if let Some(warning) = definition.warning(&services) {
        app.ui.warn(&warning);
    }
    let images = ImageOptions {
        pull: args.pull,
        build: args.build,
        ..ImageOptions::default()
    };
    let one_off = args.one_off(app)?;
    let tty = one_off.tty;
    let interrupt = app.interrupt.listen();
    let needed: Vec<_> = services
        .into_iter()
        .filter(|one| one.name != service.name)
        .collect();
    if !args.no_deps && !needed.is_empty() {
        let options = CreateOptions {
            images: ImageOptions {
                pull: args.pull,
                ..ImageOptions::default()
            },
            ..CreateOptions::default()
        };
        let held = flow::hold(app, &definition.project)?;
        let members = flow::create(app, definition, &needed, &options)?;
        drop(held);
        flow::start(app, &needed, &members)?;
        flow::wait_for_needs(app, &machines::existing(app), service, &members)?;
    }
    if args.remove_orphans {
        let _held = flow::hold(app, &definition.project)?;
        flow::remove_orphans(app, definition)?;
    }
    let machine = one_off::create(app, definition, service, one_off, &images)?;
    let Some(machine) = machine else {
        return Ok(());
    };
    let machines = machines::existing(app);
    let started = machines.start_unless(&machine.id, || interrupt.is_cancelled());
    let watch = started.inspect_err(|_| {
        // The failed start is what is reported.
        let _ = machines.remove_with_volumes(&machine.id, true);
    })?;
    if args.detach {
        return app.ui.line(&machine.name);
    }
    let started = Started {
        name: machine.name,
        watch,
    };
    let connection = Connection {
        tty,
        keys: DetachKeys::default(),
        logs: LogsOptions::default(),
        stops: true,
    };
    foreground::connect(app, &machines, &started, connection, &interrupt)
}
