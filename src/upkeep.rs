//! What keeps a cache in order, and says how it is: limits, packing, statistics.

use crate::cache::{Cache, WORD_LEN};
use crate::checksum::CHECKSUM_LEN;
use crate::counters::{Counters, IoStat, Memory, MmStat, SIZE_CLASSES};
use crate::workspace::Shared;
use alloc_xv::{Compacted, PageSource};
use compress::Codec;
use core::ops::Deref;
use core::sync::atomic::Ordering::Relaxed;
use lock_api::RawMutex;

impl<S, C, W, L, const PAGE: usize, const ARENAS: usize> Cache<S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
    L: RawMutex,
{
    /// Limits the memory taken, in bytes rounded up to pages of the source, tables included; 0
    /// for no limit. What pages are stored in stays taken; puts fail until enough is
    /// discarded.
    pub fn set_mem_limit(&self, bytes: u64) {
        let pages = match bytes {
            0 => usize::MAX,
            _ => usize::try_from(bytes.div_ceil(S::PAGE_SIZE as u64)).unwrap_or(usize::MAX),
        };
        self.slots.set_limit_pages(pages);
    }

    /// `mem_used_max` starts again from what is used now.
    pub fn reset_mem_used_max(&self) {
        self.slots.reset_pages_max();
    }

    /// Packs the stored pages together, all of them or `objects`; frees what memory that gives.
    pub fn compact(&self, objects: u64) -> Compacted {
        self.slots.compact(objects)
    }

    /// Packs the arenas that are below their target fill, in bounded steps: what a thread or worker
    /// of the embedder's calls now and then.
    pub fn compact_to_target(&self) {
        self.slots.compact_to_target();
    }

    /// How many objects a discard or an overwrite may move while its arena is below its target
    /// fill: 1 unless it is changed, 0 where somebody calls [`compact`](Self::compact) or
    /// [`compact_to_target`](Self::compact_to_target).
    pub fn set_inline_moves(&self, objects: u32) {
        self.slots.set_inline_moves(objects);
    }

    /// The arenas' locks, before anybody uses the cache: for locks that need more than
    /// [`RawMutex::INIT`]. Such a cache must not be moved afterwards.
    pub fn raw_locks(&mut self) -> impl ExactSizeIterator<Item = &L> {
        self.slots.raw_locks()
    }

    /// zram's `mm_stat`.
    pub fn mm_stat(&self) -> MmStat {
        let stats = self.slots.stats();
        let same_pages = self.sum(|counters| &counters.same_pages);
        let words = self
            .sum(|counters| &counters.word_objects)
            .min(stats.objects);
        let coded = (stats.objects - words)
            .saturating_sub(self.tiers.objects())
            .saturating_add(self.tiers.linked_pages());
        let sums = if self.config.checksum {
            stats.objects * CHECKSUM_LEN as u64
        } else {
            0
        };
        let stored_words = words * WORD_LEN as u64 + self.tiers.head_bytes();
        let limit = self.slots.limit_pages();
        MmStat {
            orig_data_size: (coded + same_pages) * PAGE as u64,
            compr_data_size: stats.payload_bytes.saturating_sub(sums + stored_words),
            mem_used_total: stats.used_bytes(),
            mem_limit: if limit == usize::MAX {
                0
            } else {
                limit as u64 * stats.page_size
            },
            mem_used_max: stats.pages_max * stats.page_size,
            same_pages,
            pages_compacted: stats.pages_compacted,
            huge_pages: self.sum(|counters| &counters.huge_pages),
            huge_pages_since: self.sum(|counters| &counters.huge_pages_since),
        }
    }

    /// zram's `io_stat`.
    pub fn io_stat(&self) -> IoStat {
        IoStat {
            failed_reads: self.sum(|counters| &counters.failed_reads),
            failed_writes: self.sum(|counters| &counters.failed_writes),
            invalid_io: self.sum(|counters| &counters.invalid_io),
            notify_free: self.sum(|counters| &counters.notify_free),
            reads: self.sum(|counters| &counters.reads),
            writes: self.sum(|counters| &counters.writes),
        }
    }

    /// Stored pages by compressed size, in sixteenths of a page: `[0]` are those of up to a
    /// sixteenth, `[15]` holds the ones that are stored raw. Same-filled pages are in none.
    pub fn size_classes(&self) -> [u64; SIZE_CLASSES] {
        core::array::from_fn(|class| self.sum(|counters| &counters.sizes[class]))
    }

    /// Where the memory goes.
    pub fn memory(&self) -> Memory {
        let stats = self.slots.stats();
        let beside = size_of::<Self>() as u64;
        Memory {
            mem_used_total: stats.used_bytes(),
            beside,
            metadata: stats.metadata_pages * stats.page_size + beside,
            blocks: stats.block_bytes,
        }
    }

    /// Checks every invariant of the allocator, and that links and what they stand for agree. For
    /// tests: it takes long, and no other thread may use the cache.
    pub fn check(&self) -> Result<(), &'static str> {
        self.slots.check()?;
        self.check_tiers()
    }

    /// All arenas' counters of a kind. A page can be taken off its counter by who overwrites it
    /// before it was added by who stored it, so single counters, and for a moment their sum, may
    /// be below zero.
    fn sum(&self, counter: impl Fn(&Counters) -> &core::sync::atomic::AtomicU64) -> u64 {
        let sum = self.counters.iter().fold(0u64, |sum, counters| {
            sum.wrapping_add(counter(counters).load(Relaxed))
        });
        sum.cast_signed().max(0).cast_unsigned()
    }
}
