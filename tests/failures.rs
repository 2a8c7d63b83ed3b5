//! What fails leaves no trace: no page to be had at any step of an operation, and the limit.

mod common;

use alloc_xv::{AllocError, Failing, PageSource, RegionSource};
use common::{Page, Rng, TestCache, any_page, blank, cache, noise, read, region};
use compcache::{Cache, Config, Error, Lz4, MmStat, Shared};
use std::collections::BTreeMap;

type FailingCache<const PAGE: usize> = TestCache<Failing<RegionSource<PAGE>>, Lz4, PAGE>;

/// The statistics of what is stored. The most pages ever taken may grow in an operation that
/// takes one page and does not get the second.
fn stored_stat<S: PageSource, const PAGE: usize>(cache: &TestCache<S, Lz4, PAGE>) -> MmStat {
    let mut stat = cache.mm_stat();
    stat.mem_used_max = 0;
    stat
}

/// Lets each page that `operation` asks for be the last, one after the other, until it
/// succeeds; returns how often it failed.
fn fail_at_every_step<const PAGE: usize>(
    cache: &FailingCache<PAGE>,
    index: u64,
    old: Option<&Page<PAGE>>,
    operation: impl Fn() -> Result<(), Error>,
) -> usize {
    for takes in 0.. {
        let before = (stored_stat(cache), cache.io_stat().failed_writes);
        cache.source().fail_after(takes);
        let result = operation();
        cache.source().never_fail();
        if result.is_ok() {
            return takes;
        }
        assert_eq!(result, Err(Error::NoSpace(AllocError::OutOfPages)));
        let after = (stored_stat(cache), cache.io_stat().failed_writes);
        assert_eq!(after, (before.0, before.1 + 1));
        cache.check().unwrap();
        assert!(read(cache, index).as_ref() == old);
    }
    unreachable!()
}

fn every_failing_step_leaves_no_trace<const PAGE: usize>() {
    let device = 1 << 20;
    let source = Failing::new(region::<PAGE>(120));
    let cache: FailingCache<PAGE> = cache(source, Lz4, Config::new(device));
    let mut map: BTreeMap<u64, Page<PAGE>> = BTreeMap::new();
    let mut rng = Rng(9);
    let mut failures = [0; 3];
    for step in 0..400 {
        // Far pages need a leaf and a directory of their own.
        let near = rng.below(20) as u64;
        let index = if step % 3 == 0 { near << 15 } else { near };
        let old = map.get(&index).cloned();
        let page = any_page::<PAGE>(&mut rng);
        if rng.below(3) == 0 {
            cache.discard(index).unwrap();
            map.remove(&index);
        } else if rng.below(2) == 0 {
            let kind = usize::from(old.is_some());
            failures[kind] +=
                fail_at_every_step(&cache, index, old.as_ref(), || cache.put(index, &page));
            map.insert(index, page);
        } else {
            let sectors = 512..PAGE - 512;
            let bytes = &page[sectors.clone()];
            failures[2] += fail_at_every_step(&cache, index, old.as_ref(), || {
                cache.write(index, sectors.start, bytes)
            });
            map.entry(index).or_insert_with(blank)[sectors.clone()].copy_from_slice(bytes);
        }
    }
    for (&index, page) in &map {
        assert!(read(&cache, index).as_ref() == Some(page));
    }
    assert!(
        failures.iter().all(|&count| count > 10),
        "{failures:?}: the test has lost its point"
    );
}

#[test]
fn every_failing_step_leaves_no_trace_4k() {
    every_failing_step_leaves_no_trace::<4096>();
}

#[test]
fn every_failing_step_leaves_no_trace_16k() {
    every_failing_step_leaves_no_trace::<16384>();
}

#[test]
fn every_failing_step_leaves_no_trace_64k() {
    every_failing_step_leaves_no_trace::<65536>();
}

#[test]
fn discards_and_compaction_work_without_a_page_to_be_had() {
    let source = Failing::new(region::<4096>(400));
    let cache: FailingCache<4096> = cache(source, Lz4, Config::new(300));
    let page = |index| common::mixed::<4096>(index, (index % 200) as usize);
    for index in 0..300 {
        cache.put(index, &page(index)).unwrap();
    }
    cache.source().fail_after(0);
    for index in (0..300).filter(|index| index % 3 != 0) {
        assert_eq!(cache.discard(index), Ok(true));
    }
    cache.compact(u64::MAX);
    cache.check().unwrap();
    for index in (0..300).step_by(3) {
        assert_eq!(read(&cache, index), Some(page(index)));
        assert_eq!(cache.discard(index), Ok(true));
    }
    assert_eq!(cache.mm_stat().mem_used_total, 0);
}

/// Puts noise from index 0 on until that fails; returns how many pages are stored.
fn fill<S: PageSource>(cache: &TestCache<S, Lz4, 4096>) -> (u64, Error) {
    for index in 0..cache.pages() {
        if let Err(error) = cache.put(index, &noise(index)) {
            return (index, error);
        }
    }
    panic!("everything fits");
}

#[test]
fn the_limit_is_a_typed_error_and_old_pages_stay() {
    let config = Config {
        mem_limit: 40 * 4096,
        ..Config::new(1000)
    };
    let cache: TestCache<_, _, 4096> = cache(region::<4096>(200), Lz4, config);
    let (stored, error) = fill(&cache);
    let limit = AllocError::LimitReached { limit_pages: 40 };
    assert_eq!(error, Error::NoSpace(limit));
    assert!((30..40).contains(&stored), "{stored}");
    let stat = cache.mm_stat();
    assert_eq!(
        (stat.mem_limit, stat.orig_data_size),
        (40 * 4096, stored * 4096)
    );
    assert!(stat.mem_used_total <= stat.mem_limit && stat.mem_used_max <= stat.mem_limit);

    // Over an old page, in part or whole: the old page stays.
    assert_eq!(cache.put(0, &noise(99)), Err(Error::NoSpace(limit)));
    let write = cache.write(1, 512, &noise::<4096>(98)[..1024]);
    assert_eq!(write, Err(Error::NoSpace(limit)));
    for index in 0..stored {
        assert_eq!(read(&cache, index), Some(noise(index)));
    }
    cache.check().unwrap();
    assert_eq!(cache.mm_stat(), stat);
    assert_eq!(cache.io_stat().failed_writes, 3);

    // What needs no page goes on, and so does everything after a discard or a higher limit.
    cache.put(2, &blank()).unwrap();
    cache.put(stored, &noise(stored)).unwrap();
    assert!(cache.put(2, &noise(2)).is_err());
    assert_eq!(read(&cache, 2), Some(blank()));
    cache.set_mem_limit(60 * 4096);
    cache.put(2, &noise(2)).unwrap();
    let (more, _) = fill(&cache);
    assert!(more > stored + 10);
    cache.set_mem_limit(0);
    cache.put(more, &noise(more)).unwrap();
    assert_eq!(cache.mm_stat().mem_limit, 0);
}

#[test]
fn a_lower_limit_takes_nothing_away() {
    let cache: TestCache<_, _, 4096> = cache(region::<4096>(200), Lz4, Config::new(1000));
    for index in 0..100 {
        cache.put(index, &noise(index)).unwrap();
    }
    cache.set_mem_limit(50 * 4096);
    for index in 0..100 {
        assert_eq!(read(&cache, index), Some(noise(index)));
    }
    let mut discarded = 0;
    while cache.put(500, &noise(500)).is_err() {
        cache.discard(discarded).unwrap();
        discarded += 1;
    }
    assert!((45..65).contains(&discarded), "{discarded}");
    cache.check().unwrap();
}

/// As in zram, a limit is rounded up to whole pages: it never becomes 0, which means none.
#[test]
fn a_limit_below_one_page_is_a_limit() {
    let cache: TestCache<_, _, 4096> = cache(region::<4096>(20), Lz4, Config::new(10));
    cache.set_mem_limit(1);
    assert_eq!(cache.mm_stat().mem_limit, 4096);
    assert!(cache.put(0, &noise(0)).is_err());
    assert_eq!(cache.mm_stat().mem_used_total, 0);
}

#[test]
fn a_full_source_is_a_typed_error() {
    let cache: TestCache<_, _, 4096> = cache(region::<4096>(60), Lz4, Config::new(1000));
    let (stored, error) = fill(&cache);
    assert_eq!(error, Error::NoSpace(AllocError::OutOfPages));
    for index in 0..stored {
        assert_eq!(read(&cache, index), Some(noise(index)));
    }
    cache.reset();
    let (again, _) = fill(&cache);
    assert_eq!(again, stored);
}

#[test]
fn a_source_without_any_page_stores_nothing() {
    let source = Failing::new(region::<4096>(10));
    source.fail_after(0);
    let bank = vec![Shared::new(compcache::Lz4Workspace::small())];
    let cache: Cache<_, Lz4, Vec<_>> = Cache::new(source, Lz4, bank, Config::new(10)).unwrap();
    assert!(cache.put(0, &blank()).is_err());
    assert!(cache.write(0, 0, &[1; 512]).is_err());
    assert_eq!(cache.contains(0), Ok(false));
    assert_eq!(cache.discard(0), Ok(false));
    assert_eq!(cache.mm_stat().mem_used_total, 0);
    cache.check().unwrap();
}
