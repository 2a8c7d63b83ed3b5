//! Reading through links, and letting go of what they stand for.

use super::counters::{PATCH_HEAD, SHARED_HEAD, sub};
use super::worker::ClusterInfo;
use crate::cache::{Cache, verify, whole};
use crate::content::{Link, Stored};
use crate::error::{Error, WrittenBack};
use crate::workspace::Shared;
use alloc_xv::{PageSource, Slot, SlotState};
use compress::Codec;
use core::ops::Deref;
use lock_api::RawMutex;

/// Shared objects between a page and its bytes: a patch and its base.
const CHAIN_MAX: usize = 2;

impl<S, C, W, L, const PAGE: usize, const ARENAS: usize> Cache<S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
    L: RawMutex,
{
    /// Holds a slot that is not empty. Not in its callers' frames, which lie above each other.
    #[inline(never)]
    pub(crate) fn hold(&self, key: u64) -> Option<Slot<'_, S, L, ARENAS>> {
        self.slots.get(key).ok()?
    }

    /// The same for a shared object, and its key.
    pub(crate) fn hold_shared(&self, number: u32) -> Option<(u64, Slot<'_, S, L, ARENAS>)> {
        let key = self.layout.shared(number)?;
        Some((key, self.hold(key)?))
    }

    /// The page that a link stands for. The page's slot is held.
    #[cold]
    #[inline(never)]
    pub(crate) fn decode_link(
        &self,
        codec: &mut C::Workspace,
        stream: &mut [[u8; PAGE]; 2],
        index: u64,
        link: Link,
        page: &mut [u8; PAGE],
    ) -> Result<(), Error> {
        match link {
            Link::Cluster(..) => self.decode_member(codec, index, index, page),
            Link::Shared(number, _) => match self.base_of_shared(number) {
                None => self.decode_shared(codec, stream, index, number, page),
                // One after the other, not one in the other: the page's link keeps both.
                Some(base) => {
                    self.decode_shared(codec, stream, index, base, page)?;
                    self.decode_patch(codec, stream, (index, number, base), page)
                }
            },
            Link::Backed(token, _) => Err(Error::WrittenBack(WrittenBack {
                key: index,
                token,
                members: 0,
            })),
        }
    }

    /// A page of the cluster around `key`, for page `index`.
    #[inline(never)]
    fn decode_member(
        &self,
        codec: &mut C::Workspace,
        index: u64,
        key: u64,
        page: &mut [u8; PAGE],
    ) -> Result<(), Error> {
        let corrupt = Error::Corrupt { index };
        let (unit, place) = self.layout.unit_of(key);
        let keys = self
            .layout
            .cluster_info(unit)
            .zip(self.layout.cluster_data(unit));
        let (info_key, data_key) = keys.ok_or(corrupt)?;
        let info = self.hold(info_key).ok_or(corrupt)?;
        let members = ClusterInfo::of(info.state()).ok_or(corrupt)?.members;
        // The data cannot change before it is let go; others may read it then.
        let data = self.hold(data_key).ok_or(corrupt)?;
        drop(info);
        match data.state() {
            SlotState::Object { tag, .. } => {
                let done = data.with_fragments(|fragments| {
                    let unit = (data_key, members, tag);
                    let mut copied = None;
                    self.decode_unit(codec, unit, fragments, &mut |pages| {
                        copied = copy_member(pages, members, place, page);
                    })?;
                    copied
                });
                done.ok_or(corrupt)
            }
            SlotState::Value(value) => match Link::of(value) {
                Some(Link::Backed(token, _)) => Err(Error::WrittenBack(WrittenBack {
                    key: data_key,
                    token,
                    members,
                })),
                _ => Err(corrupt),
            },
            SlotState::Empty => Err(corrupt),
        }
    }

    /// Gives all pages of a cluster, in the codec's buffer, to `done`.
    #[inline(never)]
    pub(crate) fn decode_unit(
        &self,
        codec: &mut C::Workspace,
        (key, members, tag): (u64, u16, u16),
        fragments: &[&[u8]],
        done: &mut dyn FnMut(&[u8]),
    ) -> Option<()> {
        let Some(Stored::Page { codec: id, checked }) = Stored::from_tag(tag) else {
            return None;
        };
        let len = members.count_ones() as usize * PAGE;
        let bound = bind_members(key, members);
        let mut check = |bytes: &[u8]| Some(0..verify(bound, bytes, checked)?.len());
        self.codec
            .decompress_unit(id, codec, fragments, len, &mut check, done)
            .ok()
    }

    /// The base of a shared object, if it is a patch.
    #[inline(never)]
    pub(crate) fn base_of_shared(&self, number: u32) -> Option<u32> {
        let (_, slot) = self.hold_shared(number)?;
        match slot.state() {
            SlotState::Object { tag, .. }
                if matches!(Stored::from_tag(tag), Some(Stored::Patch { .. })) =>
            {
                base_of(&slot)
            }
            _ => None,
        }
    }

    /// The page of a shared object that is no patch.
    #[inline(never)]
    pub(crate) fn decode_shared(
        &self,
        codec: &mut C::Workspace,
        stream: &mut [[u8; PAGE]; 2],
        index: u64,
        number: u32,
        page: &mut [u8; PAGE],
    ) -> Result<(), Error> {
        let corrupt = Error::Corrupt { index };
        let (key, slot) = self.hold_shared(number).ok_or(corrupt)?;
        self.decode_at_shared(codec, stream, (index, key), &slot, page)
    }

    /// The same, whose slot is held.
    #[inline]
    pub(crate) fn decode_at_shared(
        &self,
        codec: &mut C::Workspace,
        stream: &mut [[u8; PAGE]; 2],
        (index, key): (u64, u64),
        slot: &Slot<'_, S, L, ARENAS>,
        page: &mut [u8; PAGE],
    ) -> Result<(), Error> {
        match slot.state() {
            SlotState::Object { tag, .. } => {
                self.decode_shared_object(codec, stream, (index, key, tag), slot, page)
            }
            SlotState::Value(value) if matches!(Link::of(value), Some(Link::Cluster(..))) => {
                self.decode_member(codec, index, key, page)
            }
            _ => Err(Error::Corrupt { index }),
        }
    }

    #[inline(never)]
    fn decode_shared_object(
        &self,
        codec: &mut C::Workspace,
        stream: &mut [[u8; PAGE]; 2],
        (index, key, tag): (u64, u64, u16),
        slot: &Slot<'_, S, L, ARENAS>,
        page: &mut [u8; PAGE],
    ) -> Result<(), Error> {
        let corrupt = Error::Corrupt { index };
        let Some(Stored::Page { codec: id, checked }) = Stored::from_tag(tag) else {
            return Err(corrupt);
        };
        let bytes = whole(slot, stream.as_flattened_mut()).ok_or(corrupt)?;
        let bytes = stream_of(key, bytes, SHARED_HEAD, checked).ok_or(corrupt)?;
        self.decode_stream(codec, id, bytes, page).ok_or(corrupt)
    }

    /// The page of a patch whose base is in `page`.
    #[inline(never)]
    fn decode_patch(
        &self,
        codec: &mut C::Workspace,
        stream: &mut [[u8; PAGE]; 2],
        (index, number, base): (u64, u32, u32),
        page: &mut [u8; PAGE],
    ) -> Result<(), Error> {
        let corrupt = Error::Corrupt { index };
        let (key, slot) = self.hold_shared(number).ok_or(corrupt)?;
        let SlotState::Object { tag, .. } = slot.state() else {
            return Err(corrupt);
        };
        let Some(Stored::Patch { checked }) = Stored::from_tag(tag) else {
            return Err(corrupt);
        };
        let [reference, stream] = stream;
        reference.copy_from_slice(page);
        let bytes = whole(&slot, stream).ok_or(corrupt)?;
        let bound = bind_base(key, base);
        let bytes = stream_of(bound, bytes, PATCH_HEAD, checked).ok_or(corrupt)?;
        self.codec
            .decompress_patch(codec, reference, bytes, page)
            .map_err(|_| corrupt)
    }

    /// Lets go of what a link of page `index` stands for. The page's slot is held.
    #[cold]
    #[inline(never)]
    pub(crate) fn release(&self, index: u64, link: Link) {
        match link {
            Link::Cluster(..) => {
                sub(&self.tiers.cluster_pages, 1);
                if let Some(token) = self.release_member(index) {
                    self.release_token(token);
                }
            }
            Link::Shared(number, _) => {
                sub(&self.tiers.shared_pages, 1);
                self.release_shared(number);
            }
            Link::Backed(token, _) => {
                sub(&self.tiers.backed_pages, 1);
                self.release_token(token);
            }
        }
    }

    #[inline(never)]
    pub(crate) fn release_member(&self, key: u64) -> Option<u64> {
        let (unit, place) = self.layout.unit_of(key);
        let info_key = self.layout.cluster_info(unit)?;
        let data_key = self.layout.cluster_data(unit)?;
        let mut slot = self.hold(info_key)?;
        let mut info = ClusterInfo::of(slot.state())?;
        info.alive &= !(1 << place);
        if info.alive != 0 {
            // Cannot fail: the slot holds a value already.
            let _ = slot.set_value(info.value());
            return None;
        }
        let token = self.clear_cluster(data_key);
        slot.clear_only();
        token
    }

    /// Empties the data of a cluster whose info is held. Returns the token to release if it was written
    /// back: what follows needs less stack when this has returned.
    #[inline(never)]
    pub(crate) fn clear_cluster(&self, data_key: u64) -> Option<u64> {
        let mut data = self.hold(data_key)?;
        let token = match data.state() {
            SlotState::Object { .. } => {
                sub(&self.tiers.clusters, 1);
                None
            }
            SlotState::Value(value) => match Link::of(value) {
                Some(Link::Backed(token, _)) => {
                    sub(&self.tiers.backed_clusters, 1);
                    Some(token)
                }
                _ => None,
            },
            SlotState::Empty => None,
        };
        data.clear_only();
        token
    }

    /// One reference less to a shared object; the last one empties it.
    #[inline(never)]
    pub(crate) fn release_shared(&self, number: u32) {
        let mut next = Some(number);
        for _ in 0..CHAIN_MAX {
            let Some((key, mut slot)) = next.take().and_then(|number| self.hold_shared(number))
            else {
                return;
            };
            let Some(references) = references(&slot) else {
                return;
            };
            if references > 1 {
                set_references(&mut slot, references - 1);
                return;
            }
            if let SlotState::Object { tag, .. } = slot.state()
                && matches!(Stored::from_tag(tag), Some(Stored::Patch { .. }))
            {
                next = base_of(&slot);
                sub(&self.tiers.patches, 1);
            }
            if matches!(slot.state(), SlotState::Value(_)) {
                sub(&self.tiers.shared_members, 1);
                // Its cluster is never written back: there is no token.
                let _ = self.release_member(key);
            }
            sub(&self.tiers.shared, 1);
            slot.clear_only();
        }
    }

    /// One reference more to a shared object that the caller knows to be there; false if it is not, or
    /// has as many as there can be.
    pub(crate) fn refer(&self, number: u32) -> bool {
        let Some((_, mut slot)) = self.hold_shared(number) else {
            return false;
        };
        match references(&slot).and_then(|count| count.checked_add(1)) {
            Some(count) => {
                set_references(&mut slot, count);
                true
            }
            None => false,
        }
    }
}

/// What a cluster's checksum is bound to.
pub(crate) const fn bind_members(key: u64, members: u16) -> u64 {
    key ^ (members as u64) << 40
}

/// A page out of a unit that holds the members' pages.
pub(crate) fn copy_member<const PAGE: usize>(
    unit: &[u8],
    members: u16,
    place: u32,
    page: &mut [u8; PAGE],
) -> Option<()> {
    let bit = 1u16.checked_shl(place)?;
    if members & bit == 0 {
        return None;
    }
    let before = (members & (bit - 1)).count_ones() as usize;
    page.copy_from_slice(unit.get(before * PAGE..(before + 1) * PAGE)?);
    Some(())
}

/// What a patch's checksum is bound to.
pub(crate) const fn bind_base(key: u64, base: u32) -> u64 {
    key ^ (base as u64) << 32
}

/// The stream of a shared object: behind its head, which changes and is in no checksum.
fn stream_of(key: u64, bytes: &[u8], head: usize, checked: bool) -> Option<&[u8]> {
    verify(key, bytes.get(head..)?, checked)
}

/// References to a shared object.
pub(crate) fn references<S: PageSource, L: RawMutex, const ARENAS: usize>(
    slot: &Slot<'_, S, L, ARENAS>,
) -> Option<u32> {
    match slot.state() {
        SlotState::Object { .. } => word_at(slot, 0),
        SlotState::Value(value) => match Link::of(value) {
            Some(Link::Cluster(_, count)) => Some(count),
            _ => None,
        },
        SlotState::Empty => None,
    }
}

/// Changes them. Neither can fail: the bytes are there, or the slot holds a value already.
fn set_references<S: PageSource, L: RawMutex, const ARENAS: usize>(
    slot: &mut Slot<'_, S, L, ARENAS>,
    count: u32,
) {
    match slot.state() {
        SlotState::Value(value) => {
            if let Some(Link::Cluster(life, _)) = Link::of(value) {
                let _ = slot.set_value(Link::Cluster(life, count).value());
            }
        }
        _ => {
            let _ = slot.write(0, &count.to_le_bytes());
        }
    }
}

/// The base of a patch.
pub(crate) fn base_of<S: PageSource, L: RawMutex, const ARENAS: usize>(
    slot: &Slot<'_, S, L, ARENAS>,
) -> Option<u32> {
    word_at(slot, SHARED_HEAD)
}

fn word_at<S: PageSource, L: RawMutex, const ARENAS: usize>(
    slot: &Slot<'_, S, L, ARENAS>,
    offset: usize,
) -> Option<u32> {
    let mut bytes = [0; 4];
    let copied = slot.copy_to(offset, &mut bytes);
    (copied == bytes.len()).then(|| u32::from_le_bytes(bytes))
}
