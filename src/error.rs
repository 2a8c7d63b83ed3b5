//! What can go wrong.

use alloc_xv::AllocError;
use compress::{CompressError, WorkspaceError};
use core::fmt;

/// Why an operation on a page failed. What was stored is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The device ends before this page.
    OutOfRange {
        /// Index of the page.
        index: u64,
        /// Pages of the device.
        pages: u64,
    },
    /// The range is not made of whole sectors inside one page.
    BadRange {
        /// First byte in the page.
        offset: usize,
        /// Bytes.
        len: usize,
        /// Bytes of a page.
        page_size: usize,
    },
    /// No memory for the page: the limit, or the page source.
    NoSpace(AllocError),
    /// The codec could not compress.
    Compress(CompressError),
    /// The stored bytes are damaged: their checksum differs, or they do not decode.
    Corrupt {
        /// Index of the page.
        index: u64,
    },
    /// The page is in the backing store: read the record and give it to
    /// [`get_record`](crate::Cache::get_record).
    WrittenBack(WrittenBack),
    /// Another thread works on the pages' forms at this moment; there is one at a time.
    Busy,
    /// The codec has no denser one of this number.
    NoSuchRung {
        /// The rung asked for.
        rung: usize,
        /// Rungs there are.
        rungs: usize,
    },
}

/// Where a page is that was written back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenBack {
    /// The slot whose bytes the record has: the page's, or that of the cluster it is in.
    pub key: u64,
    /// What the backing store gave for the record; 56 bits.
    pub token: u64,
    /// Pages of the cluster, a bit each.
    pub(crate) members: u16,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { index, pages } => {
                write!(f, "page {index} of a device of {pages} pages")
            }
            Self::BadRange {
                offset,
                len,
                page_size,
            } => {
                write!(
                    f,
                    "bytes {offset}..{offset}+{len}; expected whole 512-byte sectors of a {page_size}-byte page"
                )
            }
            Self::NoSpace(error) => write!(f, "no memory for the page: {error}"),
            Self::Compress(error) => write!(f, "page not compressed: {error}"),
            Self::Corrupt { index } => write!(f, "the stored bytes of page {index} are damaged"),
            Self::WrittenBack(at) => write!(
                f,
                "the page is in the backing store, in the record {:#x} of slot {}",
                at.token, at.key
            ),
            Self::Busy => f.write_str("another thread works on the pages' forms; try again"),
            Self::NoSuchRung { rung, rungs } => {
                write!(f, "no denser codec {rung}; there are {rungs}")
            }
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::NoSpace(error) => Some(error),
            Self::Compress(error) => Some(error),
            _ => None,
        }
    }
}

impl From<AllocError> for Error {
    fn from(error: AllocError) -> Self {
        Self::NoSpace(error)
    }
}

impl From<CompressError> for Error {
    fn from(error: CompressError) -> Self {
        Self::Compress(error)
    }
}

/// Why a cache could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// A device of no pages, or of more than there can be slots for.
    BadSize {
        /// Pages asked for.
        pages: u64,
        /// The most there can be.
        max: u64,
    },
    /// No workspace was given, so nothing could ever be compressed.
    NoWorkspace,
    /// Units that are too long or no power of two.
    BadUnit {
        /// Bytes asked for.
        unit: usize,
        /// The most there can be.
        max: usize,
    },
    /// A codec could not make its workspace.
    Workspace(WorkspaceError),
    /// The system refused the address space for the pages.
    #[cfg(feature = "std")]
    Source(alloc_xv::MmapError),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadSize { pages, max } => {
                write!(f, "device of {pages} pages; expected 1 to {max}")
            }
            Self::NoWorkspace => f.write_str("no workspace given; at least one is needed"),
            Self::BadUnit { unit, max } => {
                write!(
                    f,
                    "units of {unit} bytes; expected a power of two up to {max}"
                )
            }
            Self::Workspace(error) => write!(f, "no workspace for the codec: {error}"),
            #[cfg(feature = "std")]
            Self::Source(error) => write!(f, "no memory for the cache: {error}"),
        }
    }
}

impl core::error::Error for BuildError {}
