//! A build by ourselves.

use std::collections::BTreeMap;
use std::path::Path;

use kraft_rootfs::dockerfile::{self, Fault, Recipe, Settings, Told};
use kraft_rootfs::sandbox::Sandbox;
use kraft_rootfs::{Options, build_layers};

use super::bases::{Base, Shelf};
use super::fault;
use super::job::Job;
use super::told::Screen;
use crate::app::App;
use crate::failure::{Failure, Kind};
use crate::ops::rootfs::{self, Scratch};

/// Returns why we cannot build this, if we cannot.
pub(super) fn obstacle(app: &App, job: &Job<'_>) -> Result<Option<String>, Failure> {
    let dockerfile = match &job.read {
        Ok(dockerfile) => dockerfile,
        // Nobody else was asked, or could: then it is our word that counts.
        Err(problems) => return Err(fault::of_reading(job, problems)),
    };
    let shelf = Shelf { app };
    let nothing = BTreeMap::new();
    let recipe = Recipe {
        dockerfile,
        context: &job.context,
        ignore: &job.ignore,
        target: job.wish.target.as_deref(),
        arguments: &job.arguments,
        architecture: job.arch,
        host: host_arch(),
        images: &shelf,
        runner: None,
        secrets: &nothing,
        scratch: &job.context,
        caches: &job.context,
    };
    let runner = find_runner(app);
    let obstacle = dockerfile::obstacle(&recipe, runner.is_ok());
    Ok(obstacle.map(|problem| match runner {
        Err(why) if problem.message.contains("`RUN`") => {
            format!("{}: {why}", problem.message)
        }
        _ => problem.message,
    }))
}

/// Builds, and makes the archive at `out`.
pub(super) fn build(app: &App, job: &Job<'_>, out: &Path) -> Result<Settings, Failure> {
    let dockerfile = match &job.read {
        Ok(dockerfile) => dockerfile,
        Err(problems) => return Err(fault::of_reading(job, problems)),
    };
    let scratch = Scratch::new(app)?;
    let caches = super::cache::dir(app).join("mounts");
    kraft_sys::fs::create_dir_all(&caches, 0o700)?;
    let secrets = job.secrets(app)?.into_iter();
    let secrets = secrets.map(|secret| (secret.id, secret.bytes)).collect();
    let shelf = Shelf { app };
    let runner = find_runner(app).ok();
    let recipe = Recipe {
        dockerfile,
        context: &job.context,
        ignore: &job.ignore,
        target: job.wish.target.as_deref(),
        arguments: &job.arguments,
        architecture: job.arch,
        host: host_arch(),
        images: &shelf,
        runner: runner
            .as_ref()
            .map(|runner| runner as &dyn dockerfile::Runner),
        secrets: &secrets,
        scratch: scratch.path(),
        caches: &caches,
    };
    let options = Options {
        epoch: rootfs::epoch(app)?,
        keep_owners: false,
    };
    let screen = Screen::begin(app, &format!("building {}", job.shown_text().name));
    let executed = dockerfile::execute(&recipe, out, &options, &mut |told| match told {
        Told::Step(step) => screen.step(step),
        Told::Line(line) => screen.line(line),
        Told::Written(done) => screen.written(done),
        Told::Warning(text) => screen.warn(text),
    });
    screen.end(executed.is_ok());
    match executed {
        Ok((built, settings)) => {
            for warning in &built.warnings {
                app.ui.warn(warning);
            }
            Ok(settings)
        }
        Err(Fault::Text(problem)) => Err(fault::in_text(job, *problem, &[])),
        Err(Fault::Command { problem, lines }) => Err(fault::in_text(job, *problem, &lines)),
        Err(Fault::Room(error)) => Err(error.into()),
    }
}

/// Lays the layers of an image over each other.
pub(super) fn flatten(app: &App, base: &Base, out: &Path) -> Result<Settings, Failure> {
    let options = Options {
        epoch: rootfs::epoch(app)?,
        keep_owners: false,
    };
    let screen = Screen::begin(app, "unpacking the image");
    let mut numbers = 0..;
    let built = build_layers(
        &mut || base.layer(numbers.next()?),
        out,
        &options,
        &mut |done| screen.written(done),
    );
    screen.end(built.is_ok());
    for warning in &built?.warnings {
        app.ui.warn(warning);
    }
    Settings::of_image(&base.config).map_err(|error| {
        Failure::new(
            Kind::Failed,
            format!("the configuration of the image cannot be read: {error}"),
        )
    })
}

/// Returns what runs commands, or why there is none.
fn find_runner(app: &App) -> Result<Sandbox, String> {
    let me = std::env::current_exe().map_err(|error| error.to_string())?;
    Sandbox::find(&me, &rootfs::dir(app))
}

fn host_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
