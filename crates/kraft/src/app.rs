//! The state of the program that every command gets: configuration, context of flows, terminal
//! output.

use std::ops::Deref;
use std::sync::Arc;

use kraft_config::Config;
use kraft_config::dirs::Dirs;
use kraft_core::event::{Event, Reporter};
use kraft_engine::context::Context;
use kraft_engine::interrupt::Interrupt;
use kraft_engine::profile::Began;
use kraft_engine::recent;

use crate::failure::Failure;
use crate::signals::ProcessSignals;
use crate::ui::Ui;

/// The initialized program. Dereferences to the [`Context`] of flows.
#[derive(Debug)]
pub(crate) struct App {
    /// The effective configuration.
    pub(crate) config: Config,
    /// The error of an unreadable configuration, for the commands that work without it.
    pub(crate) misconfigured: Option<Failure>,
    /// The output: data to stdout, logs to stderr.
    pub(crate) ui: Ui,
    /// When the program was started.
    pub(crate) began: Began,
    context: Context,
}

impl App {
    /// Initializes the program.
    pub(crate) fn new(
        config: Config,
        misconfigured: Option<Failure>,
        ui: Ui,
        command: String,
        began: Began,
    ) -> Self {
        let recorder = Recorder {
            ui: ui.clone(),
            dirs: config.dirs.clone(),
            command,
        };
        let context = Context::new(&config, Arc::new(recorder), Arc::new(ui.clone()))
            .with_interrupt(Interrupt::new(ProcessSignals));
        Self {
            config,
            misconfigured,
            ui,
            began,
            context,
        }
    }

    /// Reports a failure, unless it has been reported already.
    pub(crate) fn failure(&self, failure: &Failure) {
        if let Some(event) = failure.event() {
            self.reporter.report(event);
        }
    }
}

/// Shows events, and records errors for bug reports.
struct Recorder {
    ui: Ui,
    dirs: Dirs,
    command: String,
}

impl Reporter for Recorder {
    fn report(&self, event: Event) {
        if let Event::Error { code, message, .. } = &event {
            recent::keep(&self.dirs, &self.command, code, message);
        }
        self.ui.report(event);
    }
}

impl Deref for App {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}
