//! Health checks: the monitor tries whether the service in a machine works, and records the result.
//!
//! A machine in a network is reached through the network, by the process that holds it; any other
//! through its published port.
//!
//! The result is in `health.json` of the machine's directory, which is replaced when it changes.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use kraft_core::lifecycle::{Health, HealthCheck, HealthProbe};
use kraft_core::port::{PortMapping, Protocol};
use kraft_net::Networks;
use kraft_sys::fs;
use kraft_sys::usage::Usage;
use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::layout::MachineDir;
use crate::machines::{Machines, Purpose};
use crate::record::Record;

/// How long a connection must last to count: where a VMM forwards the port, it accepts every
/// connection, and closes it when the guest refuses it.
const REFUSAL: Duration = Duration::from_millis(500);

/// The longest time between two checks until the first success. Failures of checks that are not due
/// do not count.
const EARLY: Duration = Duration::from_secs(1);

/// The time over which the use of processors is measured, before a snapshot is made of a machine whose
/// port is only known to be open.
const QUIET_INTERVAL: Duration = Duration::from_millis(250);

/// The number of such times in a row after which it is ready.
const QUIET_INTERVALS: u32 = 3;

/// The share of a processor of which it uses less: a tenth.
const QUIET_SHARE: u32 = 10;

/// How long that is waited for: some programs are never quiet.
const QUIET_LIMIT: Duration = Duration::from_mins(1);

/// How long a guest may take to see the end of a connection.
pub(crate) const SETTLE: Duration = Duration::from_millis(250);

/// The maximal length of the status line of an HTTP response, in bytes.
const MAX_STATUS_LINE: usize = 4096;

/// The maximal size of a recorded result in bytes.
const MAX_RESULT: u64 = 4096;

/// The recorded result of the checks.
#[derive(Debug, Serialize, Deserialize)]
struct Recorded {
    status: Health,
    /// The number of failures in a row.
    failures: u32,
    /// The last failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Returns the result of the checks of a machine that runs.
pub(crate) fn read(dir: &MachineDir) -> Health {
    let bytes = fs::read_file(&dir.health(), MAX_RESULT).ok();
    let recorded = bytes.and_then(|bytes| serde_json::from_slice::<Recorded>(&bytes).ok());
    recorded.map_or(Health::Starting, |recorded| recorded.status)
}

/// Forgets the result of an earlier run.
pub(crate) fn reset(dir: &MachineDir) -> Result<(), fs::Error> {
    fs::remove_file(&dir.health())
}

/// Checks the health of a machine on a thread of its own, until it is dropped.
#[derive(Debug)]
pub(crate) struct Checker {
    _stop: Sender<()>,
}

impl Checker {
    /// Starts to check the present run of a machine; `None` if there is nothing to check.
    pub(crate) fn start(dir: &MachineDir, machines: &Machines) -> Option<Self> {
        let record = Record::load(dir).ok()?;
        let check = record.spec.get().lifecycle.health.clone()?;
        let target = Target::of(&record, machines.networks(), check.probe.port())?;
        let (stop, stopped) = mpsc::channel();
        let (dir, machines, id) = (dir.clone(), machines.clone(), record.id);
        let mut warm = record.warm.clone();
        let run = move || {
            let began = Instant::now();
            let mut recorded = Recorded {
                status: read(&dir),
                failures: 0,
                error: None,
            };
            let interval = Duration::from_millis(check.interval_ms.max(1));
            let mut checked = began;
            loop {
                let pause = match recorded.status {
                    Health::Starting => interval.min(EARLY),
                    Health::Healthy | Health::Unhealthy => interval,
                };
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                let outcome = probe(&check, &target);
                let is_due = checked.elapsed() >= interval;
                if outcome.is_err() && !is_due {
                    continue;
                }
                checked = Instant::now();
                // The machine may have ended meanwhile: its next run has another result.
                if stopped.try_recv() == Err(mpsc::TryRecvError::Disconnected) {
                    return;
                }
                record_outcome(&mut recorded, &check, outcome, began.elapsed(), &dir);
                if recorded.status == Health::Healthy
                    && let Some(name) = warm.take()
                {
                    // That a port is open says little: a program may listen before it is ready.
                    let is_open_only = matches!(check.probe, HealthProbe::Tcp { .. });
                    if is_open_only && !wait_until_quiet(&dir, &stopped) {
                        return;
                    }
                    keep_warm(&machines, id, &name, &dir);
                }
            }
        };
        let name = "health".to_owned();
        std::thread::Builder::new().name(name).spawn(run).ok()?;
        Some(Self { _stop: stop })
    }
}

/// Waits until a machine uses hardly any processor time, as a server does that waits for requests, for
/// [`QUIET_LIMIT`] at most; `false` if it ends before.
fn wait_until_quiet(dir: &MachineDir, stopped: &Receiver<()>) -> bool {
    let cpu = || {
        let vmm = Record::load(dir).ok()?.run?.vmm?;
        Some(Usage::of(&vmm)?.cpu)
    };
    let began = Instant::now();
    let (mut before, mut quiet) = (cpu(), 0);
    while quiet < QUIET_INTERVALS && began.elapsed() < QUIET_LIMIT {
        let at = Instant::now();
        if stopped.recv_timeout(QUIET_INTERVAL) != Err(RecvTimeoutError::Timeout) {
            return false;
        }
        let now = cpu();
        let used = now
            .zip(before)
            .map(|(now, before)| now.saturating_sub(before));
        let is_quiet = used.is_some_and(|used| used < at.elapsed() / QUIET_SHARE);
        quiet = if is_quiet { quiet + 1 } else { 0 };
        before = now;
    }
    true
}

/// Makes the snapshot that later machines continue from, unless there is one.
fn keep_warm(machines: &Machines, id: Id, name: &str, dir: &MachineDir) {
    if machines.snapshot(name).is_ok() {
        return;
    }
    // The guest has to see the end of the connection of the check: its other end is not saved.
    std::thread::sleep(SETTLE);
    if let Err(error) = machines.save(id, &Purpose::Snapshot(name.to_owned()))
        && let Ok(mut log) = fs::append(&dir.vmm_log())
    {
        let why = kraft_core::error::chain(&error);
        let _ = writeln!(log, "kraft: cannot keep the machine warm: {why}");
    }
}

fn record_outcome(
    recorded: &mut Recorded,
    check: &HealthCheck,
    outcome: io::Result<()>,
    ran: Duration,
    dir: &MachineDir,
) {
    let before = (recorded.status, recorded.failures);
    recorded.error = outcome.err().map(|error| error.to_string());
    recorded.failures = match recorded.error {
        Some(_) => recorded.failures.saturating_add(1),
        None => 0,
    };
    let early = ran < Duration::from_millis(check.start_period_ms);
    recorded.status = recorded
        .status
        .after(recorded.failures, check.retries, early);
    if before != (recorded.status, recorded.failures)
        && let Ok(json) = serde_json::to_vec(recorded)
    {
        // On a full disk, the last result stays.
        let _ = fs::replace_file(&dir.health(), &json);
    }
}

/// Returns the address at which the host reaches a port of a machine.
fn address(ports: &[PortMapping], port: u16) -> Option<SocketAddr> {
    let mapping = ports
        .iter()
        .find(|it| it.machine_port == port && it.protocol == Protocol::Tcp)?;
    let ip = match mapping.host_ip {
        ip if !ip.is_unspecified() => ip,
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    Some(SocketAddr::new(ip, mapping.host_port))
}

/// The port that is checked.
#[derive(Debug)]
enum Target {
    /// An address of the host.
    Host(SocketAddr),
    /// A port of a machine in a network.
    Network {
        networks: Networks,
        network: String,
        machine: String,
        port: u16,
    },
}

impl Target {
    /// Returns the way to a port of a machine that runs.
    fn of(record: &Record, networks: Networks, port: u16) -> Option<Self> {
        if let Some(interface) = record.spec.get().networks.first() {
            return Some(Self::Network {
                networks,
                network: interface.network.clone(),
                machine: record.id.to_string(),
                port,
            });
        }
        let run = record.run.as_ref()?;
        // A check neither wakes a machine that sleeps when it is idle nor keeps it awake.
        let ports = match run.hidden_ports.as_slice() {
            [] => &run.ports,
            hidden => hidden,
        };
        address(ports, port).map(Self::Host)
    }

    fn connect(&self, limit: Duration) -> io::Result<TcpStream> {
        match self {
            Self::Host(address) => TcpStream::connect_timeout(address, limit),
            Self::Network {
                networks,
                network,
                machine,
                port,
            } => networks
                .connect(network, machine, *port, limit)
                .map_err(|error| io::Error::other(kraft_core::error::chain(&error))),
        }
    }
}

/// Checks once, within the timeout of the check.
fn probe(check: &HealthCheck, target: &Target) -> io::Result<()> {
    let limit = Duration::from_millis(check.timeout_ms.max(1));
    try_probe(&check.probe, limit, |limit| target.connect(limit))
}

/// Tries once whether a service works, over the connection that `connect` makes within the time that it
/// is given.
///
/// ```
/// use std::net::{TcpListener, TcpStream};
/// use std::time::Duration;
///
/// use kraft_core::lifecycle::HealthProbe;
/// use kraft_machine::try_probe;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let probe = HealthProbe::Tcp { port: address.port() };
/// let limit = Duration::from_secs(5);
/// try_probe(&probe, limit, |limit| TcpStream::connect_timeout(&address, limit))?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Why it does not.
pub fn try_probe(
    probe: &HealthProbe,
    limit: Duration,
    connect: impl FnOnce(Duration) -> io::Result<TcpStream>,
) -> io::Result<()> {
    let deadline = Instant::now() + limit;
    let mut stream = connect(limit)?;
    match probe {
        HealthProbe::Tcp { .. } => check_open(&mut stream, limit),
        HealthProbe::Http { port, path } => {
            stream.set_write_timeout(Some(limit))?;
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: kraft\r\n\
                 Connection: close\r\n\r\n"
            );
            stream.write_all(request.as_bytes())?;
            let line = status_line(&mut stream, deadline)?;
            match status(&line) {
                Some(200..=399) => Ok(()),
                Some(code) => Err(io::Error::other(format!("the response has status {code}"))),
                None => Err(io::Error::other("the response is not HTTP")),
            }
        }
    }
}

/// Checks that a connection is not closed at once.
pub(crate) fn check_open(stream: &mut TcpStream, limit: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(limit.min(REFUSAL)))?;
    match stream.read(&mut [0]) {
        Ok(0) => Err(io::Error::other("the connection was closed at once")),
        Err(e) if !is_timeout(&e) => Err(e),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// Reads the first line of a response.
fn status_line(stream: &mut TcpStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut chunk = [0; 256];
    while !line.contains(&b'\n') && line.len() < MAX_STATUS_LINE {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match kraft_sys::socket::uninterrupted(|| stream.read(&mut chunk))? {
            0 => break,
            read => line.extend(chunk.iter().take(read)),
        }
    }
    Ok(line)
}

/// Parses a status line: `HTTP/1.1 200 OK`.
fn status(line: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(line);
    let rest = text.strip_prefix("HTTP/")?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn check(probe: HealthProbe) -> HealthCheck {
        HealthCheck {
            probe,
            interval_ms: 1,
            timeout_ms: 200,
            retries: 2,
            start_period_ms: 0,
        }
    }

    /// Probes a server that answers one connection; without an answer it keeps it open.
    fn against(probe_of: fn(u16) -> HealthProbe, answer: Option<&'static [u8]>) -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (done, wait) = mpsc::channel::<()>();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            match answer {
                Some(answer) => {
                    // The client may have closed the connection.
                    let _ = stream.write_all(answer);
                }
                None => {
                    let _ = wait.recv();
                }
            }
        });
        let outcome = probe(&check(probe_of(address.port())), &Target::Host(address));
        drop(done);
        server.join().unwrap();
        outcome
    }

    #[test]
    fn a_service_is_healthy_if_it_accepts_or_answers() {
        let tcp = |port| HealthProbe::Tcp { port };
        let http = |port| HealthProbe::Http {
            port,
            path: "/".to_owned(),
        };
        against(tcp, None).unwrap();
        against(tcp, Some(b"220 ready\r\n")).unwrap();
        against(http, Some(b"HTTP/1.0 204 No Content\r\n\r\n")).unwrap();
        against(http, Some(b"HTTP/1.1 302 Found\r\n")).unwrap();
        for (probe, answer) in [
            (tcp as fn(u16) -> HealthProbe, Some(&b""[..])),
            (http, Some(b"HTTP/1.1 500 Oops\r\n")),
            (http, Some(b"SSH-2.0\r\n")),
            (http, Some(&[b'x'; 8192])),
            (http, None),
        ] {
            assert!(against(probe, answer).is_err(), "{answer:?}");
        }
    }

    #[test]
    fn a_result_is_recorded_when_it_changes() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = MachineDir::new(temporary.path().to_owned());
        assert_eq!(read(&dir), Health::Starting);
        let check = check(HealthProbe::Tcp { port: 1 });
        let mut recorded = Recorded {
            status: Health::Starting,
            failures: 0,
            error: None,
        };
        let refused = || Err(io::ErrorKind::ConnectionRefused.into());
        for (outcome, expected) in [
            (refused(), Health::Starting),
            (refused(), Health::Unhealthy),
            (Ok(()), Health::Healthy),
            (refused(), Health::Healthy),
        ] {
            record_outcome(&mut recorded, &check, outcome, Duration::ZERO, &dir);
            assert_eq!(read(&dir), expected);
        }
        reset(&dir).unwrap();
        assert_eq!(read(&dir), Health::Starting);
    }
}
