//! What the pool goes through: random and adversarial histories.
//!
//! | history        | the pool is filled, then                                                  |
//! |----------------|---------------------------------------------------------------------------|
//! | `random`       | two random overwrites an object; then overwrites are counted              |
//! | `every_second` | every second object is freed, and refilled with other sizes               |
//! | `ascending`    | all objects are freed in the order of their making, and made again        |
//! | `descending`   | the same, last made first freed                                           |
//! | `boundary`     | overwrites with sizes just under and just above a boundary of free lists  |
//! | `same_size`    | overwrites, all objects being of one size                                 |
//!
//! An overwrite is a free and then an allocation for the same owner. A small pool is made and
//! goes through its history many times, with other random numbers, so that pools of all sizes are
//! equally old. Of big ones windows are counted, spread evenly; between the windows nothing is
//! instrumented, which is several times faster.

use crate::face::{self, Face};
use crate::valgrind;
use compcache_bench::rng::Rng;

/// The histories' names.
pub(crate) const HISTORIES: [&str; 6] = [
    "random",
    "every_second",
    "ascending",
    "descending",
    "boundary",
    "same_size",
];

/// Operations of a kind that are counted, in one pool or several (of `every_second` in a small
/// pool, half as many).
const COUNTED: usize = 20_000;
/// Windows in which they are.
const WINDOWS: usize = 4;
/// Biggest object.
const SIZE_MAX: usize = 4096;

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Alloc,
    Free,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Alloc => "alloc",
            Self::Free => "free",
        }
    }
}

/// A pool under a history, and the counting of its operations.
struct Subject {
    face: Box<dyn Face>,
    live: usize,
    rng: Rng,
    bytes: Vec<u8>,
    counting: bool,
    failed: bool,
    label: String,
}

impl Subject {
    fn alloc(&mut self, slot: usize, size: usize, counted: bool) {
        let bytes = &self.bytes[..size];
        if self.counting && counted {
            valgrind::toggle_collect();
            self.failed |= !self.face.alloc(slot, bytes);
            valgrind::toggle_collect();
        } else {
            self.failed |= !self.face.alloc(slot, bytes);
        }
    }

    fn free(&mut self, slot: usize, counted: bool) {
        if self.counting && counted {
            valgrind::toggle_collect();
            self.failed |= !self.face.free(slot);
            valgrind::toggle_collect();
        } else {
            self.failed |= !self.face.free(slot);
        }
    }

    /// Does `step`, which does one operation of the kind `operation` to be counted, for each
    /// number below `total`; counts [`COUNTED`] of them, or all.
    fn count(
        &mut self,
        operation: Operation,
        total: usize,
        mut step: impl FnMut(&mut Self, usize),
    ) {
        let windows = if total > COUNTED { WINDOWS } else { 1 };
        let (stride, window) = (total / windows, total.min(COUNTED) / windows);
        // The last part of each stride, when the history has had its effect.
        let gap = stride - window;
        for i in 0..windows * stride {
            if i % stride == gap {
                valgrind::start_instrumentation();
                self.counting = true;
            }
            step(self, i);
            if i % stride == stride - 1 {
                self.counting = false;
                valgrind::dump(&format!("{} {} {window}", self.label, operation.name()));
                valgrind::stop_instrumentation();
            }
        }
    }

    fn fill(&mut self, size: impl Fn(&mut Rng, usize) -> usize) {
        for slot in 0..self.live {
            let size = size(&mut self.rng, slot);
            self.alloc(slot, size, false);
        }
    }

    fn overwrite(&mut self, counted: Option<Operation>, size: impl Fn(&mut Rng, usize) -> usize) {
        let slot = self.rng.below(self.live as u64) as usize;
        let size = size(&mut self.rng, slot);
        self.free(slot, counted == Some(Operation::Free));
        self.alloc(slot, size, counted == Some(Operation::Alloc));
    }

    /// Fill, two overwrites an object, then overwrites of which frees or allocations are counted.
    fn overwrites(&mut self, size: impl Fn(&mut Rng, usize) -> usize + Copy) {
        self.fill(size);
        for _ in 0..2 * self.live {
            self.overwrite(None, size);
        }
        for operation in [Operation::Free, Operation::Alloc] {
            self.count(operation, COUNTED.min(self.live), |subject, _| {
                subject.overwrite(Some(operation), size);
            });
        }
    }

    /// Frees the `count` objects that `slot` names, and makes them again, all counted.
    fn free_and_refill(&mut self, count: usize, slot: impl Fn(usize) -> usize) {
        self.fill(compressed_size);
        self.count(Operation::Free, count, |subject, i| {
            subject.free(slot(i), true);
        });
        self.count(Operation::Alloc, count, |subject, i| {
            let size = compressed_size(&mut subject.rng, i);
            subject.alloc(slot(i), size, true);
        });
    }

    fn run(&mut self, history: &str) -> Result<(), String> {
        let live = self.live;
        match history {
            "random" => self.overwrites(compressed_size),
            "every_second" => self.free_and_refill(live / 2, |i| 2 * i),
            "ascending" => self.free_and_refill(live, |i| i),
            "descending" => self.free_and_refill(live, |i| live - 1 - i),
            "boundary" => self.overwrites(boundary_size),
            "same_size" => self.overwrites(|_, _| 1748),
            _ => return Err(format!("no history {history}")),
        }
        match self.failed {
            true => Err(format!("an operation failed: {}", self.label)),
            false => Ok(()),
        }
    }
}

/// A size like those of compressed pages: 30 to 4096 bytes, mean 1750; one page in 16 is raw.
fn compressed_size(rng: &mut Rng, _slot: usize) -> usize {
    if rng.below(16) == 0 {
        SIZE_MAX
    } else {
        30 + (rng.below(1566) + rng.below(1566)) as usize
    }
}

/// Blocks of 447, 448, 455 or 456 granules: a free list holds 448 to 455, so these are the
/// largest of a list, the smallest and the largest of the next, and the smallest of the one above.
fn boundary_size(rng: &mut Rng, _slot: usize) -> usize {
    let granules = [447, 448, 455, 456][rng.below(4) as usize];
    granules * 4 - alloc_xv::OVERHEAD
}

/// Runs the job `FACE HISTORY INLINE_MOVES` at each pool size. Under callgrind.
pub(crate) fn run_job(name: &str, sizes: &[usize]) -> Result<(), String> {
    if !valgrind::is_running() {
        return Err("--worker is for use under valgrind".into());
    }
    let mut words = name.split(' ');
    let mut word = || words.next().ok_or(format!("bad job {name:?}"));
    let (face_name, history) = (word()?, word()?);
    let inline_moves: u32 = word()?.parse().map_err(|_| format!("bad job {name:?}"))?;
    for &live in sizes {
        for round in 0..COUNTED.div_ceil(live) {
            let mut subject = Subject {
                face: face::new(face_name, live, inline_moves)?,
                live,
                rng: Rng::new(11 + round as u64),
                bytes: vec![0x5a; SIZE_MAX],
                counting: false,
                failed: false,
                label: format!("{name} {live}"),
            };
            subject.run(history)?;
        }
    }
    Ok(())
}
