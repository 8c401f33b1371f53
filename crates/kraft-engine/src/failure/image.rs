//! Kinds and hints of the errors of images: finding, pulling, packing and running them.

use super::{Failure, Kind};
use crate::context::RuntimeError;
use crate::interrupt::Interrupted;
use crate::network;

impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Self {
        Self::new(Kind::Failed, error)
    }
}

impl From<Interrupted> for Failure {
    fn from(error: Interrupted) -> Self {
        Self::new(Kind::Interrupted, error)
    }
}

impl From<network::Error> for Failure {
    fn from(error: network::Error) -> Self {
        match error {
            network::Error::Runtime(error) => error.into(),
            network::Error::Registry(error) => error.into(),
        }
    }
}
