//! Reserved address space.

use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// An anonymous mapping, unmapped on drop.
pub(super) struct Mapping {
    pub(super) base: NonNull<u8>,
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

    /// Advice for a part of the mapping; false if the kernel did not take it.
    ///
    /// # Safety
    ///
    /// If the advice drops content, nobody uses that part.
    pub(super) unsafe fn advise(&self, start: usize, bytes: usize, advice: libc::c_int) -> bool {
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
