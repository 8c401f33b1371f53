//! A client of BuildKit: a Dockerfile in, the root filesystem as a tar and the image's
//! configuration out.
//!
//! A build is one conversation in which both sides serve:
//!
//! ```text
//! kraft ── Control.Solve, LLBBridge.Solve/Return, Control.Status ──► daemon
//!       ◄─ session: files of the context, secrets, credentials, ssh; then the tar ─
//! ```
//!
//! `address` and `transport` reach a daemon wherever it is; `session` is what we serve, with the
//! context's files in `context`; `solve` leads the conversation; `progress` and `error` put what
//! the daemon tells into words of ours.
//!
//! The protocols are those of moby/buildkit (`api/services/control`, `frontend/gateway/pb`,
//! `session/*`) and of fsutil (`types/wire.proto`), as `bollard-buildkit-proto` generated them.

mod address;
mod context;
mod engine;
mod error;
mod output;
mod progress;
mod session;
mod solve;
mod transport;

pub use address::{Address, BadAddress, TlsFiles};
pub use engine::image_id;
pub use error::{Error, Failure, Place};
pub use output::{TarReader, TarSink, is_cut_off, pipe};
pub use progress::Happening;
pub use session::{Credentials, Login, Secret};
pub use solve::{Build, Cache, build};
pub use transport::Daemon;
