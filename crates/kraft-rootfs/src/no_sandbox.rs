//! In place of the sandbox where there are no namespaces: there is never one.

use std::path::Path;
use std::time::Instant;

use crate::dockerfile::{Command, Network, Root, RunError, Runner};
use crate::ids::IdMap;

/// The hidden argument that starts this program as the process that creates namespaces.
pub const ARGUMENT: &str = "__step";

/// Runs commands in namespaces; has no value.
#[derive(Clone, Debug)]
pub enum Sandbox {}

impl Sandbox {
    /// Fails.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn find(_: &Path, _: Network) -> Result<Self, String> {
        let why = "not on macOS: commands of a Dockerfile need Linux namespaces";
        Err(why.to_owned())
    }

    /// Returns the sandbox of one build.
    #[must_use]
    pub fn for_build(self, _: &Path, _: Option<Instant>) -> Self {
        self
    }

    /// Returns why commands share the network of the host although their own was requested.
    #[must_use]
    pub fn no_way_out(&self) -> Option<&str> {
        match *self {}
    }
}

impl Runner for Sandbox {
    fn run(&self, _: &Root, _: &Command, _: &mut dyn FnMut(&str)) -> Result<(), RunError> {
        match *self {}
    }

    fn ids(&self) -> Option<&IdMap> {
        match *self {}
    }

    fn network(&self) -> Network {
        match *self {}
    }
}

/// Returns the exit code of a process that cannot create namespaces.
pub fn enter() -> i32 {
    125
}
