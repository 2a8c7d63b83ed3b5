//! Our allocator at several pool sizes: does cost depend on size?

use std::time::Instant;

use crate::alloc_xv::AllocXv;
use crate::engine::{Engine, EngineError};
use crate::latency::Recorder;
use crate::result::ScalingPoint;
use crate::rng::Rng;

/// Overwrites for each object, and the most in all, so that big pools take seconds.
const OVERWRITES_PER_OBJECT: usize = 10;
const OVERWRITES_MAX: usize = 1_000_000;

/// Fills a pool with `objects` of the given sizes (repeated as needed) and overwrites at random.
///
/// # Errors
/// The engine's own.
pub fn scaling_point(
    sizes: &[u32],
    objects: usize,
    seed: u64,
) -> Result<ScalingPoint, EngineError> {
    let mut engine = AllocXv::new().ok_or(EngineError::OutOfMemory { size: 0 })?;
    let mut rng = Rng::new(seed);
    let pick = |rng: &mut Rng| sizes[rng.below(sizes.len() as u64) as usize] as usize;
    let mut live = Vec::with_capacity(objects);
    let mut payload = 0;
    for slot in 0..objects {
        let size = pick(&mut rng);
        engine.alloc(slot, size)?;
        live.push((slot, size));
        payload += size;
    }
    let fill_ratio = engine.footprint().total_bytes() as f64 / payload as f64;
    let (mut alloc_times, mut free_times) = (Recorder::new(), Recorder::new());
    let mut spare = objects;
    for _ in 0..(objects * OVERWRITES_PER_OBJECT).min(OVERWRITES_MAX) {
        let chosen = rng.below(objects as u64) as usize;
        let size = pick(&mut rng);
        let start = Instant::now();
        engine.alloc(spare, size)?;
        alloc_times.record_since(start);
        let (old, old_size) = std::mem::replace(&mut live[chosen], (spare, size));
        let start = Instant::now();
        engine.free(old)?;
        free_times.record_since(start);
        spare = old;
        payload = payload + size - old_size;
    }
    Ok(ScalingPoint {
        objects: objects as u64,
        fill_ratio,
        churn_ratio: engine.footprint().total_bytes() as f64 / payload as f64,
        alloc_ns: alloc_times.latency(),
        free_ns: free_times.latency(),
    })
}
