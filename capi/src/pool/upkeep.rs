//! Packing, and a limit.

use super::create::limit_of;
use super::{compcache_compacted, compcache_pool};
use crate::abi::check_optional;
use crate::common::tell_compacted;
use crate::object::with_object;
use crate::status::compcache_status;
use crate::status::finish;

/// Packs the pool: moves at most `objects` objects (UINT64_MAX for all that is needed) so that pages become
/// free, and gives these back. Others may use the pool meanwhile. `compacted` may be NULL.
///
/// Context: takes one arena's lock at a time, for at most 8 moves, and calls `page_free` (and `page_alloc`, which may
/// fail, where objects move into a hole) under it. Does not wait for objects that are held: they stay where they are.
///
/// # Safety
///
/// See `compcache_pool_alloc`. `compacted` is NULL or points to as many writable bytes as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_compact(
    pool: *mut compcache_pool,
    objects: u64,
    compacted: *mut compcache_compacted,
) -> compcache_status {
    let compact = || {
        // SAFETY: the caller's word.
        unsafe { check_optional(compacted) }?;
        let done = with_object!(pool, |pool| pool.compact(objects));
        // SAFETY: the caller's word.
        unsafe { tell_compacted(compacted, done) }
    };
    finish(compact())
}

/// Packs what is worth packing: arenas of which more than 1/48 (small ones) or 1/16 is unused. For a worker
/// of the embedder's that is called now and then.
///
/// Context: that of `compcache_pool_compact`.
///
/// # Safety
///
/// See `compcache_pool_alloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_compact_to_target(
    pool: *mut compcache_pool,
) -> compcache_status {
    let compact = || {
        with_object!(pool, |pool| pool.compact_to_target());
        Ok(())
    };
    finish(compact())
}

/// Limits the pages that may be taken, tables included; 0 for no limit. What is taken stays taken.
///
/// Context: takes arenas' locks, one at a time, and calls `page_free` under them.
///
/// # Safety
///
/// See `compcache_pool_alloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_set_limit(
    pool: *mut compcache_pool,
    pages: u64,
) -> compcache_status {
    let set = || {
        with_object!(pool, |pool| pool.set_limit_pages(limit_of(pages)));
        Ok(())
    };
    finish(set())
}
