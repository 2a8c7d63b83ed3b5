//! Whatever step of an operation gets no page, pool and slots are as they were.

use super::{Place, Rng, for_places, pattern, region};
use crate::{AllocError, Failing, Limited, Pool, SlotState, Slots};
use std::vec::Vec;

for_places! {
    every_step => every_failing_step_leaves_no_trace;
    objects => sizes_at_the_edges;
}

fn every_failing_step_leaves_no_trace<P: Place>() {
    let slots: Slots<_> = Slots::new(Failing::new(P::source(400)));
    slots.set_inline_moves(0);
    let mut rng = Rng(11);
    let mut sizes = [0usize; 300];
    let mut failures = 0;
    for round in 0..1500 {
        let key = rng.below(sizes.len());
        let size = rng.size();
        if rng.below(3) == 0 {
            slots.clear(key as u64).unwrap();
            sizes[key] = 0;
            continue;
        }
        // Far keys need a leaf and a directory of their own.
        let far = (key as u64) << 14;
        for takes in 0.. {
            slots.source().fail_after(takes);
            let before = (slots.stats(), slots.pages_used());
            let far_first = round % 5 == 0 && slots.store(far, 1, &[b"far"]).is_err();
            match slots.store(key as u64, 0, &[&pattern(size as u64, size)]) {
                Ok(_) => {
                    sizes[key] = size;
                    break;
                }
                Err(error) => {
                    failures += 1;
                    assert_eq!(error, AllocError::OutOfPages);
                    if far_first {
                        let mut after = slots.stats();
                        after.pages_max = before.0.pages_max;
                        assert_eq!((after, slots.pages_used()), before);
                    }
                    slots.check().unwrap();
                    assert_old(&slots, key as u64, sizes[key]);
                }
            }
        }
        slots.source().never_fail();
        slots.clear(far).unwrap();
        if key == 0 {
            sizes[0] = 0;
        }
    }
    assert!(
        failures > 15,
        "only {failures} failures: the test has lost its point"
    );
    for (key, &size) in sizes.iter().enumerate() {
        assert_old(&slots, key as u64, size);
    }
}

fn assert_old<S: crate::PageSource>(slots: &Slots<S>, key: u64, size: usize) {
    match slots.get(key).unwrap() {
        None => assert_eq!(size, 0),
        Some(slot) => assert_eq!(slot.fragments().concat(), pattern(size as u64, size)),
    }
}

fn sizes_at_the_edges<P: Place>() {
    let slots: Slots<_> = Slots::new(P::source(200));
    let max = crate::OBJECT_MAX + crate::TRAILER_MAX;
    for (key, size) in [1, 2, 3, 4, 5, 4091, 4092, 4093, 4096, 65535, 65536, max]
        .into_iter()
        .enumerate()
    {
        slots
            .store(key as u64, 0, &[&pattern(size as u64, size)])
            .unwrap();
        assert_old(&slots, key as u64, size);
        slots.check().unwrap();
    }
    let too_big = std::vec![0; max + 1];
    assert_eq!(
        slots.store(0, 0, &[&too_big]),
        Err(AllocError::BadSize { size: max + 1, max })
    );
    assert_eq!(
        slots.store(0, 0, &[]),
        Err(AllocError::BadSize { size: 0, max })
    );
    assert!(matches!(
        slots.store(u64::MAX, 0, &[b"x"]),
        Err(AllocError::BadKey { .. })
    ));
    assert!(matches!(
        slots.store(0, 4096, &[b"x"]),
        Err(AllocError::BadTag { .. })
    ));
    assert!(matches!(
        slots.set_value(0, u64::MAX),
        Err(AllocError::BadTag { .. })
    ));
    assert_old(&slots, 0, 1);

    let pool: Pool<_> = Pool::new(P::source(100));
    assert!(matches!(pool.alloc(0), Err(AllocError::BadSize { .. })));
    assert!(matches!(pool.alloc(65537), Err(AllocError::BadSize { .. })));
    assert!(matches!(
        pool.alloc(usize::MAX),
        Err(AllocError::BadSize { .. })
    ));
    let handle = pool.alloc(65536).unwrap();
    assert!(pool.write(handle, 65530, b"1234567").is_err());
    assert!(pool.write(handle, usize::MAX, b"1").is_err());
    pool.write(handle, 65530, b"123456").unwrap();
}

#[test]
fn a_pool_that_gets_no_page_is_as_it_was() {
    let pool: Pool<_> = Pool::new(Failing::new(region::<4096>(300)));
    let mut rng = Rng(2);
    let mut live = Vec::new();
    for _ in 0..800 {
        let size = rng.size();
        for takes in 0.. {
            pool.source().fail_after(takes);
            let before = (pool.stats(), pool.pages_used());
            match pool.alloc(size) {
                Ok(handle) => {
                    live.push((handle, size));
                    break;
                }
                Err(error) => {
                    assert_eq!(error, AllocError::OutOfPages);
                    let mut after = pool.stats();
                    after.pages_max = before.0.pages_max;
                    assert_eq!((after, pool.pages_used()), before);
                    pool.check().unwrap();
                }
            }
        }
        pool.source().never_fail();
        while live.len() > 60 {
            pool.free(live.swap_remove(rng.below(live.len())).0)
                .unwrap();
        }
    }
    pool.check().unwrap();
}

#[test]
fn the_limit_is_a_typed_error_and_old_data_stays() {
    let slots: Slots<_> = Slots::new(region::<4096>(100));
    slots.set_limit_pages(10);
    let mut stored = 0;
    let error = loop {
        match slots.store(stored, 0, &[&pattern(stored, 2000)]) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, AllocError::LimitReached { limit_pages: 10 });
    assert!(slots.pages_used() <= 10);
    assert!(stored >= 10);
    for key in 0..stored {
        assert_eq!(
            slots.get(key).unwrap().unwrap().fragments().concat(),
            pattern(key, 2000)
        );
    }
    assert_eq!(slots.state(stored).unwrap(), SlotState::Empty);
    slots.check().unwrap();
    slots.set_limit_pages(11);
    slots.store(stored, 0, &[&pattern(stored, 2000)]).unwrap();
}

#[test]
fn compaction_without_a_spare_page_loses_nothing() {
    let slots: Slots<_> = Slots::new(Limited::new(region::<4096>(100), 40));
    slots.set_inline_moves(0);
    let mut keys = 0;
    while slots
        .store(
            keys,
            0,
            &[&pattern(keys, 700 + (keys as usize * 331) % 3000)],
        )
        .is_ok()
    {
        keys += 1;
    }
    for key in (0..keys).step_by(2) {
        slots.clear(key).unwrap();
    }
    slots.compact(u64::MAX);
    slots.check().unwrap();
    for key in (1..keys).step_by(2) {
        let expected = pattern(key, 700 + (key as usize * 331) % 3000);
        assert_eq!(
            slots.get(key).unwrap().unwrap().fragments().concat(),
            expected
        );
    }
}

/// The pool had spare pages, but too few for the object, and gave them up because the limit was
/// near; then the source had no page, and the pool was not as it was.
#[test]
fn a_request_that_fails_near_the_limit_leaves_the_spare_pages() {
    let slots: Slots<_> = Slots::new(Failing::new(region::<4096>(1000)));
    slots.set_inline_moves(0);
    slots.set_limit_pages(600);
    for key in 0..1000 {
        slots.store(key, 0, &[&pattern(key, 1700)]).unwrap();
    }
    for key in 300..315 {
        slots.clear(key).unwrap();
    }
    let mut spare_seen = false;
    for key in 1000.. {
        slots.source().fail_after(0);
        let mut before = slots.stats();
        spare_seen |= before.data_pages > before.block_bytes.div_ceil(4096) + 1;
        let error = slots.store(key, 0, &[&pattern(key, 50_000)]).unwrap_err();
        before.pages_max = slots.stats().pages_max;
        assert_eq!(slots.stats(), before);
        slots.check().unwrap();
        if error != AllocError::OutOfPages {
            assert_eq!(error, AllocError::LimitReached { limit_pages: 600 });
            break;
        }
        slots.source().never_fail();
        if slots.store(key, 0, &[&pattern(key, 50_000)]).is_err() {
            break;
        }
    }
    assert!(spare_seen, "no spare pages: the test has lost its point");
}

/// The last free block had room for a small object but stood in no list, so the pool backed a
/// page it did not need, and the free block behind the object held that whole page.
#[test]
fn a_free_block_that_no_list_has_is_used_before_a_page_is_taken() {
    let slots: Slots<_> = Slots::new(region::<4096>(64));
    slots.store(0, 0, &[&pattern(1, 65521)]).unwrap();
    let pages = slots.pages_used();
    slots.store(1, 0, &[&[2]]).unwrap();
    assert_eq!(slots.pages_used(), pages);
    slots.check().unwrap();
}

/// Compaction stood at a hole when the block before it was freed; the next object was packed
/// behind that free block and did not know that it follows one.
#[test]
fn packing_goes_on_from_a_block_that_was_freed_before_a_hole() {
    let slots: Slots<_> = Slots::new(region::<16384>(200));
    for (key, size) in [
        (44, 65522),
        (38, 65522),
        (13, 1),
        (6, 65522),
        (38, 37),
        (1, 65536),
        (38, 65522),
        (38, 65523),
        (13, 1),
    ] {
        slots.store(key, 0, &[&pattern(key, size)]).unwrap();
        slots.check().unwrap();
    }
    assert!(
        slots.stats().objects_moved > 0,
        "nothing was packed: the test has lost its point"
    );
}
