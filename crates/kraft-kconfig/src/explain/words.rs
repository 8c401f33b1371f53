//! Losses as text for users.

use std::fmt::{self, Display, Formatter};

use super::{Cause, Forced, Loss, Need, Why};

/// Maximum number of names printed of a list.
const MOST_NAMES: usize = 5;

impl Loss {
    /// Returns the reason as a fragment: `needs LWIP_UDP, which is n because …`.
    pub fn reason(&self) -> String {
        self.cause.to_string()
    }

    /// Returns a hint for the user, as a sentence.
    pub fn advice(&self) -> Option<String> {
        match &self.cause {
            Cause::Unknown {
                nearest: Some(near),
                ..
            } => Some(format!("did you mean `CONFIG_{near}`?")),
            Cause::Needs { needs } => {
                let root = needs.iter().find_map(root)?;
                Some(format!("set `CONFIG_{root}=y` as well"))
            }
            Cause::Selected { by } => {
                let by = by.first()?;
                Some(format!("turn `CONFIG_{by}` off to turn this off"))
            }
            Cause::OnlyChoice { .. } => Some("set another member of the choice to `y`".to_owned()),
            Cause::Promptless { selected_by } => {
                let by = selected_by.first()?;
                Some(format!(
                    "enable a symbol that selects it, such as `CONFIG_{by}`"
                ))
            }
            Cause::Unknown { nearest: None, .. }
            | Cause::WrongType { .. }
            | Cause::NoModules
            | Cause::OutOfRange { .. }
            | Cause::Chosen { .. }
            | Cause::Environment { .. }
            | Cause::NotAsked { .. } => None,
        }
    }
}

/// Returns the symbol at the root of the cause, if users can set it.
fn root(need: &Need) -> Option<&String> {
    let on = need.symbol.as_ref() == Some(&need.condition);
    match need.because.as_ref()? {
        Why::NotSet | Why::Configured => need.symbol.as_ref().filter(|_| on),
        Why::Needs { needs } => needs.iter().find_map(root),
        Why::Undefined
        | Why::Default
        | Why::Unselected { .. }
        | Why::Selected { .. }
        | Why::Chosen { .. } => None,
    }
}

impl Display for Loss {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            wanted,
            found,
            cause,
        } = self;
        match found.as_deref() {
            None | Some("n" | "") => write!(f, "{name}={wanted} was dropped: {cause}"),
            Some(found) => write!(f, "{name}={wanted} became {found}: {cause}"),
        }
    }
}

impl Display for Cause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { .. } => f.write_str("no component has this option"),
            Self::WrongType { expected } => {
                write!(f, "the value is not valid for its type, {expected}")
            }
            Self::NoModules => f.write_str("modules are not supported, so it can be y or n only"),
            Self::OutOfRange { low, high } => {
                write!(f, "it must be from {low} to {high}")
            }
            Self::Chosen { choice, winner } => {
                write!(
                    f,
                    "{winner} is selected for `{choice}`, which allows only one"
                )
            }
            Self::OnlyChoice { choice } => {
                write!(
                    f,
                    "`{choice}` requires a selection, and nothing else is selected"
                )
            }
            Self::Needs { needs } => all(f, needs),
            Self::Selected { by } => write!(f, "{}", select(by)),
            Self::Promptless { selected_by } if selected_by.is_empty() => {
                f.write_str("it has no prompt, so its value follows from other options")
            }
            Self::Promptless { selected_by } => write!(
                f,
                "it has no prompt, and is set only where selected by {}",
                names(selected_by, "or")
            ),
            Self::Environment { variable } => {
                write!(f, "its value is given by the build, as {variable}")
            }
            Self::NotAsked { instead: None } => f.write_str("the configuration does not set it"),
            Self::NotAsked {
                instead: Some(instead),
            } => write!(f, "the configuration sets it to `{instead}`"),
        }
    }
}

impl Display for Forced {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is on because {}, though it ",
            self.name,
            select(&self.by)
        )?;
        all(f, &self.needs)
    }
}

fn all(f: &mut Formatter<'_>, needs: &[Need]) -> fmt::Result {
    for (at, need) in needs.iter().enumerate() {
        if at > 0 {
            f.write_str("; and ")?;
        }
        write!(f, "{need}")?;
    }
    Ok(())
}

impl Display for Need {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            condition,
            symbol,
            value,
            because,
        } = self;
        write!(f, "needs {condition}")?;
        match (symbol, value) {
            (Some(symbol), Some(value)) => {
                let which = if symbol == condition {
                    ", which".to_owned()
                } else {
                    format!(", but {symbol}")
                };
                let value = if value.is_empty() { "empty" } else { value };
                write!(f, "{which} is {value}")?;
                match because {
                    Some(because) => write!(f, " because {because}"),
                    None => Ok(()),
                }
            }
            (Some(_), None) => f.write_str(", which no component has"),
            (None, _) => f.write_str(", which does not hold"),
        }
    }
}

impl Display for Why {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undefined => f.write_str("no component has it"),
            Self::Configured => f.write_str("the configuration sets it"),
            Self::Default => f.write_str("that is its default"),
            Self::NotSet => f.write_str("nothing sets it"),
            Self::Unselected { by } if by.is_empty() => {
                f.write_str("it has no prompt and nothing selects it")
            }
            Self::Unselected { by } => {
                write!(
                    f,
                    "it has no prompt and is not selected by {}",
                    names(by, "or")
                )
            }
            Self::Selected { by } => write!(f, "{}", select(by)),
            Self::Chosen { choice, winner } => write!(f, "{winner} is selected for `{choice}`"),
            Self::Needs { needs } => {
                f.write_str("it ")?;
                all(f, needs)
            }
        }
    }
}

fn select(by: &[String]) -> String {
    let verb = if by.len() == 1 { "selects" } else { "select" };
    format!("{} {verb} it", names(by, "and"))
}

fn names(names: &[String], last: &str) -> String {
    let (shown, rest) = names.split_at_checked(MOST_NAMES).unwrap_or((names, &[]));
    match (shown, rest.len()) {
        ([one], 0) => one.clone(),
        ([before @ .., end], 0) => format!("{} {last} {end}", before.join(", ")),
        (shown, more) => format!("{} {last} {more} more", shown.join(", ")),
    }
}
