//! Unikraft Cloud, spoken to: every call of its REST interface as a typed value, and a client that
//! sends such values.
//!
//! ```text
//! resources::instances::list(..) ──► Request<Instance> ──► Client::send ──► Answer<Instance>
//!        pure: method, path, query, body            bearer, retries      items, each with its status
//! ```
//!
//! A [`Request`](request::Request) can be looked at before it is sent, which is all that a dry run
//! does. The room knows nothing of images' contents, of Kraftfiles and of the screen.

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
