//! The options that the KConfig files of a target define: read to explain why a build fails.

use kraft_build::configure::{self, Lost};
use kraft_build::menu;
use kraft_build::pipeline::Job;
use kraft_build::plan::Plan;
use kraft_core::problem::{Problem, Text};
use kraft_kconfig::DotConfig;
use kraft_kconfig::explain::Loss;
use kraft_kconfig::language::{KconfigErrors, Tree};
use kraft_kconfig::resolve::Mode;

use super::error::OptionsError;

/// Returns for each lost value why it is lost; `None` if that is not known, or if the KConfig files
/// cannot be read.
pub(crate) fn losses(plan: &Plan, job: &Job, lost: &[Lost]) -> Vec<Option<Loss>> {
    let Ok(tree) = read(plan) else {
        return lost.iter().map(|_| None).collect();
    };
    // Only what is asked for is set, so that defaults differ from what the user wants.
    let mut asked = DotConfig::default();
    for (name, value) in &job.options {
        asked.set(name.clone(), value);
    }
    let settled = tree.resolve_as(&asked, Mode::Defconfig);
    lost.iter()
        .map(|lost| settled.explain(&lost.name, &lost.wanted))
        .collect()
}

/// Returns the first error in the KConfig files of a target; `None` if our parser finds none.
pub(crate) fn first_error(plan: &Plan) -> Option<OptionsError> {
    read(plan).err().map(|errors| error(plan, errors))
}

/// Reads the KConfig files of a target. A configuration that cannot be read counts as empty.
fn read(plan: &Plan) -> Result<Tree, KconfigErrors> {
    let config = configure::read(&plan.config).ok().flatten();
    menu::read(plan, &config.unwrap_or_default())
}

/// Returns the first of several errors, with the file it is in.
pub(crate) fn error(plan: &Plan, errors: KconfigErrors) -> OptionsError {
    match errors.0.into_iter().next() {
        Some(first) => OptionsError {
            text: Text {
                name: plan.core.join(&first.file).display().to_string(),
                text: first.text,
            },
            problem: first.problem,
        },
        // The parser reports at least one.
        None => OptionsError {
            text: Text {
                name: plan.core.join("Config.uk").display().to_string(),
                text: String::new(),
            },
            problem: Problem::error("the options cannot be read"),
        },
    }
}
