//! The interface every compared allocator is driven through.

use core::fmt;

/// An allocator under comparison. Objects are named by the caller's slot number.
///
/// An engine works on real memory: the payload of a live object is `size` writable bytes
/// that no other object shares, and the tests write and verify them.
pub trait Engine {
    /// Name as it stands in the results.
    fn name(&self) -> &'static str;

    /// Allocates `size` bytes for `slot`, which must be empty. The content is undefined.
    fn alloc(&mut self, slot: usize, size: usize) -> Result<(), EngineError>;

    /// Frees the object of `slot`, which must be live.
    fn free(&mut self, slot: usize) -> Result<(), EngineError>;

    /// Writes `bytes` (exactly as long as the object) into the object of `slot`.
    fn write(&mut self, slot: usize, bytes: &[u8]) -> Result<(), EngineError>;

    /// Reads the object of `slot` into `out` and returns its size.
    fn read(&mut self, slot: usize, out: &mut [u8]) -> Result<usize, EngineError>;

    /// Returns once the engine has done what it does by itself within a second.
    fn settle(&mut self) {}

    /// A full explicit compaction, where the engine has one.
    fn compact(&mut self) {}

    /// Bytes taken now.
    fn footprint(&self) -> Footprint;

    /// Resident bytes of this engine's memory, where they can be told apart.
    fn rss_bytes(&self) -> Option<u64> {
        None
    }
}

/// Bytes taken by an engine. Every part is counted alike for all engines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Whole pages that hold objects.
    pub data_bytes: u64,
    /// Tables and control structures, rounded up to whole pages each. What hands out pages is not
    /// counted, but for tables in it that grow with the pages.
    pub metadata_bytes: u64,
    /// What the owner keeps to find its live objects again (8 bytes each for pointers and handles).
    pub reference_bytes: u64,
}

impl Footprint {
    /// Everything together.
    pub fn total_bytes(&self) -> u64 {
        self.data_bytes + self.metadata_bytes + self.reference_bytes
    }
}

/// Why an engine refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineError {
    /// No memory for an object of this many bytes.
    OutOfMemory {
        /// Bytes asked for.
        size: usize,
    },
    /// The slot was live where it had to be empty, or empty where it had to be live.
    WrongSlotState {
        /// The slot.
        slot: usize,
    },
    /// An object of this size cannot be held.
    BadSize {
        /// Bytes asked for.
        size: usize,
        /// Largest size this engine holds.
        max: usize,
    },
    /// The object of the slot came back different from what was written: a bug of the engine.
    Corrupted {
        /// The slot.
        slot: usize,
    },
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::OutOfMemory { size } => write!(f, "no memory for an object of {size} bytes"),
            Self::WrongSlotState { slot } => write!(f, "slot {slot} is not in the expected state"),
            Self::BadSize { size, max } => {
                write!(f, "object of {size} bytes; this engine holds 1 to {max}")
            }
            Self::Corrupted { slot } => write!(f, "the object of slot {slot} is not as written"),
        }
    }
}

impl core::error::Error for EngineError {}
