//! YAML documents of any format: a tree whose nodes have positions, variables, and a table of
//! allowed keys and values.
//!
//! ```text
//! text ─ yaml ─► tree ─ interpolate ─► tree ─ check ─► problems
//! ```

pub(crate) mod check;
pub(crate) mod interpolate;
pub(crate) mod located;
pub(crate) mod node;
pub(crate) mod open;
pub(crate) mod problems;
pub(crate) mod shape;
pub(crate) mod yaml;
