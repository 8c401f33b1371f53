//! The commands.

use std::path::Path;

use crate::arguments::Arguments;
use crate::bundle::Bundle;
use crate::failure::Failure;
use crate::state::{OCI_VERSION, StateDir};
use crate::{Context, Environment, delegate, print};

mod create;
mod delete;
mod exec;
mod features;
mod kill;
mod run;
mod show;
mod start;
mod update;

/// The help of the program.
const HELP: &str = "\
Run unikernels for container engines (OCI runtime)

Usage: runu [--root DIR] [--log FILE] [--log-format text|json] COMMAND

Commands:
  create --bundle DIR ID   Create a container from a bundle
  start ID                 Start a container that was created
  state ID                 Print the state of a container
  kill [--all] ID [SIGNAL] Send a signal to a container
  delete [--force] ID      Delete a container
  run --bundle DIR ID      Create a container and start it
  list                     List containers
  ps ID                    List the processes of a container
  pause ID                 Pause a container
  resume ID                Resume a container
  update ID                Update limits of a container
  events [--stats] ID      Print the resource usage of a container
  exec ID runu-probe ...   Check whether a port of a container answers
  features                 Print what this runtime supports

Options:
  --root DIR               Directory of the containers [default: /run/runu]
  --log FILE               File for errors and warnings
  --log-format FORMAT      Format of that file: text or json
  --delegate PROGRAM       Runtime for images without a unikernel [default: runc, crun or youki]
  --version                Print the version

Bundles whose root file system has no `/unikraft/bin/kernel` are handed to runc, crun or youki.
Example: dockerd --add-runtime runu=/usr/local/bin/runu";

/// Runs a command; returns the exit code.
pub(crate) fn run(arguments: &Arguments, environment: &Environment) -> Result<u8, Failure> {
    if arguments.global.version {
        let version = env!("CARGO_PKG_VERSION");
        print(&format!("runu version {version}\nspec: {OCI_VERSION}"))?;
        return Ok(0);
    }
    let verb = match arguments.verb.as_deref() {
        Some(verb) if !arguments.global.help && !arguments.flags.help => verb,
        _ => return print(HELP).map(|()| 0),
    };
    let ctx = Context::new(arguments, environment)?;
    match verb {
        "features" => features::exec(&ctx).map(|()| 0),
        "list" => show::list(&ctx).map(|()| 0),
        "create" | "run" => {
            let bundle = arguments.flags.bundle.as_deref();
            let bundle = Bundle::open(bundle.unwrap_or(Path::new(".")))?;
            if !bundle.has_kernel() {
                return Err(delegate::hand_over(&ctx));
            }
            if verb == "run" {
                return run::exec(&ctx, &bundle);
            }
            create::exec(&ctx, &bundle).map(|()| 0)
        }
        _ => of_container(&ctx, verb),
    }
}

/// Runs a command about an existing container.
fn of_container(ctx: &Context<'_>, verb: &str) -> Result<u8, Failure> {
    let Some(id) = ctx.arguments.id() else {
        return Err(match verb {
            "state" | "start" | "kill" | "delete" | "ps" | "pause" | "resume" | "exec"
            | "update" | "events" => Failure(format!("`runu {verb}` needs the id of a container")),
            _ => delegate::hand_over(ctx),
        });
    };
    let dir = match StateDir::new(&ctx.root, id) {
        Ok(dir) if dir.is_ours() => dir,
        Ok(dir) => {
            let forced = verb == "delete" && ctx.arguments.flags.force;
            if forced && dir.path().is_dir() && delegate::find(ctx).is_err() {
                // Of a `create` that was killed; other runtimes remove it likewise.
                dir.remove()?;
            }
            if dir.path().exists() || delegate::find(ctx).is_ok() {
                return Err(delegate::hand_over(ctx));
            }
            // Engines delete twice.
            return if forced {
                Ok(0)
            } else {
                Err(Failure(format!("container `{id}` does not exist")))
            };
        }
        Err(failure) => return Err(failure),
    };
    match verb {
        "start" => start::exec(ctx, &dir)?,
        "state" => show::state(&dir)?,
        "kill" => kill::exec(ctx, &dir)?,
        "delete" => delete::exec(ctx, &dir)?,
        "ps" => show::ps(ctx, &dir)?,
        "events" => show::events(ctx, &dir)?,
        "pause" => start::pause(&dir)?,
        "resume" => start::resume(&dir)?,
        "update" => update::exec(ctx, &dir)?,
        "exec" => return exec::exec(ctx, &dir),
        _ => {
            return Err(Failure(format!(
                "`runu {verb}` is not possible: container `{id}` is a unikernel"
            )));
        }
    }
    Ok(0)
}
