//! What can go wrong: one enum for storing, one for reaching what is stored.

use crate::frames::TakeError;
use crate::space::SpaceError;
use core::fmt;

/// Why nothing was stored. The pool is exactly as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AllocError {
    /// The page source has no page left.
    OutOfPages,
    /// The pool's own limit is reached.
    LimitReached {
        /// The limit in pages.
        limit_pages: usize,
    },
    /// Every logical offset of the arena is in use (16 GiB of blocks).
    SpaceFull,
    /// Every entry of the arena is in use.
    TooManyObjects {
        /// Entries of an arena.
        max: u64,
    },
    /// No object has this size.
    BadSize {
        /// Bytes asked for.
        size: usize,
        /// The most there can be; the least is 1.
        max: usize,
    },
    /// No slot has this key.
    BadKey {
        /// The key.
        key: u64,
        /// The first key that is too big.
        limit: u64,
    },
    /// A tag or value has more bits than its place in an entry.
    BadTag {
        /// What came.
        value: u64,
        /// The most there can be.
        max: u64,
    },
}

impl AllocError {
    pub(crate) fn from_space(error: SpaceError, limit_pages: usize) -> Self {
        match error {
            SpaceError::Full => Self::SpaceFull,
            SpaceError::Take(error) => Self::from_take(error, limit_pages),
        }
    }

    pub(crate) fn from_take(error: TakeError, limit_pages: usize) -> Self {
        match error {
            TakeError::OutOfPages => Self::OutOfPages,
            TakeError::Limit => Self::LimitReached { limit_pages },
        }
    }
}

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::OutOfPages => f.write_str("the page source has no free page left"),
            Self::LimitReached { limit_pages } => {
                write!(f, "the pool's limit of {limit_pages} pages is reached")
            }
            Self::SpaceFull => f.write_str("the arena's 16 GiB of logical space are used up"),
            Self::TooManyObjects { max } => write!(f, "the arena holds its most of {max} objects"),
            Self::BadSize { size, max } => write!(f, "object of {size} bytes; expected 1 to {max}"),
            Self::BadKey { key, limit } => write!(f, "key {key}; expected less than {limit}"),
            Self::BadTag { value, max } => {
                write!(f, "tag or value {value}; expected at most {max}")
            }
        }
    }
}

impl core::error::Error for AllocError {}

/// Why an object could not be reached. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessError {
    /// The handle names no live object of this pool: it is forged, of another pool, or its
    /// object was freed.
    BadHandle,
    /// The range does not lie in the object.
    BadRange {
        /// First byte.
        offset: usize,
        /// Bytes.
        len: usize,
        /// Bytes of the object.
        size: usize,
    },
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BadHandle => f.write_str("the handle names no live object of this pool"),
            Self::BadRange { offset, len, size } => {
                write!(
                    f,
                    "bytes {offset}..{offset}+{len} of an object of {size} bytes"
                )
            }
        }
    }
}

impl core::error::Error for AccessError {}
