//! Many threads on one pool: what is read is always what somebody wrote, whole.

use super::{Rng, pattern, region};
use crate::{Compactor, MmapSource, Slots};
use std::sync::Arc;
use std::vec::Vec;

#[test]
fn threads_read_whole_objects_while_others_write_free_and_pack() {
    let slots: Arc<Slots<_, spin::Mutex<()>, 4>> = Arc::new(Slots::new(region::<4096>(600)));
    let writers = 3;
    std::thread::scope(|scope| {
        for thread in 0..writers {
            let slots = &slots;
            scope.spawn(move || {
                let mut rng = Rng(thread);
                for _ in 0..8000 {
                    let key = rng.below(64) as u64;
                    match rng.below(8) {
                        0..=3 => {
                            let seed = rng.next();
                            let mut bytes = pattern(seed, 16 + rng.below(3000));
                            bytes[..8].copy_from_slice(&seed.to_le_bytes());
                            slots.store(key, 0, &[&bytes]).unwrap();
                        }
                        4 => {
                            slots.clear(key).unwrap();
                        }
                        5 => {
                            slots.compact(3);
                        }
                        _ => {
                            if let Some(slot) = slots.get(key).unwrap() {
                                let found = slot.fragments().concat();
                                let seed = u64::from_le_bytes(found[..8].try_into().unwrap());
                                assert_eq!(found[8..], pattern(seed, found.len())[8..]);
                            }
                        }
                    }
                }
            });
        }
    });
    slots.check().unwrap();
}

/// Threads that fill the same arena, one of which at a time writes where its object will lie, while others overwrite, free
/// and pack.
#[test]
fn threads_write_into_rooms_beside_others() {
    let slots: Arc<Slots<MmapSource>> = Arc::new(Slots::new(MmapSource::new(1 << 30).unwrap()));
    let compactor = Compactor::spawn(&slots).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let slots = &slots;
            scope.spawn(move || {
                let mut rng = Rng(thread);
                for key in (0..2500).map(|number| number * 3 + thread) {
                    let size = 30 + rng.below(3700);
                    let bytes = pattern(key, size);
                    match slots.reserve(key, 4132) {
                        Some(mut room) => {
                            room.bytes()[..size].copy_from_slice(&bytes);
                            std::thread::yield_now();
                            assert!(room.bytes()[..size] == bytes);
                            room.commit(0, size, |_| {}).unwrap();
                        }
                        None => drop(slots.store(key, 0, &[&bytes]).unwrap()),
                    }
                    if thread == 2 && key > 4000 {
                        slots.clear(key - 3 * rng.below(1000) as u64).unwrap();
                    }
                    let other = rng.below(1 + key as usize) as u64;
                    if let Some(slot) = slots.get(other).unwrap() {
                        let found = slot.fragments().concat();
                        assert!(found == pattern(other, found.len()), "{other}");
                    }
                }
            });
        }
    });
    drop(compactor);
    slots.check().unwrap();
}

/// The pool stayed a third too big until the next free, because objects that went while the thread packed, and freed
/// no page, asked nobody; and where they had asked, what ran was the rest of a pass that had stopped near its end.
#[test]
fn what_is_freed_during_a_pass_is_packed_too() {
    for round in 0..10 {
        let source: MmapSource = MmapSource::new(1 << 30).unwrap();
        let slots: Arc<Slots<MmapSource>> = Arc::new(Slots::new(source));
        let compactor = Compactor::spawn(&slots).unwrap();
        for key in 0..8000 {
            slots.store(key, 0, &[&pattern(key, 1000)]).unwrap();
        }
        for key in (0..8000).step_by(30) {
            slots.clear(key).unwrap();
        }
        while slots.stats().objects_moved == 0 {
            std::thread::yield_now();
        }
        for key in (0..8000).filter(|key| (key + round) % 3 == 0) {
            slots.clear(key).unwrap();
        }
        let start = std::time::Instant::now();
        loop {
            let stats = slots.stats();
            if stats.data_pages * 4096 * 100 <= stats.block_bytes * 105 {
                break;
            }
            // Seconds for milliseconds of work, as the machine may be loaded.
            assert!(start.elapsed().as_secs() < 20, "round {round}: {stats:?}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        drop(compactor);
        slots.check().unwrap();
    }
}

/// Nothing is called but `clear`; the thread does the rest and resident memory follows.
#[test]
fn the_compactor_packs_after_a_burst_of_frees_and_memory_goes_back() {
    let source: MmapSource = MmapSource::new(1 << 30).unwrap();
    let slots: Arc<Slots<MmapSource>> = Arc::new(Slots::new(source));
    let compactor = Compactor::spawn(&slots).unwrap();
    let mut rng = Rng(4);
    let sizes: Vec<usize> = (0..20_000).map(|_| 30 + rng.below(3800)).collect();
    for (key, &size) in sizes.iter().enumerate() {
        slots
            .store(key as u64, 0, &[&pattern(key as u64, size)])
            .unwrap();
    }
    let kept: Vec<u64> = (0..20_000).filter(|_| rng.below(10) >= 3).collect();
    let mut next = kept.iter().copied().peekable();
    for key in 0..20_000 {
        if next.next_if_eq(&key).is_none() {
            slots.clear(key).unwrap();
        }
    }
    let payload: u64 = kept.iter().map(|&key| sizes[key as usize] as u64).sum();
    // The compactor has no deadline; a loaded machine only makes it later.
    while slots.stats().used_bytes() * 100 > payload * 112 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    drop(compactor);
    slots.check().unwrap();
    for &key in &kept {
        let expected = pattern(key, sizes[key as usize]);
        assert_eq!(
            slots.get(key).unwrap().unwrap().fragments().concat(),
            expected
        );
    }
    let used = slots.stats().used_bytes() as usize;
    // Nor has who gives memory back when nothing is going on.
    while slots.source().resident_bytes() > used * 105 / 100 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    for &key in &kept {
        slots.clear(key).unwrap();
    }
    assert_eq!(slots.pages_used(), 0);
    assert_eq!(slots.source().resident_bytes(), 0);
}
