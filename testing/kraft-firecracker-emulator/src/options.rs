//! The command line.

use std::path::PathBuf;

use crate::VERSION;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Print the version.
    Version,
    /// Serve the API, or run what a file describes.
    Run,
}

/// An error that a test injects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Refuse(String),
    Hang(String),
    Exit(String),
    Garbage(String),
    Kvm,
    Silent,
    Version(String),
}

/// The options, as Firecracker has them.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) mode: Mode,
    pub(crate) id: String,
    /// `None` without an API.
    pub(crate) socket: Option<PathBuf>,
    pub(crate) log: Option<PathBuf>,
    pub(crate) level: Option<String>,
    pub(crate) metrics: Option<PathBuf>,
    pub(crate) config: Option<PathBuf>,
    pub(crate) faults: Vec<Fault>,
}

impl Options {
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            mode: Mode::Run,
            id: "anonymous-instance".to_owned(),
            socket: Some(PathBuf::from("/run/firecracker.socket")),
            log: None,
            level: None,
            metrics: None,
            config: None,
            faults: Vec::new(),
        };
        let mut args = args.into_iter();
        while let Some(name) = args.next() {
            let mut value = || {
                args.next()
                    .ok_or_else(|| format!("ParseArguments(MissingValue(\"{name}\"))"))
            };
            match name.as_str() {
                "--version" => options.mode = Mode::Version,
                "--id" => options.id = value()?,
                "--api-sock" => options.socket = Some(value()?.into()),
                "--no-api" => options.socket = None,
                "--log-path" => options.log = Some(value()?.into()),
                "--level" => options.level = Some(value()?),
                "--metrics-path" => options.metrics = Some(value()?.into()),
                "--config-file" => options.config = Some(value()?.into()),
                "--fault" => options.faults.push(fault(&value()?)?),
                "--show-level" | "--show-log-origin" | "--boot-timer" | "--no-seccomp" => {}
                "--seccomp-filter"
                | "--http-api-max-payload-size"
                | "--mmds-size-limit"
                | "--start-time-us"
                | "--start-time-cpu-us"
                | "--parent-cpu-time-us" => drop(value()?),
                other => return Err(format!("ParseArguments(UnexpectedArgument(\"{other}\"))")),
            }
        }
        let odd = |c: &char| !(c.is_ascii_alphanumeric() || *c == '-');
        if let Some(odd) = options.id.chars().find(odd) {
            return Err(format!("Invalid instance ID: InvalidChar('{odd}')"));
        }
        if options.socket.is_none() && options.config.is_none() && options.mode == Mode::Run {
            return Err("ParseArguments(MissingArgument(\"config-file\"))".to_owned());
        }
        Ok(options)
    }

    /// Returns the version that it says it has.
    pub(crate) fn version(&self) -> &str {
        let version = self.faults.iter().find_map(|fault| match fault {
            Fault::Version(version) => Some(version.as_str()),
            _ => None,
        });
        version.unwrap_or(VERSION)
    }

    /// Returns whether a restored card may have another device of the host, as since 1.12.
    pub(crate) fn gives_other_devices(&self) -> bool {
        let mut numbers = self.version().split('.').map(str::parse::<u32>);
        let mut number = || numbers.next().and_then(Result::ok).unwrap_or_default();
        (number(), number()) >= (1, 12)
    }
}

fn fault(text: &str) -> Result<Fault, String> {
    let (kind, path) = text.split_once('=').unwrap_or((text, ""));
    let path = path.to_owned();
    Ok(match kind {
        "refuse" => Fault::Refuse(path),
        "hang" => Fault::Hang(path),
        "exit" => Fault::Exit(path),
        "garbage" => Fault::Garbage(path),
        "kvm" => Fault::Kvm,
        "silent" => Fault::Silent,
        "version" => Fault::Version(path),
        _ => return Err(format!("unknown error to inject `{text}`")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_arguments_and_invalid_ids_are_refused() {
        let parse = |words: &[&str]| Options::parse(words.iter().map(ToString::to_string));
        assert!(parse(&["--api-sock", "s", "--id", "a-1"]).is_ok());
        for wrong in [
            &["--name", "x"][..],
            &["--id"],
            &["--id", "a_b"],
            &["--no-api"],
            &["--fault", "rain"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
