//! The flags of every command that may have to build a Dockerfile.

use std::time::Duration;

use kraft_engine::dockerfile::{BuildOptions, Builder};

/// How Dockerfiles are built.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Dockerfiles")]
pub(crate) struct DockerfileArgs {
    /// Set a build argument; without a value, take it from this environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,

    /// Build this stage instead of the last
    #[arg(long, value_name = "STAGE")]
    build_target: Option<String>,

    /// Let steps see a secret that no layer keeps
    #[arg(long, value_name = "id=ID,src=FILE|env=NAME")]
    build_secret: Vec<String>,

    /// Let steps use an ssh agent, by default that of this session
    #[arg(long, value_name = "ID[=SOCKET]")]
    build_ssh: Vec<String>,

    /// Read this cache of a builder
    #[arg(long, value_name = "type=KIND,…|IMAGE")]
    build_cache_from: Vec<String>,

    /// Write this cache of a builder
    #[arg(long, value_name = "type=KIND,…|IMAGE")]
    build_cache_to: Vec<String>,

    /// Network of `RUN` commands: none, that of the host, or one of their own
    #[arg(long, value_name = "NETWORK", value_parser = ["none", "host", "default"])]
    build_network: Option<String>,

    /// Stop the build after this time, such as 10m
    #[arg(long, value_name = "DURATION", value_parser = super::values::duration)]
    build_timeout: Option<Duration>,

    /// Run every step again
    #[arg(long)]
    build_no_cache: bool,

    /// Build the root filesystem even if nothing has changed
    #[arg(long)]
    no_rootfs_cache: bool,

    /// Who builds
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
