//! Classic xvMalloc, the allocator of compcache, ramzswap and zram in Linux 2.6.33 to 3.2.
//!
//! Source: the parameters and block layout of `drivers/staging/zram` (dual BSD/GPL) and the
//! compcache project's description of xvMalloc.
//!
//! ```text
//!  block, inside one page, 4-byte aligned
//!  +0        +2                     +4
//!  | size    | previous | flags     | payload, or links and nothing (free) ...
//!  payload   offset of the block before; bit 0: this is free, bit 1: the one before is free
//! ```
//!
//! Free blocks of 32 bytes and more are on one of 508 lists, 8 bytes apart, with a two-level
//! bitmap over them: a request takes the first block of the first list whose blocks are all
//! large enough. Smaller rests are marked free, wait for a neighbour, and are on no list. A free
//! joins both neighbours, and a block that is all of its page gives the page back. No object
//! crosses a page, none moves.
//!
//! An object over 4092 bytes takes a page without a header, as zram stored raw pages; one over a
//! page, which zram never had, two contiguous pages. zram stored pages raw from three quarters
//! of a page on already. That was its choice, not the allocator's, and is not done here: the
//! rest of such a page would be lost to smaller objects.
//!
//! Metadata is the pool struct: list heads of 16 bytes, bitmaps, counter and lock.
#![deny(unsafe_code)]

#[cfg(test)]
mod tests;

use super::addressed::{Addressed, Placement};
use super::lists::BlockList;
use super::memory::{PAGE_SIZE, whole_pages};
use super::pages::{Address, Pages};
use crate::engine::EngineError;

/// Alignment of blocks, and bytes of a block header.
const ALIGN: usize = 4;
const HEADER: usize = ALIGN;

/// Smallest block on a list, and the longest there can be.
const LISTED_MIN: usize = 32;
const BLOCK_MAX: usize = PAGE_SIZE - HEADER;

/// Distance of two lists in bytes, and their number.
const LIST_STEP: usize = 8;
const LISTS: usize = (BLOCK_MAX - LISTED_MIN) / LIST_STEP + 1;
const BITMAPS: usize = LISTS.div_ceil(64);

/// List heads (page pointer, offset, padding), both levels of bitmap, page count and lock.
const POOL_BYTES: u64 = 16 * LISTS as u64 + 8 * (BITMAPS as u64 + 1) + 8 + 8;

/// Bits of the word at +2 beside the offset of the block before.
const FREE: u16 = 1;
const PREVIOUS_FREE: u16 = 2;

type FreeList = BlockList<HEADER>;

/// The engine.
pub(crate) type XvMalloc = Addressed<XvPool>;

/// The pool: lists and bitmaps.
#[derive(Debug)]
pub(crate) struct XvPool {
    lists: [FreeList; LISTS],
    /// Bit `i % 64` of word `i / 64`: list `i` is not empty.
    lists_filled: [u64; BITMAPS],
    /// Bit `w`: word `w` of `lists_filled` is not 0.
    words_filled: u64,
}

impl Default for XvPool {
    fn default() -> Self {
        Self {
            lists: [FreeList::EMPTY; LISTS],
            lists_filled: [0; BITMAPS],
            words_filled: 0,
        }
    }
}

/// Reads and changes block headers.
mod header {
    use super::*;

    pub(super) fn size(pages: &Pages, block: Address) -> usize {
        usize::from(pages.load_u16(block))
    }

    pub(super) fn set_size(pages: &mut Pages, block: Address, size: usize) {
        pages.store_u16(block, size as u16);
    }

    pub(super) fn has(pages: &Pages, block: Address, flag: u16) -> bool {
        pages.load_u16(block.plus(2)) & flag != 0
    }

    pub(super) fn set(pages: &mut Pages, block: Address, flag: u16, on: bool) {
        let word = pages.load_u16(block.plus(2));
        let word = if on { word | flag } else { word & !flag };
        pages.store_u16(block.plus(2), word);
    }

    /// The block before, in the same page.
    pub(super) fn previous(pages: &Pages, block: Address) -> Address {
        let offset = pages.load_u16(block.plus(2)) & !(FREE | PREVIOUS_FREE);
        block.run_start(0).plus(usize::from(offset))
    }

    pub(super) fn set_previous(pages: &mut Pages, block: Address, previous: Address) {
        let flags = pages.load_u16(block.plus(2)) & (FREE | PREVIOUS_FREE);
        pages.store_u16(block.plus(2), previous.page_offset() as u16 | flags);
    }

    /// The block after, if `block` of `size` bytes does not end its page.
    pub(super) fn next(block: Address, size: usize) -> Option<Address> {
        let end = block.page_offset() + HEADER + size;
        (end < PAGE_SIZE).then(|| block.plus(HEADER + size))
    }
}

/// List on which a free block of `size` is.
fn list_of(size: usize) -> usize {
    (size - LISTED_MIN) / LIST_STEP
}

/// First list all of whose blocks hold `size`.
fn list_for(size: usize) -> usize {
    size.saturating_sub(LISTED_MIN).div_ceil(LIST_STEP)
}

impl XvPool {
    fn insert(&mut self, pages: &mut Pages, block: Address, size: usize) {
        if size < LISTED_MIN {
            return;
        }
        let list = list_of(size);
        self.lists[list].push_front(pages, block);
        self.lists_filled[list / 64] |= 1 << (list % 64);
        self.words_filled |= 1 << (list / 64);
    }

    fn remove(&mut self, pages: &mut Pages, block: Address, size: usize) {
        if size < LISTED_MIN {
            return;
        }
        let list = list_of(size);
        self.lists[list].remove(pages, block);
        if self.lists[list].first().is_none() {
            self.lists_filled[list / 64] &= !(1 << (list % 64));
            if self.lists_filled[list / 64] == 0 {
                self.words_filled &= !(1 << (list / 64));
            }
        }
    }

    /// First block of the first filled list from `list` on.
    fn find(&self, list: usize) -> Option<Address> {
        let word = list / 64;
        let here = self.lists_filled.get(word)? & (u64::MAX << (list % 64));
        let found = if here != 0 {
            word * 64 + here.trailing_zeros() as usize
        } else {
            let later = self.words_filled & (u64::MAX << word << 1);
            if later == 0 {
                return None;
            }
            let word = later.trailing_zeros() as usize;
            word * 64 + self.lists_filled[word].trailing_zeros() as usize
        };
        self.lists[found].first()
    }

    /// Uses the first `size` bytes of `block`, which is off its list.
    fn split(&mut self, pages: &mut Pages, block: Address, block_size: usize, size: usize) {
        header::set_size(pages, block, size);
        header::set(pages, block, FREE, false);
        let next = header::next(block, block_size);
        if block_size == size {
            if let Some(next) = next {
                header::set(pages, next, PREVIOUS_FREE, false);
            }
            return;
        }
        // Sizes are multiples of the header, so the rest has room for at least that.
        let rest = block.plus(HEADER + size);
        let rest_size = block_size - size - HEADER;
        header::set_size(pages, rest, rest_size);
        header::set(pages, rest, FREE, true);
        header::set(pages, rest, PREVIOUS_FREE, false);
        header::set_previous(pages, rest, block);
        if let Some(next) = next {
            header::set_previous(pages, next, rest);
        }
        self.insert(pages, rest, rest_size);
    }
}

impl Placement for XvPool {
    const NAME: &'static str = "xvmalloc";
    const SIZE_MAX: usize = 2 * PAGE_SIZE;

    fn place(&mut self, pages: &mut Pages, size: usize) -> Result<Address, EngineError> {
        if size > BLOCK_MAX {
            return pages.take(u32::from(size > PAGE_SIZE));
        }
        let size = size.next_multiple_of(ALIGN);
        let (block, block_size) = match self.find(list_for(size)) {
            Some(block) => {
                let block_size = header::size(pages, block);
                self.remove(pages, block, block_size);
                (block, block_size)
            }
            None => (pages.take(0)?, BLOCK_MAX),
        };
        self.split(pages, block, block_size, size);
        Ok(block.plus(HEADER))
    }

    fn release(&mut self, pages: &mut Pages, at: Address, size: usize) {
        if size > BLOCK_MAX {
            return pages.give_back(at, u32::from(size > PAGE_SIZE));
        }
        let mut block = Address(at.0 - HEADER as u64);
        let mut size = header::size(pages, block);
        if let Some(next) = header::next(block, size)
            && header::has(pages, next, FREE)
        {
            let next_size = header::size(pages, next);
            self.remove(pages, next, next_size);
            size += HEADER + next_size;
        }
        if header::has(pages, block, PREVIOUS_FREE) {
            let previous = header::previous(pages, block);
            let previous_size = header::size(pages, previous);
            self.remove(pages, previous, previous_size);
            block = previous;
            size += HEADER + previous_size;
        }
        if size == BLOCK_MAX {
            return pages.give_back(block, 0);
        }
        header::set_size(pages, block, size);
        header::set(pages, block, FREE, true);
        if let Some(next) = header::next(block, size) {
            header::set_previous(pages, next, block);
            header::set(pages, next, PREVIOUS_FREE, true);
        }
        self.insert(pages, block, size);
    }

    fn metadata_bytes(&self) -> u64 {
        whole_pages(POOL_BYTES)
    }
}
