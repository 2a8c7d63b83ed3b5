//! Which blocks of a segment are worth their cleaning.
//!
//! A segment has 64 blocks of 4 KiB. A run of blocks is given back by moving every live record that
//! lies in it, also in part. What that brings is the run's bytes less those moved; what it costs
//! is the bytes moved. The cleaner takes the run with the highest *yield*, bytes won for 1,000
//! bytes moved, and then the next, down to a yield it names. Blocks that hold nothing live cost
//! nothing. Giving back the whole segment frees the table's blocks, too.
//!
//! Most blocks hold two or three records. So a dead record of half a block makes a good run next
//! to it, while the segment as a whole is 99 % live: this is why cleaning by blocks moves about as
//! much as it wins where cleaning by segments, as a log does, would move twenty times that.

use crate::table::Entry;
use crate::token::SEGMENT_UNITS;

/// Blocks of a segment, one bit each.
pub(crate) type Blocks = u64;
pub(crate) const BLOCKS: u32 = 64;
/// Units of a block.
pub(crate) const BLOCK_UNITS: u32 = SEGMENT_UNITS / BLOCKS;
/// Bytes of a block.
pub(crate) const BLOCK_LEN: u64 = 4096;
/// The yield of what costs nothing.
pub(crate) const FREE: u32 = u32::MAX;

/// The blocks that `units` units from `first` on lie in, also in part.
pub(crate) const fn touched(first: u32, units: u32) -> Blocks {
    if units == 0 {
        return 0;
    }
    mask(first / BLOCK_UNITS, (first + units).div_ceil(BLOCK_UNITS))
}

/// The blocks that lie wholly in `units` units from `first` on.
pub(crate) const fn inside(first: u32, units: u32) -> Blocks {
    let (from, to) = (first.div_ceil(BLOCK_UNITS), (first + units) / BLOCK_UNITS);
    if from < to { mask(from, to) } else { 0 }
}

const fn mask(from: u32, to: u32) -> Blocks {
    let below_to = if to >= BLOCKS {
        Blocks::MAX
    } else {
        (1 << to) - 1
    };
    below_to & !((1 << from) - 1)
}

/// Runs of set bits: first block and number.
pub(crate) fn runs(mut blocks: Blocks) -> impl Iterator<Item = (u32, u32)> {
    core::iter::from_fn(move || {
        if blocks == 0 {
            return None;
        }
        let first = blocks.trailing_zeros();
        let count = (blocks >> first).trailing_ones();
        blocks &= !mask(first, first + count);
        Some((first, count))
    })
}

/// What is to be done with a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Blocks to give back once `moves` are elsewhere.
    pub(crate) blocks: Blocks,
    /// Which entries to move, ascending.
    pub(crate) moves: Vec<usize>,
    /// Units of those.
    pub(crate) moved_units: u32,
    /// The yield of the best run that was not taken.
    pub(crate) left: u32,
    /// Nothing stays in the segment.
    pub(crate) whole: bool,
}

/// What there is to plan with.
pub(crate) struct Question<'a> {
    /// Blocks that take room.
    pub(crate) blocks: Blocks,
    /// Blocks that stay as long as any record does: the table's.
    pub(crate) table: Blocks,
    /// Blocks that are given back together: 1, or more where the file system's are larger.
    pub(crate) grain: u32,
    pub(crate) entries: &'a [Entry],
    /// Which of them are live.
    pub(crate) live: &'a [bool],
    /// The least yield.
    pub(crate) yield_min: u32,
    /// Only the whole segment is of use.
    pub(crate) whole: bool,
    /// Units that may be moved. The first run may be more.
    pub(crate) budget_units: u32,
}

/// Bytes won for 1,000 moved; none if nothing is won.
fn yield_of(gain: u32, cost: u32) -> Option<u32> {
    let net = gain.checked_sub(cost).filter(|&net| net != 0)?;
    Some(if cost == 0 {
        FREE
    } else {
        (u64::from(net) * 1000 / u64::from(cost)).min(u64::from(FREE - 1)) as u32
    })
}

struct Run {
    blocks: Blocks,
    value: u32,
    cost: u32,
    whole: bool,
}

impl Question<'_> {
    /// Chooses runs one after the other, the best first. At most 64 rounds of 64 * 65 / 2 runs.
    pub(crate) fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        let mut stays = self.live.to_vec();
        let mut blocks = self.blocks;
        while let Some(run) = self.best(blocks, &stays) {
            let over = plan.moved_units.saturating_add(run.cost) > self.budget_units;
            if run.value < self.yield_min || (over && plan.blocks != 0) {
                plan.left = run.value;
                break;
            }
            plan.blocks |= run.blocks;
            plan.moved_units += run.cost;
            plan.whole |= run.whole;
            blocks &= !run.blocks;
            for ((entry, stays), index) in self.entries.iter().zip(&mut stays).zip(0..) {
                if *stays && touched(entry.first, entry.units()) & run.blocks != 0 {
                    *stays = false;
                    plan.moves.push(index);
                }
            }
        }
        plan.moves.sort_unstable();
        plan
    }

    fn best(&self, blocks: Blocks, stays: &[bool]) -> Option<Run> {
        // Units of records that begin before a block, and that end at its start or before.
        let (mut begun, mut ended) = ([0u32; BLOCKS as usize + 1], [0u32; BLOCKS as usize + 1]);
        let mut live = 0;
        for (entry, _) in self.entries.iter().zip(stays).filter(|(_, stays)| **stays) {
            live += entry.units();
            let begins = (entry.first / BLOCK_UNITS + 1) as usize;
            let ends = entry.end().div_ceil(BLOCK_UNITS) as usize;
            begun[begins] += entry.units();
            ended[ends] += entry.units();
        }
        for at in 1..=BLOCKS as usize {
            begun[at] += begun[at - 1];
            ended[at] += ended[at - 1];
        }
        let whole = yield_of(blocks.count_ones() * BLOCK_UNITS, live).map(|value| Run {
            blocks,
            value,
            cost: live,
            whole: true,
        });
        if self.whole || live == 0 {
            return whole;
        }
        let mut best = whole;
        let grain = self.grain.max(1) as usize;
        for from in (0..BLOCKS as usize).step_by(grain) {
            for to in (from + grain..=BLOCKS as usize).step_by(grain) {
                let run = mask(from as u32, to as u32);
                if run & self.table != 0 {
                    break;
                }
                let gain = (blocks & run).count_ones() * BLOCK_UNITS;
                let cost = begun[to] - ended[from];
                let Some(value) = yield_of(gain, cost) else {
                    continue;
                };
                let better = best.as_ref().is_none_or(|best| {
                    (value, core::cmp::Reverse(cost)) > (best.value, core::cmp::Reverse(best.cost))
                });
                // Of what costs nothing: as much as there is.
                let more = best.as_ref().is_some_and(|best| {
                    value == FREE
                        && best.value == FREE
                        && gain > (best.blocks.count_ones() * BLOCK_UNITS)
                });
                if better || more {
                    best = Some(Run {
                        blocks: blocks & run,
                        value,
                        cost,
                        whole: false,
                    });
                }
            }
        }
        best
    }
}

#[cfg(test)]
mod tests;
