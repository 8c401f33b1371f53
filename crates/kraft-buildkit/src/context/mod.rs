//! Sends the files of a directory to a daemon: a listing, then the contents that it requests.

mod follow;
mod listing;
mod sender;

pub(crate) use listing::{Filter, is_file, list};
pub(crate) use sender::send;
