//! Making room: denser forms first, then the backing store.

use crate::dictionary::Dictionary;
use crate::error::Error;
use crate::stat::count;
use crate::tiered::{Cache, Inner, PAGE, readers};
use compcache::{Notes, Policy, Stand, Tick, Work, Worker, Workspace};
use compcache_backing::{Backing, Owner, Token, WriteError};
use compress::{Codec, Ladder, LadderWorkspace, WorkspaceError};
use core::ops::Range;
use core::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Records, and bytes, that go to the store in one piece.
const BATCH_RECORDS: usize = 64;
const BATCH_BYTES: usize = 256 << 10;
/// Bytes that are wanted free when a put found none.
const ROOM: u64 = 256 << 10;
/// Steps of a run over all pages between two chances for others.
const MERGE_STEPS: u32 = 256;
/// Pages' worth of work in making pages denser for a put that waits.
const SQUEEZE: u64 = 64;
/// Bytes that cleaning may move in one step.
const CLEAN_STEP: u64 = 1 << 20;
/// Where memory is limited: room for new pages is made when less than this share is left, and until
/// there is twice as much.
const ROOM_SHARE: u64 = 16;
/// Bytes of a record that are not the page's: a head and a checksum.
const RECORD_EXTRA: u64 = 8;

/// What the worker has at hand.
pub(crate) struct Desk {
    ladder: Ladder,
    /// The worker's buffers, over a MiB with zstd: there while there is work, or always.
    worker: Option<Box<Worker<Ladder, PAGE>>>,
    keeps_worker: bool,
    worker_bytes: usize,
    notes: Notes,
    /// For pages that come back; there with a store.
    space: Option<Box<Workspace<Ladder, PAGE>>>,
    /// Where to look for pages to write back next, and by which age.
    next: u64,
    /// Records of a batch, one behind the other, and whose they are.
    bytes: Vec<u8>,
    records: Vec<(u64, Range<usize>)>,
    tokens: Vec<Token>,
    /// Live units when the store was last found clean.
    clean_at: Option<u64>,
    /// Room is being made ahead of puts.
    makes_room: bool,
    pub(crate) dictionary: Dictionary,
}

impl Desk {
    pub(crate) fn new(ladder: Ladder, keeps_worker: bool) -> Result<Self, WorkspaceError> {
        let mut desk = Self {
            dictionary: Dictionary::new(&ladder),
            ladder,
            worker: None,
            keeps_worker,
            worker_bytes: 0,
            notes: Notes::new(),
            space: None,
            next: 0,
            bytes: Vec::new(),
            records: Vec::new(),
            tokens: Vec::new(),
            clean_at: None,
            makes_room: false,
        };
        if keeps_worker {
            desk.hire()?;
        }
        Ok(desk)
    }

    fn hire(&mut self) -> Result<&mut Worker<Ladder, PAGE>, WorkspaceError> {
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None => {
                let workspace = self.ladder.worker_workspace(PAGE)?;
                self.equipped(workspace)
            }
        };
        Ok(self.worker.insert(worker))
    }

    fn equipped(&mut self, workspace: LadderWorkspace) -> Box<Worker<Ladder, PAGE>> {
        self.worker_bytes = workspace.heap_bytes() + size_of::<Worker<Ladder, PAGE>>();
        Box::new(Worker::with_notes(workspace, self.notes))
    }

    /// Gives the worker, if there is one, another workspace.
    pub(crate) fn refit(&mut self, workspace: LadderWorkspace) {
        if let Some(worker) = self.worker.take() {
            self.notes = worker.notes();
            self.worker = Some(self.equipped(workspace));
        }
    }

    pub(crate) fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// Takes all memory that writing back and bringing back needs, now: later it may be short.
    pub(crate) fn equip(&mut self) -> Result<(), Error> {
        self.worker()?;
        self.space()?;
        self.keeps_worker = true;
        self.bytes
            .reserve(BATCH_BYTES + 2 * compcache_backing::RECORD_MAX);
        self.ladder
            .reserve_readers(readers() + 1)
            .map_err(Error::Workspace)?;
        self.records.reserve(BATCH_RECORDS);
        self.tokens.reserve(BATCH_RECORDS);
        Ok(())
    }

    /// The worker, where the last one was.
    pub(crate) fn worker(&mut self) -> Result<&mut Worker<Ladder, PAGE>, Error> {
        self.hire().map_err(Error::Workspace)
    }

    pub(crate) fn space(&mut self) -> Result<&mut Workspace<Ladder, PAGE>, Error> {
        let space = match self.space.take() {
            Some(space) => space,
            None => {
                let workspace = self.ladder.workspace(PAGE).map_err(Error::Workspace)?;
                Box::new(Workspace::new(workspace))
            }
        };
        Ok(self.space.insert(space))
    }

    /// Gives the worker's buffers back while there is nothing to do.
    pub(crate) fn rest(&mut self) {
        if !self.keeps_worker
            && let Some(worker) = self.worker.take()
        {
            self.notes = worker.notes();
            self.worker_bytes = 0;
        }
    }

    /// How far the worker is.
    fn is_due(&mut self, cache: &Cache, policy: &Policy, now: u64) -> bool {
        if self.worker.is_some() {
            return true;
        }
        cache.is_due(&mut self.notes, policy, now)
    }

    /// Bytes of what all readers share, a dictionary with it, of the worker's buffers now, and of those of a store.
    pub(crate) fn heap_bytes(&self) -> usize {
        let space = self.space.as_ref();
        self.ladder.readers_bytes()
            + self.ladder.dictionary_bytes()
            + self.dictionary.heap_bytes()
            + self.worker_bytes
            + space.map_or(0, |_| size_of::<Workspace<Ladder, PAGE>>())
            + self.bytes.capacity()
    }
}

/// Which pages are written back: zram's `type=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteBackKind {
    /// Pages that were not used since they were marked idle.
    Idle,
    /// Pages that no codec made smaller.
    Huge,
    /// Both at once.
    HugeIdle,
    /// Pages that no codec made smaller, though all were tried.
    Incompressible,
}

impl WriteBackKind {
    fn takes(self, stand: Stand) -> bool {
        let idle = stand.age == 3;
        match self {
            Self::Idle => idle,
            Self::Huge => stand.huge,
            Self::HugeIdle => stand.huge && idle,
            Self::Incompressible => stand.huge && stand.tried,
        }
    }
}

/// What [`Tiered::write_back`](crate::Tiered::write_back) is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteBack {
    /// All pages of a kind.
    Kind(WriteBackKind),
    /// These pages.
    Pages(Range<u64>),
}

impl Inner {
    /// Writes pages back. Returns how many records were written: a cluster is one.
    pub(crate) fn write_back(
        &self,
        what: &WriteBack,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<u64, Error> {
        let store = self.backing.read().clone().ok_or(Error::NoStore)?;
        let range = match what {
            WriteBack::Kind(_) => 0..self.cache.pages(),
            WriteBack::Pages(range) => range.start..range.end.min(self.cache.pages()),
        };
        let takes = |stand: Stand| match what {
            WriteBack::Kind(kind) => kind.takes(stand),
            WriteBack::Pages(_) => true,
        };
        let (mut written, mut at) = (0, range.start);
        while at < range.end && go_on() {
            // Not longer than a batch: others may wait for the desk.
            let mut desk = self.desk.lock();
            let (records, next) = self.batch(&mut desk, &store, at..range.end, &takes)?;
            written += records;
            at = next;
        }
        Ok(written)
    }

    /// Writes back up to a batch of what is wanted in a range. Returns how many records there were, and
    /// where to go on.
    fn batch(
        &self,
        desk: &mut Desk,
        store: &Backing,
        range: Range<u64>,
        takes: &dyn Fn(Stand) -> bool,
    ) -> Result<(u64, u64), Error> {
        desk.bytes.clear();
        desk.records.clear();
        let mut at = range.start;
        let mut pages = 0;
        while at < range.end && desk.records.len() < BATCH_RECORDS && desk.bytes.len() < BATCH_BYTES
        {
            let (found, next) = self.cache.next_to_write(at, takes)?;
            at = next;
            let Some(index) = found.filter(|&index| index < range.end) else {
                continue;
            };
            desk.worker()?;
            let Desk {
                worker: Some(worker),
                records,
                bytes,
                ..
            } = desk
            else {
                break;
            };
            let Some((key, record)) = self.cache.take_record(worker, index)? else {
                continue;
            };
            // Another page of a cluster that is in the batch already.
            if records.iter().any(|(other, _)| *other == key) {
                continue;
            }
            pages += pages_of(record.len());
            if self.is_limited.load(Relaxed) && pages > self.budget.load(Relaxed) {
                self.cache.abandon_record(key);
                if records.is_empty() {
                    return Err(Error::WritebackLimit);
                }
                at = range.end;
                break;
            }
            let start = bytes.len();
            bytes.extend_from_slice(record);
            records.push((key, start..bytes.len()));
        }
        if desk.records.is_empty() {
            return Ok((0, at));
        }
        let records: Vec<_> = desk
            .records
            .iter()
            .map(|(key, range)| (*key, desk.bytes.get(range.clone()).unwrap_or(&[])))
            .collect();
        let mut written = store.write(&records, &mut desk.tokens);
        if let Err(WriteError::Full) = written {
            self.clean_store(store, &mut desk.clean_at, u64::MAX);
            written = store.write(&records, &mut desk.tokens);
        }
        let batch = match written {
            Ok(batch) => batch,
            Err(error) => {
                for (key, _) in &desk.records {
                    self.cache.abandon_record(*key);
                }
                count(&self.counters.write_errors);
                return Err(Error::Write(error));
            }
        };
        let mut linked = 0;
        for ((key, range), token) in desk.records.iter().zip(&desk.tokens) {
            let record = desk.bytes.get(range.clone()).unwrap_or(&[]);
            if self.cache.commit_record(*key, token.bits(), record)? {
                linked += 1;
                if self.is_limited.load(Relaxed) {
                    let pages = pages_of(range.len());
                    let left = self.budget.load(Relaxed).saturating_sub(pages);
                    self.budget.store(left, Relaxed);
                }
            }
        }
        drop(batch);
        desk.clean_at = None;
        Ok((linked, at))
    }

    /// Makes room for a put that waits: denser forms if there are pages for them, then the store, from the
    /// oldest pages on. False if nothing could be done.
    pub(crate) fn make_room(&self, desk: &mut Desk) -> Result<bool, Error> {
        let policy = *self.policy.read();
        let before = self.cache.mm_stat().mem_used_total;
        self.cache.set_mem_limit(self.mem_limit.load(Relaxed));
        let squeezed = match desk.worker() {
            Ok(worker) => self.cache.squeeze(worker, &policy, SQUEEZE),
            // Without memory for its buffers nothing gets denser.
            Err(_) => Ok(Work::default()),
        };
        self.limit_puts();
        let squeezed = squeezed?;
        if squeezed.changed > 0 {
            self.cache.compact(SQUEEZE);
            if self.cache.mm_stat().mem_used_total < before {
                return Ok(true);
            }
        }
        // Where the work went into looking for pages it goes on from there the next time.
        let squeezed = squeezed.changed > 0 || squeezed.units() >= SQUEEZE;
        let Some(store) = self.backing.read().clone() else {
            return Ok(squeezed);
        };
        match self.evict(desk, &store, ROOM) {
            Ok(0) => Ok(squeezed),
            Ok(_) => {
                self.cache.compact_to_target();
                Ok(true)
            }
            // The page stays in memory, and the put gets the cache's error.
            Err(Error::Write(_) | Error::WritebackLimit) => Ok(squeezed),
            Err(error) => Err(error),
        }
    }

    /// Writes back the oldest pages, `bytes` of them or more. Returns how many bytes that were.
    fn evict(&self, desk: &mut Desk, store: &Backing, bytes: u64) -> Result<u64, Error> {
        let pages = self.cache.pages();
        let mut done = 0;
        for age in (0..=3).rev() {
            // Once round, from where it ended the last time.
            let start = desk.next.min(pages);
            for range in [start..pages, 0..start] {
                let mut at = range.start;
                while at < range.end {
                    // What came back waits until nothing else is left.
                    let takes = |stand: Stand| stand.age >= age && (!stand.refault || age < 2);
                    let (records, next) = self.batch(desk, store, at..range.end, &takes)?;
                    if records > 0 {
                        done += desk.bytes.len() as u64;
                    }
                    at = next;
                    desk.next = next;
                    if done >= bytes {
                        return Ok(done);
                    }
                }
            }
        }
        Ok(done)
    }

    /// Whether there is room for pages to come back.
    pub(crate) fn has_room(&self) -> bool {
        self.has_shares(1)
    }

    /// Whether so many shares of the memory are free.
    fn has_shares(&self, shares: u64) -> bool {
        let stat = self.cache.mm_stat();
        let wanted = stat.mem_limit / ROOM_SHARE * shares;
        stat.mem_limit == 0 || stat.mem_used_total + wanted < stat.mem_limit
    }

    pub(crate) fn tick_now(&self, budget: u64) -> Result<Tick, Error> {
        self.tick(self.now_ms(), budget)
    }

    /// A tick, if there is something to do.
    pub(crate) fn tick(&self, now_ms: u64, budget: u64) -> Result<Tick, Error> {
        let policy = *self.policy.read();
        let mut desk = self.desk.lock();
        if !desk.is_due(&self.cache, &policy, now_ms) {
            return Ok(Tick::default());
        }
        let (tick, material) = desk.tick(&self.cache, &policy, now_ms, budget)?;
        if tick.work != Work::default() {
            count(&self.counters.ticks);
        }
        if !tick.more {
            desk.rest();
        }
        drop(desk);
        if let Some(material) = material {
            self.make_dictionary(&material);
        }
        Ok(tick)
    }

    /// Makes room before a put has to wait for it, and cleans the store; a step of it. True if there is
    /// more to do.
    pub(crate) fn keep_room(&self) -> bool {
        let store = self.backing.read().clone();
        let mut more = false;
        if let Some(store) = &store {
            let mut desk = self.desk.lock();
            more |= self.clean_store(store, &mut desk.clean_at, CLEAN_STEP);
            let shares = if desk.makes_room { 2 } else { 1 };
            desk.makes_room = !self.has_shares(shares);
            if desk.makes_room {
                let bytes = self.evict(&mut desk, store, ROOM).unwrap_or(0);
                if bytes > 0 {
                    // Before it is asked again whether there is room: holes in pages are none.
                    self.cache.compact_to_target();
                    more = true;
                }
            }
        }
        more
    }

    /// How long the thread may sleep.
    pub(crate) fn pause(&self, look: Duration) -> Duration {
        let turn = Duration::from_millis(self.policy.read().turn_ms.clamp(10, 600_000));
        match self.backing.read().is_some() {
            true => turn.min(look),
            false => turn,
        }
    }

    /// Gives back the room of records that are gone. True if there is more to do.
    fn clean_store(&self, store: &Backing, clean_at: &mut Option<u64>, budget: u64) -> bool {
        let live = self.cache.tier_stat().backed_bytes;
        if *clean_at == Some(live) {
            return false;
        }
        let cache = &*self.cache;
        let mut live_of = |segment| cache.segment_live(segment);
        let cleaned = store.clean(&mut live_of, &mut Links(cache), budget);
        let idle = cleaned.bytes_freed == 0 && cleaned.records_moved == 0;
        if cleaned.done || idle {
            *clean_at = Some(live);
        }
        !cleaned.done && !idle
    }

    /// The same, until nothing is left to do.
    pub(crate) fn clean_all(&self, desk: &mut Desk) {
        if let Some(store) = &*self.backing.read() {
            desk.clean_at = None;
            while self.clean_store(store, &mut desk.clean_at, u64::MAX) {}
        }
    }
}

/// Pages that a record counts as, of what may be written back: a page that no codec made smaller is one,
/// and not two for its head and checksum.
fn pages_of(record_len: usize) -> u64 {
    (record_len as u64)
        .saturating_sub(RECORD_EXTRA)
        .div_ceil(PAGE as u64)
        .max(1)
}

/// The slots that link to records.
struct Links<'c>(&'c Cache);

impl Owner for Links<'_> {
    fn wanted(&mut self, key: u64, token: Token) -> bool {
        self.0.wants_record(key, token.bits())
    }

    fn moved(&mut self, key: u64, old: Token, new: Token) -> bool {
        // Without memory to note it, it stays where it is.
        self.0
            .move_record(key, old.bits(), new.bits())
            .unwrap_or(false)
    }
}

impl crate::Tiered {
    /// Writes pages back; `go_on` is asked after each batch, and may end it. Returns how many records were
    /// written: a cluster is one.
    pub fn write_back(
        &self,
        what: &WriteBack,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<u64, Error> {
        self.inner.write_back(what, &mut go_on)
    }

    /// Cleans the backing store now, until nothing is left to do.
    pub fn clean(&self) {
        let mut desk = self.inner.desk.lock();
        self.inner.clean_all(&mut desk);
    }

    /// Stores pages again by a denser codec: zram's `recompress`.
    pub fn recompress(
        &self,
        how: compcache::Recompress,
        go_on: impl FnMut() -> bool,
    ) -> Result<u64, Error> {
        let mut desk = self.inner.desk.lock();
        let done = self.inner.cache.recompress(desk.worker()?, how, go_on);
        desk.rest();
        Ok(done?)
    }

    /// The same for a few pages from page `from` on, so that nobody waits for long who needs room: at
    /// most 64 are tried. Returns how many were tried and changed, and where to go on: the end of the
    /// device if all was looked at.
    pub fn recompress_some(
        &self,
        how: compcache::Recompress,
        from: u64,
    ) -> Result<(u64, u64, u64), Error> {
        let mut desk = self.inner.desk.lock();
        let mut tried = 0;
        let go_on = || {
            tried += 1;
            tried <= SQUEEZE
        };
        let cache = &self.inner.cache;
        let (changed, next) = cache.recompress_from(desk.worker()?, how, from, go_on)?;
        Ok((tried.min(SQUEEZE), changed, next))
    }

    /// A part of [`merge`](Self::merge), so that nobody waits for long who needs room; the first begins
    /// it. Returns how many pages changed, and whether there is more to do.
    pub fn merge_some(&self, first: bool) -> Result<(u64, bool), Error> {
        let mut desk = self.inner.desk.lock();
        let mut steps = 0;
        let go_on = || {
            steps += 1;
            steps < MERGE_STEPS
        };
        let cache = &self.inner.cache;
        Ok(cache.merge_some(desk.worker()?, first, go_on)?)
    }

    /// Looks for pages that are the same or nearly, of all ages.
    pub fn merge(&self, go_on: impl FnMut() -> bool) -> Result<u64, Error> {
        let mut desk = self.inner.desk.lock();
        let done = self.inner.cache.merge_all(desk.worker()?, go_on);
        desk.rest();
        Ok(done?)
    }
}
