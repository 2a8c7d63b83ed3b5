//! Denser codecs for single pages, and clusters of neighbours.

use super::counters::{add, sub};
use super::layout::UNIT_PAGES_MAX;
use super::links::{bind_members, references};
use super::worker::{ClusterInfo, Form, Seen, Worker};
use crate::cache::{Cache, checksum_if, remember, stays_raw};
use crate::content::{Life, Link, Stored};
use crate::error::Error;
use crate::put::shorter;
use crate::workspace::Shared;
use alloc_xv::{PageSource, SlotState};
use compress::{Codec, CodecId};
use core::ops::Deref;
use lock_api::RawMutex;

/// Which pages are to be stored again: zram's `type=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Every page.
    All,
    /// Pages that were not used since they were marked idle.
    Idle,
    /// Pages that no codec made smaller so far.
    Huge,
    /// Both at once.
    HugeIdle,
}

impl What {
    /// Whether a page is of this kind.
    pub(crate) fn takes(self, seen: &Seen) -> bool {
        let idle = seen.life.age() == Life::AGE_MAX;
        let huge = seen.form == Form::Own(CodecId::Raw);
        match self {
            Self::All => true,
            Self::Idle => idle,
            Self::Huge => huge,
            Self::HugeIdle => idle && huge,
        }
    }
}

/// What [`Cache::recompress`] is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recompress {
    /// Which pages.
    pub what: What,
    /// By which of the denser codecs, from 1.
    pub rung: usize,
    /// Only pages of which at least so many bytes are stored.
    pub threshold: usize,
    /// Pages at most; 0 for all.
    pub max_pages: u64,
}

/// What became of a page or a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is stored in another form now.
    Changed,
    /// It stays as it is.
    Kept,
    /// It stays as it is, because there was no memory.
    NoSpace,
}

/// A cluster replaces what takes so many times its size, in hundredths.
const CLUSTER_GAIN: usize = 105;

impl<S, C, W, L, const PAGE: usize, const ARENAS: usize> Cache<S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
    L: RawMutex,
{
    /// Stores pages again by a denser codec, where that makes them smaller: zram's `recompress`.
    /// `go_on` is asked after each page, and may end it. Returns how many changed.
    pub fn recompress(
        &self,
        worker: &mut Worker<C, PAGE>,
        how: Recompress,
        go_on: impl FnMut() -> bool,
    ) -> Result<u64, Error> {
        let (changed, _) = self.recompress_from(worker, how, 0, go_on)?;
        Ok(changed)
    }

    /// The same from page `from` on. Returns how many changed, and where to go on: the end of the device
    /// if all was looked at.
    pub fn recompress_from(
        &self,
        worker: &mut Worker<C, PAGE>,
        how: Recompress,
        from: u64,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<(u64, u64), Error> {
        let _one = self.tiers.enter()?;
        self.check_rung(how.rung)?;
        let (mut tried, mut changed) = (0, 0);
        let mut key = from;
        while key < self.pages() {
            let mut found = [None; UNIT_PAGES_MAX];
            let mut count = 0;
            let end = self.pages().min(key + UNIT_PAGES_MAX as u64);
            let next = self.slots.visit_leaf(key, end, |index, state| {
                let seen = Seen::of(state);
                let own = matches!(seen.form, Form::Own(_));
                if own
                    && how.what.takes(&seen)
                    && seen.size >= how.threshold
                    && usize::from(seen.life.rung()) < how.rung
                    && let Some(place) = found.get_mut(count)
                {
                    *place = Some(index);
                    count += 1;
                }
                alloc_xv::Touch::Keep
            })?;
            key = next.max(key + 1);
            for index in found.into_iter().flatten() {
                if how.max_pages != 0 && tried == how.max_pages || !go_on() {
                    return Ok((changed, index));
                }
                tried += 1;
                if self.recompress_page(worker, index, how.rung)? == Outcome::Changed {
                    changed += 1;
                }
            }
        }
        Ok((changed, self.pages()))
    }

    pub(crate) fn check_rung(&self, rung: usize) -> Result<(), Error> {
        let rungs = self.codec().rungs();
        match (1..=rungs).contains(&rung) {
            true => Ok(()),
            false => Err(Error::NoSuchRung { rung, rungs }),
        }
    }

    /// Stores a page by a denser codec if that makes it smaller.
    pub(crate) fn recompress_page(
        &self,
        worker: &mut Worker<C, PAGE>,
        index: u64,
        rung: usize,
    ) -> Result<Outcome, Error> {
        let [page, _] = &mut worker.both;
        let Some(seen) = self.look(&mut worker.space, &mut worker.work, index, page) else {
            return Ok(Outcome::Kept);
        };
        let Form::Own(_) = seen.form else {
            self.note(index, |life| life);
            return Ok(Outcome::Kept);
        };
        worker.work.compressed += 1;
        let workspace = &mut worker.space.codec;
        let (id, len) = self
            .codec
            .compress_rung(rung, workspace, page, &mut worker.stream)?;
        let sum_len = if self.keeps_checksums() { 4 } else { 0 };
        let tried = |life: Life| life.with_rung(rung as u8);
        let stored = worker.stream.get(..len);
        let small = !stays_raw::<PAGE>(len) && len + sum_len < seen.size;
        let (Some(stored), true) = (stored, small) else {
            self.note(index, tried);
            return Ok(Outcome::Kept);
        };
        self.store_marked(&mut worker.work, index, id, stored, tried)
    }

    /// Stores a page that the worker has read as a stream of the codec `id`, if it was not overwritten
    /// since.
    pub(crate) fn store_marked(
        &self,
        work: &mut super::Work,
        index: u64,
        id: CodecId,
        stored: &[u8],
        life: impl FnOnce(Life) -> Life,
    ) -> Result<Outcome, Error> {
        let Some((mut slot, seen)) = self.marked(index)? else {
            return Ok(Outcome::Kept);
        };
        let old = slot.state();
        let checked = self.keeps_checksums();
        let tag = Stored::Page { codec: id, checked }.tag();
        let tag = life(seen.life).with_mark(false).on(tag);
        let sum = checksum_if(checked, index, stored);
        let is_shared = self.layout.is_shared(index);
        let count = references(&slot).unwrap_or(0).to_le_bytes();
        let head = match is_shared {
            true => &count[..],
            false => &[],
        };
        let parts = [head, stored, sum.as_ref().map_or(&[], |sum| sum)];
        if slot.store(tag, &parts).is_err() {
            super::worker::set_life(&mut slot, seen.life.with_mark(false));
            work.no_space += 1;
            return Ok(Outcome::NoSpace);
        }
        if !is_shared {
            let counters = self.begin(index)?;
            remember::<PAGE>(counters, tag, stored.len());
            self.forget(index, counters, old);
        } else if seen.form == Form::Member {
            sub(&self.tiers.shared_members, 1);
            // Its cluster is never written back: there is no token.
            let _ = self.release_member(index);
        }
        add(&self.tiers.recompressed, 1);
        work.changed += 1;
        Ok(Outcome::Changed)
    }

    /// Puts the cold pages of a unit into its cluster, makes one, or packs one in which many pages are
    /// dead. `cold` says which pages may go in.
    pub(crate) fn cluster_unit(
        &self,
        worker: &mut Worker<C, PAGE>,
        unit: u64,
        rung: usize,
        cold: impl Fn(Life) -> bool,
    ) -> Result<Outcome, Error> {
        let layout = &self.layout;
        let keys = layout.cluster_info(unit).zip(layout.cluster_data(unit));
        let Some((info_key, data_key)) = keys else {
            return Ok(Outcome::Kept);
        };
        let seen = self.survey(unit);
        let old = self.cluster_info(info_key)?;
        let mut new = 0u16;
        for (place, seen) in seen.iter().enumerate() {
            let raw = seen.form == Form::Own(CodecId::Raw);
            let own = matches!(seen.form, Form::Own(_)) && !(raw && seen.life.rung() > 0);
            if own && cold(seen.life) && seen.life.rung() < Life::RUNG_MAX {
                new |= 1 << place;
            }
        }
        let dead = (old.members & !old.alive).count_ones();
        let rotten = dead * 4 > old.members.count_ones();
        let wanted = (old.alive | new).count_ones();
        if new == 0 && !rotten {
            return Ok(Outcome::Kept);
        }
        let state = self.slots.state(data_key)?;
        if old.members != 0 && !matches!(state, SlotState::Object { .. }) {
            // It is in the backing store. New pages wait until its pages are gone.
            return Ok(Outcome::Kept);
        }
        if u64::from(wanted) * 4 < layout.unit_pages() || wanted < 2 {
            return match rotten {
                true => self.dissolve(worker, unit, old.alive, rung),
                false => Ok(Outcome::Kept),
            };
        }
        let Some((members, before)) = self.gather(worker, unit, old, new)? else {
            return Ok(Outcome::Kept);
        };
        let new = members & !old.alive;
        let len = members.count_ones() as usize * PAGE;
        worker.work.compressed += u64::from(members.count_ones());
        let (space, stream) = (&mut worker.space, &mut worker.stream);
        let pages = worker.unit.get(..len).unwrap_or(&[]);
        let (id, len) = self
            .codec
            .compress_rung(rung, &mut space.codec, pages, stream)?;
        let stored = stream.get(..len).unwrap_or(&[]);
        if len * CLUSTER_GAIN / 100 + 8 >= before || len > alloc_xv::OBJECT_MAX {
            for index in self.indices(unit, new) {
                self.note(index, |life| life.with_rung(Life::RUNG_MAX));
            }
            return Ok(Outcome::Kept);
        }
        if !self.store_cluster((info_key, data_key), (old, members), id, stored)? {
            worker.work.no_space += 1;
            for index in self.indices(unit, new) {
                self.note(index, |life| life);
            }
            return Ok(Outcome::NoSpace);
        }
        for index in self.indices(unit, new) {
            if self.join(index, info_key, members)? {
                worker.work.changed += 1;
                add(&self.tiers.clustered, 1);
            }
        }
        self.clear_if_nobody(info_key, data_key)?;
        Ok(Outcome::Changed)
    }

    /// Puts the pages of a unit one behind the other: those alive in its cluster, and the new ones,
    /// marked. Returns whose they are, and how many bytes they take now; `None` if they are too few.
    fn gather(
        &self,
        worker: &mut Worker<C, PAGE>,
        unit: u64,
        old: ClusterInfo,
        new: u16,
    ) -> Result<Option<(u16, usize)>, Error> {
        let mut before = 0;
        let mut members = 0u16;
        if old.alive != 0 {
            let Some((there, size)) = self.read_unit_sized(worker, unit)? else {
                return Ok(None);
            };
            if there != old.members {
                return Ok(None);
            }
            before += size + 4;
            // From the places they have there to those they have in the unit.
            for place in places(there).rev() {
                let rank = (there & ((1 << place) - 1)).count_ones() as usize;
                worker
                    .unit
                    .copy_within(rank * PAGE..(rank + 1) * PAGE, place * PAGE);
            }
            members = old.alive;
        }
        let first = self.layout.keys_of(unit).start;
        for place in places(new) {
            let room = worker.unit.get_mut(place * PAGE..);
            let Some(page) = room.and_then(|room| room.first_chunk_mut::<PAGE>()) else {
                continue;
            };
            let index = first + place as u64;
            let seen = self.look(&mut worker.space, &mut worker.work, index, page);
            if let Some(Seen {
                form: Form::Own(_),
                size,
                ..
            }) = seen
            {
                members |= 1 << place;
                before += size + 4;
            }
        }
        for (rank, place) in places(members).enumerate() {
            worker
                .unit
                .copy_within(place * PAGE..(place + 1) * PAGE, rank * PAGE);
        }
        Ok((members.count_ones() >= 2).then_some((members, before)))
    }

    /// Puts the pages of a unit's cluster one behind the other. Returns whose they are.
    pub(crate) fn read_unit(
        &self,
        worker: &mut Worker<C, PAGE>,
        unit: u64,
    ) -> Result<Option<u16>, Error> {
        Ok(self
            .read_unit_sized(worker, unit)?
            .map(|(members, _)| members))
    }

    /// The same, and how many bytes they are stored in.
    fn read_unit_sized(
        &self,
        worker: &mut Worker<C, PAGE>,
        unit: u64,
    ) -> Result<Option<(u16, usize)>, Error> {
        let keys = self
            .layout
            .cluster_info(unit)
            .zip(self.layout.cluster_data(unit));
        let Some((info_key, data_key)) = keys else {
            return Ok(None);
        };
        // Only the worker changes whose pages are in it.
        let members = self.cluster_info(info_key)?.members;
        let Some(data) = self.slots.get(data_key)? else {
            return Ok(None);
        };
        let SlotState::Object { size, tag } = data.state() else {
            return Ok(None);
        };
        let Worker { space, unit, .. } = &mut *worker;
        let what = (data_key, members, tag);
        let mut fits = false;
        let done = self.decode_unit(&mut space.codec, what, &data.fragments(), &mut |pages| {
            let room = unit.get_mut(..pages.len());
            fits = room.map(|room| room.copy_from_slice(pages)).is_some();
        });
        if done.is_none() || !fits {
            return Ok(None);
        }
        worker.work.read += u64::from(members.count_ones());
        Ok(Some((members, size)))
    }

    /// Stores the bytes of a cluster and says whose pages are in it; those that were in it before stay
    /// alive. False if there is no memory.
    fn store_cluster(
        &self,
        (info_key, data_key): (u64, u64),
        (old, members): (ClusterInfo, u16),
        id: CodecId,
        stored: &[u8],
    ) -> Result<bool, Error> {
        let (Ok(mut info), Ok(mut data)) = (self.slots.lock(info_key), self.slots.lock(data_key))
        else {
            return Ok(false);
        };
        let alive = ClusterInfo::of(info.state()).map_or(0, |info| info.alive) & old.alive;
        let checked = self.keeps_checksums();
        let sum = checksum_if(checked, bind_members(data_key, members), stored);
        let tag = Stored::Page { codec: id, checked }.tag();
        let had = data.state() != SlotState::Empty;
        // First what can fail.
        let parts = [stored, sum.as_ref().map_or(&[], |sum| sum)];
        if data.store(tag, &parts).is_err() {
            return Ok(false);
        }
        if !had {
            add(&self.tiers.clusters, 1);
        }
        info.set_value(ClusterInfo { members, alive }.value())?;
        Ok(true)
    }

    /// Links a page to the cluster that it was put into, if it was not overwritten since.
    fn join(&self, index: u64, info_key: u64, members: u16) -> Result<bool, Error> {
        let Some((mut slot, seen)) = self.marked(index)? else {
            return Ok(false);
        };
        let life = seen.life.with_mark(false);
        let (_, place) = self.layout.unit_of(index);
        let info = self.slots.get(info_key)?;
        let found = info.and_then(|slot| Some((ClusterInfo::of(slot.state())?, slot)));
        let Some((mut info, mut info_slot)) = found.filter(|(info, _)| info.members == members)
        else {
            super::worker::set_life(&mut slot, life);
            return Ok(false);
        };
        info.alive |= 1 << place;
        info_slot.set_value(info.value())?;
        drop(info_slot);
        let old = slot.state();
        if self.layout.is_shared(index) {
            let count = references(&slot).unwrap_or(0);
            slot.set_value(Link::Cluster(life, count).value())?;
            add(&self.tiers.shared_members, 1);
        } else {
            slot.set_value(Link::Cluster(life, 0).value())?;
            let counters = self.begin(index)?;
            self.forget(index, counters, old);
            add(&self.tiers.cluster_pages, 1);
        }
        Ok(true)
    }

    /// Gives a cluster back that nobody joined.
    fn clear_if_nobody(&self, info_key: u64, data_key: u64) -> Result<(), Error> {
        if let Some(mut slot) = self.slots.get(info_key)?
            && ClusterInfo::of(slot.state()).is_some_and(|info| info.alive == 0)
        {
            let token = self.clear_cluster(data_key);
            slot.clear();
            if let Some(token) = token {
                self.release_token(token);
            }
        }
        Ok(())
    }

    /// Stores the pages of a cluster that few are left in by themselves.
    fn dissolve(
        &self,
        worker: &mut Worker<C, PAGE>,
        unit: u64,
        alive: u16,
        rung: usize,
    ) -> Result<Outcome, Error> {
        let mut outcome = Outcome::Kept;
        for index in self.indices(unit, alive) {
            let [page, _] = &mut worker.both;
            let seen = self.look(&mut worker.space, &mut worker.work, index, page);
            let Some(Seen {
                form: Form::Member, ..
            }) = seen
            else {
                self.note(index, |life| life);
                continue;
            };
            worker.work.compressed += 1;
            let (space, stream) = (&mut worker.space, &mut worker.stream);
            let (id, len) = self
                .codec
                .compress_rung(rung, &mut space.codec, page, stream)?;
            let (id, stored) = shorter(id, stream.get(..len), page);
            let tried = |life: Life| life.with_rung(rung as u8);
            match self.store_marked(&mut worker.work, index, id, stored, tried)? {
                Outcome::Kept => {}
                other => outcome = other,
            }
        }
        Ok(outcome)
    }

    /// What is said of a unit's cluster.
    pub(crate) fn cluster_info(&self, info_key: u64) -> Result<ClusterInfo, Error> {
        let state = self.slots.state(info_key)?;
        Ok(ClusterInfo::of(state).unwrap_or(ClusterInfo {
            members: 0,
            alive: 0,
        }))
    }

    /// The pages of a unit that are in a set.
    fn indices(
        &self,
        unit: u64,
        set: u16,
    ) -> impl Iterator<Item = u64> + use<S, C, W, L, PAGE, ARENAS> {
        let first = self.layout.keys_of(unit).start;
        places(set).map(move |place| first + place as u64)
    }
}

/// The places in a set.
fn places(set: u16) -> impl DoubleEndedIterator<Item = usize> {
    (0..UNIT_PAGES_MAX).filter(move |place| set & 1 << place != 0)
}
