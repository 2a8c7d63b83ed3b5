//! Statistics, under zram's names.

use crate::error::Error;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Classes of compressed sizes: sixteenths of a page.
pub const SIZE_CLASSES: usize = 16;

/// Counters of some threads. One set may count a page down that another counted up, so only
/// sums mean something.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) same_pages: AtomicU64,
    /// Same-filled pages whose word did not fit into the slot.
    pub(crate) word_objects: AtomicU64,
    pub(crate) huge_pages: AtomicU64,
    pub(crate) huge_pages_since: AtomicU64,
    pub(crate) reads: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) failed_reads: AtomicU64,
    pub(crate) failed_writes: AtomicU64,
    pub(crate) invalid_io: AtomicU64,
    pub(crate) notify_free: AtomicU64,
    /// Stored pages by compressed size; see [`size_class`].
    pub(crate) sizes: [AtomicU64; SIZE_CLASSES],
}

impl Counters {
    pub(crate) const fn new() -> Self {
        Self {
            same_pages: AtomicU64::new(0),
            word_objects: AtomicU64::new(0),
            huge_pages: AtomicU64::new(0),
            huge_pages_since: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            failed_reads: AtomicU64::new(0),
            failed_writes: AtomicU64::new(0),
            invalid_io: AtomicU64::new(0),
            notify_free: AtomicU64::new(0),
            sizes: [const { AtomicU64::new(0) }; SIZE_CLASSES],
        }
    }
}

impl Counters {
    /// Counts a read that failed. What is only somewhere else has not failed.
    pub(crate) fn failed_read(&self, error: Error) {
        if !matches!(error, Error::WrittenBack(_)) {
            count(&self.failed_reads);
        }
    }

    /// The same for a write.
    pub(crate) fn failed_write(&self, error: Error) {
        if !matches!(error, Error::WrittenBack(_)) {
            count(&self.failed_writes);
        }
    }
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// One less.
pub(crate) fn uncount(counter: &AtomicU64) {
    counter.fetch_sub(1, Relaxed);
}

/// The class of a page that was compressed to `size` bytes: class 0 is 1 byte to a sixteenth of a
/// page, the last one ends with a whole page.
pub(crate) fn size_class<const PAGE: usize>(size: usize) -> usize {
    (size.saturating_sub(1) / (PAGE / SIZE_CLASSES)).min(SIZE_CLASSES - 1)
}

/// zram's `mm_stat`. Sizes in bytes.
///
/// `Display` writes the line that `/sys/block/zramN/mm_stat` has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MmStat {
    /// Uncompressed size of the pages stored.
    pub orig_data_size: u64,
    /// Compressed size of the pages stored; a page stored raw counts whole, a same-filled one not.
    pub compr_data_size: u64,
    /// Memory taken from the page source, with fragmentation and all tables in pages.
    pub mem_used_total: u64,
    /// The most memory that may be taken; 0 for no limit.
    pub mem_limit: u64,
    /// The most memory ever taken.
    pub mem_used_max: u64,
    /// Pages that are one word repeated and need no memory.
    pub same_pages: u64,
    /// Pages given back by compaction.
    pub pages_compacted: u64,
    /// Pages stored raw because they did not shrink.
    pub huge_pages: u64,
    /// Pages that were ever stored raw.
    pub huge_pages_since: u64,
}

impl fmt::Display for MmStat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:8} {:8} {:8} {:8} {:8} {:8} {:8} {:8} {:8}",
            self.orig_data_size,
            self.compr_data_size,
            self.mem_used_total,
            self.mem_limit,
            self.mem_used_max,
            self.same_pages,
            self.pages_compacted,
            self.huge_pages,
            self.huge_pages_since
        )
    }
}

/// zram's `io_stat`, and how often pages were read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IoStat {
    /// Reads of a page that failed.
    pub failed_reads: u64,
    /// Writes of a page that failed.
    pub failed_writes: u64,
    /// Requests past the end, or not made of whole sectors.
    pub invalid_io: u64,
    /// Pages that were discarded.
    pub notify_free: u64,
    /// Reads of a page or a part of it.
    pub reads: u64,
    /// Writes of a page or a part of it.
    pub writes: u64,
}

/// Where the memory goes. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// Taken from the page source: zram's `mem_used_total`.
    pub mem_used_total: u64,
    /// Beside it: the cache's own struct.
    pub beside: u64,
    /// What of both holds no stored page: slots, page table, structs.
    pub metadata: u64,
    /// Blocks: stored bytes, checksums, headers, rounding.
    pub blocks: u64,
}
