//! The owner's side of an engine: what it keeps to find its objects again.
//!
//! A slot is one 8-byte word, as in zram's table of its zsmalloc handles: 48 bits of location
//! (pointer, address or handle) and 16 bits of size. An empty slot is 0.
#![deny(unsafe_code)]

use super::memory::Table;
use crate::engine::EngineError;

/// Slots that can be named: 2^28 (1 TiB of pages).
const SLOTS_MAX: usize = 1 << 28;

const SIZE_BITS: u32 = 16;

/// A live object as its owner knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Pointer, address or handle; below 2^48.
    pub(crate) location: u64,
    /// Bytes asked for.
    pub(crate) size: usize,
}

/// Slot number to [`Reference`].
#[derive(Debug)]
pub(crate) struct Slots {
    words: Table<u64>,
    live: u64,
}

impl Slots {
    /// All slots empty.
    pub(crate) fn new() -> Self {
        Self {
            words: Table::new(SLOTS_MAX),
            live: 0,
        }
    }

    /// Makes sure that `slot` exists and is empty and that `size` is 1 to `max`.
    pub(crate) fn prepare(
        &mut self,
        slot: usize,
        size: usize,
        max: usize,
    ) -> Result<(), EngineError> {
        if size == 0 || size > max {
            return Err(EngineError::BadSize { size, max });
        }
        self.words.cover(slot, 0)?;
        match self.words[slot] {
            0 => Ok(()),
            _ => Err(EngineError::WrongSlotState { slot }),
        }
    }

    /// Fills `slot`, which was prepared.
    pub(crate) fn fill(&mut self, slot: usize, reference: Reference) {
        debug_assert!(reference.location < 1 << 48 && reference.size < 1 << SIZE_BITS);
        self.words[slot] = (reference.location << SIZE_BITS) | reference.size as u64;
        self.live += 1;
    }

    /// The object of `slot`.
    pub(crate) fn get(&self, slot: usize) -> Result<Reference, EngineError> {
        match self.words.as_slice().get(slot) {
            None | Some(0) => Err(EngineError::WrongSlotState { slot }),
            Some(word) => Ok(Reference {
                location: word >> SIZE_BITS,
                size: (word & ((1 << SIZE_BITS) - 1)) as usize,
            }),
        }
    }

    /// Empties `slot` and returns what it was.
    pub(crate) fn empty(&mut self, slot: usize) -> Result<Reference, EngineError> {
        let reference = self.get(slot)?;
        self.words[slot] = 0;
        self.live -= 1;
        Ok(reference)
    }

    /// The object of `slot`, which must be exactly `len` bytes.
    pub(crate) fn get_exact(&self, slot: usize, len: usize) -> Result<Reference, EngineError> {
        let reference = self.get(slot)?;
        if reference.size == len {
            Ok(reference)
        } else {
            Err(EngineError::BadSize {
                size: len,
                max: reference.size,
            })
        }
    }

    /// The object of `slot`, which must fit into `len` bytes.
    pub(crate) fn get_fitting(&self, slot: usize, len: usize) -> Result<Reference, EngineError> {
        let reference = self.get(slot)?;
        if reference.size <= len {
            Ok(reference)
        } else {
            Err(EngineError::BadSize {
                size: reference.size,
                max: len,
            })
        }
    }

    /// 8 bytes for each live object.
    pub(crate) fn reference_bytes(&self) -> u64 {
        self.live * size_of::<u64>() as u64
    }

    /// Live objects' references.
    #[cfg(any(test, target_env = "gnu"))]
    pub(crate) fn live_references(&self) -> impl Iterator<Item = Reference> + '_ {
        (0..self.words.as_slice().len()).filter_map(|slot| self.get(slot).ok())
    }
}
