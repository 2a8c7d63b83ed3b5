//! Errors: one type for each family of operations.

use core::fmt;
use std::io;

/// Why a store cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The path cannot be opened, claimed, emptied or measured.
    Io(io::Error),
    /// Neither a directory, a file nor a block device.
    BadKind,
    /// Somebody else uses it: a mount, swap, another server.
    InUse,
    /// It has fewer bytes than the least that works.
    TooSmall {
        /// Bytes that it has.
        len: u64,
        /// The least.
        min: u64,
    },
    /// No random bytes for the key.
    NoKey(io::Error),
    /// An option is out of its range.
    BadOption(&'static str),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the backing store cannot be used: {error}"),
            Self::BadKind => f.write_str(
                "the backing store must be a block device, a file, or a directory for a file without a name",
            ),
            Self::InUse => f.write_str(
                "the backing store is in use: it is mounted, a swap area, or another server's",
            ),
            Self::TooSmall { len, min } => {
                write!(f, "the backing store has {len} bytes; it needs {min} or more")
            }
            Self::NoKey(error) => write!(f, "no random bytes for a key: {error}"),
            Self::BadOption(which) => write!(f, "option out of range: {which}"),
        }
    }
}

impl core::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io(error) | Self::NoKey(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a batch was not written. Nothing of it counts as written.
#[derive(Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// No room: clean, or let records go.
    Full,
    /// A record is empty or longer than [`RECORD_MAX`](crate::RECORD_MAX).
    BadLength {
        /// Bytes of the record.
        len: usize,
    },
    /// The store failed.
    Io(io::Error),
    /// The key has sealed as much as it may; a new [`Backing`](crate::Backing) has a new one.
    KeyWornOut,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("no room in the backing store"),
            Self::BadLength { len } => write!(
                f,
                "a record of {len} bytes: it may have 1 to {}",
                crate::RECORD_MAX
            ),
            Self::Io(error) => write!(f, "the backing store failed: {error}"),
            Self::KeyWornOut => f.write_str("the key of the backing store has sealed all it may"),
        }
    }
}

impl core::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a record was not read. No byte of it is given out.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// What lies there is not this key's record: the place was reused, bytes were changed, or the
    /// write never happened. Look where the record is now; if it is still said to be here, its
    /// bytes are gone.
    Damaged,
    /// The store failed. Another try may work.
    Io(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged => f.write_str("no such record there, or it is damaged"),
            Self::Io(error) => write!(f, "the backing store failed: {error}"),
        }
    }
}

impl core::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Damaged => None,
        }
    }
}
