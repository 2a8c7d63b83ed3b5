use super::*;
use crate::seal::sealed_units;
use proptest::prelude::*;

fn entries(lens: &[usize]) -> Vec<Entry> {
    let mut first = 0;
    lens.iter()
        .map(|&len| {
            let entry = Entry { key: 0, first, len };
            first = entry.end();
            entry
        })
        .collect()
}

fn question<'a>(entries: &'a [Entry], live: &'a [bool]) -> Question<'a> {
    Question {
        blocks: entries.last().map_or(0, |last| touched(0, last.end())),
        table: 0,
        grain: 1,
        entries,
        live,
        yield_min: 20,
        whole: false,
        budget_units: u32::MAX,
    }
}

#[test]
fn masks() {
    assert_eq!(touched(0, 1), 1);
    assert_eq!(touched(255, 2), 3);
    assert_eq!(touched(0, SEGMENT_UNITS), u64::MAX);
    assert_eq!(inside(0, 256), 1);
    assert_eq!(inside(1, 511), 2);
    assert_eq!(inside(1, 256), 0);
    assert_eq!(inside(0, SEGMENT_UNITS), u64::MAX);
    assert_eq!(runs(0b1_0111_0000).collect::<Vec<_>>(), [(4, 3), (8, 1)]);
    assert_eq!(runs(u64::MAX).collect::<Vec<_>>(), [(0, 64)]);
    assert_eq!(runs(0).next(), None);
}

#[test]
fn blocks_without_anything_live_cost_nothing() {
    // Five records of exactly one block, the second dead.
    let entries = entries(&[4096 - 17; 5]);
    let live = [true, false, true, true, true];
    let plan = question(&entries, &live).plan();
    assert_eq!((plan.blocks, plan.moved_units), (0b10, 0));
    assert!(plan.moves.is_empty() && !plan.whole);
}

#[test]
fn the_neighbour_of_half_a_dead_block_is_moved() {
    // Two records a block; one of them is dead.
    let entries = entries(&[2048 - 17; 8]);
    let mut live = [true; 8];
    live[3] = false;
    let plan = question(&entries, &live).plan();
    assert_eq!((plan.blocks, plan.moves.as_slice()), (0b10, &[2usize][..]));
    assert_eq!(plan.moved_units, 128);
}

#[test]
fn the_tables_block_goes_with_the_whole_segment_only() {
    let entries = entries(&[2048 - 17; 8]);
    let mut live = [false; 8];
    live[0] = true;
    let mut it = question(&entries, &live);
    it.table = 0b1000;
    it.yield_min = 10_000;
    let plan = it.plan();
    assert_eq!((plan.blocks, plan.whole), (0b110, false));
    it.yield_min = 500;
    let plan = it.plan();
    assert_eq!((plan.blocks, plan.whole), (0b1111, true));
    assert_eq!(plan.moves, [0]);
}

proptest! {
    /// Whatever is planned: live records in the blocks are moved, more is won than moved, and
    /// the table stays unless everything goes.
    #[test]
    fn plans_lose_nothing_and_win_something(
        records in prop::collection::vec((1usize..4100, any::<bool>()), 1..100),
        holes in any::<u64>(), table in 0u32..64, grain in 0u32..4, yield_min in 0u32..2000,
        whole in any::<bool>(), budget_units in 0u32..20_000,
    ) {
        let mut lens = Vec::new();
        let mut live = Vec::new();
        let mut units = 0;
        for (len, alive) in records {
            units += sealed_units(len);
            if units > SEGMENT_UNITS - 300 {
                break;
            }
            lens.push(len);
            live.push(alive);
        }
        let entries = entries(&lens);
        // Blocks that were given back before hold nothing live.
        let needed = entries.iter().zip(&live).filter(|(_, live)| **live)
            .fold(0, |blocks, (entry, _)| blocks | touched(entry.first, entry.units()));
        let table = mask(table, table + 1);
        let blocks = needed | table | holes;
        let it = Question {
            blocks, table, grain: 1 << grain, entries: &entries, live: &live, yield_min, whole,
            budget_units,
        };
        let plan = it.plan();
        prop_assert_eq!(plan.blocks & !blocks, 0);
        prop_assert!(plan.whole || plan.blocks & table == 0);
        prop_assert!(!whole || plan.blocks == 0 || plan.blocks == blocks);
        let mut moved = 0;
        for (index, (entry, live)) in entries.iter().zip(&live).enumerate() {
            let hit = touched(entry.first, entry.units()) & plan.blocks != 0;
            prop_assert_eq!(*live && hit, plan.moves.contains(&index));
            if *live && hit {
                moved += entry.units();
            }
        }
        prop_assert_eq!(moved, plan.moved_units);
        if plan.blocks != 0 {
            prop_assert!(plan.blocks.count_ones() * BLOCK_UNITS > moved);
        }
    }
}
