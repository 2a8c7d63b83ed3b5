//! Pages that are the same as another, or nearly: shared objects and patches.

use super::counters::{PATCH_HEAD, SHARED_HEAD, add};
use super::links::bind_base;
use super::run::{Ages, Stage};
use super::worker::{Form, Seen, Worker, set_life};
use crate::cache::{Cache, checksum_if};
use crate::content::{Life, Link, Stored};
use crate::error::Error;
use crate::put::shorter;
use crate::workspace::Shared;
use alloc_xv::{PageSource, SlotState};
use compress::Codec;
use core::ops::Deref;
use core::sync::atomic::AtomicU64;
use lock_api::RawMutex;

/// A patch is worth it if it takes at most so many quarters of what the page takes otherwise.
const PATCH_QUARTERS: usize = 3;
/// The same for a page that denser codecs have not seen, of the first codec's bytes: they make two thirds of it, or less.
const YOUNG_QUARTERS: usize = 2;

impl<S, C, W, L, const PAGE: usize, const ARENAS: usize> Cache<S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
    L: RawMutex,
{
    /// Makes page `index`, which is in the second buffer, a link to what page `other` has, or a patch
    /// against it. False if it stays as it is.
    pub(crate) fn merge(
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
        } else if worker.run.stage != Stage::Old && seen.life.age() >= ages.patch {
            self.patch(worker, (index, seen), (other, found))?
        } else {
            false
        };
        self.note(other, |life| life);
        if done {
            self.note(index, |life| life.with_seen());
            worker.work.changed += 1;
            worker.run.count_merged();
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
        let most = match seen.form {
            Form::Own(_) if seen.life.rung() == 0 && self.codec.rungs() > 0 => {
                seen.size * YOUNG_QUARTERS / 4
            }
            Form::Own(_) => seen.size * PATCH_QUARTERS / 4,
            Form::Member => self.member_share(index)? * PATCH_QUARTERS / 4,
            _ => return Ok(false),
        };
        let mut base = None;
        if let Form::Shared(number) = found.form
            && self.is_patch(number)?
        {
            // What that is a patch against is like this page, too. An old page is compared further, so it
            // has to stay where it is.
            if worker.run.stage == Stage::Old {
                return Ok(false);
            }
            let [reference, page] = &mut worker.both;
            let space = &mut worker.space;
            base = self.base_of_shared(number);
            let Some(number) = base else {
                return Ok(false);
            };
            worker.work.read += 1;
            let (codec, stream) = (&mut space.codec, &mut space.stream);
            let done = self.decode_shared(codec, stream, index, number, reference);
            if done.is_err() {
                return Ok(false);
            }
            if reference == page {
                return match self.refer_to_base((other, found), number)? {
                    true => self.link_to(index, number, &self.tiers.deduplicated),
                    false => Ok(false),
                };
            }
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
        if len + PATCH_HEAD + 16 > most {
            return Ok(false);
        }
        // `share` needs the other buffer.
        let room = worker.space.page.get_mut(..len);
        let (Some(room), Some(stored)) = (room, stream.get(..len)) else {
            return Ok(false);
        };
        room.copy_from_slice(stored);
        let base = match base {
            None => self.share(worker, (other, found))?,
            Some(base) => self.refer_to_base((other, found), base)?.then_some(base),
        };
        let Some(base) = base else {
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

    /// What a page in a cluster takes there: as much as any other member.
    fn member_share(&self, index: u64) -> Result<usize, Error> {
        let (unit, _) = self.layout.unit_of(index);
        let keys = (
            self.layout.cluster_info(unit),
            self.layout.cluster_data(unit),
        );
        let (Some(info_key), Some(data_key)) = keys else {
            return Ok(0);
        };
        let members = self.cluster_info(info_key)?.members.count_ones() as usize;
        Ok(match self.slots.state(data_key)? {
            SlotState::Object { size, .. } => size / members.max(1),
            _ => 0,
        })
    }

    /// One reference more to the base of the patch that a page is. False if the page is another now.
    fn refer_to_base(&self, (index, seen): (u64, Seen), base: u32) -> Result<bool, Error> {
        // While the slot is held its link keeps the patch, and that its base.
        let Some((_slot, now)) = self.marked(index)? else {
            return Ok(false);
        };
        Ok(now.form == seen.form && self.refer(base))
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
        let (id, stored) = shorter(self.codec.id(), stream.get(..len), page);
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
}
