//! Looking for pages that are the same as another, or nearly.
//!
//! A page's features are the smallest hashes of its 64-byte blocks, under two orders, and a hash of all of
//! them. Two pages that have most blocks in common most probably have one of the first in common. The same page
//! has the last in common with no other, however many pages there are that have some blocks of it.
//!
//! A *run* compares the pages that came since the last one with each other and with all others. It puts
//! the features of the new pages into a table of candidates, then looks there for those of the old ones,
//! and last for those of the new ones that had one in common: several new pages may be like one that was
//! there, which is to be found first. The table is small, a 500th of the memory in use, and lies in slots of its
//! own. Where the new pages are too many for it, they come in *batches*, in order, and each is compared with
//! all that were there before it. When the run ends the table is gone.

use super::layout::UNIT_PAGES_MAX;
use super::worker::{Form, Seen, Worker, set_life};
use crate::cache::Cache;
use crate::content::Life;
use crate::error::Error;
use crate::workspace::Shared;
use alloc_xv::{PageSource, SlotState, Touch};
use compress::Codec;
use core::ops::Deref;
use lock_api::RawMutex;

/// Bytes of a block.
const BLOCK: usize = 64;
/// Features of a page.
const FEATURES: usize = 3;
/// Those that are hashes of blocks.
const BLOCK_FEATURES: usize = 2;
/// A page with fewer blocks that are not one word repeated has nothing to share but itself, and not even
/// that if fewer than twice as many differ from those before them: it is small.
const BLOCKS_MIN: u32 = 4;
/// The table has this share of the memory in use.
const TABLE_SHARE: u64 = 500;
/// Neighbouring places of the table that a feature may lie in.
const WAYS: u64 = 8;
/// Places for each feature that is put there: with half of them free few features find their eight taken.
const PLACES_EACH: u64 = 2;
/// Bits of a feature that a place of the table keeps: a slot's value less a page's index.
const PRINT_BITS: u32 = 29;
/// When more than this share of all pages are merged, shared objects lie as their pages do.
const DENSE_SHARE: u64 = 16;
/// That is not said of fewer.
const DENSE_MIN: u64 = 32;

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) stage: Stage,
    /// Pages that were compared before count as new.
    all: bool,
    /// New pages are merged when they are put into the table: none was there before.
    at_once: bool,
    /// Pages that were stored when the run began, and those of them that were new.
    pages: u64,
    new: u64,
    /// New pages of the batches before this one, and of this one so far.
    done: u64,
    count: u64,
    /// The pages that this batch is from. While it is put together, it ends where the run is.
    from: u64,
    to: u64,
    /// New pages that had a feature in common with another new one, in this batch.
    pairs: u64,
    /// Pages that were merged.
    merged: u64,
    /// Where many are merged, patches (and pages whose own number is taken) get numbers from here on downwards: behind
    /// most pages.
    pub(crate) patches_from: u64,
    /// Places of the table, and up to which it may be filled: an earlier run that had not ended may have
    /// had more.
    places: u64,
    filled: u64,
    /// The page, or the place of the table, to go on with.
    next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// There is none.
    Rest,
    /// New pages are looked at, and put into the table,
    New,
    /// and then the old ones,
    Old,
    /// and new ones that are like another.
    Again,
    /// The table is emptied.
    Clear,
}

impl Run {
    pub(crate) const fn new() -> Self {
        Self {
            stage: Stage::Rest,
            all: false,
            at_once: false,
            pages: 0,
            new: 0,
            done: 0,
            count: 0,
            from: 0,
            to: 0,
            pairs: 0,
            merged: 0,
            patches_from: 0,
            places: 0,
            filled: 0,
            next: 0,
        }
    }

    /// The pages of a batch. The last cluster's may be some more.
    fn batch_max(&self) -> u64 {
        let most = self.places / (FEATURES as u64 * PLACES_EACH);
        most - (most / 2).min(UNIT_PAGES_MAX as u64 - 1)
    }

    /// Pages that were there before this batch.
    fn old(&self) -> u64 {
        self.pages.saturating_sub(self.new) + self.done
    }

    /// The next batch begins at this page.
    fn begin_batch(&mut self, from: u64) {
        self.stage = Stage::New;
        (self.from, self.to, self.next) = (from, from, from);
        self.done += self.count;
        (self.count, self.pairs) = (0, 0);
        self.at_once = self.old() == 0;
    }

    /// A page became a link to what another one has.
    pub(crate) fn count_merged(&mut self) {
        self.merged += 1;
    }

    /// Whether a good part of all pages will be merged with others, as far as this run can tell by now.
    pub(crate) fn finds_many(&self, pages: u64) -> bool {
        let seen = match self.stage {
            Stage::Old => u128::from(self.count) * u128::from(self.next) / u128::from(pages.max(1)),
            _ => u128::from(self.count),
        };
        // Merged, to those that were compared; of all new ones, to all.
        let new = self.new.max(self.done + self.count);
        let found = u128::from(self.merged) * u128::from(new) * u128::from(DENSE_SHARE);
        self.merged > DENSE_MIN && found > (u128::from(self.done) + seen) * u128::from(self.pages)
    }
}

/// From which ages on pages are merged with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ages {
    pub(crate) same: u8,
    /// More than any age: no patches.
    pub(crate) patch: u8,
}

impl Ages {
    /// From which age on everything is tried: a page that is younger is to be looked at again.
    pub(crate) fn all(self) -> u8 {
        match self.patch {
            patch if patch > Life::AGE_MAX => self.same,
            patch => self.same.max(patch),
        }
    }
}

impl<S, C, W, L, const PAGE: usize, const ARENAS: usize> Cache<S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
    L: RawMutex,
{
    /// Begins a run with so many new pages, or with all.
    pub(crate) fn start_run(&self, worker: &mut Worker<C, PAGE>, new: Option<u64>) {
        let used = self.mm_stat();
        let places = (used.mem_used_total / TABLE_SHARE / 8).max(64);
        let places = places.min(self.layout.table_len()) / WAYS * WAYS;
        if places == 0 || self.layout.shared_len() == 0 {
            return;
        }
        let pages = used.orig_data_size / PAGE as u64;
        let filled = match worker.run.stage {
            Stage::Rest => places,
            _ => places.max(worker.run.filled),
        };
        worker.next_shared = [0; 2];
        worker.run = Run {
            all: new.is_none(),
            pages,
            new: new.unwrap_or(pages),
            patches_from: pages.saturating_sub(1),
            places,
            filled,
            ..Run::new()
        };
        worker.run.begin_batch(0);
    }

    /// Goes on with the run, by some page's worth of work. False if it has ended.
    pub(crate) fn run_step(&self, worker: &mut Worker<C, PAGE>, ages: Ages) -> Result<bool, Error> {
        match worker.run.stage {
            Stage::Rest => Ok(false),
            Stage::Clear => {
                worker.work.leaves += 1;
                self.clear_table(worker)?;
                Ok(worker.run.stage != Stage::Rest)
            }
            Stage::New | Stage::Old | Stage::Again => {
                worker.work.leaves += 1;
                self.run_on(worker, ages)?;
                let run = &mut worker.run;
                if run.stage == Stage::New {
                    run.to = run.next;
                }
                let (full, pages) = (run.count >= run.batch_max(), self.pages());
                let (stage, from) = match run.stage {
                    Stage::New if !full && run.to < pages => return Ok(true),
                    Stage::New if run.count > 0 => (Stage::Old, 0),
                    Stage::Old if run.next < self.old_end(run) => return Ok(true),
                    Stage::Old if run.pairs > 0 => (Stage::Again, run.from),
                    Stage::Again if run.next < run.to => return Ok(true),
                    _ => (Stage::Clear, 0),
                };
                (run.stage, run.next) = (stage, from);
                Ok(true)
            }
        }
    }

    /// Where the pages end that a batch is compared with.
    fn old_end(&self, run: &Run) -> u64 {
        match run.all {
            true => run.from,
            false => self.pages(),
        }
    }

    /// Looks at the next page that this stage is about, or at all such pages of a cluster.
    fn run_on(&self, worker: &mut Worker<C, PAGE>, ages: Ages) -> Result<(), Error> {
        let run = worker.run;
        let wants = |seen: &Seen| match run.stage {
            Stage::New => (run.all || !seen.life.is_seen()) && seen.life.age() >= ages.same,
            Stage::Again => {
                let merged = matches!(seen.form, Form::Shared(_));
                !merged && (run.all || !seen.life.is_seen()) && seen.life.age() >= ages.same
            }
            _ => run.all || seen.life.is_seen(),
        };
        let end = match run.stage {
            Stage::Old => self.old_end(&run),
            Stage::Again => run.to,
            _ => self.pages(),
        };
        let mut found = None;
        let next = self.slots.visit_leaf(run.next, end, |index, state| {
            let seen = Seen::of(state);
            let here = !matches!(seen.form, Form::None | Form::Backed(_));
            if here && wants(&seen) {
                found = Some((index, seen.form));
                return Touch::Stop;
            }
            Touch::Keep
        })?;
        let Some((index, form)) = found else {
            worker.run.next = next;
            return Ok(());
        };
        worker.run.next = index + 1;
        if form == Form::Member {
            return self.run_on_unit(worker, index, wants, ages);
        }
        let [_, page] = &mut worker.both;
        match self.look(&mut worker.space, &mut worker.work, index, page) {
            Some(seen) => self.compare(worker, (index, seen), ages),
            None => Ok(()),
        }
    }

    /// Looks at the pages of a cluster, from page `index` on, which are decoded once.
    fn run_on_unit(
        &self,
        worker: &mut Worker<C, PAGE>,
        index: u64,
        wants: impl Fn(&Seen) -> bool,
        ages: Ages,
    ) -> Result<(), Error> {
        let pages = self.layout.unit_pages();
        let (unit, _) = self.layout.unit_of(index);
        let first = self.layout.keys_of(unit).start;
        let mut marked = [None; UNIT_PAGES_MAX];
        for (place, mark) in (0..pages).zip(&mut marked) {
            let index = first + place;
            // Before the bytes are read: what is marked then is what they say.
            *mark = self.mark_member(index, &wants)?;
        }
        worker.run.next = first + pages;
        let Some(members) = self.read_unit(worker, unit)? else {
            return Ok(());
        };
        let mut rank = 0;
        for (place, seen) in (0..pages).zip(marked) {
            if members & 1 << place == 0 {
                continue;
            }
            let bytes = worker.unit.get(rank * PAGE..(rank + 1) * PAGE);
            rank += 1;
            let (Some(bytes), Some(seen)) = (bytes, seen) else {
                continue;
            };
            let [_, page] = &mut worker.both;
            page.copy_from_slice(bytes);
            self.compare(worker, (first + place, seen), ages)?;
        }
        Ok(())
    }

    /// Marks a page that is in a cluster and wanted.
    fn mark_member(
        &self,
        index: u64,
        wants: impl Fn(&Seen) -> bool,
    ) -> Result<Option<Seen>, Error> {
        if index >= self.pages() {
            return Ok(None);
        }
        let Some(mut slot) = self.slots.get(index)? else {
            return Ok(None);
        };
        let seen = Seen::of(slot.state());
        if seen.form != Form::Member || !wants(&seen) {
            return Ok(None);
        }
        set_life(&mut slot, seen.life.with_mark(true));
        Ok(Some(seen))
    }

    fn clear_table(&self, worker: &mut Worker<C, PAGE>) -> Result<(), Error> {
        let run = &mut worker.run;
        let end = run.filled.min(run.next + 256);
        for place in run.next..end {
            if let Some(key) = self.layout.table(place) {
                self.slots.clear(key)?;
            }
        }
        run.next = end;
        if end == run.filled {
            match run.to < self.pages() {
                true => run.begin_batch(run.to),
                false => run.stage = Stage::Rest,
            }
        }
        Ok(())
    }

    /// Looks for a page like this one, which is in the second buffer and marked, and merges it with that.
    fn compare(
        &self,
        worker: &mut Worker<C, PAGE>,
        (index, seen): (u64, Seen),
        ages: Ages,
    ) -> Result<(), Error> {
        let run = worker.run;
        if run.stage == Stage::New {
            worker.run.count += 1;
            worker.run.patches_from = run.patches_from.max(index);
        }
        let [_, page] = &worker.both;
        let features = features(page);
        let collects = run.stage == Stage::New && !run.at_once;
        // A page that has a like one is looked at again, and one that came too late for the table.
        let (mut paired, mut late) = (false, run.stage == Stage::Again);
        for feature in features {
            let sets = run.places / WAYS;
            let print = (feature / sets) & ((1 << PRINT_BITS) - 1);
            let (other, room) = self.find(feature % sets * WAYS, print, index)?;
            late &= other.is_none();
            if let Some(other) = other.filter(|&other| other != index) {
                if collects {
                    paired = true;
                } else if self.merge(worker, (index, seen), other, ages)? {
                    late = false;
                    break;
                }
            }
            // The older one stays, as long as it is there.
            if let (None, Some(key), Stage::New) = (other, room, run.stage)
                && index <= u64::from(u32::MAX)
            {
                // Without memory for the table there are fewer candidates.
                let _ = self.slots.set_value(key, print << 32 | index);
            }
        }
        // Also if it was merged: then the other may have become a link to what this one has.
        let tried = seen.life.age() >= ages.all() && !paired && !late;
        worker.run.pairs += u64::from(paired);
        self.note(index, |life| if tried { life.with_seen() } else { life });
        Ok(())
    }

    /// Looks through a set of the table: the page that had this feature, and a place for another.
    fn find(
        &self,
        first: u64,
        print: u64,
        index: u64,
    ) -> Result<(Option<u64>, Option<u64>), Error> {
        let Some(first) = self.layout.table(first) else {
            return Ok((None, None));
        };
        let (mut other, mut taken) = (None, 0u64);
        self.slots.visit_leaf(first, first + WAYS, |key, state| {
            taken |= 1 << (key - first);
            match state {
                SlotState::Value(value) if value >> 32 == print => {
                    other = Some(value & 0xffff_ffff);
                }
                _ => {}
            }
            Touch::Keep
        })?;
        // If all are taken, some other goes.
        let way = match u64::from(taken.trailing_ones()) {
            free if free < WAYS => free,
            _ => index % WAYS,
        };
        Ok((other, Some(first + way)))
    }

    /// What happens to a page in one go, for one-shot commands: pages of all ages are merged.
    pub fn merge_all(
        &self,
        worker: &mut Worker<C, PAGE>,
        go_on: impl FnMut() -> bool,
    ) -> Result<u64, Error> {
        let (changed, _) = self.merge_some(worker, true, go_on)?;
        Ok(changed)
    }

    /// The same in parts: the first begins it, and others go on. Returns how many pages changed, and
    /// whether there is more to do.
    pub fn merge_some(
        &self,
        worker: &mut Worker<C, PAGE>,
        first: bool,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<(u64, bool), Error> {
        let _one = self.tiers.enter()?;
        let before = worker.work.changed;
        if first {
            self.start_run(worker, None);
        }
        let ages = Ages { same: 0, patch: 0 };
        let mut more = worker.run.stage != Stage::Rest;
        while more && self.run_step(worker, ages)? {
            if !go_on() {
                break;
            }
        }
        more = worker.run.stage != Stage::Rest;
        Ok((worker.work.changed - before, more))
    }
}

/// The features of a page; none twice.
fn features<const PAGE: usize>(page: &[u8; PAGE]) -> impl Iterator<Item = u64> + use<PAGE> {
    let mut least = [u64::MAX; BLOCK_FEATURES];
    let (mut blocks, mut changes) = (0, 0);
    let mut all = 0u64;
    let mut before = None;
    for block in page.as_chunks::<BLOCK>().0 {
        let mut hash = 0u64;
        let (words, _) = block.as_chunks::<8>();
        let mut differ = 0;
        let first = words.first().map_or(0, |word| u64::from_le_bytes(*word));
        for word in words {
            let word = u64::from_le_bytes(*word);
            differ |= word ^ first;
            hash = mix(hash ^ word);
        }
        all = mix(all ^ hash);
        changes += u32::from(before.is_some_and(|before| before != hash));
        before = Some(hash);
        if differ == 0 {
            continue;
        }
        blocks += 1;
        least[0] = least[0].min(hash);
        least[1] = least[1].min(hash.rotate_left(32) ^ hash.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
    let small = blocks < BLOCKS_MIN && changes < 2 * BLOCKS_MIN;
    // The minimum of many hashes has few leading bits.
    let [one, two] = least.map(mix);
    let similar = blocks >= BLOCKS_MIN;
    let features: [_; FEATURES] = [
        Some(mix(all)),
        similar.then_some(one),
        (similar && two != one).then_some(two),
    ];
    features.into_iter().flatten().filter(move |_| !small)
}

/// A permutation of 64-bit words in which every bit changes half the others.
#[inline]
fn mix(word: u64) -> u64 {
    let wide = u128::from(word ^ 0xa076_1d64_78bd_642f) * u128::from(0xe703_7ed1_a0b4_28db_u64);
    (wide as u64) ^ (wide >> 64) as u64
}
