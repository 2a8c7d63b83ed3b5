//! Many threads on the same pages while they are packed: every page that is read is one that
//! some thread wrote, and whole. Pages tell which, sector by sector.

mod common;

use common::{Page, Rng, TestCache, blank, cache, cache_with, noise, region, same};
use compcache::{Cache, Codec, Compactor, Config, Lz4, SECTOR_SIZE, Shared, StdCache};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

const PAGE: usize = 4096;
const PAGES: u64 = 200;
/// Below: pages that are only put whole. From here on: pages whose sectors are written too.
const FIRST_WITH_SECTORS: u64 = 100;

/// A sector that says which one it is and who wrote it; some shrink well, some not at all.
fn sector(index: u64, number: usize, stamp: u64) -> [u8; SECTOR_SIZE] {
    let mut bytes = [0; SECTOR_SIZE];
    let noisy = (stamp as usize % 9) * 56;
    let (front, rest) = bytes.split_at_mut(16);
    front[..8].copy_from_slice(&stamp.to_le_bytes());
    front[8..].copy_from_slice(&(index << 8 | number as u64).to_le_bytes());
    Rng(stamp ^ index << 32 ^ number as u64).fill(&mut rest[..noisy]);
    rest[noisy..].fill(stamp as u8);
    bytes
}

fn page(index: u64, stamp: u64) -> Page<PAGE> {
    let mut page = blank();
    for (number, bytes) in page.chunks_mut(SECTOR_SIZE).enumerate() {
        bytes.copy_from_slice(&sector(index, number, stamp));
    }
    page
}

/// The stamp of a sector; 0 for one of zeroes.
fn verify_sector(index: u64, number: usize, bytes: &[u8]) -> u64 {
    if bytes.iter().all(|&byte| byte == 0) {
        return 0;
    }
    let stamp = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert!(
        bytes == sector(index, number, stamp),
        "page {index}, sector {number}"
    );
    stamp
}

fn verify(index: u64, page: &[u8; PAGE]) {
    let stamps: Vec<u64> = page
        .chunks(SECTOR_SIZE)
        .enumerate()
        .map(|(number, bytes)| verify_sector(index, number, bytes))
        .collect();
    if index < FIRST_WITH_SECTORS {
        assert!(
            stamps.iter().all(|&stamp| stamp == stamps[0]),
            "page {index} is torn"
        );
    }
}

/// One thread's share of the work.
fn work<C: Cached>(cache: &C, thread: u64, steps: u64) {
    let mut rng = Rng(thread);
    for step in 0..steps {
        let index = rng.below(PAGES as usize) as u64;
        let stamp = (step + 1) << 8 | thread << 4 | 1;
        let number = rng.below(PAGE / SECTOR_SIZE);
        match rng.below(10) {
            0..=2 => cache.put(index, &page(index, stamp)),
            3 => cache.put(index, &blank()),
            4 | 5 => cache.discard(index),
            6 | 7 if index >= FIRST_WITH_SECTORS => {
                cache.write(index, number * SECTOR_SIZE, &sector(index, number, stamp));
            }
            8 => {
                let mut bytes = [0xa5; SECTOR_SIZE];
                cache.read(index, number * SECTOR_SIZE, &mut bytes);
                verify_sector(index, number, &bytes);
            }
            _ => {
                let mut back = same(0xa5a5_a5a5_a5a5_a5a5);
                cache.get(index, &mut back);
                verify(index, &back);
            }
        }
    }
}

/// The operations, none of which fails here.
trait Cached: Send + Sync {
    fn put(&self, index: u64, page: &[u8; PAGE]);
    fn get(&self, index: u64, page: &mut [u8; PAGE]);
    fn discard(&self, index: u64);
    fn read(&self, index: u64, offset: usize, bytes: &mut [u8]);
    fn write(&self, index: u64, offset: usize, bytes: &[u8]);
}

impl<S, C, L, const ARENAS: usize> Cached for Cache<S, C, Vec<Shared<C, PAGE>>, L, PAGE, ARENAS>
where
    S: alloc_xv::PageSource,
    C: Codec,
    L: lock_api::RawMutex + Send + Sync,
{
    fn put(&self, index: u64, page: &[u8; PAGE]) {
        self.put(index, page).unwrap();
    }

    fn get(&self, index: u64, page: &mut [u8; PAGE]) {
        self.get(index, page).unwrap();
    }

    fn discard(&self, index: u64) {
        self.discard(index).unwrap();
    }

    fn read(&self, index: u64, offset: usize, bytes: &mut [u8]) {
        self.read(index, offset, bytes).unwrap();
    }

    fn write(&self, index: u64, offset: usize, bytes: &[u8]) {
        self.write(index, offset, bytes).unwrap();
    }
}

fn work_together<C: Cached>(cache: &C, threads: u64, steps: u64) {
    thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || work(cache, thread, steps));
        }
    });
}

#[test]
fn pages_stay_whole_under_four_threads_and_a_compactor() {
    let cache = StdCache::build(Lz4, Config::new(PAGES)).unwrap();
    let cache = Arc::new(cache);
    let compactor = Compactor::spawn(&cache).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                cache.compact(16);
                thread::yield_now();
            }
        });
        work_together(&*cache, 4, 4000);
        stop.store(true, Relaxed);
    });
    drop(compactor);
    cache.check().unwrap();
    let mut back = blank();
    let mut stored = 0;
    for index in 0..PAGES {
        stored += u64::from(cache.get(index, &mut back).unwrap());
        verify(index, &back);
    }
    assert_eq!(cache.mm_stat().orig_data_size, stored * PAGE as u64);
    let io = cache.io_stat();
    assert_eq!(
        (io.failed_reads, io.failed_writes, io.invalid_io),
        (0, 0, 0)
    );
    cache.reset();
    assert_eq!(cache.mm_stat().mem_used_total, 0);
}

#[test]
fn frees_pack_the_space_while_six_threads_work() {
    let cache = cache_with(region::<4096>(600), Lz4, Config::new(PAGES), 3);
    work_together::<TestCache<_, _, PAGE>>(&cache, 6, 2500);
    cache.check().unwrap();
    cache.reset();
    let stat = cache.mm_stat();
    assert_eq!(
        stat,
        compcache::MmStat::default().with_compacted(stat.pages_compacted)
    );
}

trait WithCompacted {
    fn with_compacted(self, pages: u64) -> Self;
}

impl WithCompacted for compcache::MmStat {
    fn with_compacted(mut self, pages: u64) -> Self {
        self.pages_compacted = pages;
        self
    }
}

/// One workspace for all. A read or write of a part once held the page and waited for the
/// workspace, while a whole read had the workspace and waited for the page: neither went on.
#[test]
fn threads_share_one_workspace_and_one_page() {
    let cache: TestCache<_, _, PAGE> = cache(region::<4096>(20), Lz4, Config::new(1));
    thread::scope(|scope| {
        for thread in 0..4 {
            let cache = &cache;
            scope.spawn(move || {
                for step in 0..2000 {
                    let (mut part, mut back) = ([0; 512], blank());
                    match (step + thread) % 4 {
                        0 => cache.put(0, &noise(step)).unwrap(),
                        1 => drop(cache.get(0, &mut back).unwrap()),
                        2 => cache.write(0, 512, &[step as u8; 1024]).unwrap(),
                        _ => cache.read(0, 512, &mut part).unwrap(),
                    }
                }
            });
        }
    });
    cache.check().unwrap();
}

/// A page can be overwritten, and taken off a counter, before who stored it has added it. The
/// sum over all counters then overflowed, which is a panic where overflow is checked.
#[test]
fn statistics_can_be_read_while_pages_change() {
    let cache: TestCache<_, _, PAGE> = cache_with(region::<4096>(40), Lz4, Config::new(2), 4);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|thread| {
                let cache = &cache;
                scope.spawn(move || {
                    for step in 0..30_000 {
                        let word = if step % 2 == 0 {
                            0x4123_4567_89ab_cdef
                        } else {
                            thread
                        };
                        cache.put(0, &same(word)).unwrap();
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                let stat = cache.mm_stat();
                assert!(stat.same_pages <= 4, "{stat:?}");
                assert!(stat.orig_data_size <= 8 * PAGE as u64, "{stat:?}");
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        stop.store(true, Relaxed);
    });
    assert_eq!(cache.mm_stat().same_pages, 1);
}
