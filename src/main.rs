//! lite2pg, the command.
fn main() {}
