//! Words for builds that fail: the fault with its lines, the lost option with its reason.

use std::path::Path;

use kraft_build::configure::Lost;
use kraft_build::make::{self, Fault};
use kraft_build::pipeline::{Error, Job};
use kraft_core::kraftfile::ResolvedTarget;
use kraft_core::kraftfile::options::Options;
use kraft_core::problem::{Problem, Span};
use kraft_kconfig::explain::Loss;
use kraft_sys::fs;

use super::build::Site;
use super::kconfig;
use super::project;
use crate::context::Context;
use crate::failure::{Failure, Kind, Text};

/// A source file longer than this is not shown, in bytes.
const LARGEST_SOURCE: u64 = 4 << 20;

/// What to do where something could not be downloaded.
const FETCH: &str =
    "`kraft fetch` downloads everything that a build needs, while there is a network";

/// What to do where a server did not answer make.
const CHECK: &str = "check the network, and `https_proxy` behind a proxy; `kraft fetch` downloads \
                     everything ahead of a build";

/// Puts a failed build into words.
pub(crate) fn failure(
    ctx: &Context,
    site: &Site,
    target: &ResolvedTarget,
    options: &Options,
    job: &Job,
    error: Error,
) -> Failure {
    let shown = project::label(target);
    match error {
        Error::Make(make::Error::Failed { fault, log }) => of_fault(ctx, &shown, &fault, &log),
        Error::Options { source, plan } => match (kconfig::fault(&plan), source) {
            (Some(failure), _) => failure,
            (None, make::Error::Failed { fault, log }) => of_fault(ctx, &shown, &fault, &log),
            (None, source) => Failure::new(Kind::Build, source),
        },
        Error::Make(error @ make::Error::Interrupted) => Failure::new(Kind::Interrupted, error),
        Error::Make(error @ make::Error::NoProducts { .. }) => {
            Failure::new(Kind::Build, error).about(&format!("building {shown}"))
        }
        Error::Make(make::Error::File(error)) | Error::File(error) => error.into(),
        Error::Make(error @ make::Error::Start { .. }) => Failure::new(Kind::Host, error),
        Error::Tools(missing) => {
            let cure = missing.cure();
            Failure::new(Kind::Host, missing)
                .about(&format!("cannot build {shown}"))
                .hint(format!("install what is missing: `{cure}`"))
        }
        error @ Error::OldMake { .. } => {
            Failure::new(Kind::Host, error).hint("install a newer one: `apt install make`")
        }
        error @ Error::NotConfigured { .. } => Failure::new(Kind::NotFound, error)
            .hint("leave out `--no-configure`, so that kraft configures it"),
        Error::Lost { lost, plan } => {
            let losses = kconfig::losses(&plan, job, &lost);
            of_lost(site, options, &lost, &losses)
        }
    }
}

/// Tells what became of one value.
pub(crate) fn sentence(lost: &Lost) -> String {
    match (&lost.found, lost.wanted.as_str()) {
        (None, wanted) => format!("{}={wanted} was dropped", lost.name),
        (Some(found), wanted) => format!("{}={wanted} became {found}", lost.name),
    }
}

fn of_lost(site: &Site, options: &Options, lost: &[Lost], losses: &[Option<Loss>]) -> Failure {
    let problems = lost
        .iter()
        .zip(losses)
        .map(|(lost, why)| {
            let mut problem = Problem::error(match why {
                Some(why) => why.to_string(),
                None => sentence(lost),
            });
            if let Some(advice) = why.as_ref().and_then(Loss::advice) {
                problem = problem.help(advice);
            }
            match options.get(&lost.name).and_then(|asked| asked.span) {
                Some(span) => problem.at(span).label("asked for here"),
                None => problem,
            }
        })
        .collect();
    let text = Text {
        name: site.project.text.name.clone(),
        text: site.project.text.text.clone(),
    };
    Failure::problems_in(Kind::Build, text, problems).hint(
        "`kraft kconfig explain OPTION` tells all of an option; `--allow-lost` builds all the same",
    )
}

fn of_fault(ctx: &Context, shown: &str, fault: &Fault, log: &Path) -> Failure {
    let log = format!("everything make said is in `{}`", log.display());
    if fault.disk_full {
        return Failure::new(
            Kind::Failed,
            format!("cannot build {shown}: the disk is full"),
        )
        .hint(log);
    }
    if let Some(url) = &fault.download {
        let (why, hint) = if ctx.settings.offline {
            (", as kraft is offline", FETCH)
        } else {
            ("", CHECK)
        };
        let message = format!("cannot build {shown}: could not download `{url}`{why}");
        return Failure::new(Kind::Network, message).hint(hint).hint(log);
    }
    if ctx.settings.offline && fault.message.starts_with("transport '") {
        let what = fault.target.as_deref().unwrap_or("a repository");
        let message = format!("cannot build {shown}: {what} cannot be cloned, as kraft is offline");
        return Failure::new(Kind::Network, message).hint(FETCH).hint(log);
    }
    let what = match &fault.target {
        Some(target) => format!("cannot build {shown}: {target}: {}", fault.message),
        None => format!("cannot build {shown}: {}", fault.message),
    };
    let failure = if let Some((name, text, span)) = fault.place.as_ref().and_then(|place| {
        let bytes = fs::read_file(&place.file, LARGEST_SOURCE).ok()?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let span = span(&text, place.line, place.column)?;
        Some((place.file.display().to_string(), text, span))
    }) {
        Failure::problems_in(
            Kind::Build,
            Text { name, text },
            vec![Problem::error(what).at(span)],
        )
    } else {
        let mut message = what;
        for line in &fault.context {
            message.push_str("\n  ");
            message.push_str(line);
        }
        Failure::new(Kind::Build, message)
    };
    let failure = match &fault.missing_program {
        Some(program) => failure.hint(format!("the program `{program}` is missing")),
        None => failure,
    };
    failure.hint(log)
}

/// Finds a line and a column, both from 1, in a text.
fn span(text: &str, line: u32, column: Option<u32>) -> Option<Span> {
    let mut start = 0;
    let mut lines = text.split_inclusive('\n');
    for _ in 1..line {
        start += lines.next()?.len();
    }
    let this = lines.next()?;
    let this = this.trim_end_matches(['\n', '\r']);
    let indent = this.len() - this.trim_start().len();
    let (from, to) = match column {
        Some(column) => {
            let from = byte_at(this, usize::try_from(column).ok()?);
            let word = this
                .get(from..)
                .unwrap_or_default()
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(this.len() - from);
            (from, from + word.max(1))
        }
        None => (indent, this.len().max(indent + 1)),
    };
    let end = (start + to).min(text.len());
    (text.is_char_boundary(start + from) && text.is_char_boundary(end)).then_some(Span {
        start: start + from,
        end,
    })
}

/// Finds the byte at a column from 1, as compilers count: a tab reaches to the next eighth.
fn byte_at(line: &str, column: usize) -> usize {
    const TAB: usize = 8;
    let mut at = 1;
    for (byte, c) in line.char_indices() {
        if at >= column {
            return byte;
        }
        at = if c == '\t' {
            (at - 1) / TAB * TAB + TAB + 1
        } else {
            at + 1
        };
    }
    line.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_becomes_a_stretch_of_the_text() {
        let text = "int a;\n  return counter;\nlast";
        let at = |line, column| {
            let span = span(text, line, column).unwrap();
            text.get(span.start..span.end).unwrap()
        };
        assert_eq!(at(2, Some(10)), "counter");
        assert_eq!(at(2, None), "return counter;");
        assert_eq!(at(3, Some(1)), "last");
        assert_eq!(byte_at("\tcount(x);", 9), 1);
        assert_eq!(byte_at("\tcount(x);", 15), 7);
        assert_eq!(span(text, 9, Some(1)), None);
    }
}
