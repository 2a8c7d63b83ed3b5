//! The pool: objects of 1 byte to 64 KiB behind handles.

use alloc_xv::{FRAGMENTS_MAX, OBJECT_MAX};

mod create;
mod objects;
mod reading;
mod stats;
mod structs;
mod upkeep;

pub use create::*;
pub use objects::*;
pub use reading::*;
pub use stats::*;
pub use structs::*;
pub use upkeep::*;

/// A pool; see `compcache_pool_create`.
pub struct compcache_pool {
    _private: [u8; 0],
}

/// The most pieces an object has. An object smaller than a page has at most 2.
pub const COMPCACHE_FRAGMENTS_MAX: usize = 18;

/// The biggest object, in bytes.
pub const COMPCACHE_OBJECT_MAX: usize = 65536;

const _: () = {
    assert!(COMPCACHE_FRAGMENTS_MAX == FRAGMENTS_MAX);
    assert!(COMPCACHE_OBJECT_MAX == OBJECT_MAX);
};
