//! What can go wrong.

use crate::key::PoolId;
use alloc_xv::AllocError;
use core::fmt;

/// Why an operation failed. After a put that failed, no page is stored under its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// There is no such pool, or no longer.
    BadPool {
        /// What was given.
        pool: PoolId,
    },
    /// No more pools.
    TooManyPools {
        /// The most there can be.
        max: u32,
    },
    /// A shared pool of this id has another lifetime.
    LifetimeMismatch,
    /// A persistent pool has as many pages as its limit allows.
    PoolFull {
        /// The limit in pages.
        limit_pages: u32,
    },
    /// No memory, and nothing (more) that may be dropped.
    NoSpace(AllocError),
    /// All pages of the cache are in use, and none may be dropped.
    NoPages {
        /// Pages of the cache.
        pages: u64,
    },
    /// Too many keys have met in one chain of the hash table. Does not happen with a secret hash
    /// key.
    Crowded {
        /// Keys in a chain, at most.
        max: u32,
    },
    /// The stored bytes are damaged.
    Damaged,
    /// More than a million readers of one page at once.
    TooManyReaders,
    /// The page cache failed otherwise.
    Cache(compcache::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadPool { pool } => write!(f, "there is no pool {pool} (any more)"),
            Self::TooManyPools { max } => write!(f, "there are {max} pools already; destroy one"),
            Self::LifetimeMismatch => {
                f.write_str("the shared pool of this id has another lifetime; join it with that")
            }
            Self::PoolFull { limit_pages } => {
                write!(
                    f,
                    "the pool's limit of {limit_pages} pages is reached; flush some"
                )
            }
            Self::NoSpace(error) => write!(f, "no memory, and nothing to drop: {error}"),
            Self::NoPages { pages } => {
                write!(
                    f,
                    "all {pages} pages of the cache are in use, and none may be dropped"
                )
            }
            Self::Crowded { max } => {
                write!(
                    f,
                    "more than {max} keys meet in a chain; use a secret hash key"
                )
            }
            Self::Damaged => f.write_str("the stored bytes of the page are damaged"),
            Self::TooManyReaders => f.write_str("too many readers of one page at once"),
            Self::Cache(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::NoSpace(error) => Some(error),
            Self::Cache(error) => Some(error),
            _ => None,
        }
    }
}

/// Why there is no such tmem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// More pages than the index can name.
    TooManyPages {
        /// Pages asked for.
        pages: u64,
        /// The most there can be.
        max: u64,
    },
    /// The page cache could not be made.
    Cache(compcache::BuildError),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyPages { pages, max } => {
                write!(f, "{pages} pages; expected at most {max}")
            }
            Self::Cache(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Cache(error) => Some(error),
            Self::TooManyPages { .. } => None,
        }
    }
}

impl From<compcache::BuildError> for BuildError {
    fn from(error: compcache::BuildError) -> Self {
        Self::Cache(error)
    }
}
