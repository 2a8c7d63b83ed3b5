//! Pages that are the same as another, or nearly: shared objects and patches.
//!
//! A page's features are the smallest hashes of its 64-byte blocks, under two orders. Two pages that
//! have most blocks in common most probably have a feature in common, and the same page always has.
//!
//! A *run* compares the pages that came since the last one with each other and with all others. It puts
//! the features of the new pages into a table of candidates, and then looks there for those of the old
//! ones. The table is small, a 500th of the memory in use, and lies in slots of its own; where the new pages
//! are too many for it, the run goes over all pages several times, each time for a part of the features. When
//! it ends the table is gone.

use super::counters::{PATCH_HEAD, SHARED_HEAD, add};
use super::layout::UNIT_PAGES_MAX;
use super::links::bind_base;
use super::worker::{Form, Seen, Worker, set_life};
use crate::cache::{Cache, HUGE_SHARE, checksum_if};
use crate::content::{Life, Link, Stored};
use crate::error::Error;
use crate::workspace::Shared;
use alloc_xv::{PageSource, SlotState, Touch};
use compress::{Codec, CodecId};
use core::ops::Deref;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use lock_api::RawMutex;

/// Bytes of a block.
const BLOCK: usize = 64;
/// Features of a page.
const FEATURES: usize = 2;
/// A page with fewer blocks that are not one word repeated has nothing to share but itself.
const BLOCKS_MIN: u32 = 4;
/// The table has this share of the memory in use.
const TABLE_SHARE: u64 = 500;
/// A patch is worth it if it takes at most so many quarters of the page's own bytes.
const PATCH_QUARTERS: usize = 3;
/// Neighbouring places of the table that a feature may lie in.
const WAYS: u64 = 8;
/// Places for each feature that is looked at: with half of them free few features find their eight taken.
const PLACES_EACH: u64 = 2;
/// What a page in a cluster takes there, for that comparison: a share of the page.
const MEMBER_SHARE: usize = 4;
/// Bits of a feature that a place of the table keeps: a slot's value less a page's index.
const PRINT_BITS: u32 = 29;
/// How often a leaf of slots is looked at for a free shared number in one go.
const NUMBER_LOOKS: u32 = 16;
/// When more than this share of all pages are merged, shared objects lie as their pages do.
const DENSE_SHARE: u64 = 16;
/// That is not said of fewer.
const DENSE_MIN: u64 = 32;
/// Numbers in a row that are all pages' or all patches': pages that are found one after the other are
/// neighbours, and may form a cluster, which patches do not.
const STRIPE: u64 = 512;

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) stage: Stage,
    /// Pages that were compared before count as new.
    all: bool,
    /// Pages that were compared in this run, in every part again, and those that were merged.
    looked: u64,
    merged: u64,
    /// The part of the features that is looked at, and how many there are.
    part: u64,
    parts: u64,
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
    /// and then the old ones.
    Old,
    /// The table is emptied.
    Clear,
}

impl Run {
    pub(crate) const fn new() -> Self {
        Self {
            stage: Stage::Rest,
            all: false,
            looked: 0,
            merged: 0,
            part: 0,
            parts: 0,
            places: 0,
            filled: 0,
            next: 0,
        }
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
        let all = used.orig_data_size / PAGE as u64;
        let pages = new.unwrap_or(all);
        let filled = match worker.run.stage {
            Stage::Rest => places,
            _ => places.max(worker.run.filled),
        };
        worker.next_shared = [0; 2];
        worker.run = Run {
            stage: Stage::New,
            all: new.is_none(),
            looked: 0,
            merged: 0,
            part: 0,
            parts: (pages * FEATURES as u64 * PLACES_EACH)
                .div_ceil(places)
                .max(1),
            places,
            filled,
            next: 0,
        };
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
            Stage::New | Stage::Old => {
                worker.work.leaves += 1;
                self.run_on(worker, ages)?;
                if worker.run.next >= self.pages() {
                    worker.run.next = 0;
                    worker.run.stage = match worker.run.stage {
                        // All were new.
                        Stage::New if !worker.run.all => Stage::Old,
                        _ => Stage::Clear,
                    };
                }
                Ok(true)
            }
        }
    }

    /// Looks at the next page that this stage is about, or at all such pages of a cluster.
    fn run_on(&self, worker: &mut Worker<C, PAGE>, ages: Ages) -> Result<(), Error> {
        let run = worker.run;
        let wants = |seen: &Seen| match run.stage {
            Stage::New => (run.all || !seen.life.is_seen()) && seen.life.age() >= ages.same,
            _ => seen.life.is_seen(),
        };
        let mut found = None;
        let next = self
            .slots
            .visit_leaf(run.next, self.pages(), |index, state| {
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
            run.next = 0;
            run.part += 1;
            run.stage = match run.part < run.parts {
                true => Stage::New,
                false => Stage::Rest,
            };
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
        worker.run.looked += 1;
        let run = worker.run;
        let [_, page] = &worker.both;
        let last = run.part + 1 == run.parts;
        let features = features(page);
        for feature in features {
            if feature % run.parts != run.part {
                continue;
            }
            let feature = feature / run.parts;
            let sets = run.places / WAYS;
            let print = (feature / sets) & ((1 << PRINT_BITS) - 1);
            let (other, room) = self.find(feature % sets * WAYS, print, index)?;
            if let Some(other) = other.filter(|&other| other != index)
                && self.merge(worker, (index, seen), other, ages)?
            {
                break;
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
        let tried = last && seen.life.age() >= ages.all();
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

    /// Makes page `index`, which is in the second buffer, a link to what page `other` has, or a patch
    /// against it. False if it stays as it is.
    fn merge(
        &self,
        worker: &mut Worker<C, PAGE>,
        (index, seen): (u64, Seen),
        other: u64,
        ages: Ages,
    ) -> Result<bool, Error> {
        let [reference, page] = &mut worker.both;
        let found = self.look(&mut worker.space, &mut worker.work, other, reference);
        let Some(found) = found else {
            return Ok(false);
        };
        let done = if reference == page {
            if let (Form::Shared(mine), Form::Shared(theirs)) = (seen.form, found.form)
                && mine == theirs
            {
                self.note(other, |life| life);
                return Ok(false);
            }
            // What is shared already stays what is shared.
            let index_first = match (seen.form, found.form) {
                (Form::Shared(_), Form::Own(_) | Form::Member) => true,
                (Form::Own(_) | Form::Member, Form::Shared(_)) => false,
                // And what was there before keeps its neighbours.
                _ => worker.run.stage == Stage::Old,
            };
            let (from, to) = match index_first {
                true => ((index, seen), other),
                false => ((other, found), index),
            };
            match self.share(worker, from)? {
                Some(number) => self.link_to(to, number, &self.tiers.deduplicated)?,
                None => false,
            }
        } else if !self.codec.patches() {
            false
        } else if worker.run.stage == Stage::Old && found.life.age() >= ages.patch {
            // The new page is the patch.
            worker.both.swap(0, 1);
            let done = self.patch(worker, (other, found), (index, seen))?;
            worker.both.swap(0, 1);
            done
        } else if worker.run.stage == Stage::New && seen.life.age() >= ages.patch {
            self.patch(worker, (index, seen), (other, found))?
        } else {
            false
        };
        self.note(other, |life| life);
        if done {
            self.note(index, |life| life.with_seen());
            worker.work.changed += 1;
            worker.run.merged += 1;
        }
        Ok(done)
    }

    /// Makes the page a patch against the other one, if that is much smaller.
    fn patch(
        &self,
        worker: &mut Worker<C, PAGE>,
        (index, seen): (u64, Seen),
        (other, found): (u64, Seen),
    ) -> Result<bool, Error> {
        let own = match seen.form {
            Form::Own(_) => seen.size,
            Form::Member => PAGE / MEMBER_SHARE,
            _ => return Ok(false),
        };
        if let Form::Shared(number) = found.form
            && self.is_patch(number)?
        {
            return Ok(false);
        }
        worker.work.compressed += 1;
        let both = worker.both.as_flattened();
        let (space, stream) = (&mut worker.space, &mut worker.stream);
        let len = match self
            .codec
            .compress_patch(&mut space.codec, both, PAGE, stream)
        {
            Ok(len) => len,
            // Pages that are too long for patches.
            Err(_) => return Ok(false),
        };
        if (len + PATCH_HEAD + 16) * 4 > own * PATCH_QUARTERS {
            return Ok(false);
        }
        // `share` needs the other buffer.
        let room = worker.space.page.get_mut(..len);
        let (Some(room), Some(stored)) = (room, stream.get(..len)) else {
            return Ok(false);
        };
        room.copy_from_slice(stored);
        let Some(base) = self.share(worker, (other, found))? else {
            return Ok(false);
        };
        let Some((number, key)) = self.free_number(worker, true, index)? else {
            self.release_shared(base);
            return Ok(false);
        };
        let room = worker.space.page.get(..len).unwrap_or(&[]);
        let checked = self.keeps_checksums();
        let sum = checksum_if(checked, bind_base(key, base), room);
        let tag = Stored::Patch { checked }.tag();
        let head = [1u32.to_le_bytes(), base.to_le_bytes()];
        let parts = [
            head.as_flattened(),
            room,
            sum.as_ref().map_or(&[], |sum| sum),
        ];
        if self.slots.store(key, tag, &parts).is_err() {
            worker.work.no_space += 1;
            self.release_shared(base);
            return Ok(false);
        }
        add(&self.tiers.shared, 1);
        add(&self.tiers.patches, 1);
        self.link_to(index, number, &self.tiers.patched)
    }

    /// Uses up a reference to a shared object: for the link of a page, if it was not overwritten since
    /// it was read.
    fn link_to(&self, index: u64, number: u32, done: &AtomicU64) -> Result<bool, Error> {
        let counters = self.begin(index)?;
        let Some((mut slot, seen)) = self.marked(index)? else {
            self.release_shared(number);
            return Ok(false);
        };
        let old = slot.state();
        let life = seen.life.with_mark(false).with_seen();
        slot.set_value(Link::Shared(number, life).value())?;
        add(&self.tiers.shared_pages, 1);
        self.forget(index, counters, old);
        add(done, 1);
        Ok(true)
    }

    /// The number of the shared object that a page has, which is in the first buffer, with one more
    /// reference for the caller; it is made if need be. `None`: there is no memory, or the page was
    /// overwritten.
    fn share(
        &self,
        worker: &mut Worker<C, PAGE>,
        (index, seen): (u64, Seen),
    ) -> Result<Option<u32>, Error> {
        if let Form::Shared(number) = seen.form {
            // While the slot is held its link keeps the object.
            let Some((_slot, now)) = self.marked(index)? else {
                return Ok(None);
            };
            let same = now.form == seen.form;
            return Ok((same && self.refer(number)).then_some(number));
        }
        let Some((number, key)) = self.free_number(worker, false, index)? else {
            return Ok(None);
        };
        let [page, _] = &mut worker.both;
        worker.work.compressed += 1;
        let (space, stream) = (&mut worker.space, &mut worker.stream);
        let len = self.codec.compress(&mut space.codec, page, stream)?;
        let (id, stored) = match stream.get(..len) {
            Some(stored) if len < PAGE - PAGE / HUGE_SHARE => (self.codec.id(), stored),
            _ => (CodecId::Raw, &page[..]),
        };
        let checked = self.keeps_checksums();
        let sum = checksum_if(checked, key, stored);
        // As cold as the page it comes from.
        let life = Life::NEW.with_age(seen.life.age());
        let tag = life.on(Stored::Page { codec: id, checked }.tag());
        let counters = self.begin(index)?;
        let Some((mut slot, now)) = self.marked(index)? else {
            return Ok(None);
        };
        // For the page itself, and for the caller.
        let head: [u8; SHARED_HEAD] = 2u32.to_le_bytes();
        let parts = [&head[..], stored, sum.as_ref().map_or(&[], |sum| sum)];
        if self.slots.store(key, tag, &parts).is_err() {
            worker.work.no_space += 1;
            set_life(&mut slot, now.life.with_mark(false));
            return Ok(None);
        }
        add(&self.tiers.shared, 1);
        let old = slot.state();
        slot.set_value(Link::Shared(number, now.life).value())?;
        add(&self.tiers.shared_pages, 1);
        self.forget(index, counters, old);
        Ok(Some(number))
    }

    fn is_patch(&self, number: u32) -> Result<bool, Error> {
        let Some(key) = self.layout.shared(number) else {
            return Ok(true);
        };
        Ok(match self.slots.state(key)? {
            SlotState::Object { tag, .. } => {
                matches!(Stored::from_tag(tag), Some(Stored::Patch { .. }))
            }
            SlotState::Value(value) => !matches!(Link::of(value), Some(Link::Cluster(..))),
            SlotState::Empty => true,
        })
    }

    /// A number that no shared object has, and its key.
    fn free_number(
        &self,
        worker: &mut Worker<C, PAGE>,
        is_patch: bool,
        index: u64,
    ) -> Result<Option<(u32, u64)>, Error> {
        // Where many are shared, neighbours keep their places, whichever part of the run finds them: they
        // may form a cluster. Where few are, such slots would be far between, and each take a leaf.
        let run = &worker.run;
        let found = u128::from(run.merged) * u128::from(run.parts) * u128::from(DENSE_SHARE);
        if run.merged > DENSE_MIN
            && found > u128::from(run.looked)
            && let Ok(number) = u32::try_from(index)
            && let Some(key) = self.layout.shared(number)
            && self.slots.state(key)? == SlotState::Empty
        {
            self.tiers.shared_end.fetch_max(index + 1, Relaxed);
            return Ok(Some((number, key)));
        }
        let len = self.layout.shared_len();
        // A small device has room for one kind of stripes only.
        let is_patch = is_patch && len > STRIPE;
        let parity = u64::from(is_patch);
        let kinds = if len > STRIPE { 2 } else { 1 };
        let cursor = &mut worker.next_shared[usize::from(is_patch)];
        for _ in 0..NUMBER_LOOKS {
            let mut from = u64::from(*cursor);
            if from / STRIPE % kinds != parity {
                from = (from / STRIPE + 1) * STRIPE;
            }
            if from >= len {
                from = parity * STRIPE;
            }
            let end = len.min((from / STRIPE + 1) * STRIPE);
            let Some(first) = self.layout.shared(from as u32).filter(|_| from < end) else {
                return Ok(None);
            };
            // The first key that is not shown, as keys come in order.
            let mut free = first;
            let next = self
                .slots
                .visit_leaf(first, first + (end - from), |key, _| {
                    if key != free {
                        return Touch::Stop;
                    }
                    free += 1;
                    Touch::Keep
                })?;
            worker.work.leaves += 1;
            if free >= next {
                *cursor = (from + (next - first)) as u32;
                continue;
            }
            let number = (from + (free - first)) as u32;
            *cursor = number.wrapping_add(1);
            // One that somebody reads is not shown either. Nobody but the worker makes one, so what is
            // empty stays empty.
            if self.slots.state(free)? == SlotState::Empty {
                let end = u64::from(number) + 1;
                self.tiers.shared_end.fetch_max(end, Relaxed);
                return Ok(Some((number, free)));
            }
        }
        Ok(None)
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
    let mut least = [u64::MAX; FEATURES];
    let mut blocks = 0;
    let mut all = 0u64;
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
        if differ == 0 {
            continue;
        }
        blocks += 1;
        least[0] = least[0].min(hash);
        least[1] = least[1].min(hash.rotate_left(32) ^ hash.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
    if blocks < BLOCKS_MIN {
        least = [all, all];
    }
    // The minimum of many hashes has few leading bits.
    let [one, two] = least.map(mix);
    core::iter::once(one).chain((two != one).then_some(two))
}

/// A permutation of 64-bit words in which every bit changes half the others.
#[inline]
fn mix(word: u64) -> u64 {
    let wide = u128::from(word ^ 0xa076_1d64_78bd_642f) * u128::from(0xe703_7ed1_a0b4_28db_u64);
    (wide as u64) ^ (wide >> 64) as u64
}
