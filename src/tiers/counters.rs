//! What is counted of the tiers.

use crate::error::Error;
use core::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// Bytes before a shared page: how often it is referred to.
pub(crate) const SHARED_HEAD: usize = 4;
/// Bytes before a patch: the same, and the number of its base.
pub(crate) const PATCH_HEAD: usize = 8;

/// Counters of what is done seldom: one set for all threads.
#[derive(Debug)]
pub(crate) struct TierCounters {
    /// Pages of the device that are linked to a cluster, or a shared object, or written back alone.
    pub(crate) cluster_pages: AtomicU64,
    pub(crate) shared_pages: AtomicU64,
    pub(crate) backed_pages: AtomicU64,
    /// Objects of clusters and shared pages, patches among the latter.
    pub(crate) clusters: AtomicU64,
    pub(crate) shared: AtomicU64,
    pub(crate) patches: AtomicU64,
    /// Shared pages that are in clusters, and one more than the highest number that one ever had.
    pub(crate) shared_members: AtomicU64,
    pub(crate) shared_end: AtomicU64,
    /// Clusters that are written back.
    pub(crate) backed_clusters: AtomicU64,
    /// Live units of the backing store.
    pub(crate) backed_units: AtomicU64,
    /// Ever done.
    pub(crate) recompressed: AtomicU64,
    pub(crate) clustered: AtomicU64,
    pub(crate) deduplicated: AtomicU64,
    pub(crate) patched: AtomicU64,
    pub(crate) promoted: AtomicU64,
    pub(crate) written_back: AtomicU64,
    pub(crate) backed_reads: AtomicU64,
    /// Somebody is the worker.
    working: AtomicBool,
}

/// This thread is the worker until this is dropped.
pub(crate) struct Working<'c>(&'c AtomicBool);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.store(false, Release);
    }
}

impl TierCounters {
    pub(crate) const fn new() -> Self {
        Self {
            cluster_pages: AtomicU64::new(0),
            shared_pages: AtomicU64::new(0),
            backed_pages: AtomicU64::new(0),
            clusters: AtomicU64::new(0),
            shared: AtomicU64::new(0),
            patches: AtomicU64::new(0),
            shared_members: AtomicU64::new(0),
            shared_end: AtomicU64::new(0),
            backed_clusters: AtomicU64::new(0),
            backed_units: AtomicU64::new(0),
            recompressed: AtomicU64::new(0),
            clustered: AtomicU64::new(0),
            deduplicated: AtomicU64::new(0),
            patched: AtomicU64::new(0),
            promoted: AtomicU64::new(0),
            written_back: AtomicU64::new(0),
            backed_reads: AtomicU64::new(0),
            working: AtomicBool::new(false),
        }
    }

    /// Makes this thread the worker, unless another is.
    pub(crate) fn enter(&self) -> Result<Working<'_>, Error> {
        match self.working.swap(true, Acquire) {
            true => Err(Error::Busy),
            false => Ok(Working(&self.working)),
        }
    }

    /// Objects that are no page's own.
    pub(crate) fn objects(&self) -> u64 {
        (get(&self.clusters) + get(&self.shared)).saturating_sub(get(&self.shared_members))
    }

    /// Pages that have no object of their own.
    pub(crate) fn linked_pages(&self) -> u64 {
        get(&self.cluster_pages) + get(&self.shared_pages) + get(&self.backed_pages)
    }

    /// Bytes before streams.
    pub(crate) fn head_bytes(&self) -> u64 {
        let patches = get(&self.patches);
        let pages = get(&self.shared).saturating_sub(patches + get(&self.shared_members));
        pages * SHARED_HEAD as u64 + patches * PATCH_HEAD as u64
    }

    /// Forgets what was ever done.
    pub(crate) fn reset(&self) {
        for counter in [
            &self.recompressed,
            &self.clustered,
            &self.deduplicated,
            &self.patched,
            &self.promoted,
            &self.written_back,
            &self.backed_reads,
        ] {
            counter.store(0, Relaxed);
        }
    }

    pub(crate) fn stat(&self) -> TierStat {
        TierStat {
            cluster_pages: get(&self.cluster_pages),
            clusters: get(&self.clusters),
            shared_pages: get(&self.shared_pages),
            shared: get(&self.shared),
            patches: get(&self.patches),
            shared_members: get(&self.shared_members),
            backed_pages: get(&self.backed_pages),
            backed_clusters: get(&self.backed_clusters),
            backed_bytes: get(&self.backed_units) * 16,
            recompressed: get(&self.recompressed),
            clustered: get(&self.clustered),
            deduplicated: get(&self.deduplicated),
            patched: get(&self.patched),
            promoted: get(&self.promoted),
            written_back: get(&self.written_back),
            backed_reads: get(&self.backed_reads),
        }
    }
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed).cast_signed().max(0).cast_unsigned()
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}

/// Takes off a counter.
pub(crate) fn sub(counter: &AtomicU64, count: u64) {
    counter.fetch_sub(count, Relaxed);
}

/// In which forms pages are, and what was done to get them there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TierStat {
    /// Pages in clusters.
    pub cluster_pages: u64,
    /// Clusters in memory.
    pub clusters: u64,
    /// Pages that are links to shared objects.
    pub shared_pages: u64,
    /// Shared objects, patches among them.
    pub shared: u64,
    /// Shared objects that are a difference from another.
    pub patches: u64,
    /// Shared objects that are in clusters.
    pub shared_members: u64,
    /// Pages written back by themselves.
    pub backed_pages: u64,
    /// Clusters written back.
    pub backed_clusters: u64,
    /// Bytes of live records in the backing store.
    pub backed_bytes: u64,
    /// Pages stored again by a denser codec, ever.
    pub recompressed: u64,
    /// Pages put into clusters, ever.
    pub clustered: u64,
    /// Pages found to be the same as another, ever.
    pub deduplicated: u64,
    /// Pages made a patch, ever.
    pub patched: u64,
    /// Pages that came back to the first codec because they were read again, ever.
    pub promoted: u64,
    /// Records written back, ever.
    pub written_back: u64,
    /// Records read back, ever.
    pub backed_reads: u64,
}

impl TierStat {
    /// zram's `bd_stat`: data in the backing store, reads and writes of it, in units of 4096 bytes.
    pub const fn bd_count(&self) -> u64 {
        self.backed_bytes.div_ceil(4096)
    }
}

/// What a worker has done, in one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Leaves of slots looked through.
    pub leaves: u64,
    /// Pages decoded.
    pub read: u64,
    /// Pages compressed.
    pub compressed: u64,
    /// Pages whose form changed.
    pub changed: u64,
    /// Pages left as they were because memory for the change was missing.
    pub no_space: u64,
}

impl Work {
    /// Adds up.
    pub const fn and(self, other: Self) -> Self {
        Self {
            leaves: self.leaves + other.leaves,
            read: self.read + other.read,
            compressed: self.compressed + other.compressed,
            changed: self.changed + other.changed,
            no_space: self.no_space + other.no_space,
        }
    }

    /// Pages' worth of work: what a budget is compared with.
    pub const fn units(&self) -> u64 {
        self.leaves + self.read + self.compressed
    }
}
