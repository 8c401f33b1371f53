//! The order of services: those that others need come first.

use crate::document::faults::Faults;
use crate::document::located::Located;
use crate::nearest::nearest;
use crate::problem::Problem;

use super::model::{Compose, Service};

impl Compose {
    /// Returns services with everything that they need, needed ones first; without names all.
    /// Otherwise the order is that of the file.
    ///
    /// Names that no service has are passed over.
    pub fn order(&self, names: &[String]) -> Vec<&Service> {
        let mut order: Vec<&Service> = Vec::new();
        // What is entered and not left yet: its needs are being looked at.
        let mut stack: Vec<(&Service, usize)> = Vec::new();
        let wanted = |one: &&Service| names.is_empty() || names.contains(&one.name);
        for service in self.services.iter().filter(wanted) {
            stack.push((service, 0));
            while let Some((current, at)) = stack.pop() {
                if order.iter().any(|one| one.name == current.name) {
                    continue;
                }
                let need = current
                    .depends_on
                    .get(at)
                    .and_then(|name| self.service(&name.value));
                match (need, at < current.depends_on.len()) {
                    (Some(need), _) => {
                        stack.push((current, at + 1));
                        // A circle is a fault of the file, and no reason to run in it for ever.
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

/// Says which services need ones that are not there, or each other.
pub(super) fn check(compose: &Compose, faults: &mut Faults) {
    for service in &compose.services {
        for Located { value: need, span } in &service.depends_on {
            if compose.service(need).is_some() {
                continue;
            }
            let message = format!(
                "there is no service `{need}`, which `{}` needs",
                service.name
            );
            let problem = Problem::error(message).at(*span);
            let names = compose.services.iter().map(|one| one.name.as_str());
            faults.push(match nearest(need, names) {
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
        faults.push(problem.help("take one of them out of `depends_on`"));
    }
}

/// Whether a service is among what it needs, in however many steps.
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

/// Returns what a service needs.
fn needs(service: &Service) -> Vec<&str> {
    let needs = service.depends_on.iter();
    needs.map(|need| need.value.as_str()).collect()
}
