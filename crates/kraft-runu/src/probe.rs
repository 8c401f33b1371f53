//! The probe: the one thing that `exec` can do. It tries whether a port of the guest answers.
//!
//! A unikernel has no shell, so a health check cannot run a program in it. `exec` understands
//! `runu-probe tcp PORT`, `runu-probe http PORT[/PATH]`, and the usual commands that connect to the
//! container itself, such as `curl -f http://localhost:8080/`.

use std::ffi::OsString;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kraft_core::compose;
use kraft_core::lifecycle::HealthProbe;

use crate::failure::Failure;
use crate::network::{self, GUEST};
use crate::state::{Network, StateDir};

/// The hidden argument with which this program becomes a probe.
pub const ARGUMENT: &str = "__runu-probe";

/// The name of the probe in a command.
const PROGRAM: &str = "runu-probe";

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Understands a command; `None` if it is none that a probe can stand for.
pub(crate) fn understand(command: &[String]) -> Option<HealthProbe> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    match words[..] {
        [program, "tcp", port] if is_probe(program) => {
            let port = port.parse().ok().filter(|port| *port != 0)?;
            Some(HealthProbe::Tcp { port })
        }
        [program, "http", target] if is_probe(program) => HealthProbe::http(target).ok(),
        // Engines put a check that is one line behind a shell.
        [_, "-c", line] if line.split_ascii_whitespace().next().is_some_and(is_probe) => {
            let command = line.split("||").next().unwrap_or(line);
            let words = command.split_ascii_whitespace().map(str::to_owned);
            understand(&words.collect::<Vec<_>>())
        }
        _ => compose::probe_of(command),
    }
}

fn is_probe(program: &str) -> bool {
    program.rsplit('/').next() == Some(PROGRAM)
}

/// Returns the command for a probe, which [`main`] understands.
pub(crate) fn words(probe: &HealthProbe) -> [String; 2] {
    match probe {
        HealthProbe::Tcp { port } => ["tcp".to_owned(), port.to_string()],
        HealthProbe::Http { port, path } => ["http".to_owned(), format!("{port}{path}")],
    }
}

/// Tries once whether the guest of a container answers: `STATE_DIR tcp|http TARGET`. Returns the exit
/// code: 0, or 1 with a sentence on stderr.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let mut args = args.into_iter();
    let dir = args.next().map(PathBuf::from).unwrap_or_default();
    let rest = args.map(|arg| arg.to_string_lossy().into_owned());
    let command: Vec<String> = [PROGRAM.to_owned()].into_iter().chain(rest).collect();
    let tried = understand(&command)
        .ok_or_else(|| Failure("it is not a probe".to_owned()))
        .and_then(|probe| attempt(&dir, &probe));
    match tried {
        Ok(()) => 0,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "{failure}");
            1
        }
    }
}

fn attempt(dir: &Path, probe: &HealthProbe) -> Result<(), Failure> {
    let container = StateDir::of(dir.to_owned()).load()?;
    let supervisor = container.supervisor.as_ref().filter(|it| it.is_alive());
    let Some(supervisor) = supervisor else {
        return Err(Failure("container not running".to_owned()));
    };
    if container.network == Network::Host {
        return Err(Failure("the machine has no network".to_owned()));
    }
    let namespace = PathBuf::from(format!("/proc/{}/ns/net", supervisor.pid));
    network::enter(&Network::Existing(namespace))?;
    kraft_machine::try_probe(probe, LIMIT, |limit| {
        let address = SocketAddr::new(IpAddr::V4(GUEST), probe.port());
        TcpStream::connect_timeout(&address, limit)
    })
    .map_err(|e| Failure::of(&format!("port {} does not answer", probe.port()), &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_probes_are_understood() {
        let understand = |line: &[&str]| {
            let words: Vec<String> = line.iter().map(|&word| word.to_owned()).collect();
            understand(&words).map(|probe| self::words(&probe).join(" "))
        };
        let shown = |text: &str| Some(text.to_owned());
        assert_eq!(understand(&["runu-probe", "tcp", "80"]), shown("tcp 80"));
        assert_eq!(
            understand(&["/runu-probe", "http", "80/x"]),
            shown("http 80/x")
        );
        for line in ["runu-probe http 80/x", " runu-probe http 80/x || exit 1"] {
            assert_eq!(understand(&["/bin/sh", "-c", line]), shown("http 80/x"));
        }
        assert_eq!(
            understand(&["/bin/sh", "-c", "curl -f http://localhost:8080/a || exit 1"]),
            shown("http 8080/a")
        );
        for line in [
            &["sh"][..],
            &["runu-probe", "tcp", "0"],
            &["sh", "-c", "runu-probe tcp 80; ls"],
            &["ls", "-l"],
            &[],
        ] {
            assert_eq!(understand(line), None, "{line:?}");
        }
    }
}
