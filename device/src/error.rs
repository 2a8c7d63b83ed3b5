//! What can go wrong.

use alloc_xv::AllocError;
use compcache::BuildError;
use compress::CompressError;
use core::fmt;

/// Why a request failed.
///
/// Pages are atomic, requests are not: of a request over several pages, those before the one that
/// failed are done, that one and those behind it are as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The device ends before the request does.
    OutOfRange {
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
        /// Bytes of the device.
        size: u64,
    },
    /// Not made of whole sectors.
    Unaligned {
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// No memory for a page: the limit is reached, or the system has no more.
    NoSpace(AllocError),
    /// The stored bytes of the page at this offset are damaged.
    Corrupt {
        /// First byte of the page.
        offset: u64,
    },
    /// The page at this offset is in the backing store, and could not be read from there: the store
    /// failed, or gave other bytes than were written.
    Backing {
        /// First byte of the page.
        offset: u64,
    },
    /// The codec could not compress the page.
    Codec(CompressError),
    /// The device, or the way to it, takes no writes.
    ReadOnly,
    /// A contradiction between device and cache, which no request can cause.
    Internal,
}

impl Error {
    /// The number that a block device of the system would fail with.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Self::OutOfRange { .. } | Self::Unaligned { .. } => Errno::Inval,
            Self::NoSpace(_) => Errno::NoSpc,
            Self::Corrupt { .. } | Self::Backing { .. } | Self::Codec(_) | Self::Internal => {
                Errno::Io
            }
            Self::ReadOnly => Errno::Perm,
        }
    }
}

/// Numbers of Linux for the errors of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Errno {
    /// `EPERM`
    Perm = 1,
    /// `EIO`
    Io = 5,
    /// `EINVAL`
    Inval = 22,
    /// `ENOSPC`
    NoSpc = 28,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { offset, len, size } => {
                write!(f, "{len} bytes from {offset} on; the device has {size}")
            }
            Self::Unaligned { offset, len } => write!(
                f,
                "{len} bytes from {offset} on; expected whole sectors of 512 bytes"
            ),
            Self::NoSpace(error) => write!(f, "no memory for a page: {error}"),
            Self::Corrupt { offset } => {
                write!(f, "the stored bytes of the page at {offset} are damaged")
            }
            Self::Backing { offset } => write!(
                f,
                "the page at {offset} was not read from the backing store, which failed"
            ),
            Self::Codec(error) => write!(f, "page not compressed: {error}"),
            Self::ReadOnly => f.write_str("the device is read-only"),
            Self::Internal => f.write_str("device and cache contradict each other"),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::NoSpace(error) => Some(error),
            Self::Codec(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a device could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum NewError {
    /// The size is zero or not made of whole pages.
    BadSize {
        /// Bytes asked for.
        size: u64,
    },
    /// The cache could not be made.
    Build(BuildError),
    /// The threads that pack pages and make them denser could not be started.
    Thread(std::io::Error),
}

impl fmt::Display for NewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadSize { size } => write!(
                f,
                "device of {size} bytes; expected one or more whole pages of 4096 bytes"
            ),
            Self::Build(error) => error.fmt(f),
            Self::Thread(error) => write!(f, "no thread to pack pages: {error}"),
        }
    }
}

impl core::error::Error for NewError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::BadSize { .. } => None,
            Self::Build(error) => Some(error),
            Self::Thread(error) => Some(error),
        }
    }
}

impl From<compcache_tiers::NewError> for NewError {
    fn from(error: compcache_tiers::NewError) -> Self {
        match error {
            compcache_tiers::NewError::Build(error) => Self::Build(error),
            compcache_tiers::NewError::Thread(error) => Self::Thread(error),
            other => Self::Thread(std::io::Error::other(other)),
        }
    }
}

/// Why a device has no backing store.
#[derive(Debug)]
#[non_exhaustive]
pub enum BackingError {
    /// It has one already, which stays as long as the device.
    HasStore,
    /// It cannot be used.
    Open(compcache_tiers::backing::OpenError),
    /// There is no memory for its tables.
    Memory(compcache::Error),
    /// The thread that writes back could not be started.
    Thread(std::io::Error),
}

impl fmt::Display for BackingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HasStore => f.write_str("the device has a backing store, which stays with it"),
            Self::Open(error) => error.fmt(f),
            Self::Memory(error) => write!(f, "no memory for the store's tables: {error}"),
            Self::Thread(error) => write!(f, "no thread to write back: {error}"),
        }
    }
}

impl core::error::Error for BackingError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::HasStore => None,
            Self::Open(error) => Some(error),
            Self::Memory(error) => Some(error),
            Self::Thread(error) => Some(error),
        }
    }
}
