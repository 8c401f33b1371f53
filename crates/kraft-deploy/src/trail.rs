//! What a command has made so far, told when it does not get to its end.

use kraft_engine::failure::{Failure, Kind};

/// A thing that stays behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thing {
    /// An image of the platform's registry, by its name there.
    Image(String),
    /// A volume.
    Volume(String),
    /// An instance.
    Instance(String),
    /// An instance of which nobody knows whether it was made.
    Perhaps(String),
}

impl Thing {
    fn is(&self) -> String {
        match self {
            Self::Image(name) => format!("the image `{name}`"),
            Self::Volume(name) => format!("the volume `{name}`"),
            Self::Instance(name) => format!("the instance `{name}`"),
            Self::Perhaps(name) => format!("perhaps the instance `{name}`"),
        }
    }

    fn undo(&self) -> String {
        match self {
            Self::Image(name) => format!("kraft cloud image remove {name}"),
            Self::Volume(name) => format!("kraft cloud volume remove {name}"),
            Self::Instance(name) | Self::Perhaps(name) => {
                format!("kraft cloud instance remove {name}")
            }
        }
    }
}

/// What was made, oldest first, and how to go on.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    things: Vec<Thing>,
    /// How the user goes on from here, as a command line.
    pub next: Option<String>,
}

impl Trail {
    /// Remembers a thing.
    pub fn add(&mut self, thing: Thing) {
        if let Thing::Instance(name) = &thing {
            let doubt = Thing::Perhaps(name.clone());
            self.things.retain(|other| *other != doubt);
        }
        if !self.things.contains(&thing) {
            self.things.push(thing);
        }
    }

    /// Forgets a thing that is not there after all.
    pub fn drop(&mut self, thing: &Thing) {
        self.things.retain(|other| other != thing);
    }

    /// Adds to a failure what exists now, how to go on, and how to undo it.
    pub fn explain(&self, failure: Failure) -> Failure {
        if self.things.is_empty() {
            if failure.kind == Kind::Interrupted {
                return failure.hint("nothing was made on the platform");
            }
            return failure;
        }
        let list: Vec<String> = self.things.iter().map(Thing::is).collect();
        let mut failure = failure.hint(format!("there is now {}", list.join(", ")));
        if let Some(next) = &self.next {
            failure = failure.hint(format!("to go on: `{next}`"));
        }
        let undo: Vec<String> = self.things.iter().rev().map(Thing::undo).collect();
        failure.hint(format!("to undo it: `{}`", undo.join(" && ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_told_and_undone_backwards() {
        let mut trail = Trail::default();
        let failure = || Failure::new(Kind::Interrupted, "interrupted");
        assert_eq!(
            trail.explain(failure()).hints,
            ["nothing was made on the platform"]
        );
        trail.add(Thing::Image("anna/web".to_owned()));
        trail.add(Thing::Perhaps("web".to_owned()));
        trail.add(Thing::Instance("web".to_owned()));
        trail.next = Some("kraft cloud instance start web".to_owned());
        assert_eq!(
            trail.explain(failure()).hints,
            [
                "there is now the image `anna/web`, the instance `web`",
                "to go on: `kraft cloud instance start web`",
                "to undo it: `kraft cloud instance remove web && kraft cloud image remove anna/web`",
            ]
        );
    }
}
