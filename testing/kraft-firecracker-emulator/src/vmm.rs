//! The main thread: requests and the end of the guest, one at a time.

use std::os::unix::net::UnixListener;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use serde_json::json;

use crate::api::{self, Answer, Request};
use crate::guest::{self, End, Guest};
use crate::log::{Level, Log};
use crate::options::{Fault, Options};
use crate::resources::parse;
use crate::resources::{self, ActionType, Config, Resources, VmState};
use crate::snapshot;

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Message {
    /// A request, and where its answer goes.
    Request(Request, Sender<Answer>),
    /// QEMU has exited.
    Exited(ExitStatus),
}

const AFTER: &str = "The requested operation is not supported after starting the microVM.";
const BEFORE: &str = "The requested operation is not supported before starting the microVM.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NotStarted,
    Running,
    Paused,
}

struct Vmm {
    options: Options,
    log: Log,
    state: State,
    resources: Resources,
    guest: Option<Guest>,
    vsock: Option<UnixListener>,
    /// Whether something was configured that prevents restoring a guest.
    configured: bool,
    /// Whether restoring a guest failed: the process ends.
    broken: bool,
    to: Sender<Message>,
}

/// Runs, and returns the exit status.
pub(crate) fn run(options: Options) -> Result<i32, String> {
    let level = options.level.as_deref().unwrap_or("Info");
    let level = Level::parse(level).ok_or_else(|| format!("InvalidLogLevel(\"{level}\")"))?;
    let log = Log::new(&options.id, level);
    let opened = log.update(options.log.as_deref(), Some(level));
    opened.map_err(|error| format!("LoggerInitialization(Failed to open target file: {error})"))?;
    log.info(&format!("Running Firecracker v{}", options.version()));
    if let Some(path) = &options.metrics
        && !path.exists()
    {
        return Err(format!("MetricsInitialization(\"{}\")", path.display()));
    }
    let (to, from) = channel();
    let mut vmm = Vmm {
        options,
        log: log.clone(),
        state: State::NotStarted,
        resources: Resources::default(),
        guest: None,
        vsock: None,
        configured: false,
        broken: false,
        to: to.clone(),
    };
    vmm.listen(to)?;
    vmm.configure_from_file()?;
    let code = vmm.serve(&from);
    if code == 0 {
        log.info("Firecracker exiting successfully. exit_code=0");
    } else {
        log.error(&format!("Firecracker exiting with error. exit_code={code}"));
    }
    Ok(code)
}

impl Vmm {
    fn listen(&self, to: Sender<Message>) -> Result<(), String> {
        let Some(path) = &self.options.socket else {
            return Ok(());
        };
        if self.options.faults.contains(&Fault::Silent) {
            loop {
                thread::park();
            }
        }
        let listener = UnixListener::bind(path).map_err(|_| {
            let why = format!(
                "Failed to open the API socket at: {}. Check that it is not already used.",
                path.display()
            );
            self.log.error(&why);
            why
        })?;
        api::serve(listener, self.options.faults.clone(), to);
        Ok(())
    }

    fn configure_from_file(&mut self) -> Result<(), String> {
        let Some(path) = self.options.config.clone() else {
            return Ok(());
        };
        let text = std::fs::read(path).map_err(|error| error.to_string())?;
        let config: Config = parse(&text)?;
        if let Some(machine) = config.machine_config {
            self.resources.set_machine(machine)?;
        }
        self.resources.set_boot(config.boot_source)?;
        for drive in config.drives {
            self.resources.add_drive(drive)?;
        }
        for card in config.network_interfaces {
            self.resources.add_card(card)?;
        }
        self.start()
    }

    fn serve(&mut self, from: &Receiver<Message>) -> i32 {
        while let Ok(message) = from.recv() {
            match message {
                Message::Request(request, reply) => {
                    let shown = format!("{} request on \"{}\"", request.method, request.path);
                    let body = String::from_utf8_lossy(&request.body);
                    self.log.info(&format!(
                        "The API server received a {shown} with body {body:?}."
                    ));
                    let answer = match self.answer(&request) {
                        Ok(answer) => answer,
                        Err(why) => {
                            self.log.error(&format!(
                                "Received Error. Status code: 400 Bad Request. Message: {why}"
                            ));
                            Answer::Fault(why)
                        }
                    };
                    // The client may be gone.
                    let _ = reply.send(answer);
                    if self.state != State::NotStarted && self.options.faults.contains(&Fault::Kvm)
                    {
                        self.log.error("Received KVM_EXIT_INTERNAL_ERROR signal");
                        return 1;
                    }
                    if self.broken {
                        return 1;
                    }
                }
                Message::Exited(status) => match End::of(status) {
                    End::Reset => {
                        self.log.info("Vmm is stopping.");
                        return 0;
                    }
                    End::Shutdown => {
                        self.log.info("Received KVM_EXIT_SHUTDOWN signal");
                        self.log.info("Vmm is stopping.");
                        return 0;
                    }
                    End::Failed => {
                        self.log.error(&format!("QEMU failed: {status}"));
                        return 1;
                    }
                },
            }
        }
        0
    }

    fn answer(&mut self, request: &Request) -> Result<Answer, String> {
        let mut path = request.path.trim_start_matches('/').split('/');
        let (resource, id) = (path.next().unwrap_or_default(), path.next());
        let body = request.body.as_slice();
        match (request.method.as_str(), resource) {
            ("GET", "") => return Ok(self.describe()),
            ("GET", "version") => {
                let version = json!({ "firecracker_version": self.options.version() });
                return Ok(Answer::Value(version.to_string()));
            }
            ("GET", "machine-config") => {
                let machine = &self.resources.machine;
                let shown = json!({
                    "vcpu_count": machine.vcpu_count, "mem_size_mib": machine.mem_size_mib,
                    "smt": false, "track_dirty_pages": false, "huge_pages": "None",
                });
                return Ok(Answer::Value(shown.to_string()));
            }
            ("GET", "vm") if id == Some("config") => return Ok(self.describe_machine()),
            ("PUT" | "PATCH", _) if body.is_empty() => {
                return Err(format!("Empty {} request.", request.method));
            }
            ("PUT", "snapshot") if id == Some("create") => self.save(&parse(body)?)?,
            ("PUT", "snapshot") if id == Some("load") => self.restore(parse(body)?)?,
            ("PUT", "actions") => self.act(parse::<resources::Action>(body)?.action_type)?,
            ("PATCH", "vm") => self.change(parse::<resources::Vm>(body)?.state)?,
            ("PUT", _) => self.put(resource, id, body)?,
            (method, _) => {
                return Err(format!(
                    "Invalid request method and/or path: {method} {resource}."
                ));
            }
        }
        Ok(Answer::Done)
    }

    /// Configures a resource.
    fn put(&mut self, resource: &str, id: Option<&str>, body: &[u8]) -> Result<(), String> {
        let known = [
            "boot-source",
            "drives",
            "entropy",
            "logger",
            "machine-config",
            "metrics",
            "network-interfaces",
            "vsock",
        ];
        if !known.contains(&resource) {
            return Err(format!(
                "Invalid request method and/or path: PUT {resource}."
            ));
        }
        if self.state != State::NotStarted {
            return Err(AFTER.to_owned());
        }
        self.configured |= !["logger", "metrics"].contains(&resource);
        match resource {
            "machine-config" => self.resources.set_machine(parse(body)?),
            "boot-source" => self.resources.set_boot(parse(body)?),
            "network-interfaces" => {
                let card: resources::NetworkInterface = parse(body)?;
                resources::check_id(id, &card.iface_id)?;
                self.resources.add_card(card)
            }
            "drives" => {
                let drive: resources::Drive = parse(body)?;
                resources::check_id(id, &drive.drive_id)?;
                self.resources.add_drive(drive)
            }
            "entropy" => {
                self.resources.entropy = true;
                Ok(())
            }
            "vsock" => {
                let vsock: resources::Vsock = parse(body)?;
                let listener = UnixListener::bind(&vsock.uds_path).map_err(|error| {
                    format!(
                        "Vsock config error: Cannot create backend for vsock device: \
                         UnixBind({error})"
                    )
                })?;
                self.vsock = Some(listener);
                Ok(())
            }
            "logger" => {
                let logger: resources::Logger = parse(body)?;
                let level = logger.level.as_deref().and_then(Level::parse);
                let path = logger.log_path.as_ref().map(std::path::Path::new);
                let updated = self.log.update(path, level);
                updated.map_err(|e| format!("Logger error: Failed to open target file: {e}"))
            }
            _ => {
                let metrics: resources::Metrics = parse(body)?;
                let file = std::fs::File::options()
                    .write(true)
                    .open(&metrics.metrics_path);
                file.map_err(|e| {
                    format!("Metrics error: Cannot initialize the metrics system: {e}")
                })?;
                self.options.metrics = Some(metrics.metrics_path.into());
                Ok(())
            }
        }
    }

    fn act(&mut self, action: ActionType) -> Result<(), String> {
        match action {
            ActionType::InstanceStart if self.state != State::NotStarted => Err(AFTER.to_owned()),
            ActionType::InstanceStart => self.start(),
            _ if self.state == State::NotStarted => Err(BEFORE.to_owned()),
            ActionType::FlushMetrics => Ok(()),
            ActionType::SendCtrlAltDel => {
                let guest = self.guest.as_mut().ok_or(BEFORE)?;
                guest
                    .press()
                    .map_err(|why| format!("Internal VMM error: {why}"))
            }
        }
    }

    fn start(&mut self) -> Result<(), String> {
        let failed = |why: String| format!("Start microvm error: {why}");
        let missing = || failed("Cannot start microvm without kernel configuration.".to_owned());
        let boot = self.resources.boot.as_ref().ok_or_else(missing)?;
        let (guest, child) = guest::start(&self.resources, boot).map_err(failed)?;
        self.runs(guest, child, State::Running);
        Ok(())
    }

    fn runs(&mut self, guest: Guest, mut child: Child, state: State) {
        self.guest = Some(guest);
        self.state = state;
        let to = self.to.clone();
        thread::spawn(move || {
            if let Ok(status) = child.wait() {
                let _ = to.send(Message::Exited(status));
            }
        });
    }

    fn save(&mut self, request: &resources::SnapshotCreate) -> Result<(), String> {
        let Some(guest) = &mut self.guest else {
            return Err(BEFORE.to_owned());
        };
        if self.state != State::Paused {
            return Err(
                "Create snapshot error: Cannot save the microVM state: Operation not allowed: \
                 save/restore unavailable while running"
                    .to_owned(),
            );
        }
        snapshot::create(self.options.version(), guest, &self.resources, request)
    }

    fn restore(&mut self, request: resources::SnapshotLoad) -> Result<(), String> {
        if self.state != State::NotStarted {
            return Err(AFTER.to_owned());
        }
        if self.configured {
            return Err(
                "Load snapshot error: Loading a microVM snapshot not allowed after configuring \
                 boot-specific resources."
                    .to_owned(),
            );
        }
        if request.network_overrides.is_some() && !self.options.gives_other_devices() {
            return Err(
                "An error occurred when deserializing the json body of a request: unknown field \
                 `network_overrides`."
                    .to_owned(),
            );
        }
        let resumes = request.resume_vm;
        let loaded = snapshot::load(self.options.version(), &mut self.resources, request);
        let (guest, child) = loaded.map_err(|why| {
            self.broken = true;
            format!("Load snapshot error: Failed to restore from snapshot: {why}")
        })?;
        self.runs(guest, child, State::Paused);
        if resumes {
            self.change(VmState::Resumed)?;
        }
        Ok(())
    }

    fn describe_machine(&self) -> Answer {
        let resources = &self.resources;
        let cards: Vec<_> = resources.cards.iter().map(|it| &it.config).collect();
        let shown = json!({
            "machine-config": resources.machine, "boot-source": resources.boot,
            "network-interfaces": cards, "drives": resources.drives,
        });
        Answer::Value(shown.to_string())
    }

    fn change(&mut self, wanted: VmState) -> Result<(), String> {
        let Some(guest) = &mut self.guest else {
            return Err(BEFORE.to_owned());
        };
        // Either is done as often as it is asked for.
        let (state, changed) = match wanted {
            VmState::Paused => (State::Paused, guest.pause()),
            VmState::Resumed => (State::Running, guest.resume()),
        };
        changed.map_err(|why| format!("Internal VMM error: {why}"))?;
        self.state = state;
        Ok(())
    }

    fn describe(&self) -> Answer {
        let state = match self.state {
            State::NotStarted => "Not started",
            State::Running => "Running",
            State::Paused => "Paused",
        };
        let shown = json!({
            "id": self.options.id, "state": state, "vmm_version": self.options.version(),
            "app_name": "Firecracker",
        });
        Answer::Value(shown.to_string())
    }
}
