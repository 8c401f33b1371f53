//! Targets: short and long forms of platform and architecture.

use std::str::FromStr;

use crate::arch::Arch;
use crate::nearest::nearest;
use crate::platform::Platform;
use crate::problem::{Problem, Span};

use super::component::kconfig;
use super::lower::{command, file_name};
use super::model::Target;
use super::shape::TARGET;
use crate::document::located::Located;
use crate::document::node::Node;
use crate::document::problems::Problems;

/// Platforms named by existing files that have no VMM driver.
const FORMER_PLATFORMS: [&str; 3] = ["linuxu", "kraftcloud", "hyperv"];

/// Lowers the list of targets.
pub(super) fn targets(nodes: &[Node], problems: &mut Problems) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for node in nodes {
        let Some(target) = target(node, problems) else {
            continue;
        };
        let same = |t: &&Target| {
            let name = |t: &Target| t.name.as_ref().map(|n| n.value.clone());
            t.platform.value == target.platform.value
                && t.architecture.value == target.architecture.value
                && name(t) == name(&target)
        };
        if let Some(first) = targets.iter().take(64).find(same) {
            let message = format!(
                "the target `{}/{}` is listed twice",
                *target.platform, *target.architecture
            );
            let problem = Problem::warning(message)
                .at(node.span)
                .label("listed again");
            problems.push(problem.related(first.platform.span, "first listed in this place"));
        }
        targets.push(target);
    }
    targets
}

fn target(node: &Node, problems: &mut Problems) -> Option<Target> {
    if let Some(text) = node.text() {
        let Some((platform, architecture)) = split(&text) else {
            let problem = Problem::error(format!("the target `{}` has no architecture", *text))
                .at(text.span)
                .label("expected `platform/architecture`")
                .help("for example `qemu/x86_64`");
            problems.push(problem);
            return None;
        };
        return Some(Target {
            name: None,
            platform: known_platform(platform, problems),
            architecture: known_architecture(architecture, problems),
            kconfig: Vec::new(),
            cmd: None,
        });
    }
    let (platform, architecture) = place(node, problems)?;
    let name = TARGET.get(node, "name").and_then(Node::text);
    if let Some(name) = &name {
        file_name(name, "the name of a target", problems);
    }
    Some(Target {
        name,
        platform: known_platform(platform, problems),
        architecture: known_architecture(architecture, problems),
        kconfig: kconfig(TARGET.get(node, "kconfig"), problems),
        cmd: TARGET.get(node, "cmd").map(|n| command(n, problems)),
    })
}

/// Returns platform and architecture of a target in long form.
fn place(node: &Node, problems: &mut Problems) -> Option<(Located<String>, Located<String>)> {
    if node.entries().is_empty() {
        // Not a mapping, which was already reported, or an empty one.
        if matches!(node.value, crate::document::node::Value::Map(_)) {
            problems.push(Problem::error("this target is empty").at(node.span));
        }
        return None;
    }
    let has = |name| TARGET.get(node, name).is_some();
    let text = |name| TARGET.get(node, name).and_then(Node::text);
    let missing = |what: &str, example: &str| {
        let problem = Problem::error(format!("this target has no `{what}`")).at(node.span);
        problem.help(format!("add one, for example `{what}: {example}`"))
    };
    if !has("platform") {
        problems.push(missing("platform", "qemu"));
        if !has("architecture") {
            problems.push(missing("architecture", "x86_64"));
        }
        return None;
    }
    let platform = text("platform")?;
    let Some((platform, in_platform)) = split(&platform) else {
        if !has("architecture") {
            problems.push(missing("architecture", "x86_64"));
            return None;
        }
        return Some((platform, text("architecture")?));
    };
    match text("architecture") {
        Some(architecture) if architecture.value != in_platform.value => {
            let problem = Problem::error("this target has two architectures")
                .at(architecture.span)
                .label("the first architecture")
                .related(in_platform.span, "the second architecture");
            problems.push(problem);
            None
        }
        _ => Some((platform, in_platform)),
    }
}

/// Splits at the first `/`; each half gets its own position if the text is written without escapes.
fn split(text: &Located<String>) -> Option<(Located<String>, Located<String>)> {
    let (platform, architecture) = text.value.split_once('/')?;
    let Span { start, end } = text.span;
    let (mut first, mut second) = (text.span, text.span);
    if end - start == text.value.len() {
        first.end = start + platform.len();
        second.start = first.end + 1;
    }
    Some((
        Located::new(platform.to_owned(), first),
        Located::new(architecture.to_owned(), second),
    ))
}

fn known_platform(platform: Located<String>, problems: &mut Problems) -> Located<String> {
    if let Ok(known) = Platform::from_str(&platform) {
        return platform.map(|_| known.name().to_owned());
    }
    file_name(&platform, "the platform of a target", problems);
    let names = Platform::ALL
        .iter()
        .map(|p| p.name())
        .chain(["kvm", "firecracker"]);
    if !FORMER_PLATFORMS.contains(&platform.as_str()) {
        unknown("platform", &platform, names, problems);
    }
    platform
}

fn known_architecture(arch: Located<String>, problems: &mut Problems) -> Located<String> {
    if let Ok(known) = Arch::from_str(&arch) {
        return arch.map(|_| known.name().to_owned());
    }
    file_name(&arch, "the architecture of a target", problems);
    unknown(
        "architecture",
        &arch,
        Arch::ALL.iter().map(|a| a.name()),
        problems,
    );
    arch
}

fn unknown(
    what: &str,
    name: &Located<String>,
    known: impl Iterator<Item = &'static str> + Clone,
    problems: &mut Problems,
) {
    let clipped: String = name.chars().take(60).collect();
    let problem = Problem::warning(format!("unknown {what} `{clipped}`")).at(name.span);
    problems.push(match nearest(name, known.clone()) {
        Some(near) => {
            let problem = problem.label(format!("did you mean `{near}`?"));
            // The range is that of the name alone, and not of what contains it.
            if name.span.end - name.span.start == name.value.len() {
                problem.fix(name.span, near)
            } else {
                problem
            }
        }
        None => problem.help(format!(
            "expected one of: {}",
            known.collect::<Vec<_>>().join(", ")
        )),
    });
}
