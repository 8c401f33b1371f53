//! Shapes: what may stand where in a document, as a table. Who reads a kind of document writes the
//! table; [`super::check`] holds a tree against it.

use super::node::Node;

/// What may stand at a place.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A string.
    Text,
    /// One of a few words.
    Word(&'static [&'static str]),
    /// Anything scalar, kept as it was written.
    Scalar,
    /// Anything scalar, or nothing.
    ScalarOrNothing,
    /// A boolean.
    Bool,
    /// Items of one shape.
    List(&'static Shape),
    /// Values of one shape under keys that the author chooses.
    Map(&'static Shape),
    /// Known keys.
    Record(&'static Record),
    /// One of several; at most one of them for a scalar, a list and a mapping each.
    Either(&'static [Shape]),
    /// Whatever it is.
    Any,
}

/// A mapping with known keys.
#[derive(Debug)]
pub(crate) struct Record {
    /// The name of its definition in the schema.
    pub(crate) name: &'static str,
    /// What it is: the words an editor shows.
    pub(crate) doc: &'static str,
    /// Its keys.
    pub(crate) fields: &'static [Field],
}

/// One key of a mapping.
#[derive(Debug)]
pub(crate) struct Field {
    /// The name we write.
    pub(crate) name: &'static str,
    /// Other names that mean the same.
    pub(crate) aliases: &'static [&'static str],
    /// Names of old that mean the same but are warned of.
    pub(crate) old: &'static [&'static str],
    /// Whether the mapping is useless without it.
    pub(crate) required: bool,
    /// What it is: the words an editor shows.
    pub(crate) doc: &'static str,
    /// What may stand there.
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

    /// Returns every name of the field, the one we write first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        let others = self.aliases.iter().chain(self.old);
        std::iter::once(self.name).chain(others.copied())
    }
}

impl Record {
    /// Returns the field that a key names.
    pub(crate) fn field(&self, key: &str) -> Option<&'static Field> {
        self.fields.iter().find(|f| f.names().any(|n| n == key))
    }

    /// Returns the value under a field, whichever of its names the author wrote.
    ///
    /// A value that is left empty counts as absent.
    pub(crate) fn get<'n>(&self, node: &'n Node, name: &str) -> Option<&'n Node> {
        let field = self.field(name)?;
        let entry = node
            .entries()
            .iter()
            .find(|e| field.names().any(|n| n == e.key.value))?;
        Some(&entry.value).filter(|value| !value.is_null())
    }
}

/// Whether a key of a record belongs to the author alone.
pub(crate) fn is_extension(key: &str) -> bool {
    key.starts_with("x-") || key == "extensions"
}
