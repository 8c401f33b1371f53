//! Boots the kernel in QEMU with small C programs that print lines of the Test Anything
//! Protocol, and compares all of what they print.
//!
//! What is needed is a kernel (`cargo build --release --target x86_64-unknown-none`, or the
//! `quick` profile; the newest one is taken), `qemu-system-x86_64` and a C compiler with a
//! static library. Without them a test says why it is skipped.
//!
//! `KRAFT_FUZZ_SECONDS` makes the run of random system calls longer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

const QEMU: &str = "qemu-system-x86_64";

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The newest kernel that was built.
fn kernel() -> Result<PathBuf, String> {
    let built = here().join("target/x86_64-unknown-none");
    let found = ["release", "quick"].map(|profile| built.join(profile).join("kraft-runtime"));
    let modified = |path: &PathBuf| fs::metadata(path).and_then(|data| data.modified()).ok();
    found
        .into_iter()
        .filter(|path| path.exists())
        .max_by_key(|path| modified(path).unwrap_or(SystemTime::UNIX_EPOCH))
        .ok_or_else(|| {
            "no kernel: `cargo build --release --target x86_64-unknown-none` makes one".to_owned()
        })
}

/// Compiles a guest program.
fn compile(name: &str) -> Result<Vec<u8>, String> {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let source = here().join(format!("tests/guest/{name}.c"));
    let output = Command::new("cc")
        .args(["-static", "-O1", "-pthread", "-o"])
        .args([&out, &source])
        .output()
        .map_err(|error| format!("cc: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    fs::read(&out).map_err(|error| error.to_string())
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
/// cannot.
fn boot(name: &str, arguments: &str, limit: Duration) -> Option<(String, i32)> {
    let prepared = kernel().and_then(|kernel| {
        Command::new(QEMU)
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .map_err(|error| format!("{QEMU}: {error}"))?;
        Ok((kernel, compile(name)?))
    });
    let (kernel, program) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => {
            eprintln!("skipped: {why}");
            return None;
        }
    };
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let initrd = scratch.join(format!("{name}.cpio"));
    let shown = scratch.join(format!("{name}.out"));
    fs::write(&initrd, archive(name, &program)).expect("the archive is written");
    let output = fs::File::create(&shown).expect("the output is kept");
    let mut machine = Command::new(QEMU)
        .args(["-machine", "pc,accel=tcg", "-cpu", "max", "-m", "128M"])
        .args(["-display", "none", "-vga", "none", "-monitor", "none"])
        .args(["-serial", "stdio", "-no-reboot", "-nic", "none"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
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
    // The exit status of the guest is in the upper bits.
    Some((text, if status < 0 { status } else { status >> 1 }))
}

/// Boots with a program whose output has to be that of `NAME.tap`.
fn check(name: &str) {
    let Some((text, status)) = boot(name, "", Duration::from_secs(120)) else {
        return;
    };
    let expected = fs::read_to_string(here().join(format!("tests/guest/{name}.tap")))
        .expect("the expected output is there");
    assert_eq!(text, expected);
    assert_eq!(status, 0);
}

#[test]
fn processes() {
    check("processes");
}

#[test]
fn signals() {
    check("signals");
}

#[test]
fn memory() {
    check("memory");
}

#[test]
fn files() {
    check("files");
}

#[test]
fn tables() {
    check("tables");
}

#[test]
fn a_crash_names_the_function() {
    let Some((text, status)) = boot("crash", "", Duration::from_secs(60)) else {
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
    let Some((text, status)) = boot("exhaust", "", Duration::from_secs(600)) else {
        return;
    };
    let failed = text.lines().any(|line| line.starts_with("not ok"));
    assert!(
        status == 0 && !failed && text.contains("\n1..14\n"),
        "{text}"
    );
    let names = boot("exhaust", "names", Duration::from_secs(200));
    let (text, status) = names.unwrap_or_default();
    assert!((0..125).contains(&status), "{status}: {text}");
}

#[test]
fn random_system_calls() {
    let seconds = std::env::var("KRAFT_FUZZ_SECONDS").ok();
    let seconds: u64 = seconds.and_then(|text| text.parse().ok()).unwrap_or(5);
    let seed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(1, |time| time.as_secs());
    let arguments = format!("{seconds} {seed}");
    let limit = Duration::from_secs(60 + 2 * seconds);
    let Some((text, status)) = boot("fuzz", &arguments, limit) else {
        return;
    };
    assert!(
        status == 0 && text.contains("\nok 1 - the kernel survives\n1..1\n"),
        "seed {seed}, status {status}:\n{text}"
    );
}
