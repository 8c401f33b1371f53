//! Plans and creates the machine of `kraft run`.
//!
//! ```text
//! PreparedBoot ─ files ─► Boot ──┐
//! RunRequest                     ├─ core::plan ─► MachineSpec ─► NewMachine ─ create ─► Machine
//! machine::host::probe ─► Host ──┘                └─ dry_run returns it
//! ```
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_core::plan::RunRequest;
//! use kraft_engine::boot::{self, PrepareOptions};
//! use kraft_engine::dockerfile::BuildOptions;
//! use kraft_engine::run_target::{self, RunTargetArgs};
//! use kraft_engine::{machines, run};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! let first = Some("./kernel".as_ref());
//! let args = RunTargetArgs { first, ..RunTargetArgs::default() };
//! let target = run_target::resolve(&context, args)?.target;
//! let request = RunRequest { memory: Some(128 << 20), ..RunRequest::default() };
//! let building = BuildOptions::default();
//! let prepared = boot::prepare(&context, target, PrepareOptions::new(&request, &building))?;
//!
//! let boot = prepared.boot(prepared.kernel().to_owned(), None);
//! // Looks for the VMM of this host.
//! let spec = run::plan(&context, &request, &boot, prepared.kernel_size)?;
//! let machine = machines::open(&context)?.create(&spec)?;
//! assert_eq!(machine.spec.memory, 128 << 20);
//! # Ok(())
//! # }
//! ```

use std::fmt::Write as _;

use kraft_core::arch::Arch;
use kraft_core::host::{Host, Kvm};
use kraft_core::kernel::{BootProtocol, Guest, KernelImage};
use kraft_core::machine::MachineSpec;
use kraft_core::mount::{self, Volume};
use kraft_core::plan::{self, Boot, Planned, RunRequest};
use kraft_core::platform::Platform;
use kraft_core::problem::Problem;
use kraft_core::quantity;
use kraft_machine::{Machine, Machines, StartOptions, Watch};
use kraft_net::{Networks, Request};
use kraft_sys::{clock, fs};
use serde::{Deserialize, Serialize};

use crate::boot::{PreparedBoot, PreparedRoot};
use crate::context::Context;
use crate::rootfs::MachineFiles;
use crate::{binary, machines, rootfs, warm};

/// Why a machine cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request does not suit the kernel, the application or this host.
    #[error("{}", sentences(.0))]
    Problems(Vec<Problem>),
    /// The machine cannot be recorded.
    #[error(transparent)]
    Machines(#[from] kraft_machine::Error),
    /// The root filesystem of the machine cannot be built.
    #[error(transparent)]
    Rootfs(#[from] rootfs::Error),
    /// A file of the machine cannot be written.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// There is nothing that files could be added to.
    #[error("the kernel has no root filesystem that files could be added to")]
    NoRoot,
}

fn sentences(problems: &[Problem]) -> String {
    let messages: Vec<&str> = problems.iter().map(|it| it.message.as_str()).collect();
    messages.join("; ")
}

/// A planned machine with its files, before it is recorded.
///
/// Keeps its files from being removed until [`NewMachine::create`] has recorded the machine.
#[derive(Debug)]
pub struct NewMachine {
    /// The plan.
    pub spec: MachineSpec,
    /// The program that its kernel cannot load, so that the machine powers off at once.
    pub unloadable: Option<String>,
    machines: Machines,
    _files: MachineFiles,
    prepared: PreparedBoot,
}

impl NewMachine {
    /// Records the machine.
    ///
    /// # Errors
    ///
    /// If its name is in use, or its record cannot be written.
    pub fn create(self) -> Result<(Machines, Machine), kraft_machine::Error> {
        let machine = self.machines.create(&self.spec)?;
        tracing::debug!(id = %machine.id, name = machine.name, "created a machine");
        Ok((self.machines, machine))
    }
}

/// A machine that was recorded, and is started warm.
#[derive(Debug)]
pub struct WarmMachine {
    /// The machines.
    pub machines: Machines,
    /// The machine.
    pub machine: Machine,
    /// The name of the snapshot that it continues from, or that is made of it.
    pub snapshot: String,
    /// Whether it continues from the snapshot.
    pub continues: bool,
}

impl NewMachine {
    /// Records the machine as one that continues from the snapshot of an earlier machine that was made
    /// of the same things; if there is none, or with `cold`, one is made of this machine once it is
    /// healthy. See [`warm`].
    ///
    /// # Errors
    ///
    /// As [`NewMachine::create`], or if a file of the machine cannot be read.
    pub fn create_warm(self, cold: bool) -> Result<WarmMachine, Error> {
        let digests = self.prepared.digests(&self.spec)?;
        let snapshot = warm::name(&self.spec, digests)?;
        let machines = self.machines;
        let kept = match machines.snapshot(&snapshot) {
            Ok(kept) if !cold => Some(kept),
            Err(kraft_machine::Error::NoSnapshot { .. }) => None,
            // One that cannot be read is made again.
            Ok(_) | Err(_) => {
                machines.remove_snapshot(&snapshot)?;
                None
            }
        };
        let machine = match &kept {
            Some(kept) => {
                machines.note_use(kept);
                machines.create_from(&kept.dir, &self.spec)?
            }
            None => machines.create_warm(&self.spec, &snapshot)?,
        };
        tracing::debug!(id = %machine.id, snapshot, kept = kept.is_some(), "created a machine");
        Ok(WarmMachine {
            machines,
            machine,
            snapshot,
            continues: kept.is_some(),
        })
    }
}

impl WarmMachine {
    /// Starts the machine. If the snapshot cannot be restored on this host, the machine boots, and
    /// another snapshot is made.
    ///
    /// # Errors
    ///
    /// If the machine does not start.
    pub fn start(
        &self,
        ctx: &Context,
        options: StartOptions,
        stop: impl Fn() -> bool,
    ) -> Result<Watch, kraft_machine::Error> {
        use kraft_machine::{Error, StartError};

        let id = &self.machine.id;
        match self.machines.start_with(id, options, &stop) {
            Err(Error::Start {
                source: StartError::Saved { why },
                ..
            }) if self.continues => {
                ctx.warn(&format!(
                    "booting the machine: the snapshot `{}` cannot be restored: {why}",
                    self.snapshot
                ));
                // Another process may have replaced it.
                let _ = self.machines.remove_snapshot(&self.snapshot);
                self.machines.boot_instead(id, &self.snapshot)?;
                self.machines.start_with(id, options, stop)
            }
            started => started,
        }
    }
}

/// Plans a machine and writes its files, but does not record it.
///
/// ```no_run
/// # use kraft_config::env::Environment;
/// # use kraft_engine::context::Context;
/// use kraft_core::plan::RunRequest;
/// use kraft_engine::boot::{self, PrepareOptions};
/// use kraft_engine::dockerfile::BuildOptions;
/// use kraft_engine::run;
/// use kraft_engine::run_target::RunTarget;
///
/// # fn example(context: &Context) -> Result<(), Box<dyn std::error::Error>> {
/// let target = RunTarget::Image("unikraft.org/nginx:latest".parse()?);
/// let request = RunRequest::default();
/// let building = BuildOptions::default();
/// let prepared = boot::prepare(context, target, PrepareOptions::new(&request, &building))?;
/// let (machines, machine) = run::assemble(context, request, prepared)?.create()?;
/// machines.start(&machine.id)?;
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// If the request does not suit what boots, or a file cannot be written.
pub fn assemble(
    ctx: &Context,
    request: RunRequest,
    prepared: PreparedBoot,
) -> Result<NewMachine, Error> {
    let request = complete(request, &prepared.volumes, prepared.program.as_deref());
    let machines = machines::open(ctx)?;
    let files = rootfs::for_machine(ctx, &machines)?;
    let kernel = if prepared.borrowed {
        files.kernel(prepared.kernel())?
    } else {
        prepared.kernel().to_owned()
    };
    let initrd = match &prepared.root {
        PreparedRoot::None => None,
        PreparedRoot::Source(source) => Some(files.build(ctx, source)?),
        PreparedRoot::Program { file, libraries } => Some(files.program(ctx, file, libraries)?),
        PreparedRoot::Bare(file) | PreparedRoot::Built(file) | PreparedRoot::Unpacked(file) => {
            Some(files.archive(file)?)
        }
    };
    match &initrd {
        _ if prepared.extra.is_empty() => {}
        Some(archive) => files.add(archive, &prepared.extra)?,
        None => return Err(Error::NoRoot),
    }
    tracing::debug!(kernel = %kernel.display(), ?initrd, "prepared the files of a machine");
    let boot = prepared.boot(kernel, initrd);
    let spec = plan(ctx, &request, &boot, prepared.kernel_size)?;
    let unloadable = match prepared.guest() {
        Guest::Unikraft | Guest::Runtime => binary::warn(ctx, &spec, prepared.abilities),
        Guest::Other => None,
    };
    Ok(NewMachine {
        spec,
        unloadable,
        machines,
        _files: files,
        prepared,
    })
}

/// Plans a machine from files as they are now, and writes nothing.
///
/// # Errors
///
/// If the request does not suit what boots.
pub fn dry_run(
    ctx: &Context,
    request: RunRequest,
    prepared: &PreparedBoot,
) -> Result<MachineSpec, Error> {
    let request = complete(request, &prepared.volumes, prepared.program.as_deref());
    let mut spec = plan(ctx, &request, &prepared.dry_boot(), prepared.kernel_size)?;
    let networks = machines::existing(ctx).networks();
    for interface in &mut spec.networks {
        let request = Request {
            machine: "",
            name: spec.name.as_deref().unwrap_or("machine"),
            interface,
        };
        *interface = networks
            .preview(&request)
            .map_err(kraft_machine::Error::from)?;
    }
    Ok(spec)
}

/// Adds to a request what the target names: its volumes, and the program before the arguments.
fn complete(mut request: RunRequest, volumes: &[Volume], program: Option<&str>) -> RunRequest {
    request.volumes = mount::over(volumes.to_vec(), request.volumes);
    if let Some(program) = program.filter(|_| !request.args.is_empty()) {
        request.args.insert(0, program.to_owned());
    }
    request
}

/// Plans a machine, and warns of what the user should know about it.
///
/// # Errors
///
/// If the request does not suit what boots.
pub fn plan(
    ctx: &Context,
    request: &RunRequest,
    boot: &Boot,
    kernel_size: u64,
) -> Result<MachineSpec, Error> {
    let (mut request, host) = host(ctx, request, boot.image);
    let archive = boot.initrd.as_ref();
    let archive = archive.and_then(|path| std::fs::metadata(path).ok());
    let archive_size = archive.map_or(0, |metadata| metadata.len());
    if request.memory.is_none() {
        let memory = plan::default_memory(kernel_size, archive_size);
        if memory > plan::DEFAULT_MEMORY {
            ctx.info(&format!(
                "the machine gets {} of memory for its root filesystem of {}Mi; `--memory` sets another size",
                quantity::display(memory),
                archive_size.div_ceil(quantity::MIB)
            ));
        }
        request.memory = Some(memory);
    }
    let (request, host) = (&request, &host);
    let Planned {
        spec,
        notes,
        unaccelerated,
    } = plan::plan(request, boot, host).map_err(Error::Problems)?;
    if let Some(note) = unaccelerated.filter(|note| is_new(ctx, &note.message)) {
        warn(ctx, &note);
    }
    for note in &notes {
        warn(ctx, note);
    }
    let tight = plan::check_fit(&spec, kernel_size, archive_size);
    if let Some(note) = tight {
        warn(ctx, &note);
    }
    if leads_out(ctx, &spec) && kraft_net::host::way_out().is_none() {
        let message = "machines in networks reach neither the host nor the internet: `slirp4netns` is not \
                       installed (`sudo apt install slirp4netns`)";
        if is_new(ctx, message) {
            ctx.warn(message);
        }
    }
    Ok(spec)
}

/// Returns whether a network of a machine is to lead to the host and the internet.
fn leads_out(ctx: &Context, spec: &MachineSpec) -> bool {
    let networks = Networks::new(&ctx.settings.runtime_dir);
    let mut names = spec.networks.iter().map(|it| it.network.as_str());
    names.any(|name| networks.get(name).is_ok_and(|network| !network.internal))
}

/// The notes that were reported since the host was started.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Reported {
    boot: String,
    messages: Vec<String>,
}

/// Returns whether a message was not reported since the host was started, and records it if the
/// directory of machines exists.
fn is_new(ctx: &Context, message: &str) -> bool {
    let runtime_dir = &ctx.settings.runtime_dir;
    let path = runtime_dir.join("told.json");
    let stored = fs::read_file(&path, 64 << 10).ok();
    let mut reported: Reported = stored
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let boot = clock::boot_id();
    if reported.boot != boot {
        reported = Reported {
            boot,
            messages: Vec::new(),
        };
    }
    if reported.messages.iter().any(|it| it == message) {
        return false;
    }
    reported.messages.push(message.to_owned());
    if let Ok(json) = serde_json::to_vec(&reported)
        && runtime_dir.is_dir()
    {
        // If that fails, it is reported again.
        let _ = fs::replace_file(&path, &json);
    }
    true
}

/// Warns with a note of a plan in one line, with its help.
fn warn(ctx: &Context, note: &Problem) {
    let mut line = note.message.clone();
    for help in &note.help {
        let _ = write!(line, " ({})", help.trim_end_matches('.'));
    }
    ctx.warn(&line);
}

/// Probes what the host can do, unless the plan does not depend on it. A kernel that is built for
/// Firecracker runs there if that works, else on QEMU.
fn host(ctx: &Context, request: &RunRequest, kernel: KernelImage) -> (RunRequest, Host) {
    if request.platform.is_some() || kernel.boot != BootProtocol::Linux64 {
        return (request.clone(), probe(ctx, request, kernel));
    }
    let on = |platform| RunRequest {
        platform: Some(platform),
        ..request.clone()
    };
    let on_firecracker = on(Platform::Firecracker);
    let why = match firecracker(ctx, &on_firecracker, kernel) {
        Ok(host) => return (on_firecracker, host),
        Err(why) => why,
    };
    ctx.info(&format!("not running on Firecracker: {why}"));
    let on_qemu = on(Platform::Qemu);
    let host = probe(ctx, &on_qemu, kernel);
    (on_qemu, host)
}

/// Returns what the host can do with Firecracker, or why not to use that.
fn firecracker(ctx: &Context, request: &RunRequest, kernel: KernelImage) -> Result<Host, String> {
    let settings = machines::settings(ctx);
    if let Some(Err(error)) =
        kraft_machine::host::vmm(&settings, Platform::Firecracker, kernel.arch)
    {
        return Err(kraft_core::error::chain(&error));
    }
    let host = probe(ctx, request, kernel);
    match &host.kvm {
        Kvm::Works if Arch::host() == Some(kernel.arch) => Ok(host),
        Kvm::Works => Err("the kernel is built for another architecture".to_owned()),
        Kvm::Unusable { reason, .. } => Err(format!("it needs KVM: {reason}")),
        Kvm::Disabled => Err("it needs KVM, which is switched off".to_owned()),
    }
}

/// Probes what the host can do on the platform of a request.
fn probe(ctx: &Context, request: &RunRequest, kernel: KernelImage) -> Host {
    let settings = machines::settings(ctx);
    if request.disable_acceleration {
        return kraft_machine::host::facts(&settings, Kvm::Disabled);
    }
    if Arch::host() != Some(kernel.arch) {
        let kvm = Kvm::Unusable {
            reason: "it was not tried, because the guest is of another architecture".to_owned(),
            cure: None,
        };
        return kraft_machine::host::facts(&settings, kvm);
    }
    let platform = request.platform.unwrap_or(kernel.boot.platform());
    kraft_machine::host::probe(&settings, platform)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::boot::{self, PrepareOptions};
    use crate::dockerfile::BuildOptions;
    use crate::run_target::{KernelFile, RunTarget};
    use crate::testing::{Script, context};

    fn volume(source: &str, destination: &str) -> Volume {
        Volume {
            name: None,
            source: source.into(),
            destination: destination.to_owned(),
            read_only: false,
        }
    }

    #[test]
    fn a_request_is_completed_with_what_its_target_names() {
        let own = [
            volume("/project/data", "/data"),
            volume("/project/etc", "/etc"),
        ];
        for (args, program, expected) in [
            (&[][..], None, &[][..]),
            (&[], Some("/hello"), &[]),
            (&["-v"], None, &["-v"]),
            (&["-v"], Some("/hello"), &["/hello", "-v"]),
        ] {
            let request = RunRequest {
                args: args.iter().map(ToString::to_string).collect(),
                volumes: vec![volume("/typed", "/data")],
                ..RunRequest::default()
            };
            let request = complete(request, &own, program);
            assert_eq!(request.args, expected, "{args:?} {program:?}");
            let mut sources: Vec<_> = request.volumes.iter().map(|it| &*it.source).collect();
            sources.sort_unstable();
            assert_eq!(sources, [Path::new("/project/etc"), Path::new("/typed")]);
        }
    }

    /// Prepares a file that is taken for a Linux kernel, with a directory as its root filesystem.
    fn prepared(ctx: &Context, home: &Path, request: &RunRequest) -> PreparedBoot {
        let mut bytes = vec![0; 1024];
        bytes.splice(0x1fe..0x200, [0x55, 0xaa]);
        bytes.splice(0x202..0x206, *b"HdrS");
        let (kernel, root) = (home.join("kernel"), home.join("root"));
        fs::replace_file(&kernel, &bytes).unwrap();
        fs::create_dir_all(&root, 0o755).unwrap();
        fs::replace_file(&root.join("hello"), b"Hello").unwrap();
        let building = BuildOptions::default();
        let options = PrepareOptions {
            rootfs: Some(&root),
            ..PrepareOptions::new(request, &building)
        };
        let target = RunTarget::Kernel(KernelFile::open(&kernel).unwrap());
        boot::prepare(ctx, target, options).unwrap()
    }

    fn request() -> RunRequest {
        RunRequest {
            name: Some("web".to_owned()),
            disable_acceleration: true,
            ..RunRequest::default()
        }
    }

    #[test]
    fn the_files_of_a_machine_are_its_own_until_it_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let ctx = context(home.path(), &Script::silent());
        let new = assemble(&ctx, request(), prepared(&ctx, home.path(), &request())).unwrap();
        let initrd = new.spec.initrd.clone().unwrap();
        assert!(
            initrd.starts_with(rootfs::dir(&ctx)),
            "{}",
            initrd.display()
        );
        assert_eq!(new.unloadable, None);

        // The lease keeps them before the machine is recorded.
        rootfs::remove_unused(&ctx, &machines::existing(&ctx));
        assert!(initrd.is_file());
        let (machines, machine) = new.create().unwrap();
        assert_eq!(machine.name, "web");
        rootfs::remove_unused(&ctx, &machines);
        assert!(initrd.is_file());
        machines.remove(&machine.id, false).unwrap();
        rootfs::remove_unused(&ctx, &machines);
        assert!(!initrd.exists());
    }

    #[test]
    fn a_dry_run_writes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let ctx = context(home.path(), &Script::silent());
        let spec = dry_run(&ctx, request(), &prepared(&ctx, home.path(), &request())).unwrap();
        assert_eq!(spec.initrd, Some(home.path().join("root")));
        assert!(!ctx.runtime_dir().exists());
    }

    #[test]
    fn a_request_that_does_not_suit_the_kernel_is_an_error_with_every_problem() {
        let home = tempfile::tempdir().unwrap();
        let ctx = context(home.path(), &Script::silent());
        let request = RunRequest {
            memory: Some(1),
            ..request()
        };
        let prepared = prepared(&ctx, home.path(), &request);
        let error = assemble(&ctx, request, prepared).unwrap_err();
        assert!(
            matches!(&error, Error::Problems(all) if !all.is_empty()),
            "{error}"
        );
    }
}
