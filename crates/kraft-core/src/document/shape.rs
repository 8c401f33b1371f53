//! Tables of allowed keys and values. Each document format has such a table, and [`super::check`]
//! validates a tree against it.

use super::node::Node;

/// The allowed values of a key.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A string.
    Text,
    /// One of several keywords.
    Word(&'static [&'static str]),
    /// Any scalar, kept as written.
    Scalar,
    /// Any scalar, or null.
    ScalarOrNothing,
    /// A boolean.
    Bool,
    /// A list of values of one shape.
    List(&'static Shape),
    /// A mapping with arbitrary keys and values of one shape.
    Map(&'static Shape),
    /// A mapping with known keys.
    Record(&'static Record),
    /// Alternatives; at most one each for a scalar, a list and a mapping.
    Either(&'static [Shape]),
    /// Any value.
    Any,
    /// Anything, without a warning.
    Free,
}

/// A mapping with known keys.
#[derive(Debug)]
pub(crate) struct Record {
    /// The name of its definition in the schema.
    pub(crate) name: &'static str,
    /// Description shown by editors.
    pub(crate) doc: &'static str,
    /// Its keys.
    pub(crate) fields: &'static [Field],
}

/// One key of a mapping.
#[derive(Debug)]
pub(crate) struct Field {
    /// The preferred name.
    pub(crate) name: &'static str,
    /// Other names with the same meaning.
    pub(crate) aliases: &'static [&'static str],
    /// Deprecated names with the same meaning.
    pub(crate) old: &'static [&'static str],
    /// Whether the key is required.
    pub(crate) required: bool,
    /// Description shown by editors.
    pub(crate) doc: &'static str,
    /// Its allowed values.
    pub(crate) shape: Shape,
}

impl Field {
    pub(crate) const fn new(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self {
            name,
            aliases: &[],
            old: &[],
            required: false,
            doc,
            shape,
        }
    }

    pub(crate) const fn or(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    pub(crate) const fn once(mut self, old: &'static [&'static str]) -> Self {
        self.old = old;
        self
    }

    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Returns all names of the field, the preferred one first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        let others = self.aliases.iter().chain(self.old);
        std::iter::once(self.name).chain(others.copied())
    }
}

impl Record {
    /// Returns the field with a name.
    pub(crate) fn field(&self, key: &str) -> Option<&'static Field> {
        self.fields.iter().find(|f| f.names().any(|n| n == key))
    }

    /// Returns the value of a field under any of its names.
    ///
    /// An empty value counts as absent.
    pub(crate) fn get<'n>(&self, node: &'n Node, name: &str) -> Option<&'n Node> {
        let field = self.field(name)?;
        let entry = node
            .entries()
            .iter()
            .find(|e| field.names().any(|n| n == e.key.value))?;
        Some(&entry.value).filter(|value| !value.is_null())
    }
}

/// Returns whether a key is reserved for the author's extensions.
pub(crate) fn is_extension(key: &str) -> bool {
    key.starts_with("x-") || key == "extensions"
}
