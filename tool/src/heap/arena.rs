//! The command's global allocator, and the arena it serves from in the page-building child.
//!
//! Everywhere else it is the system's allocator. In the child it hands out
//! memory from one mapping at a fixed address, so that the pages, pointers
//! included, are the same for the same seed. It works like the allocators whose
//! pages we want to have: a size word before each chunk, free lists threaded
//! through free chunks, big chunks on pages of their own.
//!
//! ```text
//! BASE                                            BASE + cursor
//! | size|1 | user bytes ... | size|1 | user ... | (untouched) ...
//!           ^ 16-byte aligned
//! ```
//!
//! Chunks are reused last in, first out, without clearing: what an object leaves
//! behind is part of what real pages hold.

use std::alloc::{GlobalAlloc, Layout, System};
use std::num::NonZeroUsize;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};

/// Where the arena lies: far from where Linux puts programs, libraries, stacks and heaps,
/// so that it is free with and without address space randomisation.
pub(crate) const BASE: usize = 0x2000_0000_0000;

const PAGE_SIZE: usize = 4096;
/// The size word before the user's bytes.
const CHUNK_HEADER: usize = 8;
/// Chunks up to this size have a free list for each multiple of 16.
const SMALL_MAX: usize = 1024;
/// Chunks up to this size have four free lists for each power of two; larger ones get pages of their own.
const MEDIUM_MAX: usize = 128 * 1024;
const SMALL_BINS: usize = SMALL_MAX / 16 + 1;
/// 2^10 to 2^17, four each.
const MEDIUM_BINS: usize = 4 * 7 + 1;

/// The state of the arena. All fields are guarded by `locked`, save `len`, which is set once.
struct Arena {
    locked: AtomicBool,
    /// Length of the mapping; 0 until there is one, and from then on every allocation is served from it.
    len: AtomicUsize,
    cursor: AtomicUsize,
    bins: [AtomicUsize; SMALL_BINS + MEDIUM_BINS],
}

static ARENA: Arena = Arena {
    locked: AtomicBool::new(false),
    len: AtomicUsize::new(0),
    cursor: AtomicUsize::new(0),
    bins: [const { AtomicUsize::new(0) }; SMALL_BINS + MEDIUM_BINS],
};

/// Maps an arena of `len` bytes and serves every later allocation of this process from it.
///
/// # Errors
/// Where the kernel refuses the mapping or the address is taken.
pub(crate) fn enter(len: usize) -> Result<(), String> {
    let length = NonZeroUsize::new(len).ok_or("the arena needs a length")?;
    // SAFETY: with MAP_FIXED_NOREPLACE the kernel fails rather than replace a mapping that exists,
    // so no memory in use changes.
    let mapping = unsafe {
        mmap_anonymous(
            NonZeroUsize::new(BASE),
            length,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED_NOREPLACE | MapFlags::MAP_NORESERVE,
        )
    }
    .map_err(|error| format!("cannot map {len} bytes at {BASE:#x}: {error}"))?;
    if mapping.as_ptr() as usize != BASE {
        return Err(format!("the kernel mapped elsewhere than {BASE:#x}"));
    }
    // Huge pages would make neighbours of touched pages resident, on some machines only.
    // SAFETY: the range is the mapping made above, and the advice changes no contents.
    // An old kernel without huge pages refuses the advice, and does not need it.
    let _ = unsafe { madvise(mapping, len, MmapAdvise::MADV_NOHUGEPAGE) };
    ARENA.len.store(len, Ordering::Release);
    Ok(())
}

/// Bytes of the arena in use so far, from [`BASE`] on.
pub(crate) fn used_bytes() -> usize {
    ARENA.cursor.load(Ordering::Acquire)
}

/// A chunk's size, and the free list it belongs to if it has one.
fn chunk_class(user_bytes: usize) -> (usize, Option<usize>) {
    let wanted = user_bytes.saturating_add(CHUNK_HEADER);
    if wanted <= SMALL_MAX {
        let size = wanted.max(32).next_multiple_of(16);
        return (size, Some(size / 16));
    }
    if wanted <= MEDIUM_MAX {
        let power = (wanted - 1).ilog2() as usize;
        let step = 1 << (power - 2);
        let size = wanted.next_multiple_of(step);
        // `wanted` is in (2^power, 2^(power+1)], so this is 1 to 4.
        let quarter = (size - (1 << power)) / step;
        return (size, Some(SMALL_BINS + (power - 10) * 4 + quarter - 1));
    }
    // The user's bytes start 16 bytes into the first page.
    let pages = user_bytes.saturating_add(16).div_ceil(PAGE_SIZE);
    (pages.saturating_mul(PAGE_SIZE), None)
}

impl Arena {
    fn lock(&self) {
        while self
            .locked
            .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            std::hint::spin_loop();
        }
    }

    fn unlock(&self) {
        self.locked.store(false, Ordering::Release);
    }

    fn owns(&self, address: usize) -> bool {
        address.wrapping_sub(BASE) < self.len.load(Ordering::Acquire)
    }

    /// Takes a chunk from its free list or from the end; null when the arena is full.
    fn allocate(&self, layout: Layout) -> *mut u8 {
        let (size, bin) = chunk_class(layout.size());
        self.lock();
        let cursor = self.cursor.load(Ordering::Relaxed);
        let address = match bin {
            _ if layout.align() > 16 => self.take_end(
                (cursor + CHUNK_HEADER).next_multiple_of(layout.align()),
                layout.size(),
            ),
            // Pages of its own, the header's 16 bytes at their start.
            None => self.take_end(cursor.next_multiple_of(PAGE_SIZE) + 16, size - 16),
            Some(bin) => match self.take_free(bin) {
                0 => self.take_end(
                    (cursor + CHUNK_HEADER).next_multiple_of(16),
                    size - CHUNK_HEADER,
                ),
                found => found,
            },
        };
        self.unlock();
        ptr::with_exposed_provenance_mut(address)
    }

    /// First user address of the newest free chunk of `bin`, or 0.
    fn take_free(&self, bin: usize) -> usize {
        let head = self.bins[bin].load(Ordering::Relaxed);
        if head != 0 {
            // SAFETY: a free chunk has at least 24 bytes of its own, 16-byte aligned, and `release`
            // wrote the next chunk's address into its first eight.
            let next = unsafe { ptr::with_exposed_provenance::<usize>(head).read() };
            self.bins[bin].store(next, Ordering::Relaxed);
        }
        head
    }

    /// A new chunk of `bytes` whose first user byte is `user` bytes into the arena: its address,
    /// or 0 when the arena is full.
    fn take_end(&self, user: usize, bytes: usize) -> usize {
        let end = user.saturating_add(bytes);
        if end > self.len.load(Ordering::Relaxed) {
            return 0;
        }
        self.cursor.store(end, Ordering::Relaxed);
        // SAFETY: the word before `user` lies in the mapping (`user` is at least 16), past every
        // earlier chunk's bytes (`user` is 8 or more past the cursor), and is 8-byte aligned as `user` is 16-byte aligned.
        unsafe {
            ptr::with_exposed_provenance_mut::<usize>(BASE + user - CHUNK_HEADER)
                .write((bytes + CHUNK_HEADER) | 1)
        };
        BASE + user
    }

    /// Puts a chunk on its free list. A chunk on pages of its own stays as it is.
    ///
    /// # Safety
    /// `address` came from `allocate` with this layout and is not used any more.
    unsafe fn release(&self, address: *mut u8, layout: Layout) {
        let (_, Some(bin)) = chunk_class(layout.size()) else {
            return;
        };
        if layout.align() > 16 {
            return;
        }
        self.lock();
        let next = self.bins[bin].load(Ordering::Relaxed);
        // SAFETY: by the caller's promise the chunk is ours alone; it has 24 bytes or more, 16-byte aligned.
        unsafe { address.cast::<usize>().write(next) };
        self.bins[bin].store(address.expose_provenance(), Ordering::Relaxed);
        self.unlock();
    }
}

/// The command's allocator: the system's, or the arena once [`enter`] made one.
pub(crate) struct ToolHeap;

#[global_allocator]
static HEAP: ToolHeap = ToolHeap;

// SAFETY: (1) outside the child every call goes to `System` unchanged. (2) In the child, `allocate`
// gives disjoint chunks of at least the layout's size and alignment inside the mapping, or null.
// (3) A pointer is given back to the allocator it came from, as only arena pointers lie in its range.
unsafe impl GlobalAlloc for ToolHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if ARENA.len.load(Ordering::Relaxed) != 0 {
            return ARENA.allocate(layout);
        }
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if ARENA.len.load(Ordering::Relaxed) == 0 {
            // SAFETY: the caller's promise, passed on.
            return unsafe { System.alloc_zeroed(layout) };
        }
        let new = ARENA.allocate(layout);
        if !new.is_null() {
            // SAFETY: `allocate` gave at least `layout.size()` bytes.
            unsafe { new.write_bytes(0, layout.size()) };
        }
        new
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        if ARENA.owns(address as usize) {
            // SAFETY: the caller's promise, passed on; the address is the arena's.
            unsafe { ARENA.release(address, layout) };
        } else {
            // SAFETY: the caller's promise, passed on; the address is the system's.
            unsafe { System.dealloc(address, layout) };
        }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if ARENA.len.load(Ordering::Relaxed) == 0 {
            // SAFETY: the caller's promise, passed on.
            return unsafe { System.realloc(old, layout, new_size) };
        }
        // SAFETY: the caller promises that `new_size`, rounded up to the alignment, is valid.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: (1) `new_size` is not zero by the caller's promise. (2) Both blocks have the bytes copied,
        // and are disjoint as the old one is still allocated. (3) The old one is not used afterwards.
        unsafe {
            let new = self.alloc(new_layout);
            if !new.is_null() {
                ptr::copy_nonoverlapping(old, new, layout.size().min(new_size));
                self.dealloc(old, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_holds_what_was_asked_for_and_has_one_size() {
        let mut size_of_bin = [0; SMALL_BINS + MEDIUM_BINS];
        for user_bytes in 0..MEDIUM_MAX + 4096 {
            let (size, bin) = chunk_class(user_bytes);
            assert!(size >= user_bytes + CHUNK_HEADER, "{user_bytes} in {size}");
            assert_eq!(size % 16, 0);
            if let Some(bin) = bin {
                assert!(
                    size_of_bin[bin] == 0 || size_of_bin[bin] == size,
                    "bin {bin} has two sizes"
                );
                size_of_bin[bin] = size;
            }
        }
    }
}
