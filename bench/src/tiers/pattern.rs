//! The access pattern: which page is read, written or discarded, in which order.
//!
//! Everything follows from the number of pages, the share of cold ones and a seed; nothing is a
//! floating-point number, so the sequence is the same on every machine.

use std::collections::VecDeque;

use crate::rng::Rng;

/// Operations of a logical second: with them, 10^8 operations are 24 hours.
pub const OPERATIONS_PER_SECOND: u64 = 1157;

/// The fewest pages that a pattern is made for.
pub const PAGES_MIN: usize = 256;

/// Longest run of neighbouring pages that become hot or cold together.
const RUN_MAX: u64 = 64;

// Out of 900 steps, 800 are one get, 75 are two puts, 25 are a discard now and a put later: 1000
// operations, of which 80 % are gets, 15 % overwrites, 2.5 % discards and 2.5 % puts after one.
const STEPS: u64 = 900;
const GETS: u64 = 800;
const EXCHANGES: u64 = 75;

/// Of this many gets, one goes to a cold page.
const GETS_PER_COLD_GET: u64 = 100;

/// Steps until a page that was discarded is put again.
const OUT_STEPS: u64 = 64;

/// Weight of the most popular page; that of rank `r` (from 0) is this divided by `r + 1`.
const ZIPF_SCALE: u64 = 1 << 40;

/// Which part of the pages is replaced when the hot set moves.
const MOVED_SHARE: usize = 8;

/// One operation on the store. `content` is the number of a page of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read page `index`, which holds `content`.
    Get {
        /// Page of the store.
        index: u32,
        /// What it holds.
        content: u32,
        /// Whether the page was chosen from the hot set.
        hot: bool,
    },
    /// Store `content` as page `index`.
    Put {
        /// Page of the store.
        index: u32,
        /// What is stored.
        content: u32,
    },
    /// Forget page `index`, which is stored.
    Discard {
        /// Page of the store.
        index: u32,
    },
}

/// Neighbouring pages that are hot or cold together.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: u32,
    len: u32,
    hot: bool,
}

/// The generator.
///
/// ```
/// use compcache_bench::tiers::Pattern;
///
/// let mut pattern = Pattern::new(1000, 80, 7).unwrap();
/// assert_eq!(pattern.hot().len(), 200);
/// let mut operations = Vec::new();
/// pattern.fill(&mut operations);
/// assert_eq!(operations.len(), 1000);
/// pattern.second(&mut operations);
/// assert!(operations.len() >= compcache_bench::tiers::OPERATIONS_PER_SECOND as usize);
/// ```
#[derive(Clone, Debug)]
pub struct Pattern {
    rng: Rng,
    runs: Vec<Run>,
    /// The hot pages, most popular first.
    hot: Vec<u32>,
    /// The others, in order.
    cold: Vec<u32>,
    /// Sums of the weights up to and with each rank.
    weights: Vec<u64>,
    /// What each page holds, or will hold again.
    content: Vec<u32>,
    /// Whether each page is stored.
    stored: Vec<bool>,
    /// Pages that were discarded, and the step at which they are put again.
    out: VecDeque<(u64, u32)>,
    step: u64,
}

impl Pattern {
    /// A pattern over `pages` pages, of which `cold_percent` in a hundred are cold.
    ///
    /// # Errors
    /// Fewer pages than [`PAGES_MIN`], more than 2^31, or a share that leaves no hot or no cold page; in words.
    pub fn new(pages: usize, cold_percent: usize, seed: u64) -> Result<Self, String> {
        if pages < PAGES_MIN {
            return Err(format!(
                "{pages} pages are too few for an access pattern: give at least {PAGES_MIN}"
            ));
        }
        if pages > 1 << 31 || !(1..100).contains(&cold_percent) {
            return Err(format!(
                "no access pattern for {pages} pages with {cold_percent} % cold"
            ));
        }
        let hot_len = pages * (100 - cold_percent) / 100;
        let mut pattern = Self {
            rng: Rng::new(seed),
            runs: Vec::new(),
            hot: Vec::new(),
            cold: Vec::new(),
            weights: Vec::new(),
            content: (0..pages as u32).collect(),
            stored: vec![false; pages],
            out: VecDeque::new(),
            step: 0,
        };
        pattern.cut_runs(pages as u32);
        pattern.heat(hot_len);
        pattern.hot = pattern.pages_that_are(true);
        pattern.cold = pattern.pages_that_are(false);
        let Pattern { rng, hot, .. } = &mut pattern;
        rng.shuffle(hot);
        pattern.weights = (1..=hot_len as u64)
            .scan(0, |sum, rank| {
                *sum += ZIPF_SCALE / rank;
                Some(*sum)
            })
            .collect();
        Ok(pattern)
    }

    /// The hot pages, most popular first.
    pub fn hot(&self) -> &[u32] {
        &self.hot
    }

    /// The cold pages, in order.
    pub fn cold(&self) -> &[u32] {
        &self.cold
    }

    /// What page `index` of the store holds, if it is stored.
    pub fn content(&self, index: u32) -> Option<u32> {
        let stored = *self.stored.get(index as usize)?;
        stored.then(|| self.content[index as usize])
    }

    /// Puts every page that is not stored, in order: all of them at the beginning.
    pub fn fill(&mut self, operations: &mut Vec<Operation>) {
        self.out.clear();
        for index in 0..self.content.len() as u32 {
            if !self.stored[index as usize] {
                self.put(index, operations);
            }
        }
    }

    /// Reads every hot page once, in random order.
    pub fn sweep(&mut self, operations: &mut Vec<Operation>) {
        let mut order = self.hot.clone();
        self.rng.shuffle(&mut order);
        for index in order {
            if let Some(content) = self.content(index) {
                operations.push(Operation::Get {
                    index,
                    content,
                    hot: true,
                });
            }
        }
    }

    /// The operations of a logical second: [`OPERATIONS_PER_SECOND`], or one more.
    pub fn second(&mut self, operations: &mut Vec<Operation>) {
        let end = operations.len() + OPERATIONS_PER_SECOND as usize;
        while operations.len() < end {
            self.step(operations);
        }
    }

    /// Replaces an eighth of the hot pages: random hot runs become cold, and random cold runs take
    /// their places in the order of popularity.
    pub fn move_hot_set(&mut self) {
        let target = self.hot.len();
        let was_hot = self.hot_map();
        self.cool((target / MOVED_SHARE).max(1));
        self.heat(target);
        let is_hot = self.hot_map();
        let mut fresh: Vec<u32> = (0..self.content.len() as u32)
            .filter(|&page| is_hot[page as usize] && !was_hot[page as usize])
            .collect();
        self.rng.shuffle(&mut fresh);
        for page in &mut self.hot {
            if !is_hot[*page as usize] {
                // As many came as went, for the number of hot pages is the same.
                *page = fresh.pop().unwrap_or(*page);
            }
        }
        self.cold = self.pages_that_are(false);
    }

    fn step(&mut self, operations: &mut Vec<Operation>) {
        self.step += 1;
        while let Some(&(_, index)) = self.out.front().filter(|(due, _)| *due <= self.step) {
            self.out.pop_front();
            self.put(index, operations);
        }
        match self.rng.below(STEPS) {
            choice if choice < GETS => self.get(operations),
            choice if choice < GETS + EXCHANGES => self.exchange(operations),
            _ => self.discard(operations),
        }
    }

    fn get(&mut self, operations: &mut Vec<Operation>) {
        let hot = self.rng.below(GETS_PER_COLD_GET) != 0;
        let index = if hot {
            self.popular()
        } else {
            let cold = &self.cold;
            next_stored(cold, self.rng.below(cold.len() as u64), &self.stored)
        };
        let content = self.content[index as usize];
        operations.push(Operation::Get {
            index,
            content,
            hot,
        });
    }

    /// A popular page is overwritten with what another hot page holds, and the other with what
    /// that one held: every page of the input stays stored exactly once.
    fn exchange(&mut self, operations: &mut Vec<Operation>) {
        let (one, two) = (self.popular(), self.any_hot());
        self.content.swap(one as usize, two as usize);
        self.put(one, operations);
        self.put(two, operations);
    }

    fn discard(&mut self, operations: &mut Vec<Operation>) {
        let index = self.any_hot();
        // In a small hot set everything may be out.
        if std::mem::take(&mut self.stored[index as usize]) {
            self.out.push_back((self.step + OUT_STEPS, index));
            operations.push(Operation::Discard { index });
        }
    }

    fn put(&mut self, index: u32, operations: &mut Vec<Operation>) {
        self.stored[index as usize] = true;
        operations.push(Operation::Put {
            index,
            content: self.content[index as usize],
        });
    }

    /// A hot page by popularity; where it is discarded, the next one that is stored.
    fn popular(&mut self) -> u32 {
        let all = self.weights.last().copied().unwrap_or(0);
        let drawn = self.rng.below(all);
        let rank = self.weights.partition_point(|&sum| sum <= drawn);
        next_stored(&self.hot, rank as u64, &self.stored)
    }

    /// A hot page, each as likely as the other; where it is discarded, the next one that is stored.
    fn any_hot(&mut self) -> u32 {
        let place = self.rng.below(self.hot.len() as u64);
        next_stored(&self.hot, place, &self.stored)
    }

    fn cut_runs(&mut self, pages: u32) {
        let mut start = 0;
        while start < pages {
            let len = (1 + self.rng.below(RUN_MAX) as u32).min(pages - start);
            self.runs.push(Run {
                start,
                len,
                hot: false,
            });
            start += len;
        }
    }

    /// Makes random cold runs hot until `target` pages are; the last one is cut if it is too long.
    fn heat(&mut self, target: usize) {
        let mut missing = target.saturating_sub(self.count_hot()) as u32;
        while missing > 0 {
            let chosen = self.random_run(false);
            let run = &mut self.runs[chosen];
            run.hot = true;
            if run.len > missing {
                let rest = Run {
                    start: run.start + missing,
                    len: run.len - missing,
                    hot: false,
                };
                run.len = missing;
                self.runs.push(rest);
                return;
            }
            missing -= run.len;
        }
    }

    /// Makes random hot runs cold until `count` pages or more have become so.
    fn cool(&mut self, count: usize) {
        let mut cooled = 0;
        while cooled < count {
            let chosen = self.random_run(true);
            self.runs[chosen].hot = false;
            cooled += self.runs[chosen].len as usize;
        }
    }

    /// A random one of the runs that are hot, or that are not; there is one.
    fn random_run(&mut self, hot: bool) -> usize {
        let like = |run: &Run| run.hot == hot;
        let count = self.runs.iter().filter(|run| like(run)).count();
        let nth = self.rng.below(count as u64) as usize;
        let mut fitting = (0..self.runs.len()).filter(|&at| like(&self.runs[at]));
        fitting.nth(nth).unwrap_or(0)
    }

    fn count_hot(&self) -> usize {
        let hot = self.runs.iter().filter(|run| run.hot);
        hot.map(|run| run.len as usize).sum()
    }

    fn hot_map(&self) -> Vec<bool> {
        let mut map = vec![false; self.content.len()];
        for run in self.runs.iter().filter(|run| run.hot) {
            map[run.start as usize..(run.start + run.len) as usize].fill(true);
        }
        map
    }

    fn pages_that_are(&self, hot: bool) -> Vec<u32> {
        let map = self.hot_map();
        (0..map.len() as u32)
            .filter(|&page| map[page as usize] == hot)
            .collect()
    }
}

/// The page at `place` of the list, or the next one that is stored; the one at `place` if none is.
fn next_stored(list: &[u32], place: u64, stored: &[bool]) -> u32 {
    let place = place as usize;
    let after = list[place..].iter().chain(&list[..place]);
    *after
        .into_iter()
        .find(|&&page| stored[page as usize])
        .unwrap_or(&list[place])
}

#[cfg(test)]
mod tests;
