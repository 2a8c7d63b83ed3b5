//! The two-level segregated fit index: which sizes of free block exist, and the first of each.
//!
//! ```text
//!  sizes in granules of 4 bytes            second level: 32 lists each
//!  first level 0:     1 ..    31           one exact size a list
//!              1:    32 ..    63           one exact size a list
//!              2:    64 ..   127           2 sizes a list
//!              3:   128 ..   255           4
//!              k:  32<<(k-1) .. (64<<(k-1))-1     1<<(k-1) sizes a list
//!
//!  first_bitmap   bit k: some list of level k is not empty
//!  second[k]      bit j: list j of level k is not empty
//!  heads[k][j]    offset of the first block of that list
//! ```
//!
//! The links between the blocks of a list are in the blocks. Source: Masmano, Ripoll, Crespo,
//! Real, "TLSF: a New Dynamic Memory Allocator for Real-Time Systems" (ECRTS 2004).

/// Second-level lists of one first level.
const SECOND: usize = 32;
const SECOND_LOG2: u32 = 5;
/// First levels: blocks on lists are under two pages, at most 2 * 16384 granules of a 64 KiB page.
const FIRST: usize = 11;
/// Biggest block the index can hold, in granules.
#[cfg(test)]
const BLOCK_GRANULES_MAX: u32 = (1 << (FIRST as u32 - 1 + SECOND_LOG2)) - 1;

/// No block.
pub(crate) const NONE: u32 = u32::MAX;

/// One list: first level times 32, plus second level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class(u32);

impl Class {
    /// The list that a free block of this size stands in.
    #[inline]
    pub(crate) const fn of(granules: u32) -> Self {
        // Level 0 has one size a list, as level 1: there the shift is 0.
        let shift = (granules | SECOND as u32).ilog2() - SECOND_LOG2;
        Self((shift << SECOND_LOG2) + (granules >> shift))
    }

    const fn first(self) -> usize {
        (self.0 >> SECOND_LOG2) as usize
    }

    const fn second(self) -> u32 {
        self.0 % SECOND as u32
    }
}

/// See the module's text.
pub(crate) struct Index {
    first_bitmap: u32,
    second: [u32; FIRST],
    heads: [u32; FIRST * SECOND],
}

impl Index {
    pub(crate) const fn new() -> Self {
        Self {
            first_bitmap: 0,
            second: [0; FIRST],
            heads: [NONE; FIRST * SECOND],
        }
    }

    /// Whether every list is empty.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first_bitmap == 0
    }

    /// Whether every list is empty but that of `class`, which begins with `head`.
    pub(crate) fn has_only(&self, class: Class, head: u32) -> bool {
        self.first_bitmap == 1 << class.first()
            && self.second[class.first()] == 1 << class.second()
            && self.head(class) == head
    }

    /// First block of a list, or [`NONE`].
    #[inline]
    pub(crate) fn head(&self, class: Class) -> u32 {
        self.heads[class.0 as usize]
    }

    /// Puts a block at the front of a list and returns the one that was there.
    #[inline]
    pub(crate) fn replace_head(&mut self, class: Class, head: u32) -> u32 {
        self.second[class.first()] |= 1 << class.second();
        self.first_bitmap |= 1 << class.first();
        core::mem::replace(&mut self.heads[class.0 as usize], head)
    }

    /// Sets the first block of a list, or that there is none.
    #[inline]
    pub(crate) fn set_head(&mut self, class: Class, head: u32) {
        self.heads[class.0 as usize] = head;
        if head == NONE {
            let second = &mut self.second[class.first()];
            *second &= !(1 << class.second());
            if *second == 0 {
                self.first_bitmap &= !(1 << class.first());
            }
        }
    }

    /// First block of the lowest non-empty list above `class`: it is bigger than all of `class`.
    #[inline]
    pub(crate) fn find_above(&self, class: Class) -> Option<(u32, Class)> {
        let (first, second) = (class.first(), class.second());
        // Shifted twice, as the shift may be by all bits.
        let above = self.second[first] & (u32::MAX << second << 1);
        let found = if above != 0 {
            (first as u32) << SECOND_LOG2 | above.trailing_zeros()
        } else {
            let levels = self.first_bitmap & (u32::MAX << first << 1);
            if levels == 0 {
                return None;
            }
            let first = levels.trailing_zeros();
            let second = self.second[first as usize % FIRST].trailing_zeros() % SECOND as u32;
            first << SECOND_LOG2 | second
        };
        Some((self.heads[found as usize], Class(found)))
    }

    /// Every list, for the invariant checker.
    pub(crate) fn classes() -> impl Iterator<Item = Class> {
        (0..(FIRST * SECOND) as u32).map(Class)
    }

    /// Whether the bitmaps agree with the heads.
    pub(crate) fn is_consistent(&self) -> bool {
        (0..FIRST).all(|first| {
            let heads = &self.heads[first * SECOND..(first + 1) * SECOND];
            let bits = (0..SECOND).fold(0, |bits, j| bits | (u32::from(heads[j] != NONE) << j));
            bits == self.second[first] && (self.first_bitmap >> first & 1 != 0) == (bits != 0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_cover_every_size_in_order() {
        let mut last = Class::of(1);
        for granules in 2..=BLOCK_GRANULES_MAX {
            let class = Class::of(granules);
            let (a, b) = (last.0, class.0);
            assert!(b == a || b == a + 1, "{granules}: {last:?} then {class:?}");
            last = class;
        }
        assert_eq!(last, Class((FIRST * SECOND) as u32 - 1));
    }

    #[test]
    fn what_is_found_is_the_next_list_above() {
        for size in [
            1u32, 3, 4, 31, 32, 33, 63, 64, 65, 127, 128, 1000, 1023, 1024, 2046, 32767,
        ] {
            let mut index = Index::new();
            index.replace_head(Class::of(size), size);
            for wanted in 1..=2100 {
                let above = Class::of(wanted).0 < Class::of(size).0;
                let found = index.find_above(Class::of(wanted));
                assert_eq!(found, above.then_some((size, Class::of(size))), "{wanted}");
            }
            index.set_head(Class::of(size), NONE);
            assert_eq!(index.find_above(Class::of(1)), None);
            assert!(index.is_consistent());
        }
    }
}
