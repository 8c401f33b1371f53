//! Starting the guest of a VMM that is configured after its start.

/// A VMM that was started did not start its guest.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// It exited; its log may say why.
    #[error("it exited before the guest ran")]
    Exited,
    /// It refused something that the machine needs.
    #[error("{why}")]
    Refused {
        /// The reason.
        why: String,
        /// What to do about it, as a fragment: `give it fewer CPUs`.
        cure: Option<String>,
    },
    /// It did not answer in time.
    #[error("it did not answer in time")]
    Slow,
    /// The connection to it broke, or a file could not be written.
    #[error(transparent)]
    System(#[from] std::io::Error),
}
