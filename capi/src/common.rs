//! What pool, cache and zsmalloc's shape have in common: structs that are filled in, bytes of the
//! caller's.

use crate::abi::{Versioned, put_struct, write_struct};
use crate::host::Pages;
use crate::object::Plan;
use crate::pool::compcache_compacted;
use crate::status::compcache_status::{self, *};
use crate::status::{Outcome, Told};
use alloc_xv::{AllocError, Compacted};
use core::ffi::c_void;

/// Arenas of a pool or cache: each has a lock and room for 16 GiB of blocks and 2^24 objects.
pub(crate) const ARENAS: usize = 4;

/// Fills in the defaults of a struct.
///
/// # Safety
///
/// `to` is null or points to `size` writable bytes.
pub(crate) unsafe fn init_struct<T: Versioned>(to: *mut T, size: usize) -> Outcome {
    if to.is_null() {
        return Err(COMPCACHE_ERR_NULL_POINTER);
    }
    if size < T::FIRST {
        return Err(COMPCACHE_ERR_BAD_VERSION);
    }
    // SAFETY: the caller's word.
    unsafe {
        // Fields of a version that is newer than this library.
        to.cast::<u8>().write_bytes(0, size);
        put_struct(to, size, T::DEFAULT);
        to.cast::<usize>().write_unaligned(size);
    }
    Ok(())
}

/// A page size that there is.
pub(crate) fn page_size(bytes: u64) -> Result<usize, compcache_status> {
    match bytes {
        4096 | 16384 | 65536 => Ok(bytes as usize),
        _ => Err(COMPCACHE_ERR_BAD_OPTION),
    }
}

/// # Safety
///
/// `size` and `align` are null or may be written.
pub(crate) unsafe fn tell_layout(plan: &Plan, size: *mut usize, align: *mut usize) -> Outcome {
    if size.is_null() || align.is_null() {
        return Err(COMPCACHE_ERR_NULL_POINTER);
    }
    // SAFETY: not null, and the caller's word.
    unsafe {
        size.write(plan.whole.size());
        align.write(plan.whole.align());
    }
    Ok(())
}

/// Why nothing was stored: also a page that could not be used.
pub(crate) fn not_stored<const PAGE: usize>(
    error: AllocError,
    source: &Pages<PAGE>,
) -> compcache_status {
    let refused = source.take_bad_page();
    match error.told() {
        COMPCACHE_ERR_OUT_OF_PAGES if refused => COMPCACHE_ERR_BAD_PAGE,
        status => status,
    }
}

/// The caller's bytes, at most `max` of them: enough for the range to be refused.
///
/// # Safety
///
/// `bytes` is null or `len` readable bytes.
pub(crate) unsafe fn readable<'b>(
    bytes: *const c_void,
    len: usize,
    max: usize,
) -> Result<&'b [u8], compcache_status> {
    if bytes.is_null() {
        return Err(COMPCACHE_ERR_NULL_POINTER);
    }
    // SAFETY: not null, and the caller's word.
    Ok(unsafe { core::slice::from_raw_parts(bytes.cast(), len.min(max)) })
}

/// [`readable`] for bytes that are written.
///
/// # Safety
///
/// `bytes` is null or `len` writable bytes.
pub(crate) unsafe fn writable<'b>(
    bytes: *mut c_void,
    len: usize,
    max: usize,
) -> Result<&'b mut [u8], compcache_status> {
    if bytes.is_null() {
        return Err(COMPCACHE_ERR_NULL_POINTER);
    }
    // SAFETY: not null, and the caller's word.
    Ok(unsafe { core::slice::from_raw_parts_mut(bytes.cast(), len.min(max)) })
}

/// # Safety
///
/// `to` is null or points to as many writable bytes as it says.
pub(crate) unsafe fn tell_compacted(to: *mut compcache_compacted, done: Compacted) -> Outcome {
    if to.is_null() {
        return Ok(());
    }
    // SAFETY: the caller's word.
    unsafe {
        write_struct(to, || compcache_compacted {
            struct_size: 0,
            objects: done.objects,
            pages: done.pages,
            finished: done.finished.into(),
        })
    }
}
