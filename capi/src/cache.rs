//! The cache: pages of a device, compressed.

use compcache::SECTOR_SIZE;

mod create;
mod requests;
mod stats;
mod structs;
mod upkeep;

pub use create::*;
pub use requests::*;
pub use stats::*;
pub use structs::*;
pub use upkeep::*;

/// A cache; see `compcache_cache_create`.
pub struct compcache_cache {
    _private: [u8; 0],
}

/// Pages are stored as they are.
pub const COMPCACHE_CODEC_RAW: u32 = 0;
/// LZ4 blocks.
pub const COMPCACHE_CODEC_LZ4: u32 = 1;

/// Keep no checksum with each page: damaged pages may be found by their codec, or not at all.
pub const COMPCACHE_NO_CHECKSUM: u64 = 1;

/// Bytes of a sector.
pub const COMPCACHE_SECTOR_SIZE: usize = 512;

const _: () = assert!(COMPCACHE_SECTOR_SIZE == SECTOR_SIZE);
