//! A compacting allocator for compressed pages: two-level segregated fit over a logical space of
//! single pages.
//!
//! ```text
//!   handle or key          entry table              logical space            frames
//!  ┌──────────────┐   ┌───────────────────┐   ┌────┬────┬────┬────┬────┐   ┌──────┐
//!  │ entry number │──▶│ offset│size│tag│L │──▶│ p0 │ p1 │hole│ p3 │ p4 │──▶│ #17  │ p0
//!  │ (generation) │   └───────────────────┘   └────┴────┴────┴────┴────┘   │ #4   │ p1
//!  └──────────────┘    radix tree of single    objects cross pages; a      │ #9   │ p3
//!                      pages, 8 bytes each     4-byte header names the     └──────┘
//!                                              owner's entry               PageSource
//! ```
//!
//! * **No contiguous memory**: every page, also those of the tables, is a single page of a
//!   [`PageSource`]; an object that crosses pages is read as [`Fragments`].
//! * **Everything can move**: nothing outside points into the space, so [compaction] packs
//!   objects while others are in use, by itself or on request.
//! * **Constant work**: allocating and freeing touch at most [`BLOCKS_TOUCHED_MAX`] blocks,
//!   whatever the pool's size and history.
//! * **Nothing stays behind**: a free range that covers pages gives them back, but for a few
//!   that are at hand for the next objects (at most 8 an arena, and 1/16 of it); an empty
//!   pool has no page (a [`Pool`] keeps the generations of its handles: 32 bytes for each
//!   512 handles that were ever live at once).
//! * **Typed errors**: no page, limit reached, stale or forged handle; whatever fails leaves
//!   the pool exactly as it was.
//!
//! Two faces: [`Pool`] hands out [`Handle`]s; [`Slots`] stores under keys of the owner's choice
//! and needs no table beside it.
//!
//! [compaction]: Slots::compact
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | page | a page of the logical space; it has a frame or is a hole |
//! | frame | one page of real memory, from the page source |
//! | granule | 4 bytes, the unit of offsets |
//! | block | header and payload of one object, or free space |
//! | entry | 8 bytes that say where an object is |
//! | leaf | a page of entries or of page table entries |
//! | arena | a logical space with its entries and its lock |
//!
//! # Lock order
//!
//! An entry's lock bit, then its arena's lock, then the source's. An arena's lock is never held
//! while waiting for an entry.
//!
//! # Limits
//!
//! | | |
//! |---|---|
//! | logical space of an arena | 16 GiB |
//! | objects of an arena | 2^24 |
//! | object | 1 byte to 64 KiB |
//! | arenas | 1 to 32 |
//! | frames of a source | 2^30 |
//! | page | 4, 16 or 64 KiB |

#![deny(unsafe_code)]
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![deny(unsafe_op_in_unsafe_fn)]
#![warn(missing_docs)]

#[cfg(not(target_has_atomic = "64"))]
compile_error!("alloc_xv keeps its entries in 64-bit atomics");

mod arena;
#[cfg(feature = "std")]
mod background;
mod check;
mod compaction;
mod entry;
mod error;
mod evacuate;
mod fragments;
mod frames;
mod index;
mod pool;
mod pool_core;
mod slots;
mod source;
mod space;
mod stats;
mod tree;

#[cfg(feature = "std")]
pub use background::{Compact, Compactor};
pub use entry::{TAG_MAX, VALUE_MAX};
pub use error::{AccessError, AllocError};
pub use fragments::{FRAGMENTS_MAX, Fragments, prefetch};
pub use pool::{Handle, Pool, Reading, thread_hint};
pub use slots::{Filling, Room, Slot, SlotState, Slots, TRAILER_MAX, Touch};
pub use source::{
    Counting, Failing, FrameId, Limited, OutOfPages, PageSource, RegionError, RegionSource,
};
#[cfg(feature = "std")]
pub use source::{Growth, MmapError, MmapSource};
pub use stats::{Compacted, Stats};

/// Bytes of an object's block beside its payload, before rounding up to 4 bytes.
///
/// An object of 4096 bytes takes 4096 + `OVERHEAD` bytes of logical space; the rest of the
/// second page it touches belongs to others.
pub const OVERHEAD: usize = 4;

/// Bytes of the biggest object.
pub const OBJECT_MAX: usize = 64 * 1024;

/// Whole pages that an arena keeps at hand at most, beside those that hold objects: they are counted
/// like any other, and go when memory gets short.
pub const SPARE_PAGES_MAX: u32 = space::SPARE_MAX;

/// Blocks whose header or links one allocation or free touches at most, compaction aside.
pub const BLOCKS_TOUCHED_MAX: u32 = 24;

/// Blocks that an allocation touches beside these at most where it packs: in a small pool whose packing thread
/// is late.
pub const BLOCKS_TOUCHED_PACKING_MAX: u32 = 160;

#[cfg(test)]
mod tests;
