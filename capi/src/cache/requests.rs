//! Pages: put, got, written in part, discarded.

use super::compcache_cache;
use crate::common::{not_stored, readable, writable};
use crate::host::{COMPCACHE_LOG_ERROR, Pages, compcache_host};
use crate::object::{header_of, with_object};
use crate::status::compcache_status::{self, *};
use crate::status::{Told, finish};
use compcache::Error;
use core::ffi::c_void;

/// Stores a page of the device's page size. On failure the page that was stored before stays.
///
/// Context: compresses without a lock, in a workspace, for which it waits, spinning, while all are in use;
/// then takes an arena's lock and calls `page_alloc` and `page_free` under it. Waits, spinning, while
/// somebody uses the same page. Atomic if the locks and the page callbacks are.
///
/// # Safety
///
/// `cache` is NULL or memory in which a cache was once created, and nobody destroys it meanwhile (as
/// for all functions below). `page` is NULL or as many readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_put(
    cache: *mut compcache_cache,
    index: u64,
    page: *const c_void,
) -> compcache_status {
    let put = || {
        // SAFETY: the caller's word.
        let host = &unsafe { header_of(cache) }?.host;
        with_object!(cache, |cache, PAGE| {
            // SAFETY: the caller's word.
            let page = unsafe { page.cast::<[u8; PAGE]>().as_ref() };
            let page = page.ok_or(COMPCACHE_ERR_NULL_POINTER)?;
            cache
                .put(index, page)
                .map_err(|error| failed(error, cache.source(), host))
        })
    };
    finish(put())
}

/// Reads a page. One that is not stored reads as zeroes, and is no error; `stored`, which may be NULL, tells.
/// On failure the page is all zeroes, never wrong bytes.
///
/// Context: takes a workspace, for which it waits, spinning, while all are in use; an arena's lock for a
/// moment; then decompresses, holding the page only. Waits, spinning, while somebody uses the same page.
///
/// # Safety
///
/// See `compcache_cache_put`. `page` is NULL or as many writable bytes, `stored` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_get(
    cache: *mut compcache_cache,
    index: u64,
    page: *mut c_void,
    stored: *mut bool,
) -> compcache_status {
    let get = || {
        // SAFETY: the caller's word.
        let host = &unsafe { header_of(cache) }?.host;
        let found = with_object!(cache, |cache, PAGE| {
            // SAFETY: the caller's word.
            let page = unsafe { page.cast::<[u8; PAGE]>().as_mut() };
            let page = page.ok_or(COMPCACHE_ERR_NULL_POINTER)?;
            cache
                .get(index, page)
                .map_err(|error| failed(error, cache.source(), host))
        })?;
        // SAFETY: the caller's word.
        unsafe { tell_bool(stored, found) };
        Ok(())
    };
    finish(get())
}

/// Reads `len` bytes of a page from its byte `offset` on: whole sectors of 512 bytes.
///
/// Context: that of `compcache_cache_get`.
///
/// # Safety
///
/// See `compcache_cache_put`. `bytes` is NULL or `len` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_read(
    cache: *mut compcache_cache,
    index: u64,
    offset: usize,
    bytes: *mut c_void,
    len: usize,
) -> compcache_status {
    let read = || {
        // SAFETY: the caller's word.
        let host = &unsafe { header_of(cache) }?.host;
        with_object!(cache, |cache, PAGE| {
            // SAFETY: the caller's word.
            let out = unsafe { writable(bytes, len, PAGE + 1) }?;
            cache
                .read(index, offset, out)
                .map_err(|error| failed(error, cache.source(), host))
        })
    };
    finish(read())
}

/// Writes `len` bytes of a page from its byte `offset` on: whole sectors of 512 bytes. Others see the page as it was
/// before or after; on failure it is as it was.
///
/// Context: that of `compcache_cache_put`; holds the page while it decompresses and compresses.
///
/// # Safety
///
/// See `compcache_cache_put`. `bytes` is NULL or `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_write(
    cache: *mut compcache_cache,
    index: u64,
    offset: usize,
    bytes: *const c_void,
    len: usize,
) -> compcache_status {
    let write = || {
        // SAFETY: the caller's word.
        let host = &unsafe { header_of(cache) }?.host;
        with_object!(cache, |cache, PAGE| {
            // SAFETY: the caller's word.
            let bytes = unsafe { readable(bytes, len, PAGE + 1) }?;
            cache
                .write(index, offset, bytes)
                .map_err(|error| failed(error, cache.source(), host))
        })
    };
    finish(write())
}

/// Forgets a page. `stored`, which may be NULL, tells whether there was one.
///
/// Context: takes an arena's lock, calls `page_free` under it, and moves at most `inline_moves` objects (then
/// `page_alloc` may be called too, and may fail). Waits, spinning, while somebody uses the same page.
///
/// # Safety
///
/// See `compcache_cache_put`. `stored` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_discard(
    cache: *mut compcache_cache,
    index: u64,
    stored: *mut bool,
) -> compcache_status {
    let discard = || {
        let found = with_object!(cache, |cache| cache.discard(index).map_err(Told::told))?;
        // SAFETY: the caller's word.
        unsafe { tell_bool(stored, found) };
        Ok(())
    };
    finish(discard())
}

/// Tells whether a page is stored.
///
/// Context: takes an arena's lock for a moment. Waits, spinning, while somebody uses the same page.
///
/// # Safety
///
/// See `compcache_cache_put`. `stored` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_contains(
    cache: *mut compcache_cache,
    index: u64,
    stored: *mut bool,
) -> compcache_status {
    let contains = || {
        if stored.is_null() {
            return Err(COMPCACHE_ERR_NULL_POINTER);
        }
        let found = with_object!(cache, |cache| cache.contains(index).map_err(Told::told))?;
        // SAFETY: not null, and the caller's word.
        unsafe { tell_bool(stored, found) };
        Ok(())
    };
    finish(contains())
}

/// An error as the caller is told it, and a damaged page to the log.
fn failed<const PAGE: usize>(
    error: Error,
    source: &Pages<PAGE>,
    host: &compcache_host,
) -> compcache_status {
    match error {
        Error::NoSpace(error) => not_stored(error, source),
        Error::Corrupt { index } => {
            host.say(
                COMPCACHE_LOG_ERROR,
                c"the stored bytes of this page are damaged",
                index,
            );
            COMPCACHE_ERR_CORRUPT
        }
        error => error.told(),
    }
}

/// # Safety
///
/// `to` is null or may be written.
unsafe fn tell_bool(to: *mut bool, value: bool) {
    if !to.is_null() {
        // SAFETY: not null, and the caller's word.
        unsafe { to.write(value) };
    }
}
