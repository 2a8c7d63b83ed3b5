//! The pool in the shape of the kernel's zsmalloc, for code that was written for it: `compcache_zs.h`.
//!
//! A pool of this kind is a `compcache_pool` with 64-bit handles as `unsigned long`; 0 is no
//! handle. The functions take what zsmalloc's take, but for two things that a library cannot know: who gives
//! memory (a struct of callbacks where the pool is created), and flags for it (the embedder's page callback decides).

use crate::abi::{Versioned, read_struct};
use crate::common::{init_struct, not_stored};
use crate::host::{COMPCACHE_LOG_WARNING, compcache_host};
use crate::object::{header_of, with_object};
use crate::pool::{
    compcache_pool, compcache_pool_create, compcache_pool_destroy, compcache_pool_layout,
    compcache_pool_options,
};
use crate::status::compcache_status::{self, *};
use crate::status::{Told, finish};
use alloc_xv::Handle;
use core::ffi::{c_char, c_ulong, c_void};
use core::ptr::null_mut;
use core::sync::atomic::Ordering;

const _: () = assert!(
    size_of::<c_ulong>() == 8,
    "handles have 64 bits: the zsmalloc shape needs an unsigned long of 64 bits"
);

/// A pool in zsmalloc's shape.
pub struct compcache_zs_pool {
    _private: [u8; 0],
}

/// What a pool is made of. Set up by `compcache_zs_config_init`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct compcache_zs_config {
    /// Bytes of this struct.
    pub struct_size: usize,
    /// Pages, locks, messages.
    pub host: *const compcache_host,
    /// The pool's options; NULL for the defaults.
    pub options: *const compcache_pool_options,
    /// Gives `size` bytes (about 14 KiB) aligned to `align` for the pool itself, NULL if there are none. May sleep.
    pub memory_alloc: Option<
        unsafe extern "C" fn(context: *mut c_void, size: usize, align: usize) -> *mut c_void,
    >,
    /// Takes them back.
    pub memory_free:
        Option<unsafe extern "C" fn(context: *mut c_void, memory: *mut c_void, size: usize)>,
}

// SAFETY: `repr(C)`, pointers only, the size first, no padding.
unsafe impl Versioned for compcache_zs_config {
    const FIRST: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        host: core::ptr::null(),
        options: core::ptr::null(),
        memory_alloc: None,
        memory_free: None,
    };
}

/// Numbers of a pool: `struct zs_pool_stats`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct compcache_zs_pool_stats {
    /// Pages that compaction gave back, ever.
    pub pages_compacted: c_ulong,
}

/// What lies before the pool in its memory.
#[repr(C)]
struct Owner {
    memory: *mut c_void,
    size: usize,
    free: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, usize)>,
}

/// The pool of a pool in zsmalloc's shape.
fn inner(pool: *mut compcache_zs_pool) -> *mut compcache_pool {
    pool.cast()
}

/// Fills in a config without callbacks. `struct_size` is `sizeof(struct compcache_zs_config)`.
///
/// Context: any. Takes no lock.
///
/// # Safety
///
/// `config` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_zs_config_init(
    config: *mut compcache_zs_config,
    struct_size: usize,
) -> compcache_status {
    // SAFETY: the caller's word.
    finish(unsafe { init_struct(config, struct_size) })
}

/// Makes a pool; NULL if that fails. `name` is part of the shape, and not looked at.
///
/// Context: may sleep if `memory_alloc` and `lock_init` may.
///
/// # Safety
///
/// `config` is NULL or points to as many readable bytes as it says, and so do `host` and `options` in it; its
/// functions do what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_zs_create_pool(
    name: *const c_char,
    config: *const compcache_zs_config,
) -> *mut compcache_zs_pool {
    let _ = name;
    // SAFETY: the caller's word.
    unsafe { create(config) }.unwrap_or(null_mut())
}

/// # Safety
///
/// That of `compcache_zs_create_pool`.
unsafe fn create(
    config: *const compcache_zs_config,
) -> Result<*mut compcache_zs_pool, compcache_status> {
    // SAFETY: the caller's word, for all of this function.
    unsafe {
        let config = read_struct(config)?;
        let host = read_struct(config.host)?;
        let (Some(memory_alloc), Some(memory_free)) = (config.memory_alloc, config.memory_free)
        else {
            return Err(COMPCACHE_ERR_BAD_OPTION);
        };
        let defaults = compcache_pool_options::DEFAULT;
        let options = match config.options.is_null() {
            true => &raw const defaults,
            false => config.options,
        };
        let (mut size, mut align) = (0, 0);
        let status = compcache_pool_layout(options, config.host, &mut size, &mut align);
        if status != COMPCACHE_OK {
            return Err(status);
        }
        // The owner lies before the pool, in a place of the pool's alignment.
        let before = size_of::<Owner>().next_multiple_of(align);
        let whole = size.checked_add(before).ok_or(COMPCACHE_ERR_BAD_OPTION)?;
        let align = align.max(align_of::<Owner>());
        let memory = memory_alloc(host.context, whole, align);
        if memory.is_null() {
            return Err(COMPCACHE_ERR_BAD_MEMORY);
        }
        let place = memory.byte_add(before);
        let mut pool = null_mut();
        let status = compcache_pool_create(place, size, options, config.host, &mut pool);
        if status != COMPCACHE_OK {
            memory_free(host.context, memory, whole);
            return Err(status);
        }
        owner_of(pool.cast()).write_unaligned(Owner {
            memory,
            size: whole,
            free: Some(memory_free),
        });
        Ok(pool.cast())
    }
}

/// Where a pool's owner is.
fn owner_of(pool: *mut compcache_zs_pool) -> *mut Owner {
    pool.cast::<Owner>().wrapping_sub(1)
}

/// Frees every object and the pool; NULL is no pool and nothing is done. Nobody may use it meanwhile; a
/// pool of which an object is being read is left alone, and the log is told.
///
/// Context: that of `compcache_pool_destroy`; may sleep if `memory_free` may.
///
/// # Safety
///
/// `pool` is NULL or came from `compcache_zs_create_pool` and was not destroyed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_zs_destroy_pool(pool: *mut compcache_zs_pool) {
    // SAFETY: the caller's word.
    unsafe {
        let Ok(header) = header_of(inner(pool)) else {
            return;
        };
        let host = header.host;
        let owner = owner_of(pool).read_unaligned();
        if compcache_pool_destroy(inner(pool)) != COMPCACHE_OK {
            let count = header.readings.load(Ordering::Relaxed) as u64;
            host.say(
                COMPCACHE_LOG_WARNING,
                c"the pool is not destroyed: objects are being read",
                count,
            );
            return;
        }
        if let Some(free) = owner.free {
            free(host.context, owner.memory, owner.size);
        }
    }
}

/// Allocates an object of 1 byte to a page, cleared; 0 if that fails.
///
/// Context: that of `compcache_pool_alloc`.
///
/// # Safety
///
/// `pool` is NULL or came from `compcache_zs_create_pool`, and nobody destroys it meanwhile (as for all
/// functions below).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_zs_malloc(pool: *mut compcache_zs_pool, size: usize) -> c_ulong {
    let alloc = || -> Result<c_ulong, compcache_status> {
        with_object!(inner(pool), |pool| {
            if size > page_size_of(pool) {
                return Err(COMPCACHE_ERR_BAD_SIZE);
            }
            let handle = pool
                .alloc(size)
                .map_err(|error| not_stored(error, pool.source()))?;
            Ok(handle.to_bits())
        })
    };
    alloc().unwrap_or(0)
}

/// The page size of a pool.
fn page_size_of<const PAGE: usize, const ARENAS: usize>(
    _: &alloc_xv::Pool<crate::host::Pages<PAGE>, crate::host::HostLock, ARENAS>,
) -> usize {
    PAGE
}

/// Frees an object. 0 and handles that name none are left alone.
///
/// Context: that of `compcache_pool_free`.
///
/// # Safety
///
/// See `compcache_zs_malloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_zs_free(pool: *mut compcache_zs_pool, handle: c_ulong) {
    // SAFETY: the caller's word. There is nobody to tell what went wrong.
    let _ = unsafe { crate::pool::compcache_pool_free(inner(pool), handle) };
}

/// Gives the bytes of an object to read: where they lie, if they are in one piece, and then the object is held
/// until `compcache_zs_obj_read_end` (do not sleep meanwhile; others who want it wait, spinning); else
/// a copy in `local_copy`, which has room for a page. NULL if there is no such object, or if there should be a
/// copy and `local_copy` is NULL.
///
/// Context: that of `compcache_pool_read_begin`.
///
/// # Safety
///
/// See `compcache_zs_malloc`. `local_copy` is NULL or has room for a page of the pool's size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_zs_obj_read_begin(
    pool: *mut compcache_zs_pool,
    handle: c_ulong,
    local_copy: *mut c_void,
) -> *mut c_void {
    let begin = || -> Result<*mut c_void, compcache_status> {
        let handle = Handle::from_bits(handle).ok_or(COMPCACHE_ERR_BAD_HANDLE)?;
        // SAFETY: the caller's word.
        let header = unsafe { header_of(inner(pool)) }?;
        with_object!(inner(pool), |pool| {
            let reading = pool.read(handle).map_err(Told::told)?;
            let fragments = reading.fragments();
            if let [whole] = *fragments {
                let bytes = whole.as_ptr().cast_mut().cast();
                header.readings.fetch_add(1, Ordering::AcqRel);
                core::mem::forget(reading);
                return Ok(bytes);
            }
            if local_copy.is_null() {
                return Err(COMPCACHE_ERR_NULL_POINTER);
            }
            // SAFETY: room for a page, by the caller's word, which is the most an object has.
            let copy = unsafe {
                core::slice::from_raw_parts_mut(local_copy.cast::<u8>(), page_size_of(pool))
            };
            fragments.copy_to(0, copy);
            Ok(local_copy)
        })
    };
    begin().unwrap_or(null_mut())
}

/// Ends what `compcache_zs_obj_read_begin` began; `memory` is what it returned.
///
/// Context: takes an arena's lock for a moment.
///
/// # Safety
///
/// See `compcache_zs_malloc`. Called once for each beginning.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_zs_obj_read_end(
    pool: *mut compcache_zs_pool,
    handle: c_ulong,
    memory: *mut c_void,
) {
    let end = || -> Result<(), compcache_status> {
        let handle = Handle::from_bits(handle).ok_or(COMPCACHE_ERR_BAD_HANDLE)?;
        // SAFETY: the caller's word.
        let header = unsafe { header_of(inner(pool)) }?;
        with_object!(inner(pool), |pool| {
            // SAFETY: either the reading of this caller, which was forgotten, or (below) it is
            // forgotten again.
            let reading = unsafe { pool.resume_reading(handle) }.map_err(Told::told)?;
            // Only who holds an object has an address in the pool's pages: with a local copy it is
            // somebody else's reading, if any.
            let held = reading
                .fragments()
                .first()
                .is_some_and(|first| first.as_ptr() == memory.cast::<u8>());
            if held {
                drop(reading);
                header.readings.fetch_sub(1, Ordering::AcqRel);
            } else {
                core::mem::forget(reading);
            }
            Ok(())
        })
    };
    let _ = end();
}

/// Writes the first `len` bytes of an object. What is longer than the object is left out whole.
///
/// Context: that of `compcache_pool_write`.
///
/// # Safety
///
/// See `compcache_zs_malloc`. `bytes` is NULL or `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_zs_obj_write(
    pool: *mut compcache_zs_pool,
    handle: c_ulong,
    bytes: *const c_void,
    len: usize,
) {
    // SAFETY: the caller's word.
    let _ = unsafe { crate::pool::compcache_pool_write(inner(pool), handle, 0, bytes, len) };
}

/// Pages taken, tables included. 0 for no pool.
///
/// Context: any. Takes no lock.
///
/// # Safety
///
/// See `compcache_zs_malloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_zs_get_total_pages(pool: *mut compcache_zs_pool) -> c_ulong {
    let ask = || -> Result<usize, compcache_status> {
        Ok(with_object!(inner(pool), |pool| pool.pages_used()))
    };
    ask().unwrap_or(0) as c_ulong
}

/// Packs the pool; returns how many pages that gave back.
///
/// Context: that of `compcache_pool_compact`.
///
/// # Safety
///
/// See `compcache_zs_malloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_zs_compact(pool: *mut compcache_zs_pool) -> c_ulong {
    let compact = || -> Result<u64, compcache_status> {
        Ok(with_object!(inner(pool), |pool| pool
            .compact(u64::MAX)
            .pages))
    };
    compact().unwrap_or(0)
}

/// The size from which on an object is better stored as the whole page it was made of: 63/64 of a
/// page, the cache's own limit. Objects of every size take what they need, so it is a matter of time and
/// not of memory.
///
/// Context: any. Takes no lock.
///
/// # Safety
///
/// See `compcache_zs_malloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_zs_huge_class_size(pool: *mut compcache_zs_pool) -> usize {
    let ask = || -> Result<usize, compcache_status> {
        let page = with_object!(inner(pool), |pool| page_size_of(pool));
        Ok(page - page / 64)
    };
    ask().unwrap_or(0)
}

/// Numbers of a pool; zeroes for no pool.
///
/// Context: takes arenas' locks, one at a time.
///
/// # Safety
///
/// See `compcache_zs_malloc`. `stats` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_zs_pool_stats_get(
    pool: *mut compcache_zs_pool,
    stats: *mut compcache_zs_pool_stats,
) {
    let ask = || -> Result<u64, compcache_status> {
        Ok(with_object!(inner(pool), |pool| pool
            .stats()
            .pages_compacted))
    };
    // SAFETY: the caller's word.
    if let Some(stats) = unsafe { stats.as_mut() } {
        stats.pages_compacted = ask().unwrap_or(0);
    }
}
