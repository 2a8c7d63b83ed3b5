//! Comparison engines and the harness behind `compcache bench`.

pub mod engine;
pub mod engines;
pub mod latency;
pub mod phases;
pub mod result;
pub mod rng;

pub use engines::comparison_engines;
