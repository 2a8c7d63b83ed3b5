//! A second copy of the pages, a little changed; and what looking for copies costs where there are none.

use std::collections::HashSet;
use std::time::Instant;

use super::cpu::preemptions;
use super::pattern::{OPERATIONS_PER_SECOND, Operation};
use super::replay::{Lane, Replay};
use super::result::{CopiesResult, UnrelatedResult};
use super::store::{Build, Page, Plain, StoreOptions};
use crate::rng::Rng;

/// Bytes of a block; a page has 64.
const BLOCK: usize = 64;
/// One page of so many is changed.
const CHANGED_SHARE: usize = 3;
/// Blocks changed in such a page: three, and in one page of five a fourth: 5 % of them.
const CHANGED_BLOCKS: usize = 3;
const PAGES_PER_FOURTH: u64 = 5;
/// A page is unrelated if fewer of its blocks than this are in an earlier one.
const RELATED_BLOCKS: usize = 8;
/// Puts between two changes from one store to the other.
const TURN: usize = 64;

/// How long the phases are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopiesLengths {
    /// Logical minutes without any access, after each copy.
    pub idle_minutes: u64,
    /// Rounds of puts with and without sharing.
    pub rounds: usize,
}

/// A copy of some pages, and what is different in it.
pub struct Copy {
    /// The pages.
    pub pages: Vec<Page>,
    /// Pages that are not as they were.
    pub changed_pages: u64,
    /// Blocks of 64 bytes that were overwritten with random bytes.
    pub changed_blocks: u64,
}

/// Copies `pages` and overwrites 5 % of the blocks, at random places, in a third of them.
pub fn changed_copy(pages: &[Page], seed: u64) -> Copy {
    let mut rng = Rng::new(seed ^ 0xc09);
    let mut copy = Copy {
        pages: pages.to_vec(),
        changed_pages: 0,
        changed_blocks: 0,
    };
    let mut order: Vec<usize> = (0..pages.len()).collect();
    rng.shuffle(&mut order);
    for &index in &order[..pages.len() / CHANGED_SHARE] {
        let count = CHANGED_BLOCKS + usize::from(rng.below(PAGES_PER_FOURTH) == 0);
        let mut places: [usize; 4096 / BLOCK] = std::array::from_fn(|place| place);
        rng.shuffle(&mut places);
        for place in &places[..count] {
            for word in copy.pages[index][place * BLOCK..][..BLOCK]
                .as_chunks_mut()
                .0
            {
                *word = rng.next_u64().to_le_bytes();
            }
        }
        copy.changed_pages += 1;
        copy.changed_blocks += count as u64;
    }
    copy
}

/// The pages that share fewer than an eighth of their blocks with those before; blocks of one
/// repeated byte are no similarity, and same-filled pages are left out.
pub fn unrelated(pages: &[Page]) -> Vec<Page> {
    let mut seen: HashSet<&[u8]> = HashSet::new();
    let mut kept = Vec::new();
    for page in pages {
        if compress::same_filled(page).is_some() {
            continue;
        }
        let blocks = || {
            let blocks = page.chunks_exact(BLOCK);
            blocks.filter(|block| block.iter().any(|byte| *byte != block[0]))
        };
        if blocks().filter(|block| seen.contains(block)).count() < RELATED_BLOCKS {
            kept.push(*page);
        }
        seen.extend(blocks());
    }
    kept
}

/// Both parts.
///
/// # Errors
/// What a store refused, in words.
pub fn run_copies(
    pages: &[Page],
    seed: u64,
    lengths: CopiesLengths,
    build: Build<'_>,
    progress: &mut dyn FnMut(f64),
) -> Result<CopiesResult, String> {
    let first = pages.len();
    let copy = changed_copy(pages, seed);
    let all = [pages, &copy.pages].concat();
    let stores = vec![
        Plain::lz4(all.len())?,
        build(&StoreOptions::new(all.len()))?,
    ];
    let mut replay = Replay::new(&all, stores);
    let memory = |replay: &Replay<'_>| -> Vec<u64> {
        let lanes = replay.lanes.iter();
        lanes
            .map(|lane| lane.store.memory().total_bytes())
            .collect()
    };
    put_and_settle(&mut replay, 0..first, lengths.idle_minutes)?;
    let before = memory(&replay);
    progress(0.25);
    put_and_settle(&mut replay, first..all.len(), lengths.idle_minutes)?;
    let after = memory(&replay);
    progress(0.5);
    for lane in &mut replay.lanes {
        lane.verify(0, &all)?;
    }
    let taken = |lane: usize| after[lane].saturating_sub(before[lane]);
    let unrelated = run_unrelated(&unrelated(pages), lengths, build, &mut |share| {
        progress(0.5 + share / 2.0)
    })?;
    Ok(CopiesResult {
        second_copy_vs_lz4: taken(1) as f64 / taken(0).max(1) as f64,
        first_copy_bytes: before[1],
        lz4_first_copy_bytes: before[0],
        second_copy_bytes: taken(1),
        lz4_second_copy_bytes: taken(0),
        pages: first as u64,
        changed_pages: copy.changed_pages,
        changed_blocks: copy.changed_blocks,
        counters: replay.lanes[1].store.counters(),
        mismatches: replay.lanes.iter().map(|lane| lane.mismatches).sum(),
        unrelated,
    })
}

fn put_and_settle(
    replay: &mut Replay<'_>,
    indices: std::ops::Range<usize>,
    idle_minutes: u64,
) -> Result<(), String> {
    let puts = indices.map(|index| Operation::Put {
        index: index as u32,
        content: index as u32,
    });
    let puts: Vec<Operation> = puts.collect();
    replay.seconds(&puts, &mut [])?;
    for _ in 0..idle_minutes * 60 {
        replay.tick();
    }
    replay.settle();
    Ok(())
}

fn run_unrelated(
    pages: &[Page],
    lengths: CopiesLengths,
    build: Build<'_>,
    progress: &mut dyn FnMut(f64),
) -> Result<UnrelatedResult, String> {
    if pages.is_empty() {
        return Err("no page is unrelated to the others; give other pages".to_owned());
    }
    let mut rounds = Vec::new();
    let mut last = None;
    for round in 0..lengths.rounds.max(1) {
        let mut lanes = [true, false]
            .map(|sharing| {
                let mut options = StoreOptions::new(pages.len());
                options.sharing = sharing;
                build(&options).map(Lane::new)
            })
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        rounds.push(alternate(pages, &mut lanes, round % 2)?);
        last = Some(lanes);
        progress((round + 1) as f64 / (lengths.rounds + 1) as f64);
    }
    let mut lanes = last.ok_or("no round was run")?;
    let mut now_ms = (pages.len() as u64).div_ceil(OPERATIONS_PER_SECOND) * 1000;
    for _ in 0..lengths.idle_minutes * 60 {
        now_ms += 1000;
        lanes.iter_mut().for_each(|lane| lane.tick(now_ms));
    }
    lanes.iter_mut().for_each(Lane::settle);
    // The pools pack themselves to some percent, by chance one more than the other.
    lanes.iter_mut().for_each(|lane| lane.store.pack());
    let memory = [0, 1].map(|lane: usize| lanes[lane].store.memory().total_bytes());
    for lane in &mut lanes {
        lane.verify(0, pages)?;
    }
    let counted: usize = rounds.iter().map(|round| round.puts).sum();
    let all = pages.len() * rounds.len();
    rounds.retain(|round| round.puts > 0);
    rounds.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    let middle = rounds.get(rounds.len() / 2);
    let Round {
        seconds: [on, off],
        puts,
    } = *middle.ok_or("the machine is too busy to measure puts; try again when it is not")?;
    Ok(UnrelatedResult {
        pages: pages.len() as u64,
        put_on_vs_off: on / off,
        memory_on_vs_off: memory[0] as f64 / memory[1].max(1) as f64,
        put_pages_per_s: puts as f64 / on,
        off_put_pages_per_s: puts as f64 / off,
        disturbed_share: 1.0 - counted as f64 / all as f64,
        memory_bytes: memory[0],
        off_memory_bytes: memory[1],
        mismatches: lanes.iter().map(|lane| lane.mismatches).sum(),
    })
}

/// Puts all pages into both stores, some into one and then others, half the set away, into the
/// other, so that neither finds pages in the processor's caches because of the other.
fn alternate(pages: &[Page], lanes: &mut [Lane], first: usize) -> Result<Round, String> {
    let mut round = Round {
        seconds: [0.0; 2],
        puts: 0,
    };
    let (count, half) = (pages.len(), pages.len() / 2);
    let mut since_tick = 0;
    let mut now_ms = 0;
    for start in (0..count).step_by(TURN) {
        let turn = start..(start + TURN).min(count);
        since_tick += turn.len() as u64;
        let before = preemptions();
        let mut seconds = [0.0; 2];
        for place in 0..2 {
            let chosen = (first + place) % 2;
            let store = &lanes[chosen].store;
            let begin = Instant::now();
            for at in turn.clone() {
                let index = (at + half * place) % count;
                store
                    .put(index as u64, &pages[index])
                    .map_err(|error| format!("{}: put: {error}", store.name()))?;
            }
            seconds[chosen] = begin.elapsed().as_secs_f64();
        }
        if preemptions() == before {
            round.add(seconds, turn.len());
        }
        if since_tick >= OPERATIONS_PER_SECOND {
            since_tick = 0;
            now_ms += 1000;
            lanes.iter_mut().for_each(|lane| lane.tick(now_ms));
        }
    }
    Ok(round)
}

/// Seconds that each store took for the same number of puts. Ticks are not among them, nor turns in
/// which the CPU was taken away.
#[derive(Clone, Copy)]
struct Round {
    seconds: [f64; 2],
    puts: usize,
}

impl Round {
    fn add(&mut self, seconds: [f64; 2], puts: usize) {
        for (sum, seconds) in self.seconds.iter_mut().zip(seconds) {
            *sum += seconds;
        }
        self.puts += puts;
    }

    fn ratio(&self) -> f64 {
        self.seconds[0] / self.seconds[1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiers::tests::some_pages;

    #[test]
    fn a_third_of_the_pages_has_a_twentieth_of_its_blocks_changed() {
        let pages = some_pages(3000, 1);
        let copy = changed_copy(&pages, 1);
        let mut changed = 0;
        let mut blocks = 0;
        for (page, copied) in pages.iter().zip(&copy.pages) {
            let pairs = page.chunks(BLOCK).zip(copied.chunks(BLOCK));
            let different = pairs.filter(|(a, b)| a != b).count();
            assert!(matches!(different, 0 | 3 | 4));
            changed += u64::from(different > 0);
            blocks += different as u64;
        }
        assert_eq!((changed, blocks), (copy.changed_pages, copy.changed_blocks));
        assert_eq!(changed, 1000);
        let share = blocks as f64 / (64.0 * changed as f64);
        assert!((share - 0.05).abs() < 0.002, "{share}");
        assert_eq!(changed_copy(&pages, 1).pages, copy.pages);
        assert!(changed_copy(&pages, 2).pages != copy.pages);
    }

    #[test]
    fn copies_and_similar_pages_are_not_unrelated() {
        let mut pages = some_pages(300, 2);
        pages.retain(|page| compress::same_filled(page).is_none());
        let both = [&pages[..], &changed_copy(&pages, 1).pages].concat();
        let kept = unrelated(&both);
        assert!(!kept.is_empty() && kept.len() <= pages.len());
        assert!(kept.iter().all(|page| pages.contains(page)));
        assert_eq!(unrelated(&kept).len(), kept.len());
        assert!(unrelated(&[[0; 4096], [7; 4096]]).is_empty());
    }
}
