//! Several threads use pages of the same units while one makes them denser, merges them and writes
//! them back. Every page has one thread that writes it, so that thread knows what it must read; pages
//! are much alike, so that all of them share, and neighbours belong to different threads.

mod common;

use alloc_xv::PageSource;
use common::{Page, Rng, TestCache, blank, cache_with, mixed, mmap, region};
use compcache::{
    Codec, Config, Error, Policy, Recompress, SECTOR_SIZE, What, Worker, Workspace, WrittenBack,
};
use compress::Ladder;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

const PAGE: usize = 4096;
const PAGES: u64 = 64;
const USERS: u64 = 3;
#[cfg(feature = "zstd")]
const LADDER: &str = "lz4 zstd:1";
#[cfg(not(feature = "zstd"))]
const LADDER: &str = "lz4 lz4hc";

type Tested<S> = TestCache<S, Ladder, PAGE>;

/// The backing store: what was written under a token, for which key. Tokens are given once, so a record
/// stays readable for whoever has read its token out of a slot.
#[derive(Default)]
struct Store {
    records: Mutex<HashMap<u64, (u64, Vec<u8>)>>,
    next: AtomicU64,
}

impl Store {
    fn token(&self, len: usize) -> u64 {
        let number = self.next.fetch_add(1, Relaxed);
        (number % 3) << 28 | (number / 3) << 14 | (len.div_ceil(16) as u64 - 1)
    }

    fn read(&self, at: WrittenBack) -> Vec<u8> {
        let records = self.records.lock().unwrap();
        let (key, record) = records.get(&at.token).expect("a token that was given");
        assert_eq!(*key, at.key);
        record.clone()
    }
}

/// A page out of a few, most of them with a little difference.
fn page(rng: &mut Rng) -> Page<PAGE> {
    let which = rng.below(5) as u64;
    let mut page: Page<PAGE> = mixed(which, 60 + 20 * which as usize);
    if rng.below(3) == 0 {
        let block = rng.below(PAGE / 64) * 64;
        rng.fill(&mut page[block..block + 64]);
    }
    page
}

struct User<'c, S: PageSource> {
    cache: &'c Tested<S>,
    store: &'c Store,
    space: Box<Workspace<Ladder, PAGE>>,
    rng: Rng,
    number: u64,
    map: HashMap<u64, Page<PAGE>>,
}

impl<S: PageSource> User<'_, S> {
    fn get(&mut self, index: u64) {
        let mut page: Page<PAGE> = blank();
        page.fill(0xa5);
        let stored = match self.cache.get(index, &mut page) {
            Ok(stored) => stored,
            Err(Error::WrittenBack(at)) => {
                let record = self.store.read(at);
                self.cache
                    .get_record(&mut self.space, index, at, &record, &mut page)
                    .unwrap();
                if self.rng.below(2) == 0 {
                    // The record may be moved meanwhile: then it stays where it is.
                    match self.cache.restore(&mut self.space, index, at, &page) {
                        Ok(_) | Err(Error::NoSpace(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                true
            }
            Err(error) => panic!("page {index}: {error}"),
        };
        match self.map.get(&index) {
            Some(expected) => assert!(stored && page == *expected, "page {index} is another"),
            None => assert!(
                !stored && page.iter().all(|&byte| byte == 0),
                "page {index}"
            ),
        }
    }

    fn step(&mut self) {
        let index = self.rng.below((PAGES / USERS) as usize) as u64 * USERS + self.number;
        match self.rng.below(12) {
            0..3 => {
                let page = page(&mut self.rng);
                match self.cache.put(index, &page) {
                    Ok(()) => drop(self.map.insert(index, page)),
                    Err(Error::NoSpace(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            3 => {
                let was = self.map.remove(&index).is_some();
                assert_eq!(self.cache.discard(index), Ok(was));
            }
            4 => {
                let offset = self.rng.below(PAGE / SECTOR_SIZE) * SECTOR_SIZE;
                let mut bytes = [0; SECTOR_SIZE];
                self.rng.fill(&mut bytes[..100]);
                match self.cache.write(index, offset, &bytes) {
                    Ok(()) => {
                        let page = self.map.entry(index).or_insert_with(blank);
                        page[offset..offset + SECTOR_SIZE].copy_from_slice(&bytes);
                    }
                    Err(Error::NoSpace(_) | Error::WrittenBack(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            5 => {
                let mut out = [0xa5; SECTOR_SIZE];
                match self.cache.read(index, SECTOR_SIZE, &mut out) {
                    Ok(()) => match self.map.get(&index) {
                        Some(page) => assert_eq!(out, page[SECTOR_SIZE..2 * SECTOR_SIZE]),
                        None => assert_eq!(out, [0; SECTOR_SIZE]),
                    },
                    Err(Error::WrittenBack(_)) => assert!(self.map.contains_key(&index)),
                    Err(error) => panic!("{error}"),
                }
            }
            // Pages of others are read too: they must be readable.
            6 => {
                let index = self.rng.below(PAGES as usize) as u64;
                match self.cache.get(index, &mut blank()) {
                    Ok(_) | Err(Error::WrittenBack(_)) => {}
                    Err(error) => panic!("page {index}: {error}"),
                }
            }
            _ => self.get(index),
        }
    }
}

/// Everything that one worker does.
struct Work<'c, S: PageSource> {
    cache: &'c Tested<S>,
    store: &'c Store,
    worker: Box<Worker<Ladder, PAGE>>,
    policy: Policy,
    rng: Rng,
    now: u64,
}

impl<S: PageSource> Work<'_, S> {
    fn step(&mut self) {
        match self.rng.below(12) {
            0..5 => {
                self.now += self.policy.turn_ms;
                let budget = self.rng.below(100) as u64;
                self.cache
                    .tick(&mut self.worker, &self.policy, self.now, budget)
                    .unwrap();
            }
            5..7 => drop(self.cache.merge_all(&mut self.worker, || true).unwrap()),
            7 => {
                self.cache.mark_idle(None).unwrap();
                let how = Recompress {
                    what: What::Idle,
                    rung: 1,
                    threshold: 0,
                    max_pages: 10,
                };
                self.cache
                    .recompress(&mut self.worker, how, || true)
                    .unwrap();
            }
            8 => drop(self.cache.compact(20)),
            9 => self.move_one(),
            _ => self.write_back(),
        }
    }

    fn write_back(&mut self) {
        let first = self.rng.below(PAGES as usize) as u64;
        let mut batch = vec![];
        for index in first..(first + 8).min(PAGES) {
            let taken = self.cache.take_record(&mut self.worker, index).unwrap();
            batch.extend(taken.map(|(key, record)| (key, record.to_vec())));
        }
        // Writing takes a while.
        thread::yield_now();
        for (key, record) in batch {
            let token = self.store.token(record.len());
            let mut records = self.store.records.lock().unwrap();
            records.insert(token, (key, record.clone()));
            drop(records);
            self.cache.commit_record(key, token, &record).unwrap();
        }
    }

    fn move_one(&mut self) {
        let records = self.store.records.lock().unwrap();
        let some = records.iter().nth(self.rng.below(records.len().max(1)));
        let Some((old, (key, record))) = some.map(|(&old, found)| (old, found.clone())) else {
            return;
        };
        drop(records);
        let new = self.store.token(record.len());
        let mut records = self.store.records.lock().unwrap();
        records.insert(new, (key, record));
        drop(records);
        self.cache.move_record(key, old, new).unwrap();
    }
}

fn round<S: PageSource>(
    source: S,
    ladder: &str,
    config: Config,
    seed: u64,
    steps: u64,
) -> [u64; 4] {
    let ladder: Ladder = ladder.parse().unwrap();
    let cache: Tested<S> = cache_with(source, ladder.clone(), config, 2);
    let store = Store::default();
    let mut policy = Policy::ALL;
    policy.turn_ms = 10;
    let running = AtomicU64::new(USERS);
    let maps = thread::scope(|scope| {
        let users: Vec<_> = (0..USERS)
            .map(|number| {
                let mut user = User {
                    cache: &cache,
                    store: &store,
                    space: Box::new(Workspace::new(ladder.workspace(PAGE).unwrap())),
                    rng: Rng(seed << 8 | number),
                    number,
                    map: HashMap::new(),
                };
                let running = &running;
                scope.spawn(move || {
                    let done = Done(running);
                    (0..steps).for_each(|_| user.step());
                    drop(done);
                    user.map
                })
            })
            .collect();
        let mut work = Work {
            cache: &cache,
            store: &store,
            worker: Box::new(Worker::new(ladder.worker_workspace(PAGE).unwrap())),
            policy,
            rng: Rng(seed << 8 | 0xff),
            now: 0,
        };
        while running.load(Relaxed) > 0 {
            work.step();
        }
        users
            .into_iter()
            .map(|user| user.join().unwrap())
            .collect::<Vec<_>>()
    });
    cache.check().unwrap();
    let stat = cache.tier_stat();
    let pages: usize = maps.iter().map(HashMap::len).sum();
    assert_eq!(cache.mm_stat().orig_data_size, (pages * PAGE) as u64);
    for (number, map) in maps.into_iter().enumerate() {
        let mut user = User {
            cache: &cache,
            store: &store,
            space: Box::new(Workspace::new(ladder.workspace(PAGE).unwrap())),
            rng: Rng(seed),
            number: number as u64,
            map,
        };
        for index in (number as u64..PAGES).step_by(USERS as usize) {
            user.get(index);
        }
    }
    cache.reset();
    cache.check().unwrap();
    assert_eq!(cache.mm_stat().orig_data_size, 0);
    assert_eq!(cache.mm_stat().compr_data_size, 0);
    [
        stat.deduplicated,
        stat.patched,
        stat.clustered + u64::from(cfg!(not(feature = "zstd"))),
        stat.written_back,
    ]
}

/// Counts a thread as ended, also if it panics.
struct Done<'a>(&'a AtomicU64);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

fn rounds(run: impl Fn(u64) -> [u64; 4]) {
    let mut done = [0; 4];
    for seed in 0..12 {
        for (sum, some) in done.iter_mut().zip(run(seed)) {
            *sum += some;
        }
    }
    assert!(done.iter().all(|&kind| kind > 0), "{done:?}");
}

/// A number whose shared object was being read was once taken for a free one: who looks for one
/// leaves out slots that somebody holds. Another page's bytes came to be there.
#[test]
fn pages_stay_what_they_are_while_one_thread_makes_them_denser() {
    rounds(|seed| {
        let config = Config {
            unit: [16, 32, 64][seed as usize % 3] * 1024,
            checksum: seed % 4 != 3,
            ..Config::new(PAGES)
        };
        round(region::<4096>(400), LADDER, config, seed, 1500)
    });
}

#[test]
fn the_same_when_memory_runs_out() {
    rounds(|seed| {
        let config = Config {
            mem_limit: 4096 * (24 + 2 * seed),
            ..Config::new(PAGES)
        };
        round(mmap::<4096>(400), LADDER, config, 100 + seed, 1000)
    });
}
