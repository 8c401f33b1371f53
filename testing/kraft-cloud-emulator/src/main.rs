//! Starts an emulator from the command line and serves until it is killed.

use std::process::ExitCode;

use kraft_cloud_emulator::{Dialect, Emulator, Settings};

const USAGE: &str = "usage: kraft-cloud-emulator --token TOKEN [--listen ADDRESS] [--user NAME] \
                     [--kraft PROGRAM] [--registry ADDRESS] [--dialect 2024|2026]";

fn settings() -> Option<(std::net::SocketAddr, Settings)> {
    let mut settings = Settings::default();
    let mut listen = "127.0.0.1:0".parse().ok()?;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--listen" => listen = value.parse().ok()?,
            "--token" => settings.tokens.push(value),
            "--user" => settings.user = value,
            "--kraft" => settings.kraft = Some(value.into()),
            "--dialect" => settings.dialect = Dialect::of(&value)?,
            "--registry" => settings.registry = Some(value.parse().ok()?),
            _ => return None,
        }
    }
    (!settings.tokens.is_empty()).then_some((listen, settings))
}

fn main() -> ExitCode {
    let Some((listen, settings)) = settings() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match Emulator::start(listen, settings) {
        Ok(emulator) => {
            println!("{}", emulator.endpoint());
            loop {
                std::thread::park();
            }
        }
        Err(error) => {
            eprintln!("cannot listen at {listen}: {error}");
            ExitCode::FAILURE
        }
    }
}
