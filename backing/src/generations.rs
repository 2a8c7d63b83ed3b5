//! [`Generations`]: which generation a segment is in, for readers without a lock.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::OnceLock;

const CHUNK: usize = 4096;

/// A number for each segment, zero for those not in use. Room for the numbers is taken 4096 at a
/// time, as segments come into use: 8 bytes for 256 KiB.
pub(crate) struct Generations {
    chunks: Box<[OnceLock<Box<[AtomicU64]>>]>,
}

impl Generations {
    pub(crate) fn new(segments: u32) -> Self {
        let chunks = (segments as usize).div_ceil(CHUNK);
        Self {
            chunks: (0..chunks).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The generation that a segment is in; none if it is not in use.
    pub(crate) fn get(&self, segment: u32) -> Option<u64> {
        let chunk = self.chunks.get(segment as usize / CHUNK)?.get()?;
        let number = chunk.get(segment as usize % CHUNK)?;
        Some(number.load(Ordering::Acquire)).filter(|&number| number != 0)
    }

    pub(crate) fn set(&self, segment: u32, generation: u64) {
        let Some(chunk) = self.chunks.get(segment as usize / CHUNK) else {
            debug_assert!(false, "segment {segment} is not in the store");
            return;
        };
        let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| AtomicU64::new(0)).collect());
        if let Some(number) = chunk.get(segment as usize % CHUNK) {
            number.store(generation, Ordering::Release);
        }
    }
}
