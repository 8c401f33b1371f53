//! The conversation of a holder with the processes that ask it for something.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use kraft_core::port::PortMapping;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Interest};
use tokio::net::{TcpStream, UdpSocket, UnixStream};
use tokio::time::{sleep, timeout};

use super::super::proxy::{self, DIAL, Task};
use super::super::tap;
use super::{Running, Server};
use crate::protocol::{Answer, Ask, MAX_LINE, line};
use crate::record::Active;

/// How often, and how long apart, a port is tried that an earlier run may still have.
const ATTEMPTS: usize = 10;
const REBIND: Duration = Duration::from_millis(20);

/// What is kept for a machine that is about to run.
struct Prepared {
    machine: String,
    name: String,
    aliases: Vec<String>,
    address: Ipv4Addr,
    ports: Vec<PortMapping>,
    others: Vec<String>,
    /// The name of its card's device, and its index.
    card: String,
    index: Option<u32>,
    published: Vec<Task>,
}

impl Server {
    /// Serves one connection.
    pub(super) fn greet(self: &Rc<Self>, stream: UnixStream) {
        self.sessions.set(self.sessions.get() + 1);
        let server = self.clone();
        tokio::task::spawn_local(async move {
            let mut prepared = None;
            // A broken connection is that of a process that was killed.
            let _ = server.session(stream, &mut prepared).await;
            if let Some(Prepared { index, .. }) = prepared {
                server.remove_card(index);
            }
            server.sessions.set(server.sessions.get().saturating_sub(1));
            server.changed.notify_one();
        });
    }

    async fn session(
        self: &Rc<Self>,
        mut stream: UnixStream,
        prepared: &mut Option<Prepared>,
    ) -> io::Result<()> {
        while let Some(ask) = read(&mut stream).await? {
            match ask {
                Ask::Attach {
                    machine,
                    name,
                    aliases,
                    address,
                    ports,
                    others,
                } => {
                    let asked = Prepared {
                        machine,
                        name,
                        aliases,
                        address,
                        ports,
                        others,
                        card: String::new(),
                        index: None,
                        published: Vec::new(),
                    };
                    match self.attach(asked).await {
                        Ok((card, ready)) => {
                            let user = self.namespaces.user.iter().map(AsFd::as_fd);
                            let mut files = vec![card.as_fd(), self.namespaces.network.as_fd()];
                            files.extend(user);
                            // Also where no process takes the answer, the card is removed.
                            let index = prepared.replace(ready).and_then(|before| before.index);
                            answer(&stream, &Answer::Attached, &files).await?;
                            self.remove_card(index);
                        }
                        Err(failed) => answer(&stream, &failed, &[]).await?,
                    }
                }
                Ask::Running { vmm } => {
                    if let Some(ready) = prepared.take() {
                        let active = Active {
                            machine: ready.machine,
                            name: ready.name,
                            aliases: ready.aliases,
                            address: ready.address,
                            ports: ready.ports,
                            others: ready.others,
                            card: Some(ready.card),
                            index: ready.index,
                            vmm,
                        };
                        self.serve_machine(active, ready.published);
                    }
                    let recorded = match self.record() {
                        Ok(()) => Answer::Done,
                        Err(error) => failed(&error),
                    };
                    answer(&stream, &recorded, &[]).await?;
                }
                Ask::Connect { machine, port } => match self.dial(&machine, port).await {
                    Ok(dialed) => answer(&stream, &Answer::Done, &[dialed.as_fd()]).await?,
                    Err(error) => answer(&stream, &failed(&error), &[]).await?,
                },
                Ask::OpenUdp { machine, port } => match self.open_udp(&machine, port).await {
                    Ok(to) => answer(&stream, &Answer::Done, &[to.as_fd()]).await?,
                    Err(e) => answer(&stream, &failed(&e), &[]).await?,
                },
                Ask::End => {
                    self.machines.borrow_mut().clear();
                    let removed = self.netlink.borrow_mut().remove(self.bridge);
                    self.removed.set(true);
                    let done = removed.map_or_else(|error| failed(&error), |()| Answer::Done);
                    answer(&stream, &done, &[]).await?;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Connects a machine: publishes its ports and makes its card.
    async fn attach(&self, mut asked: Prepared) -> Result<(File, Prepared), Answer> {
        // A program that connects somewhere when it starts finds the way.
        let _ = self.settled.subscribe().wait_for(|it| *it).await;
        // An earlier run of the same machine, whose end was not noticed yet.
        let ended = |it: &Running| !it.active.vmm.is_alive();
        let left: Vec<_> = {
            let mut machines = self.machines.borrow_mut();
            let left = machines.extract_if(.., |_, it| ended(it));
            left.map(|(_, it)| it.active.index).collect()
        };
        for index in left {
            self.remove_card(index);
        }
        for port in &asked.ports {
            let mut published = proxy::publish(&self.outside, port, asked.address);
            // That of the earlier run closes when its task is next looked at.
            for _ in 0..ATTEMPTS {
                match &published {
                    Err(error) if error.kind() == ErrorKind::AddrInUse => sleep(REBIND).await,
                    _ => break,
                }
                published = proxy::publish(&self.outside, port, asked.address);
            }
            asked
                .published
                .push(published.map_err(|error| Answer::Port {
                    port: port.clone(),
                    why: why_closed(&error),
                })?);
        }
        let card = || -> io::Result<(File, String, u32)> {
            let (card, name) = tap::make("if%d")?;
            let mut netlink = self.netlink.borrow_mut();
            let index = netlink.index(&name)?.ok_or(ErrorKind::NotFound)?;
            netlink.start(index, Some(self.bridge))?;
            Ok((card, name, index))
        };
        let (card, name, index) = card().map_err(|error| failed(&error))?;
        asked.card = name;
        asked.index = Some(index);
        Ok((card, asked))
    }

    /// Removes the card of a machine that has ended. Most are gone: they end with what has them open.
    pub(super) fn remove_card(&self, index: Option<u32>) {
        if let Some(index) = index {
            let _ = self.netlink.borrow_mut().remove(index);
        }
    }

    /// Connects to a port of a machine that runs.
    async fn dial(&self, machine: &str, port: u16) -> io::Result<TcpStream> {
        let address = self.address(machine)?;
        timeout(DIAL, TcpStream::connect((address, port))).await?
    }

    /// Opens a socket for packets to and from a port of a machine that runs.
    async fn open_udp(&self, machine: &str, port: u16) -> io::Result<UdpSocket> {
        proxy::dial((self.address(machine)?, port).into()).await
    }

    /// Returns the address of a machine that runs.
    fn address(&self, machine: &str) -> io::Result<Ipv4Addr> {
        let machines = self.machines.borrow();
        let running = machines.get(machine).map(|it| it.active.address);
        running.ok_or_else(|| io::Error::other("the machine does not run"))
    }
}

fn failed(error: &io::Error) -> Answer {
    Answer::Failed {
        why: error.to_string(),
        cure: None,
    }
}

/// Says why a port could not be opened.
fn why_closed(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => "only root may listen below port 1024".to_owned(),
        ErrorKind::AddrInUse => "it is in use".to_owned(),
        ErrorKind::AddrNotAvailable => "this host does not have that address".to_owned(),
        _ => error.to_string(),
    }
}

/// Reads a request; `None` at the end of the connection.
async fn read(stream: &mut UnixStream) -> io::Result<Option<Ask>> {
    let mut text = Vec::new();
    let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
    // One request is answered before the next is sent: nothing is lost in the buffer.
    let mut reader = BufReader::new(stream.take(limit));
    reader.read_until(b'\n', &mut text).await?;
    if text.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&text)?))
}

/// Sends an answer with open files.
async fn answer(stream: &UnixStream, answer: &Answer, files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let text = line(answer);
    let mut sent = 0;
    while let Some(rest) = text.get(sent..).filter(|rest| !rest.is_empty()) {
        stream.writable().await?;
        let once = stream.try_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if sent == 0 && !files.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(files));
            }
            let parts = [IoSlice::new(rest)];
            Ok(sendmsg(stream, &parts, &mut control, SendFlags::NOSIGNAL)?)
        });
        match once {
            Ok(length) => sent += length,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
