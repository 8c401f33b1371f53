//! The command line of `kraft`.
//!
//! ```text
//! words ─ cli ─► commands::X::Args ─ commands::X::exec ─► rooms ─► ui
//!                       App (config, ui) ┘      └─► Failure ─► exit code
//! ```
//!
//! A command is a file in `commands/`: its arguments, whose comments are its manual, and an
//! `exec` that reads top to bottom. Flows are in `kraft-engine` and `kraft-deploy`, which know
//! neither clap nor the environment nor the configuration file.

mod app;
mod cli;
mod commands;
mod completion;
mod failure;
mod recent;
mod signals;
mod ui;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use kraft_rootfs::sandbox;

use crate::app::App;
use crate::cli::Typed;
pub use crate::cli::command;
use crate::commands::Reading;
use crate::failure::{Failure, Kind, exit_code};
use crate::ui::Ui;
use kraft_config::env::Environment;
use kraft_config::layers::{Origin, Value};
use kraft_config::{Config, Flags};
use kraft_engine::machines::MONITOR;

/// Runs the program with the words and the environment of this process.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == MONITOR) {
        let code = kraft_machine::monitor::main(words.into_iter().skip(2));
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    if words.get(1).is_some_and(|word| word == sandbox::WORD) {
        let code = sandbox::enter();
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    kraft_sys::process::restrict_umask();
    let env = Environment::capture();
    match cli::parse(words.iter().cloned()) {
        Ok(typed) => run(typed, &env),
        Err(error) => misunderstood(&error, &words, &env),
    }
}

/// Does what was typed.
fn run(typed: Typed, env: &Environment) -> ExitCode {
    let Some(command) = typed.command else {
        return ended(None, print_help(env));
    };
    let bare = || Config::without_file(&typed.flags, env.clone());
    let read = match command.reading() {
        Reading::None => Ok(bare()),
        Reading::Strict | Reading::Lenient => Config::load(&typed.flags, env.clone()),
    };
    let (config, misconfigured) = match read {
        Ok(config) => (config, None),
        Err(error) if command.reading() == Reading::Lenient => (bare(), Some(error.into())),
        Err(error) => return ended(Some(&Ui::new(&bare())), Err(error.into())),
    };
    let ui = Ui::new(&config);
    ui.trace();
    let app = App::new(config, misconfigured, ui, typed.name);
    warn_of_ignored(&app);
    let outcome = commands::exec(&app, command);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            app.failure(&failure);
            ExitCode::from(exit_code(failure.kind))
        }
    }
}

/// Warns about global flags that nothing reads. Switches such as `--no-emojis` ask for what is so
/// anyway, unless they are switched off; files and variables are often KraftKit's.
fn warn_of_ignored(app: &App) {
    for setting in &app.config.layers.settings {
        let key = setting.key;
        if let Origin::Flag(flag) = setting.origin
            && !key.used
            && setting.value != Value::Switch(true)
        {
            let why = "kraft does not use this setting of KraftKit";
            app.ui.ignored(&format!("--{flag}"), true, why);
        }
    }
}

/// Tells how it ended, and turns that into the exit code.
fn ended(ui: Option<&Ui>, outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(ui) = ui {
                ui.failure(&failure);
            }
            ExitCode::from(exit_code(failure.kind))
        }
    }
}

fn print_help(env: &Environment) -> Result<(), Failure> {
    let help = command().render_help();
    let mut stdout = io::stdout().lock();
    if ui::colour_is_wanted(false, env, stdout.is_terminal()) {
        write!(stdout, "{}", help.ansi())?;
    } else {
        write!(stdout, "{help}")?;
    }
    Ok(())
}

/// Answers what clap did not take as a command: a question for help, or a mistake.
fn misunderstood(error: &clap::Error, words: &[OsString], env: &Environment) -> ExitCode {
    let typed = |flag: &str| words.iter().any(|word| word == flag);
    let no_color = typed("--no-color");
    let text = error.render();
    if error.exit_code() == 0
        || error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    {
        let mut stdout = io::stdout().lock();
        let colour = ui::colour_is_wanted(no_color, env, stdout.is_terminal());
        let text = if colour {
            text.ansi().to_string()
        } else {
            text.to_string()
        };
        let written = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush());
        return ended(None, written.map_err(Failure::from));
    }
    // What could be understood of the flags decides how the mistake is told.
    let mut flags = Flags::default();
    if no_color {
        flags.values.push(("no_color", "true".to_owned()));
    }
    let json = |pair: &[OsString]| matches!(pair, [flag, value] if flag == "--log-type" && value == "json");
    if typed("--log-type=json") || words.windows(2).any(json) {
        flags.values.push(("log.type", "json".to_owned()));
    }
    let ui = Ui::new(&Config::without_file(&flags, env.clone()));
    ui.usage_error(
        &text,
        ui::colour_is_wanted(no_color, env, io::stderr().is_terminal()),
    );
    ExitCode::from(exit_code(Kind::Usage))
}
