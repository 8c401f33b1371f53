//! Deploy to Unikraft Cloud: images, instances, roll-outs, tunnels, volumes and Compose projects.
//!
//! ```text
//! options, variables, login ─ open ─► Cloud ─ send ─► Answer
//!                                       └ a dry run records the requests and sends none
//! ```
//!
//! [`Cloud`] is the connection to one metro. [`deploy`] turns a project or an image into a running
//! instance, [`rollout`] replaces older instances, [`compose`] does both for several services.
//! Each module has an error enum of its own; the front end decides the exit code and the hints.

pub mod account;
pub mod cloud;
pub mod compose;
pub mod created;
pub mod deploy;
pub mod dry_run;
pub mod error;
pub mod helper;
pub mod images;
pub mod import;
pub mod launch;
pub mod logs;
pub mod metros;
pub mod naming;
pub mod ports;
pub mod readiness;
pub mod rollout;
pub mod services;
pub mod tunnel;

pub use cloud::{Cloud, CloudOptions};
pub use error::{Interrupted, RequestError};
