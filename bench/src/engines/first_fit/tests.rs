//! Splitting, joining, the page limit, and placement against the list itself.

use super::*;
use crate::engine::Engine;
use crate::engines::lists::BlockList;
use crate::engines::suite::{engine_suite, page_returning_suite};
use crate::rng::Rng;

engine_suite!(FirstFit::new());
page_returning_suite!(FirstFit::new());

#[test]
fn an_object_near_a_page_takes_two() {
    let mut engine = FirstFit::new();
    engine.alloc(0, 4096 - HEADER).unwrap();
    assert_eq!(engine.footprint().data_bytes, 4096);
    engine.alloc(1, 4096 - HEADER + 1).unwrap();
    assert_eq!(engine.footprint().data_bytes, 3 * 4096);
}

#[test]
fn a_rest_shorter_than_two_headers_stays_with_its_object() {
    let mut engine = FirstFit::new();
    // 32 + 4000 bytes leave 64: exactly two headers, room for 32 bytes more.
    engine.alloc(0, 4000).unwrap();
    engine.alloc(1, 32).unwrap();
    assert_eq!(engine.footprint().data_bytes, 4096);
    // 32 + 4032 leave 32: nothing.
    engine.alloc(2, 4032).unwrap();
    engine.alloc(3, 1).unwrap();
    assert_eq!(engine.footprint().data_bytes, 3 * 4096);
}

#[test]
fn three_neighbours_join_whatever_the_order() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [2, 1, 0]] {
        let mut engine = FirstFit::new();
        for slot in 0..3 {
            engine.alloc(slot, 1000).unwrap();
        }
        for slot in order {
            assert_eq!(engine.footprint().data_bytes, 4096);
            engine.free(slot).unwrap();
        }
        assert_eq!(engine.footprint().data_bytes, 0);
    }
}

type FreeList = BlockList<8>;

/// The original: a linked list that is walked.
#[derive(Debug)]
struct Walked(FreeList);

impl Default for Walked {
    fn default() -> Self {
        Self(FreeList::EMPTY)
    }
}

impl FreeChunks for Walked {
    fn push_front(&mut self, pages: &mut Pages, chunk: Address, _size: usize) {
        self.0.push_front(pages, chunk);
    }

    fn remove(&mut self, pages: &mut Pages, chunk: Address) {
        self.0.remove(pages, chunk);
    }

    fn first_fit(&self, pages: &Pages, size: usize) -> FirstFound {
        let (mut at, mut visited) = (self.0.first(), 0);
        while let Some(chunk) = at {
            visited += 1;
            if chunk_size(pages, chunk) >= size {
                break;
            }
            // The link to the chunk after this one.
            let next = Address(pages.load_u64(chunk.plus(8)));
            at = Some(next).filter(|&next| next != Address::NONE);
        }
        FirstFound { chunk: at, visited }
    }
}

/// A size like those of compressed pages: 30 to 4096, mean about 1750.
fn compressed_size(rng: &mut Rng) -> usize {
    if rng.below(16) == 0 {
        4096
    } else {
        30 + (rng.below(1566) + rng.below(1566)) as usize
    }
}

/// A placement with its pages and what lives in them.
struct Placed<F> {
    rule: Xmalloc<F>,
    pages: Pages,
    live: Vec<Option<(Address, usize)>>,
}

impl<F: FreeChunks> Placed<F> {
    fn new(slots: usize) -> Self {
        Self {
            rule: Xmalloc::default(),
            pages: Pages::new(),
            live: vec![None; slots],
        }
    }

    /// Frees what `slot` holds, or puts an object of `size` there, and returns its address.
    fn toggle(&mut self, slot: usize, size: usize) -> Option<Address> {
        if let Some((at, size)) = self.live[slot].take() {
            self.rule.release(&mut self.pages, at, size);
            return None;
        }
        let at = self.rule.place(&mut self.pages, size).unwrap();
        self.live[slot] = Some((at, size));
        Some(at)
    }

    /// Fills all slots and overwrites ten times as many at random.
    fn churn(&mut self, rng: &mut Rng) {
        let slots = self.live.len();
        for slot in 0..slots {
            self.toggle(slot, compressed_size(rng));
        }
        for _ in 0..10 * slots {
            let slot = rng.below(slots as u64) as usize;
            self.toggle(slot, 0);
            self.toggle(slot, compressed_size(rng));
        }
    }
}

#[test]
fn places_every_object_where_the_walk_does() {
    const SLOTS: u64 = 700;
    let mut rng = Rng::new(5);
    let mut model = Placed::<Walked>::new(SLOTS as usize);
    let mut placed = Placed::<Order>::new(SLOTS as usize);
    for step in 0..200_000 {
        // Crowded and nearly empty by turns: the order is renumbered to grow and to shrink.
        let draining = step / 10_000 % 2 == 1;
        let slot = rng.below(SLOTS) as usize;
        if draining && model.live[slot].is_none() && rng.below(50) > 0 {
            continue;
        }
        let size = match rng.below(8) {
            0 => 1 + rng.below(Xmalloc::<Order>::SIZE_MAX as u64) as usize,
            _ => compressed_size(&mut rng),
        };
        assert_eq!(placed.toggle(slot, size), model.toggle(slot, size));
        assert_eq!(placed.rule.walks(), model.rule.walks());
        assert_eq!(placed.pages.live_bytes(), model.pages.live_bytes());
    }
    assert!(placed.rule.walks().visited_max() > 100);
}

#[test]
fn walks_are_longer_the_more_objects_there_are() {
    let mean = |objects| {
        let mut placed = Placed::<Order>::new(objects);
        placed.churn(&mut Rng::new(6));
        // Objects of 4065 to 4096 bytes take two pages and search nothing.
        let searches = placed.rule.walks().searches();
        assert!((9 * objects as u64..11 * objects as u64).contains(&searches));
        placed.rule.walks().visited_mean()
    };
    assert!(mean(8000) > 4.0 * mean(1000));
}
