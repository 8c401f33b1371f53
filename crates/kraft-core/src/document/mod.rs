//! Documents in YAML, before anybody knows what they are about: a tree whose nodes know their place,
//! variables in it, and a table of what may stand where.
//!
//! ```text
//! text ─ yaml ─► tree ─ interpolate ─► tree ─ check ─► faults
//! ```

pub(crate) mod check;
pub(crate) mod faults;
pub(crate) mod interpolate;
pub(crate) mod located;
pub(crate) mod node;
pub(crate) mod open;
pub(crate) mod shape;
pub(crate) mod yaml;
