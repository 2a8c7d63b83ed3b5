//! [`Segments`]: what is known of each segment, in memory.

use crate::plan::{BLOCK_LEN, Blocks};
use crate::token::UNIT_LEN;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Free,
    /// Records are being added.
    Open,
    /// Nothing is added any more.
    Sealed,
}

/// 40 bytes for 256 KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    /// Blocks that take room in the store.
    pub(crate) blocks: Blocks,
    /// Bytes of the records that `units` are of.
    pub(crate) payload: u32,
    /// What the best run of the plan that was not taken yields.
    pub(crate) left: u32,
    /// Units of the records that were there when it was last looked at.
    pub(crate) units: u16,
    /// Units that the owner last said are live.
    pub(crate) live: u16,
    /// What `live` was when the table was last read; `u16::MAX` for never.
    pub(crate) planned: u16,
    /// Where the table is. No units: nowhere.
    pub(crate) table_first: u16,
    pub(crate) table_units: u16,
    /// Batches that have records here which their owner may not have noted down yet.
    pub(crate) pins: u16,
    pub(crate) state: State,
}

pub(crate) const NEVER: u16 = u16::MAX;

impl Segment {
    const FREE: Self = Self {
        blocks: 0,
        payload: 0,
        left: 0,
        units: 0,
        live: 0,
        planned: NEVER,
        table_first: 0,
        table_units: 0,
        pins: 0,
        state: State::Free,
    };

    /// Bytes of live records, as far as is known.
    pub(crate) fn payload_live(&self) -> u64 {
        match self.units {
            0 => 0,
            units => u64::from(self.payload) * u64::from(self.live.min(units)) / u64::from(units),
        }
    }

    /// Bytes that hold nothing live.
    pub(crate) fn dead_bytes(&self) -> u64 {
        let kept = (u64::from(self.live) + u64::from(self.table_units)) * UNIT_LEN as u64;
        (u64::from(self.blocks.count_ones()) * BLOCK_LEN).saturating_sub(kept)
    }

    pub(crate) fn may_be_cleaned(&self) -> bool {
        self.state == State::Sealed && self.pins == 0
    }
}

/// Sums over all segments that are kept up to date by [`Segments::change`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) blocks: u64,
    pub(crate) payload_live: u64,
    pub(crate) live_units: u64,
}

/// All segments that were ever used, and which of them are free.
pub(crate) struct Segments {
    all: Vec<Segment>,
    free: Vec<u32>,
    count_max: u32,
    pub(crate) sums: Sums,
}

impl Segments {
    pub(crate) fn new(count_max: u32) -> Self {
        Self {
            all: Vec::new(),
            free: Vec::new(),
            count_max,
            sums: Sums::default(),
        }
    }

    /// Segments that were ever used.
    pub(crate) fn count(&self) -> u32 {
        self.all.len() as u32
    }

    /// Segments that can be opened.
    pub(crate) fn free_count(&self) -> u32 {
        self.free.len() as u32 + (self.count_max - self.count())
    }

    pub(crate) fn count_max(&self) -> u32 {
        self.count_max
    }

    pub(crate) fn get(&self, segment: u32) -> Option<Segment> {
        self.all.get(segment as usize).copied()
    }

    /// Takes a free segment, an old one before a new one.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let segment = match self.free.pop() {
            Some(segment) => segment,
            None if self.count() < self.count_max => {
                self.all.push(Segment::FREE);
                self.count() - 1
            }
            None => return None,
        };
        self.change(segment, |it| {
            debug_assert_eq!(it.state, State::Free);
            *it = Segment {
                blocks: it.blocks,
                state: State::Open,
                ..Segment::FREE
            };
        });
        Some(segment)
    }

    /// The segment holds nothing any more. `blocks` of it still take room.
    pub(crate) fn release(&mut self, segment: u32, blocks: Blocks) {
        self.change(segment, |it| {
            debug_assert!(it.state != State::Free && it.pins == 0);
            *it = Segment {
                blocks,
                ..Segment::FREE
            };
        });
        self.free.push(segment);
    }

    pub(crate) fn change(&mut self, segment: u32, change: impl FnOnce(&mut Segment)) {
        let Some(it) = self.all.get_mut(segment as usize) else {
            debug_assert!(false, "segment {segment} was never used");
            return;
        };
        let before = *it;
        change(it);
        let sums = &mut self.sums;
        let moved = |sum: &mut u64, from: u64, to: u64| *sum = (*sum + to).saturating_sub(from);
        moved(
            &mut sums.blocks,
            before.blocks.count_ones().into(),
            it.blocks.count_ones().into(),
        );
        moved(
            &mut sums.payload_live,
            before.payload_live(),
            it.payload_live(),
        );
        moved(&mut sums.live_units, before.live.into(), it.live.into());
    }
}
