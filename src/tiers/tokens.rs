//! Tokens of the backing store, and how much of each of its segments is wanted.

use super::counters::{add, sub};
use super::records::SEGMENTS_RESERVED;
use crate::cache::Cache;
use crate::workspace::Shared;
use alloc_xv::{PageSource, SlotState};
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
    /// Raises or lowers the live units of a token's segment. False if the segment has no slot and none
    /// can be had.
    pub(crate) fn claim_token(&self, token: u64) -> bool {
        if token > TOKEN_MAX {
            return false;
        }
        let Some(key) = self.layout.segment(token_segment(token)) else {
            return false;
        };
        let Ok(mut slot) = self.slots.lock(key) else {
            return false;
        };
        let live = match slot.state() {
            SlotState::Value(live) => live,
            _ => 0,
        };
        if slot
            .set_value(live.saturating_add(token_units(token)))
            .is_err()
        {
            return false;
        }
        add(&self.tiers.backed_units, token_units(token));
        true
    }

    /// The record of a token is not wanted any more.
    #[inline(never)]
    pub(crate) fn release_token(&self, token: u64) {
        let Some(key) = self.layout.segment(token_segment(token)) else {
            return;
        };
        let Some(mut slot) = self.hold(key) else {
            return;
        };
        let SlotState::Value(live) = slot.state() else {
            return;
        };
        sub(&self.tiers.backed_units, token_units(token));
        match live.saturating_sub(token_units(token)) {
            0 if !token_segment(token).is_multiple_of(SEGMENTS_RESERVED) => slot.clear_only(),
            // Cannot fail: the slot holds a value already.
            live => {
                let _ = slot.set_value(live);
            }
        }
    }

    /// Live units of 16 bytes in a segment of the backing store.
    pub fn segment_live(&self, segment: u32) -> u64 {
        let key = self.layout.segment(u64::from(segment));
        match key.map(|key| self.slots.state(key)) {
            Some(Ok(SlotState::Value(live))) => live,
            _ => 0,
        }
    }
}

/// The largest token: 56 bits.
const TOKEN_MAX: u64 = (1 << 56) - 1;

/// The segment of a token: its upper 28 of 56 bits.
pub(crate) const fn token_segment(token: u64) -> u64 {
    token >> 28 & 0x0fff_ffff
}

/// The units of a token's record: its lower 14 bits, less one.
pub(crate) const fn token_units(token: u64) -> u64 {
    (token & 0x3fff) + 1
}
