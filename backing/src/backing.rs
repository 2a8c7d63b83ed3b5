//! [`Backing`]: the log.

use crate::error::{OpenError, ReadError, WriteError};
use crate::generations::Generations;
use crate::plan::{BLOCK_LEN, Blocks};
use crate::seal::{Kind, Place, Sealer, sealed_units};
use crate::segments::Segments;
use crate::stats::{Counters, Stats};
use crate::store::Store;
use crate::token::{RECORD_MAX, SEGMENT_LEN, SEGMENTS_MAX, Token};
use crate::writer::{Pinned, Who, Writer};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use parking_lot::Mutex;

/// Segments that only the cleaner opens.
pub(crate) const RESERVE: u32 = 2;
/// Segments of the smallest store.
const SEGMENTS_MIN: u64 = 8;

/// How a store is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Bytes that the file may have for 1,000 bytes of live records once it is clean: 1,020 or
    /// more. It cannot be held for records of a few hundred bytes, which take 25 bytes more each.
    pub bytes_permille_max: u32,
    /// Segments at most: as many as the owner can count live units of.
    pub segments_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bytes_permille_max: 1050,
            segments_max: SEGMENTS_MAX,
        }
    }
}

/// An encrypted, packed log of records in a [`Store`]. See the crate's text.
pub struct Backing {
    pub(crate) store: Box<dyn Store>,
    pub(crate) options: Options,
    pub(crate) sealer: Sealer,
    pub(crate) generations: Generations,
    /// Taken after `writer`, and never during I/O.
    pub(crate) segments: Mutex<Segments>,
    /// Held while a batch is written or cleaning goes on. Readers do not take it.
    pub(crate) writer: Mutex<Writer>,
    pub(crate) counters: Counters,
    pub(crate) no_discard: AtomicBool,
}

/// A batch that was written and whose tokens the owner is linking: as long as this lives, the
/// cleaner leaves its segments alone, whatever they are said to have.
#[must_use = "dropping it says that all tokens of the batch are linked and counted as live"]
pub struct Batch<'a> {
    backing: &'a Backing,
    pinned: Pinned,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.backing.unpin(&self.pinned);
    }
}

impl core::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Batch").field(&self.pinned).finish()
    }
}

impl core::fmt::Debug for Backing {
    /// Figures; never the key.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let stats = self.stats();
        f.debug_struct("Backing")
            .field("stats", &stats)
            .finish_non_exhaustive()
    }
}

impl Backing {
    /// An empty log with a key of its own, which exists in memory only and is overwritten when
    /// the log is dropped.
    ///
    /// # Errors
    /// If the store has fewer than 2 MiB, an option is out of its range, or there are no random
    /// bytes.
    pub fn new(store: Box<dyn Store>, options: Options) -> Result<Self, OpenError> {
        let (len, min) = (store.len(), SEGMENTS_MIN * SEGMENT_LEN);
        let most = options.segments_max.min(SEGMENTS_MAX);
        let segments = (store.span() / SEGMENT_LEN).min(most.into());
        if len < min || segments < SEGMENTS_MIN {
            return Err(OpenError::TooSmall { len, min });
        }
        if !(1020..=100_000).contains(&options.bytes_permille_max) {
            return Err(OpenError::BadOption("bytes_permille_max"));
        }
        let segments = segments as u32;
        let sealer = Sealer::new().map_err(|error| OpenError::NoKey(error.into()))?;
        Ok(Self {
            store,
            options,
            sealer,
            generations: Generations::new(segments),
            segments: Mutex::new(Segments::new(segments)),
            writer: Mutex::default(),
            counters: Counters::default(),
            no_discard: AtomicBool::new(false),
        })
    }

    /// Encrypts a batch of records (key, bytes) and writes them one behind the other: one write
    /// for each segment that the batch is in. `tokens` gets one for each record, in the order of
    /// the records; what was in it before is gone.
    ///
    /// Link the tokens and count their units as live in their segments, then drop the [`Batch`].
    ///
    /// # Errors
    /// On any failure nothing of the batch counts as written, and `tokens` is empty. Earlier
    /// records are as they were.
    pub fn write(
        &self,
        records: &[(u64, &[u8])],
        tokens: &mut Vec<Token>,
    ) -> Result<Batch<'_>, WriteError> {
        let mut writer = self.writer.lock();
        let pinned = self.write_with(&mut writer, records, tokens, Who::Owner)?;
        Ok(Batch {
            backing: self,
            pinned,
        })
    }

    /// Reads a record back into `out`, whose former content is gone. No lock is taken.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] if this key's record does not lie there, or not unharmed;
    /// [`ReadError::Io`] if the store failed. `out` is empty then.
    pub fn read(&self, key: u64, token: Token, out: &mut Vec<u8>) -> Result<(), ReadError> {
        out.clear();
        self.counters.reads.fetch_add(1, Relaxed);
        let result = self.read_there(key, token, out);
        match &result {
            Ok(()) => {}
            Err(error) => {
                out.clear();
                let counter = match error {
                    ReadError::Damaged => &self.counters.damaged,
                    ReadError::Io(_) => &self.counters.read_errors,
                };
                counter.fetch_add(1, Relaxed);
            }
        }
        result
    }

    /// A number that changes, and never comes back, when the place of a token is used again. As long as it
    /// is the same before a read and later, what was read is what lies there.
    #[must_use]
    pub fn generation(&self, token: Token) -> Option<u64> {
        self.generations.get(token.segment())
    }

    fn read_there(&self, key: u64, token: Token, out: &mut Vec<u8>) -> Result<(), ReadError> {
        if token.units() > sealed_units(RECORD_MAX) {
            return Err(ReadError::Damaged);
        }
        let generation = self.generations.get(token.segment());
        let generation = generation.ok_or(ReadError::Damaged)?;
        out.resize(token.stored_len(), 0);
        self.store
            .read_at(token.offset(), out)
            .map_err(ReadError::Io)?;
        let place = Place {
            kind: Kind::Record,
            key,
            generation,
            token,
        };
        let len = self
            .sealer
            .open(place, out)
            .map_err(|_| ReadError::Damaged)?;
        out.truncate(len);
        self.counters.payload_read.fetch_add(len as u64, Relaxed);
        Ok(())
    }

    /// What the log has and has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let segments = self.segments.lock();
        let sums = segments.sums;
        let free = segments.free_count();
        let used = segments.count_max() - free;
        drop(segments);
        self.counters.stats(sums, used, free)
    }

    /// Segments that may ever be in use: tokens name lower ones.
    #[must_use]
    pub fn segments(&self) -> u32 {
        self.segments.lock().count_max()
    }

    /// The store's bytes in use, to the block.
    #[must_use]
    pub fn allocated_bytes(&self) -> u64 {
        self.segments.lock().sums.blocks * BLOCK_LEN
    }

    /// Whether single blocks can be given back.
    pub(crate) fn is_sparse(&self) -> bool {
        self.store.block_len() != 0
    }

    pub(crate) fn may_discard(&self) -> bool {
        !self.no_discard.load(Relaxed)
    }

    /// Blocks that are given back together.
    pub(crate) fn grain(&self) -> u32 {
        let blocks = self.store.block_len().div_ceil(BLOCK_LEN).clamp(1, 64);
        (blocks as u32).next_power_of_two()
    }

    /// Of these blocks those whose whole group is among them.
    pub(crate) fn whole_grains(&self, blocks: Blocks) -> Blocks {
        let grain = self.grain();
        let group = if grain >= 64 {
            Blocks::MAX
        } else {
            (1 << grain) - 1
        };
        (0..64)
            .step_by(grain as usize)
            .map(|first| group << first)
            .filter(|group| blocks & group == *group)
            .fold(0, |whole, group| whole | group)
    }
}
