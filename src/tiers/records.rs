//! Writing back: what is given to a backing store, and how it comes back. The I/O is the caller's.
//!
//! ```text
//!  record   0     2         4                     a page's object or a cluster's, as it was in memory:
//!          [ tag | members | stream | checksum ]  with the checksum, if there are any; a page's has no
//!                                                 members
//! ```

use super::counters::{add, sub};
use super::links::copy_member;
use super::worker::{ClusterInfo, Form, Seen, Worker, set_life};
use crate::cache::{Cache, verify};
use crate::content::{Life, Link, Stored};
use crate::error::{Error, WrittenBack};
use crate::workspace::{Shared, Workspace, borrow};
use alloc_xv::{PageSource, Slot, SlotState};
use compress::{Codec, CodecId};
use core::ops::Deref;
use lock_api::RawMutex;

/// Every so many segments, one keeps its slot, and so the leaf it is in.
pub(crate) const SEGMENTS_RESERVED: u64 = 512;

/// Bytes of a record before the object's: its tag, and a cluster's members.
const TAG_LEN: usize = 2;
const MEMBERS_LEN: usize = 2;

impl<S, C, W, L, const PAGE: usize, const ARENAS: usize> Cache<S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
    L: RawMutex,
{
    /// The record to write back for page `index`: that of its cluster, if it is in one. Returns the key
    /// to write it under. `None`: the page is not one that is written back now.
    ///
    /// When the record is safely stored, [`commit_record`](Self::commit_record) makes the store the only
    /// place where it is.
    pub fn take_record<'w>(
        &self,
        worker: &'w mut Worker<C, PAGE>,
        index: u64,
    ) -> Result<Option<(u64, &'w [u8])>, Error> {
        let _one = self.tiers.enter()?;
        self.begin(index)?;
        let state = self.slots.state(index)?;
        let (unit, _) = self.layout.unit_of(index);
        let (key, info_key) = match Seen::of(state).form {
            Form::Own(_) => (index, None),
            Form::Member => match self.layout.cluster_data(unit) {
                Some(key) => (key, self.layout.cluster_info(unit)),
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        // Held until its data is, so that they belong together.
        let info = match info_key {
            Some(info_key) => self.slots.get(info_key)?,
            None => None,
        };
        let members = match &info {
            Some(info) => ClusterInfo::of(info.state()).map(|info| info.members),
            None if info_key.is_some() => return Ok(None),
            None => None,
        };
        let Some(mut slot) = self.slots.get(key)? else {
            return Ok(None);
        };
        drop(info);
        let SlotState::Object { size, tag } = slot.state() else {
            return Ok(None);
        };
        if !matches!(Stored::from_tag(tag), Some(Stored::Page { .. })) {
            return Ok(None);
        }
        let head_len = head_len(members);
        let Some(room) = worker.stream.get_mut(..head_len + size) else {
            return Ok(None);
        };
        let life = Life::of_tag(tag);
        let (head, bytes) = room.split_at_mut(head_len);
        let (head, rest) = head.split_at_mut(TAG_LEN);
        head.copy_from_slice(&Life::NEW.on(tag).to_le_bytes());
        if let Some(members) = members {
            rest.copy_from_slice(&members.to_le_bytes());
        }
        slot.copy_to(0, bytes);
        set_life(&mut slot, life.with_mark(true));
        Ok(Some((key, room)))
    }

    /// The `record` that was taken for `key` is stored under `token`: its memory is given back, unless it
    /// was changed meanwhile; then, or if there is no memory to note it, or no room in the tables for
    /// the token's segment, false, and the token means nothing.
    ///
    /// What the slot holds is compared with the record, so it does not matter what else was done between
    /// taking and this.
    pub fn commit_record(&self, key: u64, token: u64, record: &[u8]) -> Result<bool, Error> {
        let _one = self.tiers.enter()?;
        if !self.layout.has_records(key) {
            return Ok(false);
        }
        // Nobody but the worker changes whose pages are in a cluster.
        let members = match key < self.pages() {
            true => None,
            false => ClusterInfo::of(self.slots.state(key + 1)?).map(|info| info.members),
        };
        let Some((mut slot, seen)) = self.marked(key)? else {
            return Ok(false);
        };
        let Form::Own(_) = seen.form else {
            return Ok(false);
        };
        // The mark may be that of somebody who has read it since.
        if !is_record_of(&slot, record, members) || !self.claim_token(token) {
            set_life(&mut slot, seen.life.with_mark(false));
            return Ok(false);
        }
        let old = slot.state();
        slot.set_value(Link::Backed(token, false).value())?;
        if key < self.pages() {
            let counters = self.begin(key)?;
            self.forget(key, counters, old);
            add(&self.tiers.backed_pages, 1);
        } else {
            sub(&self.tiers.clusters, 1);
            add(&self.tiers.backed_clusters, 1);
        }
        add(&self.tiers.written_back, 1);
        Ok(true)
    }

    /// The record of `key` could not be stored: it stays where it is.
    pub fn abandon_record(&self, key: u64) {
        if self.layout.has_records(key) {
            self.note(key, |life| life);
        }
    }

    /// Whether the record of a token is still wanted under its key.
    pub fn wants_record(&self, key: u64, token: u64) -> bool {
        if !self.layout.has_records(key) {
            return false;
        }
        match self.slots.state(key) {
            Ok(SlotState::Value(value)) => {
                matches!(Link::of(value), Some(Link::Backed(found, _)) if found == token)
            }
            _ => false,
        }
    }

    /// The record of `old` was stored again under `new`. False if it is not wanted any more, or there is no
    /// memory to note it; then `new` means nothing.
    pub fn move_record(&self, key: u64, old: u64, new: u64) -> Result<bool, Error> {
        let _one = self.tiers.enter()?;
        if !self.layout.has_records(key) {
            return Ok(false);
        }
        let Some(mut slot) = self.slots.get(key)? else {
            return Ok(false);
        };
        match slot.state() {
            SlotState::Value(value) if matches!(Link::of(value), Some(Link::Backed(found, _)) if found == old) =>
                {}
            _ => return Ok(false),
        }
        if !self.claim_token(new) {
            return Ok(false);
        }
        slot.set_value(Link::Backed(new, false).value())?;
        self.release_token(old);
        Ok(true)
    }

    /// Reads a page that [`get`](Self::get) found [written back](Error::WrittenBack), out of the record
    /// that the store gave for it.
    pub fn get_record(
        &self,
        workspace: &mut Workspace<C, PAGE>,
        index: u64,
        at: WrittenBack,
        record: &[u8],
        page: &mut [u8; PAGE],
    ) -> Result<(), Error> {
        let corrupt = Error::Corrupt { index };
        let result = self.decode_record(workspace, index, at, record, page);
        add(&self.tiers.backed_reads, 1);
        result.ok_or_else(|| {
            if let Ok(counters) = self.begin(index) {
                counters.failed_read(corrupt);
            }
            page.fill(0);
            corrupt
        })
    }

    /// [`get_record`](Self::get_record) with a workspace of the cache's.
    pub fn get_written_back(
        &self,
        index: u64,
        at: WrittenBack,
        record: &[u8],
        page: &mut [u8; PAGE],
    ) -> Result<(), Error> {
        self.get_record(&mut borrow(self.bank()), index, at, record, page)
    }

    fn decode_record(
        &self,
        workspace: &mut Workspace<C, PAGE>,
        index: u64,
        at: WrittenBack,
        record: &[u8],
        page: &mut [u8; PAGE],
    ) -> Option<()> {
        let (tag, bytes) = record.split_first_chunk::<TAG_LEN>()?;
        let tag = u16::from_le_bytes(*tag);
        if at.key != index {
            // A store that gives a place to another record of the same cluster must not be believed.
            let (members, bytes) = bytes.split_first_chunk::<MEMBERS_LEN>()?;
            if u16::from_le_bytes(*members) != at.members {
                return None;
            }
            let codec = &mut workspace.codec;
            let unit = (at.key, at.members, tag);
            let (_, place) = self.layout.unit_of(index);
            let mut copied = None;
            self.decode_unit(codec, unit, &[bytes], &mut |pages| {
                copied = copy_member(pages, at.members, place, page);
            })?;
            return copied;
        }
        let Some(Stored::Page { codec: id, checked }) = Stored::from_tag(tag) else {
            return None;
        };
        let bytes = verify(index, bytes, checked)?;
        self.decode_stream(&mut workspace.codec, id, bytes, page)
    }

    /// Brings a page back into memory that was read out of a record, by the first codec. False if it is not
    /// there any more.
    ///
    /// The caller makes sure that no record was written under the same token between reading the slot and
    /// this.
    pub fn restore(
        &self,
        workspace: &mut Workspace<C, PAGE>,
        index: u64,
        at: WrittenBack,
        page: &[u8; PAGE],
    ) -> Result<bool, Error> {
        let counters = self.begin(index)?;
        let Some(mut slot) = self.slots.get(index)? else {
            return Ok(false);
        };
        if !self.is_at(index, &slot, at)? {
            return Ok(false);
        }
        self.promote(&mut slot, workspace, index, page, counters)?;
        Ok(true)
    }

    /// Whether a page, whose slot is held, is where it was found before.
    fn is_at(
        &self,
        index: u64,
        slot: &Slot<'_, S, L, ARENAS>,
        at: WrittenBack,
    ) -> Result<bool, Error> {
        let SlotState::Value(value) = slot.state() else {
            return Ok(false);
        };
        match Link::of(value) {
            Some(Link::Backed(token, _)) => Ok(at.key == index && token == at.token),
            Some(Link::Cluster(..)) => {
                let (unit, _) = self.layout.unit_of(index);
                let Some(info_key) = self.layout.cluster_info(unit) else {
                    return Ok(false);
                };
                let info = ClusterInfo::of(self.slots.state(info_key)?);
                let same = info.is_some_and(|info| info.members == at.members);
                Ok(same
                    && self.layout.cluster_data(unit) == Some(at.key)
                    && self.wants_record(at.key, at.token))
            }
            _ => Ok(false),
        }
    }

    /// Marks pages as idle: all that are stored, or those not used for `age` turns of the clock.
    /// Reading or writing a page takes the mark off.
    pub fn mark_idle(&self, age: Option<u8>) -> Result<(), Error> {
        let least = age.unwrap_or(0);
        let mut at = Some(0);
        while let Some(key) = at {
            let next = self
                .slots
                .visit_leaf(key, self.region_end(key), |_, state| {
                    let life = Seen::of(state).life;
                    match life.age() >= least {
                        true => super::worker::with_life(state, life.with_age(Life::AGE_MAX)),
                        false => alloc_xv::Touch::Keep,
                    }
                })?;
            at = self.following(next.max(key + 1));
        }
        Ok(())
    }

    /// Pages that are marked as idle: not used since [`mark_idle`](Self::mark_idle), or for three turns of
    /// the clock. Same-filled pages have no mark. Looks through all slots.
    pub fn idle_pages(&self) -> u64 {
        let (mut key, mut idle) = (0, 0);
        while key < self.pages() {
            let next = self.slots.visit_leaf(key, self.pages(), |_, state| {
                let seen = Seen::of(state);
                let has_age = !matches!(seen.form, Form::None);
                idle += u64::from(has_age && seen.life.age() == Life::AGE_MAX);
                alloc_xv::Touch::Keep
            });
            match next {
                Ok(next) if next > key => key = next,
                _ => break,
            }
        }
        idle
    }

    /// The next page from `from` on that can be written back and that `wants` takes, within one leaf of
    /// slots; and where to go on. `wants` must be quick and not touch the cache.
    pub fn next_to_write(
        &self,
        from: u64,
        mut wants: impl FnMut(Stand) -> bool,
    ) -> Result<(Option<u64>, u64), Error> {
        if from >= self.pages() {
            return Ok((None, from));
        }
        let mut found = None;
        let next = self.slots.visit_leaf(from, self.pages(), |index, state| {
            let seen = Seen::of(state);
            let stand = Stand {
                age: seen.life.age(),
                huge: seen.form == Form::Own(CodecId::Raw),
                refault: seen.life.is_refault(),
                member: seen.form == Form::Member,
                tried: usize::from(seen.life.rung()) >= self.codec().rungs().max(1),
            };
            let here = matches!(seen.form, Form::Own(_) | Form::Member);
            if here && wants(stand) {
                found = Some(index);
                return alloc_xv::Touch::Stop;
            }
            alloc_xv::Touch::Keep
        })?;
        Ok((found, next))
    }

    /// Segments of a backing store whose live units can be counted.
    pub fn segments_max(&self) -> u32 {
        u32::try_from(self.layout.segments_len()).unwrap_or(u32::MAX)
    }

    /// Makes sure that the live units of the segments up to this number can be counted without asking for
    /// memory: when records are written, it is short.
    pub fn reserve_segments(&self, segments: u32) -> Result<(), Error> {
        let mut number = 0;
        while number < u64::from(segments) {
            let Some(key) = self.layout.segment(number) else {
                break;
            };
            let used = |state| state != SlotState::Empty;
            self.slots.set_value_unless(key, 0, used)?;
            number += SEGMENTS_RESERVED;
        }
        Ok(())
    }
}

/// Bytes of a record before those of the object.
const fn head_len(members: Option<u16>) -> usize {
    match members {
        Some(_) => TAG_LEN + MEMBERS_LEN,
        None => TAG_LEN,
    }
}

/// Whether a record is that of a slot's object.
fn is_record_of<S: PageSource, L: RawMutex, const ARENAS: usize>(
    slot: &Slot<'_, S, L, ARENAS>,
    record: &[u8],
    members: Option<u16>,
) -> bool {
    let SlotState::Object { tag, .. } = slot.state() else {
        return false;
    };
    let Some((head, mut bytes)) = record.split_at_checked(head_len(members)) else {
        return false;
    };
    let (tag_bytes, rest) = head.split_at(TAG_LEN);
    let same_head = tag_bytes == Life::NEW.on(tag).to_le_bytes()
        && members.is_none_or(|members| rest == members.to_le_bytes());
    let same = slot.fragments().iter().all(|fragment| {
        let (start, rest) = bytes.split_at(fragment.len().min(bytes.len()));
        bytes = rest;
        start == *fragment
    });
    same_head && same && bytes.is_empty()
}

/// What is known of a page that may be written back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stand {
    /// Turns of the clock since it was used: 0 to 3.
    pub age: u8,
    /// No codec made it smaller.
    pub huge: bool,
    /// It was in a denser form, and came back.
    pub refault: bool,
    /// It is in a cluster, which goes as a whole.
    pub member: bool,
    /// All denser codecs were tried on it.
    pub tried: bool,
}
