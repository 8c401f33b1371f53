//! Start order of services: dependencies first.

use crate::document::problems::Problems;
use crate::nearest::nearest;
use crate::problem::Problem;

use super::model::{Compose, Dependency, Service};

impl Compose {
    /// Returns services with all their dependencies, dependencies first; without names, all
    /// services. Otherwise in the order of the file.
    ///
    /// Unknown names are ignored.
    pub fn order(&self, names: &[String]) -> Vec<&Service> {
        let mut order: Vec<&Service> = Vec::new();
        // Services whose dependencies are being visited.
        let mut stack: Vec<(&Service, usize)> = Vec::new();
        let wanted = |one: &&Service| names.is_empty() || names.contains(&one.name);
        for service in self.services.iter().filter(wanted) {
            stack.push((service, 0));
            while let Some((current, at)) = stack.pop() {
                if order.iter().any(|one| one.name == current.name) {
                    continue;
                }
                let need = current.depends_on.get(at).and_then(|need| {
                    let other = self.service(&need.service)?;
                    // What others can start without is only started if a profile does not keep it back.
                    let is_pulled = need.required || other.profiles.is_empty();
                    (is_pulled || wanted(&other)).then_some(other)
                });
                match (need, at < current.depends_on.len()) {
                    (Some(need), _) => {
                        stack.push((current, at + 1));
                        // A cycle is reported as an error; skip it here.
                        if !stack.iter().any(|(one, _)| one.name == need.name) {
                            stack.push((need, 0));
                        }
                    }
                    (None, true) => stack.push((current, at + 1)),
                    (None, false) => order.push(current),
                }
            }
        }
        order
    }

    /// Returns a service by its name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|one| one.name == name)
    }
}

/// Reports missing and cyclic dependencies.
pub(super) fn check(compose: &Compose, problems: &mut Problems) {
    for service in &compose.services {
        for Dependency {
            service: need,
            span,
            required,
            ..
        } in &service.depends_on
        {
            if !required || compose.service(need).is_some() {
                continue;
            }
            let message = format!(
                "there is no service `{need}`, which `{}` needs",
                service.name
            );
            let problem = Problem::error(message).at(*span);
            let names = compose.services.iter().map(|one| one.name.as_str());
            problems.push(match nearest(need, names) {
                Some(name) => problem.help(format!("did you mean `{name}`?")),
                None => problem,
            });
        }
    }
    if let Some(service) = compose
        .services
        .iter()
        .find(|one| needs_itself(compose, one))
    {
        let message = format!(
            "`{}` and services that it needs need each other",
            service.name
        );
        let problem = Problem::error(message).at(service.span);
        problems.push(problem.help("take one of them out of `depends_on`"));
    }
}

/// Returns whether a service depends on itself, directly or indirectly.
fn needs_itself(compose: &Compose, service: &Service) -> bool {
    let mut seen: Vec<&str> = Vec::new();
    let mut waiting = needs(service);
    while let Some(name) = waiting.pop() {
        if name == service.name {
            return true;
        }
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        waiting.extend(compose.service(name).map(needs).unwrap_or_default());
    }
    false
}

/// Returns the direct dependencies of a service.
fn needs(service: &Service) -> Vec<&str> {
    let needs = service.depends_on.iter();
    needs.map(|need| need.service.as_str()).collect()
}
