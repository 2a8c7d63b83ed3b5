//! Statistics, and a check of every table.

use super::{compcache_cache, compcache_io_stat, compcache_mm_stat};
use crate::abi::write_struct;
use crate::object::with_object;
use crate::status::compcache_status::{self, *};
use crate::status::finish;

/// zram's `mm_stat`.
///
/// Context: takes arenas' locks, one at a time.
///
/// # Safety
///
/// See `compcache_cache_put`. `stat` is NULL or points to as many writable bytes as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_get_mm_stat(
    cache: *mut compcache_cache,
    stat: *mut compcache_mm_stat,
) -> compcache_status {
    let tell = || {
        let found = with_object!(cache, |cache| cache.mm_stat());
        // SAFETY: the caller's word.
        unsafe {
            write_struct(stat, || compcache_mm_stat {
                struct_size: 0,
                orig_data_size: found.orig_data_size,
                compr_data_size: found.compr_data_size,
                mem_used_total: found.mem_used_total,
                mem_limit: found.mem_limit,
                mem_used_max: found.mem_used_max,
                same_pages: found.same_pages,
                pages_compacted: found.pages_compacted,
                huge_pages: found.huge_pages,
                huge_pages_since: found.huge_pages_since,
            })
        }
    };
    finish(tell())
}

/// zram's `io_stat`, and how often pages were read and written.
///
/// Context: any. Takes no lock.
///
/// # Safety
///
/// See `compcache_cache_put`. `stat` is NULL or points to as many writable bytes as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_get_io_stat(
    cache: *mut compcache_cache,
    stat: *mut compcache_io_stat,
) -> compcache_status {
    let tell = || {
        let found = with_object!(cache, |cache| cache.io_stat());
        // SAFETY: the caller's word.
        unsafe {
            write_struct(stat, || compcache_io_stat {
                struct_size: 0,
                failed_reads: found.failed_reads,
                failed_writes: found.failed_writes,
                invalid_io: found.invalid_io,
                notify_free: found.notify_free,
                reads: found.reads,
                writes: found.writes,
            })
        }
    };
    finish(tell())
}

/// Checks every invariant of the cache's tables, for tests: it looks at every block. Nobody may use
/// the cache meanwhile.
///
/// Context: takes arenas' locks for as long as it takes.
///
/// # Safety
///
/// See `compcache_cache_put`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_check(cache: *mut compcache_cache) -> compcache_status {
    let check = || {
        with_object!(cache, |cache| {
            cache.check().map_err(|_| COMPCACHE_ERR_INTERNAL)
        })
    };
    finish(check())
}
