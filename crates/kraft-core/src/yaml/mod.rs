//! Reads and edits YAML files written by users: the configuration, Kraftfiles.
//!
//! Edits keep all bytes other than the changed value.

pub mod document;
pub mod edit;
pub mod value;
