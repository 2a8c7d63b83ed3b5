//! What reading a page does to it: it is young again, or leaves the denser form it is in.

use super::counters::{add, sub};
use super::links::references;
use super::worker::{Form, Seen};
use crate::cache::{Cache, checksum_if, remember};
use crate::content::{Life, Link};
use crate::counters::Counters;
use crate::error::Error;
use crate::workspace::{Shared, Workspace};
use alloc_xv::{PageSource, Slot, SlotState};
use compress::Codec;
use core::ops::Deref;
use lock_api::RawMutex;

impl<S, C, W, L, const PAGE: usize, const ARENAS: usize> Cache<S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
    L: RawMutex,
{
    /// A page was read whose age is not zero, or that is not as the first codec makes it.
    #[cold]
    #[inline(never)]
    pub(crate) fn touch(
        &self,
        slot: &mut Slot<'_, S, L, ARENAS>,
        workspace: &mut Workspace<C, PAGE>,
        index: u64,
        page: &[u8; PAGE],
        counters: &Counters,
    ) {
        let link = match slot.state() {
            SlotState::Value(value) => Link::of(value),
            SlotState::Object { tag, .. } => {
                if Life::of_tag(tag).age() == 0 {
                    // By a denser codec, and read twice as below.
                    let _ = self.promote(slot, workspace, index, page, counters);
                } else {
                    self.touch_age(slot);
                }
                return;
            }
            SlotState::Empty => return,
        };
        match link {
            // Read twice since the clock went round: it is not cold. If there is no memory for it, it stays
            // where it is.
            Some(Link::Cluster(life, _)) if life.age() == 0 => {
                let _ = self.promote(slot, workspace, index, page, counters);
            }
            Some(Link::Shared(number, _)) => {
                self.touch_age(slot);
                if self.touch_shared(number) {
                    let _ = self.promote_shared(workspace, number, page);
                }
            }
            _ => self.touch_age(slot),
        }
    }

    /// A shared page was read by a link, which is held. True if it is in a cluster and was read since the
    /// clock went round.
    #[inline(never)]
    fn touch_shared(&self, number: u32) -> bool {
        let Some((_, mut slot)) = self.hold_shared(number) else {
            return false;
        };
        let seen = Seen::of(slot.state());
        if seen.life.age() == 0 {
            return seen.form == Form::Member;
        }
        self.touch_age(&mut slot);
        false
    }

    /// Stores a shared page by the first codec, out of its cluster. One of its links is held.
    #[inline(never)]
    fn promote_shared(
        &self,
        workspace: &mut Workspace<C, PAGE>,
        number: u32,
        page: &[u8; PAGE],
    ) -> Result<(), Error> {
        let (tag, stored) = self.encode(&mut workspace.codec, &mut workspace.stream, page)?;
        let Some((key, mut slot)) = self.hold_shared(number) else {
            return Ok(());
        };
        let (Form::Member, Some(count)) = (Seen::of(slot.state()).form, references(&slot)) else {
            return Ok(());
        };
        let sum = checksum_if(self.keeps_checksums(), key, stored);
        let tag = Life::default().with_refault().on(tag);
        let head = count.to_le_bytes();
        slot.store_only(
            tag,
            &[&head[..], stored, sum.as_ref().map_or(&[], |sum| sum)],
        )?;
        sub(&self.tiers.shared_members, 1);
        // Its cluster is never written back: there is no token.
        let _ = self.release_member(key);
        add(&self.tiers.promoted, 1);
        Ok(())
    }

    /// Makes a page young: all that reading a part of it does.
    #[inline]
    pub(crate) fn touch_age(&self, slot: &mut Slot<'_, S, L, ARENAS>) {
        match slot.state() {
            SlotState::Object { tag, .. } if Life::of_tag(tag).age() != 0 => {
                let young = Life::of_tag(tag).with_age(0).on(tag);
                // Cannot fail: it is an object's tag.
                let _ = slot.set_tag(young);
            }
            SlotState::Value(value) => {
                if let Some(link @ (Link::Cluster(life, _) | Link::Shared(_, life))) =
                    Link::of(value)
                    && life.age() != 0
                {
                    // Cannot fail: it is a value, and a value.
                    let _ = slot.set_value(link.with_life(life.with_age(0)).value());
                }
            }
            _ => {}
        }
    }

    /// Stores a page by the first codec in the slot that links to it, which is held.
    #[inline(never)]
    pub(crate) fn promote(
        &self,
        slot: &mut Slot<'_, S, L, ARENAS>,
        workspace: &mut Workspace<C, PAGE>,
        index: u64,
        page: &[u8; PAGE],
        counters: &Counters,
    ) -> Result<(), Error> {
        let old = slot.state();
        let (tag, stored) = self.encode(&mut workspace.codec, &mut workspace.stream, page)?;
        let sum = checksum_if(self.keeps_checksums(), index, stored);
        let tag = Life::default().with_refault().on(tag);
        slot.store_only(tag, &[stored, sum.as_ref().map_or(&[], |sum| sum)])?;
        remember::<PAGE>(counters, tag, stored.len());
        self.forget(index, counters, old);
        add(&self.tiers.promoted, 1);
        Ok(())
    }
}
