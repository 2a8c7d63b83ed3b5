//! [`Readers`]: what decompresses what the rungs made, for all who read.
//!
//! A set is a quarter of a MiB or less, and hardly ever used: most pages that are read are the first
//! codec's. So there is one, and more only as far as several read at the same time.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crossbeam_utils::Backoff;
use spin::mutex::{SpinMutex, SpinMutexGuard};

use super::Ladder;
#[cfg(feature = "zstd")]
use crate::codec::{Codec, CodecId};
use crate::error::WorkspaceError;
use crate::memory::zeroed;
#[cfg(feature = "zstd")]
use crate::zstd::Decompressor;

/// The most sets that there are. Who reads while all are in use waits.
pub const READERS_MAX: usize = 32;

/// What a stored unit may have beside its stream: a header, a checksum.
pub(super) const EXTRA_LEN_MAX: usize = 64;

/// What one reader needs.
#[derive(Debug)]
pub(super) struct Set {
    /// A stored unit that lies in several pieces, put together.
    pub(super) stored: Box<[u8]>,
    /// A decoded unit.
    pub(super) unit: Box<[u8]>,
    pub(super) decoders: Decoders,
}

/// What decoders need beside the first codec's workspace.
#[derive(Debug)]
pub(super) struct Decoders {
    #[cfg(feature = "zstd")]
    pub(super) zstd: Option<Decompressor>,
}

/// The sets of a ladder. Each is used by who has its lock, which is held for one page or unit; nobody who has
/// it waits for anything.
#[derive(Debug)]
pub(super) struct Readers {
    places: [SpinMutex<Option<Set>>; READERS_MAX],
    /// The memory of all sets.
    bytes: AtomicUsize,
}

impl Default for Readers {
    fn default() -> Self {
        Self {
            places: [const { SpinMutex::new(None) }; READERS_MAX],
            bytes: AtomicUsize::new(0),
        }
    }
}

impl Readers {
    /// Makes sets until there are `count`.
    pub(super) fn reserve(&self, ladder: &Ladder, count: usize) -> Result<(), WorkspaceError> {
        for place in self.places.iter().take(count) {
            let backoff = Backoff::new();
            let mut set = loop {
                match place.try_lock() {
                    Some(set) => break set,
                    None => backoff.snooze(),
                }
            };
            if set.is_none() {
                self.make(&mut set, ladder)?;
            }
        }
        Ok(())
    }

    /// A set that nobody uses. The first was made with a workspace, so there is at least one.
    pub(super) fn lend(&self, ladder: &Ladder) -> Lent<'_> {
        let backoff = Backoff::new();
        loop {
            let mut makes = true;
            for place in self.places.iter() {
                let Some(mut set) = place.try_lock() else {
                    continue;
                };
                if set.is_none() && makes {
                    makes = self.make(&mut set, ladder).is_ok();
                }
                if set.is_some() {
                    return Lent(set);
                }
            }
            backoff.snooze();
        }
    }

    fn make(&self, place: &mut Option<Set>, ladder: &Ladder) -> Result<(), WorkspaceError> {
        let set = Set::new(ladder)?;
        self.bytes.fetch_add(set.heap_bytes(), Relaxed);
        *place = Some(set);
        Ok(())
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.load(Relaxed)
    }
}

/// A set, as long as it is lent.
#[derive(Debug)]
pub(super) struct Lent<'r>(SpinMutexGuard<'r, Option<Set>>);

impl Lent<'_> {
    /// There is one.
    pub(super) fn set(&mut self) -> Option<&mut Set> {
        self.0.as_mut()
    }
}

impl Set {
    fn new(ladder: &Ladder) -> Result<Self, WorkspaceError> {
        Ok(Self {
            stored: zeroed(ladder.unit_len + EXTRA_LEN_MAX)?,
            unit: zeroed(ladder.unit_len)?,
            decoders: Decoders {
                // The first codec's workspace has one if it is zstd.
                #[cfg(feature = "zstd")]
                zstd: (ladder.first.id() != CodecId::Zstd && ladder.knows(CodecId::Zstd))
                    .then(Decompressor::new)
                    .transpose()?,
            },
        })
    }

    fn heap_bytes(&self) -> usize {
        let bytes = self.stored.len() + self.unit.len();
        #[cfg(feature = "zstd")]
        let bytes = bytes
            + self
                .decoders
                .zstd
                .as_ref()
                .map_or(0, Decompressor::heap_bytes);
        bytes
    }
}
