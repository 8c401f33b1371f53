//! Builds by a BuildKit.

use kraft_core::error::chain;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use kraft_buildkit::{Address, Build, BuildEvent, Credentials, Daemon, Login};
use kraft_oci::credentials::Keyrings;
use kraft_rootfs::Options;
use kraft_rootfs::dockerfile::Settings;
use tokio::runtime::Handle;

use super::attempt::{self, Attempt};
use super::diagnostics;
use super::error::Error;
use super::options;
use super::progress::BuildProgress;
use super::request::{self, BuildRequest};
use crate::context::Context;
use crate::network;

/// A connection to a daemon.
#[derive(Debug)]
pub(super) struct Connection {
    runtime: Handle,
    daemon: Daemon,
}

/// Connects to the daemon at an address; the inner error is the reason if there is none.
pub(super) fn connect(
    ctx: &Context,
    address: &Address,
) -> Result<Result<Box<Connection>, String>, Error> {
    if let Address::Unix(path) | Address::Docker(path) = address
        && !path.exists()
    {
        return Ok(Err("there is no such socket".to_owned()));
    }
    let remote = matches!(address, Address::Tcp { .. } | Address::Ssh(_));
    if ctx.settings.offline && remote {
        return Ok(Err("`--offline` forbids a connection".to_owned()));
    }
    let runtime = ctx.runtime()?;
    Ok(match runtime.block_on(Daemon::connect(address)) {
        Ok(daemon) => Ok(Box::new(Connection { runtime, daemon })),
        Err(kraft_buildkit::Error::Unreachable { source, .. }) => Err(chain(&source)),
        Err(error) => Err(chain(&error)),
    })
}

/// Builds, and writes the archive at `out` while the daemon sends the tar.
pub(super) fn build(
    ctx: &Context,
    request: &BuildRequest<'_>,
    out: &Path,
    connection: &Connection,
) -> Result<Attempt, Error> {
    let description = description(ctx, request)?;
    let options = Options {
        epoch: crate::epoch::read(&ctx.env)?,
        keep_owners: false,
    };
    let progress = BuildProgress::begin(ctx, &format!("building {}", request.shown()));
    let (sink, mut tar) = kraft_buildkit::pipe();
    let name = Path::new("the output of the builder");
    let (archived, built) = std::thread::scope(|scope| {
        let (progress, options) = (&progress, &options);
        // The thread owns the reader: after an error in it the build ends too.
        let archiving = scope.spawn(move || {
            kraft_rootfs::build_tar(name, &mut tar, out, options, &mut |done| {
                progress.written(done);
            })
        });
        let report = |event| report(progress, event);
        let built = connection.runtime.block_on(with_deadline(
            request.deadline,
            kraft_buildkit::build(&connection.daemon, &description, sink, &report),
        ));
        // The sink was dropped with the build, so the reader reaches its end.
        let archived = archiving.join();
        (archived, built)
    });
    progress.end(matches!(built, Some(Ok(_))) && matches!(archived, Ok(Ok(_))));
    let Some(built) = built else {
        return Err(request.timed_out());
    };
    let config = match built {
        Ok(config) => config,
        Err(error) => {
            // An invalid tar is the cause, and the daemon's error its effect.
            if let Ok(Err(invalid)) = archived
                && !is_cut_off(&invalid)
            {
                return Err(invalid.into());
            }
            return match error {
                kraft_buildkit::Error::Failed(failure) => {
                    let reason = attempt::of_daemon(&failure);
                    let error = diagnostics::of_daemon(request, *failure);
                    match reason {
                        Some(reason) => Ok(Attempt::BuilderFailed { reason, error }),
                        None => Err(error),
                    }
                }
                error @ (kraft_buildkit::Error::Unreachable { .. }
                | kraft_buildkit::Error::Broken { .. }) => Ok(Attempt::BuilderFailed {
                    reason: chain(&error),
                    error: error.into(),
                }),
            };
        }
    };
    let archived = archived.map_err(|_| Error::NoArchive {
        file: request.shown(),
    })?;
    for warning in &archived?.warnings {
        ctx.warn(warning);
    }
    let config = config.unwrap_or_else(|| b"{}".to_vec());
    let settings = Settings::of_image(&config).map_err(|source| Error::BuiltConfig {
        builder: "BuildKit".to_owned(),
        source,
    })?;
    Ok(Attempt::Built(settings.into()))
}

/// Ends a build at its deadline and returns `None`: its session is closed, and the daemon cancels
/// it.
async fn with_deadline<T>(deadline: Option<Instant>, build: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline.into(), build).await.ok(),
        None => Some(build.await),
    }
}

/// Returns whether the tar only ended because the build did.
fn is_cut_off(error: &kraft_rootfs::Error) -> bool {
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(kraft_buildkit::is_cut_off) {
            return true;
        }
        next = error.source();
    }
    false
}

fn description(ctx: &Context, request: &BuildRequest<'_>) -> Result<Build, Error> {
    let caches = |options: &[String]| {
        let caches = options.iter().map(|option| options::cache(option));
        caches.collect::<Result<Vec<_>, _>>()
    };
    Ok(Build {
        context: request.context.clone(),
        dockerfile: request.file.clone(),
        exclude: request::always_ignored(),
        target: request.options.target.clone(),
        platform: format!("linux/{}", request.arch),
        arguments: request.arguments.clone(),
        no_cache: request.options.no_cache,
        network: request.options.network.clone(),
        secrets: request.secrets(ctx)?,
        agents: request.agents(ctx)?,
        credentials: Arc::new(StoredCredentials(network::own_keyrings(ctx))),
        cache_from: caches(&request.options.cache_from)?,
        cache_to: caches(&request.options.cache_to)?,
    })
}

/// The credentials that kraft uses for registries.
#[derive(Debug)]
struct StoredCredentials(Keyrings);

impl Credentials for StoredCredentials {
    fn login(&self, host: &str) -> Option<Login> {
        let (user, secret) = self.0.pair(host)?;
        Some(Login { user, secret })
    }
}

/// Reports an event of a daemon.
fn report(progress: &BuildProgress, event: BuildEvent) {
    match event {
        // Every build begins with these steps.
        BuildEvent::Began { name, .. } | BuildEvent::Cached { name, .. }
            if name.starts_with("[internal]") =>
        {
            progress.line(name);
        }
        BuildEvent::Began { name, .. } => progress.step(name),
        BuildEvent::Cached { name, .. } => progress.step(format!("{name} (cached)")),
        BuildEvent::Line { text, .. } => progress.line(text),
        BuildEvent::Warning(text) => progress.warn(text),
        BuildEvent::Sent { bytes } => {
            progress.line(format!("{bytes} bytes of the context were sent"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tar_that_ends_with_its_build_is_not_the_cause() {
        let dir = tempfile::tempdir().unwrap();
        let archive = |tar: &mut dyn std::io::Read| {
            let (name, out) = (Path::new("tar"), dir.path().join("out"));
            kraft_rootfs::build_tar(name, tar, &out, &Options::default(), &mut |_| {}).unwrap_err()
        };
        let (sink, mut tar) = kraft_buildkit::pipe();
        drop(sink);
        let error = archive(&mut tar);
        assert!(is_cut_off(&error), "{}", chain(&error));
        let error = archive(&mut &[b'x'; 1024][..]);
        assert!(!is_cut_off(&error), "{}", chain(&error));
    }
}
