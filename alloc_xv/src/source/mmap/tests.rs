//! Resident memory follows what is taken; wishes are met.

use super::*;

#[test]
fn resident_memory_follows_what_is_taken() {
    let source: MmapSource = MmapSource::new(1 << 30).unwrap();
    let mut frames = std::vec::Vec::new();
    for _ in 0..8192 {
        let frame = source.take(frames.last().copied()).unwrap();
        // SAFETY: taken above, nobody else has it.
        unsafe { source.address(frame).write_bytes(0xa5, 4096) };
        frames.push(frame);
    }
    assert!(source.resident_bytes() <= 8192 * 4096 + 2 * CHUNK_BYTES);
    for frame in frames.drain(1024..) {
        // SAFETY: taken above and not used any more.
        unsafe { source.give_back(frame) };
    }
    // The helper may be backing a chunk, which it drops when it sees that it is not wanted any more.
    let bound = 1024 * 4096 * 105 / 100;
    for _ in 0..10_000 {
        if source.resident_bytes() <= bound {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(source.resident_bytes() <= bound);
    assert!(source.resident_bytes() >= 1024 * 4096);
    for frame in frames.drain(..) {
        // SAFETY: as above.
        unsafe { source.give_back(frame) };
    }
    assert_eq!(source.resident_bytes(), 0);
}

/// A pool that had shrunk was given another chunk, because it had asked for one before.
#[test]
fn what_was_asked_for_before_a_shrink_is_not_backed_after_it() {
    let area: area::Area<4096> = area::Area::new(1 << 16, area::Ahead::Chunks, true).unwrap();
    // The third chunk is used up when the helper is asked; it comes too late.
    for frame in 0..1536 {
        area.take_exactly(frame).unwrap();
    }
    for frame in 300..1536 {
        area.give_back(frame);
    }
    let resident = area.resident_bytes();
    area.back_ahead();
    assert_eq!(area.resident_bytes(), resident);
}

/// The helper was so late that what it backed had been taken and given back meanwhile; it stayed resident.
#[test]
fn what_was_given_back_before_the_helper_came_does_not_stay() {
    let area: area::Area<4096> = area::Area::new(1 << 16, area::Ahead::Chunks, true).unwrap();
    for frame in 0..1536 {
        area.take_exactly(frame).unwrap();
    }
    let plan = area.plan_ahead().unwrap();
    assert_eq!(plan.frames, 1536..2048);
    // What it is about to back is given up, so nobody waits for it.
    for frame in 300..1536 {
        area.give_back(frame);
    }
    for frame in 300..4096 {
        area.take_exactly(frame).unwrap();
    }
    for frame in 1024..4096 {
        area.give_back(frame);
    }
    area.back_planned(plan);
    assert!(area.resident_bytes() <= 1024 * 4096 * 105 / 100);
}

/// Who came to the end of what was backed while the helper backed more did the same work again, and first waited
/// for the system to let it: a put of 5 us took up to 14 ms.
#[test]
fn who_needs_what_is_being_backed_waits_for_it() {
    let area: area::Area<4096> = area::Area::new(1 << 16, area::Ahead::Chunks, true).unwrap();
    for frame in 0..512 {
        area.take_exactly(frame).unwrap();
    }
    let plan = area.plan_ahead().unwrap();
    assert_eq!(plan.frames, 512..1024);
    std::thread::scope(|scope| {
        let taker = scope.spawn(|| area.take_exactly(512).unwrap());
        // Until the taker waits; it would be done soon if it did not.
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!taker.is_finished());
        area.back_planned(plan);
        taker.join().unwrap();
    });
}

/// Takes the first frames and writes a 1 to the beginning of each; reads what is there now.
fn take_and_fill(area: &area::Area<4096>, frames: usize) -> impl Fn(usize) -> u8 {
    let base = area.start();
    for frame in 0..frames {
        area.take_exactly(frame).unwrap();
        // SAFETY: the frame was just taken, and nobody else has the area.
        unsafe { *base.0.add(frame * 4096) = 1 };
    }
    // SAFETY: all of an area that is there can be read.
    move |frame| unsafe { *area.start().0.add(frame * 4096) }
}

/// A run was noted, one of its pages taken again, and another noted once more: the second note lay before the part
/// that was last dropped, and its length was computed below zero.
#[test]
fn notes_inside_others_are_dropped_once() {
    let area: area::Area<4096> = area::Area::new(1 << 16, area::Ahead::Nothing, false).unwrap();
    let byte = take_and_fill(&area, 8192);
    area.give_back_run(1000, 20);
    for frame in [1005, 1010, 1003] {
        area.take_exactly(frame).unwrap();
    }
    area.give_back(1003);
    area.give_back_run(2000, 300);
    for frame in 1000..1020 {
        let taken = [1005, 1010].contains(&frame);
        assert_eq!(byte(frame), u8::from(taken), "frame {frame}");
    }
    assert_eq!(byte(999), 1);
    assert_eq!(byte(1020), 1);
}

/// A page at the end of a pool was given back and taken again many times a millisecond. It was noted each
/// time; the older notes sent it back to the system though it had just been used, and each time it was
/// taken it was faulted in.
#[test]
fn frames_that_come_and_go_stay() {
    let area: area::Area<4096> = area::Area::new(1 << 16, area::Ahead::Chunks, false).unwrap();
    let byte = take_and_fill(&area, 4096);
    for turn in 0..1000 {
        // Others go for good, some at a time.
        area.give_back(turn);
        for frame in [4095, 4094, 4093] {
            area.give_back(frame);
        }
        area.tidy();
        for frame in [4093, 4094, 4095] {
            area.take_exactly(frame).unwrap();
            assert_eq!(byte(frame), 1, "turn {turn}: frame {frame} was dropped");
        }
        // In one go, and from the other end.
        area.give_back_run(4080, 8);
        area.tidy();
        for frame in (4080..4088).rev() {
            area.take_exactly(frame).unwrap();
            assert_eq!(byte(frame), 1, "turn {turn}: frame {frame} was dropped");
        }
    }
    let bytes = 3096 * 4096;
    assert!(area.resident_bytes() <= bytes * 105 / 100);
}

/// Swap stood still for minutes with all memory taken: the server asked for 2 MiB at once, which the
/// kernel does not keep for who frees memory, and everybody else waited for the server.
/// What was given back stays resident while more is taken and given back, as it is taken again, and goes when nothing is
/// going on. Puts beside a pool that was packed each second met a page fault each twentieth time.
#[test]
fn what_is_kept_goes_when_nothing_is_going_on() {
    let area: area::Area<4096> = area::Area::new(1 << 16, area::Ahead::Chunks, false).unwrap();
    let _bytes = take_and_fill(&area, 4000);
    assert_eq!(area.give_back_run(3900, 100), (100, false));
    assert_eq!(area.give_back_run(3850, 50), (50, true));
    assert_eq!(area.give_back_run(3800, 50), (50, false), "told already");
    assert!(area.resident_bytes() >= 4000 * 4096);
    assert!(!area.rest(), "something was going on just now");
    area.give_back(3799);
    assert!(!area.rest());
    assert!(area.resident_bytes() >= 4000 * 4096);
    assert!(area.rest());
    // And the rest of the last chunk.
    assert!(area.resident_bytes() <= (3799 + 96) * 4096);
}

#[test]
fn by_single_pages_no_more_is_resident_than_taken() {
    let source: MmapSource = MmapSource::with_growth(1 << 30, Growth::Pages).unwrap();
    let mut frames = std::vec::Vec::new();
    for taken in 1..=2000 {
        let frame = source.take(frames.last().copied()).unwrap();
        // SAFETY: taken above, nobody else has it.
        unsafe { source.address(frame).write_bytes(0xa5, 4096) };
        frames.push(frame);
        if taken % 500 == 0 {
            assert_eq!(source.resident_bytes(), taken * 4096);
        }
    }
    for frame in frames.drain(..) {
        // SAFETY: taken above and not used any more.
        unsafe { source.give_back(frame) };
    }
    assert_eq!(source.resident_bytes(), 0);
}

#[test]
fn the_wanted_frame_is_given_when_it_is_free() {
    let source: MmapSource = MmapSource::new(1 << 20).unwrap();
    let first = source.take(None).unwrap();
    let second = source.take(FrameId::new(first.number() + 1)).unwrap();
    assert_eq!(second.number(), first.number() + 1);
    // A frame far away from all others is not a sensible wish.
    let third = source.take(FrameId::new(200)).unwrap();
    assert_eq!(third.number(), 2);
}

#[test]
fn the_last_frame_is_followed_by_a_typed_error() {
    let source: MmapSource = MmapSource::new(3 * 4096).unwrap();
    for _ in 0..3 {
        source.take(None).unwrap();
    }
    assert_eq!(source.take(None), Err(OutOfPages));
    assert!(MmapSource::<4096>::new(0).is_err());
}

#[test]
fn parts_go_back_together_and_nothing_beside_them() {
    let map = mapping::Mapping::new(64 * 4096, 4096).unwrap();
    // SAFETY: the mapping is this test's own, and pages are accessed one at a time.
    let byte = |page: usize| unsafe { &mut *map.start().0.add(page * 4096 + 100) };
    (0..64).for_each(|page| *byte(page) = 7);
    let parts: std::vec::Vec<_> = (0..15)
        .map(|n| (n * 4 * 4096, (1 + n % 2) * 4096))
        .collect();
    // SAFETY: nobody holds a reference into it.
    unsafe { map.drop_parts(&parts) };
    for page in 0..64 {
        let (part, within) = (page / 4, page % 4);
        let dropped = part < 15 && within < 1 + part % 2;
        assert_eq!(*byte(page), if dropped { 0 } else { 7 }, "page {page}");
    }
}
