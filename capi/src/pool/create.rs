//! Making a pool, and its end.

use super::{compcache_pool, compcache_pool_options};
use crate::common::{ARENAS, init_struct};
use crate::host::{HostLock, Pages, compcache_host};
use crate::object::{self, Body, Kind, Object, Plan};
use crate::status::compcache_status::{self, *};
use crate::status::{Outcome, finish};
use alloc_xv::Pool;
use core::ffi::c_void;
use core::mem::MaybeUninit;

/// What is in a pool's memory, behind the header.
type Inner<const PAGE: usize> = Pool<Pages<PAGE>, HostLock, ARENAS>;

/// Fills in the host's defaults: no callbacks, locks that spin. `struct_size` is
/// `sizeof(struct compcache_host)`.
///
/// Context: any. Takes no lock.
///
/// # Safety
///
/// `host` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_host_init(
    host: *mut compcache_host,
    struct_size: usize,
) -> compcache_status {
    // SAFETY: the caller's word.
    finish(unsafe { init_struct(host, struct_size) })
}

/// Fills in the defaults: pages of 4 KiB, no limit, one object moved for each free.
/// `struct_size` is `sizeof(struct compcache_pool_options)`.
///
/// Context: any. Takes no lock.
///
/// # Safety
///
/// `options` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_options_init(
    options: *mut compcache_pool_options,
    struct_size: usize,
) -> compcache_status {
    // SAFETY: the caller's word.
    finish(unsafe { init_struct(options, struct_size) })
}

/// Says how much memory a pool needs beside its pages, and at which alignment: about 14 KiB and
/// four locks.
///
/// Context: any. Takes no lock.
///
/// # Safety
///
/// `options` and `host` are NULL or point to as many readable bytes as they say; `size` and
/// `align` are NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_layout(
    options: *const compcache_pool_options,
    host: *const compcache_host,
    size: *mut usize,
    align: *mut usize,
) -> compcache_status {
    // SAFETY: the caller's word.
    finish(unsafe { object::layout::<compcache_pool>(options, host, size, align) })
}

/// Makes an empty pool in `memory`, of which `memory_size` bytes are the library's until
/// `compcache_pool_destroy`; it must not be moved. Takes no page. `*pool` is set on success only.
///
/// Context: calls `lock_init`; any context in which that may be called.
///
/// # Safety
///
/// `options` and `host` are NULL or point to as many readable bytes as they say, `memory` is NULL or
/// `memory_size` bytes that nobody else uses, the host's functions do what they should, `pool` is
/// NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_create(
    memory: *mut c_void,
    memory_size: usize,
    options: *const compcache_pool_options,
    host: *const compcache_host,
    pool: *mut *mut compcache_pool,
) -> compcache_status {
    // SAFETY: the caller's word.
    finish(unsafe { object::create(memory, memory_size, options, host, pool) })
}

impl Object for compcache_pool {
    const KIND: Kind = Kind::Pool;
    type Options = compcache_pool_options;
    type Inner<const PAGE: usize> = Inner<PAGE>;

    fn page_size(options: &compcache_pool_options) -> u64 {
        options.page_size
    }

    fn check(options: &compcache_pool_options) -> Outcome {
        if u32::try_from(options.inline_moves).is_err() {
            return Err(COMPCACHE_ERR_BAD_OPTION);
        }
        Ok(())
    }

    fn plan<const PAGE: usize>(
        _: &compcache_pool_options,
        host: &compcache_host,
    ) -> Result<Plan, compcache_status> {
        Plan::new::<Body<Inner<PAGE>>, ()>(0, ARENAS, host)
    }

    unsafe fn make<const PAGE: usize>(
        inner: *mut Inner<PAGE>,
        _workspaces: *mut c_void,
        source: Pages<PAGE>,
        _: &compcache_pool_options,
    ) -> Outcome {
        // SAFETY: the caller's word.
        let place = unsafe { &mut *inner.cast::<MaybeUninit<Inner<PAGE>>>() };
        Inner::new_at(place, source);
        Ok(())
    }

    fn raw_locks<const PAGE: usize>(inner: &mut Inner<PAGE>) -> impl Iterator<Item = &HostLock> {
        inner.raw_locks()
    }

    fn set<const PAGE: usize>(inner: &Inner<PAGE>, options: &compcache_pool_options) {
        inner.set_limit_pages(limit_of(options.limit_pages));
        inner.set_inline_moves(options.inline_moves as u32);
    }
}

/// A limit as the pool knows it.
pub(super) fn limit_of(pages: u64) -> usize {
    match pages {
        0 => usize::MAX,
        _ => usize::try_from(pages).unwrap_or(usize::MAX),
    }
}

/// Frees every object, gives every page back, ends the locks. The memory is the embedder's again.
///
/// Context: calls `page_free` for each page and `lock_destroy`; time in proportion to the pages.
/// Takes no lock: nobody else may use the pool.
///
/// # Safety
///
/// `pool` is NULL or memory in which a pool was once created; nobody else uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_destroy(pool: *mut compcache_pool) -> compcache_status {
    // SAFETY: the caller's word.
    finish(unsafe { object::destroy(pool) })
}
