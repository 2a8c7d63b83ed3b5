//! Linear hashing: a table that grows and shrinks by one bucket at a time.
//!
//! ```text
//!   buckets = 2^k + split       bucket of a hash: its low k + 1 bits, if there is such a bucket,
//!                               else its low k bits
//!   [ 0 | 1 | 2 | 3 | 4 | 5 ]   4 and 5 were split off 0 and 1; 2 is next
//! ```
//!
//! There is a bucket for each key, or half a key when keys were removed; each insertion splits at most two
//! buckets and each removal merges two. (Litwin: Linear hashing, 1980.) Buckets are words of 4
//! bytes in chunks of 512; a bucket has the first of a chain through the records, plus one.
//! The hash is keyed, so chains are as short as chance makes them; a put that would make
//! one longer than [`CHAIN_MAX`] is refused.

use crate::record::NONE;
use crate::tables::{Region, Tables, contradiction};
use alloc_xv::{AllocError, PageSource};

/// Records of one bucket, at most. With random hashes and a load of one, 64 in a bucket have a
/// chance of 10^-89.
pub const CHAIN_MAX: u32 = 64;
/// Buckets in a chunk.
pub(crate) const BUCKETS_PER_CHUNK: u32 = 512;
const BUCKET_LEN: usize = 4;

/// Records that can be chained.
pub(crate) trait Chained {
    fn hash(&self, id: u32) -> u32;
    fn next(&self, id: u32) -> u32;
    fn set_next(&self, id: u32, next: u32);
}

/// The head of a table.
#[derive(Debug)]
pub(crate) struct Buckets {
    region: Region,
    pub(crate) count: u32,
    pub(crate) entries: u32,
    /// The longest chain that an insertion ever made.
    pub(crate) chain_max: u32,
}

/// Why a key was not inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotInserted {
    Crowded,
    Alloc(AllocError),
}

impl Buckets {
    pub(crate) const fn new(region: Region) -> Self {
        Self {
            region,
            count: 0,
            entries: 0,
            chain_max: 0,
        }
    }

    fn place(&self, bucket: u32) -> (u64, usize) {
        let key = self.region.key(bucket / BUCKETS_PER_CHUNK);
        (key, (bucket % BUCKETS_PER_CHUNK) as usize * BUCKET_LEN)
    }

    fn first<S: PageSource>(&self, tables: &Tables<S>, bucket: u32) -> u32 {
        let (key, offset) = self.place(bucket);
        tables.read_word(key, offset).checked_sub(1).unwrap_or(NONE)
    }

    fn set_first<S: PageSource>(&self, tables: &Tables<S>, bucket: u32, id: u32) {
        let (key, offset) = self.place(bucket);
        let word = if id == NONE { 0 } else { id + 1 };
        tables.write(key, offset, &word.to_le_bytes());
    }

    /// The bucket of a hash. There is at least one.
    fn bucket(&self, hash: u32) -> u32 {
        let low = 1 << self.count.ilog2();
        let bucket = hash & (2 * low - 1);
        if bucket < self.count {
            bucket
        } else {
            bucket & (low - 1)
        }
    }

    /// The record for which `look` says so; it tells the next one as well.
    pub(crate) fn find<S: PageSource>(
        &self,
        tables: &Tables<S>,
        hash: u32,
        mut look: impl FnMut(u32) -> (bool, u32),
    ) -> Option<u32> {
        if self.count == 0 {
            return None;
        }
        let mut id = self.first(tables, self.bucket(hash));
        while id != NONE {
            let (found, next) = look(id);
            if found {
                return Some(id);
            }
            id = next;
        }
        None
    }

    /// Inserts a record whose key is not in the table, or about to be removed. On failure nothing
    /// has changed. Fails only with [`NotInserted::Crowded`] if there is a record already.
    pub(crate) fn insert<S: PageSource>(
        &mut self,
        tables: &Tables<S>,
        records: &impl Chained,
        id: u32,
    ) -> Result<(), NotInserted> {
        if self.count == 0 {
            self.add_bucket(tables).map_err(NotInserted::Alloc)?;
        }
        let bucket = self.bucket(records.hash(id));
        let first = self.first(tables, bucket);
        let mut length = 1;
        let mut at = first;
        while at != NONE {
            length += 1;
            at = records.next(at);
        }
        if length > CHAIN_MAX {
            return Err(NotInserted::Crowded);
        }
        self.chain_max = self.chain_max.max(length);
        records.set_next(id, first);
        self.set_first(tables, bucket, id);
        self.entries += 1;
        for _ in 0..2 {
            if self.entries > self.count && !self.split(tables, records) {
                break;
            }
        }
        Ok(())
    }

    /// One more bucket, empty.
    fn add_bucket<S: PageSource>(&mut self, tables: &Tables<S>) -> Result<(), AllocError> {
        if self.count.is_multiple_of(BUCKETS_PER_CHUNK) {
            let size = BUCKETS_PER_CHUNK as usize * BUCKET_LEN;
            tables.create(self.place(self.count).0, size, &[])?;
        }
        self.count += 1;
        Ok(())
    }

    /// Splits the next bucket; false if there is no memory for one more. Chains are longer then.
    fn split<S: PageSource>(&mut self, tables: &Tables<S>, records: &impl Chained) -> bool {
        let new = self.count;
        let low = 1 << new.ilog2();
        let old = new - low;
        if self.add_bucket(tables).is_err() {
            return false;
        }
        let mut id = self.first(tables, old);
        let (mut stay, mut go) = (NONE, NONE);
        while id != NONE {
            let next = records.next(id);
            let list = if records.hash(id) & low != 0 {
                &mut go
            } else {
                &mut stay
            };
            records.set_next(id, *list);
            *list = id;
            id = next;
        }
        self.set_first(tables, old, stay);
        self.set_first(tables, new, go);
        true
    }

    /// Removes a record that is in the table.
    pub(crate) fn remove<S: PageSource>(
        &mut self,
        tables: &Tables<S>,
        records: &impl Chained,
        id: u32,
    ) {
        let bucket = self.bucket(records.hash(id));
        let after = records.next(id);
        let mut at = self.first(tables, bucket);
        if at == id {
            self.set_first(tables, bucket, after);
        } else {
            loop {
                if at == NONE {
                    contradiction("a record is not in its chain");
                }
                let next = records.next(at);
                if next == id {
                    records.set_next(at, after);
                    break;
                }
                at = next;
            }
        }
        self.entries -= 1;
        for _ in 0..2 {
            if self.count > 0 && self.entries <= (self.count - 1) / 2 {
                self.merge(tables, records);
            }
        }
    }

    /// Takes the last bucket away.
    fn merge<S: PageSource>(&mut self, tables: &Tables<S>, records: &impl Chained) {
        let last = self.count - 1;
        if last > 0 {
            let into = last - (1 << last.ilog2());
            let mut id = self.first(tables, last);
            let mut list = self.first(tables, into);
            while id != NONE {
                let next = records.next(id);
                records.set_next(id, list);
                list = id;
                id = next;
            }
            self.set_first(tables, into, list);
            self.set_first(tables, last, NONE);
        }
        self.count = last;
        if last.is_multiple_of(BUCKETS_PER_CHUNK) {
            tables.remove(self.place(last).0);
        }
    }

    /// Every record of the table is in its bucket, and as many as are counted: for tests.
    pub(crate) fn check<S: PageSource>(
        &self,
        tables: &Tables<S>,
        records: &impl Chained,
    ) -> Result<(), &'static str> {
        let mut entries = 0;
        for bucket in 0..self.count {
            let mut id = self.first(tables, bucket);
            while id != NONE {
                if self.bucket(records.hash(id)) != bucket {
                    return Err("a record is in another bucket's chain");
                }
                entries += 1;
                if entries > self.entries {
                    return Err("chains are longer than there are records");
                }
                id = records.next(id);
            }
        }
        if entries != self.entries {
            return Err("chains are shorter than there are records");
        }
        if self.count > 0 && self.entries <= (self.count - 1) / 2 {
            return Err("more buckets than there should be");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::PAGE_BUCKETS;
    use alloc_xv::{Failing, MmapSource, Slots};
    use std::cell::RefCell;
    use std::vec;
    use std::vec::Vec;

    struct Plain {
        next: RefCell<Vec<u32>>,
        mask: u32,
    }

    impl Chained for Plain {
        fn hash(&self, id: u32) -> u32 {
            (id.wrapping_mul(0x9e37_79b1) ^ id.wrapping_mul(0x85eb_ca6b) >> 15) & self.mask
        }
        fn next(&self, id: u32) -> u32 {
            self.next.borrow()[id as usize]
        }
        fn set_next(&self, id: u32, next: u32) {
            self.next.borrow_mut()[id as usize] = next;
        }
    }

    fn tables() -> Tables<Failing<MmapSource<4096>>> {
        let source = Failing::new(MmapSource::new(1 << 24).unwrap());
        Tables {
            slots: Slots::new(source),
        }
    }

    fn plain(mask: u32) -> Plain {
        Plain {
            next: RefCell::new(vec![NONE; 10_000]),
            mask,
        }
    }

    fn find(buckets: &Buckets, tables: &Tables<impl PageSource>, records: &Plain, id: u32) -> bool {
        let look = |at| (at == id, records.next(at));
        buckets.find(tables, records.hash(id), look) == Some(id)
    }

    #[test]
    fn it_grows_and_shrinks_by_a_bucket_and_finds_everything() {
        let (tables, records) = (tables(), plain(u32::MAX));
        let mut buckets = Buckets::new(PAGE_BUCKETS);
        for id in 0..5000 {
            buckets.insert(&tables, &records, id).unwrap();
            assert_eq!(buckets.count, id + 1, "a bucket for each");
        }
        buckets.check(&tables, &records).unwrap();
        assert!(buckets.chain_max < 16, "{}", buckets.chain_max);
        for id in 0..5000 {
            assert!(find(&buckets, &tables, &records, id));
            buckets.remove(&tables, &records, id);
            assert!(!find(&buckets, &tables, &records, id));
            if id % 500 == 0 {
                buckets.check(&tables, &records).unwrap();
            }
        }
        assert_eq!(buckets.count, 0);
        assert_eq!(tables.slots.pages_used(), 0, "every chunk went");
    }

    #[test]
    fn without_memory_chains_grow_and_catch_up_later() {
        let (tables, records) = (tables(), plain(u32::MAX));
        let mut buckets = Buckets::new(PAGE_BUCKETS);
        for id in 0..512 {
            buckets.insert(&tables, &records, id).unwrap();
        }
        tables.slots.source().fail_after(0);
        // The page that has the first chunk has room for one more; then it is over.
        for id in 512..3000 {
            buckets.insert(&tables, &records, id).unwrap();
        }
        assert!(buckets.count <= 1024);
        tables.slots.source().never_fail();
        for id in 3000..6000 {
            buckets.insert(&tables, &records, id).unwrap();
        }
        assert_eq!(buckets.count, 6000, "two splits for each insertion");
        buckets.check(&tables, &records).unwrap();
        assert!((0..6000).all(|id| find(&buckets, &tables, &records, id)));
    }

    #[test]
    fn a_chain_has_its_longest() {
        let (tables, records) = (tables(), plain(0));
        let mut buckets = Buckets::new(PAGE_BUCKETS);
        for id in 0..CHAIN_MAX {
            buckets.insert(&tables, &records, id).unwrap();
        }
        let refused = buckets.insert(&tables, &records, CHAIN_MAX);
        assert_eq!(refused, Err(NotInserted::Crowded));
        assert_eq!(buckets.entries, CHAIN_MAX);
        buckets.check(&tables, &records).unwrap();
        buckets.remove(&tables, &records, 17);
        buckets.insert(&tables, &records, CHAIN_MAX).unwrap();
    }
}
