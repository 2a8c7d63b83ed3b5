//! Pool and slots beside a plain map, through random operations with compaction in between.

use super::{Place, Rng, for_places, pattern, region};
use crate::compaction::Step;
use crate::{AccessError, Handle, Pool, SlotState, Slots, VALUE_MAX};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec::Vec;

for_places! {
    slots_random => slots_against_a_map;
    pool_random => pool_against_a_map;
    drained => an_emptied_pool_has_no_page;
    packed => compaction_leaves_no_gap;
    packed_in_pieces => anything_may_happen_between_two_pieces_of_a_pass;
    inline => frees_alone_bring_the_pool_to_its_target;
}

#[derive(Clone, PartialEq, Debug)]
enum Content {
    Value(u64),
    Object { seed: u64, size: usize, tag: u16 },
}

struct Checked<P: Place> {
    slots: Slots<P::Source, spin::Mutex<()>, 2>,
    map: BTreeMap<u64, Content>,
}

impl<P: Place> Checked<P> {
    fn new(pages: usize) -> Self {
        Self {
            slots: Slots::new(P::source(pages)),
            map: BTreeMap::new(),
        }
    }

    fn state(content: Option<&Content>) -> SlotState {
        match content {
            None => SlotState::Empty,
            Some(Content::Value(value)) => SlotState::Value(*value),
            Some(&Content::Object { size, tag, .. }) => SlotState::Object { size, tag },
        }
    }

    fn store(&mut self, key: u64, seed: u64, size: usize) {
        let bytes = pattern(seed, size);
        let tag = (seed & 0xfff) as u16;
        let (a, b) = bytes.split_at(size / 3);
        match self.slots.store(key, tag, &[a, b]) {
            Ok(old) => {
                let before = self.map.insert(key, Content::Object { seed, size, tag });
                assert_eq!(old, Self::state(before.as_ref()));
            }
            Err(error) => assert_eq!(error, crate::AllocError::OutOfPages),
        }
    }

    fn clear(&mut self, key: u64) {
        let before = self.map.remove(&key);
        assert_eq!(self.slots.clear(key).unwrap(), Self::state(before.as_ref()));
    }

    fn verify(&self, key: u64) {
        let expected = self.map.get(&key);
        assert_eq!(self.slots.state(key).unwrap(), Self::state(expected));
        let slot = self.slots.get(key).unwrap();
        match expected {
            Some(&Content::Object { seed, size, .. }) => {
                assert_eq!(slot.unwrap().fragments().concat(), pattern(seed, size));
            }
            Some(_) => assert!(slot.unwrap().fragments().is_empty()),
            None => assert!(slot.is_none()),
        }
    }

    fn verify_all(&self) {
        self.slots.check().unwrap();
        for &key in self.map.keys() {
            self.verify(key);
        }
    }
}

fn slots_against_a_map<P: Place>() {
    let mut checked = Checked::<P>::new(400);
    let mut rng = Rng(P::PAGE as u64);
    checked.slots.set_inline_moves(0);
    for step in 0..6000u64 {
        let key = rng.below(700) as u64 * if step % 3 == 0 { 97 } else { 1 };
        match rng.below(12) {
            0..=5 => checked.store(key, rng.next(), rng.size()),
            6..=8 => checked.clear(key),
            9 => {
                let value = rng.next() & VALUE_MAX;
                match checked.slots.set_value(key, value) {
                    Ok(old) => {
                        let before = checked.map.insert(key, Content::Value(value));
                        assert_eq!(old, Checked::<P>::state(before.as_ref()));
                    }
                    Err(error) => assert_eq!(error, crate::AllocError::OutOfPages),
                }
            }
            10 => checked.verify(key),
            _ => {
                checked.slots.set_inline_moves(rng.below(3) as u32);
                checked.slots.compact(rng.below(20) as u64);
            }
        }
        if step % 50 == 0 {
            checked.slots.check().unwrap();
        }
    }
    checked.verify_all();
    assert!(checked.slots.compact(u64::MAX).finished);
    checked.verify_all();
    for key in checked.map.keys().copied().collect::<Vec<_>>() {
        checked.clear(key);
    }
    assert_eq!(checked.slots.pages_used(), 0);
    checked.slots.check().unwrap();
}

fn pool_against_a_map<P: Place>() {
    let pool: Pool<_, spin::Mutex<()>, 2> = Pool::new(P::source(400));
    let mut live: Vec<(Handle, u64, usize)> = Vec::new();
    let mut stale: Vec<Handle> = Vec::new();
    let mut rng = Rng(17);
    for step in 0..5000 {
        match rng.below(10) {
            0..=5 => {
                let (seed, size) = (rng.next(), rng.size());
                if let Ok(handle) = pool.alloc_from(&pattern(seed, size)) {
                    live.push((handle, seed, size));
                }
            }
            6..=8 if !live.is_empty() => {
                let (handle, seed, size) = live.swap_remove(rng.below(live.len()));
                assert_eq!(
                    pool.read(handle).unwrap().fragments().concat(),
                    pattern(seed, size)
                );
                pool.free(handle).unwrap();
                stale.push(handle);
            }
            _ => {
                pool.compact(rng.below(10) as u64);
            }
        }
        if let Some(&handle) = stale.get(rng.below(stale.len().max(1))) {
            assert_eq!(pool.free(handle), Err(AccessError::BadHandle));
            assert_eq!(pool.size(handle), Err(AccessError::BadHandle));
            assert!(pool.read(handle).is_err());
            assert!(pool.write(handle, 0, &[1]).is_err());
        }
        if step % 100 == 0 {
            pool.check().unwrap();
        }
    }
    for (handle, seed, size) in live.drain(..) {
        assert_eq!(pool.size(handle), Ok(size));
        let mut bytes = std::vec![0; size];
        pool.read_into(handle, 0, &mut bytes).unwrap();
        assert_eq!(bytes, pattern(seed, size));
        pool.free(handle).unwrap();
    }
    pool.check().unwrap();
    // Directories keep the generations of handles; nothing else stays.
    assert!(pool.pages_used() <= 2, "{}", pool.pages_used());
}

fn an_emptied_pool_has_no_page<P: Place>() {
    let slots: Slots<_> = Slots::new(P::source(300));
    let mut rng = Rng(3);
    for round in 0..3 {
        for key in 0..300 {
            slots
                .store(key, 0, &[&pattern(key, 1 + rng.below(3000))])
                .unwrap();
        }
        for key in 0..300 {
            let key = if round == 1 {
                299 - key
            } else {
                (key * 7) % 300
            };
            slots.clear(key).unwrap();
        }
        slots.check().unwrap();
        assert_eq!(slots.pages_used(), 0);
    }
}

fn compaction_leaves_no_gap<P: Place>() {
    let slots: Slots<_> = Slots::new(P::source(1200));
    slots.set_inline_moves(0);
    let mut rng = Rng(5);
    let sizes: Vec<usize> = (0..1500).map(|_| 30 + rng.below(P::PAGE / 2)).collect();
    for (key, &size) in sizes.iter().enumerate() {
        slots
            .store(key as u64, 0, &[&pattern(key as u64, size)])
            .unwrap();
    }
    for key in 0..1500 {
        if rng.below(10) < 4 {
            slots.clear(key).unwrap();
        }
    }
    let before = slots.stats();
    let report = slots.compact(u64::MAX);
    assert!(
        report.finished && report.pages > 0 && report.objects > 0,
        "{report:?}"
    );
    slots.check().unwrap();
    let after = slots.stats();
    assert_eq!(before.payload_bytes, after.payload_bytes);
    assert_eq!(after.data_pages, after.block_bytes.div_ceil(P::PAGE as u64));
    for key in 0..1500u64 {
        if let Some(slot) = slots.get(key).unwrap() {
            assert_eq!(slot.fragments().concat(), pattern(key, sizes[key as usize]));
        }
    }
    assert_eq!(slots.compact(u64::MAX).pages, 0);
}

/// A pass keeps the pages between packed and other objects from one piece to the next: they are
/// used, merged with what is freed beside them, and given up for others, and go when it is over.
fn anything_may_happen_between_two_pieces_of_a_pass<P: Place>() {
    let mut checked = Checked::<P>::new(700);
    let mut rng = Rng(8 + P::PAGE as u64);
    checked.slots.set_inline_moves(0);
    let objects = 500 * P::PAGE as u64 / 2000;
    for key in 0..objects {
        checked.store(key, rng.next(), 30 + rng.below(3700));
    }
    let (mut kept_most, mut ended) = (0, 0);
    for step in 0..4000u32 {
        let key = rng.next() % objects;
        match rng.below(16) {
            // Phases of growing and of shrinking.
            0..=3 if (step / 500) % 2 == 0 => checked.store(key, rng.next(), rng.size()),
            0..=1 => checked.store(key, rng.next(), 30 + rng.below(3700)),
            2..=3 => checked.clear(key),
            4 => checked.verify(key),
            5 if step % 20 == 0 => {
                checked.slots.set_inline_moves(1);
                checked.clear(key);
                checked.slots.set_inline_moves(0);
            }
            6 if step % 50 == 0 => drop(checked.slots.compact(10)),
            _ => {
                let core = checked.slots.core();
                let arena = rng.below(2);
                // Bigger pages have more objects to go over.
                let piece = 1 + rng.below(12 * P::PAGE / 4096) as u32;
                if core.pack_a_piece(arena, piece) == Step::Done {
                    ended += 1;
                    assert_eq!(core.lock(arena).space.spare, 0, "kept after the end");
                }
                let page = P::PAGE as u64 / 4;
                kept_most = kept_most.max(core.lock(arena).space.spare / page);
            }
        }
        // The checker goes over everything there is.
        if (step as usize).is_multiple_of(P::PAGE / 256) {
            checked.slots.check().unwrap();
        }
    }
    // Bigger pages are seldom whole in gaps as small as here.
    assert!(
        P::PAGE > 4096 || kept_most > u64::from(crate::SPARE_PAGES_MAX),
        "{kept_most} pages kept"
    );
    assert!(ended > 2, "{ended} passes");
    checked.verify_all();
    assert!(checked.slots.compact(u64::MAX).finished);
    checked.verify_all();
    let stats = checked.slots.stats();
    assert!(stats.data_pages <= stats.block_bytes.div_ceil(P::PAGE as u64) + 1);
}

/// Nothing is called but `clear`; the pool packs itself while it is freed from.
fn frees_alone_bring_the_pool_to_its_target<P: Place>() {
    let slots: Slots<_> = Slots::new(P::source(1200));
    let mut rng = Rng(6);
    for key in 0..1800 {
        slots
            .store(key, 0, &[&pattern(key, 30 + rng.below(P::PAGE / 2))])
            .unwrap();
    }
    for key in 0..1800 {
        if rng.below(10) < 5 {
            slots.clear(key).unwrap();
        }
    }
    slots.check().unwrap();
    let stats = slots.stats();
    assert!(
        stats.data_pages * P::PAGE as u64 * 100 < stats.block_bytes * 130,
        "{stats:?}"
    );
}

#[test]
fn a_held_object_is_packed_around() {
    let slots: Slots<_> = Slots::new(region::<4096>(200));
    slots.set_inline_moves(0);
    for key in 0..100 {
        slots.store(key, 0, &[&pattern(key, 1500)]).unwrap();
    }
    for key in (0..100).filter(|key| key % 3 != 0) {
        slots.clear(key).unwrap();
    }
    let held = slots.get(51).unwrap().unwrap();
    let pieces: Vec<*const u8> = held
        .fragments()
        .iter()
        .map(|piece| piece.as_ptr())
        .collect();
    slots.compact(u64::MAX);
    assert_eq!(
        pieces,
        held.fragments()
            .iter()
            .map(|piece| piece.as_ptr())
            .collect::<Vec<_>>()
    );
    assert_eq!(held.fragments().concat(), pattern(51, 1500));
    drop(held);
    slots.check().unwrap();
    slots.compact(u64::MAX);
    slots.check().unwrap();
    let stats = slots.stats();
    assert_eq!(stats.data_pages, stats.block_bytes.div_ceil(4096));
    for key in (0..100).step_by(3) {
        assert_eq!(
            slots.get(key).unwrap().unwrap().fragments().concat(),
            pattern(key, 1500)
        );
    }
}

#[test]
fn a_locked_empty_slot_is_the_holders_alone() {
    let slots: Slots<_> = Slots::new(region::<4096>(20));
    {
        let mut slot = slots.lock(9).unwrap();
        assert_eq!(slot.state(), SlotState::Empty);
        slot.store(5, &[b"abc"]).unwrap();
        assert_eq!(slot.fragments().concat(), b"abc");
        slot.set_value(77).unwrap();
        assert_eq!(slot.state(), SlotState::Value(77));
        slot.store(6, &[b"de", b"f"]).unwrap();
    }
    slots.check().unwrap();
    assert_eq!(
        slots.state(9).unwrap(),
        SlotState::Object { size: 3, tag: 6 }
    );
    slots.lock(9).unwrap().clear();
    drop(slots.lock(10).unwrap());
    assert_eq!(slots.pages_used(), 0);
    slots.check().unwrap();
}

#[test]
fn what_is_not_filled_in_reads_as_zeroes() {
    let slots: Slots<_> = Slots::new(region::<4096>(40));
    // What must not be seen again, in every page that will be used.
    for key in 0..8 {
        slots.store(key, 0, &[&[0xa5; 4000]]).unwrap();
    }
    (0..8).for_each(|key| assert!(slots.clear(key).unwrap() != SlotState::Empty));
    for size in [1, 5, 100, 4096, 9000] {
        for written in [0, 1, size / 2, size, size + 7] {
            let bytes = pattern(size as u64, written);
            let (front, back) = bytes.split_at(written / 3);
            let old = slots.store_with(3, 9, size, |old, filling| {
                assert!(matches!(
                    old,
                    SlotState::Empty | SlotState::Object { tag: 9, .. }
                ));
                filling.write(front);
                filling.write(back);
                filling.write(&[]);
            });
            assert!(old.is_ok());
            let mut wanted = bytes;
            wanted.resize(size, 0);
            assert_eq!(slots.get(3).unwrap().unwrap().fragments().concat(), wanted);
            slots.check().unwrap();
        }
    }
}

#[test]
fn fragments_lose_their_first_bytes() {
    let slots: Slots<_> = Slots::new(region::<4096>(40));
    let bytes = pattern(1, 20000);
    slots.store(0, 0, &[&bytes]).unwrap();
    let slot = slots.get(0).unwrap().unwrap();
    for skip in [0, 1, 4, 4091, 4092, 8188, 8189, 19999, 20000] {
        let mut fragments = slot.fragments();
        fragments.skip(skip);
        assert_eq!(fragments.concat(), bytes[skip..]);
        assert!(fragments.iter().all(|fragment| !fragment.is_empty()));
    }
    let mut out = [0; 100];
    assert_eq!(slot.fragments().copy_to(19950, &mut out), 50);
    assert_eq!(out[..50], bytes[19950..]);
}

#[test]
fn a_handle_of_another_pool_is_refused() {
    let (a, b): (Pool<_>, Pool<_>) = (Pool::new(region::<4096>(10)), Pool::new(region::<4096>(10)));
    let handle = a.alloc(10).unwrap();
    assert_eq!(b.size(handle), Err(AccessError::BadHandle));
    b.alloc(10).unwrap();
    assert_eq!(b.free(handle), Err(AccessError::BadHandle));
    assert_eq!(Handle::from_bits(0), None);
    assert_eq!(Handle::from_bits(handle.to_bits()), Some(handle));
}

#[test]
fn forged_handles_are_refused() {
    let pool: Pool<_> = Pool::new(region::<4096>(10));
    let handle = pool.alloc_from(b"mine").unwrap();
    for bit in 0..64 {
        if let Some(forged) = Handle::from_bits(handle.to_bits() ^ (1 << bit)) {
            assert_eq!(pool.free(forged), Err(AccessError::BadHandle), "bit {bit}");
        }
    }
    let mut rng = Rng(1);
    for _ in 0..10_000 {
        if let Some(forged) = Handle::from_bits(rng.next()) {
            assert!(pool.read(forged).is_err());
        }
    }
    assert_eq!(pool.read(handle).unwrap().fragments().concat(), b"mine");
}

/// An entry that is used over and over must not come back to a generation it had: with twelve
/// bits of generation, reuse number 4096 would make the first handle valid again.
#[test]
fn a_stale_handle_stays_stale_through_all_generations() {
    let pool: Pool<_> = Pool::new(region::<4096>(40));
    let keep = pool.alloc(1).unwrap();
    let mut handles = std::collections::BTreeSet::new();
    for _ in 0..20_000 {
        let handle = pool.alloc(64).unwrap();
        assert!(
            handles.insert(handle.to_bits()),
            "handle {handle:?} was given out twice"
        );
        pool.free(handle).unwrap();
    }
    // The same with leaves that are given back and made again.
    pool.free(keep).unwrap();
    for _ in 0..20_000 {
        let handle = pool.alloc(64).unwrap();
        assert!(
            handles.insert(handle.to_bits()),
            "handle {handle:?} was given out twice"
        );
        pool.free(handle).unwrap();
    }
    pool.check().unwrap();
}

/// Bytes of a freed object must not show in the next one.
#[test]
fn new_objects_are_clear_of_old_bytes() {
    let pool: Pool<_> = Pool::new(region::<4096>(64));
    let mut rng = Rng(8);
    let mut live = Vec::new();
    for _ in 0..3000 {
        if rng.below(2) == 0 && live.len() < 40 {
            let handle = pool.alloc(1 + rng.below(5000)).unwrap();
            let reading = pool.read(handle).unwrap();
            assert!(
                reading
                    .fragments()
                    .iter()
                    .all(|piece| piece.iter().all(|&byte| byte == 0))
            );
            let size = reading.size();
            drop(reading);
            pool.write(handle, 0, &std::vec![0xa5; size]).unwrap();
            live.push(handle);
        } else if !live.is_empty() {
            pool.free(live.swap_remove(rng.below(live.len()))).unwrap();
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Store(u64, usize),
    Clear(u64),
    Compact(u64),
    Fail(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..60u64, 1..9000usize).prop_map(|(key, size)| Op::Store(key, size)),
        4 => (0..60u64).prop_map(Op::Clear),
        1 => (0..30u64).prop_map(Op::Compact),
        1 => (0..4usize).prop_map(Op::Fail),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Any sequence of operations, with pages that run out at any moment.
    #[test]
    fn slots_under_any_sequence(ops in proptest::collection::vec(op(), 1..200)) {
        let slots: Slots<_> = Slots::new(crate::Failing::new(region::<4096>(200)));
        let mut map = BTreeMap::new();
        for (seed, op) in ops.into_iter().enumerate() {
            match op {
                Op::Store(key, size) => {
                    if slots.store(key, 0, &[&pattern(seed as u64, size)]).is_ok() {
                        map.insert(key, (seed as u64, size));
                    }
                }
                Op::Clear(key) => {
                    slots.clear(key).unwrap();
                    map.remove(&key);
                }
                Op::Compact(objects) => drop(slots.compact(objects)),
                Op::Fail(3) => slots.source().never_fail(),
                Op::Fail(takes) => slots.source().fail_after(takes),
            }
            prop_assert_eq!(slots.check(), Ok(()));
        }
        for (key, (seed, size)) in map {
            let slot = slots.get(key).unwrap().expect("in the map");
            prop_assert_eq!(slot.fragments().concat(), pattern(seed, size));
        }
    }
}
