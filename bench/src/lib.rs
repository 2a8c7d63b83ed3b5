//! Comparison engines and the harness behind `compcache bench`.

pub mod engine;
pub mod result;
