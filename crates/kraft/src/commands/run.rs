//! `kraft run`.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

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
use super::profile::{self, ProfileFile};
use super::values::{self, PlatformArg};
use crate::app::App;
use crate::failure::{Failure, Kind};
use kraft_engine::attach::DetachKeys;
use kraft_engine::boot::{self, PrepareOptions, PreparedBoot};
use kraft_engine::interrupt::Interrupt;
use kraft_engine::obtain::Pull;
use kraft_engine::run::{self, WarmMachine};
use kraft_engine::run_target::{self, RunTargetArgs};
use kraft_engine::snapshots::{self, Changes};
use kraft_engine::{arguments, machines, rootfs, warm};
use kraft_machine::{LogsOptions, Machine, Machines, StartOptions, Watch};

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
  kraft run --detach --warm --port 8080:80 ./image
  kraft run --detach --sleep-after 30s --port 8080:80 ./image
  kraft run --profile --port 8080:80 ./image
  kraft run --dry-run ./kernel"
)]
pub(crate) struct Args {
    #[command(flatten)]
    machine: MachineArgs,

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

    /// Print how long each part of the boot took, until the first answer on a port or the first output;
    /// with FILE, write that to it: a name that ends with .json, .html or .svg
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "-",
        conflicts_with_all = ["no_start", "dry_run"]
    )]
    profile: Option<PathBuf>,

    /// Continue from where an earlier machine of the same image and flags had become ready, instead of
    /// booting
    ///
    /// If there was none, the machine boots, and a snapshot is made of it when its health check first
    /// succeeds; without a health check, when its first TCP port accepts connections.
    #[arg(long, conflicts_with_all = ["snapshot", "no_start", "dry_run", "volume"])]
    warm: bool,

    /// Boot even with --warm, and replace what is kept for the next machine
    #[arg(long, conflicts_with = "snapshot")]
    cold: bool,

    /// Continue from this snapshot instead of booting: with its memory, kernel and arguments
    #[arg(
        long,
        value_name = "SNAPSHOT",
        conflicts_with_all = [
            "project", "env", "env_file", "volume", "network", "rootfs", "workdir", "kernel_arg",
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
}

/// What boots in a machine, and what the machine has.
#[derive(Debug, clap::Args)]
pub(crate) struct MachineArgs {
    /// Kernel file, image or project directory (default: the current directory)
    #[arg(value_name = "TARGET", value_hint = clap::ValueHint::AnyPath)]
    project: Option<OsString>,

    /// Arguments of the application
    #[arg(value_name = "ARGS")]
    args: Vec<OsString>,

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
    let profile = args.profile.take().map(ProfileFile::new).transpose()?;
    if let Some(name) = &args.snapshot {
        return from_snapshot(app, &args, name, profile.as_ref());
    }
    let in_foreground = !args.detach && !args.no_start && !args.dry_run;
    foreground::check_terminal(args.tty && args.interactive && in_foreground)?;
    let terms = Terms::of(&args);
    let (request, prepared) = args.machine.prepare(app, terms)?;
    if request.lifecycle.sleep_after_ms.is_some() && in_foreground {
        return Err(Failure::usage(
            "`--sleep-after` needs `--detach`: a machine that sleeps has no console",
        ));
    }
    if args.dry_run {
        let spec = run::dry_run(app, request, &prepared)?;
        return print_plan(app, args.output, &spec);
    }
    let mut new = run::assemble(app, request, prepared)?;
    let unloadable = new.unloadable.take();
    let interrupt = (!args.detach && !args.no_start).then(|| app.interrupt.listen());
    let created = if args.warm {
        Created::Warm(Box::new(new.create_warm(args.cold)?))
    } else {
        let (machines, machine) = new.create()?;
        Created::Usual(Box::new(machine), machines)
    };
    let outcome = start(app, &args, &created, interrupt, profile.as_ref());
    // Such a kernel powers off as if its program had succeeded.
    match unloadable.filter(|_| outcome.is_ok() && !args.no_start && !args.detach) {
        Some(program) => Err(Failure::new(
            Kind::Crashed,
            format!("cannot start `{program}`: see the warning before the boot"),
        )),
        None => outcome,
    }
}

/// How the machine of a command is used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    pub(crate) stdin: bool,
    pub(crate) tty: bool,
    pub(crate) remove_when_ended: bool,
    /// Whether nothing is written.
    pub(crate) dry: bool,
    /// Whether it continues from a snapshot of an earlier one.
    pub(crate) warm: bool,
}

impl Terms {
    fn of(args: &Args) -> Self {
        Self {
            stdin: args.interactive,
            tty: args.tty,
            remove_when_ended: args.rm,
            dry: args.dry_run,
            warm: args.warm,
        }
    }
}

impl MachineArgs {
    /// Finds what boots, and prepares its files.
    pub(crate) fn prepare(
        &mut self,
        app: &App,
        terms: Terms,
    ) -> Result<(RunRequest, PreparedBoot), Failure> {
        let target = RunTargetArgs {
            first: self.project.as_deref(),
            kraftfile: self.kraftfile.as_deref(),
            runtime: self.runtime.as_deref(),
        };
        let resolution = run_target::resolve(app, target)?;
        if !resolution.is_first_argument
            && let Some(word) = self.project.take()
        {
            self.args.insert(0, word);
        }
        let root = root_word(app, self);
        let building = self.dockerfile.options();
        let mut request = request(app, self, terms)?;
        if terms.warm {
            warm::complete(&mut request)?;
        }
        let options = PrepareOptions {
            request: &request,
            rootfs: root.as_deref(),
            building: &building,
            dry: terms.dry,
            runtime: self.runtime.as_deref(),
            target: self.target.as_deref(),
            pull: self.pull,
        };
        let prepared = boot::prepare(app, resolution.target, options)?;
        Ok((request, prepared))
    }

    /// Returns what boots as it was typed.
    pub(crate) fn project(&self) -> String {
        let project = self.project.as_deref().unwrap_or(".".as_ref());
        project.to_string_lossy().into_owned()
    }
}

/// Creates a machine that continues from a snapshot, and starts it.
fn from_snapshot(
    app: &App,
    args: &Args,
    name: &str,
    profile: Option<&ProfileFile>,
) -> Result<(), Failure> {
    let machines = machines::open(app)?;
    let _files = rootfs::for_machine(app, &machines)?;
    let snapshot = machines.snapshot(name)?;
    let ports = ports(&args.machine)?;
    let changes = Changes {
        name: args.machine.name.clone(),
        ports: (!ports.is_empty()).then_some(ports),
        remove_when_ended: args.rm,
    };
    let spec = snapshots::spec(&snapshot.saved.spec, &changes);
    let interrupt = (!args.detach && !args.no_start).then(|| app.interrupt.listen());
    let machine = machines.create_from(&snapshot.dir, &spec)?;
    let created = Created::Usual(Box::new(machine), machines);
    start(app, args, &created, interrupt, profile)
}

/// A machine that was just created.
enum Created {
    Usual(Box<Machine>, Machines),
    Warm(Box<WarmMachine>),
}

impl Created {
    fn machine(&self) -> (&Machines, &Machine) {
        match self {
            Self::Usual(machine, machines) => (machines, machine),
            Self::Warm(warm) => (&warm.machines, &warm.machine),
        }
    }

    fn start(
        &self,
        app: &App,
        options: StartOptions,
        stop: impl Fn() -> bool,
    ) -> Result<Watch, kraft_machine::Error> {
        match self {
            Self::Usual(machine, machines) => machines.start_with(&machine.id, options, stop),
            Self::Warm(warm) => warm.start(app, options, stop),
        }
    }
}

/// Starts a machine that was just created, and follows it until it ends unless it is detached.
fn start(
    app: &App,
    args: &Args,
    created: &Created,
    interrupt: Option<Interrupt>,
    profile: Option<&ProfileFile>,
) -> Result<(), Failure> {
    let (machines, machine) = created.machine();
    if args.no_start {
        return app.ui.line(&machine.name);
    }
    let enough = || interrupt.as_ref().is_some_and(Interrupt::is_cancelled);
    let options = StartOptions {
        profile: profile.is_some(),
    };
    let watch = created.start(app, options, enough).inspect_err(|_| {
        // The failed start is what is reported; its name is free for another attempt.
        let _ = machines.remove_with_volumes(&machine.id, true);
    })?;
    let Some(interrupt) = interrupt else {
        if let Some(file) = profile {
            profile::report(app, &watch, machine, file, &|| false)?;
        }
        return app.ui.line(&machine.name);
    };
    let started = Started {
        name: machine.name.clone(),
        watch,
    };
    let Some(file) = profile else {
        return follow(app, args, machines, started, &interrupt);
    };
    // Another watch, for another thread.
    let watch = machines.watch(&machine.id)?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let measured = scope.spawn(|| {
            let stop = || over.load(Ordering::Relaxed) || interrupt.is_cancelled();
            profile::report(app, &watch, machine, file, &stop)
        });
        let outcome = follow(app, args, machines, started, &interrupt);
        over.store(true, Ordering::Relaxed);
        let measured = measured
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        outcome.and(measured)
    })
}

/// Prints the console of a machine until it ends.
fn follow(
    app: &App,
    args: &Args,
    machines: &Machines,
    started: Started,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    if args.interactive {
        let connection = Connection {
            tty: args.tty,
            keys: args.detach_keys.clone(),
            logs: LogsOptions::default(),
            stops: true,
        };
        foreground::connect(app, machines, &started, connection, interrupt)
    } else {
        foreground::run(app, machines, &[started], false, interrupt)
    }
}

/// Parses the ports.
fn ports(args: &MachineArgs) -> Result<Vec<PortMapping>, Failure> {
    let mut ports: Vec<PortMapping> = Vec::new();
    for port in &args.port {
        ports.extend(kraft_core::port::parse(port).map_err(Failure::usage)?);
    }
    Ok(ports)
}

/// Parses the flags.
fn request(app: &App, args: &MachineArgs, terms: Terms) -> Result<RunRequest, Failure> {
    let words = args
        .args
        .iter()
        .map(|word| arguments::text(word, "an argument"));
    let mut kernel_args = args.kernel_arg.clone();
    let networks = interfaces(args, &mut kernel_args)?;
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
        networks,
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
        stdin: terms.stdin,
        tty: terms.tty,
        kernel_args,
        args: words.collect::<Result<_, _>>()?,
        workdir: args.workdir.clone(),
        disable_acceleration: args.disable_acceleration || app.settings.acceleration_is_off,
        remove_when_ended: terms.remove_when_ended,
    })
}

/// The kernel's parameter for the address of a card.
const OWN_IP: &str = "netdev.ip=";
/// The same of old kernels.
const OLD_IP: &str = "netdev.ipv4_addr=";

/// Parses the flags that concern networks.
///
/// The kernel's parameters for addresses, which scripts for KraftKit pass beside `--network`, are
/// addresses in the networks: `netdev.ip` has the fields of `--network`, and is removed; kernels before
/// 0.16 have `netdev.ipv4_addr`, which stays.
fn interfaces(
    args: &MachineArgs,
    kernel_args: &mut Vec<String>,
) -> Result<Vec<Interface>, Failure> {
    let parse = |text: &String| match kernel_args.iter().position(|arg| arg.starts_with(OWN_IP)) {
        Some(at) if !text.trim_start_matches("bridge:").contains(':') => {
            let own = kernel_args.remove(at).split_off(OWN_IP.len());
            Interface::parse(&format!("{text}:{own}")).map_err(Failure::usage)
        }
        _ => Interface::parse(text).map_err(Failure::usage),
    };
    let mut interfaces: Vec<Interface> =
        args.network.iter().map(parse).collect::<Result<_, _>>()?;
    let old = kernel_args.iter().find_map(|arg| arg.strip_prefix(OLD_IP));
    if let ([one], Some(Ok(old))) = (interfaces.as_mut_slice(), old.map(str::parse)) {
        one.address = one.address.or(Some(old));
    }
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
fn root_word(app: &App, args: &mut MachineArgs) -> Option<PathBuf> {
    if let Some(initrd) = args.initrd.take() {
        if args.rootfs.is_some() {
            app.ui
                .warn("`--initrd` is ignored because `--rootfs` is set");
        } else {
            app.ui.warn("`--initrd` is the old name of `--rootfs`");
            args.rootfs = Some(initrd);
        }
    }
    args.rootfs.clone()
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
