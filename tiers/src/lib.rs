//! [`Tiered`]: the page cache with everything that happens by itself. Pages that are not used get denser
//! (zstd, several together), pages that are the same are kept once, nearly the same ones as differences,
//! and when memory is short the oldest go to a backing store.
//!
//! ```text
//!   put, get, discard ──────────────▶ cache ◀── tick: clock, sweep, runs ── thread
//!        │ no space                     ▲  ▲
//!        ▼                              │  └── restore, when read again
//!   squeeze, write back ── records ──▶ store: encrypted, packed
//! ```
//!
//! # Examples
//!
//! ```
//! use compcache_tiers::{Config, Tiered};
//!
//! let pages = compcache::Config::new(256); // a device of 1 MiB
//! let tiered = Tiered::new("lz4 lz4hc".parse()?, pages, Config::default())?;
//! let mut page = [0; 4096];
//! page[..11].copy_from_slice(b"a cold page");
//! tiered.put(3, &page)?;
//!
//! // The clock of `Config::default()` is slow; this is what it does in the end.
//! tiered.settle()?;
//! let mut back = [0xff; 4096];
//! assert!(tiered.get(3, &mut back)?);
//! assert_eq!(back, page);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod dictionary;
mod error;
mod reclaim;
mod stat;
mod thread;
mod tiered;

pub use compcache::{Growth, Policy, Recompress, Stand, Tick, TierStat, What, Work};
pub use compcache_backing as backing;
pub use compress::{AnyCodec, Ladder};
pub use error::{Error, NewError};
pub use reclaim::{WriteBack, WriteBackKind};
pub use stat::{BackingStat, Stat};
pub use tiered::{Cache, Config, PAGE, StoreError, Tiered};
