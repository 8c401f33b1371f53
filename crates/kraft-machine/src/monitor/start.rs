//! Starting a machine, as far as the monitor is concerned.

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::Child;
use std::time::Duration;

use kraft_core::cmdline::CommandLine;
use kraft_core::machine::{EndReason, MachineSpec};
use kraft_core::net::Interface;
use kraft_core::port::PortMapping;
use kraft_core::shell_words;
use kraft_net::{Attachment, Request, Wanted};
use kraft_sys::fs;
use kraft_sys::lock::Lock;
use kraft_sys::process::{Identity, Process};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;
use serde_json::Map;

use super::publish::{self, Publisher};
use super::restore::{self, Source};
use super::sleep;
use crate::compact::Compactor;
use crate::console::{self, Drain};
use crate::driver::{Card, Driver, Extras, Launch, Vmm};
use crate::health;
use crate::id::Id;
use crate::launcher::Launcher;
use crate::layout::MachineDir;
use crate::machines::{Machines, StartError, now};
use crate::port::{self, PortError};
use crate::record::{Ending, Record, Run, Starting};
use crate::restart::Restarts;

/// How long the monitor of a machine that sleeps may take to exit.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// A VMM that is ready, with what its monitor needs.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) driver: &'static dyn Driver,
    pub(super) child: Child,
    pub(super) vmm: Identity,
    pub(super) console: Drain,
    pub(super) compactor: Compactor,
    /// Whether its guest was restored.
    pub(super) restored: bool,
}

/// Why a machine is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The user, or the boot of the host.
    User,
    /// Its restart policy: this process waited for that.
    Policy,
    /// A connection to the machine, which sleeps: this process kept its ports open.
    Connection,
}

/// How a machine is started.
#[derive(Debug)]
pub(super) struct Options<'a> {
    pub(super) cause: Cause,
    /// Whether the VMM records when its guest reaches the steps of its boot.
    pub(super) profile: bool,
    /// What publishes the ports of a machine that sleeps when it is idle; made by the first start.
    pub(super) publisher: &'a mut Option<Publisher>,
}

/// Starts a machine; also returns the command line of the VMM for logs, if there is one.
/// The current directory must be that of the machine.
pub(super) fn start(
    machines: &Machines,
    id: Id,
    options: Options<'_>,
) -> (Result<Started, StartError>, Option<String>) {
    let mut command_line = None;
    let started = try_start(machines, id, options, &mut command_line);
    (started, command_line)
}

fn try_start(
    machines: &Machines,
    id: Id,
    options: Options<'_>,
    command_line: &mut Option<String>,
) -> Result<Started, StartError> {
    let Options {
        cause,
        profile,
        publisher,
    } = options;
    let dir = machines.layout.machine(id);
    let gone = |e: fs::Error| match e.kind() {
        std::io::ErrorKind::NotFound => StartError::Gone,
        _ => e.into(),
    };
    let _lock = Lock::exclusive(dir.path()).map_err(gone)?;
    let mut record = Record::load(&dir).map_err(|e| StartError::System(e.to_string()))?;
    machines.recover(&mut record, &dir);
    let settled = machines.settle(record, &dir);
    let (mut record, status) = settled.ok_or(StartError::Gone)?;
    if status.is_alive() {
        return Err(StartError::Alive(status.state(&record).name().to_owned()));
    }
    let me = Identity::me().ok_or(StartError::NoProc)?;
    match (cause, &record.restarts.pending) {
        (Cause::User, _) => {
            record.restarts = Restarts::default();
            release_ports(&mut record, &dir)?;
        }
        // It stays due until there is a VMM: this process may be killed before.
        (Cause::Policy, Some(pending)) if pending.monitor.as_ref() == Some(&me) => {}
        (Cause::Connection, _) if record.is_asleep() && record.asleep.as_ref() == Some(&me) => {}
        // It was stopped meanwhile.
        (Cause::Policy | Cause::Connection, _) => return Err(StartError::Gone),
    }
    let mut start = Start {
        machines,
        dir: &dir,
        suspended: record.run.clone().filter(Run::is_suspended),
        record,
        me,
        cause,
        profile,
        publisher,
    };
    let started = start.run(command_line);
    if let Err(error) = &started {
        start.record_failure(error);
    }
    started
}

/// Has the monitor of a machine that sleeps release its ports: it exits when the record does not name
/// it any more.
fn release_ports(record: &mut Record, dir: &MachineDir) -> Result<(), StartError> {
    let Some(monitor) = record.asleep.take() else {
        return Ok(());
    };
    record.store(dir)?;
    let system = |e: std::io::Error| StartError::System(e.to_string());
    if let Some(process) = Process::open(&monitor).map_err(system)?
        && !process.wait(Some(RELEASE_TIMEOUT)).map_err(system)?
    {
        process.signal(Signal::KILL).map_err(system)?;
        process.wait(Some(RELEASE_TIMEOUT)).map_err(system)?;
    }
    Ok(())
}

/// A start in progress.
struct Start<'a> {
    machines: &'a Machines,
    dir: &'a MachineDir,
    record: Record,
    /// The last run, if the machine is suspended: this one continues it.
    suspended: Option<Run>,
    me: Identity,
    cause: Cause,
    /// Whether the VMM records when its guest reaches the steps of its boot.
    profile: bool,
    /// What publishes the ports of a machine that sleeps when it is idle.
    publisher: &'a mut Option<Publisher>,
}

/// The ports of a machine that is started.
struct Ports {
    /// Those that are published, all with a port of the host.
    published: Vec<PortMapping>,
    /// Those on which the VMM listens for this process, which publishes the ports itself; `None` if
    /// the VMM or the network publishes them.
    hidden: Option<Vec<PortMapping>>,
}

impl Ports {
    /// Returns those on which the VMM of a machine without networks listens.
    fn of_vmm(&self) -> &[PortMapping] {
        self.hidden.as_deref().unwrap_or(&self.published)
    }

    /// Returns those that the first network publishes.
    fn of_network(&self) -> &[PortMapping] {
        match self.hidden {
            Some(_) => &[],
            None => &self.published,
        }
    }
}

impl<'a> Start<'a> {
    fn run(&mut self, command_line: &mut Option<String>) -> Result<Started, StartError> {
        let spec = self.record.spec.get().clone();
        check_files(&spec, self.suspended.is_some())?;
        let source = match &self.suspended {
            Some(_) => Some(Source::open(self.dir, &spec)?),
            None => None,
        };
        let source = source.as_ref();
        self.run_from(source, &spec, command_line)
            .map_err(|error| restore::refused(error, source))
    }

    /// Starts the VMM, which restores the guest from a source if there is one.
    fn run_from(
        &mut self,
        source: Option<&Source>,
        spec: &MachineSpec,
        command_line: &mut Option<String>,
    ) -> Result<Started, StartError> {
        let kernel_line = kernel_line(spec)?;
        let drivers = &self.machines.settings.drivers;
        let driver = drivers.get(spec.platform)?;
        let program = driver.program(spec.arch, drivers.configured(spec.platform));
        let ports = self.claim_ports(driver, spec)?;
        let mut extras = Extras {
            sandbox: driver.can_be_sandboxed(&program),
            // A restored guest has the board that it had.
            small_board: source.is_none(),
        };
        loop {
            let mut attached = self.attach(spec, ports.of_network())?;
            if driver.capabilities().opens_cards {
                let closed = attached.into_iter().map(Attachment::close_card);
                attached = closed.collect::<Result<_, _>>()?;
            }
            let cards: Vec<Card<'_>> = attached.iter().map(card).collect();
            let launch = Launch {
                id: self.record.id,
                spec,
                kernel_line: &kernel_line,
                events: self.dir.events_name(),
                ports: ports.of_vmm(),
                cards: &cards,
                program: &program,
                extras,
                saved: source.map(|source| &source.saved),
                profile: self.profile,
            };
            let console = self.prepare_files(driver, spec)?;
            *command_line = loggable(driver, &launch);
            match self.launch(driver, &launch, &attached, &ports, source) {
                Ok((child, vmm, compactor)) => {
                    return Ok(Started {
                        driver,
                        child,
                        vmm,
                        console,
                        compactor,
                        restored: source.is_some(),
                    });
                }
                Err(error) if extras.give_up(driver, self.dir, &error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts the VMM and waits until it is ready.
    fn launch(
        &mut self,
        driver: &'static dyn Driver,
        launch: &Launch<'_>,
        attached: &[Attachment],
        ports: &Ports,
        source: Option<&Source>,
    ) -> Result<(Child, Identity, Compactor), StartError> {
        let spec = launch.spec;
        let opens_cards = driver.capabilities().opens_cards;
        hand_down(attached, opens_cards).map_err(|e| StartError::System(e.to_string()))?;
        let argv = driver.command_line(launch);
        let inside = attached.first().filter(|_| opens_cards);
        let launcher = self.launcher(driver, spec);
        let namespaces = inside.map_or(&[][..], |it| &it.namespaces);
        let (mut child, vmm) = launcher.spawn(&argv, namespaces, |_| {})?;
        let program = launch.program.first().cloned().unwrap_or_default();
        let compactor = Compactor::new(driver, self.dir.clone(), vmm.clone(), spec);
        self.record.starting = None;
        self.record.restarts.done();
        self.record.run = Some(Run {
            started_at: now(),
            monitor: self.me.clone(),
            vmm: Some(vmm.clone()),
            ports: ports.published.clone(),
            hidden_ports: ports.hidden.clone().unwrap_or_default(),
            end: None,
            restoring: self.suspended.clone().map(Box::new),
            unknown: Map::new(),
        });
        // Written while the VMM becomes ready.
        let recorded = self
            .record
            .store(self.dir)
            .and_then(|()| self.record.reserve(self.dir));
        let ready = recorded
            .map_err(StartError::from)
            .and_then(|()| {
                let mut attached = attached.iter();
                Ok(attached.try_for_each(|it| it.running(&vmm))?)
            })
            .and_then(|()| launcher.boot(launch, &mut child, &vmm))
            .and_then(|()| launcher.wait_until_ready(&mut child, &vmm, program))
            .and_then(|()| match source {
                Some(source) => self.restore(driver, launch, source, &vmm),
                None => Ok(()),
            });
        if let Err(error) = ready {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        Ok((child, vmm, compactor))
    }

    fn launcher<'b>(&self, driver: &'static dyn Driver, spec: &'b MachineSpec) -> Launcher<'b>
    where
        'a: 'b,
    {
        Launcher {
            dir: self.dir,
            spec,
            driver,
            configured: self.machines.settings.drivers.configured(spec.platform),
        }
    }

    /// Restores the guest, and has it continue.
    fn restore(
        &mut self,
        driver: &'static dyn Driver,
        launch: &Launch<'_>,
        source: &Source,
        process: &Identity,
    ) -> Result<(), StartError> {
        let dir = self.dir;
        source.restore(driver, launch, &Vmm { dir, process }, &self.record.name)?;
        sleep::publish_awake(self.machines, &self.record, self.publisher.as_ref());
        if let Some(run) = &mut self.record.run {
            run.restoring = None;
        }
        self.suspended = None;
        self.record.asleep = None;
        // If that fails, the next access finds that the guest was resumed.
        let _ = self.record.store(dir);
        let _ = self.record.reserve(dir);
        let _ = fs::remove_tree(&dir.saved());
        Ok(())
    }

    /// Connects the machine to its networks. The first publishes its ports.
    fn attach(
        &self,
        spec: &MachineSpec,
        ports: &[PortMapping],
    ) -> Result<Vec<Attachment>, StartError> {
        let networks = self.machines.networks();
        let machine = self.record.id.to_string();
        let attach = |(index, interface): (usize, &Interface)| {
            let request = Request {
                machine: &machine,
                name: &self.record.name,
                interface,
            };
            // It has its addresses, unless the network was removed and made again.
            let interface = networks.reserve(&request, &|_| true)?;
            let address = interface.address.unwrap_or(Ipv4Addr::UNSPECIFIED);
            let others = spec.networks.iter().map(|it| it.network.as_str());
            let others: Vec<&str> = others.filter(|name| *name != interface.network).collect();
            Ok(networks.attach(&Wanted {
                network: &interface.network,
                machine: &machine,
                name: &self.record.name,
                aliases: &interface.aliases,
                address,
                ports: if index == 0 { ports } else { &[] },
                others: &others,
            })?)
        };
        spec.networks.iter().enumerate().map(attach).collect()
    }

    /// Claims the ports and records that a start is in progress.
    fn claim_ports(
        &mut self,
        driver: &dyn Driver,
        spec: &MachineSpec,
    ) -> Result<Ports, StartError> {
        let sleeps = spec.lifecycle.sleep_after_ms.is_some();
        if let Some(port) = spec.ports.iter().find(|port| port.host_ip.is_ipv6())
            && spec.networks.is_empty()
            && !sleeps
            && !driver.capabilities().ipv6_ports
        {
            return Err(StartError::Port(PortError::NotIpv4 {
                vmm: spec.platform.title().to_owned(),
                address: std::net::SocketAddr::new(port.host_ip, port.host_port),
                protocol: port.protocol,
            }));
        }
        // Ports are assigned one at a time; a claim is valid once it is recorded.
        let lock = if spec.ports.is_empty() {
            None
        } else {
            Some(self.machines.lock_all()?)
        };
        let published = match (&lock, self.publisher.as_ref()) {
            (None, _) => Vec::new(),
            (Some(_), Some(publisher)) => publisher.ports.clone(),
            (Some(_), None) => {
                port::claim(&spec.ports, &self.machines.ports_in_use(self.record.id)?)?
            }
        };
        let hidden = match sleeps {
            true if spec.networks.is_empty() => Some(publish::hidden(&published, self.record.id)?),
            true => Some(Vec::new()),
            false => None,
        };
        if sleeps && self.publisher.is_none() {
            *self.publisher = Some(Publisher::open(published.clone())?);
        }
        self.record.starting = Some(Starting {
            monitor: self.me.clone(),
            ports: published.clone(),
            hidden_ports: hidden.clone().unwrap_or_default(),
        });
        // After a loss of power nothing starts, whichever record is there.
        self.record.store_soon(self.dir)?;
        Ok(Ports { published, hidden })
    }

    /// Empties the files of the last run and writes those that the VMM reads.
    fn prepare_files(&self, driver: &dyn Driver, spec: &MachineSpec) -> Result<Drain, StartError> {
        let dir = self.dir;
        fs::remove_file(&dir.events_summary())?;
        health::reset(dir)?;
        match self.cause {
            // It continues to print where it stopped.
            _ if self.suspended.is_some() => console::continue_with(&dir.console())?,
            Cause::User => console::prepare(&dir.console())?,
            // The output of the run that failed is what explains it.
            Cause::Policy | Cause::Connection => console::continue_with(&dir.console())?,
        }
        for (file, reserved) in [
            // Space for some events, so that the end can be reported on a full disk.
            (dir.events(), 16 << 10),
            (dir.vmm_log(), 4 << 10),
        ] {
            fs::truncate(&file, reserved)?;
        }
        if self.suspended.is_some() {
            driver.prepare_restore(dir, spec)?;
        } else {
            // A start that failed may have left it.
            fs::remove_tree(&dir.saved())?;
            driver.prepare(dir, spec)?;
        }
        // Opened before the VMM is started, which would wait for a reader.
        let limit = self.machines.settings.console_limit;
        Ok(Drain::open(&dir.console(), limit)?)
    }

    /// Records that the start failed. The machine has the state it had before, or `failed`.
    fn record_failure(&mut self, error: &StartError) {
        self.record.starting = None;
        if let Some(suspended) = self.suspended.take() {
            // What was saved is still there.
            self.record.run = Some(suspended);
            let _ = self.record.store(self.dir);
            return;
        }
        let vmm_failed = match error {
            StartError::Vmm { .. }
            | StartError::Unusable { .. }
            | StartError::Refused { .. }
            | StartError::Slow { .. } => true,
            StartError::Gone
            | StartError::Alive(_)
            | StartError::Missing { .. }
            | StartError::Saved { .. }
            | StartError::Port(_)
            | StartError::Network { .. }
            | StartError::NoNetwork { .. }
            | StartError::Line(_)
            | StartError::Platform(_)
            | StartError::NoProgram { .. }
            | StartError::System(_)
            | StartError::NoProc
            | StartError::Interrupted
            | StartError::Monitor(_) => false,
        };
        let run = self.record.run.as_ref();
        if vmm_failed || self.cause == Cause::Policy || run.is_some_and(|run| run.end.is_none()) {
            let at = now();
            let ending = Ending {
                at,
                reason: EndReason::MonitorFailed {
                    code: None,
                    message: error.to_string(),
                },
            };
            if self.cause == Cause::Policy {
                let policy = self.record.spec.get().lifecycle.restart;
                let restarts = &mut self.record.restarts;
                restarts.done();
                restarts.schedule(policy, at, &ending, Some(&self.me));
            }
            self.record.run = Some(Run {
                started_at: at,
                monitor: self.me.clone(),
                vmm: None,
                ports: Vec::new(),
                hidden_ports: Vec::new(),
                end: Some(ending),
                restoring: None,
                unknown: Map::new(),
            });
        }
        // If it cannot be written, the record still says "starting", which means "not started" once
        // this process has exited.
        let _ = self.record.store(self.dir);
        if self.record.spec.get().remove_when_ended {
            let _ = self.machines.remove_directory(self.record.id);
        }
    }
}

/// Checks that the files of the machine can be read: the error is better than that of a VMM. What is
/// restored has read its root archive.
pub(super) fn check_files(spec: &MachineSpec, restored: bool) -> Result<(), StartError> {
    let missing = |what: &str, path: &std::path::Path| {
        let (what, path) = (what.to_owned(), path.to_owned());
        move |e: std::io::Error| StartError::Missing {
            what,
            path,
            why: e.to_string(),
        }
    };
    let open = |path: &std::path::Path| fs::open_file(path).map(drop).map_err(std::io::Error::from);
    open(&spec.kernel).map_err(missing("kernel", &spec.kernel))?;
    if let Some(initrd) = spec.initrd.as_ref().filter(|_| !restored) {
        open(initrd).map_err(missing("root archive", initrd))?;
    }
    for volume in &spec.volumes {
        std::fs::read_dir(&volume.source).map_err(missing("volume", &volume.source))?;
    }
    Ok(())
}

/// Returns the card of a machine that is connected to a network.
fn card(attachment: &Attachment) -> Card<'_> {
    Card {
        file: attachment.tap.as_raw_fd(),
        device: &attachment.card,
    }
}

/// Lets the VMM that is started next inherit the namespaces of its networks, and its cards unless it
/// opens these itself.
fn hand_down(attached: &[Attachment], opens_cards: bool) -> std::io::Result<()> {
    for one in attached {
        for file in &one.namespaces {
            fcntl_setfd(file, FdFlags::empty())?;
        }
        if !opens_cards {
            fcntl_setfd(&one.tap, FdFlags::empty())?;
        }
    }
    Ok(())
}

pub(crate) fn kernel_line(spec: &MachineSpec) -> Result<String, StartError> {
    CommandLine::of(spec)
        .map(|line| line.render())
        .map_err(|problems| {
            let messages: Vec<String> = problems.into_iter().map(|p| p.message).collect();
            StartError::Line(messages.join("; "))
        })
}

/// Returns the command line of a VMM as one line that a shell understands, for logs.
///
/// Environment variables of the guest are on the kernel command line. Their values may be secrets
/// and are replaced. If they were given as kernel parameters, there is no safe form: `None`.
fn loggable(driver: &dyn Driver, launch: &Launch<'_>) -> Option<String> {
    let mut spec = launch.spec.clone();
    if spec.kernel_args.iter().any(|arg| arg.starts_with("env.")) {
        return None;
    }
    for value in spec.env.values_mut() {
        "***".clone_into(value);
    }
    let kernel_line = CommandLine::of(&spec).ok()?.render();
    let argv = driver.command_line(&Launch {
        spec: &spec,
        kernel_line: &kernel_line,
        ..*launch
    });
    Some(shell_words::join(
        argv.iter().map(|arg| arg.to_string_lossy()),
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kraft_core::kernel::BootProtocol;

    use super::*;
    use crate::driver::qemu::Qemu;

    #[test]
    fn a_logged_command_line_has_no_values_of_variables() {
        let secret = "hunter2 with blanks";
        for boot in [BootProtocol::Multiboot, BootProtocol::LinuxBzImage] {
            let spec = MachineSpec {
                boot,
                args: vec!["it's".to_owned()],
                env: BTreeMap::from([("TOKEN".to_owned(), secret.to_owned())]),
                ..crate::testing::spec()
            };
            let program = ["qemu".to_owned()];
            let shown = |spec: &MachineSpec| {
                loggable(
                    &Qemu,
                    &Launch {
                        id: Id::nil(),
                        spec,
                        kernel_line: &kernel_line(spec).unwrap(),
                        events: "events",
                        ports: &[],
                        cards: &[],
                        program: &program,
                        extras: Extras::default(),
                        saved: None,
                        profile: false,
                    },
                )
            };
            let line = shown(&spec).unwrap();
            assert!(!line.contains("hunter2"), "{line}");
            assert!(line.contains("TOKEN=***"), "{line}");
            let argv = shell_words::split(&line).unwrap();
            assert!(argv.last().unwrap().contains("it's"), "{line}");

            let as_parameter = MachineSpec {
                env: BTreeMap::new(),
                kernel_args: vec!["env.vars=[ TOKEN=hunter2 ]".to_owned()],
                ..spec
            };
            assert_eq!(shown(&as_parameter), None);
        }
    }
}
