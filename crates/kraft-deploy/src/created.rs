//! The resources that a command created so far, for the report when it fails halfway.

/// A resource on the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// An image in the platform's registry: its name there.
    Image(String),
    /// A volume.
    Volume(String),
    /// An instance.
    Instance(String),
    /// An instance that may or may not exist: the answer to its request is missing.
    MaybeInstance(String),
}

impl Resource {
    fn describe(&self) -> String {
        match self {
            Self::Image(name) => format!("the image `{name}`"),
            Self::Volume(name) => format!("the volume `{name}`"),
            Self::Instance(name) => format!("the instance `{name}`"),
            Self::MaybeInstance(name) => format!("perhaps the instance `{name}`"),
        }
    }

    fn undo(&self) -> String {
        match self {
            Self::Image(name) => format!("kraft cloud image remove {name}"),
            Self::Volume(name) => format!("kraft cloud volume remove {name}"),
            Self::Instance(name) | Self::MaybeInstance(name) => {
                format!("kraft cloud instance remove {name}")
            }
        }
    }
}

/// The resources that were created, oldest first, and the command that continues.
///
/// ```
/// use kraft_deploy::created::{Created, Resource};
///
/// let mut created = Created::default();
/// created.add(Resource::MaybeInstance("web".to_owned()));
/// created.add(Resource::Instance("web".to_owned()));
/// assert_eq!(created.summary().as_deref(), Some("the instance `web`"));
/// assert_eq!(created.undo().as_deref(), Some("kraft cloud instance remove web"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Created {
    resources: Vec<Resource>,
    /// The command line that continues from here.
    pub next: Option<String>,
}

impl Created {
    /// Adds a resource, once; an instance that exists replaces one that may exist.
    pub fn add(&mut self, resource: Resource) {
        if let Resource::Instance(name) = &resource {
            self.remove(&Resource::MaybeInstance(name.clone()));
        }
        if !self.resources.contains(&resource) {
            self.resources.push(resource);
        }
    }

    /// Removes a resource that does not exist after all.
    pub fn remove(&mut self, resource: &Resource) {
        self.resources.retain(|other| other != resource);
    }

    /// Returns the resources in one line; `None` if there are none.
    #[must_use]
    pub fn summary(&self) -> Option<String> {
        let all: Vec<String> = self.resources.iter().map(Resource::describe).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// Returns the command line that removes the resources, newest first; `None` if there are none.
    #[must_use]
    pub fn undo(&self) -> Option<String> {
        let all: Vec<String> = self.resources.iter().rev().map(Resource::undo).collect();
        (!all.is_empty()).then(|| all.join(" && "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_listed_in_order_and_removed_in_reverse() {
        let mut created = Created::default();
        assert_eq!((created.summary(), created.undo()), (None, None));
        created.add(Resource::Image("anna/web".to_owned()));
        created.add(Resource::MaybeInstance("web".to_owned()));
        created.add(Resource::Instance("web".to_owned()));
        created.add(Resource::Instance("web".to_owned()));
        assert_eq!(
            created.summary().unwrap(),
            "the image `anna/web`, the instance `web`"
        );
        assert_eq!(
            created.undo().unwrap(),
            "kraft cloud instance remove web && kraft cloud image remove anna/web"
        );
    }
}
