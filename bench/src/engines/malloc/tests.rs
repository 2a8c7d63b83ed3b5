//! The footprint is tested in a process of its own: `tests/malloc_footprint.rs`.

use super::*;
use crate::engines::suite::engine_suite;

engine_suite!(Malloc::new());
