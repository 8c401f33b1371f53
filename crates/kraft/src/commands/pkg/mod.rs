//! `kraft pkg`: packages projects and kernels, and manages packages.

mod cat;
mod info;
mod inspect;
mod load;
pub(crate) mod ls;
mod pack;
pub(crate) mod pull;
pub(crate) mod push;
mod remove;
mod save;
mod source;
pub(crate) mod tag;
mod tree;
mod update;

use clap::Subcommand;

pub(crate) use self::source::add_source;
use crate::app::App;
use crate::commands::nested::Nested;
use crate::failure::Failure;

/// Package unikernels, and manage packages
///
/// Without a command, package a kernel file, a project with a runtime and a root filesystem, or the
/// built targets of a project. The result is an OCI image with one manifest per platform, which
/// kraft, registries and container engines support.
///
/// Images are reproducible: timestamps are `SOURCE_DATE_EPOCH` or 1970.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_value_name = "COMMAND",
    after_long_help = "\
Examples:
  kraft pkg --name unikraft.org/hello:latest
  kraft pkg --name localhost:5000/hello --kernel ./kernel --arch x86_64 --plat qemu --push
  kraft pkg --name hello --runtime unikraft.org/base --rootfs ./rootfs --args '/hello -v'
  kraft pkg ls --apps
  kraft pkg pull unikraft.org/nginx:latest"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Nested<Command>>,

    #[command(flatten)]
    pack: pack::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(visible_alias = "list")]
    Ls(ls::Args),
    Info(info::Args),
    Inspect(inspect::Args),
    Tree(tree::Args),
    Cat(cat::Args),
    Tag(tag::Args),
    Pull(pull::Args),
    Push(push::Args),
    #[command(name = "rm", visible_alias = "remove")]
    Remove(remove::Args),
    Save(save::Args),
    Load(load::Args),
    Update(update::Args),
    Source(source::SourceArgs),
    Unsource(source::UnsourceArgs),
}

pub(crate) fn exec(app: &App, args: Args) -> Result<(), Failure> {
    match args.command.map(|nested| nested.0) {
        None => pack::exec(app, &args.pack),
        Some(Command::Ls(args)) => ls::exec(app, &args),
        Some(Command::Info(args)) => info::exec(app, &args),
        Some(Command::Inspect(args)) => inspect::exec(app, &args),
        Some(Command::Tree(args)) => tree::exec(app, &args),
        Some(Command::Cat(args)) => cat::exec(app, &args),
        Some(Command::Tag(args)) => tag::exec(app, &args),
        Some(Command::Pull(args)) => pull::exec(app, &args),
        Some(Command::Push(args)) => push::exec(app, &args),
        Some(Command::Remove(args)) => remove::exec(app, &args),
        Some(Command::Save(args)) => save::exec(app, &args),
        Some(Command::Load(args)) => load::exec(app, &args),
        Some(Command::Update(args)) => update::exec(app, &args),
        Some(Command::Source(args)) => source::add(app, &args),
        Some(Command::Unsource(args)) => source::remove(app, &args),
    }
}
