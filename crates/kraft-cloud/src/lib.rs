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
//!
//! ```
//! use kraft_cloud::client::Client;
//! use kraft_cloud::endpoint::Endpoint;
//! use kraft_cloud::request::Id;
//! use kraft_cloud::resources::instances;
//! use kraft_cloud::token::Token;
//! use kraft_http::Policy;
//!
//! let token = Token::of("robot$anna.users.kraftcloud", "secret")?;
//! let client = Client::new(Endpoint::of("fra0")?, token, Policy::new("example"))?;
//! let request = instances::get(&[Id::new("web")]);
//! assert_eq!(request.method, "GET");
//! assert!(client.url(&request).path().ends_with("/instances"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod answer;
pub mod client;
pub mod dial;
pub mod endpoint;
mod error;
pub mod harbor;
pub mod health;
pub mod import;
mod pages;
pub mod probe;
pub mod request;
pub mod resources;
pub mod token;
pub mod tunnel;

pub use error::{AnswerError, ConnectionError, Error};
pub use kraft_http::ErrorKind;
