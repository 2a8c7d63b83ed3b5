//! Statistics, and a check of every table.

use super::{compcache_pool, compcache_pool_stats};
use crate::abi::write_struct;
use crate::object::with_object;
use crate::status::compcache_status::{self, *};
use crate::status::finish;

/// Says how much is stored.
///
/// Context: takes arenas' locks, one at a time.
///
/// # Safety
///
/// See `compcache_pool_alloc`. `stats` is NULL or points to as many writable bytes as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_get_stats(
    pool: *mut compcache_pool,
    stats: *mut compcache_pool_stats,
) -> compcache_status {
    let tell = || {
        let found = with_object!(pool, |pool| pool.stats());
        // SAFETY: the caller's word.
        unsafe {
            write_struct(stats, || compcache_pool_stats {
                struct_size: 0,
                objects: found.objects,
                payload_bytes: found.payload_bytes,
                block_bytes: found.block_bytes,
                used_bytes: found.used_bytes(),
                data_pages: found.data_pages,
                metadata_pages: found.metadata_pages,
                pages_max: found.pages_max,
                objects_moved: found.objects_moved,
                pages_compacted: found.pages_compacted,
            })
        }
    };
    finish(tell())
}

/// Checks every invariant of the pool's tables, for tests: it looks at every block. Nobody
/// may use the pool meanwhile.
///
/// Context: takes arenas' locks for as long as it takes.
///
/// # Safety
///
/// See `compcache_pool_alloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_check(pool: *mut compcache_pool) -> compcache_status {
    let check = || {
        with_object!(pool, |pool| pool
            .check()
            .map_err(|_| COMPCACHE_ERR_INTERNAL))
    };
    finish(check())
}
