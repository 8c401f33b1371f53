//! The guest: QEMU's machine `microvm`, which is entered as Firecracker enters a guest.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kraft_core::kernel::linux64::{self, Loader};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde_json::{Value, json};

use crate::resources::{BootSource, Resources};

/// How long QEMU may take to do something.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time between two questions whether QEMU has finished.
const TURN: Duration = Duration::from_millis(1);

/// The last of the places for devices; the first device gets it.
const LAST_SLOT: usize = 7;

/// QEMU's exit status when the guest writes 0xfe, the reset, to port 0x64.
const RESET: i32 = (0xfe << 1 | 1) & 0xff;

/// A guest that runs.
#[derive(Debug)]
pub(crate) struct Guest {
    qmp: BufReader<UnixStream>,
    /// The kernel that QEMU was given.
    program: Vec<u8>,
}

/// What a guest is restored from.
#[derive(Debug)]
pub(crate) struct Saved<'a> {
    /// The kernel that QEMU was given.
    pub(crate) program: &'a [u8],
    /// The devices, as a migration stream.
    pub(crate) devices: &'a [u8],
    /// The path of the file with the memory.
    pub(crate) memory: &'a Path,
}

/// How a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By the reset line of the keyboard controller.
    Reset,
    /// By an exception that the processor could not handle.
    Shutdown,
    /// QEMU failed.
    Failed,
}

impl End {
    pub(crate) fn of(status: ExitStatus) -> Self {
        match status.code() {
            Some(RESET) => Self::Reset,
            // It runs with `-no-reboot`.
            Some(0) => Self::Shutdown,
            _ => Self::Failed,
        }
    }
}

/// Files that QEMU reads when it starts.
struct Files(PathBuf);

impl Files {
    fn new() -> io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("firecracker-emulator-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        std::fs::write(&path, bytes)?;
        Ok(path)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // A directory of temporary files is nothing that matters.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Starts QEMU, and the guest; also returns its process. Must be called by the main thread: QEMU ends
/// with it.
pub(crate) fn start(resources: &Resources, boot: &BootSource) -> Result<(Guest, Child), String> {
    let (loader, devices) = load(resources, boot)?;
    let files = Files::new().map_err(starting)?;
    let program = files.write("loader", &loader.program).map_err(starting)?;
    let tables = files.write("tables", &loader.tables).map_err(starting)?;
    let memory = files.write("memory", &[]).map_err(starting)?;
    let mut line = Line::default();
    // Shared: it is left out of migrations.
    line.board(resources, &memory, "on");
    line.file("-kernel", &program);
    line.load(&boot.kernel_image_path, "");
    line.load(
        &tables.display().to_string(),
        &format!(",addr={:#x},force-raw=on", loader.at),
    );
    if let (Some(at), Some(path)) = (loader.initrd, &boot.initrd_path) {
        line.load(path, &format!(",addr={at:#x},force-raw=on"));
    }
    for device in devices {
        line.0.extend(device.into_iter().map(OsString::from));
    }
    let (qmp, child) = run(line, resources)?;
    let mut guest = Guest {
        qmp,
        program: loader.program,
    };
    guest.greet()?;
    // It has read its files.
    drop(files);
    guest.resume()?;
    Ok((guest, child))
}

/// Starts QEMU and restores a guest, which is paused; also returns its process. As [`start`], for the main
/// thread.
pub(crate) fn restore(resources: &Resources, saved: &Saved<'_>) -> Result<(Guest, Child), String> {
    let present = std::fs::metadata(saved.memory).map_err(|error| error.to_string())?;
    if present.len() != resources.machine.mem_size_mib << 20 {
        return Err(
            "Failed to load guest memory: Error creating guest memory from file: Cannot create mmap region: \
             the file is too short"
                .to_owned(),
        );
    }
    let (devices, _) = devices(resources)?;
    let files = Files::new().map_err(starting)?;
    let program = files.write("loader", saved.program).map_err(starting)?;
    let socket = files.0.join("incoming");
    let mut line = Line::default();
    // What the guest writes does not reach the file.
    line.board(resources, saved.memory, "off");
    line.file("-kernel", &program);
    line.add("-incoming defer");
    for device in devices {
        line.0.extend(device.into_iter().map(OsString::from));
    }
    let (qmp, child) = run(line, resources)?;
    let mut guest = Guest {
        qmp,
        program: saved.program.to_vec(),
    };
    guest.greet()?;
    guest.without_memory()?;
    let uri = json!({"uri": format!("unix:{}", socket.display())});
    guest.execute_with("migrate-incoming", &uri)?;
    let sent = UnixStream::connect(&socket).and_then(|mut to| to.write_all(saved.devices));
    sent.map_err(|error| error.to_string())?;
    let deadline = Instant::now() + PATIENCE;
    while guest.status("query-status")? == "inmigrate" {
        if Instant::now() > deadline {
            return Err("the guest is not restored in time".to_owned());
        }
        thread::sleep(TURN);
    }
    Ok((guest, child))
}

fn starting(error: io::Error) -> String {
    format!("Internal error while starting microVM: {error}")
}

/// Runs QEMU with a command line; returns the connection to it, and the process.
fn run(mut line: Line, resources: &Resources) -> Result<(BufReader<UnixStream>, Child), String> {
    let (ours, theirs) = UnixStream::pair().map_err(starting)?;
    let theirs = OwnedFd::from(theirs);
    line.add(&format!("-chardev socket,id=qmp,fd={}", theirs.as_raw_fd()));
    line.add("-mon chardev=qmp,mode=control");
    let qemu = std::env::var_os("KRAFT_FIRECRACKER_EMULATOR_QEMU");
    let mut command = Command::new(qemu.unwrap_or_else(|| "qemu-system-x86_64".into()));
    command.args(line.0).stderr(Stdio::inherit());
    for card in &resources.cards {
        fcntl_setfd(&card.tap, FdFlags::empty()).map_err(|e| starting(e.into()))?;
    }
    fcntl_setfd(&theirs, FdFlags::empty()).map_err(|e| starting(e.into()))?;
    // SAFETY: between fork and exec only one system call is made.
    #[expect(unsafe_code, reason = "QEMU must not outlive this process")]
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    let child = command.spawn().map_err(starting)?;
    ours.set_read_timeout(Some(PATIENCE)).map_err(starting)?;
    Ok((BufReader::new(ours), child))
}

/// Decides where everything goes in memory, and returns the arguments for the devices.
fn load(resources: &Resources, boot: &BootSource) -> Result<(Loader, Vec<Vec<String>>), String> {
    let kernel = "Cannot load kernel due to invalid memory configuration or invalid kernel image: \
                  Kernel Loader: failed to load ELF kernel image:";
    let mut head = Vec::new();
    File::open(&boot.kernel_image_path)
        .and_then(|file| file.take(64).read_to_end(&mut head))
        .map_err(|error| format!("{kernel} {error}"))?;
    let entry =
        linux64::entry(&head).ok_or_else(|| format!("{kernel} Invalid Elf magic number"))?;
    let (devices, named) = devices(resources)?;
    let usual = "reboot=k panic=1 pci=off nomodule 8250.nr_uarts=0 i8042.noaux i8042.nomux";
    let line = linux64::with_devices(boot.boot_args.as_deref().unwrap_or(usual), named);
    let size = |path: &String| std::fs::metadata(path).map(|meta| meta.len());
    let initrd = boot.initrd_path.as_ref().map(size).transpose();
    let initrd = initrd.map_err(|error| format!("Cannot load initrd: {error}"))?;
    let memory = resources.machine.mem_size_mib << 20;
    let loader = Loader::new(entry, memory, &line, initrd).map_err(|error| {
        format!("Cannot load initrd due to an invalid memory configuration. ({error})")
    })?;
    Ok((loader, devices))
}

/// Returns the arguments for the devices, and where the guest finds them.
fn devices(resources: &Resources) -> Result<(Vec<Vec<String>>, Vec<String>), String> {
    let mut devices: Vec<Vec<String>> = Vec::new();
    for (index, drive) in resources.drives.iter().enumerate() {
        let path = drive.path_on_host.clone().unwrap_or_default();
        let read_only = if drive.is_read_only == Some(true) {
            "on"
        } else {
            "off"
        };
        devices.push(vec![
            "-drive".to_owned(),
            format!("if=none,id=disk{index},format=raw,file={path},readonly={read_only}"),
            "-device".to_owned(),
            format!("virtio-blk-device,drive=disk{index}"),
        ]);
    }
    for (index, card) in resources.cards.iter().enumerate() {
        let mac = card.config.guest_mac.as_ref();
        let mac = mac.map_or(String::new(), |mac| format!(",mac={mac}"));
        devices.push(vec![
            "-netdev".to_owned(),
            format!("tap,id=net{index},fd={}", card.tap.as_raw_fd()),
            "-device".to_owned(),
            format!("virtio-net-device,netdev=net{index}{mac}"),
        ]);
    }
    if resources.entropy {
        devices.push(vec!["-device".to_owned(), "virtio-rng-device".to_owned()]);
    }
    if devices.len() > LAST_SLOT + 1 {
        return Err("Cannot initialize a MMIO Device: no more IRQs are available.".to_owned());
    }
    let mut named = Vec::new();
    for (index, device) in devices.iter_mut().enumerate() {
        let slot = LAST_SLOT - index;
        if let Some(last) = device.last_mut() {
            last.push_str(&format!(",bus=virtio-mmio-bus.{slot}"));
        }
        named.push(format!("512@{:#x}:{}", 0xfeb0_0000 + slot * 512, 5 + slot));
    }
    Ok((devices, named))
}

#[derive(Default)]
struct Line(Vec<OsString>);

impl Line {
    /// The board, whose memory is a file.
    fn board(&mut self, resources: &Resources, memory: &Path, share: &str) {
        let machine = &resources.machine;
        self.add("-nodefaults -no-user-config -display none -no-reboot -S -cpu max");
        self.add("-M microvm,accel=tcg,pit=on,pic=on,rtc=on,acpi=off,memory-backend=memory");
        let path = memory.display().to_string().replace(',', ",,");
        let size = machine.mem_size_mib;
        self.0.push("-object".into());
        let backend =
            format!("memory-backend-file,id=memory,size={size}M,mem-path={path},share={share}");
        self.0.push(backend.into());
        self.add(&format!("-m size={size}M -smp cpus={}", machine.vcpu_count));
        self.add("-chardev stdio,id=console,signal=off -serial chardev:console");
        // Of the keyboard controller there is the data port; the other one is the reset.
        self.add("-device i8042 -device isa-debug-exit,iobase=0x64,iosize=1");
        self.add("-global virtio-mmio.force-legacy=false");
    }

    fn file(&mut self, option: &str, path: &Path) {
        self.0.push(option.into());
        self.0.push(path.into());
    }

    fn add(&mut self, words: &str) {
        self.0.extend(words.split(' ').map(OsString::from));
    }

    /// Has QEMU put a file into the memory.
    fn load(&mut self, path: &str, more: &str) {
        self.0.push("-device".into());
        let path = path.replace(',', ",,");
        self.0.push(format!("loader,file={path}{more}").into());
    }
}

impl Guest {
    /// Stops the processors.
    pub(crate) fn pause(&mut self) -> Result<(), String> {
        self.execute("stop").map(drop)
    }

    /// Starts them again.
    pub(crate) fn resume(&mut self) -> Result<(), String> {
        self.execute("cont").map(drop)
    }

    /// Presses Ctrl, Alt and Del.
    pub(crate) fn press(&mut self) -> Result<(), String> {
        let keys = ["ctrl", "alt", "delete"].map(|key| json!({"type": "qcode", "data": key}));
        self.execute_with("send-key", &json!({ "keys": keys }))
            .map(drop)
    }

    /// Returns the kernel that QEMU was given.
    pub(crate) fn program(&self) -> &[u8] {
        &self.program
    }

    /// Writes the memory of a paused guest into a file, of this size in bytes and at most 3 GiB, and
    /// returns the devices as a migration stream.
    pub(crate) fn save(&mut self, memory: &str, size: u64) -> Result<Vec<u8>, String> {
        let files = Files::new().map_err(|error| error.to_string())?;
        let what = json!({"val": 0, "size": size, "filename": memory});
        self.execute_with("pmemsave", &what)?;
        let socket = files.0.join("outgoing");
        let listener = UnixListener::bind(&socket).map_err(|error| error.to_string())?;
        self.without_memory()?;
        let uri = json!({"uri": format!("unix:{}", socket.display())});
        self.execute_with("migrate", &uri)?;
        let mut devices = Vec::new();
        let received = listener
            .accept()
            .and_then(|(mut stream, _)| stream.read_to_end(&mut devices));
        received.map_err(|error| error.to_string())?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.status("query-migrate")?.as_str() {
                "completed" => return Ok(devices),
                "failed" | "cancelled" => return Err("the migration failed".to_owned()),
                _ if Instant::now() > deadline => return Err("the migration hangs".to_owned()),
                _ => thread::sleep(TURN),
            }
        }
    }

    /// Has a migration leave out the memory, which is a file.
    fn without_memory(&mut self) -> Result<(), String> {
        let ignore = json!({"capability": "x-ignore-shared", "state": true});
        let capabilities = json!({"capabilities": [ignore]});
        self.execute_with("migrate-set-capabilities", &capabilities)
            .map(drop)
    }

    /// Receives the greeting, and answers.
    fn greet(&mut self) -> Result<(), String> {
        self.answer().map_err(starting)?;
        self.execute("qmp_capabilities").map(drop)
    }

    /// Returns the field `status` of an answer.
    fn status(&mut self, command: &str) -> Result<String, String> {
        let answer = self.execute(command)?;
        let status = answer.get("status").and_then(Value::as_str);
        Ok(status.unwrap_or_default().to_owned())
    }

    fn execute(&mut self, command: &str) -> Result<Value, String> {
        self.execute_with(command, &json!({}))
    }

    fn execute_with(&mut self, command: &str, arguments: &Value) -> Result<Value, String> {
        let line = json!({"execute": command, "arguments": arguments});
        let sent = writeln!(self.qmp.get_mut(), "{line}");
        sent.map_err(|error| error.to_string())?;
        loop {
            let mut answer = self.answer().map_err(|error| error.to_string())?;
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = answer.get("error") {
                return Err(error.to_string());
            }
        }
    }

    fn answer(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        if self.qmp.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}
