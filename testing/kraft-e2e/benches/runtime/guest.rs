//! Machines with one of the kernels that are compared, all by the same QEMU line.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kraft_e2e::harness::{Bench, repository};
use kraft_e2e::linux::{self, add_host_program};
use kraft_e2e::unikraft;

/// The network card of a usual machine.
const PCI_CARD: &str = "virtio-net-pci,netdev=net0,romfile=";

/// How long a machine may take to start, and a connection to make any progress.
const PATIENCE: Duration = Duration::from_secs(60);

/// What Unikraft's loader wants to know: where the root filesystem is, and its address.
const BASE: &str =
    "kernel vfs.fstab=[ \"initrd0:/:extract::ramfs=2:\" ] netdev.ip=10.0.2.15/24:10.0.2.2 --";

/// What Linux needs before it can run the program: the modules of the card, and its address.
const INIT: &str = "#!/bin/busybox sh
for module in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci \
    failover net_failover virtio_net; do
    /bin/busybox insmod /modules/$module.ko
done
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t devtmpfs none /dev
/bin/busybox ip link set lo up
/bin/busybox ip addr add 10.0.2.15/24 dev eth0
/bin/busybox ip link set eth0 up
exec \"$@\"
";

/// A kernel that runs Linux programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// kraft's own.
    Builtin,
    /// Debian's.
    Linux,
    /// Unikraft's, with app-elfloader.
    Base,
}

/// How the host reaches the guest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// The tap device of a network namespace.
    Tap,
    /// QEMU's own network, with a port of this host for each of the guest.
    User,
}

/// The kernels' files and where roots are made.
pub(crate) struct Rig {
    bench: Bench,
    builtin: PathBuf,
    linux: PathBuf,
    base: Option<PathBuf>,
    network: Network,
}

/// A program with its root filesystem.
pub(crate) struct Program {
    root: PathBuf,
    line: &'static str,
    /// The port on which it answers.
    port: Option<u16>,
}

impl Program {
    /// Bytes of the root filesystem, in MiB.
    pub(crate) fn mebibytes(&self) -> f64 {
        fs::metadata(&self.root).unwrap().len() as f64 / f64::from(1 << 20)
    }
}

/// A machine that runs; it ends with this value.
pub(crate) struct Guest {
    process: Child,
    address: (&'static str, u16),
}

impl Rig {
    /// Finds the kernels; `Err` says which one is missing.
    pub(crate) fn new(network: Network) -> Result<Rig, String> {
        let linux = linux::kernel()?;
        let packed = repository().join("runtime/build/kraft-runtime-x86_64.xz");
        let bench = Bench::new();
        let builtin = bench.path().join("kraft-runtime");
        let file = fs::File::create(&builtin).unwrap();
        let mut unpack = Command::new("xz");
        unpack.args(["-dc"]).arg(&packed).stdout(file);
        if !packed.is_file() || !unpack.status().unwrap().success() {
            return Err("the built-in runtime is not built: make runtime".into());
        }
        Ok(Rig {
            bench,
            builtin,
            linux,
            base: base(),
            network,
        })
    }

    /// The sizes of both kernels' compressed files.
    pub(crate) fn sizes(&self) -> [u64; 2] {
        let packed = repository().join("runtime/build/kraft-runtime-x86_64.xz");
        [&packed, &self.linux].map(|file| fs::metadata(file).unwrap().len())
    }

    /// Whether Unikraft's base is there.
    pub(crate) fn has_base(&self) -> bool {
        self.base.is_some()
    }

    /// A small static program that is alone in its root filesystem.
    pub(crate) fn hello(&self) -> Program {
        let dir = self.directory("hello");
        compile(&dir.join("program"));
        self.pack(&dir, "/program", None)
    }

    /// The same program as a server that sends and receives.
    pub(crate) fn stream(&self) -> Program {
        let dir = self.user_land("stream");
        compile(&dir.join("program"));
        self.pack(&dir, "/program 5001", Some(5001))
    }

    /// A server of this host with some files.
    pub(crate) fn server(&self, line: &'static str, port: u16, files: &[(&str, &str)]) -> Program {
        let program = Path::new(line.split(' ').next().unwrap());
        let dir = self.user_land(program.file_name().unwrap().to_str().unwrap());
        add_host_program(&dir, program);
        for (name, text) in files {
            let file = dir.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        self.pack(&dir, line, Some(port))
    }

    fn directory(&self, name: &str) -> PathBuf {
        let dir = self.bench.path().join(name);
        // Another part may have made it.
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        dir
    }

    /// A root filesystem with what Linux needs; the built-in runtime gets the same.
    fn user_land(&self, name: &str) -> PathBuf {
        let dir = self.directory(name);
        linux::lay_out(&dir, "").unwrap();
        for inside in ["proc", "sys", "dev", "tmp", "run"] {
            fs::create_dir(dir.join(inside)).unwrap();
        }
        fs::write(dir.join("init"), INIT).unwrap();
        fs::set_permissions(dir.join("init"), fs::Permissions::from_mode(0o755)).unwrap();
        dir
    }

    fn pack(&self, dir: &Path, line: &'static str, port: Option<u16>) -> Program {
        let root = dir.with_extension("cpio");
        let (from, to) = (dir.to_str().unwrap(), root.to_str().unwrap());
        self.bench.ok(["rootfs", "build", from, "-o", to]);
        Program { root, line, port }
    }

    fn command(&self, kernel: Kernel, program: &Program, mebibytes: usize) -> Command {
        // Linux ends where it cannot continue. On a busy host it would take the timer for broken.
        let (file, words) = match kernel {
            Kernel::Builtin => (&self.builtin, "kernel netdev.ip=10.0.2.15/24:10.0.2.2 --"),
            Kernel::Linux if program.port.is_some() => (
                &self.linux,
                "console=ttyS0 quiet panic=-1 no_timer_check --",
            ),
            Kernel::Linux => (
                &self.linux,
                "console=ttyS0 quiet panic=-1 no_timer_check rdinit=/program --",
            ),
            Kernel::Base => (self.base.as_ref().unwrap(), BASE),
        };
        let mut words = words.to_owned();
        // Linux's first process is the program itself, unless it needs the network.
        if kernel != Kernel::Linux || program.port.is_some() {
            words = format!("{words} {}", program.line);
        }
        let net = match (self.network, program.port) {
            (Network::Tap, Some(_)) => "tap,id=net0,ifname=tap0,script=no,downscript=no".to_owned(),
            (Network::User, Some(port)) => {
                format!(
                    "user,id=net0,hostfwd=tcp:127.0.0.1:{}-:{port}",
                    port + 20_000
                )
            }
            (_, None) => "user,id=net0".to_owned(),
        };
        // As kraft does: the small board for the built-in runtime, the large firmware for Unikraft.
        let fast = kernel != Kernel::Base && Path::new("/usr/share/qemu/qboot.rom").is_file();
        let (board, card) = match kernel {
            Kernel::Builtin if fast => (
                "microvm,accel=tcg,acpi=off,rtc=on",
                "virtio-net-device,netdev=net0",
            ),
            Kernel::Builtin => ("pc,accel=tcg,acpi=off", PCI_CARD),
            Kernel::Linux | Kernel::Base => ("pc,accel=tcg", PCI_CARD),
        };
        let always = "-no-user-config -nodefaults -no-reboot -display none -serial stdio -cpu max";
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(always.split(' '))
            .args(["-machine", board, "-m", &format!("{mebibytes}M")])
            .args(["-netdev", &net, "-device", card, "-append", &words])
            .args(["-kernel".as_ref(), file.as_os_str()])
            .args(["-initrd".as_ref(), program.root.as_os_str()]);
        if fast {
            command.args(["-bios", "qboot.rom"]);
        }
        command.stdin(Stdio::null());
        command
    }

    /// What passes from the start of QEMU to the program's first output; `None` if it has none.
    pub(crate) fn time_to_output(
        &self,
        kernel: Kernel,
        program: &Program,
        mebibytes: usize,
    ) -> Option<Span> {
        let mut command = self.command(kernel, program, mebibytes);
        command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
        let start = Instant::now();
        let mut guest = Guest::new(command.stdout(Stdio::piped()), ("", 0));
        let mut console = guest.process.stdout.take().unwrap();
        let (send, received) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
            while let Ok(count) = console.read(&mut buffer)
                && count > 0
            {
                text.extend_from_slice(&buffer[..count]);
                if text.windows(5).any(|word| word == b"hello") {
                    let _ = send.send(start.elapsed());
                    break;
                }
            }
        });
        let taken = received.recv_timeout(PATIENCE).ok()?;
        Some(Span {
            millis: taken.as_secs_f64() * 1e3,
            cpu_millis: guest.cpu_seconds() * 1e3,
        })
    }

    /// Starts a server and waits until it takes connections; `None` if it never does.
    pub(crate) fn start(
        &self,
        kernel: Kernel,
        program: &Program,
        mebibytes: usize,
    ) -> Option<Guest> {
        let mut command = self.command(kernel, program, mebibytes);
        let port = program.port.unwrap();
        let address = match self.network {
            Network::Tap => ("10.0.2.15", port),
            Network::User => ("127.0.0.1", port + 20_000),
        };
        let mut guest = Guest::new(command.stdout(Stdio::null()), address);
        let start = Instant::now();
        while start.elapsed() < PATIENCE && guest.process.try_wait().unwrap().is_none() {
            if guest.answers() {
                return Some(guest);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }
}

/// How long something took.
pub(crate) struct Span {
    /// In milliseconds.
    pub(crate) millis: f64,
    /// What it kept processors busy, in milliseconds.
    pub(crate) cpu_millis: f64,
}

impl Guest {
    fn new(command: &mut Command, address: (&'static str, u16)) -> Guest {
        let process = command.stderr(Stdio::null()).spawn().unwrap();
        Guest { process, address }
    }

    /// The address of the server.
    pub(crate) fn address(&self) -> (&'static str, u16) {
        self.address
    }

    /// A connection to the server that gives up where nothing happens.
    pub(crate) fn connect(&self) -> std::io::Result<TcpStream> {
        let to = format!("{}:{}", self.address.0, self.address.1);
        let stream = TcpStream::connect_timeout(&to.parse().unwrap(), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Whether a connection lasts: QEMU's own network takes all of them and ends those that no
    /// one in the guest wants.
    fn answers(&self) -> bool {
        let to = format!("{}:{}", self.address.0, self.address.1);
        let wait = Duration::from_millis(200);
        let Ok(mut stream) = TcpStream::connect_timeout(&to.parse().unwrap(), wait) else {
            return false;
        };
        stream.set_read_timeout(Some(wait)).unwrap();
        let read = stream.read(&mut [0]);
        read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Seconds of a processor that QEMU's threads have taken so far.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        // The first number is the time on a processor, in nanoseconds. A thread may have ended.
        let busy = |task: fs::DirEntry| -> Option<f64> {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse().ok()
        };
        tasks.filter_map(|task| busy(task.ok()?)).sum::<f64>() / 1e9
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Unikraft's base: a kernel that exists, or one that is built from the sources and kept.
fn base() -> Option<PathBuf> {
    let built = std::env::var_os("KRAFT_UNIKRAFT_BASE").map(PathBuf::from);
    built.or_else(|| {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("unikraft-base");
        let sources = unikraft::sources()?;
        if !kept.is_file() {
            let bench = Bench::new().limit(Duration::from_mins(90));
            let project = unikraft::base(&bench, &sources);
            let _ = unikraft::build(&bench, &project);
            fs::copy(project.join(unikraft::KERNEL), &kept).unwrap();
        }
        Some(kept)
    })
}

/// Compiles the program of these measurements so that each of the kernels runs it.
fn compile(to: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/stream.c");
    let compiled = Command::new("cc")
        .args(["-static-pie", "-O2", "-o"])
        .args([to, &source])
        .status();
    assert!(compiled.unwrap().success());
}
