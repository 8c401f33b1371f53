//! The arguments that select a project by options.

use std::path::PathBuf;

use kraft_engine::project::{self, Project};

use crate::app::App;

/// The project of a command whose positional arguments are something else.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct ProjectOptions {
    /// Use the project in this directory
    #[arg(short, long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    workdir: Option<PathBuf>,

    /// Use this Kraftfile
    #[arg(short = 'K', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    kraftfile: Option<PathBuf>,
}

impl ProjectOptions {
    /// Reads the project.
    pub(crate) fn open(&self, app: &App) -> Result<Project, project::Error> {
        project::open(app, self.workdir.as_deref(), self.kraftfile.as_deref())
    }
}
