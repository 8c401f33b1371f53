//! The command line of `kraft`.
