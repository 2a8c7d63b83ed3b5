//! Where the engines over pages get them: single pages and aligned runs of 2, 4 or 8.
//!
//! An [`Address`] is a byte position in one large reservation. A page handed back loses its
//! memory at once (`MADV_DONTNEED`), so that what an engine keeps is what it costs; its address
//! is used again. Every engine pays the same for a page: a system call to give it back, a page
//! fault at first touch. Page descriptors (the kernel's `struct page`, 64 bytes a page) are
//! counted for nobody, since every page of a machine has one, used or not; what an engine keeps
//! about a page within the 40 bytes that the kernel leaves to a page's owner there is free too.
#![deny(unsafe_code)]

use super::memory::{PAGE_SIZE, Reservation, Table};
use crate::engine::EngineError;

/// Largest run: 8 pages, SLUB's largest usual slab.
pub(crate) const ORDER_MAX: u32 = 3;

/// Pages an engine can address: 64 GiB.
pub(crate) const PAGES_MAX: usize = 1 << 24;

/// A byte position in the pages of an engine. 0 is never an object's, and stands for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address(pub(crate) u64);

impl Address {
    /// No address: page 0 is never handed out.
    pub(crate) const NONE: Self = Self(0);

    /// Number of the page this lies in.
    pub(crate) fn page_index(self) -> usize {
        self.0 as usize / PAGE_SIZE
    }

    /// Position in the page.
    pub(crate) fn page_offset(self) -> usize {
        self.0 as usize % PAGE_SIZE
    }

    /// Start of the aligned run of `2^order` pages this lies in.
    pub(crate) fn run_start(self, order: u32) -> Self {
        Self(self.0 & !((PAGE_SIZE as u64) << order).wrapping_sub(1))
    }

    /// `bytes` further on.
    pub(crate) fn plus(self, bytes: usize) -> Self {
        Self(self.0 + bytes as u64)
    }
}

/// Pages of one engine, counted.
#[derive(Debug)]
pub(crate) struct Pages {
    memory: Reservation,
    /// First page never handed out so far.
    untouched: usize,
    /// Pages handed back, by order: a stack and its height.
    returned: [(Table<u32>, usize); ORDER_MAX as usize + 1],
    live_pages: u64,
}

impl Pages {
    /// No pages yet.
    pub(crate) fn new() -> Self {
        Self {
            memory: Reservation::new(PAGES_MAX * PAGE_SIZE),
            untouched: 1,
            returned: core::array::from_fn(|_| (Table::new(PAGES_MAX), 0)),
            live_pages: 0,
        }
    }

    /// Takes `2^order` contiguous pages, aligned to their own size. Their content is zero.
    pub(crate) fn take(&mut self, order: u32) -> Result<Address, EngineError> {
        let (stack, height) = &mut self.returned[order as usize];
        let page = if *height > 0 {
            *height -= 1;
            stack[*height] as usize
        } else {
            let page = self.untouched.next_multiple_of(1 << order);
            let end = page + (1 << order);
            if end * PAGE_SIZE > self.memory.len_bytes() {
                return Err(EngineError::OutOfMemory {
                    size: PAGE_SIZE << order,
                });
            }
            // Pages skipped for alignment are only addresses; they never took memory.
            self.untouched = end;
            page
        };
        self.live_pages += 1 << order;
        Ok(Address((page * PAGE_SIZE) as u64))
    }

    /// Gives the run of `2^order` pages at `start` back.
    pub(crate) fn give_back(&mut self, start: Address, order: u32) {
        debug_assert_eq!(start, start.run_start(order));
        let from = start.0 as usize;
        self.memory.discard(from..from + (PAGE_SIZE << order));
        self.live_pages -= 1 << order;
        let (stack, height) = &mut self.returned[order as usize];
        // Without room on the stack the address is lost, the memory is not.
        if stack.cover(*height, 0).is_ok() {
            stack[*height] = start.page_index() as u32;
            *height += 1;
        }
    }

    /// Bytes of all pages taken and not given back.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_pages * PAGE_SIZE as u64
    }

    /// Resident bytes of all pages.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        let end = self.untouched * PAGE_SIZE;
        self.memory.resident_bytes(end.min(self.memory.len_bytes()))
    }

    /// `len` bytes at `at`.
    pub(crate) fn bytes(&self, at: Address, len: usize) -> &[u8] {
        &self.memory.bytes()[at.0 as usize..at.0 as usize + len]
    }

    /// `len` writable bytes at `at`.
    pub(crate) fn bytes_mut(&mut self, at: Address, len: usize) -> &mut [u8] {
        &mut self.memory.bytes_mut()[at.0 as usize..at.0 as usize + len]
    }

    fn load<const N: usize>(&self, at: Address) -> [u8; N] {
        let mut word = [0; N];
        word.copy_from_slice(self.bytes(at, N));
        word
    }

    /// The 16-bit word at `at`.
    pub(crate) fn load_u16(&self, at: Address) -> u16 {
        u16::from_le_bytes(self.load(at))
    }

    /// The 64-bit word at `at`.
    pub(crate) fn load_u64(&self, at: Address) -> u64 {
        u64::from_le_bytes(self.load(at))
    }

    /// Sets the 16-bit word at `at`.
    pub(crate) fn store_u16(&mut self, at: Address, value: u16) {
        self.bytes_mut(at, 2).copy_from_slice(&value.to_le_bytes());
    }

    /// Sets the 64-bit word at `at`.
    pub(crate) fn store_u64(&mut self, at: Address, value: u64) {
        self.bytes_mut(at, 8).copy_from_slice(&value.to_le_bytes());
    }

    /// Copies `len` bytes inside the pages.
    pub(crate) fn copy(&mut self, from: Address, to: Address, len: usize) {
        let from = from.0 as usize;
        let memory = self.memory.bytes_mut();
        memory.copy_within(from..from + len, to.0 as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_aligned_counted_and_zero_when_taken_again() {
        let mut pages = Pages::new();
        let single = pages.take(0).unwrap();
        let run = pages.take(3).unwrap();
        assert_eq!(run, run.run_start(3));
        assert_ne!(single, Address::NONE);
        assert_eq!(pages.live_bytes(), 9 * PAGE_SIZE as u64);
        pages.bytes_mut(run, 8 * PAGE_SIZE).fill(0xab);
        pages.give_back(run, 3);
        assert_eq!(pages.take(3).unwrap(), run);
        assert!(pages.bytes(run, 8 * PAGE_SIZE).iter().all(|&b| b == 0));
        assert_eq!(pages.live_bytes(), 9 * PAGE_SIZE as u64);
    }

    #[test]
    fn an_exhausted_reservation_is_an_error() {
        let mut pages = Pages::new();
        pages.untouched = pages.memory.len_bytes() / PAGE_SIZE;
        assert!(matches!(
            pages.take(1),
            Err(EngineError::OutOfMemory { size: 8192 })
        ));
    }
}
