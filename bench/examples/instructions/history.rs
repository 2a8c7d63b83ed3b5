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
//! An overwrite is a free and then an allocation for the same owner. Small pools go round until
//! enough operations are counted; of big ones windows are, spread evenly, and between the windows
//! nothing is instrumented, which is several times faster.

use crate::source::Apart;
use crate::valgrind;
use alloc_xv::{Handle, MmapSource, Pool, Slots};
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
/// The faces of the allocator.
pub(crate) const FACES: [&str; 2] = ["slots", "pool"];

/// Operations of a kind that are counted at least, where the pool is not smaller than that.
const COUNTED_MIN: usize = 20_000;
/// Windows in which they are.
const WINDOWS: usize = 4;
/// Address space of the pool.
const CAPACITY_BYTES: usize = 16 << 30;
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

/// The two faces of the allocator, seen alike.
trait Face {
    fn alloc(&mut self, slot: usize, bytes: &[u8]) -> bool;
    fn free(&mut self, slot: usize) -> bool;
}

struct SlotsFace(Slots<Apart>);

impl Face for SlotsFace {
    #[inline(never)]
    fn alloc(&mut self, slot: usize, bytes: &[u8]) -> bool {
        self.0.store(slot as u64, 0, &[bytes]).is_ok()
    }

    #[inline(never)]
    fn free(&mut self, slot: usize) -> bool {
        self.0.clear(slot as u64).is_ok()
    }
}

struct PoolFace {
    pool: Pool<Apart>,
    handles: Vec<Option<Handle>>,
}

impl Face for PoolFace {
    #[inline(never)]
    fn alloc(&mut self, slot: usize, bytes: &[u8]) -> bool {
        let handle = self.pool.alloc_from(bytes).ok();
        self.handles[slot] = handle;
        handle.is_some()
    }

    #[inline(never)]
    fn free(&mut self, slot: usize) -> bool {
        self.handles[slot].is_some_and(|handle| self.pool.free(handle).is_ok())
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

    /// Does `step` for each number below `total`. Operations of the kind `operation` in it are
    /// counted in windows of `per_step` of them a step.
    fn count(
        &mut self,
        operation: Operation,
        total: usize,
        mut step: impl FnMut(&mut Self, usize),
    ) {
        let windows = if total > COUNTED_MIN { WINDOWS } else { 1 };
        let (stride, window) = (total / windows, total.min(COUNTED_MIN) / windows);
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
            self.count(operation, COUNTED_MIN, |subject, _| {
                subject.overwrite(Some(operation), size);
            });
        }
    }

    /// Frees the `count` objects that `slot` names, counted, and makes them again, counted, until
    /// enough operations were.
    fn free_and_refill(&mut self, count: usize, slot: impl Fn(usize, usize) -> usize) {
        self.fill(compressed_size);
        for round in 0..COUNTED_MIN.div_ceil(count) {
            self.count(Operation::Free, count, |subject, i| {
                subject.free(slot(round, i), true);
            });
            self.count(Operation::Alloc, count, |subject, i| {
                let size = compressed_size(&mut subject.rng, i);
                subject.alloc(slot(round, i), size, true);
            });
        }
    }

    fn run(&mut self, history: &str) -> Result<(), String> {
        let live = self.live;
        match history {
            "random" => self.overwrites(compressed_size),
            "every_second" => self.free_and_refill(live / 2, |round, i| 2 * i + round % 2),
            "ascending" => self.free_and_refill(live, |_, i| i),
            "descending" => self.free_and_refill(live, |_, i| live - 1 - i),
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
        let source = MmapSource::new(CAPACITY_BYTES).map_err(|error| error.to_string())?;
        let face: Box<dyn Face> = if face_name == "slots" {
            let slots = Slots::new(Apart(source));
            slots.set_inline_moves(inline_moves);
            Box::new(SlotsFace(slots))
        } else {
            let pool = Pool::new(Apart(source));
            pool.set_inline_moves(inline_moves);
            let handles = vec![None; live];
            Box::new(PoolFace { pool, handles })
        };
        let mut subject = Subject {
            face,
            live,
            rng: Rng::new(11),
            bytes: vec![0x5a; SIZE_MAX],
            counting: false,
            failed: false,
            label: format!("{name} {live}"),
        };
        subject.run(history)?;
    }
    Ok(())
}
