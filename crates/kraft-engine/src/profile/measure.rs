//! Measures the boot of a machine that was just started.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kraft_core::port::{PortMapping, Protocol};
use kraft_machine::{LogsOptions, Watch};
use kraft_sys::process::wait_readable;

use super::{BootProfile, Part};

/// The time between two attempts to get an answer. Each is a connection of its own: a VMM accepts it
/// before the guest can, and repeats what the guest has missed only after a second. More of them would
/// delay the guest.
const STEP: Duration = Duration::from_millis(20);

/// The maximal number of connections that wait for an answer.
const MOST_CONNECTIONS: usize = 32;

/// How long a connection may take to be accepted: it is local. If the VMM is busy, the system repeats
/// it only after a second.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(20);

/// How long is waited for a program to start without a connection.
const LONGEST_BOOT: Duration = Duration::from_secs(1);

/// How long is waited until the VMM is asked again whether the program has started.
const WAIT: Duration = Duration::from_millis(5);

/// How long is waited for output at a time.
const TURN: Duration = Duration::from_millis(50);

/// What is sent to the port.
const REQUEST: &[u8] = b"GET / HTTP/1.0\r\nHost: localhost\r\nUser-Agent: kraft\r\n\r\n";

/// The beginning of a boot, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Began {
    clock: Timestamp,
    instant: Instant,
}

impl Began {
    /// Begins now.
    pub fn now() -> Self {
        Self {
            clock: Timestamp::now(),
            instant: Instant::now(),
        }
    }

    /// Returns how long after the beginning a time is.
    fn until(&self, at: Timestamp) -> Duration {
        passed(self.clock, at)
    }
}

/// Returns the time from one moment to another; zero if the clock was set back.
fn passed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// A boot cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The port did not answer.
    #[error("`{address}` did not answer within {seconds} s", seconds = limit.as_secs())]
    NoAnswer {
        /// The address of the host.
        address: SocketAddr,
        /// The limit.
        limit: Duration,
    },
    /// The machine printed nothing.
    #[error("the machine printed nothing within {} s", .0.as_secs())]
    NoOutput(Duration),
    /// The machine ended first.
    #[error("the machine ended before it {0}")]
    Ended(&'static str),
    /// The caller gave up.
    #[error("interrupted")]
    Interrupted,
    /// The machine cannot be read.
    #[error(transparent)]
    Machine(#[from] kraft_machine::Error),
}

/// Returns the address at which the host reaches the first TCP port of a machine.
pub fn port(ports: &[PortMapping]) -> Option<SocketAddr> {
    let port = ports.iter().find(|port| port.protocol == Protocol::Tcp)?;
    let ip = match port.host_ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Some(SocketAddr::new(ip, port.host_port))
}

/// Waits until a machine that was started with
/// [`StartOptions::profile`](kraft_machine::StartOptions::profile) has answered on a port, or without
/// one has printed something, and returns how long each part took.
///
/// # Errors
///
/// If that does not happen within `limit`, the machine ends before, or `stop` becomes true.
pub fn measure(
    watch: &Watch,
    began: Began,
    port: Option<SocketAddr>,
    limit: Duration,
    stop: &dyn Fn() -> bool,
) -> Result<BootProfile, MeasureError> {
    let deadline = Instant::now() + limit;
    let answered = match port {
        Some(address) => {
            wait_for_program(watch, deadline, stop)?;
            let answered = first_answer(watch, address, deadline, stop)?;
            Some(answered.ok_or(MeasureError::NoAnswer { address, limit })?)
        }
        None => None,
    };
    let printed = first_output(watch, answered.map_or(deadline, |_| Instant::now()), stop);
    // Where there was an answer, it counts without output as well.
    let printed = match (printed, answered) {
        (Ok(printed), _) => printed,
        (Err(_), Some(_)) => None,
        (Err(error), None) => return Err(error),
    };
    let (wall, seen) = (began.instant.elapsed(), Timestamp::now());
    if answered.is_none() && printed.is_none() {
        return Err(MeasureError::NoOutput(limit));
    }
    let times = watch.boot_times()?;
    let guest = times.map(|times| times.guest).unwrap_or_default();
    let ends = [
        (Part::Kraft, times.map(|times| times.vmm)),
        (Part::Vmm, guest.began),
        (Part::Firmware, guest.kernel),
        (Part::Kernel, guest.program),
        (Part::Output, printed),
        (Part::Answer, answered.map(|(at, _)| at)),
    ];
    let ends: Vec<(Part, Duration)> = ends
        .into_iter()
        .filter_map(|(part, at)| Some((part, began.until(at?))))
        .collect();
    let wall = match (answered, printed) {
        (Some((_, at)), _) => at.duration_since(began.instant),
        // Without what passed until it was seen.
        (None, Some(at)) => wall.saturating_sub(passed(at, seen)),
        (None, None) => wall,
    };
    Ok(BootProfile::new(&ends, wall))
}

/// Waits until the guest runs its program, or has printed something. Connections that it misses before
/// would delay it: QEMU repeats them only after a second, and those that follow with them.
fn wait_for_program(
    watch: &Watch,
    deadline: Instant,
    stop: &dyn Fn() -> bool,
) -> Result<(), MeasureError> {
    let mut logs = watch.logs(LogsOptions::default())?;
    let deadline = deadline.min(Instant::now() + LONGEST_BOOT);
    while Instant::now() < deadline && !stop() {
        let times = watch.boot_times()?;
        let started = times.is_some_and(|times| times.guest.program.is_some());
        match logs.follow(WAIT)? {
            Some(chunk) if chunk.bytes.is_empty() && !started => {}
            Some(_) | None => break,
        }
    }
    Ok(())
}

/// Waits for the first byte on the console; `None` after the deadline.
fn first_output(
    watch: &Watch,
    deadline: Instant,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Timestamp>, MeasureError> {
    let mut logs = watch.logs(LogsOptions {
        arrivals: true,
        ..LogsOptions::default()
    })?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match logs.follow(left.min(TURN))? {
            Some(chunk) if !chunk.bytes.is_empty() => {
                let first = chunk.arrivals.first().map(|arrival| arrival.time);
                return Ok(Some(first.unwrap_or_else(Timestamp::now)));
            }
            None => return Err(MeasureError::Ended("printed anything")),
            Some(_) if stop() => return Err(MeasureError::Interrupted),
            Some(_) if left.is_zero() => return Ok(None),
            Some(_) => {}
        }
    }
}

/// Waits for the first byte of an answer, and returns when it came; `None` after the deadline.
fn first_answer(
    watch: &Watch,
    address: SocketAddr,
    deadline: Instant,
    stop: &dyn Fn() -> bool,
) -> Result<Option<(Timestamp, Instant)>, MeasureError> {
    let mut open: Vec<TcpStream> = Vec::new();
    let mut looked = Instant::now();
    while Instant::now() < deadline {
        if stop() {
            return Err(MeasureError::Interrupted);
        }
        if looked.elapsed() > TURN {
            looked = Instant::now();
            if watch.wait_timeout(Duration::ZERO)?.is_some() {
                return Err(MeasureError::Ended("answered"));
            }
        }
        if open.len() >= MOST_CONNECTIONS {
            open.remove(0);
        }
        open.extend(request(address));
        let until = Instant::now() + STEP;
        while Instant::now() < until {
            let files: Vec<_> = open.iter().map(AsFd::as_fd).collect();
            let Ok(ready) = wait_readable(&files, Some(until)) else {
                break;
            };
            let mut ready = ready.into_iter();
            let mut answered = false;
            // One that was closed is no answer: where a VMM forwards the port, it accepts every
            // connection.
            open.retain_mut(|stream| {
                if ready.next() != Some(true) || answered {
                    return true;
                }
                match stream.read(&mut [0]) {
                    Ok(1..) => {
                        answered = true;
                        true
                    }
                    Err(error) => error.kind() == ErrorKind::WouldBlock,
                    Ok(0) => false,
                }
            });
            if answered {
                return Ok(Some((Timestamp::now(), Instant::now())));
            }
        }
    }
    Ok(None)
}

/// Sends a request; `None` if the connection is refused.
fn request(address: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).ok()?;
    stream.set_nonblocking(true).ok()?;
    stream.write_all(REQUEST).ok()?;
    Some(stream)
}
