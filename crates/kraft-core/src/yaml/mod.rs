//! YAML texts that people wrote and that we change: the configuration, Kraftfiles.
//!
//! A value is changed in its place and every other byte stays as it was.

pub mod document;
pub mod edit;
pub mod value;
