//! Builds by a program that needs no daemon: buildah, or podman, which contains it.

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

use super::attempt::{self, Attempt};
use super::error::Error;
use super::progress::BuildProgress;
use super::request::BuildRequest;
use super::{diagnostics, names};
use crate::context::Context;
use crate::rootfs::Scratch;

/// Number of bytes at the end of a program's output that are kept for its error.
const KEPT: usize = 8 * 1024;

/// Which environment container engines inherit: their credential helpers identify their user by
/// variables of any service.
const ENGINE: Inherit = Inherit::WithoutOurs;

fn engine(name: &str) -> Tool {
    Tool::new(name).inherit(ENGINE)
}

/// Checks that a program is installed and works; the error is the reason if it does not.
pub(super) fn check(name: &str) -> Result<(), String> {
    if tool::locate(name.as_ref()).is_none() {
        return Err("it is not installed".to_owned());
    }
    let limit = std::time::Duration::from_secs(20);
    let output = engine(name).args(["info"]).limit(limit).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(errors
                .lines()
                .last()
                .unwrap_or("it does not work")
                .to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Builds, and writes the archive at `out` while the program sends the tar.
pub(super) fn build(
    ctx: &Context,
    request: &BuildRequest<'_>,
    out: &Path,
    name: &str,
) -> Result<Attempt, Error> {
    let scratch = Scratch::new(ctx)?;
    let id_file = scratch.path().join("image-id");
    let options = Options {
        epoch: crate::epoch::read(&ctx.env)?,
        keep_owners: false,
    };
    let progress = BuildProgress::begin(ctx, &format!("building {}", request.shown()));
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
    command.args(arguments(ctx, request, &scratch)?);
    tracing::debug!(program = name, file = %request.file.display(), "start the builder");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| Error::Start {
            program: name.to_owned(),
            source,
        })?;
    let errors = child.stderr.take();
    let reader = std::thread::spawn(move || last_output(errors));
    let archived = std::thread::scope(|scope| {
        let (done, over) = mpsc::channel::<()>();
        let pid = Pid::from_child(&child);
        if let Some(deadline) = request.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            // The child is not waited for before its output has ended, so the process id is its own.
            scope.spawn(move || {
                if over.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Timeout) {
                    let _ = kill_process(pid, Signal::TERM);
                }
            });
        }
        let archived = archive(request, &mut child, out, &options, &progress);
        drop(done);
        archived
    });
    let status = child.wait().map_err(|source| Error::Wait {
        program: name.to_owned(),
        source,
    })?;
    tracing::debug!(program = name, %status, "the builder exited");
    let output = reader.join().unwrap_or_default();
    progress.end(status.success() && archived.is_ok());
    if !status.success() {
        let error = failed(request, name, &output);
        return match attempt::of_program(&output) {
            Some(reason) => Ok(Attempt::BuilderFailed { reason, error }),
            None => Err(error),
        };
    }
    for warning in &archived?.warnings {
        ctx.warn(warning);
    }
    let id = kraft_sys::fs::read_file(&id_file, 4096)?;
    settings(name, String::from_utf8_lossy(&id).trim())
        .map(|settings| Attempt::Built(settings.into()))
}

/// Writes the archive from the tar that the program prints.
fn archive(
    request: &BuildRequest<'_>,
    child: &mut Child,
    out: &Path,
    options: &Options,
    progress: &BuildProgress,
) -> Result<kraft_rootfs::Built, Error> {
    let Some(mut tar) = child.stdout.take() else {
        return Err(Error::NoArchive {
            file: request.shown(),
        });
    };
    let name = Path::new("the output of the builder");
    let built = kraft_rootfs::build_tar(name, &mut tar, out, options, &mut |done| {
        progress.written(done);
    });
    if built.is_err() {
        // The rest of its output is not read.
        let _ = child.kill();
    }
    Ok(built?)
}

/// Returns the arguments of the program.
fn arguments(
    ctx: &Context,
    request: &BuildRequest<'_>,
    scratch: &Scratch,
) -> Result<Vec<String>, Error> {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let mut arguments = vec![
        "--platform".to_owned(),
        format!("linux/{}", request.arch),
        "--file".to_owned(),
        path(&scratch.file("Dockerfile", names::qualified(request).as_bytes())?),
    ];
    let ignore = kraft_rootfs::dockerfile::ignore_file(&request.file, &request.context);
    if ignore.is_file() {
        arguments.extend(["--ignorefile".to_owned(), path(&ignore)]);
    }
    if let Some(target) = &request.options.target {
        arguments.extend(["--target".to_owned(), target.clone()]);
    }
    if let Some(network) = &request.options.network {
        arguments.extend(["--network".to_owned(), network.clone()]);
    }
    if request.bases().iter().any(|name| without_tls(ctx, name)) {
        arguments.push("--tls-verify=false".to_owned());
    }
    if request.options.no_cache {
        arguments.push("--no-cache".to_owned());
    }
    // With a cache of layers, buildah 1.28 exports the files from before the last of them.
    arguments.push("--layers=false".to_owned());
    for (name, value) in &request.arguments {
        arguments.extend(["--build-arg".to_owned(), format!("{name}={value}")]);
    }
    // A file: every user of the host can see arguments.
    for (number, secret) in request.secrets(ctx)?.into_iter().enumerate() {
        let file = scratch.file(&format!("secret-{number}"), &secret.bytes)?;
        arguments.extend([
            "--secret".to_owned(),
            format!("id={},src={}", secret.id, path(&file)),
        ]);
    }
    for (id, socket) in request.agents(ctx)? {
        if !request.options.agents.is_empty() {
            arguments.extend(["--ssh".to_owned(), format!("{id}={}", path(&socket))]);
        }
    }
    arguments.push(path(&request.context));
    Ok(arguments)
}

/// Returns whether the registry of an image is used without TLS, as by kraft's own client: one on this
/// host, or one that `--insecure` names.
fn without_tls(ctx: &Context, name: &str) -> bool {
    let host = name.split_once('/').map_or("", |(host, _)| host);
    let local = host.starts_with("127.") || host.split(':').next() == Some("localhost");
    local || ctx.settings.insecure.iter().any(|named| named == host)
}

/// Returns the end of what a program prints.
fn last_output(errors: Option<ChildStderr>) -> String {
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

/// Returns the error of a program that failed.
fn failed(request: &BuildRequest<'_>, name: &str, output: &str) -> Error {
    if let Err(problems) = &request.parsed {
        return diagnostics::of_dockerfile(request, problems);
    }
    let lines: Vec<String> = output.lines().map(str::to_owned).collect();
    let error = lines
        .iter()
        .rev()
        .find_map(|line| line.strip_prefix("Error: "));
    let message = error.map_or_else(|| format!("`{name}` failed"), str::to_owned);
    let mut problem = Problem::error(message);
    problem.span = failed_step(request, output);
    if problem.span.is_none() {
        return Error::Build {
            file: request.shown(),
            builder: format!("`{name}`"),
            message: output.trim().to_owned(),
        };
    }
    diagnostics::of_step(request, problem, lines)
}

/// Returns the place of the instruction in `building at STEP "RUN make": …`.
fn failed_step(request: &BuildRequest<'_>, output: &str) -> Option<kraft_core::problem::Span> {
    let (_, after) = output.split_once("building at STEP \"")?;
    let dockerfile = request.parsed.as_ref().ok()?;
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

/// Returns the run configuration of an image that a program built.
fn settings(name: &str, id: &str) -> Result<Settings, Error> {
    let args: &[&str] = match name {
        "podman" => &["image", "inspect"],
        _ => &["inspect", "--type", "image"],
    };
    let output = engine(name)
        .args(args.iter().copied().chain([id]))
        .run()
        .map_err(Error::Inspect)?;
    let unreadable = |source| Error::BuiltConfig {
        builder: format!("`{name}`"),
        source,
    };
    let answer: Value = serde_json::from_slice(&output.stdout).map_err(unreadable)?;
    let config = match name {
        "podman" => answer.get(0).and_then(|image| image.get("Config")),
        _ => answer.get("OCIv1").and_then(|image| image.get("config")),
    };
    let config = config.cloned().unwrap_or_default();
    let whole = serde_json::json!({ "config": config });
    Settings::of_image(whole.to_string().as_bytes()).map_err(unreadable)
}

/// A buildkitd in a container, which is removed with this.
#[derive(Debug)]
pub(super) struct Container {
    name: String,
}

impl Container {
    /// Returns the address of the buildkitd.
    pub(super) fn address(&self) -> Address {
        Address::Container {
            program: "docker",
            name: self.name.clone(),
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // A container that stays is listed by `docker ps`.
        let _ = engine("docker").args(["rm", "--force", &self.name]).run();
    }
}

/// Starts a buildkitd with `docker run`, with KraftKit's volume for its cache. The error is the reason
/// if it cannot be started.
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
