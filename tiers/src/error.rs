//! What can go wrong.

use compcache_backing::{ReadError, WriteError};
use core::fmt;
use std::io;

/// Why an operation on a page failed. What was stored is as it was.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// As in the cache.
    Cache(compcache::Error),
    /// The page is in the backing store, and could not be read from there.
    Read {
        /// Index of the page.
        index: u64,
        /// Why.
        error: ReadError,
    },
    /// The backing store took no records.
    Write(WriteError),
    /// No memory for the buffers of the one who makes pages denser.
    Workspace(compress::WorkspaceError),
    /// There is no backing store.
    NoStore,
    /// There is a backing store already.
    HasStore,
    /// The budget for writing back is used up.
    WritebackLimit,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cache(error) => error.fmt(f),
            Self::Read { index, error } => {
                write!(f, "page {index} not read from the backing store: {error}")
            }
            Self::Write(error) => write!(f, "not written back: {error}"),
            Self::Workspace(error) => write!(f, "no buffers for denser codecs: {error}"),
            Self::NoStore => f.write_str("there is no backing store; set one with backing_dev"),
            Self::HasStore => f.write_str("there is a backing store already"),
            Self::WritebackLimit => {
                f.write_str("writeback_limit is used up; raise it, or switch it off")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Cache(error) => Some(error),
            Self::Read { error, .. } => Some(error),
            Self::Write(error) => Some(error),
            _ => None,
        }
    }
}

impl From<compcache::Error> for Error {
    fn from(error: compcache::Error) -> Self {
        Self::Cache(error)
    }
}

/// Why there is no such cache.
#[derive(Debug)]
#[non_exhaustive]
pub enum NewError {
    /// The cache could not be built.
    Build(compcache::BuildError),
    /// A thread could not be started.
    Thread(io::Error),
}

impl fmt::Display for NewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build(error) => error.fmt(f),
            Self::Thread(error) => write!(f, "no thread: {error}"),
        }
    }
}

impl std::error::Error for NewError {}

impl From<compcache::BuildError> for NewError {
    fn from(error: compcache::BuildError) -> Self {
        Self::Build(error)
    }
}
