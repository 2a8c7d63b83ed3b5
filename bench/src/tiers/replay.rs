//! The pattern on several stores in turn.
//!
//! A logical second's operations are done by one store, then by the next; who begins changes with
//! each second, so that all see the same machine, and none finds the input in the processor's
//! caches more often than the others. After them comes the second's background work.
//!
//! Percentiles are of all operations. The means whose ratios are taken leave out groups of 32
//! operations in which the kernel gave the CPU to somebody else: a time slice is a thousand gets.

use std::time::Instant;

use super::cpu::{cpu_seconds, preemptions};
use super::pattern::{OPERATIONS_PER_SECOND, Operation};
use super::store::{Page, Store};
use crate::latency::Recorder;

/// Parts of a phase whose ratios are compared: the one in the middle counts, because a machine
/// that stands still for some milliseconds makes a mean of thousands of pages wrong. Each part has
/// the pattern's share of everything: thousands of gets, and tens of cold ones.
pub(super) const PARTS: usize = 25;

/// Operations between two looks at whether the CPU was taken away.
const GROUP: usize = 32;

/// Sum and number of some times.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mean {
    sum_ns: u64,
    count: u64,
}

impl Mean {
    fn add(&mut self, other: Self) {
        self.sum_ns += other.sum_ns;
        self.count += other.count;
    }

    fn get(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum_ns as f64 / self.count as f64)
    }
}

/// A mean for each part.
pub(super) type Parts = [Mean; PARTS];

/// Times of a phase, together and in parts.
#[derive(Default)]
pub(super) struct Times {
    pub(super) get: Recorder,
    pub(super) hot_get: Recorder,
    pub(super) cold_get: Recorder,
    pub(super) put: Recorder,
    pub(super) get_parts: Parts,
    pub(super) put_parts: Parts,
    /// Of the group of operations that is being done: gets, puts.
    group: [Mean; 2],
    /// Groups, and those of them that are in no part because the CPU was taken away.
    pub(super) groups: u64,
    pub(super) disturbed_groups: u64,
}

/// The middle one of the ratios of the parts' means; `None` where no part has both.
pub(super) fn middle_ratio(ours: &Parts, theirs: &Parts) -> Option<f64> {
    let mut ratios: Vec<f64> = ours
        .iter()
        .zip(theirs)
        .filter_map(|(ours, theirs)| Some(ours.get()? / theirs.get()?))
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied()
}

/// A store under test and what was seen of it.
pub(super) struct Lane {
    pub(super) store: Box<dyn Store>,
    pub(super) cpu_s: f64,
    pub(super) background_cpu_s: f64,
    pub(super) mismatches: u64,
    page: Box<Page>,
}

impl Lane {
    pub(super) fn new(store: Box<dyn Store>) -> Self {
        Self {
            store,
            cpu_s: 0.0,
            background_cpu_s: 0.0,
            mismatches: 0,
            page: Box::new([0; 4096]),
        }
    }

    /// Does the operations; with `times`, each is timed by itself, and counts for that part.
    pub(super) fn run(
        &mut self,
        pages: &[Page],
        operations: &[Operation],
        mut times: Option<(&mut Times, usize)>,
    ) -> Result<(), String> {
        let cpu = cpu_seconds();
        for group in operations.chunks(GROUP) {
            let before = times.is_some().then(preemptions);
            for operation in group {
                self.one(
                    pages,
                    operation,
                    times.as_mut().map(|(times, _)| &mut **times),
                )?;
            }
            if let (Some((times, part)), Some(before)) = (&mut times, before) {
                times.end_group(*part, preemptions() != before);
            }
        }
        self.cpu_s += cpu_seconds() - cpu;
        Ok(())
    }

    fn one(
        &mut self,
        pages: &[Page],
        operation: &Operation,
        times: Option<&mut Times>,
    ) -> Result<(), String> {
        let start = times.is_some().then(Instant::now);
        let result = self.operate(pages, operation);
        if let (Some(times), Some(start)) = (times, start) {
            times.record(operation, start.elapsed().as_nanos() as u64);
        }
        let done =
            result.map_err(|text| format!("{}: {operation:?}: {text}", self.store.name()))?;
        if let Operation::Get { content, .. } = *operation
            && (!done || *self.page != pages[content as usize])
        {
            self.mismatches += 1;
        }
        Ok(())
    }

    /// False where the page that is read or discarded is not stored.
    fn operate(&mut self, pages: &[Page], operation: &Operation) -> Result<bool, String> {
        match *operation {
            Operation::Get { index, .. } => self.store.get(u64::from(index), &mut self.page),
            Operation::Put { index, content } => self
                .store
                .put(u64::from(index), &pages[content as usize])
                .map(|()| true)
                .map_err(|error| error.to_string()),
            Operation::Discard { index } => self.store.discard(u64::from(index)),
        }
    }

    /// Background work of a logical second.
    pub(super) fn tick(&mut self, now_ms: u64) {
        self.background(|store| store.tick(now_ms));
    }

    /// All background work there is.
    pub(super) fn settle(&mut self) {
        self.background(|store| store.settle());
    }

    fn background(&mut self, work: impl FnOnce(&mut dyn Store)) {
        let before = cpu_seconds();
        work(&mut *self.store);
        let cpu = cpu_seconds() - before;
        self.cpu_s += cpu;
        self.background_cpu_s += cpu;
    }

    /// Reads every page from `first` on, and compares it with `expected`.
    pub(super) fn verify(&mut self, first: u64, expected: &[Page]) -> Result<(), String> {
        for (index, page) in (first..).zip(expected) {
            let read = self.store.get(index, &mut self.page);
            let there =
                read.map_err(|text| format!("{}: page {index}: {text}", self.store.name()))?;
            if !there || *self.page != *page {
                self.mismatches += 1;
            }
        }
        Ok(())
    }
}

impl Times {
    fn record(&mut self, operation: &Operation, ns: u64) {
        let [gets, puts] = &mut self.group;
        let one = Mean {
            sum_ns: ns,
            count: 1,
        };
        match operation {
            Operation::Get { hot, .. } => {
                self.get.record(ns);
                if *hot {
                    self.hot_get.record(ns);
                } else {
                    self.cold_get.record(ns);
                }
                gets.add(one);
            }
            Operation::Put { .. } => {
                self.put.record(ns);
                puts.add(one);
            }
            Operation::Discard { .. } => {}
        }
    }

    fn end_group(&mut self, part: usize, disturbed: bool) {
        let [gets, puts] = std::mem::take(&mut self.group);
        self.groups += 1;
        if disturbed {
            self.disturbed_groups += 1;
            return;
        }
        self.get_parts[part].add(gets);
        self.put_parts[part].add(puts);
    }
}

/// Stores that go through the same operations, and the clock they share.
pub(super) struct Replay<'a> {
    pub(super) pages: &'a [Page],
    pub(super) lanes: Vec<Lane>,
    pub(super) now_ms: u64,
    turn: usize,
}

impl<'a> Replay<'a> {
    pub(super) fn new(pages: &'a [Page], stores: Vec<Box<dyn Store>>) -> Self {
        Self {
            pages,
            lanes: stores.into_iter().map(Lane::new).collect(),
            now_ms: 0,
            turn: 0,
        }
    }

    /// One logical second: these operations, then a tick. `times` has an entry for each lane, or is empty.
    pub(super) fn second(
        &mut self,
        operations: &[Operation],
        times: &mut [Times],
        part: usize,
    ) -> Result<(), String> {
        self.turn += 1;
        let count = self.lanes.len();
        for place in 0..count {
            let chosen = (self.turn + place) % count;
            let times = times.get_mut(chosen).map(|times| (times, part));
            self.lanes[chosen].run(self.pages, operations, times)?;
        }
        self.tick();
        Ok(())
    }

    /// Operations of any number, a second's worth at a time.
    pub(super) fn seconds(
        &mut self,
        operations: &[Operation],
        times: &mut [Times],
    ) -> Result<(), String> {
        let chunks = operations.chunks(OPERATIONS_PER_SECOND as usize);
        let count = chunks.len();
        for (number, chunk) in chunks.enumerate() {
            self.second(chunk, times, number * PARTS / count)?;
        }
        Ok(())
    }

    /// A logical second without operations.
    pub(super) fn tick(&mut self) {
        self.now_ms += 1000;
        for lane in &mut self.lanes {
            lane.tick(self.now_ms);
        }
    }

    pub(super) fn settle(&mut self) {
        for lane in &mut self.lanes {
            lane.settle();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(means: [u64; PARTS]) -> [Mean; PARTS] {
        means.map(|sum_ns| Mean { sum_ns, count: 1 })
    }

    #[test]
    fn groups_that_were_disturbed_are_in_no_mean() {
        let mut times = Times::default();
        let get = Operation::Get {
            index: 0,
            content: 0,
            hot: true,
        };
        let put = Operation::Put {
            index: 0,
            content: 0,
        };
        for (ns, disturbed) in [(10, false), (4_000_000, true), (20, false)] {
            times.record(&get, ns);
            times.record(&put, ns * 3);
            times.end_group(4, disturbed);
        }
        assert_eq!(times.get_parts[4].get(), Some(15.0));
        assert_eq!(times.put_parts[4].get(), Some(45.0));
        assert_eq!((times.groups, times.disturbed_groups), (3, 1));
        // Percentiles hide nothing.
        assert_eq!(times.get.latency().max, 4_000_000);
    }

    #[test]
    fn one_part_that_was_disturbed_changes_no_ratio() {
        let mut ours = [11; PARTS];
        ours[3] = 900;
        let ours = parts(ours);
        let theirs = parts([10; PARTS]);
        assert_eq!(middle_ratio(&ours, &theirs), Some(1.1));
        assert_eq!(middle_ratio(&ours, &[Mean::default(); PARTS]), None);
    }
}
