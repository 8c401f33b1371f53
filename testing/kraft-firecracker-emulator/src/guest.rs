//! The guest: QEMU's machine `microvm`, which is entered as Firecracker enters a guest.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use kraft_core::kernel::linux64::{self, Loader};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde_json::Value;

use crate::resources::{BootSource, Resources};

/// How long QEMU may take to do something.
const PATIENCE: Duration = Duration::from_secs(60);

/// The last of the places for devices; the first device gets it.
const LAST_SLOT: usize = 7;

/// QEMU's exit status when the guest writes 0xfe, the reset, to port 0x64.
const RESET: i32 = (0xfe << 1 | 1) & 0xff;

/// A guest that runs.
#[derive(Debug)]
pub(crate) struct Guest {
    qmp: BufReader<UnixStream>,
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

/// Starts QEMU; also returns its process. Must be called by the main thread: QEMU ends with it.
pub(crate) fn start(resources: &Resources, boot: &BootSource) -> Result<(Guest, Child), String> {
    let (loader, devices) = load(resources, boot)?;
    let failed = |error: io::Error| format!("Internal error while starting microVM: {error}");
    let files = Files::new().map_err(failed)?;
    let program = files.write("loader", &loader.program).map_err(failed)?;
    let tables = files.write("tables", &loader.tables).map_err(failed)?;
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let theirs = OwnedFd::from(theirs);
    let mut line = Line::default();
    line.add("-nodefaults -no-user-config -display none -no-reboot -S -cpu max");
    line.add("-M microvm,accel=tcg,pit=on,pic=on,rtc=on,acpi=off");
    line.add(&format!("-m size={}M", resources.machine.mem_size_mib));
    line.add(&format!("-smp cpus={}", resources.machine.vcpu_count));
    line.add("-chardev stdio,id=console,signal=off -serial chardev:console");
    line.add(&format!("-chardev socket,id=qmp,fd={}", theirs.as_raw_fd()));
    line.add("-mon chardev=qmp,mode=control");
    line.add("-device isa-debug-exit,iobase=0x64,iosize=1");
    line.add("-global virtio-mmio.force-legacy=false");
    line.0.push("-kernel".into());
    line.0.push(program.into());
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
    let qemu = std::env::var_os("KRAFT_FIRECRACKER_EMULATOR_QEMU");
    let mut command = Command::new(qemu.unwrap_or_else(|| "qemu-system-x86_64".into()));
    command.args(line.0).stderr(Stdio::inherit());
    for card in &resources.cards {
        fcntl_setfd(&card.tap, FdFlags::empty()).map_err(|e| failed(e.into()))?;
    }
    fcntl_setfd(&theirs, FdFlags::empty()).map_err(|e| failed(e.into()))?;
    // SAFETY: between fork and exec only one system call is made.
    #[expect(unsafe_code, reason = "QEMU must not outlive this process")]
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    let child = command.spawn().map_err(failed)?;
    drop(theirs);
    ours.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let mut guest = Guest {
        qmp: BufReader::new(ours),
    };
    guest.answer().map_err(failed)?;
    guest.execute("qmp_capabilities")?;
    // It has read its files.
    drop(files);
    guest.execute("cont")?;
    Ok((guest, child))
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

#[derive(Default)]
struct Line(Vec<OsString>);

impl Line {
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
        self.execute("stop")
    }

    /// Starts them again.
    pub(crate) fn resume(&mut self) -> Result<(), String> {
        self.execute("cont")
    }

    fn execute(&mut self, command: &str) -> Result<(), String> {
        let line = format!("{{\"execute\":\"{command}\"}}\n");
        let sent = self.qmp.get_mut().write_all(line.as_bytes());
        sent.map_err(|error| error.to_string())?;
        loop {
            let answer = self.answer().map_err(|error| error.to_string())?;
            if answer.get("return").is_some() {
                return Ok(());
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
