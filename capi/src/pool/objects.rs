//! Objects: allocated, freed, copied to and from.

use super::compcache_pool;
use crate::common::{not_stored, readable, writable};
use crate::object::with_object;
use crate::status::compcache_status::{self, *};
use crate::status::{Told, finish};
use alloc_xv::{Handle, OBJECT_MAX};
use core::ffi::c_void;

/// Allocates an object of `size` bytes, cleared. `*handle`, which is never 0, is set on success only.
///
/// Context: takes an arena's lock and calls `page_alloc` under it; atomic if these are.
///
/// # Safety
///
/// `pool` is NULL or memory in which a pool was once created, and nobody destroys it meanwhile (as for
/// all functions below). `handle` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_alloc(
    pool: *mut compcache_pool,
    size: usize,
    handle: *mut u64,
) -> compcache_status {
    let alloc = || {
        if handle.is_null() {
            return Err(COMPCACHE_ERR_NULL_POINTER);
        }
        let made = with_object!(pool, |pool| pool
            .alloc(size)
            .map_err(|error| not_stored(error, pool.source())))?;
        // SAFETY: not null, and the caller's word.
        unsafe { handle.write(made.to_bits()) };
        Ok(())
    };
    finish(alloc())
}

/// Allocates an object that holds a copy of `size` bytes. `*handle`, which is never 0, is set on
/// success only.
///
/// Context: that of `compcache_pool_alloc`.
///
/// # Safety
///
/// `bytes` is NULL or `size` readable bytes, `handle` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_alloc_from(
    pool: *mut compcache_pool,
    bytes: *const c_void,
    size: usize,
    handle: *mut u64,
) -> compcache_status {
    let alloc = || {
        if handle.is_null() {
            return Err(COMPCACHE_ERR_NULL_POINTER);
        }
        // SAFETY: the caller's word.
        let bytes = unsafe { readable(bytes, size, OBJECT_MAX + 1) }?;
        let made = with_object!(pool, |pool| pool
            .alloc_from(bytes)
            .map_err(|error| not_stored(error, pool.source())))?;
        // SAFETY: not null, and the caller's word.
        unsafe { handle.write(made.to_bits()) };
        Ok(())
    };
    finish(alloc())
}

/// Frees an object.
///
/// Context: takes an arena's lock and calls `page_free` under it, and moves at most `inline_moves`
/// objects (then `page_alloc` may be called too, and may fail). Waits, spinning, while somebody reads or writes the object.
///
/// # Safety
///
/// See `compcache_pool_alloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_free(
    pool: *mut compcache_pool,
    handle: u64,
) -> compcache_status {
    let free = || {
        with_object!(pool, |pool| pool
            .free(handle_of(handle)?)
            .map_err(Told::told))
    };
    finish(free())
}

/// Says how many bytes an object has.
///
/// Context: takes an arena's lock.
///
/// # Safety
///
/// See `compcache_pool_alloc`. `size` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_size(
    pool: *mut compcache_pool,
    handle: u64,
    size: *mut usize,
) -> compcache_status {
    let ask = || {
        if size.is_null() {
            return Err(COMPCACHE_ERR_NULL_POINTER);
        }
        let found = with_object!(pool, |pool| pool
            .size(handle_of(handle)?)
            .map_err(Told::told))?;
        // SAFETY: not null, and the caller's word.
        unsafe { size.write(found) };
        Ok(())
    };
    finish(ask())
}

/// Copies `len` bytes into an object, from its byte `offset` on.
///
/// Context: takes an arena's lock for a moment, and copies without it. Waits, spinning, while
/// somebody reads or writes the object.
///
/// # Safety
///
/// See `compcache_pool_alloc`. `bytes` is NULL or `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_write(
    pool: *mut compcache_pool,
    handle: u64,
    offset: usize,
    bytes: *const c_void,
    len: usize,
) -> compcache_status {
    let write = || {
        // SAFETY: the caller's word.
        let bytes = unsafe { readable(bytes, len, OBJECT_MAX + 1) }?;
        with_object!(pool, |pool| pool
            .write(handle_of(handle)?, offset, bytes)
            .map_err(Told::told))
    };
    finish(write())
}

/// Copies `len` bytes of an object, from its byte `offset` on, to `bytes`.
///
/// Context: that of `compcache_pool_write`.
///
/// # Safety
///
/// See `compcache_pool_alloc`. `bytes` is NULL or `len` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_read(
    pool: *mut compcache_pool,
    handle: u64,
    offset: usize,
    bytes: *mut c_void,
    len: usize,
) -> compcache_status {
    let read = || {
        // SAFETY: the caller's word.
        let out = unsafe { writable(bytes, len, OBJECT_MAX + 1) }?;
        with_object!(pool, |pool| pool
            .read_into(handle_of(handle)?, offset, out)
            .map_err(Told::told))
    };
    finish(read())
}

pub(super) fn handle_of(bits: u64) -> Result<Handle, compcache_status> {
    Handle::from_bits(bits).ok_or(COMPCACHE_ERR_BAD_HANDLE)
}
