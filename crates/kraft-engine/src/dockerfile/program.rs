//! A build by a program that needs no daemon: buildah, or podman, which is made of it.

use std::io::Read;
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use kraft_buildkit::Address;
use kraft_core::problem::Problem;
use kraft_rootfs::Options;
use kraft_rootfs::dockerfile::Settings;
use kraft_sys::environment::Inherit;
use kraft_sys::tool::{self, Tool};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::job::Job;
use super::told::Screen;
use super::trouble::{self, Attempt};
use super::{fault, names};
use crate::context::Context;
use crate::failure::{Failure, Kind};
use crate::rootfs::Scratch;

/// So many of the last bytes that a program says are kept for the case that it fails.
const KEPT: usize = 8 * 1024;

/// What container engines get of our own environment: their credential helpers know their user by
/// variables of any service.
const ENGINE: Inherit = Inherit::WithoutOurs;

fn engine(name: &str) -> Tool {
    Tool::new(name).inherit(ENGINE)
}

/// Returns whether a program is there and works, or why not.
pub(super) fn look(name: &str) -> Result<(), String> {
    if tool::locate(name.as_ref()).is_none() {
        return Err("it is not installed".to_owned());
    }
    let limit = std::time::Duration::from_secs(20);
    let output = engine(name).args(["info"]).limit(limit).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(said.lines().last().unwrap_or("it does not work").to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Builds, and makes the archive at `out` while the tar comes.
pub(super) fn build(
    ctx: &Context,
    job: &Job<'_>,
    out: &Path,
    name: &str,
) -> Result<Attempt, Failure> {
    let scratch = Scratch::new(ctx)?;
    let id_file = scratch.path().join("image-id");
    let options = Options {
        epoch: crate::epoch::read(&ctx.env)?,
        keep_owners: false,
    };
    let screen = Screen::begin(ctx, &format!("building {}", job.shown_text().name));
    let mut command = tool::command(name);
    ENGINE.apply(&mut command);
    command.args([
        "build",
        "--quiet",
        "--output",
        "type=tar,dest=-",
        "--iidfile",
    ]);
    command.arg(&id_file);
    command.args(words(ctx, job, &scratch)?);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::new(Kind::Host, format!("cannot start `{name}`: {error}")))?;
    let errors = child.stderr.take();
    let listening = std::thread::spawn(move || last_words(errors));
    let archived = std::thread::scope(|scope| {
        let (done, over) = mpsc::channel::<()>();
        let pid = Pid::from_child(&child);
        if let Some(deadline) = job.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            // Until its output has ended, the child is not waited for, so the number is its own.
            scope.spawn(move || {
                if over.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Timeout) {
                    let _ = kill_process(pid, Signal::TERM);
                }
            });
        }
        let archived = archive(&mut child, out, &options, &screen);
        drop(done);
        archived
    });
    let status = child
        .wait()
        .map_err(|error| Failure::new(Kind::Failed, format!("`{name}` is lost: {error}")))?;
    let said = listening.join().unwrap_or_default();
    screen.end(status.success() && archived.is_ok());
    if !status.success() {
        let failure = failed(job, name, &said);
        return Ok(match trouble::of_program(&said) {
            Some(why) => Attempt::Trouble { why, failure },
            None => return Err(failure),
        });
    }
    for warning in &archived?.warnings {
        ctx.warn(warning);
    }
    let id = kraft_sys::fs::read_file(&id_file, 4096)?;
    settings(name, String::from_utf8_lossy(&id).trim())
        .map(|settings| Attempt::Built(settings.into()))
}

fn archive(
    child: &mut Child,
    out: &Path,
    options: &Options,
    screen: &Screen,
) -> Result<kraft_rootfs::Built, Failure> {
    let Some(mut tar) = child.stdout.take() else {
        return Err(Failure::new(Kind::Failed, "the builder has no output"));
    };
    let name = Path::new("what the builder sends");
    let built = kraft_rootfs::build_tar(name, &mut tar, out, options, &mut |done| {
        screen.written(done);
    });
    if built.is_err() {
        // What it would still say is of no use, and nobody reads it.
        let _ = child.kill();
    }
    Ok(built?)
}

fn words(ctx: &Context, job: &Job<'_>, scratch: &Scratch) -> Result<Vec<String>, Failure> {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let mut words = vec![
        "--platform".to_owned(),
        format!("linux/{}", job.arch),
        "--file".to_owned(),
        path(&scratch.file("Dockerfile", names::qualified(job).as_bytes())?),
    ];
    let ignore = kraft_rootfs::dockerfile::ignore_file(&job.file, &job.context);
    if ignore.is_file() {
        words.extend(["--ignorefile".to_owned(), path(&ignore)]);
    }
    if let Some(target) = &job.wish.target {
        words.extend(["--target".to_owned(), target.clone()]);
    }
    if let Some(network) = &job.wish.network {
        words.extend(["--network".to_owned(), network.clone()]);
    }
    if job.bases().iter().any(|name| speaks_plainly(ctx, name)) {
        words.push("--tls-verify=false".to_owned());
    }
    if job.wish.no_cache {
        words.push("--no-cache".to_owned());
    }
    // With a cache of layers, buildah 1.28 sends what was there before the last of them.
    words.push("--layers=false".to_owned());
    for (name, value) in &job.arguments {
        words.extend(["--build-arg".to_owned(), format!("{name}={value}")]);
    }
    // A file, and not the value in an argument that everybody sees.
    for (number, secret) in job.secrets(ctx)?.into_iter().enumerate() {
        let file = scratch.file(&format!("secret-{number}"), &secret.bytes)?;
        words.extend([
            "--secret".to_owned(),
            format!("id={},src={}", secret.id, path(&file)),
        ]);
    }
    for (id, socket) in job.agents(ctx)? {
        if !job.wish.agents.is_empty() {
            words.extend(["--ssh".to_owned(), format!("{id}={}", path(&socket))]);
        }
    }
    words.push(path(&job.context));
    Ok(words)
}

/// Returns whether an image's registry may be spoken to without TLS, as our own client does: one on
/// this computer, or one that `--insecure` names.
fn speaks_plainly(ctx: &Context, name: &str) -> bool {
    let host = name.split_once('/').map_or("", |(host, _)| host);
    let here = host.starts_with("127.") || host.split(':').next() == Some("localhost");
    here || ctx.settings.insecure.iter().any(|named| named == host)
}

/// Keeps what a program said last.
fn last_words(errors: Option<ChildStderr>) -> String {
    let mut kept: Vec<u8> = Vec::new();
    if let Some(mut errors) = errors {
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = errors.read(&mut chunk) {
            kept.extend(chunk.iter().take(count));
            let surplus = kept.len().saturating_sub(KEPT);
            kept.drain(..surplus);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn failed(job: &Job<'_>, name: &str, said: &str) -> Failure {
    if let Err(problems) = &job.read {
        return fault::of_reading(job, problems);
    }
    let lines: Vec<String> = said.lines().map(str::to_owned).collect();
    let error = lines
        .iter()
        .rev()
        .find_map(|line| line.strip_prefix("Error: "));
    let message = error.map_or_else(|| format!("`{name}` failed"), str::to_owned);
    let mut problem = Problem::error(message);
    problem.span = failed_step(job, said);
    if problem.span.is_none() {
        let shown = said.trim();
        return Failure::new(
            Kind::Build,
            format!(
                "cannot build `{}` with `{name}`:\n{shown}",
                job.shown_text().name
            ),
        );
    }
    fault::in_text(job, problem, &lines)
}

/// Finds the instruction in `building at STEP "RUN make": …`.
fn failed_step(job: &Job<'_>, said: &str) -> Option<kraft_core::problem::Span> {
    let (_, after) = said.split_once("building at STEP \"")?;
    let dockerfile = job.read.as_ref().ok()?;
    let steps = dockerfile.stages.iter().flat_map(|stage| &stage.steps);
    let mut steps = steps.filter(|step| {
        let text = step.text.trim();
        after.starts_with(text)
            || after
                .split('"')
                .next()
                .is_some_and(|own| own.contains(text))
    });
    steps.next().map(|step| step.span)
}

/// Asks for the configuration of an image that was built.
fn settings(name: &str, id: &str) -> Result<Settings, Failure> {
    let args: &[&str] = match name {
        "podman" => &["image", "inspect"],
        _ => &["inspect", "--type", "image"],
    };
    let output = engine(name)
        .args(args.iter().copied().chain([id]))
        .run()
        .map_err(|error| Failure::new(Kind::Failed, error))?;
    let unreadable = |what: &str| {
        Failure::new(
            Kind::Failed,
            format!("`{name}` does not tell the configuration of the image: {what}"),
        )
    };
    let answer: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| unreadable(&error.to_string()))?;
    let config = match name {
        "podman" => answer.get(0).and_then(|image| image.get("Config")),
        _ => answer.get("OCIv1").and_then(|image| image.get("config")),
    };
    let config = config.cloned().unwrap_or_default();
    let whole = serde_json::json!({ "config": config });
    Settings::of_image(whole.to_string().as_bytes()).map_err(|error| unreadable(&error.to_string()))
}

/// A buildkitd in a container, removed with this.
#[derive(Debug)]
pub(super) struct Container {
    name: String,
}

impl Container {
    /// Returns where it is.
    pub(super) fn address(&self) -> Address {
        Address::Container {
            program: "docker",
            name: self.name.clone(),
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // What stays is seen by `docker ps`.
        let _ = engine("docker").args(["rm", "--force", &self.name]).run();
    }
}

/// Starts a buildkitd through docker, with KraftKit's volume for its cache.
pub(super) fn start_buildkit(image: &str) -> Result<Container, String> {
    if tool::locate("docker".as_ref()).is_none() {
        return Err("`docker` is not installed".to_owned());
    }
    let name = format!("kraft-buildkit-{}", kraft_machine::Id::new());
    let started = engine("docker")
        .args(["run", "--detach", "--rm", "--privileged", "--name", &name])
        .args([
            "--volume",
            "kraftkit-buildkit-cache:/var/lib/buildkit",
            image,
        ])
        .limit(std::time::Duration::from_mins(5))
        .run();
    match started {
        Ok(_) => Ok(Container { name }),
        Err(error) => Err(error
            .to_string()
            .lines()
            .last()
            .unwrap_or("it cannot be started")
            .to_owned()),
    }
}
