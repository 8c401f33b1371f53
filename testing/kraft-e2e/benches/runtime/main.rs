//! The built-in runtime beside Debian's Linux kernel, in the same QEMU without KVM and with the same
//! root filesystem, alternating in one run: start, memory, requests, throughput, size.
//!
//! Unikraft's base joins in the start where `KRAFT_UNIKRAFT_BASE` names its kernel (what `kraft
//! build` makes of the catalog's `base`) or `KRAFT_UNIKRAFT_SOURCES` the clones to build it of.
//! Debian's kernel comes from `scripts/fetch-linux-guest.sh`, wrk, redis and nginx from Debian's
//! packages; what is missing is skipped. Nothing here fails because of a number, and a machine that
//! stops to answer leaves a gap in the table.
//!
//! `cargo bench -p kraft-e2e --bench runtime -- redis` measures one of the parts `start`, `nginx`,
//! `redis`, `stream` and `memory`. The last column compares the time of processors that QEMU takes
//! for the same work: on a busy host it says more than the other ratios.
//!
//! The host reaches the guests by a tap device in a network namespace of this process, or, where
//! it may not make one, by QEMU's own network.

mod guest;

use std::io::{Error, Read, Write};
use std::net::Shutdown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use guest::{Guest, Kernel, Network, Program, Rig};
use kraft_e2e::harness::skip;
use kraft_e2e::registry::installed;

const STARTS: usize = 15;
const ROUNDS: usize = 5;
/// What the machines have when their memory is not what is measured.
const MEBIBYTES: usize = 256;
const BYTES: usize = 100_000_000;
/// How long a client may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// The first argument of this program in its own network namespace.
const TAP: &str = "--with-a-tap-device";
const NO_TAP: &str = "--without-a-tap-device";

const NGINX: &[(&str, &str)] = &[
    (
        "etc/nginx/nginx.conf",
        "user root root;\ndaemon off;\nerror_log stderr;\npid /run/nginx.pid;\n\
         events { worker_connections 256; }\n\
         http { access_log off; keepalive_requests 100000000;\n\
         server { listen 80; location / { root /www; } } }\n",
    ),
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
    ("etc/group", "root:x:0:\n"),
    ("var/log/nginx/error.log", ""),
    ("var/lib/nginx/empty", ""),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let network = match words.first().map(String::as_str) {
        Some(TAP) => Network::Tap,
        Some(NO_TAP) => Network::User,
        _ => separate(&words),
    };
    let rig = match Rig::new(network) {
        Ok(rig) => rig,
        Err(missing) => return skip(&missing),
    };
    println!(
        "{:<44} {:>10} {:>10} {:>7} {:>9}",
        "measured | against Linux", "built-in", "other", "ratio", "CPU ratio"
    );
    type Part = (&'static str, fn(&Rig));
    let parts: [Part; 5] = [
        ("start", start),
        ("nginx", nginx),
        ("redis", redis),
        ("stream", stream),
        ("memory", memory),
    ];
    let wished: Vec<&String> = words
        .iter()
        .filter(|word| !word.starts_with("--"))
        .collect();
    for (name, measure) in parts {
        if wished.is_empty() || wished.iter().any(|word| *word == name) {
            measure(&rig);
        }
    }
}

/// Runs this program again in a network namespace with a tap device. Returns if there can be none.
fn separate(words: &[String]) -> Network {
    let mut isolation = vec!["--net", "--"];
    if !rustix::process::geteuid().is_root() {
        isolation.insert(0, "--map-root-user");
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(&isolation);
        command
    };
    if unshare().arg("true").status().is_ok_and(|it| it.success()) {
        let script = format!(
            "ip link set lo up; ip tuntap add tap0 mode tap && ip addr add 10.0.2.2/24 dev tap0 && \
             ip link set tap0 up && exec \"$0\" {TAP} \"$@\"; exec \"$0\" {NO_TAP} \"$@\""
        );
        let program = std::env::current_exe().unwrap();
        let mut again = unshare();
        again.args(["sh", "-c", &script]).arg(program).args(words);
        let error = again.exec();
        skip(&format!("a network of its own: {error}"));
    }
    Network::User
}

fn row(what: &str, ours: f64, theirs: f64, cpu: Option<f64>) {
    let cpu = cpu.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    println!(
        "{what:<44} {ours:>10.1} {theirs:>10.1} {:>7.3} {cpu:>9}",
        ours / theirs
    );
}

fn start(rig: &Rig) {
    let [ours, theirs] = rig.sizes().map(|bytes| bytes as f64 / 1024.0);
    row("compressed kernel, KiB", ours, theirs, None);
    let hello = rig.hello();
    let mut kernels = vec![Kernel::Builtin, Kernel::Linux];
    if rig.has_base() {
        kernels.push(Kernel::Base);
    }
    let mut times = vec![[Vec::new(), Vec::new()]; kernels.len()];
    for _ in 0..STARTS {
        for (kernel, [wall, cpu]) in kernels.iter().zip(&mut times) {
            if let Some(span) = rig.time_to_output(*kernel, &hello, 128) {
                wall.push(span.millis);
                cpu.push(span.cpu_millis);
            }
        }
    }
    let [wall, cpu] = times.remove(0);
    for (others, name) in times.into_iter().zip(["Linux", "Unikraft's base"]) {
        let what = format!("start of QEMU to output | {name}, ms");
        let ours = [wall.clone(), cpu.clone()];
        compare_medians(&what, ours, others);
    }
    if !rig.has_base() {
        skip("neither KRAFT_UNIKRAFT_BASE nor KRAFT_UNIKRAFT_SOURCES is set");
    }
}

fn memory(rig: &Rig) {
    let measure = |what, program: &Program, works: &dyn Fn(Kernel, usize) -> bool| {
        let [ours, theirs] =
            [Kernel::Builtin, Kernel::Linux].map(|kernel| least(|size| works(kernel, size)));
        let what = format!("memory for {what} (root: {:.1}), MiB", program.mebibytes());
        row(&what, ours, theirs, None);
    };
    let hello = rig.hello();
    measure("hello", &hello, &|kernel, size| {
        rig.time_to_output(kernel, &hello, size).is_some()
    });
    if let Some(nginx) = nginx_program(rig) {
        measure("nginx", &nginx, &|kernel, size| {
            rig.start(kernel, &nginx, size).is_some()
        });
    }
}

/// nginx with a page of 616 bytes.
fn nginx_program(rig: &Rig) -> Option<Program> {
    if !Path::new("/usr/sbin/nginx").is_file() {
        skip("nginx is not installed");
        return None;
    }
    let page = "0123456789\n".repeat(56);
    let mut files = NGINX.to_vec();
    files.push(("www/index.html", &page));
    Some(rig.server("/usr/sbin/nginx", 80, &files))
}

fn nginx(rig: &Rig) {
    let Some(program) = nginx_program(rig) else {
        return;
    };
    if !installed("wrk") {
        return skip("wrk is not installed");
    }
    let measurements: [Measurement<'_>; 2] = [
        ("nginx, 1 connection, requests/s", &|guest| wrk(guest, 1)),
        ("nginx, 32 connections, requests/s", &|guest| wrk(guest, 32)),
    ];
    compare(rig, &program, &measurements);
}

fn redis(rig: &Rig) {
    let line = "/usr/bin/redis-server --save \"\" --protected-mode no";
    if !installed("redis-benchmark") || !Path::new("/usr/bin/redis-server").is_file() {
        return skip("redis-tools or redis-server is not installed");
    }
    let measurements: [Measurement<'_>; 4] = [
        ("redis GET, 1 connection, requests/s", &|it| {
            ask(it, "get", 1)
        }),
        ("redis SET, 1 connection, requests/s", &|it| {
            ask(it, "set", 1)
        }),
        ("redis GET, 50 connections, requests/s", &|it| {
            ask(it, "get", 50)
        }),
        ("redis SET, 50 connections, requests/s", &|it| {
            ask(it, "set", 50)
        }),
    ];
    compare(rig, &rig.server(line, 6379, &[]), &measurements);
}

fn stream(rig: &Rig) {
    let measurements: [Measurement<'_>; 2] = [
        ("the guest sends 100 MB, MB/s", &receive),
        ("the guest receives 100 MB, MB/s", &send),
    ];
    compare(rig, &rig.stream(), &measurements);
}

/// The least mebibytes with which something works, to about a tenth.
fn least(works: impl Fn(usize) -> bool) -> f64 {
    let (mut fails, mut enough) = (2, MEBIBYTES);
    while enough - fails > (enough / 10).max(1) {
        let middle = usize::midpoint(fails, enough);
        if works(middle) {
            enough = middle;
        } else {
            fails = middle;
        }
    }
    enough as f64
}

/// Measures something; none if the machine does not answer.
type Measurement<'a> = (&'a str, &'a dyn Fn(&Guest) -> Option<f64>);

/// Measures rates (more is better); the last column compares the time of QEMU's processors for the same work.
fn compare(rig: &Rig, program: &Program, measurements: &[Measurement<'_>]) {
    let mut rates = vec![[Vec::new(), Vec::new()]; measurements.len()];
    let mut costs = rates.clone();
    for _ in 0..ROUNDS {
        for (at, kernel) in [Kernel::Builtin, Kernel::Linux].into_iter().enumerate() {
            let mut guest = None;
            for (index, (what, measure)) in measurements.iter().enumerate() {
                if guest.is_none() {
                    guest = rig.start(kernel, program, MEBIBYTES);
                }
                let Some(running) = &guest else {
                    eprintln!("{what}: {kernel:?} does not start");
                    continue;
                };
                let (start, busy) = (Instant::now(), running.cpu_seconds());
                let Some(rate) = measure(running) else {
                    eprintln!("{what}: {kernel:?} does not answer");
                    guest = None;
                    continue;
                };
                let done = rate * start.elapsed().as_secs_f64();
                rates[index][at].push(rate);
                costs[index][at].push((running.cpu_seconds() - busy) / done);
            }
        }
    }
    for (((what, _), [our_rates, rates]), [our_costs, costs]) in
        measurements.iter().zip(rates).zip(costs)
    {
        compare_medians(what, [our_rates, our_costs], [rates, costs]);
    }
}

/// Prints a row: what was measured, and the times of processors.
fn compare_medians(what: &str, ours: [Vec<f64>; 2], theirs: [Vec<f64>; 2]) {
    if ours.iter().chain(&theirs).any(Vec::is_empty) {
        println!("{what:<44} {:>10}", "no answer");
        return;
    }
    let ([ours, busy], [theirs, theirs_busy]) = (ours.map(median), theirs.map(median));
    row(what, ours, theirs, Some(busy / theirs_busy));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What a client prints; none if it fails or does not come to its end.
fn output(command: &mut Command) -> Option<String> {
    let mut client = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut printed = client.stdout.take().unwrap();
    let (send, received) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let _ = send.send(printed.read_to_string(&mut text).map(|_| text));
    });
    let text = received.recv_timeout(PATIENCE);
    if text.is_err() {
        let _ = client.kill();
    }
    let status = client.wait().unwrap();
    text.ok()?.ok().filter(|_| status.success())
}

fn wrk(guest: &Guest, connections: usize) -> Option<f64> {
    let (host, port) = guest.address();
    let mut command = Command::new("wrk");
    command.args(["-t1", &format!("-c{connections}"), "-d4s"]);
    let text = output(command.arg(format!("http://{host}:{port}/index.html")))?;
    let rate = text
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"));
    rate?.trim().parse().ok().filter(|&rate| rate > 0.0)
}

fn ask(guest: &Guest, what: &str, connections: usize) -> Option<f64> {
    let (host, port) = guest.address();
    let count = if connections == 1 { 5_000 } else { 20_000 };
    let mut command = Command::new("redis-benchmark");
    command.args(["-h", host, "-p", &port.to_string(), "--csv", "-t", what]);
    command.args(["-c", &connections.to_string(), "-n", &format!("{count}")]);
    let text = output(&mut command)?;
    text.lines().last()?.split('"').nth(3)?.parse().ok()
}

/// The rate of something that transfers [`BYTES`], unless it fails.
fn rate(transfer: impl FnOnce() -> Result<(), Error>) -> Option<f64> {
    let start = Instant::now();
    match transfer() {
        Ok(()) => Some(BYTES as f64 / 1e6 / start.elapsed().as_secs_f64()),
        Err(error) => {
            eprintln!("after {:.1} s: {error}", start.elapsed().as_secs_f64());
            None
        }
    }
}

fn receive(guest: &Guest) -> Option<f64> {
    rate(|| {
        let mut stream = guest.connect()?;
        let (mut buffer, mut done) = (vec![0; 1 << 18], 0);
        stream.write_all(b"s")?;
        while done < BYTES {
            match stream.read(&mut buffer)? {
                0 => return Err(Error::other(format!("only {done} bytes came"))),
                count => done += count,
            }
        }
        Ok(())
    })
}

fn send(guest: &Guest) -> Option<f64> {
    rate(|| {
        let mut stream = guest.connect()?;
        stream.write_all(b"r")?;
        stream.write_all(&vec![0; BYTES])?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = [0];
        stream.read_exact(&mut answer)?;
        assert_eq!(&answer, b"k");
        Ok(())
    })
}
