//! The compcache command.
fn main() {}
