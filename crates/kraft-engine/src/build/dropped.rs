//! Values that KConfig drops or changes: which are errors, and which are warnings.
//!
//! | who asked for the value | why it is lost | result |
//! |---|---|---|
//! | the project | no component has the option, and it is not a typing error | warning |
//! | the project | an option selects it that the project asks for as well | warning |
//! | the project | of anything else | error |
//! | the template | of anything | warning |
//! | the target, the root filesystem | of anything | error |

use std::sync::OnceLock;

use kraft_build::configure::Lost;
use kraft_build::pipeline::Job;
use kraft_build::plan::Plan;
use kraft_core::kraftfile::ResolvedTarget;
use kraft_core::kraftfile::options::{Asker, Options};
use kraft_core::problem::{Span, Text};
use kraft_kconfig::explain::Loss;

use super::{Inputs, diagnosis, options as kconfig};
use crate::context::Context;
use crate::project;

/// The lost values of one target, each judged once.
#[derive(Debug)]
pub(super) struct Verdicts {
    /// Whether errors are only warnings.
    allow_lost: bool,
    found: OnceLock<Vec<Verdict>>,
}

#[derive(Debug)]
struct Verdict {
    lost: Lost,
    why: Option<Loss>,
    mistake: bool,
}

impl Verdicts {
    /// Starts without any.
    pub(super) const fn new(allow_lost: bool) -> Self {
        Self {
            allow_lost,
            found: OnceLock::new(),
        }
    }

    /// Judges lost values; returns those that are errors.
    pub(super) fn refused(
        &self,
        options: &Options,
        job: &Job,
        plan: &Plan,
        lost: &[Lost],
    ) -> Vec<Lost> {
        let found = self.found.get_or_init(|| judge(options, job, plan, lost));
        found
            .iter()
            .filter(|verdict| verdict.mistake && !self.allow_lost)
            .map(|verdict| verdict.lost.clone())
            .collect()
    }

    /// Warns of the lost values that are not errors.
    pub(super) fn warn(
        &self,
        ctx: &Context,
        inputs: &Inputs,
        target: &ResolvedTarget,
        options: &Options,
    ) {
        let shown = project::label(target);
        for Verdict { lost, why, .. } in self.found.get().into_iter().flatten() {
            match options.get(&lost.name).map(|asked| asked.by) {
                Some(Asker::Environment) => ctx.warn(&format!(
                    "{shown}: the variable `{}` is not compiled in: the kernel has no option for it",
                    lost.wanted
                )),
                Some(Asker::Author | Asker::Template | Asker::Target | Asker::Rootfs) => {
                    let what = why
                        .as_ref()
                        .map_or_else(|| diagnosis::sentence(lost), ToString::to_string);
                    let place = place(inputs, options, lost)
                        .map_or_else(String::new, |place| format!(" ({place})"));
                    ctx.warn(&format!("{shown}: {what}{place}"));
                }
                Some(Asker::Name | Asker::Library) | None => {}
            }
        }
    }
}

fn judge(options: &Options, job: &Job, plan: &Plan, lost: &[Lost]) -> Vec<Verdict> {
    let by = |lost: &Lost| options.get(&lost.name).map(|asked| asked.by);
    let matters = lost.iter().any(|lost| match by(lost) {
        Some(Asker::Author | Asker::Template | Asker::Target | Asker::Rootfs) => true,
        Some(Asker::Name | Asker::Environment | Asker::Library) | None => false,
    });
    let whys = if matters {
        kconfig::losses(plan, job, lost)
    } else {
        lost.iter().map(|_| None).collect()
    };
    let asks_for = |symbol: &str| {
        options
            .get(&format!("CONFIG_{symbol}"))
            .is_some_and(|asked| asked.value == "y")
    };
    lost.iter()
        .zip(whys)
        .map(|(lost, why)| Verdict {
            mistake: match by(lost) {
                Some(Asker::Author) => why.as_ref().is_none_or(|why| why.is_mistake(asks_for)),
                Some(Asker::Target | Asker::Rootfs) => true,
                // The user did not write these values, or cannot change them.
                Some(Asker::Template | Asker::Name | Asker::Environment | Asker::Library)
                | None => false,
            },
            lost: lost.clone(),
            why,
        })
        .collect()
}

/// Returns the file and line that ask for a value: in the Kraftfile, or in that of the template.
fn place(inputs: &Inputs, options: &Options, lost: &Lost) -> Option<String> {
    if let Some(span) = options.get(&lost.name).and_then(|asked| asked.span) {
        return Some(line(&inputs.project.text, span));
    }
    let template = inputs.project.template.as_ref()?;
    let span = template.options.get(&lost.name)?;
    Some(line(&template.text, *span))
}

fn line(text: &Text, span: Span) -> String {
    let before = text.text.get(..span.start).unwrap_or_default();
    format!("{}:{}", text.name, before.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_and_a_line() {
        let text = Text {
            name: "t/Kraftfile".to_owned(),
            text: "a: b\nc: d\n".to_owned(),
        };
        let at = |start| line(&text, Span { start, end: start });
        assert_eq!(at(0), "t/Kraftfile:1");
        assert_eq!(at(5), "t/Kraftfile:2");
        assert_eq!(at(99), "t/Kraftfile:1");
    }
}
