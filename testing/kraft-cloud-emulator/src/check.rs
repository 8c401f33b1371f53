//! Validation of request bodies: only the fields of the API description are allowed.

use serde_json::Value;

use crate::answer::{Code, Fault};

/// Type of a field.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A string of at most this many bytes.
    Text(usize),
    /// A name: a string of 1 to 255 bytes without control characters, spaces and slashes.
    Name,
    /// A UUID.
    Uuid,
    /// An integer between two bounds, both inclusive.
    Number(i64, i64),
    /// `true` or `false`.
    Flag,
    /// One of these strings.
    Word(&'static [&'static str]),
    /// A list with elements of one type, at most 253.
    List(&'static Kind),
    /// An object with these fields.
    Object(&'static [Field]),
    /// An object whose values are strings.
    Texts,
    /// A number or `null`.
    MaybeNumber,
    /// A reference of an image: a string, or an object with `url`.
    Image,
    /// Any JSON value.
    Any,
}

/// A field of a body: its name, its type, and whether it is required.
pub(crate) type Field = (&'static str, Kind, bool);

/// Maximum number of elements of a list (API description).
const MAX_ITEMS: usize = 253;
/// Maximum number of members of an object whose values are strings.
const MAX_TEXTS: usize = 256;

/// Fields of an image that is given as an object.
const IMAGE: &[Field] = &[
    ("url", Kind::Text(8 << 20), true),
    ("credentials", Kind::Text(8 << 20), false),
    ("headers", Kind::Texts, false),
    (
        "pull_policy",
        Kind::Word(&["always", "if_not_present", "never"]),
        false,
    ),
];

/// The name of a resource or of a domain.
pub(crate) const NAME: Kind = Kind::Name;

/// The UUID that selects a resource, as an optional field.
pub(crate) const UUID_FIELD: Field = ("uuid", Kind::Uuid, false);
/// The name that selects a resource, as an optional field.
pub(crate) const NAME_FIELD: Field = ("name", NAME, false);

/// The fields that select a resource by UUID or by name.
pub(crate) const ID: &[Field] = &[UUID_FIELD, NAME_FIELD];

/// Rejects an object that has an unknown field, lacks a required one, or has a value of a wrong
/// type.
pub(crate) fn object(value: &Value, fields: &[Field]) -> Result<(), Fault> {
    checked(value, fields, "the body")
}

fn checked(value: &Value, shape: &[Field], at: &str) -> Result<(), Fault> {
    let Some(map) = value.as_object() else {
        return Err(malformed(format!("{at} is not an object")));
    };
    for name in map.keys() {
        if !shape.iter().any(|(known, _, _)| known == name) {
            return Err(malformed(format!("{at} has an unknown field `{name}`")));
        }
    }
    for (name, kind, required) in shape {
        match map.get(*name) {
            Some(value) => fits(value, kind, &format!("`{name}` of {at}"))?,
            None if *required => return Err(malformed(format!("{at} misses `{name}`"))),
            None => {}
        }
    }
    Ok(())
}

fn fits(value: &Value, kind: &Kind, at: &str) -> Result<(), Fault> {
    if let (Kind::Uuid, Some(text)) = (kind, value.as_str())
        && uuid::Uuid::parse_str(text).is_err()
    {
        return Err(Fault::new(Code::Invalid, format!("Invalid uuid '{text}'")));
    }
    let good = match kind {
        Kind::Text(most) => value.as_str().is_some_and(|text| text.len() <= *most),
        Kind::Name => value.as_str().is_some_and(|text| {
            let bad = |c: char| c.is_control() || c.is_whitespace() || c == '/';
            (1..=255).contains(&text.len()) && !text.contains(bad)
        }),
        Kind::Uuid => value.is_string(),
        Kind::Number(low, high) => value.as_i64().is_some_and(|n| *low <= n && n <= *high),
        Kind::MaybeNumber => value.is_i64() || value.is_null(),
        Kind::Flag => value.is_boolean(),
        Kind::Any => true,
        Kind::Image if value.is_string() => true,
        Kind::Image => return checked(value, IMAGE, at),
        Kind::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        Kind::Texts => {
            let map = value.as_object();
            map.is_some_and(|map| map.len() <= MAX_TEXTS && map.values().all(Value::is_string))
        }
        Kind::Object(fields) => return checked(value, fields, at),
        Kind::List(kind) => match value.as_array() {
            Some(list) if list.len() <= MAX_ITEMS => {
                return list.iter().try_for_each(|value| fits(value, kind, at));
            }
            _ => false,
        },
    };
    if good {
        Ok(())
    } else {
        Err(Fault::new(
            Code::Invalid,
            format!("{at} is out of range or of the wrong type"),
        ))
    }
}

fn malformed(message: String) -> Fault {
    Fault::new(Code::Malformed, message)
}

/// Selects a resource by UUID or by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    /// The resource with this UUID.
    Uuid(String),
    /// The resource with this name.
    Name(String),
}

impl Who {
    /// Parses `uuid` or `name`, which are mutually exclusive.
    pub(crate) fn of(item: &Value) -> Result<Self, Fault> {
        let text = |key: &str| item.get(key).and_then(Value::as_str).map(str::to_owned);
        match (text("uuid"), text("name")) {
            (Some(_), Some(_)) => Err(Fault::new(
                Code::NotBoth,
                "`uuid` and `name` exclude each other",
            )),
            (Some(uuid), None) => Ok(Self::Uuid(uuid)),
            (None, Some(name)) => Ok(Self::Name(name)),
            (None, None) => Err(Fault::new(
                Code::MissingId,
                "neither `uuid` nor `name` is given",
            )),
        }
    }

    /// Returns whether this selects the resource with a UUID and a name.
    pub(crate) fn is(&self, uuid: &str, name: &str) -> bool {
        match self {
            Self::Uuid(wanted) => wanted == uuid,
            Self::Name(wanted) => wanted == name,
        }
    }

    /// Returns the error for a resource that does not exist.
    pub(crate) fn missing(&self, what: &str) -> Fault {
        let message = match self {
            Self::Uuid(uuid) => format!("No {what} with uuid '{uuid}'"),
            Self::Name(name) => format!("No {what} with name '{name}'"),
        };
        Fault::new(Code::NotFound, message)
    }
}
