//! Keyed slots beside a plain map: objects and values come and go, slots are held and rooms are written
//! meanwhile, pages run out, the limit moves, the space is packed.
#![no_main]

mod model_common;

use alloc_xv::{
    Compact, Counting, Failing, OBJECT_MAX, PageSource, Room, Slot, SlotState, Slots, Stats,
    TAG_MAX, VALUE_MAX,
};
use libfuzzer_sys::fuzz_target;
use model_common::{
    Counted, Input, OPS_MAX, Regions, Source, is_no_memory, pattern, without_pages_max,
};
use std::collections::BTreeMap;

const ARENAS: usize = 2;
const HELD_MAX: usize = 3;
/// Bytes of the block that a room may have.
const ROOM_BYTES_MAX: u64 = OBJECT_MAX as u64 + 16;

type Store<'s, P> = Slots<Source<'s, P>, spin::Mutex<()>, ARENAS>;
type Held<'c, 's, P> = Slot<'c, Source<'s, P>, spin::Mutex<()>, ARENAS>;

/// A room that is being written, with what, and the key it is for.
struct Writing<'c, 's, P: PageSource + 'static> {
    room: Room<'c, Source<'s, P>, spin::Mutex<()>, ARENAS>,
    key: u64,
    seed: u64,
}

impl<'c, 's, P: PageSource + 'static> Writing<'c, 's, P> {
    fn begin(slots: &'c Store<'s, P>, key: u64, most: usize, seed: u64) -> Option<Self> {
        let mut room = slots.reserve(key, most)?;
        room.bytes().copy_from_slice(&pattern(seed, most));
        Some(Self { room, key, seed })
    }

    fn end(mut self, slots: &Store<'_, P>, map: &mut Map, size: usize) {
        let bytes = room_bytes(&mut self.room);
        assert!(
            bytes == pattern(self.seed, bytes.len()),
            "written by others"
        );
        let size = size.min(bytes.len());
        let tag = self.seed as u16 & TAG_MAX;
        let before = slots.stats().payload_bytes;
        match self.room.commit(tag, size, |_| {}) {
            Ok(old) => {
                assert_eq!(old, state(map.get(&self.key)));
                map.insert(self.key, Content::object(self.seed, size));
            }
            Err(error) => {
                assert!(is_no_memory(error), "{error}");
                assert_eq!(slots.stats().payload_bytes, before);
            }
        }
    }
}

fn room_bytes<'r, P: PageSource + 'static>(
    room: &'r mut Room<'_, Source<'_, P>, spin::Mutex<()>, ARENAS>,
) -> &'r [u8] {
    room.bytes()
}

#[derive(Clone, Copy)]
enum Content {
    Value(u64),
    Object { seed: u64, size: usize, tag: u16 },
}

impl Content {
    fn object(seed: u64, size: usize) -> Self {
        let tag = seed as u16 & TAG_MAX;
        Self::Object { seed, size, tag }
    }
}

type Map = BTreeMap<u64, Content>;

fn state(content: Option<&Content>) -> SlotState {
    match content {
        None => SlotState::Empty,
        Some(&Content::Value(value)) => SlotState::Value(value),
        Some(&Content::Object { size, tag, .. }) => SlotState::Object { size, tag },
    }
}

fn verify_held<P: PageSource>(slot: &Held<'_, '_, P>, content: Option<&Content>) {
    assert_eq!(slot.state(), state(content));
    match content {
        Some(&Content::Object { seed, size, .. }) => {
            assert!(slot.fragments().concat() == pattern(seed, size));
        }
        _ => assert!(slot.fragments().is_empty()),
    }
}

fn verify<P: PageSource>(slots: &Store<'_, P>, map: &Map, key: u64) {
    let content = map.get(&key);
    assert_eq!(slots.state(key), Ok(state(content)));
    match slots.get(key).unwrap() {
        Some(slot) => verify_held(&slot, content),
        None => assert!(content.is_none()),
    }
}

/// `writing` rooms may have a block each.
fn verify_stats<P: PageSource>(slots: &Store<'_, P>, map: &Map, writing: usize) {
    let sizes = map.values().filter_map(|content| match content {
        Content::Object { size, .. } => Some(*size as u64),
        Content::Value(_) => None,
    });
    let stats = slots.stats();
    assert_eq!(stats.objects, sizes.clone().count() as u64);
    assert_eq!(stats.payload_bytes, sizes.sum::<u64>());
    assert!(stats.block_bytes >= stats.payload_bytes + 4 * stats.objects);
    let rooms = writing as u64 * ROOM_BYTES_MAX;
    assert!(stats.block_bytes <= stats.payload_bytes + 16 * stats.objects + rooms);
    assert_eq!(
        stats.used_bytes(),
        (slots.pages_used() * P::PAGE_SIZE) as u64
    );
}

/// A call that failed left everything as it was. While rooms are being written it may have made what is
/// written a block, which is counted then: no page and no object changes.
fn verify_kept(mut after: Stats, before: Stats, writing: usize) {
    let settled = after.block_bytes.checked_sub(before.block_bytes);
    assert!(settled.is_some_and(|bytes| bytes <= writing as u64 * ROOM_BYTES_MAX));
    after.block_bytes = before.block_bytes;
    assert_eq!(without_pages_max(after), without_pages_max(before));
}

fn store<P: PageSource>(
    slots: &Store<'_, P>,
    map: &mut Map,
    key: u64,
    new: Content,
    writing: usize,
) {
    let before = slots.stats();
    let result = match new {
        Content::Value(value) => slots.set_value(key, value),
        Content::Object { seed, size, tag } => {
            let bytes = pattern(seed, size);
            let (front, back) = bytes.split_at(size / 3);
            slots.store(key, tag, &[front, back])
        }
    };
    match result {
        Ok(old) => {
            assert_eq!(old, state(map.get(&key)));
            map.insert(key, new);
        }
        Err(error) => {
            assert!(is_no_memory(error), "{error}");
            verify_kept(slots.stats(), before, writing);
        }
    }
}

/// Changes a slot through the one that is held.
fn change_held<P: PageSource>(
    slot: &mut Held<'_, '_, P>,
    map: &mut Map,
    key: u64,
    input: &mut Input<'_>,
    seed: u64,
) {
    match input.byte() % 4 {
        0 => {}
        1 => {
            slot.clear();
            map.remove(&key);
        }
        2 => {
            let value = input.number() & VALUE_MAX;
            slot.set_value(value).unwrap();
            map.insert(key, Content::Value(value));
        }
        _ => {
            let new = Content::object(seed, input.size());
            if let Content::Object { seed, size, tag } = new {
                match slot.store(tag, &[&pattern(seed, size)]) {
                    Ok(()) => drop(map.insert(key, new)),
                    Err(error) => assert!(is_no_memory(error), "{error}"),
                }
            }
        }
    }
    verify_held(slot, map.get(&key));
}

fn run<P: PageSource + 'static>(pages: &'static P, mut input: Input<'_>) {
    let frames: Counted<P> = Counting::new(pages);
    let slots: Store<'_, P> = Slots::new(Failing::new(&frames));
    let mut map = Map::new();
    let mut held: Vec<(u64, Held<'_, '_, P>)> = Vec::new();
    let mut writing: Vec<Writing<'_, '_, P>> = Vec::new();
    for seed in 0..OPS_MAX as u64 {
        if input.is_empty() {
            break;
        }
        let op = input.byte() % 32;
        let key = input.key();
        // A thread that touches a slot it holds waits for ever.
        if let Some(place) = held.iter().position(|(other, _)| *other == key) {
            let (key, mut slot) = held.swap_remove(place);
            verify_held(&slot, map.get(&key));
            if op % 2 == 0 {
                change_held(&mut slot, &mut map, key, &mut input, seed);
            }
            continue;
        }
        match op {
            0..=9 => {
                let new = Content::object(seed, input.size());
                store(&slots, &mut map, key, new, writing.len());
            }
            10 => {
                let value = input.number() & VALUE_MAX;
                store(&slots, &mut map, key, Content::Value(value), writing.len());
            }
            11 => writing.extend(Writing::begin(&slots, key, input.size(), seed)),
            12 => {
                if let Some(write) = writing.pop()
                    && !held.iter().any(|(other, _)| *other == write.key)
                {
                    write.end(&slots, &mut map, input.size());
                }
            }
            13..=18 => {
                let old = map.remove(&key);
                assert_eq!(slots.clear(key), Ok(state(old.as_ref())));
            }
            19 => verify(&slots, &map, key),
            20 | 21 => match slots.lock(key) {
                Ok(mut slot) => {
                    verify_held(&slot, map.get(&key));
                    change_held(&mut slot, &mut map, key, &mut input, seed);
                    if op == 20 && held.len() < HELD_MAX {
                        held.push((key, slot));
                    }
                }
                Err(error) => assert!(is_no_memory(error), "{error}"),
            },
            22 => {
                if let Some(slot) = slots.get(key).unwrap()
                    && held.len() < HELD_MAX
                {
                    held.push((key, slot));
                }
            }
            23 | 24 => {
                slots.compact(u64::from(input.byte()));
            }
            25 => match input.byte() % 5 {
                // The thread never comes, so that allocations pack.
                4 => slots.attach(Some(std::thread::current())),
                moves => slots.set_inline_moves(u32::from(moves)),
            },
            26 => slots.source().fail_after(usize::from(input.byte() % 8)),
            27 => slots.source().never_fail(),
            28 => slots.set_limit_pages(usize::from(input.byte())),
            29 => slots.set_limit_pages(usize::MAX),
            30 => held.clear(),
            _ => {
                if held.is_empty() {
                    slots.check().unwrap();
                }
                verify_stats(&slots, &map, writing.len());
                assert_eq!(slots.pages_used(), frames.taken());
            }
        }
    }
    for (key, slot) in held {
        verify_held(&slot, map.get(&key));
    }
    slots.check().unwrap();
    drop(writing);
    slots.check().unwrap();
    verify_stats(&slots, &map, 0);
    let keys: Vec<u64> = map.keys().copied().collect();
    for &key in &keys {
        verify(&slots, &map, key);
    }
    // One half by hand: what is left after all is nothing.
    if keys.len().is_multiple_of(2) {
        for key in keys {
            slots.clear(key).unwrap();
        }
        assert_eq!(slots.pages_used(), 0);
        slots.check().unwrap();
    }
    drop(slots);
    assert_eq!(frames.taken(), 0);
}

thread_local! {
    static REGIONS: Regions = Regions::new();
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    REGIONS.with(|regions| match input.byte() % 8 {
        0 => run(regions.middle, input),
        1 => run(regions.large, input),
        2..=4 => run(regions.windows, input),
        _ => run(regions.small, input),
    });
});
