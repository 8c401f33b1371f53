//! What every command is given: the configuration and the screen.

use crate::config::Config;
use crate::ui::Ui;

/// The program, set up; commands borrow it and own nothing of it.
#[derive(Debug)]
pub(crate) struct App {
    /// The effective configuration.
    pub(crate) config: Config,
    /// The screen: data to stdout, talk to stderr.
    pub(crate) ui: Ui,
}
