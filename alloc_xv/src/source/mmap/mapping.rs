//! Reserved address space.

use super::super::frame_map::{FrameMap, words_needed};
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// An anonymous mapping, unmapped on drop.
pub(super) struct Mapping {
    base: NonNull<u8>,
    pub(super) bytes: usize,
    /// What was mapped: more, where `base` is aligned to a chunk.
    whole: (NonNull<u8>, usize),
}

/// The start of a mapping.
#[derive(Clone, Copy)]
pub(super) struct Base(pub(super) *mut u8);

// SAFETY: an address; what may be done there is for its user to know.
unsafe impl Send for Base {}
// SAFETY: as above.
unsafe impl Sync for Base {}

// SAFETY: a mapping is plain memory, reachable from every thread.
unsafe impl Send for Mapping {}
// SAFETY: as above; `Mapping` itself gives no access to the content.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `bytes` at a multiple of `align`, which is a power of two.
    pub(super) fn new(bytes: usize, align: usize) -> Result<Self, MmapError> {
        let refused = |errno| MmapError::Refused { bytes, errno };
        let whole_bytes = bytes.checked_add(align).ok_or(refused(libc::ENOMEM))?;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no
        // memory that exists.
        let address = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                whole_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
            return Err(refused(errno));
        }
        let start = NonNull::new(address.cast::<u8>()).ok_or(refused(0))?;
        let skip = start.align_offset(align);
        // SAFETY: `skip` is less than `align`, and that much more was mapped.
        let base = unsafe { start.add(skip) };
        Ok(Self {
            base,
            bytes,
            whole: (start, whole_bytes),
        })
    }

    pub(super) fn start(&self) -> Base {
        Base(self.base.as_ptr())
    }

    /// Says how a part of the mapping will be used. A kernel that does not know it, or has no memory, does nothing.
    pub(super) fn prepare(&self, start: usize, bytes: usize, how: Prepare) {
        let advice = match how {
            Prepare::HugePages => libc::MADV_HUGEPAGE,
            Prepare::SmallPages => libc::MADV_NOHUGEPAGE,
            Prepare::Now => libc::MADV_POPULATE_WRITE,
        };
        // SAFETY: none of these drops content.
        unsafe { self.advise(start, bytes, advice) };
    }

    /// Bytes that are resident, of the first `bytes`, asked from the kernel (`mincore`).
    pub(super) fn resident_bytes(&self, bytes: usize) -> usize {
        let os_page = os_page_size();
        let bytes = bytes.min(self.bytes);
        let mut resident = 0;
        let mut flags = [0u8; 4096];
        let step = flags.len() * os_page;
        for start in (0..bytes).step_by(step) {
            let len = step.min(bytes - start);
            // SAFETY: the range lies in this mapping and `flags` has a byte for each OS page.
            let ok = unsafe {
                libc::mincore(
                    self.base.as_ptr().add(start).cast(),
                    len,
                    flags.as_mut_ptr().cast(),
                )
            } == 0;
            if ok {
                resident += flags[..len.div_ceil(os_page)]
                    .iter()
                    .filter(|&&flag| flag & 1 != 0)
                    .count();
            }
        }
        resident * os_page
    }

    /// Advice for a part of the mapping; false if the kernel did not take it.
    ///
    /// # Safety
    ///
    /// If the advice drops content, nobody uses that part.
    unsafe fn advise(&self, start: usize, bytes: usize, advice: libc::c_int) -> bool {
        debug_assert!(start + bytes <= self.bytes);
        // SAFETY: the range lies in this mapping; the caller answers for its content.
        unsafe { libc::madvise(self.base.as_ptr().add(start).cast(), bytes, advice) == 0 }
    }

    /// Gives a part of the mapping back to the system; it reads as zeroes afterwards.
    ///
    /// # Safety
    ///
    /// Nobody uses that part.
    pub(super) unsafe fn drop_content(&self, start: usize, bytes: usize) {
        // In a process that has locked its memory (mlockall) the first is refused, before Linux
        // 5.18 both: what is free stays resident then.
        // SAFETY: the caller answers for the content.
        unsafe {
            let _ = self.advise(start, bytes, libc::MADV_DONTNEED)
                || self.advise(start, bytes, libc::MADV_DONTNEED_LOCKED);
        }
    }
}

/// How a part of a mapping will be used.
#[derive(Clone, Copy, Debug)]
pub(super) enum Prepare {
    /// The system may make huge pages of it, ...
    HugePages,
    /// ... or may not, also not by itself.
    SmallPages,
    /// All of it will be written soon.
    Now,
}

/// Words of a map of taken frames that stand in the range itself: 2,048 frames.
const MAP_HEAD: usize = 32;

/// A map of taken frames, and the memory that it lies in.
pub(super) struct TakenMap {
    map: FrameMap<'static, MAP_HEAD>,
    /// Dropped after the map.
    storage: Mapping,
}

impl TakenMap {
    /// For `frames` frames; `None` if a map cannot have so many. Only where they may be taken in any order can one be
    /// searched for.
    pub(super) fn new(frames: usize, any_order: bool) -> Result<Option<Self>, MmapError> {
        let words = words_needed(frames);
        let storage = Mapping::new(words * 8, os_page_size())?;
        // SAFETY: fresh zeroed memory of `words` words, page-aligned, used through this slice
        // alone; it is stored beside its mapping and dropped before it.
        let slice =
            unsafe { core::slice::from_raw_parts_mut(storage.base.as_ptr().cast::<u64>(), words) };
        let map = match any_order {
            true => FrameMap::new(slice, frames),
            false => FrameMap::without_search(slice, frames),
        };
        Ok(map.map(|map| Self { map, storage }))
    }

    /// Gives the map's memory back, when every frame is free: it is all zero, which is also what dropped pages read as.
    pub(super) fn drop_storage(&mut self) {
        // SAFETY: nobody but the map uses it, and any words are a map.
        unsafe { self.storage.drop_content(0, self.storage.bytes) };
    }
}

impl Deref for TakenMap {
    type Target = FrameMap<'static, MAP_HEAD>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.map
    }
}

impl DerefMut for TakenMap {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.map
    }
}

/// Parts that go back to the system by one call.
pub(super) const PARTS_MAX: usize = 16;

/// Stands for the process that calls (Linux 6.14), whatever it was forked from.
const PIDFD_SELF: libc::c_int = -10000;

impl Mapping {
    /// [`drop_content`](Self::drop_content) of several parts (start, bytes), the first [`PARTS_MAX`] of
    /// them. With another thread on another CPU each single call interrupts that one, for 15 µs; one call
    /// for all of them, which Linux has since 6.14, does so once.
    ///
    /// # Safety
    ///
    /// Nobody uses any of the parts.
    pub(super) unsafe fn drop_parts(&self, parts: &[(usize, usize)]) {
        static ONE_BY_ONE: AtomicBool = AtomicBool::new(false);
        if parts.len() > 1 && !ONE_BY_ONE.load(Relaxed) {
            let mut vectors = [libc::iovec {
                iov_base: core::ptr::null_mut(),
                iov_len: 0,
            }; PARTS_MAX];
            for (vector, &(start, bytes)) in vectors.iter_mut().zip(parts) {
                debug_assert!(start + bytes <= self.bytes);
                vector.iov_base = self.base.as_ptr().wrapping_add(start).cast();
                vector.iov_len = bytes;
            }
            let wanted: usize = vectors.iter().map(|vector| vector.iov_len).sum();
            // SAFETY: the ranges lie in this mapping, and nobody uses them; `vectors` has as many entries
            // as are named. A kernel that does not know the call, or not for this, refuses it.
            let done = unsafe {
                libc::syscall(
                    libc::SYS_process_madvise,
                    PIDFD_SELF,
                    vectors.as_ptr(),
                    parts.len().min(PARTS_MAX),
                    libc::MADV_DONTNEED,
                    0,
                )
            };
            if usize::try_from(done) == Ok(wanted) {
                return;
            }
            // Memory that is locked is refused as well, and goes one by one.
            ONE_BY_ONE.store(true, Relaxed);
        }
        for &(start, bytes) in parts.iter().take(PARTS_MAX) {
            // SAFETY: the caller's promise.
            unsafe { self.drop_content(start, bytes) };
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference into it outlives its owner.
        unsafe { libc::munmap(self.whole.0.as_ptr().cast(), self.whole.1) };
    }
}

/// This thread does not interrupt one that runs when it wakes up; it has its share of the time like others.
pub(super) fn let_others_go_first() {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameter is only read. If the system refuses, the thread is as all others.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const param) };
}

pub(super) fn os_page_size() -> usize {
    // SAFETY: sysconf has no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// Why address space could not be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MmapError {
    /// Zero, or more frames than a frame number can name.
    BadCapacity {
        /// Bytes asked for.
        bytes: usize,
        /// The most there can be.
        max: usize,
    },
    /// The kernel refused the mapping.
    Refused {
        /// Bytes asked for.
        bytes: usize,
        /// The system's error number.
        errno: i32,
    },
}

impl fmt::Display for MmapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BadCapacity { bytes, max } => {
                write!(f, "capacity of {bytes} bytes; expected 1 to {max}")
            }
            Self::Refused { bytes, errno } => {
                let error = std::io::Error::from_raw_os_error(errno);
                write!(f, "cannot reserve {bytes} bytes of address space: {error}")
            }
        }
    }
}

impl core::error::Error for MmapError {}
