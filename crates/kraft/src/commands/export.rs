//! `kraft export`.

use std::ffi::OsString;
use std::path::PathBuf;

use kraft_core::plan::RunRequest;
use kraft_core::quantity;
use kraft_engine::arguments;
use kraft_engine::export::source::{self, ExportRequest};
use kraft_engine::export::{Engine, Exported, Part, export, write};
use kraft_engine::obtain::Pull;

use super::choices;
use super::lifecycle::LifecycleArgs;
use crate::app::App;
use crate::failure::{Failure, Kind};

/// Print a manifest that runs a unikernel on another engine
///
/// The manifest is printed with the steps to install it as comments; with --output, it is written to a
/// directory, together with the settings of hosts. Nothing is installed or started.
///
/// Engines pull the image from its registry: push it first, with `kraft pkg --push`. All of them
/// boot it by the OCI runtime `runu`, except `kubevirt` and `libvirt`, which boot its kernel, and
/// `systemd`, which runs `kraft run`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Arguments of the application come after the target, and those that begin with a dash after `--`.

Examples:
  kraft export kubernetes --port 80:8080 registry.example/web:1.0 | kubectl apply --filename -
  kraft export docker --memory 128Mi registry.example/web:1.0
  kraft export swarm --replicas 3 --output stack ./compose.yaml
  kraft export podman --image registry.example/web:1.0 --output units ./project
  kraft export libvirt --output domain registry.example/web:1.0")]
pub(crate) struct Args {
    /// What the manifest is for
    #[arg(value_name = "ENGINE", value_parser = choices::ENGINE)]
    engine: Engine,

    /// Image, project directory or Compose file (default: the current directory)
    #[arg(value_name = "TARGET", value_hint = clap::ValueHint::AnyPath)]
    subject: Option<OsString>,

    /// Arguments of the application
    #[arg(value_name = "ARGS")]
    words: Vec<OsString>,

    /// Use this image for the project
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,

    /// Set the name (default: that of the image, project or service)
    #[arg(short, long)]
    name: Option<String>,

    /// Set the number of machines
    #[arg(long, value_name = "NUMBER")]
    replicas: Option<u32>,

    /// Set the memory of the guest, such as 64Mi or 1G
    #[arg(short = 'M', long, value_name = "SIZE")]
    memory: Option<String>,

    /// Set the number of CPUs
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    cpus: Option<u32>,

    /// Publish a port of the machine
    #[arg(short, long, value_name = "[[IP:]PORT:]PORT[/udp]")]
    port: Vec<String>,

    /// Set an environment variable of the application; without a value, use that of the host
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,

    /// Mount a named volume or a directory of the host that runs the machine
    #[arg(short, long, value_name = "[NAME|DIR:]PATH[:ro]")]
    volume: Vec<String>,

    #[command(flatten)]
    lifecycle: LifecycleArgs,

    /// Set when to pull the image for its kernel, for `kubevirt` and `libvirt`
    #[arg(long, value_name = "WHEN", default_value = "missing", value_parser = choices::PULL)]
    pull: Pull,

    /// Write the files to this directory
    #[arg(short, long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    output: Option<PathBuf>,

    /// Replace files that exist
    #[arg(long, requires = "output")]
    force: bool,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let mut target = args.subject.as_deref();
    let mut words = args.words.clone();
    if args.image.is_some()
        && let Some(word) = target.filter(|word| !std::path::Path::new(word).exists())
    {
        // The project is that of the current directory.
        words.insert(0, word.to_owned());
        target = None;
    }
    let order = ExportRequest {
        target,
        image: args.image.as_deref(),
        request: request(app, args, &words)?,
        replicas: args.replicas,
        engine: args.engine,
        pull: args.pull,
    };
    let application = source::resolve(app, &order)?;
    let exported =
        export(args.engine, &application.workloads).map_err(|sentences| refused(&sentences))?;
    for note in application.notes.iter().chain(&exported.notes) {
        app.ui.warn(note);
    }
    match &args.output {
        Some(dir) => {
            for path in write::write(&exported, dir, args.force)? {
                app.ui.line(&path.display().to_string())?;
            }
            Ok(())
        }
        None => print(app, &exported),
    }
}

/// Prints the manifest, if it is one file.
fn print(app: &App, exported: &Exported) -> Result<(), Failure> {
    let mut manifests = exported
        .files
        .iter()
        .filter(|file| file.part == Part::Manifest);
    let (Some(first), None) = (manifests.next(), manifests.next()) else {
        return Err(Failure::usage("the manifest consists of several files")
            .hint("write them to a directory: `--output DIR`"));
    };
    let others = exported
        .files
        .iter()
        .filter(|file| file.part != Part::Manifest);
    let others: Vec<&str> = others.map(|file| file.name.as_str()).collect();
    if !others.is_empty() {
        app.ui
            .info(&format!("`--output DIR` also writes {}", others.join(", ")));
    }
    app.ui.data(&first.text)
}

fn refused(sentences: &[String]) -> Failure {
    Failure::new(Kind::Usage, sentences.join("; "))
}

fn request(app: &App, args: &Args, words: &[OsString]) -> Result<RunRequest, Failure> {
    let mut ports = Vec::new();
    for port in &args.port {
        ports.extend(kraft_core::port::parse(port).map_err(Failure::usage)?);
    }
    let volumes = args.volume.iter().map(|it| source::volume(it));
    let words = words.iter().map(|it| arguments::text(it, "an argument"));
    let memory = args.memory.as_deref().map(quantity::parse);
    Ok(RunRequest {
        name: args.name.clone(),
        memory: memory.transpose().map_err(Failure::usage)?,
        cpus: args.cpus,
        ports,
        volumes: volumes.collect::<Result<_, _>>()?,
        env: arguments::env(&args.env, &app.env)?,
        labels: args.lifecycle.labels(),
        lifecycle: args.lifecycle.lifecycle()?,
        args: words.collect::<Result<_, _>>()?,
        ..RunRequest::default()
    })
}
