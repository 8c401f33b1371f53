//! Connecting a machine to a network: the side of the process that starts its VMM.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use kraft_core::port::PortMapping;
use kraft_sys::environment::Inherit;
use kraft_sys::fs;
use kraft_sys::lock::Lock;
use kraft_sys::process::{self, Identity, own_program};
use kraft_sys::tool;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::error::Error;
use crate::holder::{self, tap};
use crate::layout::{NetworkDir, SOCKET};
use crate::networks::{Networks, absent};
use crate::protocol::{Answer, Ask, MAX_LINE, Report, line};
use crate::record::{HolderRecord, Network};

/// How long a holder may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The variables of the environment that a holder gets.
const ENVIRONMENT: Inherit =
    Inherit::Only(&["PATH", "LANG", "LC_*", "TMPDIR", "LLVM_PROFILE_FILE"]);

/// A machine that is about to start in a network.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The network.
    pub network: &'a str,
    /// The id of the machine.
    pub machine: &'a str,
    /// The name by which machines of the network find it.
    pub name: &'a str,
    /// Further names.
    pub aliases: &'a [String],
    /// Its address, which was [reserved](Networks::reserve).
    pub address: Ipv4Addr,
    /// The ports to publish, all with a port of the host.
    pub ports: &'a [PortMapping],
    /// Its other networks: it finds the machines of those by name as well.
    pub others: &'a [&'a str],
}

/// A machine that is connected.
///
/// ```no_run
/// use kraft_net::{Networks, Wanted};
///
/// # fn example(networks: &Networks, vmm: &kraft_sys::process::Identity) -> Result<(), kraft_net::Error> {
/// let attachment = networks.attach(&Wanted {
///     network: "web",
///     machine: "1",
///     name: "alice",
///     aliases: &[],
///     address: "10.9.0.2".parse().expect("an address"),
///     ports: &[],
///     others: &[],
/// })?;
/// // The VMM is started with `attachment.tap` as its card.
/// attachment.running(vmm)
/// # }
/// ```
///
/// Dropping it before the machine [runs](Self::running) undoes that.
#[derive(Debug)]
pub struct Attachment {
    network: String,
    stream: UnixStream,
    /// The card of the machine on this side, for its VMM.
    pub tap: OwnedFd,
    /// The name of its device in the namespace of the network.
    pub card: String,
    /// The namespaces of the network: that of the network, and that of its users if there is one. The VMM has to keep them open, so that the network is found
    /// as long as it lives.
    pub namespaces: Vec<OwnedFd>,
}

impl Networks {
    /// Connects a machine, and publishes its ports: until it listens, connections are closed. Starts
    /// the holder of the network if there is none.
    ///
    /// # Errors
    ///
    /// If the network is down, a port cannot be published, or the host does not allow it.
    pub fn attach(&self, wanted: &Wanted<'_>) -> Result<Attachment, Error> {
        let dir = self.dir(wanted.network)?;
        let network = Network::load(&dir).map_err(absent(wanted.network))?;
        if !network.up {
            return Err(Error::Down { name: network.name });
        }
        let ask = Ask::Attach {
            machine: wanted.machine.to_owned(),
            name: wanted.name.to_owned(),
            aliases: wanted.aliases.to_vec(),
            address: wanted.address,
            ports: wanted.ports.to_vec(),
            others: wanted.others.iter().copied().map(str::to_owned).collect(),
        };
        let stream = reach(&dir, wanted.network)?;
        let failed = broken(wanted.network);
        send(&stream, &ask).map_err(&failed)?;
        let (answer, files) = receive(&stream).map_err(&failed)?;
        accept(wanted.network, answer)?;
        let mut files = files.into_iter();
        let tap = files
            .next()
            .ok_or_else(|| failed(ErrorKind::InvalidData.into()))?;
        Ok(Attachment {
            network: wanted.network.to_owned(),
            stream,
            card: tap::name(&tap).map_err(&failed)?,
            tap,
            namespaces: files.collect(),
        })
    }

    /// Connects to a TCP port of a machine that runs in a network, within `limit`. Starts the holder
    /// of the network if it was killed.
    ///
    /// ```no_run
    /// # fn example(networks: &kraft_net::Networks) -> Result<(), kraft_net::Error> {
    /// let limit = std::time::Duration::from_secs(1);
    /// let stream = networks.connect("web", "6fa459ea", 80, limit)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// If the machine does not accept the connection, or no holder answers.
    pub fn connect(
        &self,
        network: &str,
        machine: &str,
        port: u16,
        limit: Duration,
    ) -> Result<TcpStream, Error> {
        let machine = machine.to_owned();
        let file = self.open(network, &Ask::Connect { machine, port }, limit)?;
        Ok(TcpStream::from(file))
    }

    /// Opens a socket for packets of UDP to and from a port of a machine that runs, in the namespace of the
    /// network. A machine is named by its id.
    ///
    /// ```no_run
    /// # fn example(networks: &kraft_net::Networks) -> Result<(), kraft_net::Error> {
    /// let limit = std::time::Duration::from_secs(1);
    /// let socket = networks.open_udp("web", "6fa459ea", 53, limit)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// If the machine does not run, or no holder answers.
    pub fn open_udp(
        &self,
        network: &str,
        machine: &str,
        port: u16,
        limit: Duration,
    ) -> Result<UdpSocket, Error> {
        let machine = machine.to_owned();
        let file = self.open(network, &Ask::OpenUdp { machine, port }, limit)?;
        Ok(UdpSocket::from(file))
    }

    /// Asks the holder of a network for a socket, which waits in reads and writes.
    fn open(&self, network: &str, ask: &Ask, limit: Duration) -> Result<OwnedFd, Error> {
        let dir = self.dir(network)?;
        let failed = broken(network);
        let holder = reach(&dir, network)?;
        holder.set_read_timeout(Some(limit)).map_err(&failed)?;
        send(&holder, ask).map_err(&failed)?;
        let (answer, files) = match receive(&holder) {
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let why = "the connection timed out".to_owned();
                return Err(Error::Connect { why });
            }
            other => other.map_err(&failed)?,
        };
        match (answer, files.into_iter().next()) {
            (Answer::Failed { why, .. }, _) => Err(Error::Connect { why }),
            (Answer::Done, Some(file)) => {
                rustix::io::ioctl_fionbio(&file, false).map_err(|e| failed(e.into()))?;
                Ok(file)
            }
            _ => Err(failed(ErrorKind::InvalidData.into())),
        }
    }

    /// Starts a holder for machines whose holder was killed. Nothing happens if there is one, or if
    /// no machine runs in the network.
    ///
    /// # Errors
    ///
    /// If the holder does not start.
    pub fn revive(&self, name: &str) -> Result<(), Error> {
        let dir = self.dir(name)?;
        let Some(holder) = HolderRecord::load(&dir) else {
            return Ok(());
        };
        if holder.process.is_alive() || holder.living().is_empty() {
            return Ok(());
        }
        reach(&dir, name).map(drop)
    }

    /// Ends the holder of a network that is removed, and its bridge with it.
    pub(crate) fn end_holder(&self, name: &str) -> Result<(), Error> {
        let dir = self.dir(name)?;
        let holder = HolderRecord::load(&dir);
        let _lock = Lock::exclusive(&dir.start_lock()).map_err(|e| absent(name)(e.into()))?;
        let Some(stream) = connect(&dir).map_err(broken(name))? else {
            return Ok(());
        };
        send(&stream, &Ask::End).map_err(broken(name))?;
        let (answer, _) = receive(&stream).map_err(broken(name))?;
        accept(name, answer)?;
        // What it answered is that it ends: nothing of it is left when this returns.
        if let Some(process) = holder.and_then(|it| process::Process::open(&it.process).ok()?) {
            process.wait(Some(PATIENCE)).map_err(broken(name))?;
        }
        Ok(())
    }
}

impl Attachment {
    /// Closes the card, so that a VMM in the namespace of the network can open it by its name. The holder
    /// removes it when the machine ends.
    ///
    /// # Errors
    ///
    /// If the kernel does not keep the card.
    pub fn close_card(self) -> Result<Self, Error> {
        let failed = broken(&self.network);
        tap::keep(&self.tap).map_err(&failed)?;
        // The number stays taken, and nothing is behind it.
        let nowhere = File::open("/dev/null").map_err(&failed)?;
        Ok(Self {
            tap: nowhere.into(),
            ..self
        })
    }

    /// Says that the VMM runs: the machine stays connected until it ends.
    ///
    /// # Errors
    ///
    /// If the holder does not answer.
    pub fn running(&self, vmm: &Identity) -> Result<(), Error> {
        let failed = broken(&self.network);
        let ask = Ask::Running { vmm: vmm.clone() };
        send(&self.stream, &ask).map_err(&failed)?;
        let (answer, _) = receive(&self.stream).map_err(&failed)?;
        accept(&self.network, answer)
    }
}

/// Connects to the holder of a network, which is started if there is none.
fn reach(dir: &NetworkDir, name: &str) -> Result<UnixStream, Error> {
    let _lock = Lock::exclusive(&dir.start_lock()).map_err(|e| absent(name)(e.into()))?;
    if let Some(stream) = connect(dir).map_err(broken(name))? {
        return Ok(stream);
    }
    start(dir, name)?;
    let refused = || io::Error::from(ErrorKind::ConnectionRefused);
    let stream = connect(dir).and_then(|stream| stream.ok_or_else(refused));
    stream.map_err(broken(name))
}

fn broken(name: &str) -> impl Fn(io::Error) -> Error + use<> {
    let name = name.to_owned();
    move |source| Error::Holder {
        name: name.clone(),
        source,
    }
}

/// Returns the error of an answer, if it is one.
fn accept(name: &str, answer: Answer) -> Result<(), Error> {
    let name = name.to_owned();
    match answer {
        Answer::Attached | Answer::Done => Ok(()),
        Answer::Port { port, why } => Err(Error::Port { port, why }),
        Answer::Failed { why, cure } => Err(Error::Host { name, why, cure }),
    }
}

/// Connects to a holder; `None` if there is none.
fn connect(dir: &NetworkDir) -> io::Result<Option<UnixStream>> {
    let open = File::open(dir.path())?;
    match UnixStream::connect(process::short_path(&open).join(SOCKET)) {
        Ok(stream) => {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(Some(stream))
        }
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

fn send(mut stream: &UnixStream, ask: &Ask) -> io::Result<()> {
    stream.write_all(&line(ask))
}

/// Receives an answer with its open files.
fn receive(stream: &UnixStream) -> io::Result<(Answer, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = vec![0; 4096];
    let mut parts = [IoSliceMut::new(&mut text)];
    // Without the flag, programs that are started meanwhile inherit the files.
    #[cfg(target_os = "linux")]
    let flags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = RecvFlags::empty();
    let received = loop {
        match recvmsg(stream, &mut parts, &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    let mut files = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            files.extend(rights);
        }
    }
    text.truncate(received.bytes);
    if text.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    // A long reason may come in several pieces.
    if !text.ends_with(b"\n") {
        let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        BufReader::new(stream.take(limit)).read_until(b'\n', &mut text)?;
    }
    let answer = serde_json::from_slice(&text).map_err(io::Error::from)?;
    Ok((answer, files))
}

/// Starts a holder and waits until it is ready. `start.lock` is held.
fn start(dir: &NetworkDir, name: &str) -> Result<(), Error> {
    let failed = broken(name);
    fs::truncate(&dir.log(), 0)?;
    let log = fs::append(&dir.log())?;
    process::keep_files_from_children().map_err(&failed)?;
    let mut command = tool::command(own_program());
    command
        .args([holder::ARGUMENT, holder::START])
        .arg(dir.path())
        .current_dir(Path::new("/"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    ENVIRONMENT.apply(&mut command);
    std::os::unix::process::CommandExt::arg0(&mut command, "kraft");
    let mut child = command.spawn().map_err(&failed)?;
    let mut text = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        stdout.take(limit).read_to_end(&mut text).map_err(&failed)?;
    }
    child.wait().map_err(&failed)?;
    let name = name.to_owned();
    match serde_json::from_slice(&text) {
        Ok(Report::Ready) => Ok(()),
        Ok(Report::Refused { why, cure }) => Err(Error::Host { name, why, cure }),
        Err(_) => {
            let said = fs::read_tail(&dir.log(), 4096).unwrap_or_default();
            let said = String::from_utf8_lossy(&said).trim().to_owned();
            let why = match said.lines().next_back() {
                Some(last) => format!("its holder ended: {last}"),
                None => "its holder ended".to_owned(),
            };
            Err(Error::Host {
                name,
                why,
                cure: None,
            })
        }
    }
}
