//! A build by a BuildKit.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use kraft_buildkit::{Address, Build, Credentials, Daemon, Error, Happening, Login};
use kraft_oci::credentials::Keyrings;
use kraft_rootfs::Options;
use kraft_rootfs::dockerfile::Settings;
use tokio::runtime::Handle;

use super::fault;
use super::job::{self, Job};
use super::told::Screen;
use super::trouble::{self, Attempt};
use crate::context::Context;
use crate::failure::{Failure, Kind, chain};
use crate::network;

/// A daemon that answers, and what the talk with it runs on.
#[derive(Debug)]
pub(super) struct Reached {
    runtime: Handle,
    daemon: Daemon,
}

/// Asks for a daemon at an address; the inner error is why none answers.
pub(super) fn reach(
    ctx: &Context,
    address: &Address,
) -> Result<Result<Box<Reached>, String>, Failure> {
    if let Address::Unix(path) | Address::Docker(path) = address
        && !path.exists()
    {
        return Ok(Err("there is no such socket".to_owned()));
    }
    let leaves = matches!(address, Address::Tcp { .. } | Address::Ssh(_));
    if ctx.settings.offline && leaves {
        return Ok(Err("not asked, because of `--offline`".to_owned()));
    }
    let runtime = ctx.runtime()?;
    Ok(match runtime.block_on(Daemon::connect(address)) {
        Ok(daemon) => Ok(Box::new(Reached { runtime, daemon })),
        Err(Error::Unreachable { source, .. }) => Err(chain(&source)),
        Err(error) => Err(chain(&error)),
    })
}

/// Builds, and makes the archive at `out` while the tar comes.
pub(super) fn build(
    ctx: &Context,
    job: &Job<'_>,
    out: &Path,
    reached: &Reached,
) -> Result<Attempt, Failure> {
    let described = described(ctx, job)?;
    let options = Options {
        epoch: crate::epoch::read(&ctx.env)?,
        keep_owners: false,
    };
    let screen = Screen::begin(ctx, &format!("building {}", job.shown_text().name));
    let (sink, mut tar) = kraft_buildkit::pipe();
    let name = Path::new("what the builder sends");
    let (archived, built) = std::thread::scope(|scope| {
        let (screen, options) = (&screen, &options);
        // The reader goes with the thread: a build whose tar nobody takes any more must end.
        let archiving = scope.spawn(move || {
            kraft_rootfs::build_tar(name, &mut tar, out, options, &mut |done| {
                screen.written(done);
            })
        });
        let tell = |happening| draw(screen, happening);
        let built = reached.runtime.block_on(in_time(
            job.deadline,
            kraft_buildkit::build(&reached.daemon, &described, sink, &tell),
        ));
        // The sink is gone with the build, so the reader comes to its end.
        let archived = archiving.join();
        (archived, built)
    });
    screen.end(matches!(built, Some(Ok(_))) && matches!(archived, Ok(Ok(_))));
    let Some(built) = built else {
        return Err(job.out_of_time());
    };
    let config = match built {
        Ok(config) => config,
        Err(error) => {
            // A tar that we refused is the cause, and the daemon's complaint its effect.
            if let Ok(Err(refused)) = archived
                && !broke_off(&refused)
            {
                return Err(Failure::from(refused));
            }
            return match error {
                Error::Failed(failed) => {
                    let failure = fault::of_daemon(job, &failed);
                    match trouble::of_daemon(&failed) {
                        Some(why) => Ok(Attempt::Trouble { why, failure }),
                        None => Err(failure),
                    }
                }
                error @ (Error::Unreachable { .. } | Error::Broken { .. }) => {
                    let why = chain(&error);
                    let failure = Failure::new(Kind::Failed, error);
                    Ok(Attempt::Trouble { why, failure })
                }
            };
        }
    };
    let archived =
        archived.map_err(|_| Failure::new(Kind::Failed, "the archive was not written"))?;
    for warning in &archived?.warnings {
        ctx.warn(warning);
    }
    let config = config.unwrap_or_else(|| b"{}".to_vec());
    let settings = Settings::of_image(&config).map_err(|error| {
        Failure::new(
            Kind::Failed,
            format!("the configuration of the image cannot be read: {error}"),
        )
    })?;
    Ok(Attempt::Built(settings.into()))
}

/// Ends a build that takes too long, with `None`. That closes its session, and the daemon cancels
/// it.
async fn in_time<T>(deadline: Option<Instant>, build: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline.into(), build).await.ok(),
        None => Some(build.await),
    }
}

/// Returns whether the tar only ended because the build did.
fn broke_off(error: &kraft_rootfs::Error) -> bool {
    chain(error).contains("the builder broke off")
}

fn described(ctx: &Context, job: &Job<'_>) -> Result<Build, Failure> {
    let caches = |typed: &[String]| {
        typed
            .iter()
            .map(|typed| job::cache(typed))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(Build {
        context: job.context.clone(),
        dockerfile: job.file.clone(),
        exclude: job::ours(),
        target: job.wish.target.clone(),
        platform: format!("linux/{}", job.arch),
        arguments: job
            .arguments
            .clone()
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        no_cache: job.wish.no_cache,
        network: job.wish.network.clone(),
        secrets: job.secrets(ctx)?,
        agents: job.agents(ctx)?,
        credentials: Arc::new(Known(network::own_keyrings(ctx))),
        cache_from: caches(&job.wish.cache_from)?,
        cache_to: caches(&job.wish.cache_to)?,
    })
}

/// The credentials that registries are asked with here too.
#[derive(Debug)]
struct Known(Keyrings);

impl Credentials for Known {
    fn login(&self, host: &str) -> Option<Login> {
        let (user, secret) = self.0.pair(host)?;
        Some(Login { user, secret })
    }
}

fn draw(screen: &Screen, happening: Happening) {
    match happening {
        // What every build begins with is no news.
        Happening::Began { name, .. } | Happening::Cached { name, .. }
            if name.starts_with("[internal]") =>
        {
            screen.line(name);
        }
        Happening::Began { name, .. } => screen.step(name),
        Happening::Cached { name, .. } => screen.step(format!("{name} (cached)")),
        Happening::Line { text, .. } => screen.line(text),
        Happening::Warning(text) => screen.warn(text),
        Happening::Sent { bytes } => {
            screen.line(format!("{bytes} bytes of the context were sent"));
        }
        _ => {}
    }
}
