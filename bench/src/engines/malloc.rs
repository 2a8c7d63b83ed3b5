//! The process's own malloc, glibc's.
//!
//! Source: glibc's manual, "Statistics for Memory Allocation with malloc".
//!
//! Its footprint is the growth of `arena` in `mallinfo2`, what glibc has taken from the kernel
//! for its heaps. (Objects here are far below 128 KiB, from where on malloc may map each by
//! itself, so `hblkhd` plays no part.) To make this growth the engine's own,
//!
//! 1. engine and harness keep everything that grows in mappings of their own, or allocate it
//!    before the first object;
//! 2. at the first object the heap is trimmed and every hole in it plugged (each free chunk
//!    allocated and held), since objects that went into old holes would seem to cost nothing;
//! 3. nothing else may allocate in the process meanwhile.
//!
//! glibc decides by itself when to give the end of its heap back: when more than 128 KiB there
//! are free. The process's past may have raised that limit, so it is set to this initial value at
//! the start, for the whole process. Nobody calls `malloc_trim` later. Even so nearly all of
//! the heap is left after everything was freed: up to 7 chunks of each size below 1 KiB sit in the
//! per-thread cache, and the topmost of them holds down what lies below. Metadata is glibc's
//! `malloc_state` and per-thread cache, a page.

#[cfg(test)]
mod tests;

use core::ptr::NonNull;

use super::memory::{PAGE_SIZE, Table, whole_pages};
use super::slots::{Reference, Slots};
use crate::engine::{Engine, EngineError, Footprint};

/// Largest object. Nothing in malloc limits it; this is what the other engines hold.
const SIZE_MAX: usize = 2 * PAGE_SIZE;

/// Plugs that can be held.
const PLUGS_MAX: usize = 1 << 20;

/// glibc's initial value of `M_TRIM_THRESHOLD`.
const TRIM_THRESHOLD_BYTES: libc::c_int = 128 << 10;

/// Length of the size field before each chunk's payload.
const CHUNK_HEADER: usize = 8;

/// Chunk lengths to plug holes with: large steps first, then every length that the per-thread
/// cache keeps apart.
const PLUG_LARGE: [usize; 6] = [65536, 32768, 16384, 8192, 4096, 2048];
const CACHED_CHUNK_MIN: usize = 32;
const CACHED_CHUNK_MAX: usize = 1040;
const CHUNK_STEP: usize = 16;

/// Bytes of all heaps together.
fn heap_bytes() -> u64 {
    // SAFETY: No arguments, no preconditions; the result is plain numbers.
    unsafe { libc::mallinfo2() }.arena as u64
}

/// Gives free memory at the end of the heap back.
fn trim() {
    // SAFETY: No preconditions.
    unsafe { libc::malloc_trim(0) };
}

fn allocate(size: usize) -> Option<NonNull<u8>> {
    // SAFETY: malloc has no preconditions; null is checked for.
    NonNull::new(unsafe { libc::malloc(size) }.cast())
}

/// The pointer that a slot or a plug remembers.
fn pointer(location: u64) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut(location as usize)
}

/// The engine.
#[derive(Debug)]
pub(crate) struct Malloc {
    slots: Slots,
    plugs: Table<u64>,
    plugs_held: usize,
    /// Heap bytes before the first object.
    baseline_bytes: Option<u64>,
}

impl Malloc {
    /// Nothing allocated yet.
    pub(crate) fn new() -> Self {
        Self {
            slots: Slots::new(),
            plugs: Table::new(PLUGS_MAX),
            plugs_held: 0,
            baseline_bytes: None,
        }
    }

    /// Plugs the holes of the heap and notes its size.
    fn start(&mut self) -> Result<(), EngineError> {
        // SAFETY: A known parameter with a value in its range.
        unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES) };
        trim();
        let cached = (CACHED_CHUNK_MIN..CACHED_CHUNK_MAX + CHUNK_STEP).step_by(CHUNK_STEP);
        for chunk in PLUG_LARGE.into_iter().chain(cached.rev()) {
            while self.plug(chunk - CHUNK_HEADER)? {}
        }
        trim();
        self.baseline_bytes = Some(heap_bytes());
        Ok(())
    }

    /// Holds `size` bytes if the heap has them, or if they are few; says whether it had.
    fn plug(&mut self, size: usize) -> Result<bool, EngineError> {
        self.plugs.cover(self.plugs_held, 0)?;
        let before = heap_bytes();
        let plug = allocate(size).ok_or(EngineError::OutOfMemory { size })?;
        let had = heap_bytes() == before;
        // Freed a smaller one would lie in the per-thread cache and be a hole again, one of each
        // size: 34 KiB.
        if !had && size + CHUNK_HEADER > CACHED_CHUNK_MAX {
            // SAFETY: `plug` came from malloc just now.
            unsafe { libc::free(plug.as_ptr().cast()) };
            trim();
            return Ok(false);
        }
        self.plugs[self.plugs_held] = plug.as_ptr().expose_provenance() as u64;
        self.plugs_held += 1;
        Ok(had)
    }
}

impl Engine for Malloc {
    fn name(&self) -> &'static str {
        "malloc"
    }

    fn alloc(&mut self, slot: usize, size: usize) -> Result<(), EngineError> {
        self.slots.prepare(slot, size, SIZE_MAX)?;
        if self.baseline_bytes.is_none() {
            self.start()?;
        }
        let object = allocate(size).ok_or(EngineError::OutOfMemory { size })?;
        let location = object.as_ptr().expose_provenance() as u64;
        self.slots.fill(slot, Reference { location, size });
        Ok(())
    }

    fn free(&mut self, slot: usize) -> Result<(), EngineError> {
        let object = self.slots.empty(slot)?;
        // SAFETY: The pointer came from malloc, and emptying its slot made sure that it is
        // freed once.
        unsafe { libc::free(pointer(object.location).cast()) };
        Ok(())
    }

    fn write(&mut self, slot: usize, bytes: &[u8]) -> Result<(), EngineError> {
        let object = self.slots.get_exact(slot, bytes.len())?;
        // SAFETY: The object is live, has `bytes.len()` bytes, and belongs to nobody else.
        unsafe { pointer(object.location).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    fn read(&mut self, slot: usize, out: &mut [u8]) -> Result<usize, EngineError> {
        let object = self.slots.get_fitting(slot, out.len())?;
        // The bytes of an object that was not written are not initialised for the language, so
        // they are copied as they are and never looked at here.
        // SAFETY: (1) The object is live and has `object.size` bytes; (2) `out` has room for
        // them and belongs to somebody else.
        unsafe { pointer(object.location).copy_to_nonoverlapping(out.as_mut_ptr(), object.size) };
        Ok(object.size)
    }

    fn footprint(&self) -> Footprint {
        let data_bytes = self
            .baseline_bytes
            .map_or(0, |baseline| heap_bytes().saturating_sub(baseline));
        Footprint {
            data_bytes: whole_pages(data_bytes),
            metadata_bytes: PAGE_SIZE as u64,
            reference_bytes: self.slots.reference_bytes(),
        }
    }
}

impl Drop for Malloc {
    fn drop(&mut self) {
        let plugs = &self.plugs.as_slice()[..self.plugs_held];
        for object in self.slots.live_references() {
            // SAFETY: A live object came from malloc and was not freed.
            unsafe { libc::free(pointer(object.location).cast()) };
        }
        for plug in plugs {
            // SAFETY: As above, for plugs.
            unsafe { libc::free(pointer(*plug).cast()) };
        }
    }
}
