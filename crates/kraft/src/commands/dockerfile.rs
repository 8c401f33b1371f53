//! The flags of all commands that may build a Dockerfile.

use std::time::Duration;

use kraft_engine::dockerfile::{BuildOptions, Builder};

/// Options for building Dockerfiles.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Dockerfiles")]
pub(crate) struct DockerfileArgs {
    /// Set a build argument; without a value, use that of the host's environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,

    /// Build this stage instead of the last one
    #[arg(long, value_name = "STAGE")]
    build_target: Option<String>,

    /// Expose a secret to build steps; it is not stored in a layer
    #[arg(long, value_name = "id=ID,src=FILE|env=NAME")]
    build_secret: Vec<String>,

    /// Expose an SSH agent to build steps (default: the agent of the session)
    #[arg(long, value_name = "ID[=SOCKET]")]
    build_ssh: Vec<String>,

    /// Import this build cache
    #[arg(long, value_name = "type=KIND,…|IMAGE")]
    build_cache_from: Vec<String>,

    /// Export this build cache
    #[arg(long, value_name = "type=KIND,…|IMAGE")]
    build_cache_to: Vec<String>,

    /// Set the network of `RUN` steps; `default` is a private network
    #[arg(long, value_name = "NETWORK", value_parser = ["none", "host", "default"])]
    build_network: Option<String>,

    /// Set the timeout of the build, such as 10m
    #[arg(long, value_name = "DURATION", value_parser = super::values::duration)]
    build_timeout: Option<Duration>,

    /// Run every step again, ignoring the cache
    #[arg(long)]
    build_no_cache: bool,

    /// Build the root filesystem even if nothing has changed
    #[arg(long)]
    no_rootfs_cache: bool,

    /// Set the builder of Dockerfiles
    #[arg(
        long,
        value_name = "BUILDER",
        default_value = "auto",
        value_parser = super::choices::BUILDER,
        env = "KRAFTKIT_BUILDER"
    )]
    builder: Builder,
}

impl DockerfileArgs {
    /// Returns the options of the build.
    pub(crate) fn options(&self) -> BuildOptions {
        BuildOptions {
            arguments: self.build_arg.clone(),
            target: self.build_target.clone(),
            secrets: self.build_secret.clone(),
            agents: self.build_ssh.clone(),
            cache_from: self.build_cache_from.clone(),
            cache_to: self.build_cache_to.clone(),
            network: self
                .build_network
                .clone()
                .filter(|network| network != "default"),
            timeout: self.build_timeout,
            no_cache: self.build_no_cache,
            fresh: self.no_rootfs_cache || self.build_no_cache,
            builder: self.builder,
        }
    }
}
