//! The built-in runtime beside Debian's Linux kernel, in the same QEMU without KVM and with the same
//! root filesystem, alternating in one run: start, memory, requests, throughput, size.
//!
//! Unikraft's base joins in the start where `KRAFT_UNIKRAFT_BASE` names its kernel (what `kraft
//! build` makes of the catalog's `base`). Debian's kernel comes from
//! `scripts/fetch-linux-guest.sh`, wrk, redis and nginx from Debian's packages; what is missing is
//! skipped. Nothing here fails because of a number.
//!
//! `cargo bench -p kraft-e2e --bench runtime -- redis` measures one of the parts `start`, `nginx`,
//! `redis`, `stream` and `memory`. The last column compares the time of processors that QEMU takes
//! for the same work: on a busy host it says more than the other ratios.
//!
//! The host reaches the guests by a tap device in a network namespace of this process, or, where
//! it may not make one, by QEMU's own network.

mod guest;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use guest::{Guest, Kernel, Network, Program, Rig};
use kraft_e2e::harness::skip;
use kraft_e2e::registry::installed;

const STARTS: usize = 9;
const ROUNDS: usize = 3;
/// What the machines have when their memory is not what is measured.
const MEBIBYTES: usize = 256;
const BYTES: usize = 100_000_000;
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
            let span = rig.time_to_output(*kernel, &hello, 128).unwrap();
            wall.push(span.millis);
            cpu.push(span.cpu_millis);
        }
    }
    let times: Vec<[f64; 2]> = times.into_iter().map(|it| it.map(median)).collect();
    let [wall, cpu] = times[0];
    for ([other, busy], name) in times.iter().skip(1).zip(["Linux", "Unikraft's base"]) {
        let what = format!("start of QEMU to output | {name}, ms");
        row(&what, wall, *other, Some(cpu / busy));
    }
    if !rig.has_base() {
        skip("KRAFT_UNIKRAFT_BASE names no kernel of Unikraft");
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

type Measurement<'a> = (&'a str, &'a dyn Fn(&Guest) -> f64);

/// Measures rates (more is better); the last column compares the time of QEMU's processors for the same work.
fn compare(rig: &Rig, program: &Program, measurements: &[Measurement<'_>]) {
    let mut rates = vec![[Vec::new(), Vec::new()]; measurements.len()];
    let mut costs = rates.clone();
    for _ in 0..ROUNDS {
        for (at, kernel) in [Kernel::Builtin, Kernel::Linux].into_iter().enumerate() {
            let guest = rig.start(kernel, program, MEBIBYTES);
            let guest = guest.expect("the server answers");
            for (index, (_, measure)) in measurements.iter().enumerate() {
                let (start, busy) = (Instant::now(), guest.cpu_seconds());
                let rate = measure(&guest);
                let done = rate * start.elapsed().as_secs_f64();
                rates[index][at].push(rate);
                costs[index][at].push((guest.cpu_seconds() - busy) / done);
            }
        }
    }
    for (((what, _), rates), costs) in measurements.iter().zip(rates).zip(costs) {
        let ([ours, theirs], [cheap, dear]) = (rates.map(median), costs.map(median));
        row(what, ours, theirs, Some(cheap / dear));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn output(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn wrk(guest: &Guest, connections: usize) -> f64 {
    let (host, port) = guest.address();
    let mut command = Command::new("wrk");
    command.args(["-t1", &format!("-c{connections}"), "-d5s"]);
    let text = output(command.arg(format!("http://{host}:{port}/index.html")));
    let rate = text
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"));
    rate.unwrap().trim().parse().unwrap()
}

fn ask(guest: &Guest, what: &str, connections: usize) -> f64 {
    let (host, port) = guest.address();
    let count = if connections == 1 { 5_000 } else { 20_000 };
    let mut command = Command::new("redis-benchmark");
    command.args(["-h", host, "-p", &port.to_string(), "--csv", "-t", what]);
    command.args(["-c", &connections.to_string(), "-n", &format!("{count}")]);
    let text = output(&mut command);
    let line = text.lines().last().unwrap();
    line.split('"').nth(3).unwrap().parse().unwrap()
}

fn receive(guest: &Guest) -> f64 {
    let mut stream = guest.connect();
    let (mut buffer, mut done) = (vec![0; 1 << 18], 0);
    let start = Instant::now();
    stream.write_all(b"s").unwrap();
    while done < BYTES {
        match stream.read(&mut buffer).unwrap() {
            0 => panic!("only {done} bytes came"),
            count => done += count,
        }
    }
    BYTES as f64 / 1e6 / start.elapsed().as_secs_f64()
}

fn send(guest: &Guest) -> f64 {
    let mut stream = guest.connect();
    let start = Instant::now();
    stream.write_all(b"r").unwrap();
    stream.write_all(&vec![0; BYTES]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"k");
    BYTES as f64 / 1e6 / start.elapsed().as_secs_f64()
}
