//! Pages in denser forms, beside a plain map: the worker, the clock, a backing store that is a map, and
//! memory that runs out, in between of everything a user does.
#![cfg(feature = "zstd")]

mod common;

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

/// Pages were compared a turn after they were put, when they were too young for patches, and noted as
/// compared: on a clock that goes slowly nothing ever became a patch.
#[test]
fn pages_that_nearly_are_the_same_become_patches_when_they_are_old_enough() {
    let mut model = alone(Config::new(DEVICE));
    let page: Page<4096> = mixed(1, 100);
    for index in 0..20 {
        let mut page = page.clone();
        Rng(index).fill(&mut page[64..128]);
        model.cache.put(index * 100, &page).unwrap();
        model.map.insert(index * 100, page);
    }
    let policy = policy();
    let mut late = Work::default();
    for turn in 0..20 {
        let work = tick_at(&mut model, &policy, turn * policy.turn_ms);
        if turn > 8 {
            late = late.and(work);
        }
    }
    assert!(model.cache.tier_stat().patched > 15);
    assert_eq!(late, Work::default(), "it does not come to rest");
    model.verify();
}

/// Pages that became old enough while others were compared were not compared with those, and nobody came
/// back to them: after a while without accesses the clock stood still.
#[test]
fn pages_that_become_old_while_others_are_compared_are_compared_next() {
    let mut model = alone(Config::new(DEVICE));
    let policy = policy();
    let mut now = 0;
    let put = |model: &mut Model<_, 4096>, index, seed| {
        let page: Page<4096> = mixed(seed, 100);
        model.cache.put(index, &page).unwrap();
        model.map.insert(index, page);
    };
    let turn = |model: &mut Model<_, 4096>, now: &mut u64| {
        *now += policy.turn_ms;
        tick_at(model, &policy, *now)
    };
    (0..300).for_each(|page| put(&mut model, page, page));
    for _ in 0..8 {
        turn(&mut model, &mut now);
    }
    assert_eq!(model.cache.tier_stat().deduplicated, 0);
    // Some copies come, and the others a turn later.
    (0..60).for_each(|page| put(&mut model, 1000 + page, page));
    turn(&mut model, &mut now);
    (60..300).for_each(|page| put(&mut model, 1000 + page, page));
    let mut busy = 0;
    for _ in 0..4 {
        now += policy.turn_ms;
        for _ in 0..4 {
            let tick = model.cache.tick(&mut model.worker, &policy, now, 60);
            busy += u32::from(tick.unwrap().more);
        }
    }
    assert!(busy > 12, "it was not under way");
    for _ in 0..20 {
        turn(&mut model, &mut now);
    }
    assert_eq!(model.cache.tier_stat().deduplicated, 300);
    assert_eq!(turn(&mut model, &mut now), Work::default());
    model.verify();
}

/// In each batch the same pages were merged with each other before they met those of the batches before: as
/// many objects with the same bytes were left as there were batches.
#[test]
fn pages_of_all_batches_share_one_object() {
    let mut model = alone(Config::new(DEVICE));
    let same: Page<4096> = mixed(7777, 100);
    for index in 0..400 {
        let page = match index % 20 {
            3 | 11 => same.clone(),
            _ => mixed(index, 100),
        };
        model.cache.put(index, &page).unwrap();
        model.map.insert(index, page);
    }
    model.cache.merge_all(&mut model.worker, || true).unwrap();
    assert_eq!(model.cache.tier_stat().shared, 1);
    model.verify();
}

/// New pages that were all like one that was there were merged with each other first: then the old page
/// became what one of them had, and the others kept a second object with the same bytes.
#[test]
fn copies_of_a_page_that_was_there_share_its_object() {
    let mut model = alone(Config::new(DEVICE));
    let policy = policy();
    let page: Page<4096> = mixed(1, 100);
    let put = |model: &mut Model<_, 4096>, index, page: &Page<4096>| {
        model.cache.put(index, page).unwrap();
        model.map.insert(index, page.clone());
    };
    for index in 0..100 {
        put(&mut model, index, &noise(index));
    }
    put(&mut model, 100, &page);
    for turn in 0..6 {
        tick_at(&mut model, &policy, turn * policy.turn_ms);
    }
    assert_eq!(model.cache.tier_stat().shared, 0);
    for index in 200..210 {
        put(&mut model, index, &page);
    }
    // Two that are the same and have hardly anything in them: a link would take no less.
    let mut small: Page<4096> = blank();
    small[1000..1040].fill(7);
    put(&mut model, 300, &small);
    put(&mut model, 301, &small);
    for turn in 6..20 {
        tick_at(&mut model, &policy, turn * policy.turn_ms);
    }
    let stat = model.cache.tier_stat();
    assert_eq!((stat.shared, stat.shared_pages), (1, 11));
    model.verify();
}

/// A clock that stood still because everything was as old as can be did not go on when the policy was
/// another one: what it wants done then waited for somebody to use a page.
#[test]
fn another_policy_or_limit_is_reason_enough_for_a_turn() {
    let mut model = alone(Config::new(DEVICE));
    for index in 0..40 {
        // Three bits in a byte: only zstd makes it smaller.
        let mut page: Page<4096> = noise(index);
        page.iter_mut().for_each(|byte| *byte &= 7);
        model.cache.put(index, &page).unwrap();
        model.map.insert(index, page);
    }
    let mut now = 0;
    // The work of the first turn, and of the last of some.
    let mut turns = |model: &mut Model<_, 4096>, mut policy: Policy| {
        policy.turn_ms = 10;
        let work = [(); 8].map(|()| {
            now += 10;
            tick_at(model, &policy, now)
        });
        (work[0], work[7])
    };
    assert_eq!(turns(&mut model, Policy::NONE).1, Work::default());
    let (first, last) = turns(&mut model, Policy::ALL);
    assert!(first.leaves > 0 && last == Work::default());
    assert!(model.cache.tier_stat().cluster_pages > 30);
    model.cache.set_mem_limit(1 << 30);
    let (first, last) = turns(&mut model, Policy::ALL);
    assert!(first.leaves > 0 && last == Work::default());
    model.verify();
}

/// The mark says that a page was not overwritten since somebody looked at it. Taken twice, it was there
/// for the first record too, whose bytes were the page's before.
#[test]
fn a_record_that_was_taken_before_the_page_changed_is_not_committed() {
    let mut model = alone(Config::new(DEVICE));
    let pages: [Page<4096>; 2] = [mixed(1, 100), mixed(2, 100)];
    let take = |model: &mut Model<_, 4096>, which: usize| {
        model.cache.put(5, &pages[which]).unwrap();
        let taken = model.cache.take_record(&mut model.worker, 5).unwrap();
        taken.unwrap().1.to_vec()
    };
    let (old, new) = (take(&mut model, 0), take(&mut model, 1));
    assert_eq!(old.len(), new.len());
    let token = (old.len().div_ceil(16) - 1) as u64;
    assert_eq!(model.cache.commit_record(5, token, &old), Ok(false));
    let mut back: Page<4096> = blank();
    assert_eq!(model.cache.get(5, &mut back), Ok(true));
    assert_eq!(back, pages[1]);
    // The mark went with the refusal; with a new one it is stored.
    let new_again = take(&mut model, 1);
    assert_eq!(new, new_again);
    // A token of more than 56 bits would be another one in the slot.
    assert_eq!(model.cache.commit_record(5, 1 << 56, &new), Ok(false));
    let new = take(&mut model, 1);
    assert_eq!(model.cache.commit_record(5, token, &new), Ok(true));
    assert!(model.cache.wants_record(5, token));
}

/// A run that begins while another has not ended has a table of another size: the rest of the larger one
/// was never emptied.
#[test]
fn a_run_that_begins_anew_leaves_nothing_behind() {
    let mut model = alone(Config::new(DEVICE));
    for index in 0..DEVICE {
        model.cache.put(index, &noise(index)).unwrap();
    }
    let mut left = 3000;
    let go_on = || {
        left -= 1;
        left > 0
    };
    model.cache.merge_all(&mut model.worker, go_on).unwrap();
    for index in 0..DEVICE {
        model.cache.discard(index).unwrap();
    }
    model.cache.merge_all(&mut model.worker, || true).unwrap();
    assert_eq!(model.cache.mm_stat().mem_used_total, 0);
}

#[test]
fn a_page_that_was_made_denser_by_itself_comes_back_when_it_is_read_twice() {
    for (ladder, comes_back) in [
        ("lz4 zstd:3", true),
        ("lz4 lz4hc", false),
        ("zstd:1 zstd:9", false),
    ] {
        let mut model = Model::<_, 4096>::new(mmap::<4096>(400), ladder, Config::new(DEVICE), 1);
        // Half of each byte is always the same: entropy coding wins much.
        let mut page: Page<4096> = noise(5);
        page.iter_mut().for_each(|byte| *byte &= 0x0f);
        page[..2048].fill(7);
        page[100..200].fill(9);
        model.cache.put(7, &page).unwrap();
        model.cache.mark_idle(None).unwrap();
        let how = Recompress {
            what: What::Idle,
            rung: 1,
            threshold: 0,
            max_pages: 0,
        };
        let changed = model
            .cache
            .recompress(&mut model.worker, how, || true)
            .unwrap();
        // Both levels of zstd make the same of it; it is not LZ4's in either case.
        assert_eq!(changed, u64::from(ladder.starts_with("lz4")), "{ladder}");
        let dense = model.cache.mm_stat().compr_data_size;
        let mut back: Page<4096> = blank();
        for read in 1..=3 {
            assert!(model.cache.get(7, &mut back).unwrap() && back == page);
            let promoted = u64::from(comes_back && read >= 2);
            assert_eq!(
                model.cache.tier_stat().promoted,
                promoted,
                "{ladder}, read {read}"
            );
        }
        assert_eq!(model.cache.mm_stat().compr_data_size > dense, comes_back);
        model.cache.check().unwrap();
    }
}
