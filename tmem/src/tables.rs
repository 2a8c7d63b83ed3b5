//! Where the index keeps its bytes: byte strings in an [`alloc_xv::Slots`], under numbers that
//! interleave what belongs together.
//!
//! ```text
//!   key  0        14        28    30    32        46  ...            2^24 - 1024
//!        [ pages  | objects | page | obj ][ pages  |  ...             [ pools   ]
//!          chunks   chunks    buckets       chunks
//! ```
//!
//! A stripe of 32 keys has what 784 pages of 700 objects need, so that the entries (8 bytes each) of
//! a small index share a page, and no kind ends before another.

use crate::key::POOLS_MAX;
use alloc_xv::{AllocError, PageSource, SlotState, Slots};

/// The lock inside the slots. Never contended: who is there holds the index lock.
pub(crate) type Inner = spin::Mutex<()>;

const STRIPE: u64 = 32;

/// A kind of byte strings, and its place in each stripe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    first: u64,
    width: u64,
}

/// Chunks of page records.
pub(crate) const PAGES: Region = Region::new(0, 14);
/// Chunks of object records.
pub(crate) const OBJECTS: Region = Region::new(14, 14);
/// Hash buckets of pages.
pub(crate) const PAGE_BUCKETS: Region = Region::new(28, 2);
/// Hash buckets of objects.
pub(crate) const OBJECT_BUCKETS: Region = Region::new(30, 2);
/// Pools, behind all stripes.
pub(crate) const POOLS: Region = Region {
    first: (1 << 24) - POOLS_MAX as u64,
    width: POOLS_MAX as u64,
};

impl Region {
    const fn new(first: u64, width: u64) -> Self {
        Self { first, width }
    }

    /// The key of a region's byte string.
    pub(crate) const fn key(self, number: u32) -> u64 {
        let number = number as u64;
        number / self.width * STRIPE + self.first + number % self.width
    }
}

/// All byte strings of an index.
pub(crate) struct Tables<S: PageSource> {
    pub(crate) slots: Slots<S, Inner, 1>,
}

impl<S: PageSource> Tables<S> {
    /// `N` bytes from `offset` on of the string under `key`.
    #[inline]
    pub(crate) fn read<const N: usize>(&self, key: u64, offset: usize) -> [u8; N] {
        let mut out = [0; N];
        let Ok(Some(slot)) = self.slots.get(key) else {
            contradiction("a table is not there")
        };
        match slot
            .contiguous()
            .and_then(|bytes| bytes.get(offset..offset + N))
        {
            Some(bytes) => out.copy_from_slice(bytes),
            None => drop(slot.fragments().copy_to(offset, &mut out)),
        }
        out
    }

    /// Writes there.
    #[inline]
    pub(crate) fn write(&self, key: u64, offset: usize, bytes: &[u8]) {
        let Ok(Some(mut slot)) = self.slots.get(key) else {
            contradiction("a table is not there")
        };
        if slot.write(offset, bytes).is_err() {
            contradiction("a table is too short");
        }
    }

    pub(crate) fn read_word(&self, key: u64, offset: usize) -> u32 {
        u32::from_le_bytes(self.read(key, offset))
    }

    /// Makes a string of `size` bytes: `head`, and zeroes.
    pub(crate) fn create(&self, key: u64, size: usize, head: &[u8]) -> Result<(), AllocError> {
        self.slots
            .store_with(key, 0, size, |_, filling| filling.write(head))?;
        Ok(())
    }

    /// Puts a value where a string or another value was.
    pub(crate) fn replace_by_value(&self, key: u64, value: u64) {
        // The entry is in use, so its table exists: nothing has to be allocated.
        if self.slots.set_value(key, value).is_err() {
            contradiction("an entry in use has no table");
        }
    }

    /// The value there.
    pub(crate) fn value(&self, key: u64) -> Option<u64> {
        match self.slots.state(key) {
            Ok(SlotState::Value(value)) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn remove(&self, key: u64) {
        if self.slots.clear(key).is_err() {
            contradiction("a key is out of range");
        }
    }
}

/// The index's own tables disagree, which no input can cause: stop, rather than give a page to
/// who it does not belong to.
#[cold]
#[inline(never)]
pub(crate) fn contradiction(what: &'static str) -> ! {
    panic!("tmem: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_strings_have_the_same_key() {
        let mut seen = HashSet::new();
        for region in [PAGES, OBJECTS, PAGE_BUCKETS, OBJECT_BUCKETS] {
            assert!((0..5000).all(|number| seen.insert(region.key(number))));
        }
        assert!((0..POOLS_MAX).all(|number| seen.insert(POOLS.key(number))));
    }

    #[test]
    fn the_largest_index_has_its_keys_before_those_of_the_pools() {
        let chunks = |records: u32| (crate::record::IDS_MAX - 1) / records;
        let last = [
            PAGES.key(chunks(crate::record::PAGES_PER_CHUNK)),
            OBJECTS.key(chunks(crate::record::OBJECTS_PER_CHUNK)),
            PAGE_BUCKETS.key(chunks(crate::hash::BUCKETS_PER_CHUNK)),
            OBJECT_BUCKETS.key(chunks(crate::hash::BUCKETS_PER_CHUNK)),
        ];
        assert!(last.iter().all(|&key| key < POOLS.key(0)), "{last:?}");
        assert!(POOLS.key(POOLS_MAX - 1) < Slots::<alloc_xv::MmapSource, Inner, 1>::keys());
    }
}
