//! Keyed pools of compressed pages, in the manner of Transcendent Memory (tmem): a hypervisor, kernel or
//! server keeps pages for several tenants, each under a key of *pool, object, index*.
//!
//! ```text
//!   tenant A   file cache ── ephemeral pool ──┐
//!              swap ──────── persistent pool ─┤   index                page cache
//!                                             ├── key ──▶ page id ──▶  compressed page
//!   tenant B   file cache ── ephemeral pool ──┤   limits, counters,    (crate compcache)
//!              swap ──────── persistent pool ─┘   order of use
//! ```
//!
//! | pool | a page that is read | may vanish |
//! |---|---|---|
//! | ephemeral, private | is removed (the get is exclusive) | yes, least recently used first |
//! | ephemeral, shared | stays | yes |
//! | persistent, private or shared | stays | no; a put that finds no room fails |
//!
//! What every pool keeps: a get never finds a page that is older than the last put, whether that
//! succeeded or not, and nothing after a flush. See [`Tmem`].
//!
//! * **Tenants**: a pool has a limit of pages and counters of its own ([`PoolStats`]). At its
//!   limit an ephemeral pool drops its own pages, a persistent one refuses. When memory is short, ephemeral
//!   pages of all pools are dropped, least recently used first.
//! * **Memory**: 41 bytes of index for a page and 45 for an object, beside what the page cache takes.
//!   Everything lies in single pages of a [`PageSource`](compcache::PageSource) and is counted.
//! * **Bounded work**: keys are found by linear hashing with a keyed hash, which grows and shrinks by a
//!   bucket at a time. No operation on a page takes time that depends on how many there are.
//! * **`no_std`**: without the feature `std` the crate needs neither operating system nor global
//!   allocator.
//!
//! [`cleancache`] and [`frontswap`] have the operations in the shape of the Linux interfaces of these
//! names.
//!
//! # Sharing is a side channel
//!
//! Nothing is shared between tenants unless it is asked for. Who shares a pool sees what the others put
//! and read there; give its id to those only who may. Where a page cache stores identical pages once,
//! whoever puts a page can measure whether somebody else has the same one: that is to stay off, or within a
//! tenant. And all tenants of one tmem share its memory: how many of one's ephemeral pages are dropped
//! tells something about what others store. Where that matters, give each tenant a tmem of its own.
//!
//! # Examples
//!
#![cfg_attr(feature = "std", doc = "```")]
#![cfg_attr(not(feature = "std"), doc = "```ignore")]
//! use compcache_tmem::{ObjectId, PoolOptions, StdTmem};
//!
//! let tmem = StdTmem::<compcache::Lz4>::with_pages(1 << 16)?;
//! let files = tmem.new_pool(PoolOptions::EPHEMERAL.with_limit(1000))?;
//! let inode = ObjectId::from(4711);
//! let mut page = [0; 4096];
//! page[..5].copy_from_slice(b"clean");
//! tmem.put(files, inode, 0, &page)?;
//!
//! let mut back = [0; 4096];
//! assert!(tmem.get(files, inode, 0, &mut back)?);
//! assert_eq!(back, page);
//! // A private ephemeral pool gives a page once.
//! assert!(!tmem.get(files, inode, 0, &mut back)?);
//!
//! let swap = tmem.new_pool(PoolOptions::PERSISTENT)?;
//! tmem.put(swap, inode, 7, &page)?;
//! assert!(tmem.get(swap, inode, 7, &mut back)?);
//! assert_eq!(tmem.flush_object(swap, inode)?, 1);
//! assert_eq!(tmem.pool_stats(swap)?.pages, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Lock order
//!
//! The index lock and the page cache's locks are never held together for longer than a look: a codec
//! never runs, and a page is never stored or discarded, under the index lock. Who has the index lock takes
//! the lock of the index's own tables, and, where there is a memory limit, asks the cache how much it
//! has.
//!
//! # Limits
//!
//! | | |
//! |---|---|
//! | pages | 2^28 (1 TiB of pages of 4 KiB) |
//! | objects | as many as pages |
//! | pools at once | 1024; each place has 2^22 generations |
//! | index of a page in its object | 32 bits |
//! | object id | 192 bits |

#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![deny(unsafe_code)]

#[cfg(all(test, not(feature = "std")))]
extern crate std;

mod chunks;
pub mod cleancache;
mod error;
pub mod frontswap;
mod hash;
mod index;
mod key;
mod place;
mod record;
mod state;
mod stats;
#[cfg(feature = "std")]
mod std_tmem;
mod tables;
mod tmem;

pub use cleancache::Cleancache;
pub use error::{BuildError, Error};
pub use frontswap::Frontswap;
pub use hash::CHAIN_MAX;
pub use key::{Lifetime, ObjectId, POOLS_MAX, PoolId, PoolOptions};
pub use stats::{Memory, PoolStats, Stats};
#[cfg(feature = "std")]
pub use std_tmem::StdTmem;
pub use tmem::{Config, DROPS_MAX, Tmem};
