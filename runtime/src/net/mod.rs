//! The network.

pub mod device;

use alloc::rc::Rc;
use alloc::vec::Vec;

use crate::fs::Place;

/// Sets the network up with the addresses of the command line.
pub fn init(_addresses: &[Vec<u8>], _root: &Rc<Place>) {}

/// Receives and sends what there is.
pub fn poll() {}
