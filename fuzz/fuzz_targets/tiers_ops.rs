//! The cache's denser forms beside a plain map: what a user does, and between any two steps of it what
//! the worker does, with any policy and budget: clusters, recompressing, the same pages once, patches,
//! records that go to a store and come back, moved or late. Pages run out, the limit moves.
#![no_main]

mod model_common;

use alloc_xv::{Counting, Failing, PageSource};
use compcache::{
    Cache, Codec, Config, Error, Policy, Recompress, SECTOR_SIZE, Shared, TierStat, What, Worker,
    Workspace, WrittenBack,
};
use compress::Ladder;
use libfuzzer_sys::fuzz_target;
use model_common::{Counted, Input, Regions, Source, is_no_memory, pattern};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Steps of one input, and pages' worth of work that its worker does: compressing takes its time.
const STEPS_MAX: u64 = 120;
const WORK_MAX: u64 = 400;
const DEVICE: u64 = 1 << 9;
/// Places for records in the store.
const PLACES: u64 = 12;
/// Records that were taken and are neither stored nor given up.
const PENDING_MAX: usize = 4;

type Page<const PAGE: usize> = Box<[u8; PAGE]>;
type Bank<const PAGE: usize> = &'static [Shared<Ladder, PAGE>];
type Tested<'s, const PAGE: usize, P> =
    Cache<Source<'s, P>, Ladder, Bank<PAGE>, spin::Mutex<()>, PAGE, 2>;

fn blank<const PAGE: usize>() -> Page<PAGE> {
    vec![0; PAGE].try_into().expect("PAGE bytes")
}

/// One of a few pages, or nearly one; sometimes something else.
fn page<const PAGE: usize>(seed: u64, input: &mut Input<'_>) -> Page<PAGE> {
    let mut page = blank();
    let kind = input.byte();
    match kind >> 5 {
        0 if kind & 1 == 0 => {
            let word = input.number() ^ input.number();
            for chunk in page.chunks_mut(8) {
                chunk.copy_from_slice(&word.to_le_bytes());
            }
        }
        0 => page.copy_from_slice(&pattern(seed, PAGE)),
        _ => {
            // Noise up to somewhere, then two bytes in turn.
            let which = u64::from(kind & 3);
            let noisy = PAGE / 8 * (1 + which as usize);
            let (front, back) = page.split_at_mut(noisy);
            front.copy_from_slice(&pattern(1000 + which, noisy));
            for pair in back.chunks_mut(2) {
                pair.copy_from_slice(&[which as u8, 7]);
            }
            // Some blocks of it are others.
            for _ in 0..kind >> 2 & 3 {
                let block = usize::from(input.byte()) % (PAGE / 64) * 64;
                page[block..block + 64].copy_from_slice(&pattern(seed, 64));
            }
        }
    }
    page
}

fn is_same(page: &[u8]) -> bool {
    page[8..] == page[..page.len() - 8]
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes == &vec![0; bytes.len()][..]
}

fn policy(input: &mut Input<'_>) -> Policy {
    let (bits, ages) = (input.byte(), input.byte());
    let mut policy = Policy::NONE;
    policy.clusters = bits & 1 != 0;
    policy.same = bits & 2 != 0;
    policy.patches = bits & 4 != 0;
    policy.cold_rung = usize::from(bits >> 3 & 3);
    policy.cool_rung = usize::from(bits >> 5 & 3);
    policy.turn_ms = if bits & 128 != 0 { 2 } else { 0 };
    policy.cold_age = ages % 5;
    policy
}

struct Model<'s, const PAGE: usize, P: PageSource + 'static> {
    cache: Tested<'s, PAGE, P>,
    frames: &'s Counted<P>,
    tools: &'s mut Tools<PAGE>,
    map: BTreeMap<u64, Page<PAGE>>,
    policy: Policy,
    /// What was stored under a token, for which key.
    store: BTreeMap<u64, (u64, Vec<u8>)>,
    pending: Vec<(u64, Vec<u8>)>,
    checksum: bool,
    now: u64,
    work: u64,
    reserved: bool,
}

impl<const PAGE: usize, P: PageSource + 'static> Model<'_, PAGE, P> {
    /// Reads a page, wherever it is; what the store gave, if it was there.
    fn verify(&mut self, index: u64) -> Option<WrittenBack> {
        let mut back: Page<PAGE> = blank();
        back.fill(0xa5);
        let (stored, at) = match self.cache.get(index, &mut back) {
            Ok(stored) => (stored, None),
            Err(Error::WrittenBack(at)) => {
                let (key, record) = self.store.get(&at.token).expect("a token that was given");
                assert_eq!(*key, at.key);
                assert!(self.cache.wants_record(at.key, at.token));
                self.cache
                    .get_written_back(index, at, record, &mut back)
                    .unwrap();
                (true, Some(at))
            }
            Err(error) => panic!("page {index}: {error}"),
        };
        match self.map.get(&index) {
            Some(page) => assert!(stored && back == *page, "page {index} is another"),
            None => assert!(!stored && is_zero(&back[..])),
        }
        assert_eq!(self.cache.contains(index), Ok(stored));
        at
    }

    fn verify_stat(&self) {
        let stat = self.cache.mm_stat();
        let same = self.map.values().filter(|page| is_same(&page[..])).count();
        assert_eq!(stat.orig_data_size, (self.map.len() * PAGE) as u64);
        assert_eq!(stat.same_pages, same as u64);
        assert!(stat.huge_pages <= (self.map.len() - same) as u64);
        assert_eq!(
            stat.mem_used_total,
            (self.frames.taken() * P::PAGE_SIZE) as u64
        );
    }

    /// An operation that failed for want of memory, or because the page is in the store, changed nothing.
    fn change(&mut self, index: u64, new: Page<PAGE>, result: impl Fn(&Self) -> Result<(), Error>) {
        let before = (self.cache.mm_stat(), self.cache.tier_stat());
        match result(self) {
            Ok(()) => drop(self.map.insert(index, new)),
            Err(error) => {
                match error {
                    Error::NoSpace(error) => assert!(is_no_memory(error), "{error}"),
                    Error::WrittenBack(at) => assert!(self.store.contains_key(&at.token)),
                    error => panic!("{error}"),
                }
                let mut after = (self.cache.mm_stat(), self.cache.tier_stat());
                after.0.mem_used_max = before.0.mem_used_max;
                assert_eq!(after, before);
                self.verify(index);
            }
        }
    }

    fn write(&mut self, index: u64, seed: u64, input: &mut Input<'_>) {
        let sectors = PAGE / SECTOR_SIZE;
        let offset = usize::from(input.byte()) % sectors * SECTOR_SIZE;
        let len = (usize::from(1 + input.byte() % 8) * SECTOR_SIZE).min(PAGE - offset);
        let bytes = page::<PAGE>(seed, input)[..len].to_vec();
        let mut new = self.map.get(&index).cloned().unwrap_or_else(blank);
        new[offset..offset + len].copy_from_slice(&bytes);
        self.change(index, new, |model| model.cache.write(index, offset, &bytes));
    }

    fn read(&self, index: u64, input: &mut Input<'_>) {
        let offset = usize::from(input.byte()) % (PAGE / SECTOR_SIZE) * SECTOR_SIZE;
        let mut back = vec![0xa5; SECTOR_SIZE];
        match (
            self.cache.read(index, offset, &mut back),
            self.map.get(&index),
        ) {
            (Ok(()), Some(page)) => assert!(back == page[offset..offset + SECTOR_SIZE]),
            (Ok(()), None) => assert!(is_zero(&back)),
            (Err(Error::WrittenBack(_)), Some(_)) => {}
            (result, _) => panic!("{result:?}"),
        }
    }

    fn restore(&mut self, index: u64) {
        let Some(at) = self.verify(index) else { return };
        let page = &self.map[&index];
        match self.cache.restore(&mut self.tools.space, index, at, page) {
            Ok(restored) => assert!(restored),
            Err(Error::NoSpace(error)) => assert!(is_no_memory(error)),
            Err(error) => panic!("{error}"),
        }
    }

    fn take(&mut self, index: u64) {
        let taken = self.cache.take_record(&mut self.tools.worker, index);
        if let Some((key, record)) = taken.unwrap()
            && self.pending.len() < PENDING_MAX
        {
            self.pending.push((key, record.to_vec()));
        }
    }

    /// A token in a place of the store whose record nobody wants; `None` if somebody wants it.
    fn token(&mut self, place: u8, len: usize) -> Option<u64> {
        let place = u64::from(place) % PLACES;
        // Not in segment 0, whose slot stays.
        let first = (1 + place / 4) << 28 | (place % 4) << 14;
        let there = first..first + (1 << 14);
        if let Some((&token, (key, _))) = self.store.range(there).next() {
            if self.cache.wants_record(*key, token) {
                return None;
            }
            self.store.remove(&token);
        }
        Some(first | (len.div_ceil(16) as u64 - 1))
    }

    fn commit(&mut self, place: u8) {
        if self.pending.is_empty() {
            return;
        }
        let (key, record) = self
            .pending
            .swap_remove(usize::from(place) % self.pending.len());
        match self.token(place, record.len()) {
            None => self.cache.abandon_record(key),
            Some(token) => {
                if self.cache.commit_record(key, token, &record).unwrap() {
                    self.store.insert(token, (key, record));
                }
            }
        }
    }

    fn move_record(&mut self, from: u8, to: u8) {
        let tokens: Vec<u64> = self.store.keys().copied().collect();
        if tokens.is_empty() {
            return;
        }
        let old = tokens[usize::from(from) % tokens.len()];
        let (key, record) = self.store[&old].clone();
        let wanted = self.cache.wants_record(key, old);
        let Some(new) = self.token(to, record.len()) else {
            return;
        };
        if self.cache.move_record(key, old, new).unwrap() {
            assert!(wanted);
            self.store.remove(&old);
            self.store.insert(new, (key, record));
        }
    }

    /// A byte of a record is another: an error, never another page.
    fn damage(&mut self, index: u64, at_byte: u16) {
        let Some(at) = self.verify(index) else { return };
        let mut record = self.store[&at.token].1.clone();
        let byte = 2 + usize::from(at_byte) % (record.len() - 2);
        record[byte] ^= 1 << (at_byte % 8);
        let mut back: Page<PAGE> = blank();
        let result = self.cache.get_written_back(index, at, &record, &mut back);
        if self.checksum {
            assert_eq!(result, Err(Error::Corrupt { index }));
            assert!(is_zero(&back[..]));
        }
    }

    fn tick(&mut self, budget: u64) {
        if self.work > WORK_MAX {
            return;
        }
        self.now += 1;
        let tick = self
            .cache
            .tick(&mut self.tools.worker, &self.policy, self.now, budget)
            .unwrap();
        let done = tick.work.units();
        assert!(
            done <= budget + Tested::<PAGE, P>::TICK_OVER,
            "{done} of {budget}"
        );
        self.work += tick.work.read + tick.work.compressed;
        if tick.waiting > 0 {
            self.look_at_samples();
        }
    }

    /// What waits is shown as it is, and goes on.
    fn look_at_samples(&mut self) {
        let mut found = Vec::new();
        let next = self
            .cache
            .cold_pages(&self.policy, 0, &mut |index| found.push(index));
        assert!(next.unwrap().is_none_or(|next| next < self.cache.pages()));
        for index in found.into_iter().take(8) {
            let mut back: Page<PAGE> = blank();
            let worker = &mut self.tools.worker;
            if self.cache.sample(worker, index, &mut back).unwrap() {
                assert!(self.map.get(&index) == Some(&back), "page {index}");
            }
        }
        self.tools.worker.wait(false);
    }

    fn worker(&mut self, op: u8, input: &mut Input<'_>) {
        match op % 8 {
            0..=3 => self.tick(u64::from(input.byte())),
            4 => {
                self.policy = policy(input);
                self.tools.worker.wait(input.byte() & 1 != 0);
            }
            5 => {
                let how = Recompress {
                    what: [What::Idle, What::Huge, What::HugeIdle][usize::from(input.byte() % 3)],
                    rung: usize::from(input.byte() % 5),
                    threshold: usize::from(input.word()) % PAGE,
                    max_pages: u64::from(input.byte() % 16),
                };
                let rungs = self.cache.codec().rungs();
                let result = self.cache.recompress(&mut self.tools.worker, how, || true);
                match (1..=rungs).contains(&how.rung) {
                    true => self.work += result.unwrap(),
                    false => assert!(matches!(result, Err(Error::NoSuchRung { .. }))),
                }
            }
            6 if self.work < WORK_MAX => {
                let mut left = input.byte();
                self.work += u64::from(left);
                let go_on = || {
                    left = left.saturating_sub(1);
                    left > 0
                };
                self.cache.merge_all(&mut self.tools.worker, go_on).unwrap();
            }
            _ if self.work < WORK_MAX => {
                let budget = u64::from(input.byte());
                let work = self
                    .cache
                    .squeeze(&mut self.tools.worker, &self.policy, budget)
                    .unwrap();
                assert!(work.units() <= budget + Tested::<PAGE, P>::TICK_OVER);
                self.work += work.read + work.compressed;
            }
            _ => {}
        }
    }

    fn step(&mut self, op: u8, index: u64, seed: u64, input: &mut Input<'_>) {
        match op % 64 {
            0..=9 => {
                let page = page(seed, input);
                self.change(index, page.clone(), |model| model.cache.put(index, &page));
            }
            10..=13 => {
                // Neighbours that are alike.
                let page = page(seed, input);
                for index in index..(index + 6).min(DEVICE) {
                    self.change(index, page.clone(), |model| model.cache.put(index, &page));
                }
            }
            14..=16 => self.write(index, seed, input),
            17..=19 => {
                let stored = self.map.remove(&index).is_some();
                assert_eq!(self.cache.discard(index), Ok(stored));
            }
            20..=22 => drop(self.verify(index)),
            23 => self.read(index, input),
            24..=26 => self.restore(index),
            27..=31 => self.take(index),
            32..=36 => self.commit(input.byte()),
            37 => self.damage(index, input.word()),
            38 | 39 => self.move_record(input.byte(), input.byte()),
            40 => drop(self.cache.compact(u64::from(input.byte()))),
            41 => self
                .cache
                .source()
                .fail_after(usize::from(input.byte() % 6)),
            42 => self.cache.source().never_fail(),
            43 => self.cache.set_mem_limit(u64::from(input.byte()) * 1024),
            44 => self.cache.set_mem_limit(0),
            45 | 46 => {
                let age = Some(input.byte() % 6).filter(|&age| age < 5);
                self.cache.mark_idle(age).unwrap();
            }
            47 if seed.is_multiple_of(8) => {
                self.cache.reset();
                self.map.clear();
            }
            48 if self.cache.reserve_segments(1000).is_ok() => self.reserved = true,
            49 => {
                let (found, next) = self
                    .cache
                    .next_to_write(index, |stand| stand.age >= op >> 6)
                    .unwrap();
                assert!(next > index);
                assert!(found.is_none_or(|found| self.map.contains_key(&found)));
            }
            50 | 51 => {
                self.cache.check().unwrap();
                self.verify_stat();
            }
            _ => self.worker(op >> 3 ^ op, input),
        }
    }
}

fn run<const PAGE: usize, P: PageSource + 'static>(
    pages: &'static P,
    tools: &mut Tools<PAGE>,
    checksum: bool,
    unit: usize,
    mut input: Input<'_>,
) {
    let frames: Counted<P> = Counting::new(pages);
    let config = Config {
        checksum,
        unit,
        ..Config::new(DEVICE)
    };
    tools.worker.restart();
    let cache = Cache::new(
        Failing::new(&frames),
        tools.ladder.clone(),
        tools.bank,
        config,
    )
    .unwrap();
    let mut model: Model<'_, PAGE, P> = Model {
        cache,
        frames: &frames,
        tools,
        map: BTreeMap::new(),
        policy: policy(&mut input),
        store: BTreeMap::new(),
        pending: Vec::new(),
        checksum,
        now: 0,
        work: 0,
        reserved: false,
    };
    // Longer pages take longer.
    for seed in 0..(STEPS_MAX * 4096 / PAGE as u64) {
        if input.is_empty() {
            break;
        }
        let op = input.byte();
        let byte = u64::from(input.byte());
        let index = if byte < 208 { byte % 20 } else { byte * 2 };
        model.step(op, index, seed, &mut input);
    }
    model.cache.check().unwrap();
    model.verify_stat();
    for index in model.map.keys().copied().collect::<Vec<_>>() {
        model.verify(index);
    }
    model.cache.check().unwrap();
    for index in core::mem::take(&mut model.map).into_keys() {
        assert_eq!(model.cache.discard(index), Ok(true));
    }
    model.cache.check().unwrap();
    model.verify_stat();
    model.cache.reset();
    assert_eq!(model.cache.tier_stat(), TierStat::default());
    assert_eq!(model.cache.mm_stat().compr_data_size, 0);
    // A run that was begun leaves a table until it ends.
    let mut ticks = 0;
    while {
        let tick = model
            .cache
            .tick(&mut model.tools.worker, &Policy::NONE, 0, 1 << 16);
        tick.unwrap().more
    } {
        ticks += 1;
        assert!(ticks < 1000, "it goes round for ever");
    }
    if !model.reserved {
        assert_eq!(model.cache.mm_stat().mem_used_total, 0);
    }
    drop(model);
    assert_eq!(frames.taken(), 0);
}

/// A ladder and its workspaces, made once.
struct Tools<const PAGE: usize> {
    ladder: Ladder,
    bank: Bank<PAGE>,
    worker: Box<Worker<Ladder, PAGE>>,
    space: Box<Workspace<Ladder, PAGE>>,
}

impl<const PAGE: usize> Tools<PAGE> {
    fn new(name: &str) -> Self {
        let ladder: Ladder = name.parse().expect("codecs of this build");
        let reader = || ladder.workspace(PAGE).expect("memory for a workspace");
        let worker = ladder.worker_workspace(PAGE).expect("memory for one");
        Self {
            bank: Vec::leak(vec![Shared::new(reader())]),
            worker: Box::new(Worker::new(worker)),
            space: Box::new(Workspace::new(reader())),
            ladder,
        }
    }

    fn all() -> [Self; 3] {
        ["lz4 lz4hc", "lz4 zstd:1", "lz4 lz4hc zstd:1"].map(Self::new)
    }
}

struct Kept {
    regions: Regions,
    small: [Tools<4096>; 3],
    middle: [Tools<16384>; 3],
    large: [Tools<65536>; 3],
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::new(Kept {
        regions: Regions::new(),
        small: Tools::all(),
        middle: Tools::all(),
        large: Tools::all(),
    });
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let (how, unit) = (input.byte(), input.byte());
    let checksum = how & 0x80 == 0;
    let ladder = [0, 0, 1, 1, 1, 1, 2, 2][usize::from(how >> 4 & 7)];
    let unit = [0, 16384, 32768, 65536][usize::from(unit % 4)];
    KEPT.with_borrow_mut(|kept| {
        let Kept {
            regions,
            small,
            middle,
            large,
        } = kept;
        let (small, middle, large) = (&mut small[ladder], &mut middle[ladder], &mut large[ladder]);
        match how & 15 {
            0 => run(regions.middle, small, checksum, unit, input),
            1 => run(regions.middle, middle, checksum, unit, input),
            2 => run(regions.small, large, checksum, unit, input),
            3 => run(regions.large, large, checksum, unit, input),
            4..=7 => run(regions.windows, small, checksum, unit, input),
            _ => run(regions.small, small, checksum, unit, input),
        }
    });
});
