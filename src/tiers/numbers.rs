//! Which numbers shared objects get.
//!
//! Slots of a leaf take its page together, and the pages of a unit may form a cluster, which patches do not. So the
//! numbers of few shared objects are one after the other, and patches have stripes of their own. Where many pages are
//! shared, each keeps its own index as number; patches lie together in the last leaves that pages came to, and so do
//! pages whose number was taken before there were many.

use super::worker::Worker;
use crate::cache::Cache;
use crate::error::Error;
use crate::workspace::Shared;
use alloc_xv::{PageSource, SlotState, Touch};
use compress::Codec;
use core::ops::Deref;
use core::sync::atomic::Ordering::Relaxed;
use lock_api::RawMutex;

/// How often a leaf of slots is looked at for a free shared number in one go.
const NUMBER_LOOKS: u32 = 16;
/// Numbers in a row that are all pages' or all patches', a leaf of slots of a page of 4096 bytes: pages that are found
/// one after the other are neighbours, and may form a cluster, which patches do not.
const STRIPE: u64 = 512;

impl<S, C, W, L, const PAGE: usize, const ARENAS: usize> Cache<S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
    L: RawMutex,
{
    /// A number that no shared object has, and its key.
    pub(crate) fn free_number(
        &self,
        worker: &mut Worker<C, PAGE>,
        is_patch: bool,
        index: u64,
    ) -> Result<Option<(u32, u64)>, Error> {
        // Where many are shared, neighbours keep their places, whichever part of the run finds them: they
        // may form a cluster. Where few are, such slots would be far between, and each take a leaf.
        let many = worker.run.finds_many(self.pages());
        if many
            && !is_patch
            && let Ok(number) = u32::try_from(index)
            && let Some(key) = self.layout.shared(number)
            && self.slots.state(key)? == SlotState::Empty
        {
            return Ok(Some(self.taken_number(number, key)));
        }
        let len = self.layout.shared_len();
        for _ in 0..NUMBER_LOOKS {
            let from = match many {
                true => last_leaf(worker.run.patches_from, len),
                false => next_of_kind(worker.next_shared[usize::from(is_patch)], is_patch, len),
            };
            let Some(from) = from else {
                return Ok(None);
            };
            let end = match many {
                true => len.min(from + STRIPE),
                false => stripe_end(from, len),
            };
            worker.work.leaves += 1;
            let (number, free) = self.first_free(from, end)?;
            if !many {
                worker.next_shared[usize::from(is_patch)] = number.saturating_add(1);
            } else if free.is_none() {
                // The leaf before this one; behind the first comes the last.
                worker.run.patches_from = from.checked_sub(1).unwrap_or(len);
            }
            if let Some(key) = free {
                return Ok(Some(self.taken_number(number, key)));
            }
        }
        Ok(None)
    }

    /// The first of some numbers in a leaf that nobody seems to have, or the last one; and its key, if nobody has it.
    fn first_free(&self, from: u64, end: u64) -> Result<(u32, Option<u64>), Error> {
        let Some(first) = self.layout.shared(from as u32) else {
            return Ok((from as u32, None));
        };
        // The first key that is not shown, as keys come in order.
        let mut key = first;
        let next = self
            .slots
            .visit_leaf(first, first + (end - from), |taken, _| {
                if taken != key {
                    return Touch::Stop;
                }
                key += 1;
                Touch::Keep
            })?;
        let key = key.min(next - 1);
        // One that somebody reads is not shown either. Nobody but the worker makes one, so what is
        // empty stays empty.
        let free = self.slots.state(key)? == SlotState::Empty;
        Ok(((from + (key - first)) as u32, free.then_some(key)))
    }

    fn taken_number(&self, number: u32, key: u64) -> (u32, u64) {
        let end = u64::from(number) + 1;
        self.tiers.shared_end.fetch_max(end, Relaxed);
        (number, key)
    }
}

/// The first number of the leaf that a number is in, or of the last one.
fn last_leaf(number: u64, len: u64) -> Option<u64> {
    let last = len.checked_sub(1)?;
    Some(number.min(last) / STRIPE * STRIPE)
}

/// Whether the numbers of a stripe are patches': every other leaf, and half of the first one, so that few of both
/// take one leaf. A small device has room for one kind only.
fn is_patches(number: u64, len: u64) -> bool {
    match number < STRIPE {
        true => number >= STRIPE / 2 && len >= STRIPE,
        false => !(number / STRIPE).is_multiple_of(2),
    }
}

/// The end of the stripe that a number is in.
fn stripe_end(number: u64, len: u64) -> u64 {
    let stripe = match number < STRIPE && len >= STRIPE {
        true => STRIPE / 2,
        false => STRIPE,
    };
    len.min((number / stripe + 1) * stripe)
}

/// The first number from `cursor` on that is of a kind; from the beginning if there is none behind it.
fn next_of_kind(cursor: u32, is_patch: bool, len: u64) -> Option<u64> {
    // A small device has room for one kind only.
    let is_patch = is_patch && len >= STRIPE;
    let mut number = u64::from(cursor);
    // The stripe, the next one, and the first ones.
    for _ in 0..5 {
        if number >= len {
            number = 0;
        }
        if len > 0 && is_patches(number, len) == is_patch {
            return Some(number);
        }
        number = stripe_end(number, len);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_pages_and_few_patches_have_one_leaf() {
        let len = 8192;
        let kinds: Vec<bool> = (0..STRIPE).map(|number| is_patches(number, len)).collect();
        let half = (STRIPE / 2) as usize;
        assert!(kinds[..half].iter().all(|patches| !patches));
        assert!(kinds[half..].iter().all(|patches| *patches));
        assert_eq!(next_of_kind(0, false, len), Some(0));
        assert_eq!(next_of_kind(0, true, len), Some(STRIPE / 2));
    }

    #[test]
    fn numbers_go_on_in_stripes_of_their_kind_and_begin_again_behind_the_last() {
        for len in [1, 100, 511, 512, 513, 700, 1024, 1500, 1537, 8192] {
            let small = len < STRIPE;
            for is_patch in [false, true] {
                let is_kind = |number: u64| is_patches(number, len) == (is_patch && !small);
                let all: Vec<u64> = (0..len).filter(|&number| is_kind(number)).collect();
                for cursor in 0..=len as u32 {
                    let expected = all.iter().find(|&&number| number >= u64::from(cursor));
                    let found = next_of_kind(cursor, is_patch, len);
                    assert_eq!(found, expected.or(all.first()).copied(), "{len} {cursor}");
                    let number = found.unwrap();
                    let end = stripe_end(number, len);
                    assert!(number < end && end <= len);
                    assert!((number..end).all(is_kind));
                }
            }
        }
        assert_eq!(next_of_kind(0, true, 0), None);
    }
}
