//! Binary buddy: powers of two from 32 bytes to a page.
//!
//! Source: Knuth, The Art of Computer Programming, volume 1, section 2.5 (the buddy system).
//!
//! A request is rounded up to a power of two. A block of order `k` is `32 << k` bytes, aligned
//! to its size; it is split in halves down to the order asked for, and a freed block joins its
//! buddy as long as that is free and of the same order. A block that has grown to a whole page
//! goes back. Above a page an object takes an aligned run of two pages.
//!
//! A free block holds its list links and its order; which 32-byte units start a free block is
//! one bit a unit, 16 bytes a page, within what a page descriptor has room for. Metadata is the
//! list heads. The order of a used block follows from the size, which the owner has.
#![deny(unsafe_code)]

#[cfg(test)]
mod tests;

use super::addressed::{Addressed, Placement};
use super::lists::BlockList;
use super::memory::{PAGE_SIZE, Table, whole_pages};
use super::pages::{Address, PAGES_MAX, Pages};
use crate::engine::EngineError;

/// Smallest block.
const BLOCK_MIN: usize = 32;

/// Order of a whole page.
const PAGE_ORDER: u32 = (PAGE_SIZE / BLOCK_MIN).ilog2();

/// Free blocks hold links at 0 and their order at 16.
type FreeList = BlockList<0>;
const ORDER_OFFSET: usize = 16;

/// The engine.
pub(crate) type Buddy = Addressed<BuddySystem>;

/// Free blocks by order, smaller than a page.
#[derive(Debug)]
pub(crate) struct BuddySystem {
    lists: [FreeList; PAGE_ORDER as usize],
    /// For each page, the units at which a free block starts.
    free_starts: Table<u128>,
}

impl Default for BuddySystem {
    fn default() -> Self {
        Self {
            lists: [FreeList::EMPTY; PAGE_ORDER as usize],
            free_starts: Table::new(PAGES_MAX),
        }
    }
}

/// Smallest order that holds `size`.
fn order_of(size: usize) -> u32 {
    size.max(BLOCK_MIN).next_power_of_two().ilog2() - BLOCK_MIN.ilog2()
}

fn unit_bit(block: Address) -> u128 {
    1 << (block.page_offset() / BLOCK_MIN)
}

impl BuddySystem {
    fn insert(&mut self, pages: &mut Pages, block: Address, order: u32) {
        self.lists[order as usize].push_front(pages, block);
        pages.store_u16(block.plus(ORDER_OFFSET), order as u16);
        self.free_starts[block.page_index()] |= unit_bit(block);
    }

    fn remove(&mut self, pages: &mut Pages, block: Address, order: u32) {
        self.lists[order as usize].remove(pages, block);
        self.free_starts[block.page_index()] &= !unit_bit(block);
    }

    /// The buddy of `block`, if it is free and whole.
    fn free_buddy(&self, pages: &Pages, block: Address, order: u32) -> Option<Address> {
        let buddy = Address(block.0 ^ ((BLOCK_MIN as u64) << order));
        let starts_free = self.free_starts[buddy.page_index()] & unit_bit(buddy) != 0;
        (starts_free && u32::from(pages.load_u16(buddy.plus(ORDER_OFFSET))) == order)
            .then_some(buddy)
    }
}

impl Placement for BuddySystem {
    const NAME: &'static str = "buddy";
    const SIZE_MAX: usize = 2 * PAGE_SIZE;

    fn place(&mut self, pages: &mut Pages, size: usize) -> Result<Address, EngineError> {
        let order = order_of(size);
        if order >= PAGE_ORDER {
            return pages.take(order - PAGE_ORDER);
        }
        let found = (order..PAGE_ORDER).find_map(|order| {
            let block = self.lists[order as usize].first()?;
            Some((block, order))
        });
        let (block, mut found_order) = match found {
            Some((block, order)) => {
                self.remove(pages, block, order);
                (block, order)
            }
            None => {
                let page = pages.take(0)?;
                if let Err(error) = self.free_starts.cover(page.page_index(), 0) {
                    pages.give_back(page, 0);
                    return Err(error);
                }
                (page, PAGE_ORDER)
            }
        };
        while found_order > order {
            found_order -= 1;
            self.insert(pages, block.plus(BLOCK_MIN << found_order), found_order);
        }
        Ok(block)
    }

    fn release(&mut self, pages: &mut Pages, at: Address, size: usize) {
        let mut order = order_of(size);
        let mut block = at;
        while order < PAGE_ORDER {
            let Some(buddy) = self.free_buddy(pages, block, order) else {
                return self.insert(pages, block, order);
            };
            self.remove(pages, buddy, order);
            block = Address(block.0.min(buddy.0));
            order += 1;
        }
        pages.give_back(block, order - PAGE_ORDER);
    }

    fn metadata_bytes(&self) -> u64 {
        whole_pages(size_of_val(&self.lists) as u64)
    }
}
