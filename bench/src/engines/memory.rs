//! Address space from the kernel, as safe slices and tables.
//!
//! A [`Reservation`] is one anonymous mapping, far larger than what will be used and without
//! a claim on memory (`MAP_NORESERVE`): a page of it takes memory when it is first touched, so
//! nothing ever has to move or be copied to grow. A [`Table`] is a typed array on top of it.
//! Both keep out of the process's heap, which one of the compared engines is.

use core::marker::PhantomData;
use core::ops::{Index, IndexMut, Range};
use core::ptr::NonNull;

use crate::engine::EngineError;

/// Bytes in a page of every engine.
pub(crate) const PAGE_SIZE: usize = 4096;

/// Smallest address space worth having; below it a reservation counts as refused.
const RESERVATION_MIN_BYTES: usize = 16 << 20;

/// `bytes` in whole pages.
pub(crate) const fn whole_pages(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE_SIZE as u64)
}

/// One private mapping, zero until written, unmapped on drop.
#[derive(Debug)]
pub(crate) struct Reservation {
    base: NonNull<u8>,
    /// 0 when the kernel refused; `base` dangles then.
    len_bytes: usize,
}

impl Reservation {
    /// Reserves `len_bytes_max` bytes, or half of that, and so on, as far as the kernel grants it.
    pub(crate) fn new(len_bytes_max: usize) -> Self {
        let mut len_bytes = len_bytes_max.next_multiple_of(PAGE_SIZE);
        loop {
            // SAFETY: A new anonymous mapping at an address of the kernel's choice touches no
            // existing memory; the result is checked before use.
            let base = unsafe {
                libc::mmap(
                    core::ptr::null_mut(),
                    len_bytes,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                    -1,
                    0,
                )
            };
            if base != libc::MAP_FAILED
                && let Some(base) = NonNull::new(base.cast::<u8>())
            {
                // Huge pages would make resident bytes depend on the neighbours of a page.
                // SAFETY: The range is the mapping made above. A refusal is harmless.
                unsafe { libc::madvise(base.as_ptr().cast(), len_bytes, libc::MADV_NOHUGEPAGE) };
                return Self { base, len_bytes };
            }
            if len_bytes < 2 * RESERVATION_MIN_BYTES.min(len_bytes_max) {
                return Self {
                    base: NonNull::dangling(),
                    len_bytes: 0,
                };
            }
            len_bytes /= 2;
        }
    }

    /// Bytes of address space.
    pub(crate) fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Start of the mapping, for an engine that hands out pointers itself.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The whole mapping.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: (1) `base..base + len_bytes` is one readable mapping, or empty; (2) anonymous
        // memory is zero before it is written, so all of it is initialised; (3) `&self` keeps
        // writers out.
        unsafe { core::slice::from_raw_parts(self.base.as_ptr(), self.len_bytes) }
    }

    /// The whole mapping, writable.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: As in `bytes`, and `&mut self` makes this the only access.
        unsafe { core::slice::from_raw_parts_mut(self.base.as_ptr(), self.len_bytes) }
    }

    /// Gives the memory of the pages in `range` back; they read as zero afterwards.
    pub(crate) fn discard(&mut self, range: Range<usize>) {
        let bytes = &mut self.bytes_mut()[range];
        // SAFETY: (1) The slice lies in the mapping and `&mut self` makes this the only access;
        // (2) zeroing `u8`s leaves them initialised. A refusal leaves the old content, which
        // nobody relies on.
        unsafe { libc::madvise(bytes.as_mut_ptr().cast(), bytes.len(), libc::MADV_DONTNEED) };
    }

    /// Resident bytes of the first `len_bytes`.
    pub(crate) fn resident_bytes(&self, len_bytes: usize) -> Option<u64> {
        const BATCH_PAGES: usize = 4096;
        let mut state = [0u8; BATCH_PAGES];
        let mut resident_pages = 0u64;
        for chunk in self.bytes()[..len_bytes].chunks(BATCH_PAGES * PAGE_SIZE) {
            // SAFETY: `chunk` is mapped and starts on a page, and `state` has a byte for each
            // of its pages.
            let status = unsafe {
                libc::mincore(
                    chunk.as_ptr().cast_mut().cast(),
                    chunk.len(),
                    state.as_mut_ptr(),
                )
            };
            if status != 0 {
                return None;
            }
            let pages = chunk.len().div_ceil(PAGE_SIZE);
            resident_pages += state[..pages].iter().filter(|&&s| s & 1 == 1).count() as u64;
        }
        Some(resident_pages * PAGE_SIZE as u64)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.len_bytes > 0 {
            // SAFETY: The range is this reservation's own mapping, and no borrow of it is left.
            unsafe { libc::munmap(self.base.as_ptr().cast(), self.len_bytes) };
        }
    }
}

/// An array that grows in place: existing items are never copied.
#[derive(Debug)]
pub(crate) struct Table<T> {
    memory: Reservation,
    /// Items `0..len` are initialised.
    len: usize,
    items: PhantomData<T>,
}

impl<T: Copy> Table<T> {
    /// A mapping is page-aligned; this is all the alignment an item can get.
    const ALIGNMENT_FITS: () = assert!(align_of::<T>() <= PAGE_SIZE && size_of::<T>() > 0);

    /// An empty table with room for `len_max` items.
    pub(crate) fn new(len_max: usize) -> Self {
        const { Self::ALIGNMENT_FITS };
        Self {
            memory: Reservation::new(len_max * size_of::<T>()),
            len: 0,
            items: PhantomData,
        }
    }

    /// Makes `index` valid; new items, which come a page at a time, are `fill`.
    pub(crate) fn cover(&mut self, index: usize, fill: T) -> Result<(), EngineError> {
        if index < self.len {
            return Ok(());
        }
        let len_max = self.memory.len_bytes() / size_of::<T>();
        if index >= len_max {
            return Err(EngineError::OutOfMemory {
                size: size_of::<T>(),
            });
        }
        let step = (PAGE_SIZE / size_of::<T>()).max(1);
        let len = (index + 1).next_multiple_of(step).min(len_max);
        let base = self.memory.base().as_ptr().cast::<T>();
        for new in self.len..len {
            // SAFETY: (1) `new < len_max`, so the item lies in the mapping; (2) the mapping is
            // page-aligned and `T` needs no more (`ALIGNMENT_FITS`); (3) `&mut self` makes this
            // the only access.
            unsafe { base.add(new).write(fill) };
        }
        self.len = len;
        Ok(())
    }

    /// All items.
    pub(crate) fn as_slice(&self) -> &[T] {
        // SAFETY: The first `len` items are initialised, aligned and inside the mapping; `&self`
        // keeps writers out.
        unsafe { core::slice::from_raw_parts(self.memory.base().cast().as_ptr(), self.len) }
    }

    /// All items, writable.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: As in `as_slice`, and `&mut self` makes this the only access.
        unsafe { core::slice::from_raw_parts_mut(self.memory.base().cast().as_ptr(), self.len) }
    }
}

impl<T: Copy> Index<usize> for Table<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        &self.as_slice()[index]
    }
}

impl<T: Copy> IndexMut<usize> for Table<T> {
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.as_mut_slice()[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discarded_pages_read_as_zero_and_are_not_resident() {
        let mut memory = Reservation::new(1 << 20);
        memory.bytes_mut()[..3 * PAGE_SIZE].fill(7);
        assert_eq!(memory.resident_bytes(1 << 20), Some(3 * PAGE_SIZE as u64));
        memory.discard(PAGE_SIZE..2 * PAGE_SIZE);
        assert_eq!(memory.resident_bytes(1 << 20), Some(2 * PAGE_SIZE as u64));
        assert_eq!(memory.bytes()[PAGE_SIZE - 1], 7);
        assert_eq!(memory.bytes()[PAGE_SIZE], 0);
    }

    #[test]
    fn a_table_grows_in_place_and_refuses_beyond_its_room() {
        let mut table = Table::<u64>::new(1000);
        table.cover(0, 5).unwrap();
        let first: *const u64 = &table[0];
        table.cover(999, 9).unwrap();
        assert_eq!(first, &raw const table[0]);
        assert_eq!((table[0], table[999]), (5, 9));
        assert!(table.cover(1 << 20, 0).is_err());
    }
}
