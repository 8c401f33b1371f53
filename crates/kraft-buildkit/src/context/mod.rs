//! The files of a directory, offered to a daemon: which there are, and then what it asks for.

mod follow;
mod listing;
mod sender;

pub(crate) use listing::{Filter, is_file, list};
pub(crate) use sender::send;
