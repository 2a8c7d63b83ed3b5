//! What the model targets share: input bytes as operations, a region of pages that is made once,
//! bytes that tell which object they belong to.
#![allow(dead_code, reason = "each target uses its part")]

use alloc_xv::{
    AllocError, Counting, Failing, FrameId, OutOfPages, PageSource, RegionSource, Stats,
};
use std::collections::HashSet;
use std::sync::{LazyLock, Mutex};

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
            // Few are big: copying them takes the time of many others.
            2 if word % 8 == 0 => 65544 - word / 8 % 24,
            3 if word % 4 == 0 => word * 8 % 65536 + 1,
            _ => 1 + word % 4096,
        }
    }

    /// A key: mostly near zero, sometimes in leaves and directories of its own.
    pub fn key(&mut self) -> u64 {
        let byte = u64::from(self.byte());
        match byte >> 6 {
            0..=2 => byte % 48,
            _ => (byte & 7) << (9 + byte % 13),
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

/// A source with windows, in memory that keeps what was written to frames that were given back:
/// the contract lets it.
pub struct Windows {
    base: *mut u8,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    taken: HashSet<u32>,
    open: [bool; Windows::COUNT],
}

// SAFETY: the address of memory that is never unmapped; frames are handed out under a lock.
unsafe impl Send for Windows {}
// SAFETY: as above.
unsafe impl Sync for Windows {}

impl Windows {
    const COUNT: usize = 8;
    /// Frames of a window.
    const FRAMES: u32 = 1 << 22;
    /// Most frames taken.
    const CAPACITY: usize = 300;

    pub fn new() -> Self {
        // SAFETY: a new anonymous mapping touches nothing that exists.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                Self::COUNT * Self::FRAMES as usize * 4096,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        assert_ne!(base, libc::MAP_FAILED, "address space");
        Self {
            base: base.cast(),
            state: Mutex::default(),
        }
    }
}

// SAFETY: windows are disjoint parts of one mapping, every frame of them has one taker at a
// time, and nothing but the takers changes the memory.
unsafe impl PageSource for Windows {
    const PAGE_SIZE: usize = 4096;
    const WINDOWS: bool = true;

    fn open_window(&self, frames: u32) -> Result<FrameId, OutOfPages> {
        assert!(frames <= Self::FRAMES);
        let mut state = self.state.lock().unwrap();
        let place = state.open.iter().position(|open| !open).ok_or(OutOfPages)?;
        state.open[place] = true;
        Ok(FrameId::new(place as u32 * Self::FRAMES).unwrap())
    }

    fn close_window(&self, first: FrameId) {
        let mut state = self.state.lock().unwrap();
        let window = first.number() / Self::FRAMES;
        assert!(
            state
                .taken
                .iter()
                .all(|frame| frame / Self::FRAMES != window)
        );
        let bytes = Self::FRAMES as usize * 4096;
        // SAFETY: the window's frames are all free, and it is nobody's until it is opened again,
        // when it reads as zero.
        let dropped =
            unsafe { libc::madvise(self.address(first).cast(), bytes, libc::MADV_DONTNEED) };
        assert_eq!(dropped, 0, "what a window held must go with it");
        assert!(std::mem::take(&mut state.open[window as usize]));
    }

    fn take(&self, wanted: Option<FrameId>) -> Result<FrameId, OutOfPages> {
        let frame = wanted.expect("every page of a pool has a place");
        let mut state = self.state.lock().unwrap();
        assert!(state.open[(frame.number() / Self::FRAMES) as usize]);
        if state.taken.len() >= Self::CAPACITY {
            return Err(OutOfPages);
        }
        assert!(state.taken.insert(frame.number()), "taken twice");
        Ok(frame)
    }

    unsafe fn give_back(&self, frame: FrameId) {
        let mut state = self.state.lock().unwrap();
        assert!(state.taken.remove(&frame.number()), "given back twice");
    }

    fn address(&self, frame: FrameId) -> *mut u8 {
        self.base.wrapping_add(frame.number() as usize * 4096)
    }
}

/// Regions of all page sizes, and windows.
pub struct Regions {
    pub windows: &'static Windows,
    pub small: &'static RegionSource<4096>,
    pub middle: &'static RegionSource<16384>,
    pub large: &'static RegionSource<65536>,
}

impl Regions {
    pub fn new() -> Self {
        Self {
            windows: Box::leak(Box::new(Windows::new())),
            small: region(300),
            middle: region(120),
            large: region(60),
        }
    }
}

/// Pages whose taken frames are counted.
pub type Counted<P> = Counting<&'static P>;

/// What allocator and cache take their pages from: it fails on demand.
pub type Source<'s, P> = Failing<&'s Counted<P>>;

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

/// Bytes that tell which object they belong to: a piece of one long noise, from a place that the
/// seed chooses. Made once, as making them costs more than all else.
pub fn pattern(seed: u64, size: usize) -> Vec<u8> {
    const PLACES: usize = 1 << 16;
    /// As long as a request's data that a fuzz target makes.
    const SIZE_MAX: usize = 1 << 18;
    static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut state = 1u64;
        let words = std::iter::repeat_with(|| {
            state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
            state ^ state >> 29
        });
        words
            .take((PLACES + SIZE_MAX) / 8)
            .flat_map(u64::to_le_bytes)
            .collect()
    });
    let place = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize % PLACES;
    NOISE[place..place + size].to_vec()
}
