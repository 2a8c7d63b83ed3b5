//! One slab cache: objects of one size, carved out of runs of pages.
//!
//! A free object holds the address of the next free object of its slab in its first 8 bytes.
//! The active slab serves allocations until it is full; then the first partial slab becomes
//! active, or a new one. A free into a full slab puts the slab at the end of the partial list.
//! A slab that becomes empty goes back to the page allocator when `min_partial` slabs, itself
//! among them, are partial; otherwise it stays on the list.
#![deny(unsafe_code)]

use super::super::lists::{IndexList, Linked, Links, NIL};
use super::super::memory::{PAGE_SIZE, Table};
use super::super::pages::{Address, ORDER_MAX, Pages};
use crate::engine::EngineError;

/// CPUs that SLUB sizes its slabs for.
const CPUS: u32 = 2;

/// Bounds of `min_partial`.
const MIN_PARTIAL_MIN: u32 = 5;
const MIN_PARTIAL_MAX: u32 = 10;

/// What SLUB keeps in the page descriptor of a slab's first page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlabInfo {
    links: Links,
    first_free: Address,
    in_use: u16,
    state: SlabState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlabState {
    /// Serves allocations; on no list.
    Active,
    /// On the partial list.
    Partial,
    /// No free object; on no list.
    Full,
}

impl SlabInfo {
    const NEW: Self = Self {
        links: Links::NONE,
        first_free: Address::NONE,
        in_use: 0,
        state: SlabState::Active,
    };
}

impl Linked for SlabInfo {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// Pages in a slab, as a power of two.
///
/// The smallest order that holds `4 * (fls(CPUs) + 1)` objects, 12 here, or what the largest
/// order holds of them; from there the first order that wastes at most a sixteenth of the slab,
/// else an eighth, else a quarter.
pub(crate) fn slab_order(object_size: usize) -> u32 {
    let fls = u32::BITS - CPUS.leading_zeros();
    let objects_max = ((PAGE_SIZE << ORDER_MAX) / object_size).max(1);
    let objects_min = (4 * (fls as usize + 1)).min(objects_max);
    let order_min = (objects_min * object_size)
        .div_ceil(PAGE_SIZE)
        .next_power_of_two()
        .ilog2();
    let wastes_at_most = |order: u32, fraction: usize| {
        (PAGE_SIZE << order) % object_size <= (PAGE_SIZE << order) / fraction
    };
    [16, 8, 4]
        .into_iter()
        .find_map(|fraction| (order_min..=ORDER_MAX).find(|&order| wastes_at_most(order, fraction)))
        .unwrap_or(ORDER_MAX)
}

/// Objects of one size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cache {
    object_size: usize,
    order: u32,
    min_partial: u32,
    /// First page of the active slab, or [`NIL`].
    active: u32,
    partial: IndexList,
}

impl Cache {
    /// A cache without slabs, of objects of at least 8 bytes.
    pub(crate) fn new(object_size: usize) -> Self {
        debug_assert!(object_size >= 8);
        Self {
            object_size,
            order: slab_order(object_size),
            min_partial: (object_size.ilog2() / 2).clamp(MIN_PARTIAL_MIN, MIN_PARTIAL_MAX),
            active: NIL,
            partial: IndexList::EMPTY,
        }
    }

    /// Takes an object.
    pub(crate) fn alloc(
        &mut self,
        pages: &mut Pages,
        slabs: &mut Table<SlabInfo>,
    ) -> Result<Address, EngineError> {
        if self.active == NIL {
            self.active = match self.partial.first() {
                Some(slab) => {
                    self.partial.remove(slabs, slab);
                    slab
                }
                None => self.new_slab(pages, slabs)?,
            };
            slabs[self.active as usize].state = SlabState::Active;
        }
        let slab = &mut slabs[self.active as usize];
        let object = slab.first_free;
        slab.first_free = Address(pages.load_u64(object));
        slab.in_use += 1;
        if slab.first_free == Address::NONE {
            slab.state = SlabState::Full;
            self.active = NIL;
        }
        Ok(object)
    }

    /// Gives an object back.
    pub(crate) fn free(&mut self, pages: &mut Pages, slabs: &mut Table<SlabInfo>, object: Address) {
        let start = object.run_start(self.order);
        let index = start.page_index() as u32;
        let slab = &mut slabs[index as usize];
        pages.store_u64(object, slab.first_free.0);
        slab.first_free = object;
        slab.in_use -= 1;
        let empty = slab.in_use == 0;
        match slab.state {
            SlabState::Active => return,
            SlabState::Full => {
                slab.state = SlabState::Partial;
                self.partial.push_back(slabs, index);
            }
            SlabState::Partial => {}
        }
        if empty && self.partial.count >= self.min_partial {
            self.partial.remove(slabs, index);
            pages.give_back(start, self.order);
        }
    }

    /// Takes pages for a slab and threads its free list through them, first object first.
    fn new_slab(&self, pages: &mut Pages, slabs: &mut Table<SlabInfo>) -> Result<u32, EngineError> {
        let start = pages.take(self.order)?;
        let index = start.page_index();
        if let Err(error) = slabs.cover(index, SlabInfo::NEW) {
            pages.give_back(start, self.order);
            return Err(error);
        }
        let objects = (PAGE_SIZE << self.order) / self.object_size;
        let mut next = Address::NONE;
        for number in (0..objects).rev() {
            let object = start.plus(number * self.object_size);
            pages.store_u64(object, next.0);
            next = object;
        }
        slabs[index] = SlabInfo {
            first_free: next,
            ..SlabInfo::NEW
        };
        Ok(index as u32)
    }
}
