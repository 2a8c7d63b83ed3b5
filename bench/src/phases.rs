//! One engine through all phases.
//!
//! | phase     | what happens                                                            |
//! |-----------|-------------------------------------------------------------------------|
//! | `fill`    | an object of each size, in order                                        |
//! | `churn`   | 10 overwrites an object: of a random one, with the size of a random one |
//! | `discard` | a random 30 % are freed, then [`Engine::settle`]                        |
//! | `compact` | [`Engine::compact`], then every object is verified                      |
//! | `drain`   | the rest is freed in random order, then [`Engine::settle`]              |
//!
//! An overwrite allocates the new object in the one spare slot, frees the old one, and makes its
//! slot the spare one, as a cache does that must not lose the old content when there is no room.
//!
//! Each allocation and each free is timed by itself; the two clock readings around it are in the
//! time (some 20 to 50 ns, the same for all engines). Filling an object and verifying one are
//! not. Every object is written in full, so its memory is really there; one free in eight is
//! preceded by a check of the object's first and last bytes. The harness takes all its memory
//! before the first object.

#[cfg(test)]
mod tests;

use std::time::Instant;

use crate::engine::{Engine, EngineError};
use crate::latency::Recorder;
use crate::result::{AllocatorResult, Latency, PhaseResult};
use crate::rng::{Rng, mix};

/// The phases, in order.
pub const PHASES: [&str; 5] = ["fill", "churn", "discard", "compact", "drain"];

/// Overwrites for each object in `churn`.
pub const OVERWRITES_PER_OBJECT: usize = 10;

/// Share of the objects that `discard` frees.
pub const DISCARD_PERCENT: usize = 30;

/// One free in this many is preceded by a check.
const VERIFY_ONE_IN: u64 = 8;

/// Progress is reported this often in a phase.
const REPORTS_PER_PHASE: usize = 50;

/// Runs `engine`, which is empty, through all phases with objects of these `sizes`.
///
/// Equal seeds give equal sequences of operations for every engine. `progress` is called with
/// the phase's name and its share done, 0 to 1; it must not keep memory it allocates.
///
/// # Errors
/// The engine's own, and [`EngineError::Corrupted`] when an object came back different. The
/// engine is left as it is then.
pub fn run_phases(
    engine: &mut dyn Engine,
    sizes: &[u32],
    seed: u64,
    progress: &mut dyn FnMut(&str, f64),
) -> Result<AllocatorResult, EngineError> {
    let mut result = AllocatorResult {
        name: engine.name().to_owned(),
        phases: PHASES.map(empty_phase).into(),
    };
    let mut run = Run::new(engine, sizes, seed);
    for phase in &mut result.phases {
        progress(&phase.phase, 0.0);
        let mut report = |share: f64| progress(&phase.phase, share);
        match phase.phase.as_str() {
            "fill" => run.fill(&mut report)?,
            "churn" => run.churn(&mut report)?,
            "discard" => run.discard(&mut report)?,
            "compact" => run.compact()?,
            _ => run.drain(&mut report)?,
        }
        progress(&phase.phase, 1.0);
        run.note(phase);
    }
    Ok(result)
}

fn empty_phase(name: &str) -> PhaseResult {
    PhaseResult {
        phase: name.to_owned(),
        objects: 0,
        payload_bytes: 0,
        footprint_bytes: 0,
        data_bytes: 0,
        metadata_bytes: 0,
        reference_bytes: 0,
        rss_bytes: None,
        alloc_ns: Latency::default(),
        free_ns: Latency::default(),
    }
}

/// An object as the harness knows it.
#[derive(Clone, Copy)]
struct Object {
    slot: usize,
    size: usize,
}

/// What goes on between the phases.
struct Run<'a> {
    engine: &'a mut dyn Engine,
    sizes: &'a [u32],
    rng: Rng,
    /// Live objects; `discard` shortens it.
    objects: Vec<Object>,
    spare_slot: usize,
    payload_bytes: u64,
    buffer: Vec<u8>,
    alloc_times: Recorder,
    free_times: Recorder,
}

impl<'a> Run<'a> {
    fn new(engine: &'a mut dyn Engine, sizes: &'a [u32], seed: u64) -> Self {
        let largest = sizes.iter().max().copied().unwrap_or(0);
        Self {
            engine,
            sizes,
            rng: Rng::new(seed),
            objects: Vec::with_capacity(sizes.len()),
            spare_slot: sizes.len(),
            payload_bytes: 0,
            buffer: vec![0; largest as usize],
            alloc_times: Recorder::new(),
            free_times: Recorder::new(),
        }
    }

    fn fill(&mut self, report: &mut dyn FnMut(f64)) -> Result<(), EngineError> {
        let total = self.sizes.len();
        for (slot, &size) in self.sizes.iter().enumerate() {
            let size = size as usize;
            self.alloc(slot, size)?;
            self.objects.push(Object { slot, size });
            report_at(slot, total, report);
        }
        Ok(())
    }

    fn churn(&mut self, report: &mut dyn FnMut(f64)) -> Result<(), EngineError> {
        let total = self.objects.len() * OVERWRITES_PER_OBJECT;
        for step in 0..total {
            let chosen = self.rng.below(self.objects.len() as u64) as usize;
            let size = self.sizes[self.rng.below(self.sizes.len() as u64) as usize] as usize;
            let slot = self.spare_slot;
            self.alloc(slot, size)?;
            let old = core::mem::replace(&mut self.objects[chosen], Object { slot, size });
            self.free(old)?;
            self.spare_slot = old.slot;
            report_at(step, total, report);
        }
        Ok(())
    }

    fn discard(&mut self, report: &mut dyn FnMut(f64)) -> Result<(), EngineError> {
        // One order serves this phase and the next: the ends of a shuffled list are random too.
        self.rng.shuffle(&mut self.objects);
        self.free_last(self.objects.len() * DISCARD_PERCENT / 100, report)
    }

    fn compact(&mut self) -> Result<(), EngineError> {
        self.engine.compact();
        for at in 0..self.objects.len() {
            self.verify(self.objects[at])?;
        }
        Ok(())
    }

    fn drain(&mut self, report: &mut dyn FnMut(f64)) -> Result<(), EngineError> {
        self.free_last(self.objects.len(), report)
    }

    fn free_last(&mut self, count: usize, report: &mut dyn FnMut(f64)) -> Result<(), EngineError> {
        for step in 0..count {
            if let Some(object) = self.objects.pop() {
                self.free(object)?;
            }
            report_at(step, count, report);
        }
        self.engine.settle();
        Ok(())
    }

    /// Writes down where the engine stands, and starts the times anew.
    fn note(&mut self, phase: &mut PhaseResult) {
        let footprint = self.engine.footprint();
        phase.objects = self.objects.len() as u64;
        phase.payload_bytes = self.payload_bytes;
        phase.footprint_bytes = footprint.total_bytes();
        phase.data_bytes = footprint.data_bytes;
        phase.metadata_bytes = footprint.metadata_bytes;
        phase.reference_bytes = footprint.reference_bytes;
        phase.rss_bytes = self.engine.rss_bytes();
        phase.alloc_ns = self.alloc_times.latency();
        phase.free_ns = self.free_times.latency();
        self.alloc_times.reset();
        self.free_times.reset();
    }

    fn alloc(&mut self, slot: usize, size: usize) -> Result<(), EngineError> {
        let start = Instant::now();
        self.engine.alloc(slot, size)?;
        self.alloc_times.record_since(start);
        self.payload_bytes += size as u64;
        let content = &mut self.buffer[..size];
        fill_pattern(content, slot);
        self.engine.write(slot, content)
    }

    fn free(&mut self, object: Object) -> Result<(), EngineError> {
        if self.rng.below(VERIFY_ONE_IN) == 0 {
            self.verify(object)?;
        }
        let start = Instant::now();
        self.engine.free(object.slot)?;
        self.free_times.record_since(start);
        self.payload_bytes -= object.size as u64;
        Ok(())
    }

    /// Checks size, first and last word of an object.
    fn verify(&mut self, object: Object) -> Result<(), EngineError> {
        let Object { slot, size } = object;
        self.buffer[..size].fill(0);
        let found = self.engine.read(slot, &mut self.buffer)?;
        let content = &self.buffer[..size];
        let tail_start = (size - 1) / WORD * WORD;
        let intact = found == size
            && word_matches(content, 0, slot)
            && word_matches(content, tail_start.saturating_sub(WORD), slot)
            && word_matches(content, tail_start, slot);
        if intact {
            Ok(())
        } else {
            Err(EngineError::Corrupted { slot })
        }
    }
}

/// Bytes in a word of an object's pattern.
const WORD: usize = 8;

/// The word at `offset` of a `size`-byte object in `slot`.
fn pattern_word(slot: usize, size: usize, offset: usize) -> [u8; WORD] {
    let tag = mix((slot as u64) << 16 ^ size as u64);
    tag.wrapping_add(offset as u64).to_le_bytes()
}

/// Fills `content`, the object of `slot`: every 8 bytes tell slot, size and position.
fn fill_pattern(content: &mut [u8], slot: usize) {
    let size = content.len();
    let first = u64::from_le_bytes(pattern_word(slot, size, 0));
    for (number, word) in content.chunks_mut(WORD).enumerate() {
        let bytes = first.wrapping_add((number * WORD) as u64).to_le_bytes();
        word.copy_from_slice(&bytes[..word.len()]);
    }
}

/// Whether the word that starts at `offset`, which may be cut short by the end, is as filled.
fn word_matches(content: &[u8], offset: usize, slot: usize) -> bool {
    let end = content.len().min(offset + WORD);
    let word = &content[offset..end];
    *word == pattern_word(slot, content.len(), offset)[..word.len()]
}

fn report_at(step: usize, total: usize, report: &mut dyn FnMut(f64)) {
    let every = total.div_ceil(REPORTS_PER_PHASE);
    if step.is_multiple_of(every) {
        report(step as f64 / total as f64);
    }
}
