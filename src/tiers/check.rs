//! Do links and what they stand for agree? For tests.

use super::links::{base_of, references};
use super::tokens::{token_segment, token_units};
use super::worker::{ClusterInfo, Form, Seen};
use crate::cache::Cache;
use crate::content::Stored;
use crate::workspace::Shared;
use alloc_xv::{PageSource, SlotState, Touch};
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
    /// Checks that every link has what it stands for, and that nothing stands for no link.
    pub(crate) fn check_tiers(&self) -> Result<(), &'static str> {
        let (mut members, mut shared_pages, mut backed) = (0, 0, 0);
        let mut all_fine = true;
        self.each(
            0,
            self.pages(),
            &mut |_, state| match Seen::of(state).form {
                Form::Member => members += 1,
                Form::Shared(_) => shared_pages += 1,
                Form::Backed(_) => backed += 1,
                _ => {}
            },
        );
        let stat = self.tier_stat();
        if (members, shared_pages, backed)
            != (stat.cluster_pages, stat.shared_pages, stat.backed_pages)
        {
            return Err("links are counted wrong");
        }
        let (mut in_memory, mut in_store) = (0, 0);
        for unit in 0..self.layout.units() {
            let (Some(info), Some(data)) = (
                self.layout.cluster_info(unit),
                self.layout.cluster_data(unit),
            ) else {
                return Err("a unit without slots");
            };
            let info = self.slots.state(info).map_err(|_| "a bad key")?;
            let data = self.slots.state(data).map_err(|_| "a bad key")?;
            let linked = self
                .survey(unit)
                .iter()
                .enumerate()
                .fold(0u16, |set, (place, seen)| {
                    set | u16::from(seen.form == Form::Member) << place
                });
            match ClusterInfo::of(info) {
                None if linked != 0 || data != SlotState::Empty => {
                    return Err("a cluster without info");
                }
                None => {}
                Some(info) => {
                    if info.alive != linked || info.alive == 0 || info.alive & !info.members != 0 {
                        return Err("a cluster and its pages do not agree");
                    }
                    match data {
                        SlotState::Object { .. } => in_memory += 1,
                        SlotState::Value(_) => in_store += 1,
                        SlotState::Empty => return Err("a cluster without data"),
                    }
                }
            }
        }
        if (in_memory, in_store) != (stat.clusters, stat.backed_clusters) {
            return Err("clusters are counted wrong");
        }
        let (mut shared, mut patches, mut shared_members) = (0, 0, 0);
        let shared_len = self.layout.shared_len();
        let first = self.layout.shared(0).unwrap_or(0);
        self.each(first, first + shared_len, &mut |_, state| {
            shared += 1;
            shared_members += u64::from(Seen::of(state).form == Form::Member);
            if let SlotState::Object { tag, .. } = state
                && matches!(Stored::from_tag(tag), Some(Stored::Patch { .. }))
            {
                patches += 1;
            }
        });
        if (shared, patches, shared_members) != (stat.shared, stat.patches, stat.shared_members) {
            return Err("shared objects are counted wrong");
        }
        let mut left = shared;
        for number in 0..shared_len as u32 {
            if left == 0 {
                break;
            }
            let Some(key) = self.layout.shared(number) else {
                break;
            };
            let Ok(Some(slot)) = self.slots.get(key) else {
                continue;
            };
            left -= 1;
            let counted = references(&slot);
            drop(slot);
            let mut found = 0;
            self.each(0, self.pages(), &mut |_, state| {
                found += u32::from(Seen::of(state).form == Form::Shared(number));
            });
            let mut unseen = shared;
            for other in 0..shared_len as u32 {
                if unseen == 0 {
                    break;
                }
                if let Some(key) = self.layout.shared(other)
                    && let Ok(Some(slot)) = self.slots.get(key)
                {
                    unseen -= 1;
                    let patch = matches!(slot.state(), SlotState::Object { tag, .. }
                        if matches!(Stored::from_tag(tag), Some(Stored::Patch { .. })));
                    found += u32::from(patch && base_of(&slot) == Some(number));
                }
            }
            all_fine &= counted == Some(found) && found > 0;
        }
        if !all_fine {
            return Err("references to a shared object are counted wrong");
        }
        self.check_segments()
    }

    fn check_segments(&self) -> Result<(), &'static str> {
        let mut live = 0;
        let mut segment = 0;
        while let Some(key) = self.layout.segment(segment) {
            if let Ok(SlotState::Value(counted)) = self.slots.state(key) {
                let mut found = 0;
                let mut see = |_, state| {
                    if let Form::Backed(token) = Seen::of(state).form
                        && token_segment(token) == segment
                    {
                        found += token_units(token);
                    }
                };
                self.each(0, self.pages(), &mut see);
                if let Some(first) = self.layout.cluster_data(0) {
                    let end = first + 2 * self.layout.units();
                    self.each(first, end, &mut |key, state| {
                        if (key - first).is_multiple_of(2) {
                            see(key, state);
                        }
                    });
                }
                let reserved = segment.is_multiple_of(super::records::SEGMENTS_RESERVED);
                if found != counted || found == 0 && !reserved {
                    return Err("live units of a segment are counted wrong");
                }
                live += found;
            }
            segment += 1;
        }
        match live * 16 == self.tier_stat().backed_bytes {
            true => Ok(()),
            false => Err("live units are counted wrong"),
        }
    }

    fn each(&self, from: u64, end: u64, see: &mut impl FnMut(u64, SlotState)) {
        let mut key = from;
        while key < end {
            let next = self.slots.visit_leaf(key, end, |key, state| {
                see(key, state);
                Touch::Keep
            });
            match next {
                Ok(next) if next > key => key = next,
                _ => return,
            }
        }
    }
}
