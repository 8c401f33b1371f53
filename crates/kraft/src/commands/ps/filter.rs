//! `--filter KEY=VALUE`: which machines are listed.

use std::str::FromStr;

use kraft_core::nearest;

use crate::commands::machines::Row;

/// A property that a machine must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    key: Key,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Name,
    Id,
    Label,
    Status,
    Health,
    Exited,
    Image,
}

const KEYS: &[(&str, Key)] = &[
    ("name", Key::Name),
    ("id", Key::Id),
    ("label", Key::Label),
    ("status", Key::Status),
    ("health", Key::Health),
    ("exited", Key::Exited),
    ("image", Key::Image),
    // Docker's name of it.
    ("ancestor", Key::Image),
];

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| "expected KEY=VALUE, such as status=running".to_owned())?;
        let key = KEYS.iter().find(|(key, _)| *key == name);
        let key = key.map(|(_, key)| *key).ok_or_else(|| {
            let keys: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
            match nearest::nearest(name, keys.iter().copied()) {
                Some(near) => format!("unknown key `{name}`: did you mean `{near}`?"),
                None => format!("unknown key `{name}`: expected one of {}", keys.join(", ")),
            }
        })?;
        let value = value.to_owned();
        if key == Key::Exited && value.parse::<i32>().is_err() {
            return Err("expected an exit code, such as exited=1".to_owned());
        }
        Ok(Self { key, value })
    }
}

impl Filter {
    /// Returns whether it selects by state, so that machines that do not run are listed, too.
    pub(crate) fn is_about_state(&self) -> bool {
        matches!(self.key, Key::Status | Key::Exited | Key::Health)
    }

    fn matches(&self, row: &Row) -> bool {
        let value = self.value.as_str();
        match self.key {
            Key::Name => row.name.as_ref().is_some_and(|name| name.contains(value)),
            Key::Id => row.id.starts_with(value),
            Key::Label => match value.split_once('=') {
                Some((name, value)) => row.labels.get(name).is_some_and(|it| it == value),
                None => row.labels.contains_key(value),
            },
            Key::Status => row.state == value,
            Key::Health => {
                row.health
                    .map_or("none", kraft_core::lifecycle::Health::name)
                    == value
            }
            Key::Exited => row.exit_code.is_some_and(|code| code.to_string() == value),
            Key::Image => row.kernel.as_ref().is_some_and(|it| it.contains(value)),
        }
    }
}

/// Returns whether a machine matches: of several values of one key any, of the labels all, as in
/// Docker.
pub(crate) fn all_match(filters: &[Filter], row: &Row) -> bool {
    filters.iter().all(|filter| {
        if filter.key == Key::Label {
            return filter.matches(row);
        }
        let same = filters.iter().filter(|other| other.key == filter.key);
        let mut same = same.into_iter();
        same.any(|filter| filter.matches(row))
    })
}

#[cfg(test)]
mod tests {
    use kraft_core::machine::MachineState;

    use super::*;

    fn row(name: &str, labels: &[(&str, &str)]) -> Row {
        let labels = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Row {
            name: Some(name.to_owned()),
            labels: labels.collect(),
            exit_code: Some(3),
            ..Row::unknown("0f".to_owned(), MachineState::Exited)
        }
    }

    #[test]
    fn values_of_one_key_are_alternatives_and_keys_and_labels_add_up() {
        let web = row("web-1", &[("tier", "web"), ("x", "")]);
        let matches = |texts: &[&str]| {
            let filters: Vec<Filter> = texts.iter().map(|text| text.parse().unwrap()).collect();
            all_match(&filters, &web)
        };
        for yes in [
            &[][..],
            &["name=web"],
            &["name=db", "name=web"],
            &["label=x"],
            &["label=tier=web", "label=x="],
            &["status=exited", "exited=3"],
            &["health=none"],
            &["id=0"],
        ] {
            assert!(matches(yes), "{yes:?}");
        }
        for no in [
            &["name=db"][..],
            &["name=web", "status=running"],
            &["label=tier=db"],
            &["label=x", "label=y"],
            &["exited=0"],
            &["id=f"],
            &["image=x"],
        ] {
            assert!(!matches(no), "{no:?}");
        }
        for wrong in ["name", "nam=x", "size=1", "exited=x"] {
            assert!(wrong.parse::<Filter>().is_err(), "{wrong}");
        }
    }
}
