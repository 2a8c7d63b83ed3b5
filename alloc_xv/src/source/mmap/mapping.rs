//! Reserved address space.

use core::fmt;
use core::ptr::NonNull;

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

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference into it outlives its owner.
        unsafe { libc::munmap(self.whole.0.as_ptr().cast(), self.whole.1) };
    }
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
