//! A dictionary of what cold pages have in common.
#![cfg(feature = "zstd")]

mod common;

use common::{PAGE, Rng};
use compcache_tiers::{Config, Ladder, Policy, Stat, Tiered};

/// A page that has pieces in common with pages far away, and none with its neighbours: 16 of 512 pieces of sixteen
/// letters, with others of its own between them.
fn page(index: u64) -> [u8; PAGE] {
    let mut page = [0; PAGE];
    let mut rng = Rng(index << 8);
    for (nth, part) in page.chunks_exact_mut(256).enumerate() {
        let piece = (index * 16 + nth as u64) * 7 % 512;
        let mut common = Rng(0xC0_FFEE + piece);
        let (text, own) = part.split_at_mut(200);
        text.fill_with(|| b'a' + (common.next() & 0xF) as u8);
        own.fill_with(|| b'a' + (rng.next() & 0xF) as u8);
    }
    page
}

/// Noise of sixteen letters, of which nothing is anywhere else: zstd makes half of it, LZ4 nothing.
fn unlike(index: u64) -> [u8; PAGE] {
    let mut rng = Rng(index << 8 | 1);
    let mut page = [0; PAGE];
    page[..3500].fill_with(|| b'a' + (rng.next() & 0xF) as u8);
    page
}

fn tiered(pages: u64, text: &str, change: impl FnOnce(&mut Policy)) -> Tiered {
    let ladder: Ladder = text.parse().unwrap();
    let mut config = Config::default();
    config.thread = false;
    config.policy.turn_ms = 1000;
    // Pages like these are patches otherwise.
    config.policy.patches = false;
    change(&mut config.policy);
    Tiered::new(ladder, compcache::Config::new(pages), config).unwrap()
}

fn fill(tiered: &Tiered, range: core::ops::Range<u64>, page: fn(u64) -> [u8; PAGE]) {
    for index in range {
        tiered.put(index, &page(index)).unwrap();
    }
}

/// Ticks of a small budget until nothing is left to do; none of them does much more.
fn tick(tiered: &Tiered, now_ms: &mut u64) -> Stat {
    const BUDGET: u64 = 64;
    for _ in 0..6 {
        *now_ms += 1000;
        loop {
            let tick = tiered.tick(*now_ms, BUDGET).unwrap();
            let most = BUDGET + 2 * compcache::StdCache::<Ladder>::TICK_OVER;
            assert!(tick.work.units() <= most, "{:?}", tick.work);
            assert_eq!(tick.waiting * u64::from(tick.more), tick.waiting);
            if !tick.more {
                break;
            }
        }
    }
    tiered.stat()
}

fn verify(tiered: &Tiered, range: core::ops::Range<u64>, page: fn(u64) -> [u8; PAGE]) {
    let mut back = [0xA5; PAGE];
    for index in range {
        assert!(tiered.get(index, &mut back).unwrap());
        assert!(back == page(index), "page {index}");
    }
    tiered.check().unwrap();
}

#[test]
fn pages_that_have_pieces_in_common_take_less() {
    const PAGES: u64 = 3000;
    let mut now = 0;
    let mut used = [0; 2];
    for (on, used) in [false, true].into_iter().zip(&mut used) {
        let tiered = tiered(PAGES, "lz4 zstd:3", |policy| policy.dictionary = on);
        fill(&tiered, 0..PAGES, page);
        let before = tiered.workspace_bytes();
        let stat = tick(&tiered, &mut now);
        assert!(stat.tiers.cluster_pages > PAGES / 2, "{:?}", stat.tiers);
        assert_eq!(stat.dictionary > 0, on);
        // It is counted, and nothing else is left behind.
        let dictionary = stat.dictionary as usize;
        assert!(tiered.workspace_bytes() <= before + dictionary);
        assert!(dictionary <= 36 << 10, "{dictionary}");
        *used = stat.mm.mem_used_total + stat.dictionary;
        verify(&tiered, 0..PAGES, page);
        // Nothing is left to do, and nothing is done.
        tick(&tiered, &mut now);
        let ticks = tiered.stat().ticks;
        tick(&tiered, &mut now);
        assert_eq!(tiered.stat().ticks, ticks);
    }
    assert!(used[1] * 10 < used[0] * 9, "{used:?}");
}

/// A dictionary takes memory: where it saves less there is none, and pages are as dense as without.
#[test]
fn pages_that_have_nothing_in_common_have_none() {
    const PAGES: u64 = 2500;
    let mut now = 0;
    let tiered = tiered(PAGES, "lz4 zstd:3", |_| ());
    fill(&tiered, 0..PAGES, unlike);
    let stat = tick(&tiered, &mut now);
    assert_eq!(stat.dictionary, 0);
    assert!(
        stat.tiers.cluster_pages + stat.tiers.recompressed > 0,
        "{:?}",
        stat.tiers
    );
    verify(&tiered, 0..PAGES, unlike);
}

/// Too few pages, no zstd, or not wanted: nobody waits.
#[test]
fn nobody_waits_for_a_dictionary_that_there_will_not_be() {
    let mut now = 0;
    for (pages, text, on) in [
        (1500, "lz4 zstd:3", true),
        (3000, "lz4 lz4hc", true),
        (3000, "lz4 zstd:3", false),
    ] {
        let tiered = tiered(pages, text, |policy| policy.dictionary = on);
        fill(&tiered, 0..pages, unlike);
        let stat = tick(&tiered, &mut now);
        assert_eq!(stat.dictionary, 0);
        let denser = stat.tiers.clustered + stat.tiers.recompressed;
        assert!(
            denser > pages / 2 || text.ends_with("hc"),
            "{text}: {:?}",
            stat.tiers
        );
    }
}

/// Pages that come later are counted with those that are in clusters already: small steps get one, too.
#[test]
fn pages_that_come_in_small_steps_have_one() {
    let mut now = 0;
    let tiered = tiered(4000, "lz4 zstd:3", |_| ());
    for from in (0..4000).step_by(500) {
        fill(&tiered, from..from + 500, page);
        let stat = tick(&tiered, &mut now);
        assert_eq!(
            stat.dictionary > 0,
            from >= 2000,
            "{from}: {:?}",
            stat.tiers
        );
    }
    verify(&tiered, 0..4000, page);
}

/// The clock counts cold pages, then they are compared, and most become patches: those that were counted are not there
/// any more when a dictionary is to be made of them. That was looked for again and again, without end.
#[test]
fn pages_that_become_patches_meanwhile_are_no_reason_to_look_again() {
    const PAGES: u64 = 3000;
    let mut now = 0;
    let tiered = tiered(PAGES, "lz4 zstd:3", |policy| policy.patches = true);
    fill(&tiered, 0..PAGES, page);
    let stat = tick(&tiered, &mut now);
    assert!(stat.tiers.patches > PAGES / 2, "{:?}", stat.tiers);
    assert_eq!(stat.dictionary, 0);
    verify(&tiered, 0..PAGES, page);
}

/// Where memory is short, pages become denser without waiting for anything.
#[test]
fn memory_that_is_short_waits_for_no_dictionary() {
    const PAGES: u64 = 3000;
    let all = tiered(PAGES, "lz4 zstd:3", |_| ());
    fill(&all, 0..PAGES, unlike);
    let needed = all.stat().mm.mem_used_total;
    let less = tiered(PAGES, "lz4 zstd:3", |_| ());
    fill(&less, 0..PAGES / 2, unlike);
    // Two turns: the first half is cold, and waits.
    let mut now = 0;
    for _ in 0..3 {
        now += 1000;
        less.tick(now, 1).unwrap();
        while less.tick(now, 1).unwrap().work.leaves > 0 {}
    }
    less.set_mem_limit(needed);
    fill(&less, PAGES / 2..PAGES, unlike);
    verify(&less, 0..PAGES, unlike);
}

/// Each cache has its own, whatever they were made of: no page of one is in another's dictionary.
#[test]
fn caches_made_of_one_ladder_share_none() {
    const PAGES: u64 = 3000;
    let ladder: Ladder = "lz4 zstd:3".parse().unwrap();
    let make = || {
        let mut config = Config::default();
        config.thread = false;
        config.policy.turn_ms = 1000;
        config.policy.patches = false;
        Tiered::new(ladder.clone(), compcache::Config::new(PAGES), config).unwrap()
    };
    let (one, two) = (make(), make());
    fill(&one, 0..PAGES, page);
    assert!(tick(&one, &mut 0).dictionary > 0);
    assert_eq!(two.stat().dictionary, 0);
    assert_eq!(ladder.dictionary_bytes(), 0);
}

/// As long as the clock goes round: with the thread of its own.
#[test]
fn settling_makes_one_too() {
    const PAGES: u64 = 3000;
    let tiered = tiered(PAGES, "lz4 zstd:3", |_| ());
    fill(&tiered, 0..PAGES, page);
    tiered.settle().unwrap();
    assert!(tiered.stat().dictionary > 0);
    verify(&tiered, 0..PAGES, page);
}
