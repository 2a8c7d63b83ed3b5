//! compcache: a compressed-page cache. Pages that are cold stay in memory, compressed.
//!
//! ```text
//!   put(index, page)                                        get(index, page)
//!        │                                                        ▲
//!        ▼                                                        │
//!   one word repeated? ──yes──▶ the word, in the slot itself ─────┤
//!        │ no                                                     │
//!        ▼                                                        │
//!   codec (LZ4, zstd, raw) ──▶ slot ──▶ block of exactly ──▶ checksum, codec
//!        no lock held          8 bytes   the bytes needed    the slot is held,
//!                                        (alloc_xv)          nothing else
//! ```
//!
//! * **Memory**: a page costs its compressed bytes, 4 bytes of checksum, 4 of header, 8 of slot
//!   and 1 of page table. Slots exist only where pages are stored.
//! * **Failure**: a put that fails leaves the old page readable; a page whose bytes were damaged
//!   is an error, never wrong data.
//! * **Concurrency**: every operation takes `&self`. Compressing happens under no lock at all,
//!   decompressing under the lock of that one page.
//! * **`no_std`**: without the feature `std` the crate needs neither operating system nor global
//!   allocator: pages come from a [`PageSource`], workspaces from a `static`.
//!
//! The names of the statistics, and their meaning, are those of Linux zram.
//!
//! # Examples
//!
//! ```
//! use compcache::{Lz4, StdCache};
//!
//! let cache = StdCache::<Lz4>::with_capacity(1 << 20)?; // a device of 1 MiB
//! let mut page = [0; 4096];
//! page[..11].copy_from_slice(b"a cold page");
//! cache.put(3, &page)?;
//!
//! let mut back = [0xff; 4096];
//! assert!(cache.get(3, &mut back)?);
//! assert_eq!(back, page);
//!
//! // Like a device: what was never stored reads as zeroes.
//! assert!(!cache.get(4, &mut back)?);
//! assert_eq!(back, [0; 4096]);
//! assert_eq!(cache.mm_stat().orig_data_size, 4096);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![deny(unsafe_code)]

mod cache;
mod checksum;
mod content;
mod counters;
mod error;
#[cfg(feature = "std")]
mod patient;
mod place;
mod put;
mod sectors;
#[cfg(feature = "std")]
mod std_cache;
mod tiers;
mod upkeep;
mod workspace;

#[cfg(feature = "std")]
pub use alloc_xv::{Compactor, Growth, MmapSource};
pub use alloc_xv::{PageSource, RegionSource};
pub use cache::{Cache, Config};
#[cfg(feature = "zstd")]
pub use compress::Zstd;
pub use compress::{AnyCodec, Codec, Lz4, Lz4Workspace, Raw};
pub use counters::{IoStat, Memory, MmStat, SIZE_CLASSES};
pub use error::{BuildError, Error, WrittenBack};
#[cfg(feature = "std")]
pub use patient::PatientMutex;
pub use sectors::SECTOR_SIZE;
#[cfg(feature = "std")]
pub use std_cache::StdCache;
pub use tiers::{
    Notes, Policy, Recompress, Stand, Tick, TierStat, UNIT_LEN_MAX, What, Work, Worker,
};
pub use workspace::{Shared, Workspace};
