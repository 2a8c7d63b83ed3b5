//! What every function returns.

use alloc_xv::{AccessError, AllocError};
use compcache::{BuildError, Error};
use core::ffi::c_char;

/// What became of a call. The numbers never change their meaning; later versions may add some.
///
/// A call that did not return `COMPCACHE_OK` has changed nothing but statistics, unless its own
/// text says otherwise.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum compcache_status {
    /// Done.
    COMPCACHE_OK = 0,
    /// A pointer that must not be NULL is.
    COMPCACHE_ERR_NULL_POINTER = 1,
    /// Not a live object of this kind: never created, or destroyed.
    COMPCACHE_ERR_BAD_OBJECT = 2,
    /// `struct_size` is not that of a version this library knows, or a newer version's fields are
    /// set.
    COMPCACHE_ERR_BAD_VERSION = 3,
    /// A value in an option struct is out of range, or callbacks are missing.
    COMPCACHE_ERR_BAD_OPTION = 4,
    /// The memory for an object is too small or not aligned: ask the layout function.
    COMPCACHE_ERR_BAD_MEMORY = 5,
    /// `lock_init` failed.
    COMPCACHE_ERR_LOCK_FAILED = 6,
    /// `page_alloc` returned NULL.
    COMPCACHE_ERR_OUT_OF_PAGES = 7,
    /// `page_alloc` returned a page that is not aligned, or too far from `page_base`.
    COMPCACHE_ERR_BAD_PAGE = 8,
    /// The limit that was set on memory is reached.
    COMPCACHE_ERR_LIMIT_REACHED = 9,
    /// All object numbers or all of the logical space are used up.
    COMPCACHE_ERR_POOL_FULL = 10,
    /// No object has this size.
    COMPCACHE_ERR_BAD_SIZE = 11,
    /// The handle names no live object of this pool.
    COMPCACHE_ERR_BAD_HANDLE = 12,
    /// The range does not lie in the object, or not in the page in whole sectors.
    COMPCACHE_ERR_BAD_RANGE = 13,
    /// The device ends before this page.
    COMPCACHE_ERR_OUT_OF_RANGE = 14,
    /// The stored bytes of the page are damaged.
    COMPCACHE_ERR_CORRUPT = 15,
    /// Somebody still reads an object of this pool.
    COMPCACHE_ERR_BUSY = 16,
    /// There are more fragments than room for them.
    COMPCACHE_ERR_TOO_MANY_FRAGMENTS = 17,
    /// A contradiction in the library's own tables: their pages were overwritten, or it has a bug.
    COMPCACHE_ERR_INTERNAL = 18,
}

use compcache_status::*;

/// What the library's functions have inside.
pub(crate) type Outcome = Result<(), compcache_status>;

pub(crate) fn finish(outcome: Outcome) -> compcache_status {
    match outcome {
        Ok(()) => COMPCACHE_OK,
        Err(status) => status,
    }
}

/// An error as the caller is told it.
pub(crate) trait Told {
    fn told(self) -> compcache_status;
}

impl Told for AllocError {
    fn told(self) -> compcache_status {
        match self {
            Self::OutOfPages => COMPCACHE_ERR_OUT_OF_PAGES,
            Self::LimitReached { .. } => COMPCACHE_ERR_LIMIT_REACHED,
            Self::SpaceFull | Self::TooManyObjects { .. } => COMPCACHE_ERR_POOL_FULL,
            Self::BadSize { .. } => COMPCACHE_ERR_BAD_SIZE,
            Self::BadKey { .. } => COMPCACHE_ERR_OUT_OF_RANGE,
            _ => COMPCACHE_ERR_INTERNAL,
        }
    }
}

impl Told for AccessError {
    fn told(self) -> compcache_status {
        match self {
            Self::BadHandle => COMPCACHE_ERR_BAD_HANDLE,
            Self::BadRange { .. } => COMPCACHE_ERR_BAD_RANGE,
            _ => COMPCACHE_ERR_INTERNAL,
        }
    }
}

impl Told for Error {
    fn told(self) -> compcache_status {
        match self {
            Self::OutOfRange { .. } => COMPCACHE_ERR_OUT_OF_RANGE,
            Self::BadRange { .. } => COMPCACHE_ERR_BAD_RANGE,
            Self::NoSpace(error) => error.told(),
            Self::Corrupt { .. } => COMPCACHE_ERR_CORRUPT,
            _ => COMPCACHE_ERR_INTERNAL,
        }
    }
}

impl Told for BuildError {
    fn told(self) -> compcache_status {
        COMPCACHE_ERR_BAD_OPTION
    }
}

/// What a status means, in English, without a line's end. Never NULL; for any number.
///
/// Context: any. Takes no lock.
#[unsafe(no_mangle)]
pub extern "C" fn compcache_strerror(status: i32) -> *const c_char {
    let text = match status {
        0 => c"done",
        1 => c"a pointer that must not be NULL is",
        2 => c"not a live object of this kind",
        3 => c"a struct of a version that this library does not know",
        4 => c"an option is out of range, or callbacks are missing",
        5 => c"the memory for the object is too small or not aligned",
        6 => c"a lock could not be made",
        7 => c"no page could be had",
        8 => c"a page is not aligned or too far from the others",
        9 => c"the limit on memory is reached",
        10 => c"the pool holds as much as it can number",
        11 => c"no object has this size",
        12 => c"the handle names no live object of this pool",
        13 => c"the range does not lie in the object, or is not made of sectors",
        14 => c"the device ends before this page",
        15 => c"the stored bytes of the page are damaged",
        16 => c"an object is still being read",
        17 => c"more fragments than room for them",
        18 => c"the library's tables contradict each other",
        _ => c"not a status of this version",
    };
    text.as_ptr()
}
