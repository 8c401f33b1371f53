//! What `kraft build` costs over the make that it drives, alternating in one run.
//!
//! With the miniature core, and with the real Unikraft where `KRAFT_UNIKRAFT` names a directory
//! with clones of `unikraft` and `app-helloworld`. Nothing here fails because of a number.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kraft_e2e::harness::Bench;
use kraft_e2e::source::{copy, write};

fn main() {
    println!(
        "{:<52} {:>10} {:>10} {:>8}",
        "measured | against", "ms", "ms", "ratio"
    );
    let bench = Bench::new();
    let core = copy("core", bench.path());
    let app = copy("apps/app-four-targets", bench.path());
    write(
        &app.join("Kraftfile"),
        &format!(
            "spec: v0.6\nname: app\nunikraft: {}\ntargets: [qemu/x86_64]\n",
            core.display()
        ),
    );
    measure("miniature core", &bench, &core, &app, 9);
    if let Some(clones) = std::env::var_os("KRAFT_UNIKRAFT").map(PathBuf::from) {
        let app = bench.path().join("helloworld");
        std::fs::create_dir(&app).unwrap();
        for file in ["main.c", "monkey.h", "Makefile.uk", "Config.uk"] {
            std::fs::copy(clones.join("app-helloworld").join(file), app.join(file)).unwrap();
        }
        let core = clones.join("unikraft");
        write(
            &app.join("Kraftfile"),
            &format!(
                "spec: v0.6\nname: app\nunikraft: {}\ntargets: [qemu/x86_64]\n",
                core.display()
            ),
        );
        measure("Unikraft helloworld", &bench, &core, &app, 5);
    }
}

fn measure(what: &str, bench: &Bench, core: &Path, app: &Path, rounds: usize) {
    let defconfig = bench.path().join("defconfig");
    write(
        &defconfig,
        "CONFIG_ARCH_X86_64=y\nCONFIG_PLAT_KVM=y\nCONFIG_KVM_VMM_QEMU=y\nCONFIG_UK_NAME=\"app\"\n",
    );
    let plain = bench.path().join("plain");
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let make = format!(
        "make -C '{core}' --no-print-directory A='{app}' O='{out}' C='{out}.config' N=app",
        core = core.display(),
        app = app.display(),
        out = plain.display()
    );
    let script = format!(
        "{make} UK_DEFCONFIG='{}' defconfig && {make} -j{jobs} all",
        defconfig.display()
    );
    let (mut ours, mut theirs, mut nothing) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let _ = std::fs::remove_dir_all(app.join(".unikraft"));
        let _ = std::fs::remove_file(app.join(".config.app_qemu-x86_64"));
        let _ = std::fs::remove_dir_all(&plain);
        let _ = std::fs::remove_file(plain.with_extension("config"));
        ours.push(time(build(bench, app)));
        nothing.push(time(build(bench, app)));
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]);
        theirs.push(time(shell));
    }
    let (ours, theirs, nothing) = (median(ours), median(theirs), median(nothing));
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "{:<52} {:>10.0} {:>10.0} {:>8.3}",
        format!("{what}: first build | make defconfig, make all"),
        ms(ours),
        ms(theirs),
        ours.as_secs_f64() / theirs.as_secs_f64()
    );
    println!(
        "{:<52} {:>10.1}",
        format!("{what}: nothing has changed"),
        ms(nothing)
    );
}

fn build(bench: &Bench, app: &Path) -> Command {
    let mut command = bench.command(["build"]);
    command.current_dir(app);
    command
}

fn time(mut command: Command) -> Duration {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    assert!(command.status().unwrap().success(), "{command:?}");
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
