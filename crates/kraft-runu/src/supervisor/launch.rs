//! Starting the machine of a container.

use std::path::Path;
use std::sync::mpsc::Sender;

use kraft_machine::direct::{Direct, DirectMachine};
use kraft_machine::driver::Drivers;
use kraft_rootfs::ExtraFile;

use super::streams::{self, Output};
use super::{Event, files, names};
use crate::bundle;
use crate::decide::{INITRD, KERNEL};
use crate::failure::{self, Failure};
use crate::network::{self, Cards, Names, SUPERVISOR};
use crate::state::{Container, Network, StateDir};

/// The file with name servers.
const RESOLVERS: &str = "/etc/resolv.conf";

/// The file with the name of the host.
const HOSTNAME: &str = "/etc/hostname";

/// A machine that runs.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) machine: Direct,
    pub(super) output: Output,
    _cards: Cards,
}

/// Starts the machine; returns when the guest runs.
pub(super) fn launch(
    dir: &StateDir,
    container: &mut Container,
    events: &Sender<Event>,
) -> Result<Launched, Failure> {
    check_image(&container.spec.kernel, KERNEL)?;
    if let Some(initrd) = &container.spec.initrd {
        check_image(initrd, INITRD)?;
    }
    let mut drivers = Drivers::default();
    for (platform, program) in &container.programs {
        drivers = drivers.with_program(*platform, program);
    }
    let can = drivers
        .get(container.spec.platform)
        .map_err(|e| Failure::of("cannot start the machine", &e))?
        .capabilities();
    let root = root_of(&container.spec.kernel, KERNEL).to_owned();
    let mut files = files::of_engine(container)?;
    files::add_those_of_container(&mut files, &root)?;
    let (servers, domain) = network::resolvers(&text_of(&files, RESOLVERS));
    let hostname = hostname(&container.hostname, &files);
    let mut cards = match container.network {
        Network::Host => Cards::none(),
        Network::New | Network::Existing(_) => {
            let names = Names {
                servers: &servers,
                domain: domain.as_deref(),
                hostname: &hostname,
            };
            Cards::take(names, can.limits.networks)?
        }
    };
    let warn = |sentence: &str| {
        failure::log_to(
            container.log.as_deref(),
            container.log_json,
            "warning",
            sentence,
        );
    };
    cards.note.iter().for_each(|note| warn(note));
    if cards.control {
        names::relay(&servers)?;
        for file in files.iter_mut().filter(|file| file.path == RESOLVERS) {
            file.content = names::rewrite(&file.content, SUPERVISOR).into_bytes();
        }
    }
    container.spec.networks.clone_from(&cards.interfaces);
    add_files(dir, container, &files)?;
    if can.opens_cards {
        cards.close()?;
    }
    let machine = DirectMachine {
        dir: &dir.machine(),
        id: container.machine,
        spec: &container.spec,
        drivers: &drivers,
        cards: &cards.devices,
    }
    .start()
    .map_err(|e| Failure::of("cannot start the machine", &e))?;
    let failed = |e: std::io::Error| Failure::of("cannot watch the machine", &e);
    let arch = container.spec.arch;
    let output = Output::copy(&machine, arch, container.terminal, events.clone());
    let output = output.map_err(failed)?;
    // A guest may have ended already.
    let _ = streams::copy_input(&machine, container.terminal);
    let process = machine.process().map_err(failed)?;
    let events = events.clone();
    std::thread::spawn(move || {
        if let Some(process) = process {
            let _ = process.wait(None);
        }
        let _ = events.send(Event::Exited);
    });
    Ok(Launched {
        machine,
        output,
        _cards: cards,
    })
}

/// Checks again that a file of the image is no link: the image was examined when the container was
/// created.
fn check_image(path: &Path, below: &str) -> Result<(), Failure> {
    bundle::inside(root_of(path, below), below).map(drop)
}

/// Returns the root file system that a path is below.
fn root_of<'a>(path: &'a Path, below: &str) -> &'a Path {
    let depth = below.split('/').count();
    path.ancestors().nth(depth).unwrap_or(path)
}

/// Gives the guest a root archive with the files of the engine in it.
fn add_files(
    dir: &StateDir,
    container: &mut Container,
    files: &[ExtraFile],
) -> Result<(), Failure> {
    let Some(initrd) = container.spec.initrd.clone().filter(|_| !files.is_empty()) else {
        return Ok(());
    };
    let out = dir.initrd();
    match kraft_rootfs::append(&initrd, &out, files) {
        Ok(()) => container.spec.initrd = Some(out),
        // The archive is something else, such as a program that its kernel loads.
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
            let log = container.log.as_deref();
            let why = kraft_core::error::chain(&e);
            let sentence = format!("the guest does not get files of the engine: {why}");
            failure::log_to(log, container.log_json, "warning", &sentence);
        }
        Err(e) => return Err(e.into()),
    }
    Ok(())
}

/// Returns the name of the host: in a Pod, where the name is that of a namespace, a file of the engine has it.
fn hostname(own: &str, files: &[ExtraFile]) -> String {
    if own.is_empty() {
        text_of(files, HOSTNAME).trim().to_owned()
    } else {
        own.to_owned()
    }
}

/// Returns the text of a file of the guest, which may be missing.
fn text_of(files: &[ExtraFile], path: &str) -> String {
    let file = files.iter().find(|file| file.path == path);
    file.map_or_else(String::new, |file| {
        String::from_utf8_lossy(&file.content).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_of_a_pod_has_the_name_of_the_pod() {
        let file = ExtraFile {
            path: HOSTNAME.to_owned(),
            mode: 0o644,
            content: b"web-7b467f7b87-b7fps\n".to_vec(),
        };
        let files = [file];
        assert_eq!(hostname("", &files), "web-7b467f7b87-b7fps");
        assert_eq!(hostname("own", &files), "own");
        assert_eq!(hostname("", &[]), "");
    }
}
