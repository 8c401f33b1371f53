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
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::{Config, Flags, env::Environment};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_cloud::resources::instances::CreateInstance;
//! use kraft_deploy::dry_run::DryRun;
//! use kraft_deploy::{Cloud, CloudOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! let options = CloudOptions {
//!     metro: Some("fra0".to_owned()),
//!     // base64 of `anna:secret`
//!     token: Some("YW5uYTpzZWNyZXQ=".to_owned()),
//!     ..CloudOptions::default()
//! };
//! // Opens no connection.
//! let cloud = Cloud::open(&context, &options)?;
//! let wanted = CreateInstance { image: "nginx:latest".to_owned(), ..CreateInstance::default() };
//! let mut run = DryRun::default();
//! run.add(&cloud, &kraft_cloud::resources::instances::create(&wanted));
//! assert_eq!(run.steps()[0].method, "POST");
//! # Ok(())
//! # }
//! ```

pub mod account;
pub mod cloud;
pub mod compose;
pub mod control;
pub mod created;
pub mod deploy;
pub mod domains;
pub mod dry_run;
pub mod edit;
pub mod error;
pub mod exec;
pub mod helper;
pub mod images;
pub mod import;
pub mod keyring;
pub mod launch;
pub mod logs;
pub mod metros;
pub mod naming;
pub mod pem;
pub mod plan;
pub mod ports;
pub mod profiles;
pub mod readiness;
pub mod rollout;
pub mod services;
pub mod tunnel;
pub mod volumes;

pub use cloud::{Cloud, CloudOptions};
pub use error::{Interrupted, RequestError};
