//! Controlling a VMM while it runs.

use std::fmt;

/// Something that a VMM is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Stop the guest's processors.
    Pause,
    /// Start the guest's processors again.
    Resume,
    /// Press the power button of the machine: a guest that reacts shuts down.
    PowerButton,
    /// Exit in an orderly way.
    Quit,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::PowerButton => "press the power button of",
            Self::Quit => "quit",
        })
    }
}

/// A VMM did not do what it was asked to do.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// This kind of VMM cannot do it.
    #[error("its VMM does not support it")]
    Unsupported,
    /// It did not answer, or refused.
    #[error(transparent)]
    Vmm(Box<dyn std::error::Error + Send + Sync>),
}
