//! Limits, packing, and a fresh start.

use super::compcache_cache;
use crate::abi::check_optional;
use crate::common::tell_compacted;
use crate::object::with_object;
use crate::pool::compcache_compacted;
use crate::status::compcache_status;
use crate::status::finish;

/// Forgets every page, one after the other, and clears the statistics. Time in proportion to the
/// device.
///
/// Context: that of `compcache_cache_discard`, for each page.
///
/// # Safety
///
/// See `compcache_cache_put`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_reset(cache: *mut compcache_cache) -> compcache_status {
    let reset = || {
        with_object!(cache, |cache| cache.reset());
        Ok(())
    };
    finish(reset())
}

/// Limits the memory taken, in bytes, rounded up to pages, tables included; 0 for no limit. What is taken
/// stays taken; puts fail until enough is discarded.
///
/// Context: takes arenas' locks, one at a time, and calls `page_free` under them.
///
/// # Safety
///
/// See `compcache_cache_put`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_set_mem_limit(
    cache: *mut compcache_cache,
    bytes: u64,
) -> compcache_status {
    let set = || {
        with_object!(cache, |cache| cache.set_mem_limit(bytes));
        Ok(())
    };
    finish(set())
}

/// `mem_used_max` starts again from what is taken now.
///
/// Context: any. Takes no lock.
///
/// # Safety
///
/// See `compcache_cache_put`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_reset_mem_used_max(
    cache: *mut compcache_cache,
) -> compcache_status {
    let reset = || {
        with_object!(cache, |cache| cache.reset_mem_used_max());
        Ok(())
    };
    finish(reset())
}

/// Packs the stored pages: moves at most `objects` of them (UINT64_MAX for all that is needed) so that pages of
/// memory become free, and gives these back. Others may use the cache meanwhile. `compacted` may be NULL.
///
/// Context: takes one arena's lock at a time, for at most 8 moves, and calls `page_free` (and `page_alloc`, which may fail,
/// where objects move into a hole) under it. Does not wait for pages that are in use: they stay where they are.
///
/// # Safety
///
/// See `compcache_cache_put`. `compacted` is NULL or points to as many writable bytes as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_compact(
    cache: *mut compcache_cache,
    objects: u64,
    compacted: *mut compcache_compacted,
) -> compcache_status {
    let compact = || {
        // SAFETY: the caller's word.
        unsafe { check_optional(compacted) }?;
        let done = with_object!(cache, |cache| cache.compact(objects));
        // SAFETY: the caller's word.
        unsafe { tell_compacted(compacted, done) }
    };
    finish(compact())
}

/// Packs what is worth packing: arenas of which more than 1/48 (small ones) or 1/16 is unused. For a worker
/// of the embedder's that is called now and then.
///
/// Context: that of `compcache_cache_compact`.
///
/// # Safety
///
/// See `compcache_cache_put`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_compact_to_target(
    cache: *mut compcache_cache,
) -> compcache_status {
    let compact = || {
        with_object!(cache, |cache| cache.compact_to_target());
        Ok(())
    };
    finish(compact())
}
