//! `kraft runu`: the runtime for container engines.

use std::ffi::OsString;

use crate::app::App;
use crate::container_runtime;
use crate::failure::Failure;

/// Run unikernels for container engines, as an OCI runtime
///
/// Docker, containerd, podman and Kubernetes start containers by such a program. Under the name
/// `runu`, which `make install` links to it, kraft is that program: an image that `kraft pkg` has
/// made boots as a machine, and every other image is handed to runc, crun or youki.
///
/// The arguments are those of runc; `runu --help` lists them. For Docker, register the program
/// in `/etc/docker/daemon.json`: `{"runtimes": {"runu": {"path": "/usr/local/bin/runu"}}}`, then use
/// `docker run --runtime runu IMAGE`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A command of an OCI runtime, with its flags
    #[arg(
        value_name = "ARGUMENTS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    args: Vec<OsString>,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    container_runtime::run(&args.args, &app.config.env)
}
