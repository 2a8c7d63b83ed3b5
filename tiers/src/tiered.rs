//! [`Tiered`].

use crate::error::{Error, NewError};
use crate::reclaim::Desk;
use crate::stat::{BackingStat, Counters, Stat, count};
use crate::thread::Ticker;
use alloc_xv::Compactor;
use compcache::{Growth, Policy, StdCache, Tick, Work, Workspace, WrittenBack};
use compcache_backing::{Backing, ReadError, Store, Token};
use compress::{Codec, Ladder};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use parking_lot::{Mutex, RwLock};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// The page cache under a [`Tiered`].
pub type Cache = StdCache<Ladder>;

/// How often a read goes back to the slot when the record was not where it said. Each time the page
/// was moved meanwhile; that it was moved so often is a sign that something else is wrong.
const READS_MAX: u32 = 16;
/// What is kept for making pages denser: a share of the limit, in these bounds, and not over a quarter.
const KEPT_SHARE: u64 = 32;
const KEPT_MIN: u64 = 64 << 10;
const KEPT_MAX: u64 = 1 << 20;
/// How often a write makes room for itself.
const SQUEEZES_MAX: u32 = 64;

/// How a tiered cache behaves.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Config {
    /// What it does by itself.
    pub policy: Policy,
    /// How memory is taken from the system.
    pub growth: Growth,
    /// Whether a thread does it. Without one, somebody calls [`Tiered::tick`], or
    /// [`Tiered::start_thread`] later.
    pub thread: bool,
    /// What that thread does before anything else: sets its priority, say.
    pub thread_start: Option<fn()>,
    /// Keep the buffers of the one who makes pages denser, over a MiB with zstd, while there is nothing to
    /// do, and take those of all who read at once: where memory may not be had when they are needed, as for a swap
    /// device. With a store they are kept as well.
    pub keep_worker: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            policy: Policy::ALL,
            growth: Growth::Chunks,
            thread: true,
            thread_start: None,
            keep_worker: false,
        }
    }
}

/// Workspaces that a cache has.
pub(crate) fn readers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from) + 1
}

/// A page cache that keeps cold pages denser, by itself. See the crate's text.
///
/// Every method takes `&self`, and any number of threads may call them.
pub struct Tiered {
    pub(crate) inner: Arc<Inner>,
    ticker: Mutex<Option<Ticker>>,
    thread_start: Option<fn()>,
    _compactor: Compactor,
}

pub(crate) struct Inner {
    pub(crate) cache: Arc<Cache>,
    /// The worker: whoever changes pages' forms, or waits until nobody does.
    pub(crate) desk: Mutex<Desk>,
    pub(crate) policy: RwLock<Policy>,
    pub(crate) backing: RwLock<Option<Arc<Backing>>>,
    /// The most memory to take, and nothing; what puts may take is less.
    pub(crate) mem_limit: AtomicU64,
    /// Pages that may still be written back, if that is limited.
    pub(crate) budget: AtomicU64,
    pub(crate) is_limited: AtomicBool,
    pub(crate) counters: Counters,
    began: Instant,
    workspace_bytes: usize,
}

thread_local! {
    /// What a record is read into.
    static RECORD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Tiered {
    /// An empty cache for a device of `pages.pages` pages: the ladder's first codec for what is put, its
    /// others for what is cold.
    pub fn new(ladder: Ladder, pages: compcache::Config, config: Config) -> Result<Self, NewError> {
        let ladder = ladder.with_unit_len(pages.unit);
        let readers = readers();
        if config.keep_worker {
            // And one for the worker, or who brings pages back.
            ladder
                .reserve_readers(readers + 1)
                .map_err(compcache::BuildError::Workspace)?;
        }
        let workspace_bytes = readers * size_of::<Workspace<Ladder, PAGE>>();
        let cache = Cache::build_with(ladder.clone(), pages, config.growth)?;
        let cache = Arc::new(cache);
        let inner = Arc::new(Inner {
            desk: Mutex::new(
                Desk::new(ladder, config.keep_worker).map_err(compcache::BuildError::Workspace)?,
            ),
            policy: RwLock::new(config.policy),
            backing: RwLock::new(None),
            mem_limit: AtomicU64::new(pages.mem_limit),
            budget: AtomicU64::new(0),
            is_limited: AtomicBool::new(false),
            counters: Counters::default(),
            began: Instant::now(),
            workspace_bytes,
            cache,
        });
        inner.limit_puts();
        let tiered = Self {
            _compactor: Compactor::spawn(&inner.cache).map_err(NewError::Thread)?,
            ticker: Mutex::new(None),
            thread_start: config.thread_start,
            inner,
        };
        if config.thread {
            tiered.start_thread().map_err(NewError::Thread)?;
        }
        Ok(tiered)
    }

    /// Starts the thread that does what the policy wants, if it does not run: for a cache that had
    /// nothing to do so far.
    pub fn start_thread(&self) -> std::io::Result<()> {
        let mut ticker = self.ticker.lock();
        if ticker.is_none() {
            *ticker = Some(Ticker::spawn(&self.inner, self.thread_start)?);
        }
        Ok(())
    }

    /// Whether that thread runs.
    #[must_use]
    pub fn has_thread(&self) -> bool {
        self.ticker.lock().is_some()
    }

    /// The cache below: for limits, statistics, and what has no tiers. A page that it says is
    /// [written back](compcache::Error::WrittenBack) is read through this.
    #[must_use]
    pub fn cache(&self) -> &Arc<Cache> {
        &self.inner.cache
    }

    /// Pages of the device.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.inner.cache.pages()
    }

    /// Stores a page. Where there is no memory, others are made denser or written back; if that does not
    /// help, an error, and the page that was stored before stays readable.
    pub fn put(&self, index: u64, page: &[u8; PAGE]) -> Result<(), Error> {
        self.inner.making_room(|| self.inner.cache.put(index, page))
    }

    /// Reads a page: true if one was stored, false (and zeroes) if none was.
    pub fn get(&self, index: u64, page: &mut [u8; PAGE]) -> Result<bool, Error> {
        match self.inner.cache.get(index, page) {
            Ok(stored) => Ok(stored),
            Err(compcache::Error::WrittenBack(at)) => self.inner.get_there(index, at, page),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads whole sectors of a page, from byte `offset` on.
    pub fn read(&self, index: u64, offset: usize, out: &mut [u8]) -> Result<(), Error> {
        match self.inner.cache.read(index, offset, out) {
            Ok(()) => Ok(()),
            Err(compcache::Error::WrittenBack(at)) => {
                let mut page = [0; PAGE];
                self.inner.get_there(index, at, &mut page)?;
                // The range was checked.
                if let Some(part) = page.get(offset..offset + out.len()) {
                    out.copy_from_slice(part);
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes whole sectors into a page, from byte `offset` on.
    pub fn write(&self, index: u64, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        let inner = &*self.inner;
        for _ in 0..READS_MAX {
            match inner.making_room(|| inner.cache.write(index, offset, bytes)) {
                Err(Error::Cache(compcache::Error::WrittenBack(_))) => inner.bring_back(index)?,
                other => return other,
            }
        }
        Err(self.inner.no_room())
    }

    /// Forgets a page; true if one was stored.
    pub fn discard(&self, index: u64) -> Result<bool, Error> {
        Ok(self.inner.cache.discard(index)?)
    }

    /// Whether a page is stored.
    pub fn contains(&self, index: u64) -> Result<bool, Error> {
        Ok(self.inner.cache.contains(index)?)
    }

    /// Forgets every page and clears the statistics. The backing store's room is given back.
    pub fn reset(&self) {
        let mut desk = self.inner.desk.lock();
        self.inner.cache.reset();
        self.inner.clean_all(&mut desk);
    }

    /// Limits the memory taken; see `compcache::Cache::set_mem_limit`.
    ///
    /// A small part of it, a thirty-second but not over a MiB, is kept for making others denser: a page is
    /// stored in its new form before its old one goes.
    pub fn set_mem_limit(&self, bytes: u64) {
        let _desk = self.inner.desk.lock();
        self.inner.mem_limit.store(bytes, Relaxed);
        self.inner.limit_puts();
    }

    /// That limit; 0 for none.
    #[must_use]
    pub fn mem_limit(&self) -> u64 {
        self.inner.mem_limit.load(Relaxed)
    }

    /// What it does by itself.
    #[must_use]
    pub fn policy(&self) -> Policy {
        *self.inner.policy.read()
    }

    /// Changes that. The thread takes it up at once.
    pub fn set_policy(&self, policy: Policy) {
        {
            let _desk = self.inner.desk.lock();
            *self.inner.policy.write() = policy;
            self.inner.limit_puts();
        }
        if let Some(ticker) = &*self.ticker.lock() {
            ticker.wake();
        }
    }

    /// Gives it a backing store, which must be empty or of no more use: `backing_dev`.
    pub fn set_store(&self, store: Box<dyn Store>) -> Result<(), StoreError> {
        let mut desk = self.inner.desk.lock();
        let mut place = self.inner.backing.write();
        if place.is_some() {
            return Err(StoreError::HasStore);
        }
        let mut options = compcache_backing::Options::default();
        options.segments_max = self.inner.cache.segments_max();
        let backing = Backing::new(store, options).map_err(StoreError::Open)?;
        self.inner
            .cache
            .reserve_segments(backing.segments())
            .map_err(StoreError::Memory)?;
        desk.equip().map_err(StoreError::Workspace)?;
        *place = Some(Arc::new(backing));
        Ok(())
    }

    /// The backing store.
    #[must_use]
    pub fn backing(&self) -> Option<Arc<Backing>> {
        self.inner.backing.read().clone()
    }

    /// Pages of 4096 bytes that may still be written back; `None` for no limit: `writeback_limit`.
    pub fn set_writeback_limit(&self, pages: Option<u64>) {
        self.inner.budget.store(pages.unwrap_or(0), Relaxed);
        self.inner.is_limited.store(pages.is_some(), Relaxed);
    }

    /// Does what the policy wants done now, at most `budget` pages' worth of it; `now_ms` is any clock
    /// that does not go back, always the same.
    pub fn tick(&self, now_ms: u64, budget: u64) -> Result<Tick, Error> {
        self.inner.tick(now_ms, budget)
    }

    /// Lets the clock go round until nothing is left to do, as if nobody used a page for long: for
    /// tests, benchmarks, and `idle` machines. What is hot gets cold by it.
    pub fn settle(&self) -> Result<Work, Error> {
        self.inner.settle()
    }

    /// Checks every invariant of the cache, while its own thread waits. For tests: it takes long, and nobody
    /// else may use the cache.
    pub fn check(&self) -> Result<(), &'static str> {
        let _desk = self.inner.desk.lock();
        self.inner.cache.check()
    }

    /// Everything that is counted.
    #[must_use]
    pub fn stat(&self) -> Stat {
        let inner = &*self.inner;
        let mut backing = BackingStat::default();
        if let Some(store) = &*inner.backing.read() {
            let stats = store.stats();
            backing = BackingStat {
                allocated: stats.allocated,
                live: stats.stored_live,
                written: stats.bytes_written,
                read: stats.payload_read,
                errors: stats.read_errors + stats.damaged + stats.write_errors,
                limit: None,
            };
        }
        if inner.is_limited.load(Relaxed) {
            backing.limit = Some(inner.budget.load(Relaxed));
        }
        let mut mm = inner.cache.mm_stat();
        mm.mem_limit = inner.mem_limit.load(Relaxed);
        Stat {
            io: inner.cache.io_stat(),
            mm,
            tiers: inner.cache.tier_stat(),
            memory: inner.cache.memory(),
            backing,
            dictionary: inner.cache.codec().dictionary_bytes() as u64,
            squeezed: inner.counters.squeezed.load(Relaxed),
            ticks: inner.counters.ticks.load(Relaxed),
            write_errors: inner.counters.write_errors.load(Relaxed),
        }
    }

    /// Bytes of the workspaces: one for each CPU and one more, what all of them share to read what is
    /// denser, and the worker's, if it has work now or keeps them. They do not grow with the pages stored.
    #[must_use]
    pub fn workspace_bytes(&self) -> usize {
        self.inner.workspace_bytes + self.inner.desk.lock().heap_bytes()
    }
}

impl core::fmt::Debug for Tiered {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Tiered")
            .field("stat", &self.stat())
            .finish_non_exhaustive()
    }
}

/// Why a store was not taken.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// There is one already.
    HasStore,
    /// It cannot be used.
    Open(compcache_backing::OpenError),
    /// No memory for its tables.
    Memory(compcache::Error),
    /// No memory for buffers.
    Workspace(Error),
}

impl core::fmt::Display for StoreError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::HasStore => f.write_str("there is a backing store already"),
            Self::Open(error) => error.fmt(f),
            Self::Workspace(error) => error.fmt(f),
            Self::Memory(error) => write!(f, "no memory for the store's tables: {error}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// Where a page was read back from.
struct ReadBack {
    at: WrittenBack,
    token: Token,
    /// Of the token's place, before it was read.
    generation: Option<u64>,
    store: Arc<Backing>,
}

impl Inner {
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Keeps puts from taking what making pages denser needs. Where no page is ever made denser, puts may
    /// take all.
    pub(crate) fn limit_puts(&self) {
        let limit = self.mem_limit.load(Relaxed);
        let plain = self.cache.codec().rungs() == 0 && !self.policy.read().same;
        let kept = match plain {
            true => 0,
            false => (limit / KEPT_SHARE)
                .clamp(KEPT_MIN, KEPT_MAX)
                .min(limit / 4),
        };
        self.cache.set_mem_limit(limit - kept);
    }

    /// Reads a page that is in the backing store.
    fn get_there(
        &self,
        index: u64,
        mut at: WrittenBack,
        page: &mut [u8; PAGE],
    ) -> Result<bool, Error> {
        let mut failed = None;
        for _ in 0..READS_MAX {
            match self.read_record(index, at, page) {
                Ok(read) => {
                    self.perhaps_restore(index, &read, page);
                    return Ok(true);
                }
                Err(error) => failed = Some(error),
            }
            // The page may have been moved, overwritten or brought back meanwhile.
            match self.cache.get(index, page) {
                Ok(stored) => return Ok(stored),
                Err(compcache::Error::WrittenBack(now)) if now == at => break,
                Err(compcache::Error::WrittenBack(now)) => at = now,
                Err(error) => return Err(error.into()),
            }
        }
        page.fill(0);
        Err(failed.unwrap_or(Error::NoStore))
    }

    /// Reads a page out of its record.
    fn read_record(
        &self,
        index: u64,
        at: WrittenBack,
        page: &mut [u8; PAGE],
    ) -> Result<ReadBack, Error> {
        let store = self.backing.read().clone().ok_or(Error::NoStore)?;
        let damaged = |error| Error::Read { index, error };
        let token = Token::from_bits(at.token).ok_or(damaged(ReadError::Damaged))?;
        let generation = store.generation(token);
        RECORD.with_borrow_mut(|record| {
            store.read(at.key, token, record).map_err(damaged)?;
            self.cache.get_written_back(index, at, record, page)?;
            Ok(ReadBack {
                at,
                token,
                generation,
                store,
            })
        })
    }

    /// Brings a page back into memory that was read, if it is still where it was. Nothing is written to the
    /// store while the desk is held.
    fn restore(
        &self,
        desk: &mut Desk,
        index: u64,
        read: &ReadBack,
        page: &[u8; PAGE],
    ) -> Result<bool, Error> {
        if read.store.generation(read.token) != read.generation {
            return Ok(false);
        }
        Ok(self.cache.restore(desk.space()?, index, read.at, page)?)
    }

    /// The same, if there is room and nobody works on forms.
    fn perhaps_restore(&self, index: u64, read: &ReadBack, page: &[u8; PAGE]) {
        if self.has_room()
            && let Some(mut desk) = self.desk.try_lock()
        {
            // Without memory it stays where it is.
            let _ = self.restore(&mut desk, index, read, page);
        }
    }

    /// Brings a page back that is to be changed.
    fn bring_back(&self, index: u64) -> Result<(), Error> {
        let mut page = [0; PAGE];
        for _ in 0..SQUEEZES_MAX {
            let at = match self.cache.get(index, &mut page) {
                Err(compcache::Error::WrittenBack(at)) => at,
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let read = match self.read_record(index, at, &mut page) {
                Ok(read) => read,
                // It may have been moved: then it is said to be somewhere else now.
                Err(error) if self.is_there(index, at)? => return Err(error),
                Err(_) => continue,
            };
            let mut desk = self.desk.lock();
            match self.restore(&mut desk, index, &read, &page) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(Error::Cache(compcache::Error::NoSpace(error))) => {
                    if !self.make_room(&mut desk)? {
                        return Err(compcache::Error::NoSpace(error).into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(self.no_room())
    }

    /// Whether a page is still said to be in this record.
    fn is_there(&self, index: u64, at: WrittenBack) -> Result<bool, Error> {
        match self.cache.get(index, &mut [0; PAGE]) {
            Err(compcache::Error::WrittenBack(now)) => Ok(now == at),
            Ok(_) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What a page got that was brought back again and again, and had to go each time: there is no room
    /// for it and what is done with it.
    fn no_room(&self) -> Error {
        let pages = self.mem_limit.load(Relaxed).div_ceil(PAGE as u64);
        let limit_pages = usize::try_from(pages).unwrap_or(usize::MAX);
        compcache::Error::NoSpace(alloc_xv::AllocError::LimitReached { limit_pages }).into()
    }

    /// Does something that needs memory, and makes some if there is none.
    fn making_room(&self, work: impl Fn() -> Result<(), compcache::Error>) -> Result<(), Error> {
        let mut failed = match work() {
            Err(compcache::Error::NoSpace(error)) => error,
            other => return Ok(other?),
        };
        count(&self.counters.squeezed);
        // As fast as a cache without tiers, which takes no memory to find out.
        if self.policy.read().cold_rung == 0 && self.backing.read().is_none() {
            return Err(compcache::Error::NoSpace(failed).into());
        }
        for _ in 0..SQUEEZES_MAX {
            let made = {
                let mut desk = self.desk.lock();
                // Others may have made room while this thread waited.
                match work() {
                    Err(compcache::Error::NoSpace(_)) => {}
                    other => return Ok(other?),
                }
                self.make_room(&mut desk)?
            };
            match work() {
                Err(compcache::Error::NoSpace(error)) => failed = error,
                other => return Ok(other?),
            }
            if !made {
                break;
            }
        }
        Err(compcache::Error::NoSpace(failed).into())
    }

    fn settle(&self) -> Result<Work, Error> {
        let mut policy = *self.policy.read();
        policy.turn_ms = 0;
        let mut work = Work::default();
        // Three turns make every page as old as can be; the last sweeps and packs.
        for _ in 0..6 {
            loop {
                let now = self.now_ms();
                // Not longer than a tick: puts may wait for room.
                let mut desk = self.desk.lock();
                let (tick, material) = desk.tick(&self.cache, &policy, now, 4096)?;
                drop(desk);
                if let Some(material) = material {
                    self.make_dictionary(&material);
                }
                work = work.and(tick.work);
                if !tick.more {
                    break;
                }
            }
        }
        self.desk.lock().rest();
        Ok(work)
    }
}
