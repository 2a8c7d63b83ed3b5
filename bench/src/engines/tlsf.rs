//! TLSF as the crate `rlsf` has it, over one contiguous region.
//!
//! Source: Masmano, Ripoll, Crespo, Real: TLSF, a new dynamic memory allocator for real-time
//! systems (2004); the crate's documentation.
//!
//! A block has a 16-byte header and is a multiple of 32 bytes long. There are 64 lists for each
//! power of two, so a good fit is at most a 64th too large. The region grows by one page at a
//! time and only until the request fits, and what is free at its end is used first; that is
//! tighter than the crate's own growing pool. It needs as much contiguous address space as it
//! ever held, and never gives a page back: there is no interface for it.
//! Metadata is the index: 59 first-level times 64 second-level list heads with their bitmaps.

#[cfg(test)]
mod tests;

use core::alloc::Layout;
use core::ptr::NonNull;

use rlsf::Tlsf;

use super::memory::{PAGE_SIZE, Reservation, whole_pages};
use super::slots::{Reference, Slots};
use crate::engine::{Engine, EngineError, Footprint};

/// Address space: 32 GiB.
const REGION_BYTES_MAX: usize = 32 << 30;

/// Largest object. Nothing in TLSF limits it; this is what the other engines hold.
const SIZE_MAX: usize = 2 * PAGE_SIZE;

/// Pages that a request of `SIZE_MAX` can need beyond a region with no room at all.
const PAGES_PER_REQUEST_MAX: usize = SIZE_MAX / PAGE_SIZE + 2;

/// Alignment of objects.
const ALIGN: usize = 8;

/// Levels for blocks of any size: with fewer than 59 the crate does not join what the region
/// grows by with what it has.
type Index = Tlsf<'static, u64, u64, 59, 64>;

/// The engine.
pub(crate) struct TlsfRegion {
    index: Index,
    region: Reservation,
    /// Bytes of the region that the index has.
    grown_bytes: usize,
    slots: Slots,
}

impl TlsfRegion {
    /// An empty region.
    pub(crate) fn new() -> Self {
        Self {
            index: Index::new(),
            region: Reservation::new(REGION_BYTES_MAX),
            grown_bytes: 0,
            slots: Slots::new(),
        }
    }

    /// Hands one more page to the index.
    fn grow(&mut self) -> Option<()> {
        if self.region.len_bytes() - self.grown_bytes < PAGE_SIZE {
            return None;
        }
        // SAFETY: `grown_bytes` is below the length of the mapping that starts at `base`.
        let start = unsafe { self.region.base().add(self.grown_bytes) };
        let page = NonNull::slice_from_raw_parts(start, PAGE_SIZE);
        if self.grown_bytes == 0 {
            // SAFETY: The page is mapped, aligned, and nobody else's until the engine is dropped,
            // when no object is left to be used.
            unsafe { self.index.insert_free_block_ptr(page)? };
        } else {
            // SAFETY: As above, and the page starts where the last one that the index got ends.
            unsafe { self.index.append_free_block_ptr(page) };
        }
        self.grown_bytes += PAGE_SIZE;
        Some(())
    }

    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        for _ in 0..=PAGES_PER_REQUEST_MAX {
            if let Some(object) = self.index.allocate(layout) {
                return Some(object);
            }
            self.grow()?;
        }
        None
    }

    /// Start of an object; its location is the distance from the start of the region.
    fn pointer(&self, object: Reference) -> NonNull<u8> {
        // SAFETY: Locations come from `alloc`, so they lie inside the mapping.
        unsafe { self.region.base().add(object.location as usize) }
    }
}

impl Engine for TlsfRegion {
    fn name(&self) -> &'static str {
        "tlsf"
    }

    fn alloc(&mut self, slot: usize, size: usize) -> Result<(), EngineError> {
        self.slots.prepare(slot, size, SIZE_MAX)?;
        let object = Layout::from_size_align(size, ALIGN)
            .ok()
            .and_then(|layout| self.allocate(layout))
            .ok_or(EngineError::OutOfMemory { size })?;
        let location = (object.addr().get() - self.region.base().addr().get()) as u64;
        self.slots.fill(slot, Reference { location, size });
        Ok(())
    }

    fn free(&mut self, slot: usize) -> Result<(), EngineError> {
        let object = self.slots.empty(slot)?;
        // SAFETY: The object came from this index with this alignment, and emptying its slot
        // made sure that it is freed once.
        unsafe { self.index.deallocate(self.pointer(object), ALIGN) };
        Ok(())
    }

    fn write(&mut self, slot: usize, bytes: &[u8]) -> Result<(), EngineError> {
        let object = self.slots.get_exact(slot, bytes.len())?;
        // SAFETY: (1) The object is live and has `bytes.len()` bytes; (2) it lies in the region,
        // where `bytes`, a borrow from outside, does not.
        unsafe {
            self.pointer(object)
                .as_ptr()
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        Ok(())
    }

    fn read(&mut self, slot: usize, out: &mut [u8]) -> Result<usize, EngineError> {
        let object = self.slots.get_fitting(slot, out.len())?;
        // SAFETY: (1) The object is live, has `object.size` bytes, and all of the region is
        // initialised; (2) `out` has room for them and lies outside the region.
        unsafe {
            self.pointer(object)
                .as_ptr()
                .copy_to_nonoverlapping(out.as_mut_ptr(), object.size);
        }
        Ok(object.size)
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            data_bytes: self.grown_bytes as u64,
            metadata_bytes: whole_pages(size_of::<Index>() as u64),
            reference_bytes: self.slots.reference_bytes(),
        }
    }

    fn rss_bytes(&self) -> Option<u64> {
        self.region.resident_bytes(self.grown_bytes)
    }
}
