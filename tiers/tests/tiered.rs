//! The whole of it: pages that need more memory than there is, a backing store that works, and one that
//! does everything wrong, beside a plain map.

mod common;

use common::{PAGE, Rng};
use compcache_tiers::backing::{Failing, Faults, MemoryStore};
use compcache_tiers::{Config, Error, Policy, Recompress, Tiered, What, WriteBack, WriteBackKind};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

type Page = Box<[u8; PAGE]>;

/// A number below `limit`.
fn below(rng: &mut Rng, limit: u64) -> u64 {
    rng.next() % limit
}

/// A page of words, a part of it noise, that says which one it is.
fn page(index: u64, version: u64) -> Page {
    const WORDS: &[u8] = b"the quick brown page jumps over the lazy frame and is packed again ";
    let mut page: Page = vec![0; PAGE].try_into().unwrap();
    let mut rng = Rng(index << 20 ^ version);
    let noisy = below(&mut rng, PAGE as u64 / 2) as usize;
    for byte in &mut page[..noisy] {
        *byte = rng.next() as u8;
    }
    let skip = below(&mut rng, 60) as usize;
    for (byte, word) in page[noisy..]
        .iter_mut()
        .zip(WORDS.iter().cycle().skip(skip))
    {
        *byte = *word;
    }
    page[PAGE - 8..].copy_from_slice(&(index << 32 | version).to_le_bytes());
    page
}

fn config(thread: bool) -> Config {
    let mut config = Config::default();
    config.thread = thread;
    config.policy.turn_ms = 20;
    config
}

fn tiered(pages: u64, mem_limit: u64, thread: bool) -> Tiered {
    let mut cache = compcache::Config::new(pages);
    cache.mem_limit = mem_limit;
    Tiered::new("lz4 zstd:1".parse().unwrap(), cache, config(thread)).unwrap()
}

fn verify(tiered: &Tiered, map: &BTreeMap<u64, Page>) {
    let mut back = [0; PAGE];
    for (index, page) in map {
        back.fill(0xa5);
        assert!(tiered.get(*index, &mut back).unwrap(), "page {index}");
        assert!(back == **page, "page {index}");
    }
    tiered.check().unwrap();
}

#[test]
fn nothing_is_lost_with_half_the_memory_and_a_store() {
    const PAGES: u64 = 4000;
    let all = tiered(PAGES, 0, false);
    for index in 0..PAGES {
        all.put(index, &page(index, 0)).unwrap();
    }
    let needed = all.stat().mm.mem_used_total;
    for thread in [false, true] {
        let half = tiered(PAGES, needed / 2, thread);
        half.set_store(Box::new(MemoryStore::new(64 << 20)))
            .unwrap();
        let mut map = BTreeMap::new();
        let mut rng = Rng(5);
        for index in 0..PAGES {
            half.put(index, &page(index, 0)).unwrap();
            map.insert(index, page(index, 0));
        }
        verify(&half, &map);
        for version in 1..6000 {
            let index = below(&mut rng, PAGES);
            match below(&mut rng, 5) {
                0 => {
                    half.discard(index).unwrap();
                    map.remove(&index);
                }
                1 => {
                    let offset = below(&mut rng, 8) as usize * 512;
                    let bytes = [version as u8; 512];
                    half.write(index, offset, &bytes).unwrap();
                    let zeroes = || vec![0; PAGE].try_into().unwrap();
                    let page = map.entry(index).or_insert_with(zeroes);
                    page[offset..offset + 512].copy_from_slice(&bytes);
                }
                2 => {
                    let mut part = [0xa5; 1024];
                    half.read(index, 1024, &mut part).unwrap();
                    match map.get(&index) {
                        Some(page) => assert_eq!(part, page[1024..2048]),
                        None => assert_eq!(part, [0; 1024]),
                    }
                }
                _ => {
                    half.put(index, &page(index, version)).unwrap();
                    map.insert(index, page(index, version));
                }
            }
        }
        verify(&half, &map);
        let stat = half.stat();
        assert!(stat.mm.mem_used_max <= needed / 2 + 4096, "{stat:?}");
        assert!(
            stat.tiers.written_back > 0 && stat.tiers.backed_reads > 0,
            "{stat:?}"
        );
        assert_eq!(stat.mm.orig_data_size, map.len() as u64 * PAGE as u64);
        half.clean();
        let stat = half.stat();
        assert!(
            stat.backing.allocated * 100 <= stat.backing.live * 105 + (300 << 10) * 100,
            "{stat:?}"
        );
        half.reset();
        let stat = half.stat();
        assert_eq!(stat.tiers.backed_bytes, 0);
        // What was written last may still be open.
        assert!(stat.backing.allocated <= 512 << 10, "{stat:?}");
        assert_eq!(stat.mm.orig_data_size, 0);
    }
}

#[test]
fn a_store_that_does_everything_wrong_never_makes_a_wrong_page() {
    const PAGES: u64 = 1500;
    let mut lost = 0;
    for seed in 0..6 {
        let tiered = tiered(PAGES, 900 << 10, seed % 2 == 0);
        let store = MemoryStore::new(32 << 20);
        let store = Failing::new(store, seed, Faults::all(20));
        tiered.set_store(Box::new(store)).unwrap();
        let mut map: BTreeMap<u64, Page> = BTreeMap::new();
        let mut rng = Rng(seed);
        let mut back = [0; PAGE];
        for version in 0..5000 {
            let index = below(&mut rng, PAGES);
            match below(&mut rng, 8) {
                0 => {
                    tiered.discard(index).unwrap();
                    map.remove(&index);
                }
                1..4 => match tiered.get(index, &mut back) {
                    Ok(stored) => match map.get(&index) {
                        Some(page) => assert!(stored && back == **page, "page {index}"),
                        None => assert!(!stored && back == [0; PAGE]),
                    },
                    // What the store lost, or does not give now, is an error, and not another page.
                    Err(Error::Read { .. }) => lost += 1,
                    Err(error) => panic!("{error}"),
                },
                _ => match tiered.put(index, &page(index, version)) {
                    Ok(()) => {
                        map.insert(index, page(index, version));
                    }
                    Err(Error::Cache(compcache::Error::NoSpace(_))) => {}
                    Err(error) => panic!("{error}"),
                },
            }
        }
        tiered.check().unwrap();
        assert!(tiered.stat().tiers.written_back > 0);
    }
    assert!(lost > 0, "the store did nothing wrong");
}

#[test]
fn threads_read_and_write_while_pages_move() {
    const PAGES: u64 = 2000;
    const THREADS: u64 = 4;
    let tiered = tiered(PAGES, 1 << 20, true);
    tiered
        .set_store(Box::new(MemoryStore::new(64 << 20)))
        .unwrap();
    let refused = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (tiered, refused) = (&tiered, &refused);
            scope.spawn(move || {
                // Each has its own pages, in between those of the others.
                let mut map = BTreeMap::new();
                let mut rng = Rng(thread);
                let mut back = [0; PAGE];
                for version in 0..4000 {
                    let index = below(&mut rng, PAGES / THREADS) * THREADS + thread;
                    match below(&mut rng, 4) {
                        0 => match map.get(&index) {
                            Some(page) => {
                                let stored = tiered.get(index, &mut back).unwrap();
                                assert!(stored && back == *page, "page {index}");
                            }
                            None => assert!(!tiered.get(index, &mut back).unwrap()),
                        },
                        1 if version % 7 == 0 => {
                            tiered.discard(index).unwrap();
                            map.remove(&index);
                        }
                        _ => match tiered.put(index, &page(index, version)) {
                            Ok(()) => {
                                map.insert(index, *page(index, version));
                            }
                            Err(_) => {
                                refused.fetch_add(1, Ordering::Relaxed);
                            }
                        },
                    }
                }
                for (index, page) in map {
                    assert!(tiered.get(index, &mut back).unwrap() && back == page);
                }
            });
        }
    });
    tiered.check().unwrap();
    assert_eq!(refused.into_inner(), 0);
}

#[test]
fn the_limit_without_a_store_is_met_by_denser_forms() {
    let tiered = tiered(8000, 1 << 20, false);
    let mut stored = 0;
    for index in 0..8000 {
        match tiered.put(index, &page(index % 4000, index)) {
            Ok(()) => stored += 1,
            Err(Error::Cache(compcache::Error::NoSpace(_))) => break,
            Err(error) => panic!("{error}"),
        }
        if index % 64 == 0 {
            tiered.cache().mark_idle(None).unwrap();
        }
    }
    let stat = tiered.stat();
    assert!(stat.tiers.clustered > 0 && stat.squeezed > 0, "{stat:?}");
    assert!(stat.mm.mem_used_max <= 1 << 20);
    let mut back = [0; PAGE];
    for index in 0..stored {
        assert!(tiered.get(index, &mut back).unwrap());
        assert!(back == *page(index % 4000, index));
    }
}

#[test]
fn one_shot_commands_do_what_zram_says() {
    let tiered = tiered(600, 0, false);
    tiered.set_policy(Policy::NONE);
    for index in 0..500 {
        tiered.put(index, &page(index, 0)).unwrap();
    }
    let mut noise = [0; PAGE];
    let mut rng = Rng(9);
    noise.fill_with(|| rng.next() as u8);
    tiered.put(500, &noise).unwrap();
    let idle = WriteBack::Kind(WriteBackKind::Idle);
    assert!(matches!(
        tiered.write_back(&idle, || true),
        Err(Error::NoStore)
    ));
    tiered
        .set_store(Box::new(MemoryStore::new(8 << 20)))
        .unwrap();
    assert!(
        tiered
            .set_store(Box::new(MemoryStore::new(8 << 20)))
            .is_err()
    );
    assert_eq!(
        tiered.write_back(&idle, || true).unwrap(),
        0,
        "nothing is idle"
    );
    let recompress = |what, max_pages| Recompress {
        what,
        rung: 1,
        threshold: 0,
        max_pages,
    };
    assert_eq!(
        tiered
            .recompress(recompress(What::Idle, 0), || true)
            .unwrap(),
        0
    );
    tiered.cache().mark_idle(None).unwrap();
    let some = tiered
        .recompress(recompress(What::Idle, 10), || true)
        .unwrap();
    assert!(some > 0 && some <= 10);
    let huge = WriteBack::Kind(WriteBackKind::Huge);
    // Its record has a few bytes more than a page, and counts as one.
    tiered.set_writeback_limit(Some(1));
    assert_eq!(tiered.write_back(&huge, || true).unwrap(), 1);
    tiered.set_writeback_limit(Some(20));
    assert!(matches!(
        tiered.write_back(&idle, || true),
        Ok(_) | Err(Error::WritebackLimit)
    ));
    let stat = tiered.stat();
    assert_eq!(stat.backing.limit, Some(0));
    assert!((15..=21).contains(&stat.tiers.written_back), "{stat:?}");
    tiered.set_writeback_limit(None);
    tiered
        .write_back(&WriteBack::Pages(100..110), || true)
        .unwrap();
    tiered.write_back(&idle, || true).unwrap();
    assert_eq!(tiered.stat().tiers.backed_pages, 501);
    let mut back = [0; PAGE];
    for index in 0..500 {
        assert!(tiered.get(index, &mut back).unwrap() && back == *page(index, 0));
    }
    assert!(tiered.get(500, &mut back).unwrap() && back == noise);
}

/// A store that had more segments than a small device counts was filled with records that nobody could
/// link.
#[test]
fn a_store_far_bigger_than_the_device_is_used_as_far_as_it_is_counted() {
    const PAGES: u64 = 600;
    let tiered = tiered(PAGES, 512 << 10, false);
    tiered
        .set_store(Box::new(MemoryStore::new(4 << 30)))
        .unwrap();
    let segments = tiered.backing().unwrap().segments();
    assert_eq!(segments, tiered.cache().segments_max());
    assert!(u64::from(segments) << 18 < 64 << 20);
    let mut map = BTreeMap::new();
    for version in 0..40 {
        for index in 0..PAGES {
            tiered.put(index, &page(index, version)).unwrap();
            map.insert(index, page(index, version));
        }
        tiered.clean();
    }
    verify(&tiered, &map);
}
