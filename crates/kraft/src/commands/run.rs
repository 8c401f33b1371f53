//! `kraft run`.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use kraft_core::arch::Arch;
use kraft_core::cmdline::CommandLine;
use kraft_core::machine::MachineSpec;
use kraft_core::net::{Interface, Mac};
use kraft_core::plan::RunRequest;
use kraft_core::port::PortMapping;
use kraft_core::quantity;
use kraft_core::shell_words;
use serde::Serialize;

use super::choices;
use super::dockerfile::DockerfileArgs;
use super::foreground::{self, Connection, Started};
use super::lifecycle::LifecycleArgs;
use super::values::{self, PlatformArg};
use crate::app::App;
use crate::failure::{Failure, Kind};
use kraft_engine::attach::DetachKeys;
use kraft_engine::boot::{self, PrepareOptions};
use kraft_engine::interrupt::Interrupt;
use kraft_engine::obtain::Pull;
use kraft_engine::run;
use kraft_engine::run_target::{self, RunTargetArgs};
use kraft_engine::snapshots::{self, Changes};
use kraft_engine::{arguments, machines, rootfs};
use kraft_machine::{LogsOptions, Machine, Machines};

/// Run a unikernel
///
/// Boot a kernel file, an image or a project in a new machine, and print its console until it ends.
/// Ctrl-C stops it.
///
/// Kernels are detected by content, not by file name: Unikraft for QEMU on `x86_64` and `arm64`. Images
/// that do not exist locally are pulled, with the manifest for this host. A project runs on its
/// `runtime`, or boots its built kernel. A Linux program, a Dockerfile or a project that names no
/// runtime runs on the built-in one.
///
/// Arguments, environment variables and the root filesystem are those of the command line, else of
/// the Kraftfile, else of the image. Environment variables are merged by name.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "r",
    after_long_help = "\
Arguments that begin with a dash come after `--`. If there is a second `--`, the
arguments before it are kernel parameters.

Exit code: the guest's exit status if it reports one, 0 if the machine powered off, 8 if it crashed
or was killed, 130 after Ctrl-C.

Examples:
  kraft run ./kernel
  kraft run ./kernel -- --listen 80
  kraft run ./program argument
  kraft run --port 8080:80 unikraft.org/nginx:latest
  kraft run
  kraft run --memory 128Mi --port 8080:80 --volume ./html:/html:ro ./kernel
  kraft run --volume database:/var/lib/db ./image
  kraft run --rootfs ./root ./kernel /bin/hello
  kraft run --detach --name web ./kernel
  kraft run -it ./image /bin/sh
  kraft run --network web:172.23.0.5 --port 8080:80 ./kernel
  kraft run --snapshot ready --port 8081:80
  kraft run --dry-run ./kernel"
)]
pub(crate) struct Args {
    /// Kernel file, image or project directory (default: the current directory)
    #[arg(value_name = "TARGET", value_hint = clap::ValueHint::AnyPath)]
    subject: Option<OsString>,

    /// Arguments of the application
    #[arg(value_name = "ARGS")]
    words: Vec<OsString>,

    /// Set the name of the machine (default: random)
    #[arg(short, long)]
    name: Option<String>,

    /// Set the memory of the machine, such as 64Mi or 1G (default: 64Mi, or more if the root filesystem
    /// needs it)
    #[arg(short = 'M', long, value_name = "SIZE")]
    memory: Option<String>,

    /// Set the number of CPUs (default: 1)
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<u32>,

    /// Set an environment variable of the application; without a value, use that of the host
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,

    /// Read environment variables from this file: one NAME[=VALUE] per line
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    env_file: Vec<PathBuf>,

    #[command(flatten)]
    lifecycle: LifecycleArgs,

    /// Mount a named volume or a host directory in the machine; a volume that does not exist is created.
    /// A path alone is an anonymous volume, which `--rm` and `kraft rm --volumes` remove with the machine
    #[arg(short, long, value_name = "[NAME|DIR:]PATH[:ro]")]
    volume: Vec<String>,

    /// Publish a port of the machine on the host
    #[arg(short, long, value_name = "[[IP:]PORT:]PORT[/udp]")]
    port: Vec<String>,

    /// Put the machine into a network
    ///
    /// All of the value is `NAME[:IP[/MASK][:GATEWAY[:DNS[:DNS[:HOST[:DOMAIN]]]]]]`. Fields may be
    /// empty; the network decides them then.
    #[arg(long, value_name = "NAME[:IP]")]
    network: Vec<String>,

    /// Set the address of the machine in its network
    #[arg(long, value_name = "IP")]
    ip: Option<Ipv4Addr>,

    /// Set the hardware address of the machine in its network
    #[arg(long, value_name = "MAC")]
    mac: Option<Mac>,

    /// Use this root filesystem: a directory, a tarball, a CPIO archive, a Dockerfile, or an image
    /// with its registry
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    rootfs: Option<PathBuf>,

    /// Use this root filesystem: the old name of --rootfs
    #[arg(long, hide = true, value_name = "PATH")]
    initrd: Option<PathBuf>,

    /// Start the program in this directory; on the built-in runtime
    #[arg(long, value_name = "DIR")]
    workdir: Option<String>,

    /// Pass a parameter to the kernel, such as netdev.ip=10.0.0.2/24
    #[arg(short = 'a', long, value_name = "LIB.NAME=VALUE")]
    kernel_arg: Vec<String>,

    /// Forward stdin to the console of the machine, and keep it open for `kraft attach`
    #[arg(short, long)]
    interactive: bool,

    /// Use the console as a terminal: every key goes to the guest, Ctrl-C included; after
    /// --interactive, -t is short for it
    #[arg(long)]
    tty: bool,

    /// Set the keys that end the connection to the console
    #[arg(
        long,
        value_name = "KEYS",
        default_value = "ctrl-p,ctrl-q",
        hide_short_help = true
    )]
    detach_keys: DetachKeys,

    /// Continue from this snapshot instead of booting: with its memory, kernel and arguments
    #[arg(
        long,
        value_name = "SNAPSHOT",
        conflicts_with_all = [
            "subject", "env", "env_file", "volume", "network", "rootfs", "workdir", "kernel_arg",
            "runtime", "target", "kraftfile", "cpus", "dry_run",
        ]
    )]
    snapshot: Option<String>,

    /// Run in the background and print the name of the machine
    #[arg(short, long)]
    detach: bool,

    /// Remove the machine when it ends
    #[arg(long)]
    rm: bool,

    /// Create the machine and print its name without starting it
    #[arg(long)]
    no_start: bool,

    /// Print the command lines of the VMM and the kernel without running anything
    #[arg(long)]
    dry_run: bool,

    /// Set the output format of --dry-run
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        default_value = "text",
        requires = "dry_run"
    )]
    output: Output,

    /// Use this image as the runtime instead of the project's; builtin is the built-in runtime
    #[arg(short, long, value_name = "IMAGE")]
    runtime: Option<String>,

    /// Boot this target of the project: its name, or PLATFORM/ARCH
    #[arg(short, long, value_name = "TARGET")]
    target: Option<String>,

    /// Use this Kraftfile
    #[arg(short = 'K', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    kraftfile: Option<PathBuf>,

    /// Set when to pull the image
    #[arg(long, value_name = "WHEN", default_value = "missing", value_parser = choices::PULL)]
    pull: Pull,

    /// Require this architecture
    #[arg(short = 'm', long, value_name = "ARCH", value_parser = values::arch())]
    arch: Option<Arch>,

    /// Run on this platform
    #[arg(long, value_name = "PLATFORM", default_value = "auto", value_parser = values::platform())]
    plat: PlatformArg,

    /// Do not use KVM, even if it works
    #[arg(short = 'W', long)]
    disable_acceleration: bool,

    #[command(flatten)]
    dockerfile: DockerfileArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// Two lines, quoted for a shell
    Text,
    /// A JSON object
    Json,
}

pub(crate) fn exec(app: &App, mut args: Args) -> Result<(), Failure> {
    if let Some(name) = &args.snapshot {
        return from_snapshot(app, &args, name);
    }
    let target = RunTargetArgs {
        first: args.subject.as_deref(),
        kraftfile: args.kraftfile.as_deref(),
        runtime: args.runtime.as_deref(),
    };
    let resolution = run_target::resolve(app, target)?;
    if !resolution.is_first_argument
        && let Some(word) = args.subject.take()
    {
        args.words.insert(0, word);
    }
    let root = root_word(app, &mut args);
    let building = args.dockerfile.options();
    let request = request(app, &args)?;
    let options = PrepareOptions {
        request: &request,
        rootfs: root.as_deref(),
        building: &building,
        dry: args.dry_run,
        runtime: args.runtime.as_deref(),
        target: args.target.as_deref(),
        pull: args.pull,
    };
    let in_foreground = !args.detach && !args.no_start && !args.dry_run;
    foreground::check_terminal(args.tty && args.interactive && in_foreground)?;
    let prepared = boot::prepare(app, resolution.target, options)?;
    if args.dry_run {
        let spec = run::dry_run(app, request, &prepared)?;
        return print_plan(app, args.output, &spec);
    }
    let mut new = run::assemble(app, request, prepared)?;
    let unloadable = new.unloadable.take();
    let interrupt = (!args.detach && !args.no_start).then(|| app.interrupt.listen());
    let (machines, machine) = new.create()?;
    let outcome = start(app, &args, &machines, machine, interrupt);
    // Such a kernel powers off as if its program had succeeded.
    match unloadable.filter(|_| outcome.is_ok() && !args.no_start && !args.detach) {
        Some(program) => Err(Failure::new(
            Kind::Crashed,
            format!("cannot start `{program}`: see the warning before the boot"),
        )),
        None => outcome,
    }
}

/// Creates a machine that continues from a snapshot, and starts it.
fn from_snapshot(app: &App, args: &Args, name: &str) -> Result<(), Failure> {
    let machines = machines::open(app)?;
    let _files = rootfs::for_machine(app, &machines)?;
    let snapshot = machines.snapshot(name)?;
    let ports = ports(args)?;
    let changes = Changes {
        name: args.name.clone(),
        ports: (!ports.is_empty()).then_some(ports),
        remove_when_ended: args.rm,
    };
    let spec = snapshots::spec(&snapshot.saved.spec, &changes);
    let interrupt = (!args.detach && !args.no_start).then(|| app.interrupt.listen());
    let machine = machines.create_from(&snapshot.dir, &spec)?;
    start(app, args, &machines, machine, interrupt)
}

/// Starts a machine that was just created, and follows it until it ends unless it is detached.
fn start(
    app: &App,
    args: &Args,
    machines: &Machines,
    machine: Machine,
    interrupt: Option<Interrupt>,
) -> Result<(), Failure> {
    if args.no_start {
        return app.ui.line(&machine.name);
    }
    let enough = || interrupt.as_ref().is_some_and(Interrupt::is_cancelled);
    let watch = machines
        .start_unless(&machine.id, enough)
        .inspect_err(|_| {
            // The failed start is what is reported; its name is free for another attempt.
            let _ = machines.remove_with_volumes(&machine.id, true);
        })?;
    let Some(interrupt) = interrupt else {
        return app.ui.line(&machine.name);
    };
    let started = Started {
        name: machine.name,
        watch,
    };
    if args.interactive {
        let connection = Connection {
            tty: args.tty,
            keys: args.detach_keys.clone(),
            logs: LogsOptions::default(),
            stops: true,
        };
        foreground::connect(app, machines, &started, connection, &interrupt)
    } else {
        foreground::run(app, machines, &[started], false, &interrupt)
    }
}

/// Parses the ports.
fn ports(args: &Args) -> Result<Vec<PortMapping>, Failure> {
    let mut ports: Vec<PortMapping> = Vec::new();
    for port in &args.port {
        ports.extend(kraft_core::port::parse(port).map_err(Failure::usage)?);
    }
    Ok(ports)
}

/// Parses the flags.
fn request(app: &App, args: &Args) -> Result<RunRequest, Failure> {
    let words = args
        .words
        .iter()
        .map(|word| arguments::text(word, "an argument"));
    Ok(RunRequest {
        name: args.name.clone(),
        platform: args.plat.0,
        arch: args.arch,
        memory: args
            .memory
            .as_deref()
            .map(|memory| quantity::parse(memory).map_err(Failure::usage))
            .transpose()?,
        cpus: args.cpus,
        ports: ports(args)?,
        networks: interfaces(args)?,
        volumes: args
            .volume
            .iter()
            .map(|volume| arguments::volume(app, volume))
            .collect::<Result<_, _>>()?,
        env: {
            let mut env = arguments::env_files(&args.env_file, &app.env)?;
            env.extend(arguments::env(&args.env, &app.env)?);
            env
        },
        labels: args.lifecycle.labels(),
        lifecycle: args.lifecycle.lifecycle()?,
        stdin: args.interactive,
        tty: args.tty,
        kernel_args: args.kernel_arg.clone(),
        args: words.collect::<Result<_, _>>()?,
        workdir: args.workdir.clone(),
        disable_acceleration: args.disable_acceleration || app.settings.acceleration_is_off,
        remove_when_ended: args.rm,
    })
}

/// Parses the flags that concern networks.
fn interfaces(args: &Args) -> Result<Vec<Interface>, Failure> {
    let parse = |text: &String| Interface::parse(text).map_err(Failure::usage);
    let mut interfaces: Vec<Interface> =
        args.network.iter().map(parse).collect::<Result<_, _>>()?;
    let of_one = |flag: &str| {
        // KraftKit compat: its message.
        let why = format!("the --{flag} flag only works when providing exactly one network");
        Failure::usage(why).hint("give `--network` once, or write the address behind its name")
    };
    match interfaces.as_mut_slice() {
        [one] => {
            one.address = args.ip.or(one.address);
            one.mac = args.mac;
        }
        _ if args.ip.is_some() => return Err(of_one("ip")),
        _ if args.mac.is_some() => return Err(of_one("mac")),
        _ => {}
    }
    Ok(interfaces)
}

/// Returns the root filesystem of the arguments.
fn root_word(app: &App, args: &mut Args) -> Option<PathBuf> {
    if let Some(initrd) = args.initrd.take() {
        if args.rootfs.is_some() {
            app.ui
                .warn("`--initrd` is ignored because `--rootfs` is set");
        } else {
            app.ui.warn("`--initrd` is the old name of `--rootfs`");
            args.rootfs = Some(initrd);
        }
    }
    args.rootfs.take()
}

/// The JSON output of a dry run.
#[derive(Debug, Serialize)]
struct DryRun<'a> {
    argv: Vec<String>,
    command_line: String,
    spec: &'a MachineSpec,
}

fn print_plan(app: &App, output: Output, spec: &MachineSpec) -> Result<(), Failure> {
    let line = CommandLine::of(spec)
        .map_err(|problems| Failure::problems(Kind::Usage, problems))?
        .render();
    let argv: Vec<String> = machines::argv(app, spec, &line)?
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    match output {
        Output::Json => app.ui.json(&DryRun {
            argv,
            command_line: line,
            spec,
        }),
        Output::Text => {
            app.ui.line(&shell_words::join(&argv))?;
            app.ui.line(&line)
        }
    }
}
