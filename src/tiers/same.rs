//! Pages that are the same as another, or nearly: shared objects and patches.
//!
//! A page's features are the smallest hashes of its 64-byte blocks, under two orders. Two pages that
//! have most blocks in common most probably have a feature in common, and the same page always has.
//!
//! A *run* goes over all pages several times. Each time it looks at a part of all features only, so
//! that the table of candidates, which says which page had a feature, can be small: it has a 500th of
//! the memory in use, lies in slots of its own, and is gone when the run ends.

use super::counters::{PATCH_HEAD, SHARED_HEAD, add};
use super::links::bind_base;
use super::worker::{Form, Seen, Worker, set_life};
use crate::cache::{Cache, HUGE_SHARE, checksum_if};
use crate::content::{Life, Link, Stored};
use crate::error::Error;
use crate::workspace::Shared;
use alloc_xv::{PageSource, SlotState, Touch};
use compress::{Codec, CodecId};
use core::ops::Deref;
use core::sync::atomic::AtomicU64;
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

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) stage: Stage,
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
    /// Pages are looked at.
    Pages,
    /// The table is emptied.
    Clear,
}

impl Run {
    pub(crate) const fn new() -> Self {
        Self {
            stage: Stage::Rest,
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
    /// Begins a run.
    pub(crate) fn start_run(&self, worker: &mut Worker<C, PAGE>) {
        let used = self.mm_stat();
        let places = (used.mem_used_total / TABLE_SHARE / 8).max(64);
        let places = places.min(self.layout.table_len()) / WAYS * WAYS;
        if places == 0 || self.layout.shared_len() == 0 {
            return;
        }
        let pages = used.orig_data_size / PAGE as u64;
        let filled = match worker.run.stage {
            Stage::Rest => places,
            Stage::Pages | Stage::Clear => places.max(worker.run.filled),
        };
        worker.next_shared = 0;
        worker.run = Run {
            stage: Stage::Pages,
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
            Stage::Pages => {
                worker.work.leaves += 1;
                let from = worker.run.next;
                let mut found = None;
                let next = self.slots.visit_leaf(from, self.pages(), |index, state| {
                    let seen = Seen::of(state);
                    if !matches!(seen.form, Form::None | Form::Backed(_)) {
                        found = Some(index);
                        return Touch::Stop;
                    }
                    Touch::Keep
                })?;
                worker.run.next = next;
                if let Some(index) = found {
                    worker.work.leaves -= 1;
                    self.compare(worker, index, ages)?;
                }
                if worker.run.next >= self.pages() {
                    worker.run.next = 0;
                    worker.run.stage = Stage::Clear;
                }
                Ok(true)
            }
        }
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
                true => Stage::Pages,
                false => Stage::Rest,
            };
        }
        Ok(())
    }

    /// Looks for a page like this one, and merges it with that.
    fn compare(&self, worker: &mut Worker<C, PAGE>, index: u64, ages: Ages) -> Result<(), Error> {
        let run = worker.run;
        let [_, page] = &mut worker.both;
        let Some(seen) = self.look(&mut worker.space, &mut worker.work, index, page) else {
            return Ok(());
        };
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
            if let (None, Some(key)) = (other, room)
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
        if seen.life.age() < ages.same {
            return Ok(false);
        }
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
            let (from, to) = match (seen.form, found.form) {
                (Form::Shared(_), Form::Own(_) | Form::Member) => ((index, seen), other),
                _ => ((other, found), index),
            };
            match self.share(worker, from)? {
                Some(number) => self.link_to(to, number, &self.tiers.deduplicated)?,
                None => false,
            }
        } else if seen.life.age() >= ages.patch && self.codec.patches() {
            self.patch(worker, (index, seen), (other, found))?
        } else {
            false
        };
        self.note(other, |life| life);
        if done {
            worker.work.changed += 1;
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
        let (Some(room), Some(stored)) = (worker.unit.get_mut(..len), stream.get(..len)) else {
            return Ok(false);
        };
        room.copy_from_slice(stored);
        let Some(base) = self.share(worker, (other, found))? else {
            return Ok(false);
        };
        let Some((number, key)) = self.free_number(worker)? else {
            self.release_shared(base);
            return Ok(false);
        };
        let room = worker.unit.get(..len).unwrap_or(&[]);
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
        let Some((number, key)) = self.free_number(worker)? else {
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
        let tag = Stored::Page { codec: id, checked }.tag();
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
            _ => true,
        })
    }

    /// A number that no shared object has, and its key.
    fn free_number(&self, worker: &mut Worker<C, PAGE>) -> Result<Option<(u32, u64)>, Error> {
        let len = self.layout.shared_len();
        for _ in 0..NUMBER_LOOKS {
            let from = u64::from(worker.next_shared) % len.max(1);
            let last = len.saturating_sub(1) as u32;
            let (Some(first), Some(last)) =
                (self.layout.shared(from as u32), self.layout.shared(last))
            else {
                return Ok(None);
            };
            // The first key that is not shown, as keys come in order.
            let mut free = first;
            let next = self.slots.visit_leaf(first, last + 1, |key, _| {
                if key != free {
                    return Touch::Stop;
                }
                free += 1;
                Touch::Keep
            })?;
            worker.work.leaves += 1;
            if free >= next {
                worker.next_shared = (from + (next - first)) as u32;
                continue;
            }
            let number = (from + (free - first)) as u32;
            worker.next_shared = number.wrapping_add(1);
            // One that somebody reads is not shown either. Nobody but the worker makes one, so what is
            // empty stays empty.
            if self.slots.state(free)? == SlotState::Empty {
                return Ok(Some((number, free)));
            }
        }
        Ok(None)
    }

    /// What happens to a page in one go, for one-shot commands: pages of all ages are merged.
    pub fn merge_all(
        &self,
        worker: &mut Worker<C, PAGE>,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<u64, Error> {
        let _one = self.tiers.enter()?;
        let before = worker.work.changed;
        self.start_run(worker);
        let ages = Ages { same: 0, patch: 0 };
        while self.run_step(worker, ages)? {
            if !go_on() {
                break;
            }
        }
        Ok(worker.work.changed - before)
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
