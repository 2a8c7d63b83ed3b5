//! What the model targets share: input bytes as operations, a region of pages that is made once,
//! bytes that tell which object they belong to.
#![allow(dead_code, reason = "each target uses its part")]

use alloc_xv::{AllocError, Counting, Failing, RegionSource, Stats};

/// Operations of one input: bounds the time of an execution.
pub const OPS_MAX: usize = 200;

/// The input, taken from its start byte by byte; zeroes behind its end.
pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }

    pub fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// Eight bytes, most of them zero: one byte, where it stands, and whether to invert.
    pub fn number(&mut self) -> u64 {
        let (byte, how) = (u64::from(self.byte()), self.byte());
        let number = byte << (how & 63);
        if how & 64 != 0 { !number } else { number }
    }

    /// Bytes of an object: mostly as compressed pages have them, sometimes at the edges.
    pub fn size(&mut self) -> usize {
        let word = usize::from(self.word());
        match word >> 12 {
            0 => 1 + word % 24,
            1 => 4080 + word % 40,
            2 => 65544 - word % 24,
            3 => word * 8 % 65536 + 1,
            _ => 1 + word % 4096,
        }
    }

    /// A key: mostly near zero, sometimes in leaves and directories of its own.
    pub fn key(&mut self) -> u64 {
        let byte = u64::from(self.byte());
        match byte >> 6 {
            0..=2 => byte % 48,
            _ => (byte & 0x3f) << (9 + byte % 9),
        }
    }
}

/// A region of pages, made once: every execution takes its pages from it and gives all of
/// them back.
pub fn region<const PAGE: usize>(frames: usize) -> &'static RegionSource<PAGE> {
    let memory = Vec::leak(vec![0; (frames + 3) * PAGE]);
    Box::leak(Box::new(
        RegionSource::new(memory).expect("room for frames"),
    ))
}

/// Regions of all page sizes.
pub struct Regions {
    pub small: &'static RegionSource<4096>,
    pub middle: &'static RegionSource<16384>,
    pub large: &'static RegionSource<65536>,
}

impl Regions {
    pub fn new() -> Self {
        Self {
            small: region(300),
            middle: region(120),
            large: region(60),
        }
    }
}

/// A region whose taken frames are counted.
pub type Counted<const PAGE: usize> = Counting<&'static RegionSource<PAGE>>;

/// What allocator and cache take their pages from: it fails on demand.
pub type Source<'s, const PAGE: usize> = Failing<&'s Counted<PAGE>>;

pub fn is_no_memory(error: AllocError) -> bool {
    matches!(
        error,
        AllocError::OutOfPages | AllocError::LimitReached { .. }
    )
}

/// An operation that failed changes nothing of this.
pub fn without_pages_max(mut stats: Stats) -> Stats {
    stats.pages_max = 0;
    stats
}

/// Bytes that tell which object they belong to.
pub fn pattern(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for chunk in bytes.chunks_mut(8) {
        state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    bytes
}
