//! What all engines with fixed, contiguous objects have in common.
//!
//! Slab, buddy, first fit and xvMalloc differ only in where they place an object. [`Placement`]
//! is that rule; [`Addressed`] adds pages, slots and payload access and makes it an [`Engine`].
#![deny(unsafe_code)]

use super::pages::{Address, Pages};
use super::slots::{Reference, Slots};
use crate::engine::{Engine, EngineError, Footprint};

/// The rule by which an allocator places objects in pages.
pub(crate) trait Placement {
    /// Name in the results.
    const NAME: &'static str;
    /// Largest object.
    const SIZE_MAX: usize;

    /// Finds room for `size` (1 to [`Self::SIZE_MAX`]) contiguous bytes.
    fn place(&mut self, pages: &mut Pages, size: usize) -> Result<Address, EngineError>;

    /// Takes back what `place` gave out for `size`.
    fn release(&mut self, pages: &mut Pages, at: Address, size: usize);

    /// Control structures, in whole pages.
    fn metadata_bytes(&self) -> u64;
}

/// An engine whose objects stay where they were placed.
#[derive(Debug)]
pub(crate) struct Addressed<P> {
    placement: P,
    pages: Pages,
    slots: Slots,
}

impl<P: Placement + Default> Addressed<P> {
    /// An empty engine.
    pub(crate) fn new() -> Self {
        Self {
            placement: P::default(),
            pages: Pages::new(),
            slots: Slots::new(),
        }
    }
}

impl<P: Placement> Engine for Addressed<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn alloc(&mut self, slot: usize, size: usize) -> Result<(), EngineError> {
        self.slots.prepare(slot, size, P::SIZE_MAX)?;
        let at = self.placement.place(&mut self.pages, size)?;
        let location = at.0;
        self.slots.fill(slot, Reference { location, size });
        Ok(())
    }

    fn free(&mut self, slot: usize) -> Result<(), EngineError> {
        let object = self.slots.empty(slot)?;
        self.placement
            .release(&mut self.pages, Address(object.location), object.size);
        Ok(())
    }

    fn write(&mut self, slot: usize, bytes: &[u8]) -> Result<(), EngineError> {
        let object = self.slots.get_exact(slot, bytes.len())?;
        self.pages
            .bytes_mut(Address(object.location), object.size)
            .copy_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, slot: usize, out: &mut [u8]) -> Result<usize, EngineError> {
        let object = self.slots.get_fitting(slot, out.len())?;
        out[..object.size].copy_from_slice(self.pages.bytes(Address(object.location), object.size));
        Ok(object.size)
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            data_bytes: self.pages.live_bytes(),
            metadata_bytes: self.placement.metadata_bytes(),
            reference_bytes: self.slots.reference_bytes(),
        }
    }

    fn rss_bytes(&self) -> Option<u64> {
        self.pages.resident_bytes()
    }
}
