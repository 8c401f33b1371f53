//! What every command is given: the configuration and the screen.

use crate::config::Config;
use crate::failure::Failure;
use crate::ui::Ui;

/// The program, set up; commands borrow it and own nothing of it.
#[derive(Debug)]
pub(crate) struct App {
    /// The effective configuration.
    pub(crate) config: Config,
    /// Why the configuration was not read, for the commands that work without it.
    pub(crate) misconfigured: Option<Failure>,
    /// The screen: data to stdout, talk to stderr.
    pub(crate) ui: Ui,
}

impl App {
    /// Returns whether no connection may be opened.
    pub(crate) fn offline(&self) -> bool {
        self.config.switch("offline")
    }
}
