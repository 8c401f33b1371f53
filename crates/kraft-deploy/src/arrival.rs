//! Waiting until what was started is there: until it runs, and until it answers.

use std::time::{Duration, Instant};

use kraft_cloud::resources::instances::{self, Instance};
use kraft_cloud::resources::{self, Known};
use kraft_cloud::visit::{Absence, Visitor};

use super::Cloud;
use super::logs;
use kraft_engine::context::Context;
use kraft_engine::failure::{Failure, Kind};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// A new name may take so long until it is known here; it is not waited for longer.
const SPREADING: Duration = Duration::from_secs(5);
/// So many lines of a log are shown when an instance fails.
const LINES: usize = 20;

/// How long instances may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until they run.
    pub limit: Duration,
    /// They must have run for so long: many a one crashes in its first moments.
    pub settling: Duration,
}

/// Waits until instances run, or are ready to be woken, or have done their work; the answer is what
/// they are then.
///
/// Returns an error if one of them fails, which its log is shown with, or when the time is over.
pub fn running(
    ctx: &Context,
    cloud: &Cloud,
    started: &[Instance],
    Patience { limit, settling }: Patience,
) -> Result<Vec<Instance>, Failure> {
    let ids = resources::ids(started);
    let until = Instant::now() + limit;
    let mut told = false;
    let mut since = None;
    loop {
        let found = cloud.send(&instances::get(&ids))?.all()?;
        if let Some(bad) = found.iter().find(|one| has_failed(one)) {
            return Err(why(ctx, cloud, bad, &how(bad)));
        }
        if found.iter().all(is_there) {
            let first = *since.get_or_insert_with(Instant::now);
            if first.elapsed() >= settling {
                return Ok(found);
            }
        } else {
            since = None;
        }
        if since.is_none() && Instant::now() >= until {
            let late = found.iter().find(|one| !is_there(one));
            let late = late.or(found.first()).cloned().unwrap_or_default();
            let what = format!(
                "the instance `{}` does not run after {limit:?}: it is {}",
                late.title(),
                late.state
            );
            return Err(why(ctx, cloud, &late, &what));
        }
        if !told {
            let names: Vec<&str> = started.iter().map(Instance::title).collect();
            ctx.info(&format!("waiting for {} to run", names.join(", ")));
            told = true;
        }
        cloud.pause(PAUSE)?;
    }
}

/// Whether an instance is up, or asleep and wakes when it is needed, or has done its work.
fn is_there(one: &Instance) -> bool {
    matches!(one.state.as_str(), "running" | "standby") || has_ended(one, true)
}

/// Whether an instance ended badly, and stays so.
fn has_failed(one: &Instance) -> bool {
    has_ended(one, false)
}

/// Whether an instance was started and ended, well or badly. One that was never started has no
/// reason to have stopped, and one that is started again has not ended.
fn has_ended(one: &Instance, well: bool) -> bool {
    let ended = one.state == "stopped" && one.restart.is_none() && one.start_count > 0;
    ended && one.end().is_some_and(|end| end.is_clean()) == well
}

fn how(one: &Instance) -> String {
    match one.end() {
        Some(end) => format!("the instance `{}` has ended: {end}", one.title()),
        None => format!("the instance `{}` has stopped", one.title()),
    }
}

/// Makes a failure of an instance, with the end of its log before it.
pub fn why(ctx: &Context, cloud: &Cloud, one: &Instance, what: &str) -> Failure {
    let name = one.title();
    match logs::last(cloud, &one.id(), LINES) {
        Ok(text) if text.trim().is_empty() => ctx.info(&format!("`{name}` has printed nothing")),
        Ok(text) => {
            ctx.info(&format!("the last lines of `{name}`:"));
            for line in text.lines() {
                ctx.info(&format!("  {line}"));
            }
        }
        // That it failed is what counts.
        Err(_) => {}
    }
    Failure::new(Kind::Crashed, what.to_owned()).hint(format!(
        "`kraft cloud instance logs {name}` shows everything it printed"
    ))
}

/// Waits until an instance answers at its public name, if it has one and takes HTTP.
///
/// A name that this computer does not know is no reason to fail: it is told.
pub fn answering(
    ctx: &Context,
    cloud: &Cloud,
    one: &Instance,
    visitor: &Visitor,
    (url, limit): (&str, Duration),
) -> Result<(), Failure> {
    let begin = Instant::now();
    let mut told = false;
    loop {
        let problem = match cloud.wait_for(visitor.visit(url))? {
            Ok(_) => return Ok(()),
            Err(Absence::Nameless(why)) if begin.elapsed() >= limit.min(SPREADING) => {
                ctx.warn(&format!(
                    "`{}` runs; whether {url} answers cannot be told: its name is not known here \
                     ({why})",
                    one.title()
                ));
                return Ok(());
            }
            Err(problem) => problem,
        };
        let now = cloud.send(&instances::get(&[one.id()]))?.one()?;
        if has_failed(&now) {
            return Err(self::why(ctx, cloud, &now, &how(&now)));
        }
        if begin.elapsed() >= limit {
            let what = format!(
                "`{}` runs, but {url} does not answer after {limit:?}: {problem}",
                one.title()
            );
            return Err(self::why(ctx, cloud, &now, &what));
        }
        if !told {
            ctx.info(&format!("waiting for {url} to answer"));
            told = true;
        }
        cloud.pause(PAUSE)?;
    }
}
