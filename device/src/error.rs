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
            Self::Corrupt { .. } | Self::Codec(_) | Self::Internal => Errno::Io,
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
    /// The thread that packs the pages could not be started.
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

impl From<BuildError> for NewError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}
