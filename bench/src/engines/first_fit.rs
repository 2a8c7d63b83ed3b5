//! First fit with boundary tags: the engine behind Xen's `xmalloc` before it became TLSF (2008).
//!
//! Source: the layout and rules of Xen 3's `xmalloc`; the method is Knuth's first fit (volume 1,
//! section 2.5).
//!
//! ```text
//!  chunk, 32-byte aligned, inside one page
//!  +0            +8      +16        +24   +32
//!  | size | free | next  | previous | pad | payload ...
//!  total, bit 0  free only: links of the list (here: the chunk's place in its order)
//! ```
//!
//! The header is one cache line, taken as 32 bytes (a longer line makes it worse). Sizes are
//! multiples of it. One free list, last freed first, is searched from its head for the first
//! chunk that is large enough; what is left over stays a chunk when it is at least two headers
//! long. A free joins the free chunks of its page that touch it; a chunk that is a whole page goes
//! back. A request that does not fit a page together with its header takes a run of contiguous
//! pages. Metadata is the list head.
//!
//! The search of an allocation has no bound but the length of the list, and that walk, a cache
//! miss a chunk, is the old engine's time. **This engine does not walk.** It finds the very same
//! chunk in a [tree over the list's order](order) and counts what the walk would have visited
//! ([`Xmalloc::walks`]); a test holds it against the list itself. To find neighbours, Xen
//! searched the whole list at each free too; this engine looks at the chunks of the page instead,
//! with the same result. Placement, and with it the footprint, is the original's; the times are
//! not, and flatter it. Lengths of the walk, for sizes like those of compressed pages
//! (30 to 4096 bytes, mean 1750) and ten random overwrites for each object:
//!
//! | objects | chunks visited, mean | chunks visited, most |
//! |--------:|---------------------:|---------------------:|
//! |   1,000 |                  129 |                  762 |
//! |  10,000 |                1,218 |                7,278 |
//! |  60,000 |                7,178 |               43,235 |
//!
//! With 10,000 objects, walking makes that run take 3.9 s instead of 0.2 s: 35 us an allocation,
//! some 28 ns a chunk, and a larger pool's chunks are further from the cache. The tree is not
//! counted as metadata: the original has only the list's head.
#![deny(unsafe_code)]

mod order;
#[cfg(test)]
mod tests;

use super::addressed::{Addressed, Placement};
use super::memory::{PAGE_SIZE, whole_pages};
use super::pages::{Address, Pages};
use crate::engine::EngineError;
use order::Order;

/// Header, and alignment of chunks.
const HEADER: usize = 32;

/// A rest at least this long stays a chunk of its own.
const REST_MIN: usize = 2 * HEADER;

/// The engine.
pub(crate) type FirstFit = Addressed<Xmalloc>;

/// The free chunks, in the order of the list: last freed first.
pub(crate) trait FreeChunks: Default {
    /// Puts a free chunk of `size` bytes first.
    fn push_front(&mut self, pages: &mut Pages, chunk: Address, size: usize);

    /// Takes `chunk`, which is in here, out.
    fn remove(&mut self, pages: &mut Pages, chunk: Address);

    /// The first chunk of at least `size` bytes. It stays in.
    fn first_fit(&self, pages: &Pages, size: usize) -> FirstFound;
}

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FirstFound {
    chunk: Option<Address>,
    /// Chunks that a walk from the list's head looks at: those before the one found, and that
    /// one, or all of them where none is large enough.
    visited: u32,
}

/// How long the walks of the old engine's searches would have been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Walks {
    searches: u64,
    visited_total: u64,
    visited_max: u32,
}

// Only tests ask so far.
#[cfg_attr(not(test), allow(dead_code))]
impl Walks {
    /// Searches of the list so far: one for each allocation of less than a page with its header.
    pub(crate) fn searches(&self) -> u64 {
        self.searches
    }

    /// Chunks visited by a search, on average; 0 before the first.
    pub(crate) fn visited_mean(&self) -> f64 {
        self.visited_total as f64 / self.searches.max(1) as f64
    }

    /// Chunks visited by the longest search.
    pub(crate) fn visited_max(&self) -> u32 {
        self.visited_max
    }
}

impl Walks {
    fn count(&mut self, visited: u32) {
        self.searches += 1;
        self.visited_total += u64::from(visited);
        self.visited_max = self.visited_max.max(visited);
    }
}

/// The one free list.
#[derive(Debug, Default)]
pub(crate) struct Xmalloc<F = Order> {
    free: F,
    walks: Walks,
}

/// Bit of the size word: the chunk is on the free list.
const FREE: u64 = 1;

fn chunk_size(pages: &Pages, chunk: Address) -> usize {
    (pages.load_u64(chunk) & !FREE) as usize
}

fn is_free(pages: &Pages, chunk: Address) -> bool {
    pages.load_u64(chunk) & FREE != 0
}

impl<F> Xmalloc<F> {
    /// Lengths of the walks that were not done.
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) fn walks(&self) -> Walks {
        self.walks
    }
}

impl<F: FreeChunks> Xmalloc<F> {
    fn insert(&mut self, pages: &mut Pages, chunk: Address, size: usize) {
        pages.store_u64(chunk, size as u64 | FREE);
        self.free.push_front(pages, chunk, size);
    }

    /// First chunk on the list that is large enough, off the list, and its size.
    fn take_first_fit(&mut self, pages: &mut Pages, size: usize) -> Option<(Address, usize)> {
        let FirstFound { chunk, visited } = self.free.first_fit(pages, size);
        self.walks.count(visited);
        let chunk = chunk?;
        self.free.remove(pages, chunk);
        Some((chunk, chunk_size(pages, chunk)))
    }

    /// Makes the first `size` bytes of `chunk` used; the rest becomes free if it is worth it.
    fn split(&mut self, pages: &mut Pages, chunk: Address, chunk_size: usize, size: usize) {
        let rest = chunk_size - size;
        if rest < REST_MIN {
            return pages.store_u64(chunk, chunk_size as u64);
        }
        pages.store_u64(chunk, size as u64);
        self.insert(pages, chunk.plus(size), rest);
    }

    /// Joins `chunk` with the free chunks of its page that touch it, and returns the result.
    fn join(&mut self, pages: &mut Pages, chunk: Address, size: usize) -> (Address, usize) {
        let (mut start, mut end) = (chunk, chunk.plus(size));
        let mut at = chunk.run_start(0);
        while at < chunk {
            let after = at.plus(chunk_size(pages, at));
            if after == chunk && is_free(pages, at) {
                self.free.remove(pages, at);
                start = at;
            }
            at = after;
        }
        if end.page_offset() != 0 && is_free(pages, end) {
            self.free.remove(pages, end);
            end = end.plus(chunk_size(pages, end));
        }
        (start, (end.0 - start.0) as usize)
    }
}

impl<F: FreeChunks> Placement for Xmalloc<F> {
    const NAME: &'static str = "first_fit";
    const SIZE_MAX: usize = 2 * PAGE_SIZE - HEADER;

    fn place(&mut self, pages: &mut Pages, size: usize) -> Result<Address, EngineError> {
        let size = (size + HEADER).next_multiple_of(HEADER);
        let chunk = if size >= PAGE_SIZE {
            let order = u32::from(size > PAGE_SIZE);
            let chunk = pages.take(order)?;
            pages.store_u64(chunk, (PAGE_SIZE << order) as u64);
            chunk
        } else if let Some((chunk, found_size)) = self.take_first_fit(pages, size) {
            self.split(pages, chunk, found_size, size);
            chunk
        } else {
            let page = pages.take(0)?;
            self.split(pages, page, PAGE_SIZE, size);
            page
        };
        Ok(chunk.plus(HEADER))
    }

    fn release(&mut self, pages: &mut Pages, at: Address, _size: usize) {
        let chunk = Address(at.0 - HEADER as u64);
        let size = chunk_size(pages, chunk);
        if size >= PAGE_SIZE {
            return pages.give_back(chunk, u32::from(size > PAGE_SIZE));
        }
        let (chunk, size) = self.join(pages, chunk, size);
        if size == PAGE_SIZE {
            pages.give_back(chunk, 0);
        } else {
            self.insert(pages, chunk, size);
        }
    }

    fn metadata_bytes(&self) -> u64 {
        whole_pages(size_of::<Address>() as u64)
    }
}
