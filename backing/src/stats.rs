//! [`Stats`]: what a log has and has done.

use crate::plan::BLOCK_LEN;
use crate::segments::Sums;
use crate::token::UNIT_LEN;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Figures of a log. Bytes, unless a name says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Blocks that take room in the store.
    pub allocated: u64,
    /// Live records, as they were handed over; estimated from what the cleaner last heard.
    pub payload_live: u64,
    /// Live records, as they lie: with tag and padding.
    pub stored_live: u64,
    /// Segments in use.
    pub segments_used: u32,
    /// Segments that can be opened.
    pub segments_free: u32,
    /// Records written, moved ones included.
    pub records_written: u64,
    /// Records that the cleaner moved.
    pub records_moved: u64,
    /// Bytes of the records written, as they were handed over.
    pub payload_written: u64,
    /// Bytes written to the store.
    pub bytes_written: u64,
    /// Records asked for.
    pub reads: u64,
    /// Bytes of the records given out.
    pub payload_read: u64,
    /// Reads that the store failed.
    pub read_errors: u64,
    /// Reads that found something else.
    pub damaged: u64,
    /// Writes that the store failed.
    pub write_errors: u64,
    /// Blocks that could not be given back.
    pub discard_errors: u64,
    /// Times that the store said, later, that something it had taken was lost.
    pub settle_errors: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) records_written: AtomicU64,
    pub(crate) records_moved: AtomicU64,
    pub(crate) payload_written: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
    pub(crate) reads: AtomicU64,
    pub(crate) payload_read: AtomicU64,
    pub(crate) read_errors: AtomicU64,
    pub(crate) damaged: AtomicU64,
    pub(crate) write_errors: AtomicU64,
    pub(crate) discard_errors: AtomicU64,
    pub(crate) settle_errors: AtomicU64,
}

impl Counters {
    pub(crate) fn stats(&self, sums: Sums, segments_used: u32, segments_free: u32) -> Stats {
        Stats {
            allocated: sums.blocks * BLOCK_LEN,
            payload_live: sums.payload_live,
            stored_live: sums.live_units * UNIT_LEN as u64,
            segments_used,
            segments_free,
            records_written: self.records_written.load(Relaxed),
            records_moved: self.records_moved.load(Relaxed),
            payload_written: self.payload_written.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
            reads: self.reads.load(Relaxed),
            payload_read: self.payload_read.load(Relaxed),
            read_errors: self.read_errors.load(Relaxed),
            damaged: self.damaged.load(Relaxed),
            write_errors: self.write_errors.load(Relaxed),
            discard_errors: self.discard_errors.load(Relaxed),
            settle_errors: self.settle_errors.load(Relaxed),
        }
    }
}
