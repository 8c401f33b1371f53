//! What programs see of Linux: numbers and layouts.

pub mod calls;
pub mod errno;
pub mod stat;
