//! Comparison engines and the harness behind `compcache bench`.

pub mod alloc_xv;
pub mod cache;
pub mod engine;
pub mod engines;
pub mod latency;
pub mod phases;
pub mod result;
pub mod rng;
pub mod run;
pub mod scaling;
pub mod tiers;
pub mod zram;

pub use engines::comparison_engines;
