//! The kernel's error numbers, as negative results.

use alloc_xv::{AccessError, AllocError};
use compcache::{BuildError, Error};

/// Damaged bytes.
pub(crate) const EIO: i32 = -5;
/// No page, where there may be one later.
pub(crate) const ENOMEM: i32 = -12;
/// What cannot be.
pub(crate) const EINVAL: i32 = -22;
/// The memory limit, or no room in the tables.
pub(crate) const ENOSPC: i32 = -28;

pub(crate) fn of_alloc(error: AllocError) -> i32 {
    match error {
        AllocError::OutOfPages => ENOMEM,
        AllocError::LimitReached { .. }
        | AllocError::SpaceFull
        | AllocError::TooManyObjects { .. }
        | AllocError::BadSize { .. } => ENOSPC,
        _ => EINVAL,
    }
}

pub(crate) fn of_access(error: AccessError) -> i32 {
    match error {
        AccessError::BadHandle => EINVAL,
        _ => EIO,
    }
}

pub(crate) fn of_page(error: Error) -> i32 {
    match error {
        Error::NoSpace(error) => of_alloc(error),
        Error::OutOfRange { .. } | Error::BadRange { .. } => EINVAL,
        _ => EIO,
    }
}

pub(crate) fn of_build(error: BuildError) -> i32 {
    match error {
        BuildError::BadSize { .. } => EINVAL,
        _ => ENOMEM,
    }
}

/// A result as C has it: 0 and up for success.
pub(crate) fn status<T, E>(
    result: Result<T, E>,
    value: impl Fn(T) -> i32,
    of: impl Fn(E) -> i32,
) -> i32 {
    match result {
        Ok(done) => value(done),
        Err(error) => of(error),
    }
}
