//! Boots the kernel in QEMU with small C programs that print lines of the Test Anything
//! Protocol, and compares all of what they print.
//!
//! What is needed is a kernel (`cargo build --release --target x86_64-unknown-none`, or the
//! `quick` profile; the newest one is taken), `qemu-system-x86_64` and a C compiler with a
//! static library; for arm64 `aarch64-unknown-none-softfloat`, `qemu-system-aarch64` and
//! `aarch64-linux-gnu-gcc`. Without them a test says why it is skipped.
//!
//! `KRAFT_FUZZ_SECONDS` makes the run of random system calls longer.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// What is different between architectures.
struct Arch {
    name: &'static str,
    target: &'static str,
    compiler: &'static str,
    qemu: &'static str,
    board: &'static [&'static str],
}

const X86_64: Arch = Arch {
    name: "x86_64",
    target: "x86_64-unknown-none",
    compiler: "cc",
    qemu: "qemu-system-x86_64",
    board: &[
        "-machine",
        "pc,accel=tcg",
        "-vga",
        "none",
        "-device",
        "isa-debug-exit,iobase=0xf4,iosize=4",
    ],
};

const ARM64: Arch = Arch {
    name: "arm64",
    target: "aarch64-unknown-none-softfloat",
    compiler: "aarch64-linux-gnu-gcc",
    qemu: "qemu-system-aarch64",
    board: &["-machine", "virt,accel=tcg"],
};

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a program to its end, which must be good.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Arch {
    /// A file for what a test makes.
    fn scratch(&self, name: &str) -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", self.name))
    }

    /// The newest kernel that was built, as QEMU loads it; the file is called `name`.
    fn kernel(&self, name: &str) -> Result<PathBuf, String> {
        let built = here().join("target").join(self.target);
        let found = ["release", "quick"].map(|profile| built.join(profile).join("kraft-runtime"));
        let modified = |path: &PathBuf| fs::metadata(path).and_then(|data| data.modified()).ok();
        let elf = found
            .into_iter()
            .filter(|path| path.exists())
            .max_by_key(|path| modified(path).unwrap_or(SystemTime::UNIX_EPOCH))
            .ok_or_else(|| {
                let target = self.target;
                format!("no kernel: `cargo build --release --target {target}` makes one")
            })?;
        if self.name == "x86_64" {
            return Ok(elf);
        }
        let image = self.scratch(&format!("{name}.image"));
        let formats = ["-I", "elf64-little", "-O", "binary"];
        run(Command::new("objcopy").args(formats).args([&elf, &image]))?;
        Ok(image)
    }

    /// Compiles a guest program.
    fn compile(&self, name: &str) -> Result<Vec<u8>, String> {
        let out = self.scratch(name);
        let source = here().join(format!("tests/guest/{name}.c"));
        let options = ["-static", "-O1", "-pthread", "-o"];
        run(Command::new(self.compiler)
            .args(options)
            .args([&out, &source]))?;
        fs::read(&out).map_err(|error| error.to_string())
    }
}

/// An archive ("newc") with one program in `/bin`.
fn archive(name: &str, program: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut add = |path: &str, mode: u32, data: &[u8]| {
        let (length, size) = (path.len() + 1, data.len());
        let fields = [
            1,
            mode,
            0,
            0,
            1,
            0,
            size as u32,
            0,
            0,
            0,
            0,
            length as u32,
            0,
        ];
        archive.extend_from_slice(b"070701");
        for field in fields {
            archive.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        archive.extend_from_slice(path.as_bytes());
        archive.push(0);
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend_from_slice(data);
        archive.resize(archive.len().next_multiple_of(4), 0);
    };
    add("bin", 0o040_755, b"");
    add(&format!("bin/{name}"), 0o100_755, program);
    add("TRAILER!!!", 0, b"");
    archive
}

/// Boots the kernel with a guest program; its output and its exit status. `None` if this host
/// cannot. `more` are options of QEMU.
fn boot(
    arch: &Arch,
    name: &str,
    arguments: &str,
    more: &[&str],
    limit: Duration,
) -> Option<(String, i32)> {
    let prepared = run(Command::new(arch.qemu).arg("--version"))
        .and_then(|()| Ok((arch.kernel(name)?, arch.compile(name)?)));
    let (kernel, program) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => {
            eprintln!("skipped: {why}");
            return None;
        }
    };
    let initrd = arch.scratch(&format!("{name}.cpio"));
    let shown = arch.scratch(&format!("{name}.out"));
    fs::write(&initrd, archive(name, &program)).expect("the archive is written");
    let output = fs::File::create(&shown).expect("the output is kept");
    let mut machine = Command::new(arch.qemu)
        .args(arch.board)
        .args(["-cpu", "max", "-m", "128M"])
        .args(["-display", "none", "-monitor", "none"])
        .args(["-serial", "stdio", "-no-reboot"])
        .args(more)
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(&initrd)
        .args(["-append", &format!("kernel x=1 -- /bin/{name} {arguments}")])
        .stdin(Stdio::null())
        .stdout(output)
        .spawn()
        .expect("QEMU starts");
    let end = Instant::now() + limit;
    let status = loop {
        if let Some(status) = machine.try_wait().expect("QEMU can be waited for") {
            break status.code().unwrap_or(-1);
        }
        if Instant::now() > end {
            machine.kill().expect("QEMU can be ended");
            machine.wait().expect("QEMU can be waited for");
            break -1;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let text = fs::read(&shown).expect("the output is there");
    let text = String::from_utf8_lossy(&text).replace('\r', "");
    if status < 0 {
        return Some((text, status));
    }
    // The exit status of the guest is in the upper bits, or in the last line.
    let Some((before, told)) = text.rsplit_once("kraft: exit status ") else {
        return Some((text, status >> 1));
    };
    let told = told.trim().parse().unwrap_or(-1);
    Some((before.to_owned(), told))
}

/// No network device.
const ALONE: &[&str] = &["-nic", "none"];

/// Boots with a program whose output has to be that of `NAME.tap`.
fn check(arch: &Arch, name: &str) {
    let Some((text, status)) = boot(arch, name, "", ALONE, Duration::from_secs(120)) else {
        return;
    };
    let expected = fs::read_to_string(here().join(format!("tests/guest/{name}.tap")))
        .expect("the expected output is there");
    assert_eq!(text, expected);
    assert_eq!(status, 0);
}

/// Random system calls for some seconds.
fn fuzz(arch: &Arch) {
    let seconds = std::env::var("KRAFT_FUZZ_SECONDS").ok();
    let seconds: u64 = seconds.and_then(|text| text.parse().ok()).unwrap_or(5);
    let seed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(1, |time| time.as_secs());
    let arguments = format!("{seconds} {seed}");
    let limit = Duration::from_secs(60 + 2 * seconds);
    let Some((text, status)) = boot(arch, "fuzz", &arguments, ALONE, limit) else {
        return;
    };
    assert!(
        status == 0 && text.contains("\nok 1 - the kernel survives\n1..1\n"),
        "seed {seed}, status {status}:\n{text}"
    );
}

/// The tests of an architecture.
macro_rules! tests {
    ($arch:expr) => {
        use super::*;

        #[test]
        fn processes() {
            check(&$arch, "processes");
        }

        #[test]
        fn signals() {
            check(&$arch, "signals");
        }

        #[test]
        fn memory() {
            check(&$arch, "memory");
        }

        #[test]
        fn files() {
            check(&$arch, "files");
        }

        #[test]
        fn tables() {
            check(&$arch, "tables");
        }

        #[test]
        fn random_system_calls() {
            fuzz(&$arch);
        }
    };
}

mod x86_64 {
    tests!(X86_64);
}

mod arm64 {
    tests!(ARM64);
}

#[test]
fn a_crash_names_the_function() {
    let limit = Duration::from_secs(60);
    let Some((text, status)) = boot(&X86_64, "crash", "", ALONE, limit) else {
        return;
    };
    assert_eq!(status, 11, "{text}");
    let start = "kraft: crash (process 2) crashed: SIGSEGV at address 0x18, instruction 0x";
    let told =
        text.starts_with(start) && text.contains(" (fall+0x") && text.contains("), stack 0x");
    assert!(told, "{text}");
}

#[test]
fn no_program_takes_the_memory_of_the_kernel() {
    let limit = Duration::from_secs(600);
    // Little memory is taken soon.
    let little = ["-nic", "none", "-m", "32M"];
    let Some((text, status)) = boot(&X86_64, "exhaust", "", &little, limit) else {
        return;
    };
    let failed = text.lines().any(|line| line.starts_with("not ok"));
    assert!(
        status == 0 && !failed && text.contains("\n1..14\n"),
        "{text}"
    );
    let names = boot(
        &X86_64,
        "exhaust",
        "names",
        &little,
        Duration::from_secs(200),
    );
    let (text, status) = names.unwrap_or_default();
    assert!((0..125).contains(&status), "{status}: {text}");
}

/// The guest sends datagrams of many lengths to a socket of this host, which sends them back.
#[test]
fn datagrams_of_every_length_travel_and_no_interrupt_is_spurious() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
    let port = socket.local_addr().expect("it has an address").port();
    std::thread::spawn(move || {
        let mut bytes = vec![0; 65_536];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            let _ = socket.send_to(&bytes[..length], from);
        }
    });
    let log = X86_64.scratch("interrupts");
    let log_option = log.display().to_string();
    let card = [
        "-nic",
        "user,model=virtio-net-pci",
        "-d",
        "int",
        "-D",
        &log_option,
    ];
    let limit = Duration::from_secs(120);
    let Some((text, status)) = boot(&X86_64, "datagrams", &port.to_string(), &card, limit) else {
        return;
    };
    assert_eq!(status, 0, "{text}");
    let interrupts = fs::read_to_string(&log).expect("QEMU writes its log");
    let count = |vector: &str| {
        let line = format!("Servicing hardware INT={vector}");
        interrupts
            .lines()
            .filter(|one| one.ends_with(&line))
            .count()
    };
    // Lines 10 and 11 are those of PCI devices; 7 and 15 stand for lines that let go too early.
    assert!(count("0x2a") + count("0x2b") > 10);
    assert_eq!([count("0x27"), count("0x2f")], [0, 0]);
}
