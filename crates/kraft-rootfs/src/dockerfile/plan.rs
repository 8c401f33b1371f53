//! Plan of a build: the needed stages in order, and whether kraft can execute them.

use std::collections::{BTreeMap, BTreeSet};

use kraft_core::dockerfile::{Dockerfile, Instruction, Mount, Source, Stage};
use kraft_core::problem::{Problem, Span};

use super::{ExecuteError, Recipe, variables};

/// What a name after `FROM` or `--from=` refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nothing: `scratch`.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image.
    Image(String),
}

/// Returns what the name after the `FROM` of stage `number` refers to.
pub(super) fn base(dockerfile: &Dockerfile, number: usize, name: &str) -> Origin {
    if name == "scratch" {
        return Origin::Scratch;
    }
    match dockerfile.named_before(number, name) {
        Some(stage) => Origin::Stage(stage),
        None => Origin::Image(name.to_owned()),
    }
}

/// Returns what a `--from=` in stage `number` refers to: also a stage by its number.
pub(super) fn origin(dockerfile: &Dockerfile, number: usize, name: &str) -> Origin {
    if let Ok(stage) = name.parse::<usize>()
        && stage < number
    {
        return Origin::Stage(stage);
    }
    base(dockerfile, number, name)
}

/// Returns the numbers of the needed stages, each after those that it needs.
pub(super) fn plan(recipe: &Recipe<'_>) -> Result<Vec<usize>, ExecuteError> {
    let dockerfile = recipe.dockerfile;
    let global = variables::global(recipe)
        .map_err(|error| ExecuteError::Text(Box::new(Problem::error(error.to_string()))))?;
    let last = target(dockerfile, recipe.target)?;
    // Stages only refer to earlier ones: from the last to the first, each is known to be needed
    // before it is looked at.
    let mut wanted = BTreeSet::from([last]);
    let mut needed = Vec::new();
    while let Some(number) = wanted.pop_last() {
        needed.push(number);
        if let Some(stage) = dockerfile.stages.get(number) {
            wanted.extend(earlier(dockerfile, &global, number, stage));
        }
    }
    needed.reverse();
    Ok(needed)
}

fn target(dockerfile: &Dockerfile, wanted: Option<&str>) -> Result<usize, ExecuteError> {
    dockerfile.stage(wanted).ok_or_else(|| {
        let wanted = wanted.unwrap_or_default();
        let names = dockerfile
            .stages
            .iter()
            .filter_map(|stage| stage.from.name.as_deref());
        let names: Vec<&str> = names.collect();
        let problem = Problem::error(format!("the Dockerfile has no stage `{wanted}`"));
        ExecuteError::Text(Box::new(
            match kraft_core::nearest::nearest(wanted, names.clone()) {
                Some(meant) => problem.help(format!("did you mean `{meant}`?")),
                None if names.is_empty() => problem.help("none of its stages has a name"),
                None => problem.help(format!("its stages are: {}", names.join(", "))),
            },
        ))
    })
}

/// Returns the numbers of the stages that one refers to.
fn earlier(
    dockerfile: &Dockerfile,
    global: &BTreeMap<String, String>,
    number: usize,
    stage: &Stage,
) -> Vec<usize> {
    let below = below(dockerfile, global, number, stage);
    let copied = copied_from(dockerfile, number, stage);
    below.into_iter().chain(copied).collect()
}

/// Returns the number of the stage that one is built on.
fn below(
    dockerfile: &Dockerfile,
    global: &BTreeMap<String, String>,
    number: usize,
    stage: &Stage,
) -> Option<usize> {
    let image = variables::expanded(dockerfile, &stage.from.image, global);
    stage_of(&base(dockerfile, number, &image.ok()?))
}

/// Returns the numbers of the stages that the instructions of one name.
fn copied_from(dockerfile: &Dockerfile, number: usize, stage: &Stage) -> Vec<usize> {
    let froms = stage.froms().map(|name| origin(dockerfile, number, name));
    froms.filter_map(|origin| stage_of(&origin)).collect()
}

fn stage_of(origin: &Origin) -> Option<usize> {
    match origin {
        Origin::Stage(before) => Some(*before),
        Origin::Scratch | Origin::Image(_) => None,
    }
}

/// Returns the planned stages whose files are needed as a whole: the last one, those that others
/// copy from, and those that several stages are built on.
pub(super) fn needed_whole(recipe: &Recipe<'_>, planned: &[usize]) -> BTreeSet<usize> {
    let dockerfile = recipe.dockerfile;
    let global = variables::global(recipe).unwrap_or_default();
    let mut whole: BTreeSet<usize> = planned.last().copied().into_iter().collect();
    let mut seen = BTreeSet::new();
    for number in planned {
        let Some(stage) = dockerfile.stages.get(*number) else {
            continue;
        };
        whole.extend(copied_from(dockerfile, *number, stage));
        let again = below(dockerfile, &global, *number, stage);
        whole.extend(again.filter(|below| !seen.insert(*below)));
    }
    whole
}

/// Returns the first instruction in the needed stages that kraft cannot execute, if there is one.
pub fn obstacle(recipe: &Recipe<'_>) -> Option<Problem> {
    let runs = recipe.runner.is_some();
    let needed = plan(recipe).ok()?;
    let stages = needed
        .iter()
        .filter_map(|number| recipe.dockerfile.stages.get(*number));
    stages.flat_map(|stage| &stage.steps).find_map(|step| {
        instruction(&step.instruction, runs)
            .map(|(what, span)| Problem::error(what).at(span.unwrap_or(step.span)))
    })
}

fn instruction(instruction: &Instruction, runs: bool) -> Option<(&'static str, Option<Span>)> {
    match instruction {
        Instruction::Run(_) if !runs => Some(("a `RUN` needs a builder", None)),
        Instruction::Run(run) => {
            if run.security.as_deref().is_some_and(|it| it != "sandbox") {
                return Some(("`RUN --security` needs a daemon", None));
            }
            run.mounts.iter().find_map(mount)
        }
        Instruction::Add(add) => add.sources.iter().find_map(|source| match source {
            Source::Path { word, span } if is_remote(word) => {
                Some(("`ADD` of an address needs a builder", Some(*span)))
            }
            Source::Path { .. } | Source::Document(_) => None,
        }),
        _ => None,
    }
}

fn mount(mount: &Mount) -> Option<(&'static str, Option<Span>)> {
    mount
        .is_ssh()
        .then_some(("`RUN --mount=type=ssh` needs a daemon", None))
}

/// Returns whether a source of an `ADD` is a URL.
pub(super) fn is_remote(word: &str) -> bool {
    word.contains("://") || word.starts_with("git@")
}
