//! What an operation may do at most.

use super::{Place, Rng, Windowed, pattern, region};
use crate::compaction::Step;
use crate::frames::{Account, Frames};
use crate::space::{SPARE_MAX, Space};
use crate::{
    BLOCKS_TOUCHED_MAX, BLOCKS_TOUCHED_PACKING_MAX, Counting, Failing, OBJECT_MAX, OVERHEAD,
    PageSource, Pool, Slots,
};
use core::cell::Cell;
use std::vec::Vec;

/// Random, ascending, descending and alternating histories: no allocation and no free touches
/// more blocks than the published constant.
#[test]
fn no_call_touches_more_blocks_than_the_constant() {
    let mut worst_of_all = 0;
    for history in 0..4 {
        let source = region::<4096>(9000);
        let account = Account::new();
        let frames = Frames::new(&source, &account);
        let mut space = Space::new();
        let mut rng = Rng(history);
        let mut live: Vec<(u32, u32)> = Vec::new();
        let mut worst = 0;
        for step in 0..60_000u32 {
            let grow = match history {
                0 => rng.below(2) == 0,
                _ => (step / 2000) % 2 == 0,
            };
            space.touched.set(0);
            if grow && live.len() < 8000 {
                let granules =
                    2 + rng.below(if step % 50 == 0 { OBJECT_MAX / 4 } else { 1024 }) as u32;
                if let Ok(offset) = space.alloc(frames, granules, step) {
                    live.push((offset, granules));
                }
            } else if !live.is_empty() {
                let pick = match history {
                    1 => live.len() - 1,
                    2 => (step as usize * 2) % live.len(),
                    _ => rng.below(live.len()),
                };
                let (offset, granules) = live.swap_remove(pick);
                space.free(frames, offset, granules);
            }
            worst = worst.max(space.touched.get());
        }
        assert!(
            worst <= BLOCKS_TOUCHED_MAX,
            "history {history}: {worst} blocks touched"
        );
        worst_of_all = worst_of_all.max(worst);
    }
    assert!(
        worst_of_all >= BLOCKS_TOUCHED_MAX / 2,
        "the bound is far from {worst_of_all}"
    );
}

/// Overwrites in a small pool with a packing thread that never comes: an allocation then moves a
/// few objects itself, and touches no more blocks for it than the published constant.
#[cfg(feature = "std")]
#[test]
fn an_allocation_that_packs_touches_no_more_blocks_than_the_constant() {
    use crate::Compact;
    let slots: Slots<_, spin::Mutex<()>, 1> = Slots::new(Windowed::<4096>::source(4000));
    slots.attach(Some(std::thread::current()));
    let (moved_before_churn, worst) = (fill_for_churn(&slots), Cell::new(0));
    churn(&slots, 40_000, |key, size| {
        slots.core().lock(0).space.touched.set(0);
        slots.store(key, 0, &[&pattern(key, size)]).unwrap();
        let touched = slots.core().lock(0).space.touched.get();
        worst.set(worst.get().max(touched));
    });
    slots.check().unwrap();
    assert!(slots.stats().objects_moved > moved_before_churn);
    let (worst, bound) = (worst.get(), BLOCKS_TOUCHED_MAX + BLOCKS_TOUCHED_PACKING_MAX);
    assert!(worst <= bound, "{worst} blocks touched");
    assert!(worst >= bound / 4, "the bound is far from {worst}");
}

/// A pool of 4,000 objects was overwritten once before its packing thread had woken up: its pages held up to
/// 6 % more than its blocks. Now the thread need not come at all.
#[cfg(feature = "std")]
#[test]
fn a_small_pool_stays_packed_though_its_thread_is_late() {
    use crate::Compact;
    for assisted in [false, true] {
        let slots: Slots<_, spin::Mutex<()>, 1> = Slots::new(Windowed::<4096>::source(4000));
        match assisted {
            true => slots.attach(Some(std::thread::current())),
            false => slots.set_inline_moves(0),
        }
        fill_for_churn(&slots);
        let worst = Cell::new(0);
        churn(&slots, 40_000, |key, size| {
            slots.store(key, 0, &[&pattern(key, size)]).unwrap();
            let stats = slots.stats();
            let free = stats.data_pages * 4096 - stats.block_bytes;
            worst.set(worst.get().max(free * 1000 / stats.block_bytes));
        });
        slots.check().unwrap();
        match assisted {
            true => assert!(worst.get() <= 30, "{} per mille", worst.get()),
            false => assert!(worst.get() > 40, "{} per mille", worst.get()),
        }
    }
}

/// The few pages of one arena were packed for every two that came free, by the thread and by allocations, though the pool's
/// others had twenty times as many: puts beside it took 1.12 of what they take now.
#[cfg(feature = "std")]
#[test]
fn a_small_arena_of_a_big_pool_may_have_as_much_free_as_the_others() {
    use crate::Compact;
    const SIZE: usize = 1800;
    type Store = Slots<crate::MmapSource, spin::Mutex<()>, 2>;
    let slots = Store::new(Windowed::<4096>::source(4000));
    let object = pattern(1, SIZE);
    let few = (0..)
        .step_by(512)
        .find(|&key| Store::arena_of(key) == Some(1));
    let few = few.unwrap();
    let put = |key| assert!(slots.store(key, 0, &[&object]).is_ok());
    (0..5000).for_each(put);
    (few..few + 600).for_each(put);
    assert!([0, 4999].iter().all(|&key| Store::arena_of(key) == Some(0)));
    slots.attach(Some(std::thread::current()));
    // The thread never comes.
    slots.compact(u64::MAX);
    slots.take_wanted();
    let fair = slots.stats().data_pages * 4096 / 96 / 2;
    let moved = slots.stats().objects_moved;
    let mut free = 0;
    for key in (few..few + 600).step_by(5) {
        slots.clear(key).unwrap();
        free += SIZE as u64;
        let wanted = slots.take_wanted();
        if free + 8192 < fair {
            assert!(!wanted, "{free} bytes free of {fair}");
        }
        if wanted {
            break;
        }
    }
    assert!(free > 3 * 8192 && free < fair + 8192, "{free}, {fair}");
    // Nor does an allocation move anything as soon as the thread was asked.
    put(few);
    assert_eq!(slots.stats().objects_moved, moved);
    slots.check().unwrap();
    // But where it is late: not one of these takes what another one gave.
    for key in (few + 1..few + 600).step_by(5) {
        slots.store(key, 0, &[&object[..SIZE - 40]]).unwrap();
    }
    for key in (few + 2..few + 600).step_by(5) {
        slots.clear(key).unwrap();
    }
    put(few + 2);
    assert!(slots.stats().objects_moved > moved);
    slots.check().unwrap();
}

/// Pages that packing keeps stayed when the last object went, for the thread to give them up; found by fuzzing,
/// where none comes.
#[cfg(feature = "std")]
#[test]
fn what_packing_keeps_goes_with_the_last_object() {
    use crate::Compact;
    let slots: Slots<_, spin::Mutex<()>, 1> = Slots::new(Windowed::<4096>::source(4000));
    slots.attach(Some(std::thread::current()));
    let mut kept = 0;
    for rounds in 1..=40 {
        fill_for_churn(&slots);
        churn(&slots, 50 * rounds, |key, size| {
            slots.store(key, 0, &[&pattern(key, size)]).unwrap();
        });
        let space = |gap: fn(&Space) -> u32| gap(&slots.core().lock(0).space);
        kept += u32::from(space(|space| space.gap) > 0 && space(|space| space.wide) != u32::MAX);
        // Not from one end to the other.
        let keys = CHURNED + 1;
        for key in (0..keys).map(|key| key * 7919 % keys) {
            slots.clear(key).unwrap();
        }
        assert_eq!(slots.stats().used_bytes(), 0, "round {rounds}");
        slots.check().unwrap();
    }
    assert!(kept > 0, "nothing was kept");
}

/// Without a packing thread, or when it has gone, allocations move nothing; what was kept while objects were packed goes.
#[cfg(feature = "std")]
#[test]
fn allocations_pack_only_for_a_thread() {
    use crate::Compact;
    let slots: Slots<_, spin::Mutex<()>, 1> = Slots::new(Windowed::<4096>::source(4000));
    slots.attach(Some(std::thread::current()));
    fill_for_churn(&slots);
    let store = |key, size| {
        slots.store(key, 0, &[&pattern(key, size)]).unwrap();
    };
    churn(&slots, 8_000, store);
    assert!(slots.stats().objects_moved > 0);
    slots.attach(None);
    assert_eq!(slots.core().lock(0).space.gap, 0);
    slots.set_inline_moves(0);
    let before = slots.stats().objects_moved;
    churn(&slots, 8_000, store);
    assert_eq!(slots.stats().objects_moved, before);
    slots.check().unwrap();
}

#[cfg(feature = "std")]
const CHURNED: u64 = 3000;

/// Stores objects as compressed pages are long, and returns how many were moved.
#[cfg(feature = "std")]
fn fill_for_churn<S: PageSource>(slots: &Slots<S, spin::Mutex<()>, 1>) -> u64 {
    let mut rng = Rng(5);
    for key in 0..CHURNED {
        let size = 200 + rng.below(3700);
        slots.store(key, 0, &[&pattern(key, size)]).unwrap();
    }
    slots.stats().objects_moved
}

/// Overwrites random objects: a new one in the spare slot, then the old one goes.
#[cfg(feature = "std")]
fn churn<S: PageSource>(
    slots: &Slots<S, spin::Mutex<()>, 1>,
    steps: u32,
    mut store: impl FnMut(u64, usize),
) {
    let mut rng = Rng(6);
    let mut keys: Vec<u64> = (0..CHURNED).collect();
    // Whichever slot an earlier churn has left empty.
    let mut spare = (0..=CHURNED)
        .find(|&key| slots.get(key).unwrap().is_none())
        .unwrap();
    if let Some(last) = keys.iter_mut().find(|key| **key == spare) {
        *last = CHURNED;
    }
    for _ in 0..steps {
        let size = 200 + rng.below(3700);
        store(spare, size);
        let chosen = rng.below(keys.len());
        let old = core::mem::replace(&mut keys[chosen], spare);
        slots.clear(old).unwrap();
        spare = old;
    }
}

#[test]
fn a_page_sized_object_takes_a_page_and_the_overhead() {
    let slots: Slots<_> = Slots::new(region::<4096>(2000));
    for key in 0..1024 {
        slots.store(key, 0, &[&pattern(key, 4096)]).unwrap();
    }
    let stats = slots.stats();
    assert_eq!(stats.block_bytes, 1024 * (4096 + OVERHEAD as u64));
    let needed = (1024 * (4096 + OVERHEAD as u64)).div_ceil(4096);
    assert!((needed..=needed + u64::from(SPARE_MAX)).contains(&stats.data_pages));
    slots.compact(u64::MAX);
    assert_eq!(slots.stats().data_pages, needed);
}

/// Backs the pages that are needed, whatever the sizes, and few in advance.
#[test]
fn a_filled_pool_has_few_pages_to_spare() {
    let slots: Slots<_> = Slots::new(region::<4096>(3000));
    let mut rng = Rng(9);
    for key in 0..3000 {
        slots
            .store(key, 0, &[&pattern(key, 1 + rng.below(3500))])
            .unwrap();
        let stats = slots.stats();
        assert!(
            stats.data_pages
                <= stats.block_bytes.div_ceil(4096)
                    + 1
                    + (stats.data_pages / 16).min(SPARE_MAX.into()),
            "{stats:?}"
        );
    }
}

/// A few pages that were given up are used again without asking the source, whether the objects
/// went in order or not; they are counted, and go when compaction has ended.
#[test]
fn spare_pages_are_few_counted_and_used_again() {
    let counting = Counting::new(region::<4096>(2000));
    let slots: Slots<_> = Slots::new(Failing::new(&counting));
    slots.set_inline_moves(0);
    for key in 0..1000 {
        slots.store(key, 0, &[&pattern(key, 2000)]).unwrap();
    }
    slots.compact(u64::MAX);
    let packed = slots.stats().data_pages;
    for key in 500..510 {
        slots.clear(key).unwrap();
    }
    assert_eq!(slots.stats().data_pages, packed, "no spare page was kept");
    slots.check().unwrap();
    slots.source().fail_after(0);
    for key in 500..510 {
        slots.store(key, 0, &[&pattern(key, 2000)]).unwrap();
    }
    slots.source().never_fail();
    for key in 100..900 {
        slots.clear(key).unwrap();
        let stats = slots.stats();
        assert_eq!(counting.taken() as u64 * 4096, stats.used_bytes());
        let needed = stats.block_bytes.div_ceil(4096);
        assert!(stats.data_pages <= needed + 3 + u64::from(SPARE_MAX));
    }
    slots.check().unwrap();
    slots.compact(u64::MAX);
    let stats = slots.stats();
    assert_eq!(stats.data_pages, stats.block_bytes.div_ceil(4096));
    for key in 0..1000 {
        slots.clear(key).unwrap();
    }
    assert_eq!(counting.taken(), 0);
}

/// A pass used to give back every page behind the object that it moved and to take one for every
/// page that it filled: most of its time went to the system's page faults. What becomes free is
/// used for what follows instead (where pages cost page faults: in windows), so a source without a
/// page left is no obstacle.
#[test]
fn a_pass_takes_no_page_for_those_it_fills() {
    let counting = Counting::new(Windowed::<4096>::source(2000));
    let slots: Slots<_, spin::Mutex<()>, 1> = Slots::new(Failing::new(&counting));
    slots.set_inline_moves(0);
    for key in 0..2000 {
        slots.store(key, 0, &[&pattern(key, 2000)]).unwrap();
    }
    for key in (0..2000).step_by(30) {
        slots.clear(key).unwrap();
    }
    let (before, spare) = (slots.stats(), slots.core().lock(0).space.spare / 1024);
    slots.source().fail_after(0);
    let report = slots.compact(u64::MAX);
    slots.check().unwrap();
    let after = slots.stats();
    assert_eq!(after.data_pages, after.block_bytes.div_ceil(4096));
    assert!(report.finished && report.objects > 1900, "{report:?}");
    assert_eq!(report.pages, before.data_pages - after.data_pages);
    // What was spare before is no gain of the pass.
    let gained = after.pages_compacted - before.pages_compacted;
    assert_eq!(gained, report.pages - spare);
}

/// Where the source has no page left a pass ended at the first hole, with pages in its own hands.
#[test]
fn a_pass_backs_holes_with_pages_that_it_has_kept() {
    let source = Windowed::<4096>::source(1100);
    let slots: Slots<_, spin::Mutex<()>, 1> = Slots::new(&source);
    slots.set_inline_moves(0);
    for key in 0..2000 {
        slots.store(key, 0, &[&pattern(key, 2000)]).unwrap();
    }
    // A few objects, whose room is kept, and then holes.
    for key in [0, 2, 4, 6].into_iter().chain(8..200) {
        slots.clear(key).unwrap();
    }
    while source.take(None).is_ok() {}
    let report = slots.compact(u64::MAX);
    assert!(report.finished, "{report:?}");
    let stats = slots.stats();
    assert_eq!(stats.data_pages, stats.block_bytes.div_ceil(4096));
    slots.check().unwrap();
}

/// An object that was stored while a pass went on took as many pages ahead as the pass may keep: up to 1/16 of
/// the arena, under one hold of its lock.
#[test]
fn beside_a_pass_no_page_is_taken_ahead() {
    let slots: Slots<_, spin::Mutex<()>, 1> = Slots::new(Windowed::<4096>::source(4000));
    slots.set_inline_moves(0);
    for key in 0..4000 {
        slots.store(key, 0, &[&pattern(key, 2000)]).unwrap();
    }
    for key in (0..4000).step_by(30) {
        slots.clear(key).unwrap();
    }
    assert_eq!(slots.core().pack_a_piece(0, 1), Step::More);
    let before = slots.pages_used();
    slots.store(4000, 0, &[&pattern(1, 60000)]).unwrap();
    // The object's own, and one for the table at most.
    assert!(slots.pages_used() - before <= 60000 / 4096 + 2);
    slots.check().unwrap();
}

/// While a pass goes on a pool near its limit keeps no page from others.
#[test]
fn near_the_limit_a_pass_keeps_no_page() {
    let slots: Slots<_, spin::Mutex<()>, 1> = Slots::new(region::<4096>(2000));
    slots.set_inline_moves(0);
    for key in 0..2000 {
        slots.store(key, 0, &[&pattern(key, 2000)]).unwrap();
    }
    for key in (0..2000).step_by(30) {
        slots.clear(key).unwrap();
    }
    slots.set_limit_pages(slots.pages_used() + 100);
    while slots.core().pack_a_piece(0, 8) == Step::More {
        assert_eq!(slots.core().lock(0).space.spare, 0);
    }
    slots.check().unwrap();
    let stats = slots.stats();
    assert_eq!(stats.data_pages, stats.block_bytes.div_ceil(4096));
}

/// Near the limit no page is kept from another arena, and what was kept before is given up.
#[test]
fn near_the_limit_no_page_is_spare() {
    let slots: Slots<_> = Slots::new(region::<4096>(2000));
    slots.set_inline_moves(0);
    for key in 0..1000 {
        slots.store(key, 0, &[&pattern(key, 2000)]).unwrap();
    }
    for key in 500..510 {
        slots.clear(key).unwrap();
    }
    let spare = slots.pages_used();
    slots.set_limit_pages(spare + 1);
    assert!(slots.pages_used() < spare);
    slots.check().unwrap();
    let before = slots.pages_used();
    for key in 700..705 {
        slots.clear(key).unwrap();
    }
    assert_eq!(slots.pages_used(), before - 1);
    slots.check().unwrap();
}

#[test]
fn metadata_is_twelve_bytes_and_the_page_table_an_object() {
    let slots: Slots<_> = Slots::new(region::<4096>(9000));
    for key in 0..16384 {
        slots.store(key, 0, &[&[7; 2000]]).unwrap();
    }
    let beside = || {
        let stats = slots.stats();
        stats.used_bytes() + stats.struct_bytes - stats.payload_bytes
    };
    let spare = u64::from(crate::SPARE_PAGES_MAX) * 4096;
    assert!(beside() <= 16384 * 15 + spare, "{} bytes", beside());
    // Spare pages are no metadata.
    slots.compact(u64::MAX);
    let beside = beside();
    assert!(beside <= 16384 * 15, "{} bytes an object", beside / 16384);
}

#[test]
fn the_struct_is_small_enough_for_a_kernel_stack() {
    assert!(size_of::<Slots<crate::RegionSource<4096>>>() <= 4096);
    assert!(size_of::<Pool<crate::RegionSource<4096>>>() <= 4096);
}
