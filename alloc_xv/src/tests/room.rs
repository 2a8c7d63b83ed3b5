//! Room that is written before its size is known, beside everything else that may happen meanwhile.

use super::{Place, Rng, Windowed, for_places, pattern};
use crate::{AllocError, BLOCKS_TOUCHED_MAX, MmapSource, PageSource, Room, SlotState, Slots};
use std::collections::BTreeMap;
use std::vec::Vec;

for_places! {
    rooms => rooms_beside_everything_else;
}

type Lock = spin::Mutex<()>;

/// A room that is being written: its key, and what is written.
struct Writing<'s, P: Place> {
    room: Room<'s, P::Source, Lock, 2>,
    key: u64,
    seed: u64,
}

/// Objects are stored, freed and packed while a room is open; then it is committed, or dropped.
fn rooms_beside_everything_else<P: Place>() {
    let slots: Slots<_, Lock, 2> = Slots::new(P::source(900));
    let mut map: BTreeMap<u64, (u64, usize)> = BTreeMap::new();
    let mut open: Vec<Writing<'_, P>> = Vec::new();
    let mut rng = Rng(P::PAGE as u64);
    let (mut committed, mut beside) = (0, 0);
    slots.set_inline_moves(0);
    for step in 0..12_000u64 {
        let key = rng.below(1200) as u64;
        // Phases in which the pool only grows, and others.
        let growing = (step / 400).is_multiple_of(3);
        if step % 1200 == 0 {
            for Writing { room, .. } in open.drain(..) {
                drop(room);
            }
            for key in core::mem::take(&mut map).into_keys() {
                slots.clear(key).unwrap();
            }
            slots.check().unwrap();
            assert_eq!(slots.pages_used(), 0);
        }
        match rng.below(12) {
            0..=3 => {
                let most = rng.size();
                if let Some(mut room) = slots.reserve(key, most) {
                    let seed = rng.next();
                    assert_eq!(room.bytes().len(), most);
                    room.bytes().copy_from_slice(&pattern(seed, most));
                    open.push(Writing { room, key, seed });
                }
            }
            4..=6 if !open.is_empty() => {
                let Writing {
                    mut room,
                    key,
                    seed,
                } = open.swap_remove(rng.below(open.len()));
                let most = room.bytes().len();
                let size = 1 + rng.below(most);
                if rng.below(6) == 0 {
                    continue;
                }
                assert!(room.bytes() == pattern(seed, most), "written by others");
                let before = map.insert(key, (seed, size));
                let expected = match before {
                    Some((_, size)) => SlotState::Object { size, tag: 7 },
                    None => SlotState::Empty,
                };
                let mut seen = None;
                assert_eq!(
                    room.commit(7, size, |old| seen = Some(old)),
                    Ok(expected),
                    "{key}"
                );
                assert_eq!(seen, Some(expected));
                committed += 1;
            }
            7..=8 => {
                let (seed, size) = (rng.next(), rng.size());
                if slots.store(key, 7, &[&pattern(seed, size)]).is_ok() {
                    map.insert(key, (seed, size));
                    beside += u32::from(!open.is_empty());
                }
            }
            9 if !growing => {
                slots.clear(key).unwrap();
                map.remove(&key);
            }
            10 if !growing => drop(slots.compact(rng.below(30) as u64)),
            _ => {
                let slot = slots.get(key).unwrap();
                assert_eq!(slot.is_some(), map.contains_key(&key));
                if let (Some(slot), Some(&(seed, size))) = (slot, map.get(&key)) {
                    assert_eq!(slot.fragments().concat(), pattern(seed, size));
                }
            }
        }
        if step.is_multiple_of(1 + P::PAGE as u64 / 512) {
            slots.check().unwrap();
        }
    }
    open.clear();
    slots.check().unwrap();
    for (&key, &(seed, size)) in &map {
        let slot = slots.get(key).unwrap().unwrap();
        assert_eq!(slot.fragments().concat(), pattern(seed, size));
    }
    if P::Source::WINDOWS && P::PAGE == 4096 {
        assert!(committed > 100 && beside > 60, "{committed} {beside}");
    }
}

/// A pool of pages of about 4 KiB that is filled through rooms, as a cache fills it.
fn filled(direct: bool, objects: u64) -> (Slots<MmapSource, Lock, 1>, u64) {
    let slots: Slots<_, Lock, 1> = Slots::new(Windowed::<4096>::source(16_000));
    let mut rng = Rng(11);
    let mut through_rooms = 0;
    for key in 0..objects {
        let bytes = pattern(key, 30 + rng.below(3700));
        match slots.reserve(key, 4132).filter(|_| direct) {
            Some(mut room) => {
                room.bytes()[..bytes.len()].copy_from_slice(&bytes);
                room.commit(1, bytes.len(), |_| {}).unwrap();
                through_rooms += 1;
            }
            None => drop(slots.store(key, 1, &[&bytes]).unwrap()),
        }
    }
    slots.check().unwrap();
    (slots, through_rooms)
}

/// Room for the most that an object may be is no more memory than the object.
#[test]
fn a_pool_that_is_filled_through_rooms_takes_no_more_pages() {
    for objects in [1000, 4000, 16_000] {
        let (direct, through_rooms) = filled(true, objects);
        assert!(
            through_rooms * 10 > objects * 9,
            "{through_rooms} of {objects}"
        );
        let pages = [direct, filled(false, objects).0].map(|slots| slots.pages_used());
        assert!(pages[0].abs_diff(pages[1]) <= 8, "{objects}: {pages:?}");
    }
}

/// A room that is not committed leaves nothing, whether its block was settled or not.
#[test]
fn a_room_that_is_dropped_leaves_the_pool_as_it_was() {
    let (slots, _) = filled(false, 3000);
    let before = slots.stats();
    drop(slots.reserve(1, 4000).unwrap());
    assert_eq!(slots.stats(), before);
    slots.check().unwrap();
    // Once packed there is no page to spare, and one is taken for it.
    slots.compact(u64::MAX);
    drop(slots.reserve(1, 4000).unwrap());
    slots.check().unwrap();
    let room = slots.reserve(1, 4000).unwrap();
    // Only one thread writes.
    assert!(slots.reserve(2, 4000).is_none());
    slots.clear(5).unwrap();
    slots.check().unwrap();
    drop(room);
    slots.check().unwrap();
    assert_eq!(
        slots.stats().payload_bytes,
        before.payload_bytes - slot_size(5)
    );
}

/// The size of an object of `filled`.
fn slot_size(key: u64) -> u64 {
    let mut rng = Rng(11);
    (0..=key)
        .map(|_| 30 + rng.below(3700) as u64)
        .last()
        .unwrap()
}

/// Where the slot's table has no page and there is none, commit says so, and nothing has changed.
#[test]
fn a_commit_that_finds_no_page_changes_nothing() {
    let far = 8000;
    for settled in [false, true] {
        let (slots, _) = filled(false, 3000);
        let room = slots.reserve(far, 4000).unwrap();
        if settled {
            slots.clear(7).unwrap();
        }
        let before = slots.stats();
        slots.set_limit_pages(slots.pages_used());
        let error = room.commit(1, 100, |_| panic!("nothing was stored"));
        assert!(
            matches!(error, Err(AllocError::LimitReached { .. })),
            "{error:?}"
        );
        slots.set_limit_pages(usize::MAX);
        slots.check().unwrap();
        assert_eq!(slots.state(far).unwrap(), SlotState::Empty);
        assert_eq!(slots.stats().payload_bytes, before.payload_bytes);
    }
}

/// More bytes than there is room for, or none, are an error, and the room is given back.
#[test]
fn a_size_that_does_not_fit_is_refused() {
    let (slots, _) = filled(false, 3000);
    for size in [0, 4001, usize::MAX] {
        let room = slots.reserve(3, 4000).unwrap();
        let refused = room.commit(1, size, |_| panic!("nothing was stored"));
        assert!(matches!(refused, Err(AllocError::BadSize { .. })));
        slots.check().unwrap();
    }
    assert!(slots.reserve(u64::MAX, 100).is_none());
    assert!(slots.reserve(3, 0).is_none());
    assert!(slots.reserve(3, usize::MAX).is_none());
}

/// Neither taking room nor committing it touches more blocks than the published constant.
#[test]
fn room_touches_a_bounded_number_of_blocks() {
    let (slots, _) = filled(false, 3000);
    let mut worst = 0;
    let touched = || slots.core().lock(0).space.touched.replace(0);
    for key in 3000..6000 {
        touched();
        let room = slots.reserve(key, 4132);
        worst = worst.max(touched());
        if key % 7 == 0 {
            slots.store(key - 1000, 1, &[&[2; 900]]).unwrap();
            touched();
        }
        match room {
            Some(room) => drop(room.commit(1, 700 + key as usize % 2000, |_| {}).unwrap()),
            None => drop(slots.store(key, 1, &[&[3; 500]]).unwrap()),
        }
        worst = worst.max(touched());
    }
    slots.check().unwrap();
    assert!(worst <= BLOCKS_TOUCHED_MAX, "{worst} blocks touched");
}
