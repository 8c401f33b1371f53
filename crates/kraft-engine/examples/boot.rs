//! Boots a kernel and prints its console until the machine ends.
//!
//! ```text
//! cargo run --package kraft-engine --example boot -- ./kernel
//! ```

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use kraft_config::env::Environment;
use kraft_config::{Config, Flags};
use kraft_core::event::Silent;
use kraft_core::plan::RunRequest;
use kraft_engine::boot::{self, PrepareOptions};
use kraft_engine::context::{Context, NoPrompt};
use kraft_engine::dockerfile::BuildOptions;
use kraft_engine::follow::{self, Console};
use kraft_engine::machines::{self, MONITOR};
use kraft_engine::run;
use kraft_engine::run_target::{self, RunTargetArgs};
use kraft_machine::LogsOptions;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let kernel = args.next().ok_or("usage: boot KERNEL")?;
    // The monitor of a machine is this program again.
    if kernel == MONITOR {
        let code = kraft_machine::monitor::main(args);
        return Ok(ExitCode::from(u8::try_from(code)?));
    }
    let config = Config::load(&Flags::default(), Environment::capture())?;
    let context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));

    let first = RunTargetArgs {
        first: Some(&kernel),
        ..RunTargetArgs::default()
    };
    let target = run_target::resolve(&context, first)?.target;
    let request = RunRequest::default();
    let options = BuildOptions::default();
    let prepared = boot::prepare(&context, target, PrepareOptions::new(&request, &options))?;
    let kernel = prepared.boot(prepared.kernel().to_owned(), None);
    let spec = run::plan(&context, &request, &kernel, prepared.kernel_size)?;

    let machines = machines::open(&context)?;
    let machine = machines.create(&spec)?;
    let watch = machines.start(&machine.id)?;
    let console = Console::plain(watch.logs(LogsOptions::default())?);
    let interrupt = context.interrupt.clone();
    follow::follow(&context, &mut io::stdout(), vec![console], &interrupt)?;
    machines.remove(&machine.id, true)?;
    Ok(ExitCode::SUCCESS)
}
