//! The `boma` program.

fn main() {}
