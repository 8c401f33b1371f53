//! The command line of `kraft`.
//!
//! ```text
//! args ─ cli ─► commands::X::Args ─ commands::X::exec ─► flows ─► ui
//!                      App (config, ui) ┘      └─► Failure ─► exit code
//! ```
//!
//! A command is a file in `commands/`: its arguments, whose doc comments are its manual, and an
//! `exec` function. Flows are in `kraft-engine` and `kraft-deploy`, which depend neither on clap
//! nor on the environment nor on the configuration file.
//!
//! ```
//! // The whole command line, as clap parses it: for manuals and tests.
//! let command = kraft::command();
//! let run = command.find_subcommand("run").expect("a command");
//! assert!(run.get_arguments().any(|arg| arg.get_long() == Some("memory")));
//! ```

mod app;
mod cli;
mod commands;
mod completion;
mod container_runtime;
mod failure;
mod roles;
mod signals;
mod ui;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use crate::app::App;
use crate::cli::Invocation;
pub use crate::cli::command;
use crate::commands::Reading;
use crate::failure::{Failure, Kind, Stage};
use crate::ui::Ui;
use kraft_config::env::Environment;
use kraft_config::layers::{Origin, Value};
use kraft_config::{Config, Flags};
use kraft_core::event::Reporter;
use kraft_engine::output::{OutputError, put};
use kraft_engine::profile::Began;

/// Runs the program with the arguments and the environment of this process.
pub fn main() -> ExitCode {
    let began = Began::now();
    let args: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = roles::of(&args) {
        return code;
    }
    kraft_sys::process::restrict_umask();
    let env = Environment::capture();
    if let Some(code) = container_runtime::of(&args, &env) {
        return code;
    }
    match cli::parse(args.iter().cloned()) {
        Ok(invocation) => run(invocation, &env, began),
        Err(error) => not_a_command(&error, &args, &env),
    }
}

/// The command whose exit codes are those of Docker's Compose.
const COMPOSE: &str = "compose";

/// Runs the command.
fn run(invocation: Invocation, env: &Environment, began: Began) -> ExitCode {
    let Some(command) = invocation.command else {
        return match completion::requested_shell(env.text("COMPLETE").as_deref()) {
            Ok(Some(shell)) => finish(None, print(completion::script(shell))),
            Ok(None) => finish(None, print_help(env).map_err(Failure::from)),
            Err(error) => finish(
                Some(&Ui::new(&Config::without_file(
                    &invocation.flags,
                    env.clone(),
                ))),
                Err(Failure::usage(error)),
            ),
        };
    };
    let bare = || Config::without_file(&invocation.flags, env.clone());
    let read = match command.reading() {
        Reading::None => Ok(bare()),
        Reading::Strict | Reading::Lenient => Config::load(&invocation.flags, env.clone()),
    };
    let (config, misconfigured) = match read {
        Ok(config) => (config, None),
        Err(error) if command.reading() == Reading::Lenient => (bare(), Some(error.into())),
        Err(error) => return finish(Some(&Ui::new(&bare())), Err(error.into())),
    };
    let ui = Ui::new(&config);
    ui.trace();
    let is_compose = invocation.name == COMPOSE;
    let app = App::new(config, misconfigured, ui, invocation.name, began);
    warn_about_ignored_flags(&app);
    for ignored in &invocation.ignored {
        app.ui.ignored(ignored.flag, true, ignored.why);
    }
    let outcome = commands::exec(&app, command);
    let kind = outcome.as_ref().err().map(|failure| failure.kind);
    let code = finish(Some(&*app.reporter), outcome);
    match kind {
        Some(kind) if is_compose => ExitCode::from(kind.compose_exit_code()),
        _ => code,
    }
}

/// Warns about global flags that have no effect. Switches such as `--no-emojis` ask for the
/// default, unless they are switched off; files and variables are often KraftKit's.
fn warn_about_ignored_flags(app: &App) {
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

/// Reports the failure, if any, and returns the exit code.
fn finish(reporter: Option<&dyn Reporter>, outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some((reporter, event)) = reporter.zip(failure.event()) {
                reporter.report(event);
            }
            ExitCode::from(failure.kind.exit_code())
        }
    }
}

/// Prints a text to stdout as it is.
fn print(text: &str) -> Result<(), Failure> {
    put(&mut io::stdout().lock(), text.as_bytes()).map_err(Failure::from)
}

fn print_help(env: &Environment) -> Result<(), OutputError> {
    let help = command().render_help();
    let mut stdout = io::stdout().lock();
    if ui::colour_is_wanted(false, env, stdout.is_terminal()) {
        write!(stdout, "{}", help.ansi())?;
    } else {
        write!(stdout, "{help}")?;
    }
    Ok(())
}

/// Handles what clap does not return as a command: a request for help, or a usage error.
fn not_a_command(error: &clap::Error, args: &[OsString], env: &Environment) -> ExitCode {
    let typed = |flag: &str| args.iter().any(|arg| arg == flag);
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
        let written = put(&mut stdout, text.as_bytes());
        return finish(None, written.map_err(Failure::from));
    }
    // The flags that can be recognized decide the format of the error.
    let mut flags = Flags::default();
    if no_color {
        flags.values.push(("no_color", "true".to_owned()));
    }
    let json = |pair: &[OsString]| matches!(pair, [flag, value] if flag == "--log-type" && value == "json");
    if typed("--log-type=json") || args.windows(2).any(json) {
        flags.values.push(("log.type", "json".to_owned()));
    }
    let ui = Ui::new(&Config::without_file(&flags, env.clone()));
    let kind = match cli::command_of(args) {
        Some(COMPOSE) => Kind::Compose(Stage::Arguments),
        _ => Kind::Usage,
    };
    ui.usage_error(
        kind.code(),
        &text,
        ui::colour_is_wanted(no_color, env, io::stderr().is_terminal()),
    );
    ExitCode::from(kind.exit_code())
}
