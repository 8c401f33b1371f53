//! The `kraft` program.

fn main() {}
