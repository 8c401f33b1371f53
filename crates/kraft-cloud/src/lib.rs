//! Client for the Unikraft Cloud REST API: every call as a typed [`Request`](request::Request), and
//! a [`Client`](client::Client) that sends it.
//!
//! ```text
//! resources::instances::list(..) ──► Request<Instance> ──► Client::send ──► Answer<Instance>
//!        pure: method, path, query, body            token, retries     items, each with its status
//! ```
//!
//! A [`Request`](request::Request) can be inspected before it is sent; a dry run stops there. The
//! crate does not read image contents or Kraftfiles, and prints nothing to the terminal.

pub mod answer;
pub mod client;
pub mod dial;
pub mod endpoint;
mod error;
pub mod harbor;
pub mod import;
pub mod probe;
pub mod request;
pub mod resources;
pub mod token;
pub mod tunnel;
pub mod visit;

pub use error::Error;
pub use kraft_http::ErrorKind;
