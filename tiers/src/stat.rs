//! What is counted.

use compcache::{IoStat, Memory, MmStat, TierStat};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Everything that is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stat {
    /// zram's `io_stat`.
    pub io: IoStat,
    /// zram's `mm_stat`.
    pub mm: MmStat,
    /// In which forms pages are, and how they got there.
    pub tiers: TierStat,
    /// Where the memory goes. Workspaces are not in it; see
    /// [`Tiered::workspace_bytes`](crate::Tiered::workspace_bytes).
    pub memory: Memory,
    /// The backing store; zeroes without one.
    pub backing: BackingStat,
    /// Bytes of the dictionary that cold pages are compressed with; 0 without one. They are counted with the workspaces.
    pub dictionary: u64,
    /// Puts that found no memory and made some.
    pub squeezed: u64,
    /// Ticks of the policy that had something to do.
    pub ticks: u64,
    /// Writing back stopped because of an error.
    pub write_errors: u64,
}

/// What the backing store has. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackingStat {
    /// Of the file or device that are in use.
    pub allocated: u64,
    /// Of live records, with what belongs to them.
    pub live: u64,
    /// Ever written, and ever read.
    pub written: u64,
    /// See there.
    pub read: u64,
    /// Reads and writes that failed.
    pub errors: u64,
    /// What may still be written back, in pages of 4096 bytes; `None` for no limit.
    pub limit: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) squeezed: AtomicU64,
    pub(crate) ticks: AtomicU64,
    pub(crate) write_errors: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
