//! Pages in denser forms, beside a plain map: the worker, the clock, a backing store that is a map, and
//! memory that runs out, in between of everything a user does.
#![cfg(feature = "zstd")]

#[path = "../common/mod.rs"]
mod common;
mod same;
mod turns;

use alloc_xv::{Failing, PageSource};
use common::{Page, Rng, TestCache, any_page, blank, cache, mixed, mmap, noise, region};
use compcache::{
    Codec, Config, Error, Policy, Recompress, SECTOR_SIZE, What, Work, Worker, Workspace,
    WrittenBack,
};
use compress::Ladder;
use std::collections::{BTreeMap, HashMap};

const DEVICE: u64 = 2000;

struct Model<S: PageSource, const PAGE: usize> {
    cache: TestCache<S, Ladder, PAGE>,
    worker: Box<Worker<Ladder, PAGE>>,
    space: Box<Workspace<Ladder, PAGE>>,
    map: BTreeMap<u64, Page<PAGE>>,
    /// The backing store: what was written under a token, for which key.
    store: HashMap<u64, (u64, Vec<u8>)>,
    next_token: u64,
    now: u64,
    rng: Rng,
    /// Pages to take variations of, so that some are the same and some nearly.
    stock: Vec<Page<PAGE>>,
    work: Work,
    /// Shared pages that were in clusters at a time.
    shared_members: u64,
}

impl<S: PageSource, const PAGE: usize> Model<S, PAGE> {
    fn new(source: S, ladder: &str, config: Config, seed: u64) -> Self {
        let ladder: Ladder = ladder.parse().unwrap();
        let worker = Worker::new(ladder.worker_workspace(PAGE).unwrap());
        let space = Workspace::new(ladder.workspace(PAGE).unwrap());
        let stock = (0..6)
            .map(|seed| mixed(seed, 20 + 30 * seed as usize))
            .collect();
        Self {
            cache: cache(source, ladder, config),
            worker: Box::new(worker),
            space: Box::new(space),
            map: BTreeMap::new(),
            store: HashMap::new(),
            next_token: 0,
            now: 0,
            rng: Rng(seed),
            stock,
            work: Work::default(),
            shared_members: 0,
        }
    }

    fn index(&mut self) -> u64 {
        // Neighbours, in a few places.
        let place = self.rng.below(4) as u64 * 600;
        (place + self.rng.below(40) as u64).min(DEVICE - 1)
    }

    fn page(&mut self) -> Page<PAGE> {
        match self.rng.below(8) {
            0 => any_page(&mut self.rng),
            1 => noise(self.rng.next()),
            2 | 3 => self.stock[self.rng.below(self.stock.len())].clone(),
            _ => {
                let which = self.rng.below(self.stock.len());
                let mut page = self.stock[which].clone();
                for _ in 0..1 + self.rng.below(3) {
                    let block = self.rng.below(PAGE / 64) * 64;
                    self.rng.fill(&mut page[block..block + 64]);
                }
                page
            }
        }
    }

    fn record(&self, at: WrittenBack) -> Vec<u8> {
        let (key, record) = self.store.get(&at.token).expect("a token that was given");
        assert_eq!(*key, at.key);
        record.clone()
    }

    fn get(&mut self, index: u64) {
        let mut page: Page<PAGE> = blank();
        page.fill(0xa5);
        let stored = match self.cache.get(index, &mut page) {
            Ok(stored) => stored,
            Err(Error::WrittenBack(at)) => {
                let record = self.record(at);
                self.cache
                    .get_record(&mut self.space, index, at, &record, &mut page)
                    .unwrap();
                if self.rng.below(2) == 0 {
                    match self.cache.restore(&mut self.space, index, at, &page) {
                        Ok(restored) => assert!(restored),
                        Err(Error::NoSpace(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                true
            }
            Err(error) => panic!("page {index}: {error}"),
        };
        match self.map.get(&index) {
            Some(expected) => assert!(stored && page == *expected, "page {index}"),
            None => assert!(!stored && page.iter().all(|&byte| byte == 0)),
        }
    }

    fn put(&mut self, index: u64) {
        let page = self.page();
        match self.cache.put(index, &page) {
            Ok(()) => {
                self.map.insert(index, page);
            }
            Err(Error::NoSpace(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn write(&mut self, index: u64) {
        let sector = self.rng.below(PAGE / SECTOR_SIZE) * SECTOR_SIZE;
        let mut bytes = [0; SECTOR_SIZE];
        self.rng.fill(&mut bytes);
        match self.cache.write(index, sector, &bytes) {
            Ok(()) => {
                let page = self.map.entry(index).or_insert_with(blank);
                page[sector..sector + SECTOR_SIZE].copy_from_slice(&bytes);
            }
            Err(Error::NoSpace(_) | Error::WrittenBack(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn read(&mut self, index: u64) {
        let mut out = [0xa5; SECTOR_SIZE];
        match self.cache.read(index, 0, &mut out) {
            Ok(()) => match self.map.get(&index) {
                Some(page) => assert_eq!(out, page[..SECTOR_SIZE]),
                None => assert_eq!(out, [0; SECTOR_SIZE]),
            },
            Err(Error::WrittenBack(_)) => assert!(self.map.contains_key(&index)),
            Err(error) => panic!("{error}"),
        }
    }

    fn discard(&mut self, index: u64) {
        let was = self.map.remove(&index).is_some();
        assert_eq!(self.cache.discard(index), Ok(was));
    }

    fn write_back(&mut self, index: u64) {
        let taken = self.cache.take_record(&mut self.worker, index).unwrap();
        let Some((key, record)) = taken.map(|(key, record)| (key, record.to_vec())) else {
            return;
        };
        // Now and then somebody overwrites it, or the store fails, in between.
        match self.rng.below(8) {
            0 => self.put(index),
            1 => self.discard(index),
            2 => return self.cache.abandon_record(key),
            _ => {}
        }
        let units = record.len().div_ceil(16) as u64;
        let token = (self.next_token % 50) << 28 | (self.next_token / 50) << 14 | (units - 1);
        self.next_token += 1;
        if self.cache.commit_record(key, token, &record).unwrap() {
            assert!(self.store.insert(token, (key, record)).is_none());
        }
    }

    /// A record is stored somewhere else, as if the store were cleaned.
    fn clean(&mut self) {
        let Some((&old, _)) = self.store.iter().next() else {
            return;
        };
        let (key, record) = self.store.remove(&old).unwrap();
        let wanted = self.cache.wants_record(key, old);
        let new = (self.next_token % 50) << 28 | (self.next_token / 50) << 14 | (old & 0x3fff);
        self.next_token += 1;
        if self.cache.move_record(key, old, new).unwrap() {
            assert!(wanted);
            self.store.insert(new, (key, record));
        } else if wanted {
            // There was no memory to note it: it stays.
            self.store.insert(old, (key, record));
        }
    }

    fn tick(&mut self, policy: &Policy) {
        self.now += 1 + self.rng.below(30) as u64 * 1000;
        let budget = self.rng.below(200) as u64;
        let tick = self
            .cache
            .tick(&mut self.worker, policy, self.now, budget)
            .unwrap();
        assert!(
            tick.work.units() <= budget + TestCache::<S, Ladder, PAGE>::TICK_OVER,
            "{tick:?} with a budget of {budget}"
        );
        self.work = self.work.and(tick.work);
        let members = self.cache.tier_stat().shared_members;
        self.shared_members = self.shared_members.max(members);
    }

    fn step(&mut self, policy: &Policy) {
        let index = self.index();
        match self.rng.below(40) {
            0..14 => self.put(index),
            14..20 => self.get(index),
            20 | 21 => self.read(index),
            22 | 23 => self.write(index),
            24 | 25 => self.discard(index),
            26..33 => self.tick(policy),
            33 => {
                for index in index..(index + 16).min(DEVICE) {
                    self.write_back(index);
                }
            }
            34 => self.clean(),
            35 => {
                let age = self.rng.below(5) as u8;
                let age = Some(age).filter(|&age| age < 4);
                self.cache.mark_idle(age).unwrap();
            }
            36 => {
                let how = Recompress {
                    what: [What::Idle, What::Huge, What::HugeIdle][self.rng.below(3)],
                    rung: 1,
                    threshold: self.rng.below(PAGE),
                    max_pages: self.rng.below(30) as u64,
                };
                match self.cache.recompress(&mut self.worker, how, || true) {
                    Ok(_) => {}
                    Err(Error::NoSuchRung { rungs: 0, .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            37 => {
                let mut left = self.rng.below(300);
                let go_on = || {
                    left = left.saturating_sub(1);
                    left > 0
                };
                self.cache.merge_all(&mut self.worker, go_on).unwrap();
            }
            38 => {
                self.cache.compact(u64::MAX);
            }
            _ => {
                for index in index..(index + 20).min(DEVICE) {
                    self.put(index);
                }
            }
        }
    }

    fn verify(&mut self) {
        self.cache.check().unwrap();
        let keys: Vec<_> = self.map.keys().copied().collect();
        for index in keys {
            self.get(index);
        }
        let stat = self.cache.mm_stat();
        assert_eq!(stat.orig_data_size, (self.map.len() * PAGE) as u64);
        self.cache.check().unwrap();
    }

    /// Nothing is left of anything.
    fn empty(&mut self) {
        self.cache.reset();
        self.map.clear();
        self.cache.check().unwrap();
        let stat = self.cache.tier_stat();
        let nothing = [
            stat.cluster_pages,
            stat.clusters,
            stat.shared_pages,
            stat.shared,
            stat.patches,
            stat.backed_pages,
            stat.backed_clusters,
            stat.backed_bytes,
        ];
        assert_eq!(nothing, [0; 8]);
        assert_eq!(self.cache.mm_stat().orig_data_size, 0);
        assert_eq!(self.cache.mm_stat().compr_data_size, 0);
    }
}

fn policy() -> Policy {
    let mut policy = Policy::ALL;
    policy.turn_ms = 10_000;
    policy
}

fn run<S: PageSource, const PAGE: usize>(
    source: S,
    ladder: &str,
    config: Config,
    seed: u64,
    steps: usize,
) -> (compcache::TierStat, u64) {
    let mut model = Model::<S, PAGE>::new(source, ladder, config, seed);
    let policy = policy();
    for step in 0..steps {
        model.step(&policy);
        if step % 500 == 0 {
            model.verify();
        }
    }
    model.verify();
    let done = (model.cache.tier_stat(), model.shared_members);
    model.empty();
    done
}

#[test]
fn every_form_beside_a_map() {
    let mut done = [0; 8];
    for (seed, unit) in [(1, 16), (2, 32), (3, 64), (4, 64)] {
        let config = Config {
            unit: unit * 1024,
            checksum: seed != 4,
            ..Config::new(DEVICE)
        };
        let (stat, shared_members) =
            run::<_, 4096>(mmap::<4096>(4000), "lz4 zstd:3", config, seed, 5000);
        let kinds = [
            stat.recompressed,
            stat.clustered,
            stat.deduplicated,
            stat.patched,
            stat.promoted,
            stat.written_back,
            stat.backed_reads,
            shared_members,
        ];
        for (done, kind) in done.iter_mut().zip(kinds) {
            *done += kind;
        }
    }
    assert!(done.iter().all(|&kind| kind > 20), "{done:?}");
}

#[test]
fn without_windows_and_with_other_pages() {
    let config = Config::new(DEVICE);
    run::<_, 4096>(region::<4096>(4000), "lz4 lz4hc zstd:1", config, 5, 3000);
    run::<_, 16384>(region::<4096>(12000), "lz4 zstd:1", config, 6, 1500);
    run::<_, 65536>(mmap::<4096>(40000), "lz4 zstd:1", config, 7, 300);
    run::<_, 4096>(mmap::<4096>(4000), "zstd:1", config, 8, 1000);
}

#[test]
fn when_memory_runs_out_all_the_time() {
    for seed in 10..14 {
        let limit = Config {
            mem_limit: 4096 * (20 + 10 * seed),
            ..Config::new(DEVICE)
        };
        run::<_, 4096>(mmap::<4096>(4000), "lz4 zstd:1", limit, seed, 3000);
    }
}

#[test]
fn when_the_page_source_fails_at_random() {
    for seed in 20..24 {
        let source = Failing::new(region::<4096>(4000));
        let mut model = Model::<_, 4096>::new(source, "lz4 zstd:1", Config::new(DEVICE), seed);
        for step in 0..3000 {
            let often = model.rng.below(20);
            model.cache.source().fail_after(often);
            model.step(&policy());
            if step % 500 == 0 {
                model.verify();
            }
        }
        model.verify();
        model.empty();
    }
}

/// A cache with a worker, and nothing done yet.
fn alone(config: Config) -> Model<alloc_xv::RegionSource<4096>, 4096> {
    Model::new(region::<4096>(4000), "lz4 zstd:1", config, 1)
}

/// Ticks until there is nothing to do at `now` any more.
fn tick_at<S: PageSource>(model: &mut Model<S, 4096>, policy: &Policy, now: u64) -> Work {
    let mut work = Work::default();
    loop {
        let tick = model.cache.tick(&mut model.worker, policy, now, 100);
        let tick = tick.unwrap();
        work = work.and(tick.work);
        if !tick.more {
            return work;
        }
    }
}
