//! Tags and values that change in passing: by who holds a slot, and by who looks through a leaf.

use super::{Rng, region};
use crate::{SlotState, Slots, TAG_MAX, Touch, VALUE_MAX};
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

fn content(slots: &Slots<crate::RegionSource<4096>>, key: u64) -> Vec<u8> {
    let slot = slots.get(key).unwrap().expect("stored");
    slot.fragments().concat()
}

#[test]
fn who_holds_a_slot_changes_its_tag_and_nothing_else() {
    let slots: Slots<_> = Slots::new(region::<4096>(64));
    slots.store(3, 7, &[b"some bytes"]).unwrap();
    let mut slot = slots.get(3).unwrap().unwrap();
    slot.set_tag(TAG_MAX).unwrap();
    assert!(slot.set_tag(TAG_MAX + 1).is_err());
    drop(slot);
    let size = b"some bytes".len();
    assert_eq!(
        slots.state(3).unwrap(),
        SlotState::Object { size, tag: TAG_MAX }
    );
    assert_eq!(content(&slots, 3), b"some bytes");
    slots.set_value(4, 9).unwrap();
    let mut slot = slots.get(4).unwrap().unwrap();
    assert!(slot.set_tag(1).is_err(), "a value has no tag");
    slot.set_value(VALUE_MAX).unwrap();
    drop(slot);
    assert_eq!(slots.state(4).unwrap(), SlotState::Value(VALUE_MAX));
    slots.check().unwrap();
}

#[test]
fn a_visit_sees_what_a_map_would() {
    let slots: Slots<_, spin::Mutex<()>, 4> = Slots::new(region::<4096>(4000));
    let mut model = BTreeMap::new();
    let mut rng = Rng(7);
    const KEYS: u64 = 100_000;
    for _ in 0..3000 {
        let key = rng.next() % KEYS;
        match rng.below(4) {
            0 => {
                slots.set_value(key, key * 3).unwrap();
                model.insert(key, SlotState::Value(key * 3));
            }
            1 => {
                slots.clear(key).unwrap();
                model.remove(&key);
            }
            _ => {
                let size = 1 + rng.below(300);
                let tag = rng.below(4000) as u16;
                slots.store(key, tag, &[&vec![key as u8; size]]).unwrap();
                model.insert(key, SlotState::Object { size, tag });
            }
        }
    }
    let from = 777;
    let mut key = from;
    let mut seen = BTreeMap::new();
    while key < KEYS {
        let next = slots
            .visit_leaf(key, KEYS, |at, state| {
                assert!(seen.insert(at, state).is_none(), "shown twice");
                match state {
                    SlotState::Object { tag, .. } => Touch::Tag(tag ^ 1),
                    SlotState::Value(value) => Touch::Value(value + 1),
                    SlotState::Empty => panic!("shown though empty"),
                }
            })
            .unwrap();
        assert!(next > key && next - key <= 512);
        key = next;
    }
    assert_eq!(key, KEYS);
    let mut expected = model.clone();
    expected.retain(|&key, _| key >= from);
    assert_eq!(seen, expected);
    for (key, state) in model.range(from..) {
        let now = match *state {
            SlotState::Object { size, tag } => SlotState::Object { size, tag: tag ^ 1 },
            SlotState::Value(value) => SlotState::Value(value + 1),
            SlotState::Empty => SlotState::Empty,
        };
        assert_eq!(slots.state(*key).unwrap(), now);
    }
    slots.check().unwrap();
}

#[test]
fn a_visit_leaves_out_what_somebody_holds_and_what_makes_no_sense() {
    let slots: Slots<_> = Slots::new(region::<4096>(64));
    slots.store(0, 5, &[b"held"]).unwrap();
    slots.store(1, 5, &[b"free"]).unwrap();
    slots.set_value(2, 5).unwrap();
    let held = slots.get(0).unwrap().unwrap();
    let mut seen = vec![];
    let next = slots
        .visit_leaf(0, 3, |key, state| {
            seen.push(key);
            match state {
                SlotState::Value(_) => Touch::Tag(6),
                _ => Touch::Value(6),
            }
        })
        .unwrap();
    assert_eq!((next, seen), (3, vec![1, 2]));
    drop(held);
    assert_eq!(
        slots.state(1).unwrap(),
        SlotState::Object { size: 4, tag: 5 }
    );
    assert_eq!(slots.state(2).unwrap(), SlotState::Value(5));
    // Where no leaf is, nothing is shown and nothing taken.
    let before = slots.pages_used();
    assert_eq!(slots.visit_leaf(5000, 9000, |_, _| panic!()).unwrap(), 5120);
    assert_eq!(slots.pages_used(), before);
    assert!(
        slots
            .visit_leaf(Slots::<crate::RegionSource<4096>>::keys(), 0, |_, _| {
                Touch::Keep
            })
            .is_err()
    );
}

#[test]
fn a_visit_stops_where_it_is_told_and_goes_on_behind() {
    let slots: Slots<_> = Slots::new(region::<4096>(64));
    for key in [3, 4, 100, 511, 512] {
        slots.set_value(key, key).unwrap();
    }
    let (mut key, mut seen, mut visits) = (0, vec![], 0);
    while key < 600 {
        key = slots
            .visit_leaf(key, 600, |at, _| {
                seen.push(at);
                Touch::Stop
            })
            .unwrap();
        visits += 1;
    }
    assert_eq!(seen, [3, 4, 100, 511, 512]);
    // One for each, the rest of the second leaf; the first ends with its last slot.
    assert_eq!((key, visits), (600, 6));
    slots.check().unwrap();
}
